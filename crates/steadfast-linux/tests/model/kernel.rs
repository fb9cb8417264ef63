//! The kernel: one child, a word that it clears, a pipe that ends, a clock.

use crate::checker::{share, wait_for};
use std::cell::RefCell;
use std::collections::BTreeSet;
use steadfast_core::Errno;

#[derive(Debug, Default)]
pub(crate) struct World {
    /// The atomics, in the order in which they are made; first the word.
    pub(crate) atomics: Vec<u32>,
    pub(crate) life: Life,
    pub(crate) is_killed: bool,
    /// It has told of a failure.
    pub(crate) has_failed: bool,
    /// And that is in the pipe.
    has_message: bool,
    /// What it uses is its own.
    pub(crate) has_copy: bool,
    /// What it borrows is gone.
    pub(crate) is_freed: bool,
    pub(crate) was_told: bool,
    pub(crate) time_is_up: bool,
    /// On the word.
    asleep: Vec<usize>,
    woken: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Life {
    /// In our memory.
    #[default]
    Borrows,
    Executed,
    /// It has left our memory, and is no zombie yet.
    Ends,
    Zombie,
    Reaped,
}

thread_local! {
    pub(crate) static WORLD: RefCell<World> = RefCell::default();
    /// Whose wait ends when the time is up.
    static LIMITED: RefCell<BTreeSet<usize>> = RefCell::default();
}

pub(crate) fn begin() {
    WORLD.take();
    LIMITED.take();
}

fn me() -> usize {
    shuttle::current::me().into()
}

pub(crate) fn is_limited() -> bool {
    LIMITED.with_borrow(|limited| limited.contains(&me()))
}

/// The calling thread waits no longer than that.
pub(crate) fn limit() {
    LIMITED.with_borrow_mut(|limited| limited.insert(me()));
}

/// And now as long as it takes.
pub(crate) fn no_limit() {
    LIMITED.with_borrow_mut(|limited| limited.remove(&me()));
}

/// What the word is while the child is in our memory.
const TAKEN: u32 = 1;

impl World {
    fn word(&mut self) -> &mut u32 {
        &mut self.atomics[0]
    }

    /// The child uses what it borrows.
    pub(crate) fn uses(&self) {
        assert!(self.has_copy || !self.is_freed, "the child uses what was freed");
    }

    pub(crate) fn fails(&mut self) {
        (self.has_failed, self.has_message) = (true, true);
    }

    /// The child has left our memory.
    pub(crate) fn leaves(&mut self, life: Life, clears_word: bool) {
        self.life = life;
        if clears_word {
            *self.word() = 0;
            // One: as mm_release() does it.
            self.wake(1);
        }
    }

    fn wake(&mut self, most: usize) {
        let some = self.asleep.len().min(most);
        self.woken.extend(self.asleep.drain(..some));
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Zombie | Life::Reaped)
    }

    /// A slice of time has passed in which there was something new.
    fn is_over_for(&self, is_limited: bool) -> bool {
        self.has_ended() || (is_limited && self.time_is_up)
    }

    /// Of the channel.
    fn events(&self) -> i16 {
        let data = if self.has_message { libc::POLLIN } else { 0 };
        let end = if self.life == Life::Borrows { 0 } else { libc::POLLHUP };
        data | end
    }
}

pub(crate) fn futex_wait() -> Result<i64, Errno> {
    let (me, is_limited) = (me(), is_limited());
    let sleeps = share(&WORLD, |world| {
        let sleeps = *world.word() == TAKEN;
        if sleeps {
            world.asleep.push(me);
        }
        sleeps
    });
    if !sleeps {
        return Err(Errno::AGAIN);
    }
    let is_woken = wait_for(&WORLD, |world| {
        let before = world.woken.len();
        world.woken.retain(|other| *other != me);
        if world.woken.len() < before {
            return Some(true);
        }
        world.is_over_for(is_limited).then(|| {
            world.asleep.retain(|other| *other != me);
            false
        })
    });
    if is_woken { Ok(0) } else { Err(Errno::TIMEDOUT) }
}

pub(crate) fn futex_wake_all() {
    share(&WORLD, |world| world.wake(usize::MAX));
}

/// What there is of the channel, now or after a slice.
pub(crate) fn poll(blocks: bool) -> i16 {
    let is_limited = is_limited();
    wait_for(&WORLD, |world| {
        let is_over = !blocks || world.events() != 0 || world.is_over_for(is_limited);
        is_over.then(|| world.events())
    })
}

/// Whether there was a message: there is none from then on.
pub(crate) fn read() -> bool {
    share(&WORLD, |world| std::mem::take(&mut world.has_message))
}

/// Until something has changed that is not an event of its own.
pub(crate) fn sleep() {
    let is_limited = is_limited();
    wait_for(&WORLD, |world| world.is_over_for(is_limited).then_some(()));
}

/// Whether it is reaped by now; `blocks`: once it can be, or the time is up.
pub(crate) fn reap(blocks: bool) -> bool {
    let is_limited = is_limited();
    wait_for(&WORLD, |world| {
        let has_ended = world.has_ended();
        if has_ended {
            world.life = Life::Reaped;
        }
        (!blocks || world.is_over_for(is_limited)).then_some(has_ended)
    })
}

pub(crate) fn kill() {
    share(&WORLD, |world| world.is_killed = true);
}
