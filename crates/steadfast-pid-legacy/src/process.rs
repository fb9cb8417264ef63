//! One process, held by its number.

// Beside this file, wherever this one is compiled: `tests/model` does so too.
#[path = "change.rs"]
mod change;

use crate::birth::Birth;
use crate::calls::WaitCall;
use crate::collect::{Collector, Found, State};
use crate::life::Life;
use crate::naming;
use crate::orphans;
use crate::os::{
    Blocking, Reaping, SystemClock, Target, generation, kill, kill_group, kill_with_value, may_signal, spawn_quiet_thread, waitid,
};
use crate::siblings::{self, Sibling};
use crate::start_time;
use crate::watch::{Watches, thread_errno};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use steadfast_core::{
    BackendLook, BackendProcess, Change, Clock, Errno, Error, Exit, Identity, OnExit, Pauses, Pid, Result, Signal, Until, contain,
};
use steadfast_linux::look_by_number;

pub(crate) struct LegacyProcess {
    pid: Pid,
    mark: Mark,
    waiting: Waiting,
    /// Where it was made: in the child of a fork(2) it is nobody's child, its threads are not there, and its locks may be held for ever.
    generation: u32,
}

/// What tells it from a later process of its number.
pub(crate) enum Mark {
    Found(Life),
    /// Its number is its own until it is reaped: by us, unless other code does it.
    Child(Birth),
}

#[allow(clippy::large_enum_variant, reason = "with the locks of a model checker, in tests/model")]
enum Waiting {
    Waitid(Watches),
    Wait4(Collector),
}

impl LegacyProcess {
    /// One of which nobody holds a handle.
    pub(crate) fn held(pid: Pid, mark: Mark, wait_call: WaitCall) -> Arc<LegacyProcess> {
        let process = Arc::new(LegacyProcess::new(pid, mark, wait_call));
        if wait_call == WaitCall::Wait4 {
            siblings::add(pid, Arc::<LegacyProcess>::clone(&process));
        }
        process
    }

    pub(crate) fn new(pid: Pid, mark: Mark, wait_call: WaitCall) -> LegacyProcess {
        let waiting = match wait_call {
            WaitCall::Waitid => Waiting::Waitid(Watches::default()),
            WaitCall::Wait4 => Waiting::Wait4(Collector::new(pid)),
        };
        LegacyProcess { pid, mark, waiting, generation: generation() }
    }

    /// Whether the number still is our process's. See the crate's page for the window behind this check.
    fn is_ours(&self) -> Result<bool> {
        match &self.waiting {
            _ if self.has_crossed() => self.looks_the_same(),
            Waiting::Waitid(_) if self.is_child() => match self.look() {
                Ok(_) => Ok(true),
                Err(Errno::CHILD) => Ok(false),
                // Refused: that says nothing of it.
                Err(_) => self.looks_the_same(),
            },
            Waiting::Waitid(_) => self.looks_the_same(),
            Waiting::Wait4(collector) => collector.with_state(|state| match state {
                State::Waitable => self.looks_the_same(),
                State::Collected(_) => Ok(true),
                State::Taken => Ok(false),
            }),
        }
    }

    /// Whether whoever has the number can be our process.
    fn looks_the_same(&self) -> Result<bool> {
        match &self.mark {
            Mark::Found(life) => life.goes_on(self.pid),
            Mark::Child(birth) if self.has_crossed() => birth.is_still_of(self.pid),
            Mark::Child(birth) => Ok(birth.may_be_of(self.pid)),
        }
    }

    fn is_child(&self) -> bool {
        matches!(self.mark, Mark::Child(_)) && !self.has_crossed()
    }

    /// Whether it can be waited for in the kernel, to its end. Found, it may be a stranger that counts as a child while this program traces it:
    /// once that lets it go, who sleeps in `waitid(2)` for it is never woken, not by its exit either.
    fn stays_a_child(&self) -> bool {
        match &self.mark {
            Mark::Found(life) => life.is_child_of_ours(self.pid),
            Mark::Child(_) => true,
        }
    }

    /// Whether this is the child of a fork(2) of the process that made it.
    fn has_crossed(&self) -> bool {
        self.generation != generation()
    }

    /// Whom `wait4(2)`, which reaps what it finds, would find. In doubt our process.
    fn found(&self) -> Found {
        match self.looks_the_same() {
            Ok(false) => Found::Stranger,
            _ if start_time::is_traced(self.pid) => Found::Traced,
            _ => Found::Ours,
        }
    }

    fn look(&self) -> Result<Option<Exit>, Errno> {
        self.if_ours(waitid(Target::Pid(self.pid), Blocking::Now, Reaping::Leave)?)
    }

    /// What was seen of the number, if that was our process. If it has not been reaped after the look, the number was its own.
    fn if_ours(&self, seen: Option<Exit>) -> Result<Option<Exit>, Errno> {
        if matches!(self.looks_the_same(), Ok(false)) { Err(Errno::CHILD) } else { Ok(seen) }
    }

    /// Waits for the exit of a child. A stop of a child that we trace ends the call too, and would again at once: there is no event for its end.
    fn wait_for_ever(&self) -> Result<Option<Exit>, Errno> {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
        loop {
            let exit = waitid(Target::Pid(self.pid), Blocking::Block, Reaping::Leave)?;
            if exit.is_some() {
                return self.if_ours(exit);
            }
            pauses.sleep(&SystemClock, None);
        }
    }

    fn wait_until(&self, watches: &Watches, deadline: Instant) -> Result<Option<Exit>, Errno> {
        let seen = self.look()?;
        if seen.is_some() || deadline <= SystemClock.now() {
            return Ok(seen);
        }
        match watches.of_exit(self.pid) {
            Ok(watch) if watch.wait_until(deadline) => self.look(),
            Ok(_) => Ok(None),
            // No thread can be started now, and without one there is no event.
            Err(_) => self.look_until(Some(deadline)),
        }
    }

    fn look_until(&self, deadline: Option<Instant>) -> Result<Option<Exit>, Errno> {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(20));
        loop {
            let seen = self.look()?;
            if seen.is_some() || deadline.is_some_and(|deadline| deadline <= SystemClock.now()) {
                return Ok(seen);
            }
            pauses.sleep(&SystemClock, deadline);
        }
    }

    /// Calls when the process has come to this end, without an event that says so: looks from time to time, until nobody has the handle any
    /// more.
    fn tell_by_looking(self: &Arc<Self>, end: Until, tell: OnExit) -> Result<(), Errno> {
        if self.is_over(end) {
            contain(tell);
            return Ok(());
        }
        let process = Arc::downgrade(self);
        spawn_quiet_thread("steadfast-watch", move || LegacyProcess::look_until_over(&process, end, tell)).map_err(thread_errno)
    }

    fn look_until_over(process: &Weak<LegacyProcess>, end: Until, tell: OnExit) {
        let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
        while let Some(process) = process.upgrade() {
            if process.is_over(end) {
                return contain(tell);
            }
            drop(process);
            pauses.sleep(&SystemClock, None);
        }
    }

    fn is_over(&self, end: Until) -> bool {
        match &self.waiting {
            _ if end == Until::Exited && self.has_exited() => true,
            _ if self.has_crossed() => matches!(self.is_ours(), Ok(false)),
            // Not our child, if it has not become one (PR_SET_CHILD_SUBREAPER): over once the number is nobody's, or another's. What cannot be
            // read now can later.
            Waiting::Waitid(_) => matches!(self.look(), Ok(Some(_))) || matches!(self.is_ours(), Ok(false)),
            Waiting::Wait4(collector) => match collector.wait_until(Some(SystemClock.now()), || self.found()) {
                Ok(exit) => exit.is_some(),
                Err(Errno::CHILD) => self.is_child() || matches!(self.is_ours(), Ok(false)),
                Err(_) => false,
            },
        }
    }

    /// Whether a process that was found has run to its end; what cannot be read now can later.
    fn has_exited(&self) -> bool {
        match &self.mark {
            Mark::Found(life) => matches!(life.has_exited(self.pid), Ok(true)),
            // In the child of a fork(2) it is no child, and only its number is known there.
            Mark::Child(_) => self.has_crossed() && start_time::has_exited(self.pid),
        }
    }

    /// The process as `/proc` holds it, if its signals can go that way.
    fn life(&self) -> Option<&Life> {
        match &self.mark {
            Mark::Found(life) => Some(life),
            Mark::Child(_) => None,
        }
    }

    /// Makes a call with the number, if that still is our process's; `None` for one that had to be reaped to be looked at, and to others is a zombie.
    fn send<T>(&self, call: &'static str, send: impl Fn() -> Result<T, Errno>) -> Result<Option<T>> {
        if !self.is_ours()? {
            return Err(Error::ProcessDone { pid: self.pid });
        }
        match &self.waiting {
            Waiting::Wait4(collector) if !self.has_crossed() => collector.unless_collected(send),
            _ => send().map(Some),
        }
        .map_err(self.failed(call))
    }

    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let pid = self.pid;
        move |errno| Error::on_process(call, pid, errno)
    }
}

impl Sibling for LegacyProcess {
    fn is_meant_by_its_number(&self) -> bool {
        let Waiting::Wait4(collector) = &self.waiting else { return false };
        collector.with_state(|state| match state {
            State::Waitable => matches!(self.looks_the_same(), Ok(true)),
            State::Collected(_) => start_time::check_leads(self.pid).is_err(),
            State::Taken => false,
        })
    }

    fn into_backend(self: Arc<Self>) -> Arc<dyn BackendProcess> {
        self
    }
}

impl Drop for LegacyProcess {
    fn drop(&mut self) {
        if let Waiting::Wait4(_) = self.waiting {
            siblings::forget(self.pid);
        }
    }
}

impl BackendProcess for LegacyProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        let exactly = || self.life().and_then(|life| life.signal(signal));
        self.send("kill", || exactly().unwrap_or_else(|| kill(self.pid, signal))).map(drop)
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        let exactly = || self.life().and_then(|life| life.signal_group(signal));
        match self.send("kill of the group", || exactly().unwrap_or_else(|| kill_group(self.pid, signal))) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Some(Errno::SRCH) && self.is_ours()? => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        let exactly = || self.life().and_then(|life| life.signal_value(signal, value));
        self.send("rt_sigqueueinfo", || exactly().unwrap_or_else(|| kill_with_value(self.pid, signal, value))).map(drop)
    }

    fn may_signal(&self) -> Result<bool> {
        let exactly = || self.life().and_then(Life::may_signal);
        self.send("kill", || exactly().unwrap_or_else(|| may_signal(self.pid))).map(|may| may.unwrap_or(true))
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        look_by_number(self)
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        let gone = || Error::ProcessDone { pid: self.pid };
        if !self.is_ours()? {
            return Err(gone());
        }
        let acted = match &self.waiting {
            // Nobody looks meanwhile, which would be a reap; after one the number is nobody's.
            Waiting::Wait4(collector) if !self.has_crossed() => {
                collector.unless_collected(|| Ok(act(self.pid))).map_err(self.failed("wait4"))?.ok_or_else(gone)?
            }
            _ => act(self.pid),
        };
        if self.is_ours()? { acted } else { Err(gone()) }
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        if self.has_crossed() || !self.is_ours()? {
            // Whoever has the number now is not to be waited for, even if it is a child of ours.
            return Err(self.failed("waitid")(Errno::CHILD));
        }
        match (&self.waiting, deadline) {
            (Waiting::Waitid(_), deadline) if !self.stays_a_child() => self.look_until(deadline),
            (Waiting::Waitid(_), None) => self.wait_for_ever(),
            (Waiting::Waitid(watches), Some(deadline)) => self.wait_until(watches, deadline),
            (Waiting::Wait4(collector), deadline) => collector.wait_until(deadline, || self.found()),
        }
        .map_err(self.failed("waitid"))
    }

    fn reap(&self) -> Result<Option<Exit>> {
        match &self.waiting {
            Waiting::Waitid(watches) => {
                let Some(seen) = self.look().map_err(self.failed("waitid"))? else { return Ok(None) };
                // It has exited, so the watching threads are on their way out of the kernel; they must not be on their way in when the
                // number is given back.
                for watch in watches.all().into_iter().flatten() {
                    watch.wait();
                    // That may have taken a while.
                    if matches!(self.looks_the_same(), Ok(false)) {
                        return Ok(Some(seen));
                    }
                }
                match waitid(Target::Pid(self.pid), Blocking::Now, Reaping::Reap) {
                    // What was seen is its own, whoever has the number by now.
                    Ok(Some(_)) | Err(Errno::CHILD) => Ok(Some(seen)),
                    other => other,
                }
            }
            Waiting::Wait4(collector) => collector.take(|| self.found()),
        }
        .map_err(self.failed("waitid"))
    }

    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()> {
        let failed = self.failed("start a thread that waits");
        let is_ours = self.is_ours()?;
        match &self.waiting {
            _ if !is_ours => contain(tell),
            _ if self.has_crossed() => self.tell_by_looking(end, tell).map_err(failed)?,
            Waiting::Waitid(watches) => match self.look() {
                Ok(_) if self.stays_a_child() => watches.of_exit(self.pid).map_err(failed)?.tell(tell),
                Ok(_) => self.tell_by_looking(end, tell).map_err(failed)?,
                // A child whose status is lost.
                Err(Errno::CHILD) if self.is_child() => contain(tell),
                Err(Errno::CHILD) => self.tell_by_looking(end, tell).map_err(failed)?,
                // Refused: that says nothing of it.
                Err(errno) => return Err(self.failed("waitid")(errno)),
            },
            Waiting::Wait4(_) => self.tell_by_looking(end, tell).map_err(failed)?,
        }
        Ok(())
    }

    fn wait_change(&self) -> Result<Change> {
        self.change()
    }

    fn try_change(&self) -> Result<Option<Change>> {
        self.change_now()
    }

    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        self.tell_of_change(tell)
    }

    fn identity(&self) -> Result<Identity> {
        let life = match &self.mark {
            Mark::Found(life) => Some(life),
            Mark::Child(birth) => birth.life(),
        };
        naming::name(self.pid, life, || self.is_ours()).map_err(|error| match &self.waiting {
            // It is a zombie to whoever has its handle, and its status is not lost.
            Waiting::Wait4(collector) if collector.with_state(|state| matches!(state, State::Collected(_))) => {
                naming::too_late(self.pid)
            }
            _ => error,
        })
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        // A filter may kill for waitid(2).
        let may_waitid = matches!(self.waiting, Waiting::Waitid(_));
        orphans::take(self.pid, self, may_waitid);
    }
}
