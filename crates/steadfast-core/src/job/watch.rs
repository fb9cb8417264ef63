//! Being told that a job is empty, any number of times: the backend is asked once.

use super::Job;
use super::watchers::{Told, tell};
use crate::{Result, Watcher};
use std::sync::Arc;

impl Job {
    /// Notifies the watcher, with this token, once nothing lives in it, on any thread, or at once. A watcher that is dropped before is forgotten, and
    /// however many there are, one descriptor or thread serves them all. Of a killed job, [`wait_empty`](Job::wait_empty) has the last word.
    ///
    /// # Errors
    /// As [`BackendJob::on_empty`](crate::BackendJob::on_empty).
    pub fn watch_empty(&self, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
        let new: Told = (Arc::downgrade(watcher), token);
        if !self.inner.is_here() {
            // In the child of a fork(2) nobody tells whom the parent has asked.
            let tell = move || tell(vec![new]);
            return Arc::clone(&self.inner.place).on_empty(Box::new(tell));
        }
        if !self.inner.watchers.add(new) {
            return Ok(());
        }
        let inner = Arc::downgrade(&self.inner);
        let asked = Arc::clone(&self.inner.place).on_empty(Box::new(move || {
            inner.upgrade().into_iter().for_each(|inner| tell(inner.watchers.take()));
        }));
        if asked.is_err() {
            // Others may have come meanwhile, and rely on it: they look for themselves.
            tell(self.inner.watchers.take());
        }
        asked
    }
}
