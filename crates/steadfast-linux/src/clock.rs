//! The clock of both real backends: `CLOCK_MONOTONIC`, as std has it.

use rustix::event::Timespec;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::Clock;
use steadfast_core::sync::Scheduler;

/// The operating system's monotonic clock. It stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// At a time: any kernel takes it, and then whoever waits looks again.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) {
        // Not std's sleep: a signal has it sleep for what the kernel says is left, which is 50 µs more (the timer's slack) than is left. In a
        // storm of signals it never ends.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let left = left.min(LONGEST);
            let time = libc::timespec { tv_sec: left.as_secs() as libc::time_t, tv_nsec: left.subsec_nanos() as _ };
            // SAFETY: the call reads one timespec, which is ours; what is left is not asked for.
            unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
        }
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}

/// The time since boot, sleep included: what start times in `/proc` are told by. (rustix asks the vDSO, which it looks for where valgrind 3.19
/// has none, and dies of it.)
pub fn boot_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is ours. It cannot fail: every kernel since 2.6.39 has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// How long a call is to wait at the most, as the kernel takes it: no more than a year, after which the caller looks again.
pub fn timespec(left: Duration) -> Timespec {
    let left = left.min(LONGEST);
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos() as _ }
}
