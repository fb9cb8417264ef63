//! Waiting for several processes: [`wait_any`] for a few, once, and [`WaitSet`] for thousands, again and again.

mod any;
mod entries;
mod set;
mod signal;

use crate::ExitStatus;
use steadfast_core::{Error, Process, Result};

pub use any::wait_any;
pub use set::{Exited, Ready, WaitSet};

/// How a process ended, or why that is unknown; `None` if that cannot be told yet. It runs; or it is no child of ours and perhaps not
/// gone; or it has exited, and a debugger has it. Of the last two only the backend finds out the end
/// ([`watch_exit`](Process::watch_exit)).
pub(crate) fn verdict(process: &Process) -> Option<Result<ExitStatus>> {
    match process.try_wait() {
        Ok(None) => None,
        Err(Error::NoChild { .. }) if process.is_running() => None,
        answer => answer.transpose(),
    }
}
