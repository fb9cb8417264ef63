//! [`JobEnd`]: that nothing lives in a job any more, for whoever waits for that and does not own the job.

use super::watchers::{Told, tell};
use super::{Inner, Job};
use crate::{ProcessBackend, Result, Watcher};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What tells when nothing lives in a job: made by [`Job::end`]. It owns nothing: dropping it kills nobody, and the job's drop kills and its detach
/// gives up as if this were not there. It keeps what is needed to tell (a descriptor, the zombie that leads a group), and so it still tells when the
/// job was dropped or detached.
#[derive(Clone)]
pub struct JobEnd {
    inner: Arc<Inner>,
}

impl Job {
    /// What tells when nothing lives in it, whatever becomes of the job meanwhile.
    pub fn end(&self) -> JobEnd {
        JobEnd::of(Arc::clone(&self.inner))
    }

    /// Notifies the watcher: see [`JobEnd::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch_empty(&self, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
        self.end().watch(watcher, token)
    }
}

impl JobEnd {
    pub(super) fn of(inner: Arc<Inner>) -> JobEnd {
        JobEnd { inner }
    }

    /// The backend that has made the job.
    pub fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.inner.backend
    }

    /// Whether it is the same job's.
    pub fn is_same(&self, other: &JobEnd) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether nothing lives in the job now, zombies apart.
    ///
    /// # Errors
    /// As [`Job::wait_empty`].
    pub fn is_empty(&self) -> Result<bool> {
        self.wait(Some(self.backend().clock().now()))
    }

    /// Blocks until nothing lives in the job: as [`Job::wait_empty`].
    ///
    /// # Errors
    /// As there.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        self.inner.wait_empty(deadline)
    }

    /// Notifies the watcher, with this token, once nothing lives in the job, on any thread, or at once. A watcher that is dropped before is forgotten, and
    /// however many there are, one descriptor or thread serves them all. Of a killed job, [`is_empty`](Self::is_empty) has the last word.
    ///
    /// # Errors
    /// As [`BackendJob::on_empty`](crate::BackendJob::on_empty).
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
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

    /// Does not notify it with this token any more, unless that is happening just now.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        // In the child of a fork(2) the lock may be another thread's for ever.
        if self.inner.is_here() {
            self.inner.watchers.remove(watcher, token);
        }
    }
}

impl fmt::Debug for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobEnd({})", self.inner.place.containment())
    }
}
