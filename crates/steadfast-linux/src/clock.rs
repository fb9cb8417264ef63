//! The clock of both real backends: `CLOCK_MONOTONIC`, as std has it.

use std::sync::Arc;
use std::time::Instant;
use steadfast_core::Clock;
use steadfast_core::sync::Scheduler;

/// The operating system's monotonic clock. It stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) {
        #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else is told to ask")]
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
