//! A job of which no event tells that it is empty: it is looked at again and again, with pauses.

use crate::clock::SystemClock;
use crate::file::errno_of;
use crate::thread::spawn_quiet_thread;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{BackendJob, Clock, Errno, Error, OnExit, Pauses, Result, contain};

/// Between two looks.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// Until a look says that it is empty; with a deadline in the past there is one. A failure of the moment is no answer.
pub(super) fn wait_empty(
    is_empty: impl Fn() -> Result<bool>,
    pause: impl Fn(Duration),
    deadline: Option<Instant>,
) -> Result<bool> {
    let mut pauses = Pauses::new(SHORTEST, LONGEST);
    loop {
        let looked = is_empty();
        match looked {
            Ok(true) => return Ok(true),
            _ if deadline.is_none_or(|deadline| SystemClock.now() < deadline)
                && looked.as_ref().map_or_else(Error::is_of_the_moment, |_| true) => {}
            looked => return looked,
        }
        pause(pauses.next(&SystemClock, deadline));
    }
}

/// Calls when it is empty, on a thread of this name; at once, if it is now.
pub(super) fn on_empty(job: Arc<dyn BackendJob>, thread: &str, failed: impl Fn(Errno) -> Error, tell: OnExit) -> Result<()> {
    if job.wait_empty(Some(SystemClock.now()))? {
        contain(tell);
        return Ok(());
    }
    let started = spawn_quiet_thread(thread, move || {
        // It fails where `/proc` is gone; who is told looks himself, and gets the error.
        drop(job.wait_empty(None));
        contain(tell);
    });
    started.map_err(|error| failed(errno_of(&error)))
}
