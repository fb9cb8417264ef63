//! [`Birth`]: until when a child of ours was born, which tells it from a later process of its number.
//!
//! The number cannot be recycled before the child is reaped, and [`Process`](steadfast_core::Process) reaps only when no call is in
//! progress. But other code in the program may reap it (`waitpid(-1)`, `SIGCHLD` ignored), and then a later child may have its number. That
//! one was started later, as `/proc/PID/stat` says.

use crate::start_time::StartTime;
use std::sync::OnceLock;
use steadfast_core::Pid;
use steadfast_linux::boot_time;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    latest: StartTime,
}

/// Whether `/proc` shows the processes that we see, with the time that we have. It does not where it is another PID namespace's, or some
/// emulator's: then it is not asked.
static PROC_HAS_OUR_TIME: OnceLock<bool> = OnceLock::new();

/// Now, in the unit that `/proc` has on every architecture (proc_pid_stat(5)).
pub(crate) fn now() -> StartTime {
    StartTime::from_ticks(boot_time().as_millis() as u64 / 10)
}

impl Birth {
    /// Of a child that has just been born, not before `earliest`.
    pub(crate) fn of(pid: Pid, earliest: StartTime) -> Birth {
        let latest = now();
        if PROC_HAS_OUR_TIME.get().is_none() {
            // If it cannot be read the next child may tell.
            if let Ok(start_time) = StartTime::read(pid) {
                PROC_HAS_OUR_TIME.get_or_init(|| earliest <= start_time && start_time <= latest);
            }
        }
        Birth { latest }
    }

    /// Whether the process of this number, which is a child of ours, can be the one. In doubt it can.
    pub(crate) fn may_be_of(self, pid: Pid) -> bool {
        PROC_HAS_OUR_TIME.get() != Some(&true) || StartTime::read(pid).map_or(true, |start_time| start_time <= self.latest)
    }
}
