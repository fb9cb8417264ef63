//! [`Bell`]: something to wait for, for who may take no lock.

use super::{Id, Scheduler};
use std::fmt;
use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

/// Something to wait for: counts how often it was rung. For a [`Watcher`](crate::Watcher), which may be told of an exit where a
/// simulation is about to decide who goes on, and can take no lock there that others wait for.
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::sync::Bell;
/// let bell = Bell::new(None);                                            // the machine's time
/// let before = bell.rings();
/// // … look whether there is something to do; if not:
/// assert!(!bell.wait(before, Some(Duration::ZERO)));
/// bell.ring();                                                           // another thread, once there is
/// assert!(bell.wait(before, None));
/// ```
pub struct Bell {
    rings: sync::Mutex<u64>,
    rung: sync::Condvar,
    id: Id,
    scheduler: Option<Arc<dyn Scheduler>>,
}

impl Bell {
    /// One for those who wait by this time: that of a [`Clock`](crate::Clock), whatever is entered on the thread that waits.
    pub fn new(scheduler: Option<Arc<dyn Scheduler>>) -> Bell {
        Bell { rings: sync::Mutex::new(0), rung: sync::Condvar::new(), id: Id::default(), scheduler }
    }

    /// Wakes all that wait.
    pub fn ring(&self) {
        *self.count() += 1;
        self.rung.notify_all();
        if let Some(scheduler) = &self.scheduler {
            scheduler.wake(self.id.0);
        }
    }

    /// How often it was rung so far.
    pub fn rings(&self) -> u64 {
        *self.count()
    }

    /// Waits until it was rung more often than that; `false`: not in time.
    pub fn wait(&self, rings: u64, timeout: Option<Duration>) -> bool {
        if let Some(scheduler) = &self.scheduler {
            return scheduler.block_on(self.id.0, timeout, &mut || self.rings() > rings);
        }
        let is_silent = |count: &mut u64| *count <= rings;
        let count = self.count();
        let count = match timeout {
            None => self.rung.wait_while(count, is_silent).unwrap_or_else(PoisonError::into_inner),
            // Beyond what clocks can say is as good as for ever.
            Some(timeout) => {
                let timeout = timeout.min(Duration::from_secs(u32::MAX.into()));
                self.rung.wait_timeout_while(count, timeout, is_silent).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *count > rings
    }

    fn count(&self) -> sync::MutexGuard<'_, u64> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bell({} rings)", self.rings())
    }
}
