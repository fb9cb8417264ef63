//! How a simulation follows another clock: an async runtime's.

use super::shared::Kernel;
use crate::order::follow::Outside;
use std::task::Waker;
use std::time::Instant;
use steadfast_core::sync::OutsideClock;

impl Kernel {
    pub(crate) fn follow(&self, clock: OutsideClock, waker: &Waker) -> Option<Instant> {
        let now = clock()?;
        let mut world = self.lock();
        if !world.follows() {
            let began = (now, world.now);
            world.host.following.outside = Some(Outside { clock, began });
        }
        let (began, next) = self.with_present(world, |world| {
            // If something has happened just now it is woken at once, as all are, and comes again.
            let wakers = &mut world.host.following.wakers;
            if !wakers.iter().any(|other| other.will_wake(waker)) {
                wakers.push(waker.clone());
            }
            (world.host.following.outside.as_ref().map(|outside| outside.began), world.next_event())
        });
        let (began, start) = began?;
        Some(began + std::time::Duration::from_nanos(next?.saturating_sub(start)))
    }
}
