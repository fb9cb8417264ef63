//! Every order of three threads on one child that is held by its number: `src/process.rs` and `src/watch.rs`, and the state machine above
//! them, compiled with the locks of a model checker, on a kernel that gives a number away at the moment in which it is free.
//!
//! What is asked of it: that nobody is on the way into the kernel with the number when it is given back, the thread that waits for those
//! with a timeout included.
#![forbid(unsafe_code)]

/// What the state machine takes from its crate, with other locks.
mod lock {
    pub(crate) use crate::checker::{Mutex, MutexGuard};
    pub(crate) use std::sync::{PoisonError, TryLockError};
}

#[path = "../../../steadfast-core/src/process/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, reason = "a copy, of which not everything is used")]
mod process;

#[path = "../../../steadfast-core/tests/model/background.rs"]
mod background;
#[path = "../../../steadfast-core/tests/model/checker.rs"]
mod checker;
#[path = "../../../steadfast-core/tests/model/orders.rs"]
mod orders;

#[path = "../../src/process.rs"]
#[allow(dead_code, reason = "a copy, of which not everything is used")]
mod held;
#[path = "../../src/watch.rs"]
#[allow(dead_code, reason = "a copy, of which not everything is used")]
mod watch;

mod machine;
mod os;
mod others;

use machine::Number;
use orders::{Act, run};
use others::{birth, calls, collect, life, naming, orphans, siblings, start_time};
use steadfast_core::{
    BackendLook, BackendProcess, BackendStart, Change, Errno, Error, ErrorKind, Exit, FoundByFd, Identity, OnBirth, Pauses, Pid,
    PipeEnd, Plan, ProcessBackend, Reopened, Result, Signal, Until, Wall, contain, sync,
};

fn main() {
    let acts = [Act::Signal, Act::ByNumber, Act::Wait, Act::WaitLong, Act::WaitShort, Act::TryWait, Act::Release, Act::Drop];
    run(&[Number], &acts, vec![]);
}
