//! [`Watch`]: waiting with a deadline, which no system call offers for a PID.
//!
//! One small thread per process that somebody waits for with a deadline, blocked in `waitid(WNOWAIT)`. One thread for all of
//! them (`P_ALL`) would spin on any zombie that the program has not reaped; `SIGCHLD` is the program's.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;
use steadfast_core::{Clock, Errno, Pid};
use steadfast_linux::{Blocking, Reaping, SystemClock, Target, spawn_quiet_thread, waitid};

#[derive(Default)]
pub(crate) struct Watch {
    /// Whether the thread has come back from the kernel, because the process has exited or is no child.
    over: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    /// Starts the thread. It ends when the process does.
    pub(crate) fn start(pid: Pid) -> Result<Arc<Watch>, Errno> {
        let watch = Arc::new(Watch::default());
        let own = Arc::clone(&watch);
        let run = move || {
            while waitid(Target::Pid(pid), Blocking::Block, Reaping::Leave) == Err(Errno::INTR) {}
            *own.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            own.changed.notify_all();
        };
        match spawn_quiet_thread("steadfast-watch", run) {
            Ok(()) => Ok(watch),
            Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(Errno::AGAIN.as_raw()))),
        }
    }

    /// Whether it was over by the deadline.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let left = deadline.saturating_duration_since(SystemClock.now());
            if left.is_zero() {
                break;
            }
            (over, _) = self.changed.wait_timeout(over, left).unwrap_or_else(PoisonError::into_inner);
        }
        *over
    }

    /// Waits until it is over.
    pub(crate) fn wait(&self) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(over, |over| !*over));
    }
}
