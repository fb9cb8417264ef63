//! [`Own`]: what a set has in one process, and what it becomes in the child of a fork(2).
//!
//! There its `epoll` is the parent's too: to take something out of it, or to hear of an exit, would be to take it from the parent. Its lock
//! may be held by a thread that is not there. So the child's set gets a part of its own at its first use: the same processes, each of which
//! is no child there, watched anew; or none, if another thread was just changing the set at the fork.

use super::entries::Entries;
use super::later::Later;
use super::signal::Shared;
use crate::places::Token;
use once_cell::race::OnceBox;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use steadfast_core::{ProcessBackend, Watcher};
use steadfast_linux::generation;

/// What a set knows.
pub(super) struct State<K> {
    pub(super) entries: Entries<K>,
    /// They have news.
    pub(super) ready: VecDeque<Token>,
    /// They could not be watched.
    pub(super) later: Later,
    /// Whose clock counts.
    pub(super) backend: Option<Arc<dyn ProcessBackend>>,
}

pub(super) struct Own<K> {
    generation: u32,
    pub(super) shared: Arc<Shared>,
    /// The same, as the watcher of a handle.
    pub(super) watcher: Arc<dyn Watcher>,
    pub(super) state: Mutex<State<K>>,
    heir: OnceBox<Own<K>>,
}

impl<K> Own<K> {
    pub(super) fn new(state: State<K>) -> Own<K> {
        let shared: Arc<Shared> = Arc::default();
        let watcher = Arc::clone(&shared) as Arc<dyn Watcher>;
        Own { generation: generation(), watcher, shared, state: Mutex::new(state), heir: OnceBox::new() }
    }

    fn is_here(&self) -> bool {
        self.generation == generation()
    }
}

impl<K: Eq + Hash> Own<K> {
    /// This process's.
    pub(super) fn here(&self) -> &Own<K> {
        let mut own = self;
        while !own.is_here() {
            own = own.heir.get_or_init(|| Box::new(own.inherited()));
        }
        own
    }

    fn inherited(&self) -> Own<K> {
        let mut state = match self.state.try_lock() {
            Ok(mut state) => std::mem::take(&mut *state),
            Err(TryLockError::Poisoned(state)) => std::mem::take(&mut *PoisonError::into_inner(state)),
            Err(TryLockError::WouldBlock) => State::default(),
        };
        // All are to be looked at, and are watched then.
        state.ready = state.entries.all().map(|(token, _)| token).collect();
        state.later = Later::new();
        let own = Own::new(state);
        if let Some(backend) = own.state.lock().unwrap_or_else(PoisonError::into_inner).backend.clone() {
            // Without descriptors of its own, as with another backend's process, it finds nothing to sleep on, and looks again and again.
            own.shared.prepare(&*backend).ok();
        }
        own
    }
}

impl<K> Default for State<K> {
    fn default() -> State<K> {
        State { entries: Entries::new(), ready: VecDeque::new(), later: Later::new(), backend: None }
    }
}

impl<K> Drop for Own<K> {
    fn drop(&mut self) {
        if !self.is_here() {
            // What the parent's handles tell is told there.
            return;
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (token, entry) in state.entries.all() {
            entry.member.unwatch(&self.watcher, token.0);
        }
    }
}
