//! [`Within`]: the limit of a call, from its beginning on.

use std::ffi::OsStr;
use std::time::{Duration, Instant};
use steadfast_core::Error;

/// A limit for a call, which may begin with a spawn.
#[derive(Clone, Copy)]
pub(crate) struct Within {
    limit: Duration,
    pub(crate) deadline: Instant,
}

impl Within {
    /// From now on. Later than the clock can say is as good as never.
    pub(crate) fn from(now: Instant, limit: Option<Duration>) -> Option<Within> {
        let limit = limit?;
        now.checked_add(limit).map(|deadline| Within { limit, deadline })
    }

    /// The program did not run by then.
    pub(crate) fn too_late(&self, program: &OsStr) -> Error {
        Error::SpawnTimedOut { program: program.to_owned(), limit: self.limit }
    }
}
