//! [`Birth`]: what tells a child of ours from a later process of its number.
//!
//! The number cannot be recycled before the child is reaped, and [`Process`](steadfast_core::Process) reaps only when no call is in
//! progress. But other code in the program may reap it (`waitpid(-1)`, `SIGCHLD` ignored), and then a later child may have its number. So its
//! `/proc/PID/stat` is opened when it is born, which is nobody else's ever after. Where that cannot be, for want of a descriptor, or where it would
//! be one of the last ones, the later process is known by having been started later, if that is more than 10 ms.

use crate::life::Life;
use crate::start_time::StartTime;
use std::sync::atomic::{AtomicBool, Ordering};
use steadfast_core::{Error, Pid, Result};
use steadfast_linux::{Loan, boot_time};

#[derive(Debug)]
pub(crate) struct Birth {
    latest: StartTime,
    life: Option<Life>,
    /// What it has borrowed of our memory, if its start was given up. Whoever has it reaps it before he drops it.
    #[allow(dead_code, reason = "its end is what it is for")]
    loan: Option<Loan>,
}

/// Whether `/proc` showed the last child that we could look for, with the time that we have. It does not where it is another PID
/// namespace's, or some emulator's: then it is not asked for start times.
static PROC_HAS_OUR_TIME: AtomicBool = AtomicBool::new(false);

/// Now, in the unit that `/proc` has on every architecture (proc_pid_stat(5)).
pub(crate) fn now() -> StartTime {
    StartTime::from_ticks(boot_time().as_millis() as u64 / 10)
}

impl Birth {
    /// Of a child that has just been born, not before `earliest`.
    pub(crate) fn of(pid: Pid, earliest: StartTime) -> Birth {
        let latest = now();
        let life = Life::of_child(pid);
        // Of each child anew: another `/proc` may have been mounted.
        let is_its_own = life
            .as_ref()
            .and_then(|life| life.stat(pid))
            .map(|stat| (earliest..=latest).contains(&StartTime::of(stat)) && stat.parent() == std::process::id());
        if let Some(is_its_own) = is_its_own {
            PROC_HAS_OUR_TIME.store(is_its_own, Ordering::Relaxed);
        }
        Birth { latest, life: life.filter(|life| is_its_own == Some(true) && life.may_stay()), loan: None }
    }

    /// Of a child whose start was given up.
    pub(crate) fn given_up(self, loan: Loan) -> Birth {
        Birth { loan: Some(loan), ..self }
    }

    /// The file by which it is held, if it is.
    pub(crate) fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    /// Whether the process of this number, which is no child of ours any more, can be the one. A number that is given away again is a later
    /// process's.
    pub(crate) fn is_still_of(&self, pid: Pid) -> Result<bool> {
        if let Some(life) = &self.life {
            return life.goes_on(pid);
        }
        match StartTime::read(pid) {
            Ok(start_time) => Ok(!PROC_HAS_OUR_TIME.load(Ordering::Relaxed) || start_time <= self.latest),
            Err(Error::ProcessDone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the process of this number, which is a child of ours, can be the one. In doubt it can.
    pub(crate) fn may_be_of(&self, pid: Pid) -> bool {
        if let Some(life) = &self.life {
            return life.goes_on(pid).unwrap_or(true);
        }
        !PROC_HAS_OUR_TIME.load(Ordering::Relaxed) || StartTime::read(pid).map_or(true, |start_time| start_time <= self.latest)
    }
}
