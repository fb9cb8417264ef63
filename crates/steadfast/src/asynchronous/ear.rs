//! [`Ear`]: how a task hears of what other threads do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use steadfast_core::{Watcher, contain};

/// Hears that there is news, and wakes the task.
#[derive(Default)]
pub(super) struct Ear {
    has_heard: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Watcher for Ear {
    fn notify(&self, _: u64) {
        self.has_heard.store(true, Ordering::SeqCst);
        // Not under the lock: whom it wakes may be polled at once, and ask for the next call.
        let waker = self.lock().take();
        if let Some(waker) = waker {
            // By reference, for it may panic, and its end too, which at once would end the program.
            contain(|| waker.wake_by_ref());
            contain(move || drop(waker));
        }
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.notify(0);
    }
}

impl Ear {
    /// Since the last question.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.swap(false, Ordering::SeqCst)
    }

    pub(super) fn wake_later(&self, cx: &Context<'_>) {
        let is_known = self.lock().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_known {
            // Not under the lock, and the end of another task's is not this one's business.
            let new = cx.waker().clone();
            let old = self.lock().replace(new);
            contain(move || drop(old));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let waker = self.lock().take();
        contain(move || drop(waker));
    }
}
