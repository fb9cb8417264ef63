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
    /// Processes that have news.
    pub(super) ready: VecDeque<Token>,
    /// Jobs that have, and processes of which changes are told: for [`wait_next`](super::WaitSet::wait_next) alone.
    pub(super) told: VecDeque<Token>,
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
        let all: Vec<Token> = state.entries.all().map(|(token, _)| token).collect();
        (state.ready, state.told, state.later) = (VecDeque::new(), VecDeque::new(), Later::new());
        for token in &all {
            state.entries.job(*token).into_iter().for_each(|job| job.is_watched = false);
        }
        state.extend(all);
        let own = Own::new(state);
        let backend = own.state.lock().unwrap_or_else(PoisonError::into_inner).backend.clone();
        if let Some(backend) = backend {
            // Without descriptors of its own, as with another backend's process, it finds nothing to sleep on, and looks again and again.
            own.shared.prepare(&*backend).ok();
        }
        own
    }
}

impl<K> Default for State<K> {
    fn default() -> State<K> {
        State { entries: Entries::new(), ready: VecDeque::new(), told: VecDeque::new(), later: Later::new(), backend: None }
    }
}

/// These have news.
impl<K> Extend<Token> for State<K> {
    fn extend<T: IntoIterator<Item = Token>>(&mut self, tokens: T) {
        for token in tokens {
            match self.entries.is_for_next(token) {
                true => self.told.push_back(token),
                false => self.ready.push_back(token),
            }
        }
    }
}

/// Whether to look now at those that could not be watched.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Again {
    /// Unless there are others to be looked at: whoever only asks what is ready shall hear of these too.
    All,
    /// When it is time.
    WhenDue,
}

impl<K> State<K> {
    /// Those that are to be looked at again have their turn.
    pub(super) fn look_again(&mut self, again: Again) {
        let (false, Some(backend)) = (self.later.is_empty(), &self.backend) else { return };
        let now = backend.clock().now();
        let all = again == Again::All && self.ready.is_empty();
        if all || self.later.at().is_some_and(|at| at <= now) {
            let due: Vec<Token> = self.later.take(now).collect();
            self.extend(due);
        }
    }

    pub(super) fn leave_for_later(&mut self, token: Token) {
        if let (Some(_), Some(backend)) = (self.entries.get(token), &self.backend) {
            self.later.add(token, backend.clock().now());
        }
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
            entry.unwatch(&self.watcher, token);
        }
    }
}
