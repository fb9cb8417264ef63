//! Keepers that were told to end: those that are children of this process are waited for, now or in the background.

use crate::clock::SystemClock;
use crate::file::read_at;
use crate::fork::PerProcess;
use crate::thread::spawn_quiet_thread;
use crate::wait::{Blocking, Reaping, Target, is_readable, wait4_now, waitid};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steadfast_core::{Pauses, Pid};

/// Those that were told to end, as far as they are, or may be, children of this process: where it takes orphans (PID 1, or
/// `PR_SET_CHILD_SUBREAPER`) all of them.
static RETIRED: PerProcess<Mutex<Vec<Retired>>> = PerProcess::new(Mutex::default);

pub(super) enum Retired {
    Pidfd(OwnedFd),
    /// A child of ours, with its directory in `/proc`, which is its alone.
    Child(Pid, OwnedFd),
}

impl Retired {
    /// Reaps it if it has ended; whether it is still to come. Of somebody else's child the first is refused.
    fn is_to_come(&self) -> bool {
        match self {
            Retired::Pidfd(pidfd) => {
                let has_ended = is_readable(pidfd.as_fd());
                if has_ended {
                    _ = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Now, Reaping::Reap);
                }
                !has_ended
            }
            // Other code may have waited for it.
            Retired::Child(pid, proc) => read_at(proc, "stat").is_ok() && wait4_now(*pid) == Ok(None),
        }
    }
}

/// Reaps it when it has ended, now or in the background.
pub(super) fn retire(retired: Retired) {
    if !retired.is_to_come() {
        return;
    }
    let mut all = lock_retired();
    all.push(retired);
    if all.len() > 1 {
        // There is a thread already; or there was none to be had, and the next job that is made does it.
        return;
    }
    drop(all);
    let run = || {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_secs(1));
        while reap_retired() {
            pauses.sleep(&SystemClock, None);
        }
    };
    drop(spawn_quiet_thread("steadfast-reap", run));
}

fn lock_retired() -> MutexGuard<'static, Vec<Retired>> {
    RETIRED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps those that have ended; whether any is to come.
pub(super) fn reap_retired() -> bool {
    let mut all = lock_retired();
    all.retain(Retired::is_to_come);
    !all.is_empty()
}
