//! [`WaitSet::wait_next`]: waiting that somebody can interrupt, that goes on while the set is empty, and that tells of jobs.

use super::changed::Changed;
use super::emptied::Emptied;
use super::set::{Exited, WaitSet};
use super::signal::{Ends, Shared, Vain};
use crate::System;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::Result;
use steadfast_linux::generation;

/// What has ended a [`WaitSet::wait_next`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Next<K> {
    /// A process has exited.
    Exited(Exited<K>),
    /// Nothing lives in a job any more that was [added](WaitSet::add_job).
    Emptied(Emptied<K>),
    /// A process has stopped, goes on, or has exited, of which that was [asked for](WaitSet::add_changes).
    Changed(Changed<K>),
    /// [`Interrupter::interrupt`] was called.
    Interrupted,
    /// The timeout has passed.
    TimedOut,
}

impl<K: Eq + Hash> WaitSet<K> {
    /// Blocks until a process exits, until nothing lives in a [job](WaitSet::add_job), until [`Interrupter::interrupt`] is called, or for at most `timeout`. Unlike
    /// [`wait`](WaitSet::wait), it also waits while the set is empty: for a process that another thread adds.
    ///
    /// ```
    /// use steadfast::{Command, Next, WaitSet};
    /// let set = WaitSet::new();
    /// let stop = set.interrupter()?;
    /// std::thread::spawn(move || stop.interrupt());                       // or a handler for Ctrl-C
    /// set.add("server", Command::new("sleep").arg("60").kill_on_drop(true).spawn()?)?;
    /// while let Next::Exited(exited) = set.wait_next(None)? {
    ///     println!("{} has ended: {}", exited.key, exited.status?);
    /// }
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`interrupter`](WaitSet::interrupter). An error that concerns one process is in its [`Exited::status`], one that concerns a job in its
    /// [`Emptied::result`].
    pub fn wait_next(&self, timeout: Option<Duration>) -> Result<Next<K>> {
        self.prepare_interrupts()?;
        // Later than the clock can say is as good as never.
        let deadline = timeout.and_then(|timeout| self.backend()?.clock().now().checked_add(timeout));
        Ok(match self.wait_for(deadline, Ends::ByInterrupts) {
            Ok(exited) => Next::Exited(exited),
            Err(Vain::Emptied(emptied)) => Next::Emptied(emptied),
            Err(Vain::Changed(changed)) => Next::Changed(changed),
            Err(Vain::Interrupted) => Next::Interrupted,
            Err(Vain::Over) => Next::TimedOut,
        })
    }

    /// Something that interrupts [`wait_next`](WaitSet::wait_next): from another thread, or from a signal handler. A set that is empty so far takes
    /// it for a set of the current system.
    ///
    /// # Errors
    /// [`Error::System`](crate::Error::System) if there are no descriptors left (`EMFILE`, `ENFILE`): a set that can be interrupted has one more;
    /// as [`System::current`].
    pub fn interrupter(&self) -> Result<Interrupter> {
        self.prepare_interrupts()?;
        Ok(Interrupter { shared: Arc::clone(&self.own().shared), generation: generation() })
    }

    pub(super) fn prepare_interrupts(&self) -> Result<()> {
        let known = self.backend();
        let backend = known.map_or_else(|| System::current().map(|system| Arc::clone(system.backend())), Ok)?;
        let shared = &self.own().shared;
        shared.prepare(&*backend)?;
        shared.prepare_interrupts()?;
        self.lock().backend.get_or_insert(backend);
        Ok(())
    }
}

/// Interrupts a [`WaitSet::wait_next`]: see [`WaitSet::interrupter`].
#[derive(Clone)]
pub struct Interrupter {
    /// Not weakly, for then a signal handler might be the one to free it.
    shared: Arc<Shared>,
    generation: u32,
}

impl Interrupter {
    /// Ends one [`wait_next`](WaitSet::wait_next): one that waits now or, if there is none, the next one. Before that one returns, further calls
    /// add nothing. `wait`, `wait_timeout` and `try_wait` do not take notice.
    ///
    /// It may be called in a signal handler (signal-safety(7)): it writes 8 bytes into an eventfd, and changes no `errno`. (In a simulation it may
    /// not: there it takes locks.) When the set is gone, and in the child of a fork(2), where the set is another one, it does nothing. The set's own
    /// descriptors are closed when its interrupters are gone too.
    pub fn interrupt(&self) {
        if self.generation == generation() {
            self.shared.interrupt();
        }
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}
