//! Process handles that can never act on the wrong process.
//!
//! A PID is a number that the kernel hands out again. Whoever keeps one and later calls `kill` may hit a stranger. This crate
//! spawns, finds, signals, waits for and releases processes through a **pidfd** where the kernel gives one, through a **PID with
//! the races closed** where it does not, and through a **simulated kernel** in tests. Which one, a probe decides, once.
//!
//! ```no_run
//! use steadfast::{Command, Signal};
//! use std::time::Duration;
//!
//! let child = Command::new("server").arg("--port=0").spawn()?;
//! child.signal(Signal::TERM)?;                                // &self everywhere: share it between threads
//! match child.wait_timeout(Duration::from_secs(5))? {
//!     Some(status) => println!("{status}"),
//!     None => {
//!         child.kill()?;
//!         child.wait()?;
//!     }
//! }
//! # Ok::<(), steadfast::Error>(())
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | start a process | [`Command`], which has std's methods, and [`Child`] |
//! | keep a program as it is, and change its `use` lines | [`mod@process`], std's names with std's signatures |
//! | run a command to its end: give it input, read its output or its lines, insist on success | [`Command::input`], [`capture`](Command::capture), [`lines`](Command::lines), [`checked`](Command::checked); [`Pipeline`] |
//! | run it in a terminal of its own | [`Pty`], [`Command::pty`] |
//! | start one in time, or many at once | [`Command::spawn_timeout`], [`spawn_many`] |
//! | end all that a process has started, and know that it has ended | [`Job`], [`Command::own_job`], [`Teardown`] |
//! | take hold of one that exists | [`Process::find`], [`Process::try_from`] a `std::process::Child` |
//! | take hold of one that somebody has sent, that a socket is connected to, that has sent a message | [`Process::from_fd`], [`Process::peer_of`], [`Senders`] |
//! | take a descriptor out of one, change its limits while it runs | [`Process::take_fd`], [`Process::set_rlimit`], [`Process::set_cpu_affinity`] |
//! | name it for later, in a file or a database, and come back to it | [`Process::identity`](backend::Process::identity), [`System::reopen`] |
//! | have one process at a time, and let others find and stop it | [`Pidfile`] |
//! | signal it, wait for it | [`Process`], which `Child` derefs to |
//! | wait for several, or thousands | [`wait_any`], [`WaitSet`] |
//! | choose the backend, or enter a simulated one | [`System`] |
//! | know what this machine can do | [`Probe`], or `cargo xtask probe` |
//! | take locks and start threads that a test in virtual time can see | [`sync`] |
//! | wait in tasks, read and write in tasks | features `tokio` and `async-io`, modules of these names |
//! | test without processes | feature `mock`, module `mock` |
//! | test that nothing is left behind | [`testing::no_process_left`] |
//! | the users and groups of another process, and more of its status | feature `procfs`: [`Inspection`] |
//! | have spawns, signals and exits in the program's log | feature `tracing`: [what is told](#tracing) |
//! | write a backend | [`backend`] |
//!
//! A process that has run to its end has **exited**; once its parent has waited for it, it is **gone**, and its number is free. What is
//! told of it, from the least to the most:
//!
//! | value | says | given by |
//! | --- | --- | --- |
//! | [`ExitStatus`], std's | the exit code, or the signal that ended it | every wait for a child |
//! | [`Ended`] | that it has exited, or is gone; the status if that is known | [`wait_exited`](backend::Process::wait_exited), [`wait_gone`](backend::Process::wait_gone): of any process |
//! | [`Exit`] | PID, status, and what it has used | [`Process::exit`](backend::Process::exit), of a child that was waited for |
//! | [`Exited`] | which one of several, and its status | [`WaitSet`], [`wait_any`] |
//! | [`Change`] | that it has stopped, goes on, or has exited with this status | [`wait_change`](backend::Process::wait_change), of a child |
//! | [`Changed`] | which one of several, and what has changed | [`WaitSet::wait_next`], of [those](WaitSet::add_changes) |
//! | [`Emptied`] | which one of several jobs | [`WaitSet::wait_next`] |
//!
//! Where std says `io::Error`, this crate says [`Error`] (but for [`mod@process`]), which names the call, the process or path, and the errno, and turns into
//! an `io::Error` at a `?`, with std's kind and the same words.
//!
//! # Tracing
//! With the feature `tracing`, each system tells the crate of that name what it does, with the target `steadfast`:
//!
//! | what | level | fields |
//! | --- | --- | --- |
//! | span `spawn`, around the call | DEBUG | `program`, `backend`; `pid`, once there is one |
//! | event `spawn failed`, in it | WARN | `kind`, `stage`, `errno`, `error` |
//! | event `spawn given up`, in it: its time was up, or its future was dropped | WARN | |
//! | event `signal` | DEBUG | `pid`, `signal`, `group`; `errno`, if it was refused |
//! | event `dropped`, of a child that will be reaped in the background | DEBUG | `pid` |
//! | event `exit`, when a child is reaped | DEBUG | `pid`, and `code` or `signal`; `core_dumped` |
//!
//! Arguments and environment are not told: they may hold secrets. Of a process that was started, or found, while nobody listened, nothing is told.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod child;
mod command;
mod ending;
mod foreground;
mod handle;
mod init;
mod input;
mod inspect;
mod job;
mod lines;
mod output;
mod pidfile;
mod pipe;
mod pipeline;
mod places;
mod pty;
mod receive;
mod remains;
mod system;
mod teardown;
mod terminal;
mod through;
#[cfg(feature = "tracing")]
mod trace;
mod wait;
mod within;

pub mod os;
pub mod process;
pub mod testing;
pub mod twin;

#[doc = include_str!("coming_from_std.md")]
pub mod coming_from_std {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[cfg(feature = "mock")]
pub mod mock;

#[cfg(any(feature = "tokio", feature = "async-io"))]
pub mod asynchronous;

#[cfg(feature = "async-io")]
pub mod async_io;

#[cfg(feature = "async-io")]
pub mod async_process;

#[cfg(feature = "tokio")]
pub mod tokio;

pub use child::Child;
pub use command::{Command, CommandArgs, CommandEnvs, Handle, spawn_many};
pub use foreground::Foreground;
pub use handle::{Process, Reopened};
pub use init::run_under_init;
pub use input::Input;
pub use inspect::Inspection;
pub use job::{Job, JobBuilder};
pub use lines::Lines;
pub use output::{Capture, Captured, CapturedStream, Line, LinesEnd, OutputStream};
pub use pidfile::{Pidfile, PidfileStatus, Stale, Takeover};
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub use pipeline::{Pipeline, PipelineCaptured, PipelineOutput, RunningPipeline};
pub use pty::{Pty, PtySize};
pub use receive::{Received, Senders};
pub use std::process::{ExitStatus, Output};
pub use steadfast_core::sync;
pub use steadfast_core::{
    BackendInfo, BootId, ByNumber, Capability, Change, Containment, Disposition, Ended, Errno, Error, ErrorKind, Evidence, Exit,
    Facts, FdIs, IdMap, Identity, IoPriority, JobLimit, JobLimits, JobUsage, Limit, MaxRss, Missing, MountPropagation,
    Namespaces, Pid, PidfileIs, Resource, Result, RunState, Rusage, Scheduling, SeccompFilter, SeccompInstruction, SecureBits,
    Signal, SignalSet, Stage, StartTime, Wall,
};
pub use steadfast_linux::{Answer, Check, CommandExt, Door, Feature, Probe, SpawnWait, Stdio};
pub use system::{Entered, System};
pub use teardown::{Stopped, Teardown};
pub use wait::{Changed, Emptied, Exited, Interrupter, Member, Next, Ready, WaitSet, wait_any};

/// For authors of a backend: the traits, and the values that they exchange.
///
/// Start at [`ProcessBackend`](backend::ProcessBackend); hold yours to the contract with the crate `steadfast-conformance`; use it
/// with [`System::with_backend`].
pub mod backend {
    pub use steadfast_core::sync::{Join, Scheduler};
    pub use steadfast_core::{
        Attributes, BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Clock, FoundByFd, Hook, Job, JobEnd,
        JobLink, JobPlan, Lent, Membership, OnBirth, OnExit, PipeEnd, PipeRead, PipeWrite, Plan, PlanBuilder, PlanStdio, Process,
        ProcessBackend, Reopened, Spawned, Started, Starting, Until, Watcher, and_then,
    };
}
