//! What `flight.rs` and `start.rs` take from their crate, here.

use crate::checker::share;
use crate::kernel::{self, WORLD};
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use steadfast_core::Clock;
use steadfast_core::sync::Scheduler;

pub(crate) mod arch {
    pub(crate) const LEAVES_ERRNO_ALONE: bool = true;
}

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU8, Ordering};

    use super::{WORLD, share};

    /// By its place in the world.
    pub(crate) struct AtomicU32(usize);

    impl AtomicU32 {
        pub(crate) fn new(value: u32) -> AtomicU32 {
            WORLD.with_borrow_mut(|world| {
                world.atomics.push(value);
                AtomicU32(world.atomics.len() - 1)
            })
        }

        pub(crate) fn load(&self, _: Ordering) -> u32 {
            share(&WORLD, |world| world.atomics[self.0])
        }

        pub(crate) fn store(&self, value: u32, _: Ordering) {
            share(&WORLD, |world| world.atomics[self.0] = value);
        }

        /// For calls that know it.
        pub(crate) fn as_ptr(&self) -> *mut u32 {
            std::ptr::null_mut()
        }
    }

    pub(crate) struct AtomicBool(AtomicU32);

    impl From<bool> for AtomicBool {
        fn from(value: bool) -> AtomicBool {
            AtomicBool(AtomicU32::new(value.into()))
        }
    }

    impl AtomicBool {
        pub(crate) fn load(&self, ordering: Ordering) -> bool {
            self.0.load(ordering) != 0
        }

        pub(crate) fn store(&self, value: bool, ordering: Ordering) {
            self.0.store(value.into(), ordering);
        }
    }
}

pub(crate) mod clock {
    pub(crate) use super::SystemClock;
}

pub(crate) mod fork {
    /// Nobody forks.
    pub(crate) fn generation() -> u32 {
        0
    }
}

pub(crate) mod raw {
    /// futex(2) on the word, read(2) from the pipe.
    macro_rules! syscall {
        (libc::SYS_futex, $word:expr, libc::FUTEX_WAIT, $value:expr, $time:expr) => {
            crate::others::futex_wait($word, $time)
        };
        (libc::SYS_futex, $word:expr, libc::FUTEX_WAKE, $most:expr) => {
            crate::others::futex_wake($word, $most)
        };
        (libc::SYS_read, $fd:expr, $room:expr, $length:expr) => {
            crate::others::read($fd, $room, $length)
        };
    }
    pub(crate) use syscall;

    pub(crate) fn poll(entry: &mut libc::pollfd, time: i32) -> i32 {
        entry.revents = super::kernel::poll(time != 0);
        i32::from(entry.revents != 0)
    }
}

pub(crate) unsafe fn futex_wait(_: *mut u32, _: *const libc::timespec) -> Result<i64, steadfast_core::Errno> {
    kernel::futex_wait()
}

pub(crate) unsafe fn futex_wake(_: *mut u32, _: i32) -> Result<i64, steadfast_core::Errno> {
    kernel::futex_wake_all();
    Ok(0)
}

/// What the message says does not matter.
pub(crate) unsafe fn read(_: i32, _: *mut u8, length: usize) -> Result<i64, steadfast_core::Errno> {
    Ok(if kernel::read() { length as i64 } else { 0 })
}

pub(crate) mod stack {
    pub(crate) struct Stack;

    impl Stack {
        pub(crate) fn keep(self) {}
    }
}

pub(crate) mod thread {
    pub(crate) use crate::background::spawn_quiet_thread;
}

pub(crate) mod wait {
    pub(crate) fn own_peak() -> u64 {
        0
    }
}

pub(crate) struct SystemClock;

/// When it all begins; a limit is an hour, and passes at one blow.
pub(crate) fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
    *BEGINNING.get_or_init(Instant::now)
}

pub(crate) const LIMIT: Duration = Duration::from_secs(3600);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let is_up = kernel::is_limited() && share(&WORLD, |world| world.time_is_up);
        beginning() + if is_up { LIMIT } else { Duration::ZERO }
    }

    fn sleep_until(&self, _: Instant) {
        kernel::sleep();
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
