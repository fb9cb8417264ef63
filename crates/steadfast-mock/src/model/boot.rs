//! [`Boot`]: which boot of the simulated machine it is, and start times as they are counted from it.

/// In `/proc` a start time is this coarse: 10 ms.
const TICK: u64 = 10_000_000;

/// From when start times are counted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Boot {
    /// How often it was booted before.
    pub(crate) number: u64,
    at: u64,
}

impl Boot {
    /// The one after this, at this time.
    pub(crate) fn next(self, now: u64) -> Boot {
        Boot { number: self.number + 1, at: now }
    }

    /// A time in ticks since the boot.
    pub(crate) fn ticks(self, time: u64) -> u64 {
        time.saturating_sub(self.at) / TICK
    }

    /// When this tick begins.
    pub(crate) fn time_of(self, tick: u64) -> u64 {
        self.at.saturating_add(tick.saturating_mul(TICK))
    }
}
