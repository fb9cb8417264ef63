//! A simulation keeps up with the clock that it follows.

use super::follow::Outside;
use super::world::World;
use std::task::Waker;

/// What a waker is woken for, if it is different afterwards.
#[derive(PartialEq)]
pub(crate) struct Before {
    changes: u64,
    next: Option<u64>,
}

impl World {
    pub(crate) fn follows(&self) -> bool {
        self.host.following.outside.is_some()
    }

    /// Lets everything happen that has by now.
    pub(crate) fn catch_up(&mut self) {
        let Some(Outside { clock, began: (began, start) }) = &self.host.following.outside else { return };
        let (Some(now), start) = (clock(), *start) else { return };
        let now = start.saturating_add(now.saturating_duration_since(*began).as_nanos() as u64);
        while self.next_event().is_some_and(|at| at <= now) {
            self.happen();
        }
        self.now = self.now.max(now);
    }

    pub(crate) fn before(&mut self) -> Before {
        Before { changes: self.host.threads.changes(), next: self.next_event() }
    }

    /// Those who are to look again.
    pub(crate) fn awakened(&mut self, before: &Before) -> Vec<Waker> {
        if self.host.following.wakers.is_empty() || self.before() == *before {
            return Vec::new();
        }
        std::mem::take(&mut self.host.following.wakers)
    }
}
