//! [`Later`]: those of a set that have to be looked at again, because the system has refused, for the moment, to tell of their exits.

use crate::places::Token;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use steadfast_core::Clock;
use steadfast_linux::{SystemClock, spawn_quiet_thread};

/// From one look to the next, at first;
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
/// and at last.
const LONGEST: Duration = Duration::from_millis(50);

pub(super) struct Later {
    tokens: BTreeSet<u64>,
    /// The next look at all of them.
    at: Option<Instant>,
    pause: Duration,
}

impl Later {
    pub(super) fn new() -> Later {
        Later { tokens: BTreeSet::new(), at: None, pause: SHORTEST }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// When to look at them, if there are any.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at.filter(|_| !self.is_empty())
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    pub(super) fn add(&mut self, token: Token, now: Instant) {
        self.tokens.insert(token.0);
        self.at.get_or_insert(now + self.pause);
    }

    /// All of them, to be looked at now. Whoever could not be watched then comes back.
    pub(super) fn take(&mut self, now: Instant) -> impl Iterator<Item = Token> {
        if self.at.take().is_some_and(|at| at <= now) {
            self.pause = longer(self.pause);
        }
        std::mem::take(&mut self.tokens).into_iter().map(Token)
    }

    /// There is something left again, of whatever had run out: an exit gives it back.
    pub(super) fn hope(&mut self) {
        self.pause = SHORTEST;
    }
}

pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST)
}

/// Calls after a pause, on a thread of its own; at once, if no thread can be started.
pub(crate) fn soon(pause: Duration, call: impl Fn() + Clone + Send + 'static) {
    let then = call.clone();
    let run = move || {
        SystemClock.sleep_until(SystemClock.now() + pause);
        then();
    };
    if spawn_quiet_thread("steadfast-again", run).is_err() {
        call();
    }
}
