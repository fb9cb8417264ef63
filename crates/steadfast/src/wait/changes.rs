//! [`WaitSet::add_changes`]: processes of which a set tells stops and continuations.

use super::changed::Changed;
use super::entries::{ChangesMember, Entry, What};
use super::set::WaitSet;
use crate::places::Token;
use crate::{Change, Process};
use std::hash::Hash;
use std::sync::Arc;
use steadfast_core::{Error, Result};

impl<K: Eq + Hash + Clone> WaitSet<K> {
    /// Adds a child of which [`wait_next`](WaitSet::wait_next) tells each stop, each continuation and the exit, as
    /// [`Process::wait_change`](crate::backend::Process::wait_change) does. With the exit it leaves the set. The other calls (`wait`, `wait_timeout`,
    /// `try_wait`, `ready`) return exits of what was [added](WaitSet::add), and do not wait for it.
    ///
    /// ```
    /// use steadfast::{Change, Command, Next, Signal, WaitSet};
    /// let set = WaitSet::new();
    /// let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    /// # if !child.backend().info().tells_changes { return Ok(()) }
    /// set.add_changes("sleeper", child.process().clone())?;
    /// child.signal(Signal::STOP)?;
    /// let Next::Changed(changed) = set.wait_next(None)? else { panic!("nothing else is in the set") };
    /// assert_eq!((changed.key, changed.change?), ("sleeper", Change::Stopped(Signal::STOP)));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// The set has a clone of the handle. A change is told to one caller: who waits for changes elsewhere too takes them from the set, and the other
    /// way round; the exit is told to all. A stop of a child that was [added](WaitSet::add) under another key does not end its wait.
    ///
    /// Each needs a thread, with pidfds too, which sleeps until the next change or the exit. After a fork(2), in the forked child, it is no child, and is
    /// told with [`Error::NoChild`].
    ///
    /// # Errors
    /// [`Error::KeyInUse`] if this key is in the set already; [`Error::Unsupported`] where stops cannot be heard of
    /// ([`BackendInfo::tells_changes`](crate::BackendInfo::tells_changes)), and for a simulated process in a set of real ones, or the other way round;
    /// [`Error::System`] if there are no descriptors or threads left (`EMFILE`, `EAGAIN`). Then the set is unchanged.
    pub fn add_changes(&self, key: K, process: Process) -> Result<()> {
        let own = self.own();
        own.shared.prepare(&**process.backend())?;
        let mut state = self.lock();
        if state.entries.find(&key).is_some() {
            return Err(Error::KeyInUse { pid: Some(process.pid()) });
        }
        state.backend.get_or_insert_with(|| Arc::clone(process.backend()));
        let clone_key = K::clone;
        let token = state.entries.insert(key, What::Changes(ChangesMember { process: process.clone(), clone_key }));
        drop(state);
        // Those who wait for changes are woken by what interrupts them.
        let watched = self.prepare_interrupts().and_then(|()| process.watch_change(&own.watcher, token.0));
        if watched.is_err() {
            self.take_back(token);
        }
        if self.lock().entries.get(token).is_none() {
            process.unwatch(&own.watcher, token.0);
        }
        watched
    }

    /// Removes the process with this key that was added by [`add_changes`](WaitSet::add_changes), and returns it. It is not told of any more.
    pub fn remove_changes(&self, key: &K) -> Option<Process> {
        let mut state = self.lock();
        let token = state.entries.find(key).filter(|token| state.entries.changes(*token).is_some())?;
        let Some(Entry { what: What::Changes(member), .. }) = state.entries.remove(token) else { return None };
        drop(state);
        member.process.unwatch(&self.own().watcher, token.0);
        Some(member.process)
    }
}

impl<K: Eq + Hash> WaitSet<K> {
    /// The news of this process, if it has any that are worth it; it is watched for the next.
    pub(super) fn take_changed(&self, token: Token) -> Option<Changed<K>> {
        let (key, process) = {
            let state = self.lock();
            let member = state.entries.changes(token)?;
            let key = state.entries.get(token).map(|entry| (member.clone_key)(&entry.key))?;
            (key, member.process.clone())
        };
        let watcher = &self.own().watcher;
        // Not under the lock: in a simulation a look lets other threads go on. Another thread may have looked in between; then there is nothing.
        process.unwatch(watcher, token.0);
        let change = match process.try_wait_change() {
            Ok(None) => None,
            Err(error) if error.is_of_the_moment() => None,
            Ok(Some(change)) => Some(Ok(change)),
            Err(error) => Some(Err(error)),
        };
        let is_last = matches!(change, Some(Ok(Change::Exited(_)) | Err(_)));
        if is_last {
            let mut state = self.lock();
            // Unless another thread has told it meanwhile.
            state.entries.remove(token)?;
            state.later.hope();
            self.hand_over(&state);
            drop(state);
            return change.map(|change| Changed { key, process, change });
        }
        let is_watched = process.watch_change(watcher, token.0).is_ok();
        let mut state = self.lock();
        if state.entries.get(token).is_none() {
            // Removed meanwhile.
            drop(state);
            process.unwatch(watcher, token.0);
        } else if !is_watched {
            state.leave_for_later(token);
        }
        // What was taken is told in any case.
        change.map(|change| Changed { key, process, change })
    }
}
