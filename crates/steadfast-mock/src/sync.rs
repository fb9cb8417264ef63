//! Locks that a simulation can see: std's [`Mutex`](std::sync::Mutex) and [`Condvar`](std::sync::Condvar), and in a thread of an
//! exploration, locks that are part of what the seed decides and of what a deadlock is.
//!
//! A lock of std's is enough for state that is held for a moment. One that is held across a call to the kernel (a spawn, a wait) can
//! block another thread of the simulation for ever, because the thread that has it does not get its turn. And a condition variable of
//! std's wakes nobody in virtual time. Take these for both; outside of an exploration they are std's.
//!
//! ```
//! use steadfast_mock::{Kernel, sync::{Condvar, Mutex}};
//! use std::sync::Arc;
//! let kernel = Kernel::builder().build();
//! let verdict = kernel.exploration().run(1..=100, |sim| {
//!     let shared = Arc::new((Mutex::new(false), Condvar::new()));
//!     let theirs = Arc::clone(&shared);
//!     let worker = sim.spawn(move || {
//!         *theirs.0.lock() = true;
//!         theirs.1.notify_one();
//!     });
//!     // The classic lost wake-up: looked at under the lock, and waited for under another one.
//!     let is_ready = *shared.0.lock();
//!     if !is_ready {
//!         drop(shared.1.wait(shared.0.lock()));
//!     }
//!     worker.join();
//! }).unwrap_err().verdict;
//! assert_eq!(verdict.kind(), "deadlock");
//! ```

use crate::kernel::Kernel;
use crate::turn::For;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;

/// As std's, without poisoning: what a thread that panicked has left is what the next one finds.
#[derive(Default)]
pub struct Mutex<T> {
    inner: sync::Mutex<T>,
    id: Id,
}

/// Holds the lock until it is dropped.
pub struct MutexGuard<'a, T> {
    inner: Option<sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

/// As std's, with virtual time in its timeouts.
#[derive(Default)]
pub struct Condvar {
    inner: sync::Condvar,
    id: Id,
    notified: AtomicU64,
}

struct Id(u64);

impl Default for Id {
    fn default() -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Id(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl<T> Mutex<T> {
    /// A lock with this in it.
    pub fn new(value: T) -> Mutex<T> {
        Mutex { inner: sync::Mutex::new(value), id: Id::default() }
    }

    /// Waits until nobody else has it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = match Kernel::of_this_thread() {
            None => self.inner.lock().unwrap_or_else(PoisonError::into_inner),
            Some(kernel) => {
                kernel.call(|_| ());
                let found = kernel.block(For::Sync(self.id.0), None, |_| self.try_lock());
                // None: the run is over, and its threads unwind by themselves.
                found.unwrap_or_else(|| self.inner.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        MutexGuard { inner: Some(guard), mutex: self }
    }

    fn try_lock(&self) -> Option<sync::MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("taken in drop only")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("taken in drop only")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.inner = None;
        wake(&self.mutex.id);
    }
}

fn wake(id: &Id) {
    if let Some(kernel) = Kernel::of_this_thread() {
        kernel.lock().threads.wake(For::Sync(id.0));
    }
}

impl Condvar {
    /// A condition that nobody waits for.
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// Gives the lock up, waits to be notified, and takes the lock again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// As [`wait`](Condvar::wait), for so long at the most; `true` if that was up before.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        self.wait_until(guard, Some(timeout))
    }

    fn wait_until<'a, T>(&self, mut guard: MutexGuard<'a, T>, timeout: Option<Duration>) -> (MutexGuard<'a, T>, bool) {
        let mutex = guard.mutex;
        let Some(kernel) = Kernel::of_this_thread() else {
            let inner = guard.inner.take().expect("taken in drop only");
            let (inner, timed_out) = match timeout {
                None => (self.inner.wait(inner).unwrap_or_else(PoisonError::into_inner), false),
                Some(timeout) => {
                    let (inner, result) = self.inner.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
                    (inner, result.timed_out())
                }
            };
            guard.inner = Some(inner);
            return (guard, timed_out);
        };
        let deadline = timeout.map(|timeout| kernel.lock().now.saturating_add(timeout.as_nanos() as u64));
        let seen = self.notified.load(Ordering::Relaxed);
        drop(guard);
        // Notified since: another number. Two waiters of one notification both wake, as std's may.
        let notified = |_: &mut _| (self.notified.load(Ordering::Relaxed) != seen).then_some(());
        let is_notified = kernel.block(For::Sync(self.id.0), deadline, notified).is_some();
        (mutex.lock(), !is_notified)
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) {
        self.notify(sync::Condvar::notify_one);
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.notify(sync::Condvar::notify_all);
    }

    fn notify(&self, outside: impl FnOnce(&sync::Condvar)) {
        self.notified.fetch_add(1, Ordering::Relaxed);
        outside(&self.inner);
        wake(&self.id);
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
