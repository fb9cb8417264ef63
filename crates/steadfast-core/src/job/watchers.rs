//! [`Watchers`]: who wants to be told that a job is empty.

use crate::lock::{Mutex, MutexGuard, PoisonError};
use crate::{Watcher, contain};
use std::sync::{Arc, Weak};

/// A watcher, and the token that it is told.
pub(super) type Told = (Weak<dyn Watcher>, u64);

/// `None`: the backend was not asked, or has told.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Option<Vec<Told>>>);

impl Watchers {
    /// Whether the backend is to be asked, for this is the first.
    pub(super) fn add(&self, new: Told) -> bool {
        let mut list = self.lock();
        let is_first = list.is_none();
        let list = list.get_or_insert_default();
        list.retain(|(watcher, _)| watcher.strong_count() > 0);
        list.push(new);
        is_first
    }

    /// The backend still tells, of whoever is left.
    pub(super) fn remove(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let is_it = |(other, mark): &Told| *mark == token && std::ptr::addr_eq(other.as_ptr(), Arc::as_ptr(watcher));
        if let Some(list) = &mut *self.lock() {
            list.retain(|told| !is_it(told));
        }
    }

    /// All of them, who are told now; the next one asks the backend again.
    pub(super) fn take(&self) -> Vec<Told> {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not under the lock.
pub(super) fn tell(watchers: Vec<Told>) {
    for (watcher, token) in watchers {
        contain(|| {
            if let Some(watcher) = watcher.upgrade() {
                watcher.notify(token);
            }
        });
    }
}
