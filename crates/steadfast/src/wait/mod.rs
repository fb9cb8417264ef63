//! Waiting for several processes: [`wait_any`] for a few, once, and [`WaitSet`] for thousands, again and again.

mod alarm;
mod any;
mod entries;
mod set;
mod signal;

use crate::ExitStatus;
use std::sync::Arc;
use steadfast_core::{Error, Process, Result, Watcher};

pub(crate) use alarm::Alarm;
pub use any::wait_any;
pub use set::{Exited, Ready, WaitSet};

/// How a process ended, or why that is unknown; `None` if that cannot be told yet. It runs; or it is no child of ours and perhaps not
/// gone; or it has exited, and a debugger has it. Of the last two only the backend finds out the end
/// ([`watch_exit`](Process::watch_exit)). The watcher does not watch it any more.
pub(crate) fn verdict(process: &Process, watcher: &Arc<dyn Watcher>, token: u64) -> Option<Result<ExitStatus>> {
    // Unwatched, or the watcher would be told of what happens here.
    match process.try_wait_unwatched(watcher, token) {
        Ok(None) => None,
        Err(Error::NoChild { .. }) if process.is_running() => None,
        answer => answer.transpose(),
    }
}
