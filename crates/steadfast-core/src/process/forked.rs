//! A handle in the child of a fork(2), where its process is no child, and nothing that other threads had begun is ever finished.
//!
//! The memory is as it was at the moment of the fork. The lock of the state may be held, by a thread that is not here; calls are counted
//! that never come back; watchers are listed that belong to the parent. So the state that was is not used any more. In each process a
//! handle gets a new one at its first use there, as if its process had been found: signals go out where the backend can still reach
//! it, a wait says that it is no child, and nothing is reaped, killed or called finished when the handle is dropped.

use super::state::{Inner, Origin, Phase, State};
use super::watchers::Watchers;
use crate::lock::{Mutex, PoisonError, TryLockError};
use once_cell::race::OnceBox;
use std::sync::{Arc, Weak};

impl Inner {
    /// The handle in this process: itself, or what it has become by a fork.
    pub(super) fn here(self: &Arc<Inner>) -> &Arc<Inner> {
        let generation = self.backend.generation();
        let mut inner = self;
        while inner.generation != generation {
            inner = inner.successor.get_or_init(|| Box::new(Arc::new(inner.reborn(generation))));
        }
        inner
    }

    /// Whether this process is the one in which the handle was made.
    pub(super) fn is_here(&self) -> bool {
        self.generation == self.backend.generation()
    }

    fn reborn(&self, generation: u32) -> Inner {
        let (phase, process) = match self.state.try_lock() {
            Ok(state) => (state.phase.copied(), state.process.clone()),
            Err(TryLockError::Poisoned(state)) => {
                let state = PoisonError::into_inner(state);
                (state.phase.copied(), state.process.clone())
            }
            // In the middle of a change, of which nothing is known but what was kept outside of the lock: if the backend's object is
            // there, nobody had finished with it.
            Err(TryLockError::WouldBlock) => {
                let process = self.process.as_ref().and_then(Weak::upgrade);
                (if process.is_some() { Phase::Running } else { Phase::Done(None) }, process)
            }
        };
        Inner {
            pid: self.pid,
            origin: Origin::Found,
            is_exact: self.is_exact,
            may_reap_at_once: false,
            generation,
            spawner_peak: self.spawner_peak,
            backend: Arc::clone(&self.backend),
            process: process.as_ref().map(Arc::downgrade),
            state: Mutex::new(State {
                phase,
                calls: 0,
                reap_due: false,
                is_left: false,
                process,
                watchers: Watchers::none(),
                rare: None,
            }),
            successor: OnceBox::new(),
        }
    }
}

impl Phase {
    fn copied(&self) -> Phase {
        match self {
            Phase::Running => Phase::Running,
            Phase::Done(exit) => Phase::Done(exit.clone()),
            Phase::Released => Phase::Released,
        }
    }
}
