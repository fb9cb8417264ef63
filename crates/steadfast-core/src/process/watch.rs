//! Watching a handle: what sets and async code are built on.

use super::Process;
use super::state::{Inner, Learnt, Origin, Phase, Refused};
use super::watchers::{Asked, Told, Watcher, tell, tell_one};
use crate::{Result, Until};
use std::sync::Arc;

impl Inner {
    /// Of a child it is the same.
    fn end(&self, end: Until) -> Until {
        if self.origin == Origin::Spawned { Until::Gone } else { end }
    }
}

impl Process {
    /// Tells `watcher` once, with this token, when the handle is Done or Released: because another thread has waited for it or
    /// released it. At once, if it is.
    ///
    /// This does not watch the process itself. It is for code that notices the exit in another way, such as a descriptor, and must also learn
    /// that another thread was faster.
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let mut state = self.here().lock();
        // Under one lock with the look: whoever makes it Done afterwards finds the watcher in the list, whoever did before is seen here.
        if matches!(state.phase, Phase::Running) {
            return state.watchers.add(watcher, token);
        }
        drop(state);
        tell_one(watcher, token);
    }

    /// As [`watch`](Process::watch), and also when the process has come to this end: a child, as soon as it can be waited for, whichever the
    /// end; one that is not a child, once it has exited or once it is gone. The handle does not change by that.
    ///
    /// # Errors
    /// [`Error::System`](crate::Error::System) if the backend has no room for it: out of descriptors or threads. Then it is not
    /// watched.
    pub fn watch_end(&self, end: Until, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
        let inner = self.here();
        let end = inner.end(end);
        let call = match inner.begin() {
            Ok(call) => call,
            Err(Refused::Done(_) | Refused::Released) => {
                tell_one(watcher, token);
                return Ok(());
            }
        };
        let mut state = inner.lock();
        let watchers = state.watchers(end);
        let before = watchers.asked;
        match before {
            Asked::Answered => {
                drop(state);
                tell_one(watcher, token);
                return Ok(());
            }
            Asked::Yes | Asked::Asking | Asked::AskingForMore => {
                if before == Asked::Asking {
                    watchers.asked = Asked::AskingForMore;
                }
                watchers.add(watcher, token);
                return Ok(());
            }
            // In the list before the backend is asked: it may call before `on_exit` returns, and tells those who are in the list then.
            Asked::No => {
                watchers.asked = Asked::Asking;
                watchers.add(watcher, token);
            }
        }
        drop(state);
        let weak = Arc::downgrade(inner);
        let answer = Arc::clone(call.process()).on_exit(
            end,
            Box::new(move || {
                if let Some(inner) = weak.upgrade() {
                    let mut state = inner.lock();
                    let watchers = state.watchers(end);
                    watchers.asked = Asked::Answered;
                    let told = watchers.take();
                    drop(state);
                    tell(told);
                }
            }),
        );
        let mut state = inner.lock();
        let watchers = state.watchers(end);
        let asked = watchers.asked;
        let mut others = Told::nobody();
        if answer.is_err() {
            // The caller has it too, and so it is not dropped under the lock.
            drop(watchers.remove(watcher, token));
            watchers.asked = Asked::No;
            // Whoever came in between relies on what has just failed: they look, and ask again. If nobody did, nobody is disturbed: two
            // who are refused again and again would wake each other without a pause.
            if asked == Asked::AskingForMore {
                others = watchers.take();
            }
        } else if asked != Asked::Answered {
            // Not over the answer of a backend that has called between `on_exit` and this lock: nobody would be told any more.
            watchers.asked = Asked::Yes;
        }
        drop(state);
        tell(others);
        call.end(Learnt::Nothing);
        answer
    }

    /// Whether [`watch_end`](Process::watch_end) has reported that a process which is not a child has come to this end. Makes no system call.
    pub fn was_told_of(&self, end: Until) -> bool {
        let inner = self.here();
        inner.lock().watchers(inner.end(end)).has_told()
    }

    /// Cancels [`watch`](Process::watch), [`watch_end`](Process::watch_end) and [`watch_change`](Process::watch_change) for this watcher and token. A thread that has already begun to
    /// notify the watcher may still do so once.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let found = self.here().lock().unwatch(watcher, token);
        drop(found);
    }

    /// Whether the handle still is Running.
    pub fn is_running(&self) -> bool {
        matches!(self.here().lock().phase, Phase::Running)
    }
}
