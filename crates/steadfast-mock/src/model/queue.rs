//! [`Queue`]: what happens when. Few events are near; they are in a heap that stays in the cache. The many that are not are in buckets,
//! by the highest bit in which their time differs from a time that has been reached (a radix heap): so an event costs the same among ten
//! thousand others as among ten.

use super::ids::Slot;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// The time (64 bits), the rank among those of one time (8), the order in which they were scheduled (56). One number is compared
    /// faster than three.
    key: u128,
    pub(crate) slot: Slot,
    /// By which its process knows whether it still counts.
    pub(crate) stamp: u32,
}

impl Event {
    pub(crate) fn time(&self) -> u64 {
        (self.key >> 64) as u64
    }
}

pub(crate) struct Queue {
    /// All up to the horizon, which no later event is before.
    near: BinaryHeap<Reverse<Event>>,
    horizon: u64,
    /// Those beyond it: bucket `n` has those whose time differs from `base` in bit `n` and in none above.
    far: [Vec<Event>; 64],
    /// Which of these have any.
    filled: u64,
    /// A time that no event in `far` is before.
    base: u64,
    scheduled: u64,
}

/// So many are sorted at once.
const FEW: usize = 32;

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue { near: BinaryHeap::new(), horizon: 0, far: [const { Vec::new() }; 64], filled: 0, base: 0, scheduled: 0 }
    }

    pub(crate) fn push(&mut self, time: u64, rank: u8, slot: Slot, stamp: u32) {
        self.scheduled += 1;
        let key = u128::from(time) << 64 | u128::from(rank) << 56 | u128::from(self.scheduled);
        self.put(Event { key, slot, stamp });
    }

    fn put(&mut self, event: Event) {
        let time = event.time();
        if time <= self.horizon {
            self.near.push(Reverse(event));
        } else {
            let bucket = (time ^ self.base).ilog2();
            self.far[bucket as usize].push(event);
            self.filled |= 1 << bucket;
        }
    }

    /// The next one, which stays. `counts`: whether an event does; those that do not are forgotten.
    pub(crate) fn peek(&mut self, counts: impl Fn(&Event) -> bool) -> Option<&Event> {
        loop {
            while self.near.peek().is_some_and(|Reverse(event)| !counts(event)) {
                self.near.pop();
            }
            if !self.near.is_empty() || !self.approach(&counts) {
                break;
            }
        }
        self.near.peek().map(|Reverse(event)| event)
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.near.pop().map(|Reverse(event)| event)
    }

    /// Moves the horizon, when nothing is left before it; whether there is anything beyond.
    fn approach(&mut self, counts: impl Fn(&Event) -> bool) -> bool {
        if self.filled == 0 {
            return false;
        }
        let bucket = self.filled.trailing_zeros() as usize;
        self.filled &= self.filled - 1;
        let mut events = std::mem::take(&mut self.far[bucket]);
        // Looked at together, their processes are fetched from memory together.
        events.retain(counts);
        let times = || events.iter().map(Event::time);
        // Whatever is in the buckets above differs from these times in the same bit as from the old base.
        match (times().min(), times().max()) {
            (Some(_), Some(last)) if events.len() <= FEW => (self.base, self.horizon) = (last, last),
            (Some(first), _) => (self.base, self.horizon) = (first, first),
            _ => {}
        }
        for event in events.drain(..) {
            self.put(event);
        }
        // With its room.
        if self.far[bucket].is_empty() {
            self.far[bucket] = events;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_whenever_they_were_scheduled_and_without_those_that_do_not_count() {
        let mut rng = fastrand::Rng::with_seed(0);
        for spread in [1, 2, 10, 1_000, 1 << 40, 1 << 60] {
            let (mut queue, mut model) = (Queue::new(), std::collections::BTreeSet::new());
            let (mut now, mut order) = (0_u64, 0);
            for _ in 0..10_000 {
                if rng.u8(0..5) < 3 {
                    let (time, rank, stamp) = (now.saturating_add(rng.u64(0..spread)), rng.u8(..), rng.u32(0..4));
                    order += 1;
                    queue.push(time, rank, order, stamp);
                    if stamp > 0 {
                        model.insert((time, rank, order));
                    }
                } else {
                    let next = queue.peek(|event| event.stamp > 0).map(Event::time);
                    let expected = model.pop_first();
                    assert_eq!(next, expected.map(|(time, ..)| time));
                    assert_eq!(queue.pop().map(|event| event.slot), expected.map(|(_, _, order)| order));
                    now = next.unwrap_or(now);
                }
            }
        }
    }
}
