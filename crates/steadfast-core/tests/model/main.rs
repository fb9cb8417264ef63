//! Every order of three threads on one handle: the state machine of `src/process`, compiled with the locks of a model checker, on a kernel
//! that gives a number away at the moment in which it is free.
#![forbid(unsafe_code)]

/// What the state machine takes from its crate, with other locks.
mod lock {
    pub(crate) use crate::checker::{Mutex, MutexGuard};
    pub(crate) use std::sync::{PoisonError, TryLockError};
}

#[path = "../../src/process/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, reason = "a copy, of which not everything is used")]
mod process;

mod checker;
mod machine;
mod orders;
mod races;

use machine::Holds;
use orders::{Act, run};
use steadfast_core::{
    BackendLook, BackendProcess, BackendStart, Change, Errno, Error, ErrorKind, Exit, FoundByFd, Identity, OnBirth, Pauses, Pid,
    PipeEnd, Plan, ProcessBackend, Reopened, Result, Signal, Until, Wall, contain, sync,
};

fn main() {
    let acts = [Act::Signal, Act::ByNumber, Act::Wait, Act::WaitShort, Act::TryWait, Act::Release, Act::Drop];
    run(&[Holds::Pidfd, Holds::Number], &acts, races::trials());
}
