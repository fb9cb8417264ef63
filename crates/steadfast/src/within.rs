//! [`Within`]: the limit of a call, from its beginning on.

use std::time::{Duration, Instant};

/// A limit for a call, which may begin with a spawn.
#[derive(Clone, Copy)]
pub(crate) struct Within {
    pub(crate) limit: Duration,
    pub(crate) deadline: Instant,
}

impl Within {
    /// From now on. Later than the clock can say is as good as never.
    pub(crate) fn from(now: Instant, limit: Option<Duration>) -> Option<Within> {
        let limit = limit?;
        now.checked_add(limit).map(|deadline| Within { limit, deadline })
    }
}
