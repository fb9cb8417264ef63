//! [`Pauses`]: looking again and again, where there is no event to wait for.

use crate::Clock;
use std::time::{Duration, Instant};

/// The pauses between looks at what tells of itself by no event: each twice as long as the one before, up to the longest. For authors of a
/// backend.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Those that begin and end with these.
    pub const fn new(shortest: Duration, longest: Duration) -> Pauses {
        Pauses { next: shortest, longest }
    }

    /// Sleeps for the next one, and not beyond the deadline.
    pub fn sleep(&mut self, clock: &dyn Clock, deadline: Option<Instant>) {
        let pause = self.next(clock, deadline);
        clock.sleep_until(clock.now() + pause);
    }

    /// How long the next one is, for who sleeps by himself; not beyond the deadline.
    pub fn next(&mut self, clock: &dyn Clock, deadline: Option<Instant>) -> Duration {
        let left = deadline.map_or(self.next, |deadline| deadline.saturating_duration_since(clock.now()));
        let pause = left.min(self.next);
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Scheduler;
    use std::sync::{Arc, Mutex};

    /// Its time passes in sleep alone.
    struct Still(Instant, Mutex<Duration>);

    impl Clock for Still {
        fn now(&self) -> Instant {
            self.0 + *self.1.lock().unwrap()
        }
        fn sleep_until(&self, deadline: Instant) {
            *self.1.lock().unwrap() = deadline.saturating_duration_since(self.0);
        }
        fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
            None
        }
    }

    #[test]
    fn each_is_twice_as_long_up_to_the_longest_and_none_goes_beyond_the_deadline() {
        let second = Duration::from_secs(1);
        #[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
        let clock = Still(Instant::now(), Mutex::default());
        let mut pauses = Pauses::new(second, second * 5);
        let mut sleep = |deadline| {
            pauses.sleep(&clock, deadline);
            *clock.1.lock().unwrap()
        };
        assert_eq!([None; 4].map(&mut sleep), [1, 3, 7, 12].map(|n| second * n));
        assert_eq!(sleep(Some(clock.0 + second * 14)), second * 14);
        assert_eq!(sleep(Some(clock.0 + second * 99)), second * 19);
    }
}
