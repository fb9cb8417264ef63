//! Waiting for several processes: [`wait_any`] for a few, once, and [`WaitSet`] for thousands, again and again.

mod alarm;
mod any;
mod changed;
mod changes;
mod emptied;
mod entries;
mod jobs;
mod later;
mod member;
mod next;
mod own;
mod ready;
mod set;
mod signal;
mod take;

use crate::ExitStatus;
use std::sync::Arc;
use steadfast_core::{Error, Process, Result, Until, Watcher};

pub(crate) use alarm::Alarm;
pub use any::wait_any;
pub use changed::Changed;
pub use emptied::Emptied;
pub(crate) use later::{SHORTEST, longer, soon};
pub use member::Member;
pub use next::{Interrupter, Next};
pub use ready::Ready;
pub use set::{Exited, WaitSet};

/// What a look at a process has come to.
pub(crate) enum Verdict {
    /// It is over: with its status, or why that is unknown.
    Over(Result<ExitStatus>),
    /// That cannot be told yet. It runs; or it is no child of ours and perhaps not gone; or it has exited, and a debugger has it. Of the
    /// last two only the backend finds out the end ([`watch_end`](Process::watch_end)).
    NotYet,
    /// The look was refused for the moment, which says nothing of the process. Nor would the backend tell of it, if it has told before.
    Refused,
}

/// Looks whether it has come to this end, and reaps. The watcher does not watch it any more.
pub(crate) fn verdict(process: &Process, end: Until, watcher: &Arc<dyn Watcher>, token: u64) -> Verdict {
    // Unwatched, or the watcher would be told of what happens here.
    match process.try_wait_unwatched(watcher, token) {
        Ok(None) => Verdict::NotYet,
        Ok(Some(status)) => Verdict::Over(Ok(status)),
        // Of the exit of what is no child only the backend can tell.
        Err(Error::NoChild { pid }) if end == Until::Exited && process.was_told_of(end) => {
            Verdict::Over(Err(Error::NoChild { pid }))
        }
        Err(Error::NoChild { .. }) if process.is_running() => Verdict::NotYet,
        Err(error) if error.is_of_the_moment() => Verdict::Refused,
        Err(error) => Verdict::Over(Err(error)),
    }
}
