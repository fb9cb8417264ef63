//! The contract of steadfast: what a backend must do, and the one state machine that every process
//! handle shares, whichever backend it came from.
//!
//! This crate makes no system call, has no `unsafe` and no `cfg`. Users name the facade, `steadfast`;
//! authors of a backend need nothing but this crate, and start reading at [`ProcessBackend`].
//!
//! | module | holds |
//! | --- | --- |
//! | `backend` | the five traits of a backend |
//! | `process` | [`Process`]: Running, Done, Released, and who reaps; being told of an exit; waiting for those that are no children |
//! | `pidfile` | [`PidfileIs`]: why a pidfile cannot be had; the files are the facade's |
//! | `identity` | [`Identity`]: the name of one life of a process, which can be stored; [`Reopened`]: what it means now |
//! | `job` | [`Job`]: Open, Killed, Empty; who is a member; what holds a job together |
//! | `plan` | [`Plan`]: what is to be spawned, and how, checked; [`Attributes`] and their values |
//! | [`sync`] | locks that a simulation can see |
//! | `pid`, `signal`, `errno`, `exit` | the values at the edges |
//! | `again` | [`once_more`]: what of a start is tried again |
//! | `contain` | [`contain`]: a callback's panic is its own |
//! | `error`, `advice` | [`Error`]: one type for all backends; what to do about it |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod advice;
mod again;
mod backend;
mod change;
mod contain;
mod errno;
mod error;
mod exit;
mod identity;
mod job;
mod lock;
mod look;
mod outside;
mod pauses;
mod pid;
mod pidfile;
mod plan;
mod process;
mod signal;
pub mod sync;

pub use again::once_more;
pub use backend::{
    BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, FoundByFd, OnExit, PipeEnd, PipeRead, PipeWrite,
    ProcessBackend, Spawned, Until, and_then,
};
pub use change::Change;
pub use contain::contain;
pub use errno::Errno;
pub use error::{Error, ErrorKind, FdIs, Missing, Stage};
pub use exit::{Exit, MaxRss, Rusage};
pub use identity::{BootId, Evidence, Identity, Reopened, StartTime};
pub use job::{Containment, Job, JobEnd, JobLimit, JobLimits, JobLink, JobPlan, JobUsage};
pub use look::{BackendLook, Facts, RunState};
pub use pauses::Pauses;
pub use pid::Pid;
pub use pidfile::PidfileIs;
pub use plan::{
    Attributes, Capability, Disposition, EnterNamespaces, Hook, IdMap, IoPriority, Limit, Membership, MountPropagation,
    Namespaces, OnBirth, Plan, PlanBuilder, PlanStdio, Resource, Scheduling, SeccompFilter, SeccompInstruction, SecureBits,
    SignalSet, Wall,
};
pub use process::{ByNumber, Ended, Lent, Process, Started, Starting, Watcher};
pub use signal::Signal;

/// The result of every fallible operation here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
