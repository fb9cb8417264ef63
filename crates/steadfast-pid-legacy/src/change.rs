//! Stops and continuations of a child that is held by its number.

use super::{LegacyProcess, Waiting};
use crate::os::{Blocking, SystemClock, Target, look_for_change, spawn_quiet_thread, take_change};
use crate::watch::thread_errno;
use std::sync::{Arc, Weak};
use std::time::Duration;
use steadfast_core::{Change, Errno, Error, OnExit, Pauses, Result, contain};

impl LegacyProcess {
    /// What there is to be told of a change. It is taken by the number, just after a look whether that is ours.
    pub(super) fn change_now(&self) -> Result<Option<Change>> {
        self.check_changes()?;
        take_change(Target::Pid(self.pid), Blocking::Now).map_err(self.failed("waitid"))
    }

    pub(super) fn change(&self) -> Result<Change> {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
        loop {
            self.check_changes()?;
            let blocking = if self.stays_a_child() { Blocking::Block } else { Blocking::Now };
            if let Some(change) = take_change(Target::Pid(self.pid), blocking).map_err(self.failed("waitid"))? {
                return Ok(change);
            }
            // A stop of a child that we trace, or one that may not stay a child.
            pauses.sleep(&SystemClock, None);
        }
    }

    /// Whether its changes can be waited for: it is ours, and a look does not reap.
    fn check_changes(&self) -> Result<()> {
        if let Waiting::Wait4(_) = self.waiting {
            let what = "stops and continuations are not told where waitid(2) is filtered: wait4(2) would reap with the same call";
            return Err(Error::Unsupported { backend: "pid-legacy", what: what.into() });
        }
        match !self.has_crossed() && self.is_ours()? {
            true => Ok(()),
            false => Err(self.failed("waitid")(Errno::CHILD)),
        }
    }

    pub(super) fn tell_of_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        match self.check_changes().and_then(|()| self.has_changed()) {
            Ok(false) => {}
            Err(error) if error.errno() != Some(Errno::CHILD) => return Err(error),
            Ok(true) | Err(_) => {
                contain(tell);
                return Ok(());
            }
        }
        let failed = self.failed("start a thread that waits");
        match &self.waiting {
            Waiting::Waitid(watches) if self.stays_a_child() => watches.of_change(self.pid).map_err(failed)?.tell(tell),
            _ => {
                let process = Arc::downgrade(&self);
                let run = move || LegacyProcess::look_until_changed(&process, tell);
                spawn_quiet_thread("steadfast-change", run).map_err(thread_errno).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn has_changed(&self) -> Result<bool> {
        let seen = look_for_change(Target::Pid(self.pid), Blocking::Now).map_err(self.failed("waitid"))?;
        Ok(seen.is_some())
    }

    fn look_until_changed(process: &Weak<LegacyProcess>, tell: OnExit) {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
        while let Some(process) = process.upgrade() {
            match process.check_changes().and_then(|()| process.has_changed()) {
                Ok(false) => {}
                Err(error) if error.is_of_the_moment() => {}
                Ok(true) | Err(_) => return contain(tell),
            }
            drop(process);
            pauses.sleep(&SystemClock, None);
        }
    }
}
