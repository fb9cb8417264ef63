//! [`Collector`]: waiting where a filter forbids `waitid(2)`.
//!
//! `wait4(2)` cannot look without reaping. So it is only ever asked with `WNOHANG`, under a lock that signals take as well, and
//! the status is kept: no signal goes out after the reap here either, and until somebody asks for the reap it is the zombie that it would be
//! elsewhere, which takes signals and can be found. The price is that it asks again and again, at first after a quarter of a millisecond,
//! at last every 20.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Errno, Exit, Pauses, Pid};
use steadfast_linux::{SystemClock, wait4_now};

pub(crate) struct Collector {
    pid: Pid,
    state: Mutex<State>,
}

/// Who has the number.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Ours,
    /// Ours, in a stop that its tracer has to hear of.
    Traced,
    /// Other code has reaped ours, and a stranger is not to be.
    Stranger,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    /// Not reaped by us.
    Waitable,
    /// Reaped; nobody has asked for the reap yet.
    Collected(Exit),
    /// Reaped, and asked for.
    Taken,
}

impl Collector {
    pub(crate) fn new(pid: Pid) -> Collector {
        Collector { pid, state: Mutex::new(State::Waitable) }
    }

    /// Looks at the number in this state: none of our threads collects it meanwhile.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(State) -> T) -> T {
        look(*self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call with the PID, unless the number is not ours any more. A zombie takes every signal.
    pub(crate) fn unless_collected<T>(&self, call: impl FnOnce() -> Result<T, Errno>) -> Result<Option<T>, Errno> {
        // Nobody takes it away between the look and the call.
        let state = self.lock();
        match *state {
            State::Waitable => call().map(Some),
            State::Collected(_) => Ok(None),
            State::Taken => Err(Errno::SRCH),
        }
    }

    /// `found`: who has the number now, asked before each look, which reaps them.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>, found: impl Fn() -> Found + Copy) -> Result<Option<Exit>, Errno> {
        let mut pauses = Pauses::new(Duration::from_micros(250), Duration::from_millis(20));
        loop {
            if let Some(exit) = self.look(found)? {
                return Ok(Some(exit));
            }
            if deadline.is_some_and(|deadline| deadline <= SystemClock.now()) {
                return Ok(None);
            }
            pauses.sleep(&SystemClock, deadline);
        }
    }

    /// Hands out the reap, once.
    pub(crate) fn take(&self, found: impl Fn() -> Found) -> Result<Option<Exit>, Errno> {
        let exit = self.look(found)?;
        if exit.is_some() {
            *self.lock() = State::Taken;
        }
        Ok(exit)
    }

    fn look(&self, found: impl Fn() -> Found) -> Result<Option<Exit>, Errno> {
        let mut state = self.lock();
        match *state {
            State::Waitable => {
                let exit = match found() {
                    Found::Ours => wait4_now(self.pid)?,
                    Found::Traced => None,
                    Found::Stranger => return Err(Errno::CHILD),
                };
                if let Some(exit) = exit {
                    *state = State::Collected(exit);
                }
                Ok(exit)
            }
            State::Collected(exit) => Ok(Some(exit)),
            State::Taken => Err(Errno::CHILD),
        }
    }
}
