//! A simulation whose time is another clock's: an async runtime's, which may be virtual too.

use std::task::Waker;
use std::time::Instant;
use steadfast_core::sync::OutsideClock;

/// Whom the simulation follows, if anybody.
#[derive(Default)]
pub(crate) struct Following {
    pub(crate) outside: Option<Outside>,
    /// They wait for something to change.
    pub(crate) wakers: Vec<Waker>,
}

pub(crate) struct Outside {
    pub(crate) clock: OutsideClock,
    /// When this began: on that clock, and in the simulation.
    pub(crate) began: (Instant, u64),
}
