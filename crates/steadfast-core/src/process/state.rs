//! The state machine behind a handle: [`Inner`], its calls in progress, and who is the last one out.

use super::watchers::{self, Told, Watcher, Watchers, Watching};
use crate::lock::{Mutex, MutexGuard, PoisonError};
use crate::{BackendProcess, Errno, Exit, Pid, ProcessBackend, Result, Until};
use once_cell::race::OnceBox;
use std::fmt;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};

pub(super) struct Inner {
    pub(super) pid: Pid,
    pub(super) origin: Origin,
    /// Whether it can never mean another process, whoever reaps it.
    pub(super) is_exact: bool,
    /// Whether a look may reap at the same time, see [`Inner::reap_if_alone`].
    pub(super) may_reap_at_once: bool,
    /// In which of the processes that forks made of one.
    pub(super) generation: u32,
    /// See [`Spawned::spawner_peak`].
    pub(super) spawner_peak: u64,
    pub(super) backend: Arc<dyn ProcessBackend>,
    /// The backend's object, as long as somebody needs it: for the child of a fork, where the lock may be held for ever.
    pub(super) process: Option<Weak<dyn BackendProcess>>,
    pub(super) state: Mutex<State>,
    /// What it has become in the child of a fork.
    pub(super) successor: OnceBox<Arc<Inner>>,
}

/// How the handle came by its process; decides whether it must be reaped when everybody has lost interest.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Origin {
    Spawned,
    Found,
}

/// The peak of whoever has spawned a process that was found: it may have been as big as any.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Small, for there may be thousands that wait.
pub(super) enum Phase {
    Running,
    /// With the exit, or without it when somebody else took it.
    Done(Option<Box<Exit>>),
    Released,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Calls to the backend that have begun and not yet come back.
    pub(super) calls: u32,
    /// Whether a waiter has seen the exit, so that the last call to come back must reap.
    pub(super) reap_due: bool,
    /// Whether it is the program's to reap, now that the handle is given up.
    pub(super) is_left: bool,
    /// Gone once nobody needs it any more.
    pub(super) process: Option<Arc<dyn BackendProcess>>,
    pub(super) watchers: Watchers,
    /// There are seldom any.
    pub(super) rare: Option<Box<Rare>>,
}

/// Those who want to hear of what few ask for.
pub(super) struct Rare {
    /// Of the exit of what may not be a child.
    exit: Watchers,
    /// Of stops and continuations.
    change: Watchers,
}

/// What one call to the backend has learnt about the process.
pub(super) enum Learnt {
    Nothing,
    Exited(Exit),
    Gone,
}

/// What a look without waiting came to.
pub(super) enum Look {
    Exited(ExitStatus),
    Running,
    /// Other calls are in progress, or there is an error to be reported: look in the usual way.
    AskAgain,
}

/// What is left to do with the backend's object once the last call is back; done outside the lock.
pub(super) enum Farewell {
    Reap(Arc<dyn BackendProcess>),
    Abandon(Arc<dyn BackendProcess>),
    Free(Option<Arc<dyn BackendProcess>>),
}

/// A call to the backend in progress. Ends when dropped, a panic in a backend included.
pub(super) struct Call<'a> {
    pub(super) inner: &'a Inner,
    pub(super) process: Option<Arc<dyn BackendProcess>>,
    pub(super) learnt: Learnt,
}

impl Call<'_> {
    pub(super) fn process(&self) -> &Arc<dyn BackendProcess> {
        match &self.process {
            Some(process) => process,
            None => unreachable!("only taken in drop"),
        }
    }

    pub(super) fn end(mut self, learnt: Learnt) {
        self.learnt = learnt;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Our own reference goes first, so that the one in the state is the last: freed after the count went down, it could be the last one
        // after all, and the descriptor would be closed here, behind the back of whoever parts with it below.
        self.process = None;
        let mut state = self.inner.lock();
        state.calls -= 1;
        state.learn(&self.learnt);
        self.inner.part(state);
    }
}

pub(super) enum Refused {
    Done(Option<Exit>),
    Released,
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and nothing is half done when it is released.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: Released is answered before Done, Done before the backend.
    pub(super) fn begin(&self) -> Result<Call<'_>, Refused> {
        let mut state = self.lock();
        let process = match (&state.phase, &state.process) {
            (Phase::Released, _) => return Err(Refused::Released),
            (Phase::Done(exit), _) => return Err(Refused::Done(exit.as_deref().copied())),
            (Phase::Running, Some(process)) => Arc::clone(process),
            (Phase::Running, None) => return Err(Refused::Done(None)),
        };
        // In the same hold of the lock as the look at the phase. Between a look and a count in two, another thread could be the last one out
        // and reap, and we would go into the kernel with a number that is free.
        state.calls += 1;
        Ok(Call { inner: self, process: Some(process), learnt: Learnt::Nothing })
    }

    /// Reaps it if it has exited and no call is in progress: one system call instead of two.
    ///
    /// The lock is held meanwhile, so that none can begin; it is the one place where a thread may have to wait for another, and
    /// only for as long as a call takes that does not block. In a simulation even such a call lets other threads go on, and so
    /// it is not done there.
    pub(super) fn reap_if_alone(&self, unwatch: Option<(&Arc<dyn Watcher>, u64)>) -> Look {
        let mut state = self.lock();
        // What the watcher keeps alive is not dropped here: the caller has it too.
        drop(unwatch.map(|(watcher, token)| state.unwatch(watcher, token)));
        if !self.may_reap_at_once {
            return Look::AskAgain;
        }
        let looked = match (&state.phase, &state.process) {
            // No call in progress, and none can begin before the lock is released: nobody else has the number in hand while it becomes free.
            (Phase::Running, Some(process)) if state.calls == 0 => retry_interrupted(|| process.reap()),
            _ => return Look::AskAgain,
        };
        match looked {
            Ok(Some(exit)) => {
                let exit = exit.of_spawner(self.spawner_peak);
                state.phase = Phase::Done(Some(Box::new(exit)));
                self.part(state);
                Look::Exited(exit.status)
            }
            Ok(None) => Look::Running,
            Err(_) => Look::AskAgain,
        }
    }

    /// Called whenever the phase or the number of calls has changed: does what is left to do, and tells who watches.
    pub(super) fn part(&self, mut state: MutexGuard<'_, State>) {
        // Who parts is decided here, under the lock, by taking the object out of the state: two threads that come out at the same time
        // cannot both find it. The reap itself comes after, when the phase already refuses whoever comes in.
        let farewell = state.farewell(self.origin);
        let is_over = !matches!(state.phase, Phase::Running);
        let watchers = is_over.then(|| state.take_watchers());
        drop(state);
        farewell.perform();
        watchers.into_iter().flatten().for_each(watchers::tell);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.is_here() {
            // The child of a fork: it is the parent's to reap.
            return;
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.take_watchers().into_iter().for_each(watchers::dismiss);
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Released;
            state.farewell(self.origin).perform();
        }
    }
}

impl State {
    pub(super) fn learn(&mut self, learnt: &Learnt) {
        match (learnt, &self.phase) {
            (Learnt::Nothing, _) => return,
            // The exit beats "gone": somebody else reaped it after we had seen how it ended.
            (Learnt::Exited(exit), Phase::Running | Phase::Done(None)) => {
                self.phase = Phase::Done(Some(Box::new(*exit)));
            }
            (Learnt::Gone, Phase::Running) => self.phase = Phase::Done(None),
            // Somebody released the handle while we were waiting: it stays Released, but our caller collects.
            (_, Phase::Done(_) | Phase::Released) => {}
        }
        self.reap_due |= matches!(learnt, Learnt::Exited(_));
    }

    /// Parts with the backend's object when nobody can need it any more.
    pub(super) fn farewell(&mut self, origin: Origin) -> Farewell {
        // Another call has the number or the descriptor in the kernel, or may still begin: its end comes here again.
        if self.calls > 0 || matches!(self.phase, Phase::Running) {
            return Farewell::Free(None);
        }
        match (self.process.take(), &self.phase) {
            (Some(process), _) if self.reap_due => Farewell::Reap(process),
            (Some(process), Phase::Released) if origin == Origin::Spawned && !self.is_left => Farewell::Abandon(process),
            (process, _) => Farewell::Free(process),
        }
    }
}

impl State {
    /// Those who want to hear of this end.
    pub(super) fn watchers(&mut self, end: Until) -> &mut Watchers {
        match end {
            Until::Gone => &mut self.watchers,
            Until::Exited => &mut self.rare().exit,
        }
    }

    pub(super) fn change_watchers(&mut self) -> &mut Watchers {
        &mut self.rare().change
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| Box::new(Rare { exit: Watchers::none(), change: Watchers::none() }))
    }

    /// All of them.
    pub(super) fn take_watchers(&mut self) -> [Told; 3] {
        let [exit, change] = match &mut self.rare {
            Some(rare) => [rare.exit.take(), rare.change.take()],
            None => [Told::nobody(), Told::nobody()],
        };
        [self.watchers.take(), exit, change]
    }

    pub(super) fn unwatch(&mut self, watcher: &Arc<dyn Watcher>, token: u64) -> [Option<Watching>; 3] {
        let [exit, change] = match &mut self.rare {
            Some(rare) => [rare.exit.remove(watcher, token), rare.change.remove(watcher, token)],
            None => [None, None],
        };
        [self.watchers.remove(watcher, token), exit, change]
    }
}

impl Farewell {
    pub(super) fn perform(self) {
        match self {
            Farewell::Reap(process) => match retry_interrupted(|| process.reap()) {
                Ok(Some(_)) => {}
                // Somebody else was quicker, which frees the PID as well.
                Err(error) if error.errno() == Some(Errno::CHILD) => {}
                // Refused for the moment, by a filter's supervisor perhaps, or a tracer has come in between. The status has been
                // seen, and whoever wants it has it; the zombie is left to those who try until it is gone.
                Ok(None) | Err(_) => process.abandon(),
            },
            Farewell::Abandon(process) => process.abandon(),
            Farewell::Free(process) => drop(process),
        }
    }
}

pub(super) fn retry_interrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.errno() == Some(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.phase {
            Phase::Running => write!(f, "Running")?,
            Phase::Done(Some(exit)) => write!(f, "Done, {}", exit.status)?,
            Phase::Done(None) => write!(f, "Done, status unknown")?,
            Phase::Released => write!(f, "Released")?,
        }
        match self.calls {
            0 => Ok(()),
            calls if self.reap_due => write!(f, ", calls in progress: {calls}, to be reaped after them"),
            calls => write!(f, ", calls in progress: {calls}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With what a backend keeps and a set's place for it, a handle that waits takes less than 260 bytes. (32 of them are for the child of
    /// a fork.)
    #[test]
    fn a_handle_is_small() {
        assert!(size_of::<Inner>() <= 152, "{}", size_of::<Inner>());
    }
}
