//! A simulation whose time is another clock's: an async runtime's, which may be virtual too.

use crate::kernel::Kernel;
use crate::world::World;
use std::task::Waker;
use std::time::Instant;
use steadfast_core::sync::OutsideClock;

/// Whom the simulation follows, if anybody.
#[derive(Default)]
pub(crate) struct Following {
    outside: Option<Outside>,
    /// They wait for something to change.
    wakers: Vec<Waker>,
}

struct Outside {
    clock: OutsideClock,
    /// When this began: on that clock, and in the simulation.
    began: (Instant, u64),
}

/// What a waker is woken for, if it is different afterwards.
#[derive(PartialEq)]
pub(crate) struct Before {
    changes: u64,
    next: Option<u64>,
}

impl World {
    pub(crate) fn follows(&self) -> bool {
        self.following.outside.is_some()
    }

    /// Lets everything happen that has by now.
    pub(crate) fn catch_up(&mut self) {
        let Some(Outside { clock, began: (began, start) }) = &self.following.outside else { return };
        let (Some(now), start) = (clock(), *start) else { return };
        let now = start.saturating_add(now.saturating_duration_since(*began).as_nanos() as u64);
        while self.next_event().is_some_and(|at| at <= now) {
            self.happen();
        }
        self.now = self.now.max(now);
    }

    pub(crate) fn before(&mut self) -> Before {
        Before { changes: self.threads.changes(), next: self.next_event() }
    }

    /// Those who are to look again.
    pub(crate) fn awakened(&mut self, before: &Before) -> Vec<Waker> {
        if self.following.wakers.is_empty() || self.before() == *before {
            return Vec::new();
        }
        std::mem::take(&mut self.following.wakers)
    }
}

impl Kernel {
    pub(crate) fn follow(&self, clock: OutsideClock, waker: &Waker) -> Option<Instant> {
        let now = clock()?;
        let mut world = self.lock();
        if !world.follows() {
            let began = (now, world.now);
            world.following.outside = Some(Outside { clock, began });
        }
        let (began, next) = self.with_present(world, |world| {
            // If something has happened just now it is woken at once, as all are, and comes again.
            let wakers = &mut world.following.wakers;
            if !wakers.iter().any(|other| other.will_wake(waker)) {
                wakers.push(waker.clone());
            }
            (world.following.outside.as_ref().map(|outside| outside.began), world.next_event())
        });
        let (began, start) = began?;
        Some(began + std::time::Duration::from_nanos(next?.saturating_sub(start)))
    }
}
