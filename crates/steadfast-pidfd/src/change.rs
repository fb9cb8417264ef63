//! Stops and continuations of a child that is held by its pidfd.
//!
//! A pidfd becomes readable at the exit alone. So whoever waits for a change sleeps in `waitid(2)`, and where there is a limit, a thread does that in
//! his place: until the next change or the exit, for nothing but a signal handler of the program's could call it back.

use crate::process::PidfdProcess;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Duration;
use steadfast_core::{Change, Errno, OnExit, Pauses, contain};
use steadfast_linux::{Blocking, SystemClock, Target, look_for_change, spawn_quiet_thread, take_change};

/// Between two looks, where no event tells.
fn pauses() -> Pauses {
    Pauses::new(Duration::from_millis(1), Duration::from_millis(50))
}

impl PidfdProcess {
    pub(crate) fn change_now(&self) -> Result<Option<Change>, Errno> {
        take_change(Target::Pidfd(self.pidfd()), Blocking::Now)
    }

    pub(crate) fn change(&self) -> Result<Change, Errno> {
        let mut pauses = pauses();
        loop {
            if let Some(change) = take_change(Target::Pidfd(self.pidfd()), self.blocking())? {
                return Ok(change);
            }
            // A stop that is our tracer's, a pidfd that does not block, or one that was found and may not be a child for long.
            pauses.sleep(&SystemClock, None);
        }
    }

    pub(crate) fn tell_of_change(self: Arc<Self>, tell: OnExit) -> Result<(), Errno> {
        if has_news(look_for_change(Target::Pidfd(self.pidfd()), Blocking::Now)) {
            contain(tell);
            return Ok(());
        }
        let started = match self.blocking() {
            Blocking::Block => {
                // Of its own, for the thread stays when the handle goes.
                let pidfd = self.duplicate()?;
                spawn_quiet_thread("steadfast-change", move || {
                    let mut pauses = pauses();
                    while !has_news(look_for_change(Target::Pidfd(pidfd.as_fd()), Blocking::Block)) {
                        pauses.sleep(&SystemClock, None);
                    }
                    drop(pidfd);
                    contain(tell);
                })
            }
            Blocking::Now => {
                let process = Arc::downgrade(&self);
                spawn_quiet_thread("steadfast-change", move || tell_by_looking(&process, tell))
            }
        };
        started.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::AGAIN.as_raw())))
    }
}

/// Until nobody has the handle any more.
fn tell_by_looking(process: &Weak<PidfdProcess>, tell: OnExit) {
    let mut pauses = pauses();
    while let Some(process) = process.upgrade() {
        if has_news(look_for_change(Target::Pidfd(process.pidfd()), Blocking::Now)) {
            return contain(tell);
        }
        drop(process);
        pauses.sleep(&SystemClock, None);
    }
}

/// Whether a look has something to return now: an error too, if it stays.
fn has_news(looked: Result<Option<Change>, Errno>) -> bool {
    match looked {
        Ok(change) => change.is_some(),
        Err(errno) => errno != Errno::INTR && !errno.is_of_the_moment(),
    }
}
