//! [`WaitSet`]: thousands of processes, and which of them exits next.

use super::entries::{Entry, What};
use super::member::Member;
use super::own::{Again, Own, State};
use super::signal::{Ends, Vain};
use crate::places::Token;
use crate::{Child, ExitStatus, Process};
use std::fmt;
use std::hash::Hash;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::{Error, ProcessBackend, Result};

/// A set of processes, each with a key. It returns the next one that exits.
///
/// The cost of an exit does not depend on the number of processes in the set: with pidfds all of them are in one `epoll`. All methods take
/// `&self`, so threads can share a set; each exit is returned to one of them. In a simulation a set waits in virtual time.
///
/// ```
/// use steadfast::{Command, WaitSet};
/// let set = WaitSet::new();
/// for code in [3, 1, 2] {
///     set.add(code, Command::new("sh").args(["-c", &format!("exit {code}")]).spawn()?)?;
/// }
/// while let Some(exited) = set.wait() {                               // until the set is empty
///     assert_eq!(exited.status?.code(), Some(exited.key));
/// }
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # What is put in
/// A [`Child`] is moved into the set with its pipes, and its stdin is closed, as by [`Child::wait`]. The set returns it with its exit, or from
/// [`remove`](WaitSet::remove). If it is to be [killed on drop](crate::Command::kill_on_drop), it is killed when the set is dropped. To keep the
/// child, add another handle of it: `child.process().clone()`. A reference is not accepted, because here the child would be dropped at the end of
/// the line:
///
/// ```compile_fail
/// # let set = steadfast::WaitSet::new();
/// set.add("server", steadfast::Command::new("server").kill_on_drop(true).spawn()?.process())?;
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # What is reported
/// Each process that was added and not removed is reported exactly once, and leaves the set with that:
///
/// | a handle that … | is reported … |
/// | --- | --- |
/// | exits | with its status; it is Done, and reaped |
/// | was Done when it was added | at once, with its status |
/// | is waited for elsewhere at the same time | with the same status |
/// | is, or was, [released](crate::backend::Process::release) | at once, with [`Error::Released`] |
/// | has lost its status | with [`Error::NoChild`], or with the status if the kernel reports it |
/// | is of a process that is not a child | once it is gone: with its status if the kernel reports it (see [`wait_gone`](crate::backend::Process::wait_gone)), otherwise with [`Error::NoChild`] |
/// | is of a process that is not a child, added as [`Member::exit_of`] | as soon as it has exited, with [`Error::NoChild`], unless the kernel already reports its status |
/// | was added twice, under two keys | twice, once for each key |
/// | is in two sets | by both |
/// | is in the set when the set is dropped | not at all; a child without another handle is reaped in the background |
///
/// After a fork(2) of the program, the set in the forked child has the same processes, which are not its children. Parent and child do not see what
/// the other one does to its set. If another thread was changing the set during the fork, it is empty in the child.
///
/// Without pidfds, each process in a set needs a thread, which sleeps until the process exits.
///
/// A process stays in the set until its exit is reported. If the set can no longer watch it, because descriptors, threads or memory have run out,
/// the set checks that process again and again, with pauses of up to 50 ms.
///
/// [Jobs](WaitSet::add_job) can be in a set too, and children of which [stops and continuations](WaitSet::add_changes) are told. Both are reported by
/// [`wait_next`](WaitSet::wait_next) alone: all other calls return exits of processes.
pub struct WaitSet<K>(Own<K>);

/// A process of a [`WaitSet`] that has exited.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exited<K> {
    /// The key that it was added with.
    pub key: K,
    /// The child, if it was added as a [`Child`]: its pipes still hold what it has written and nobody has read.
    pub child: Option<Box<Child>>,
    /// Its handle, with PID and resource usage ([`exit`](crate::backend::Process::exit)).
    pub process: Process,
    /// How it ended, or why that is unknown.
    pub status: Result<ExitStatus>,
}

impl<K: Eq + Hash> WaitSet<K> {
    /// An empty set. With the first process it opens two descriptors, in addition to those of the processes.
    pub fn new() -> WaitSet<K> {
        WaitSet(Own::new(State::default()))
    }

    /// Adds a process: a [`Child`] or a [`Process`].
    ///
    /// # Errors
    /// [`Error::KeyInUse`] if this key is in the set already; [`Error::Unsupported`] for a simulated process in a set of real
    /// ones, or the other way round; [`Error::System`] if there are no descriptors or, without pidfds, no threads left (`EMFILE`,
    /// `ENOSPC`, `EAGAIN`). Then the set is unchanged, and the argument is dropped. To keep a child in that case, add a clone of its handle
    /// instead.
    pub fn add(&self, key: K, process: impl Into<Member>) -> Result<()> {
        let member = process.into();
        member.close_stdin();
        let (process, end) = (&Process::clone(&member), member.end());
        self.own().shared.prepare(&**process.backend())?;
        let mut state = self.lock();
        if state.entries.find(&key).is_some() {
            return Err(Error::KeyInUse { pid: Some(process.pid()) });
        }
        state.backend.get_or_insert_with(|| Arc::clone(process.backend()));
        let token = state.entries.insert(key, What::Process(member));
        drop(state);
        let watched = self.own().shared.add(process, token).and_then(|by_descriptor| match by_descriptor {
            true => {
                process.watch(&self.own().watcher, token.0);
                Ok(())
            }
            false => process.watch_end(end, &self.own().watcher, token.0),
        });
        if watched.is_err() {
            self.take_back(token);
        }
        watched
    }

    /// What cannot be watched is not added.
    pub(super) fn take_back(&self, token: Token) {
        let mut state = self.lock();
        let refused = state.entries.remove(token);
        // Another thread may sleep for this one alone.
        self.tell_sleepers(&state);
        drop(state);
        // A child may be killed here.
        drop(refused);
    }

    /// Removes the process with this key, and returns what was added; `None` if there is none, for example because its exit has been
    /// reported, or it is a [job](WaitSet::remove_job) or [tells of changes](WaitSet::remove_changes).
    pub fn remove(&self, key: &K) -> Option<Member> {
        let mut state = self.lock();
        let token = state.entries.find(key).filter(|token| !state.entries.is_for_next(*token))?;
        let Some(Entry { what: What::Process(member), .. }) = state.entries.remove(token) else { return None };
        self.tell_sleepers(&state);
        drop(state);
        member.unwatch(&self.own().watcher, token.0);
        self.own().shared.remove(&member);
        Some(member)
    }

    /// How many processes and jobs are in it.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a process or a job with this key is in it.
    pub fn contains(&self, key: &K) -> bool {
        self.lock().entries.find(key).is_some()
    }

    /// Blocks until a process exits, reaps it, and returns it; `None` if no process is in the set, or none is left because other threads take the last
    /// one. Of jobs it says nothing.
    ///
    /// This does not fail. An error that concerns one process is in its [`Exited::status`].
    pub fn wait(&self) -> Option<Exited<K>> {
        self.wait_until(None)
    }

    /// As [`wait`](WaitSet::wait), for at most `timeout`: `None` if none exits in time, or no process is in the set. It may take up to a
    /// millisecond longer.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Exited<K>> {
        let backend = self.backend()?;
        // Later than the clock can say is as good as never.
        self.wait_until(backend.clock().now().checked_add(timeout))
    }

    /// As [`wait_timeout`](WaitSet::wait_timeout), until `deadline` on the system's clock.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<Exited<K>> {
        self.wait_until(Some(deadline))
    }

    /// Returns one that has exited, without blocking; `None` if none has.
    pub fn try_wait(&self) -> Option<Exited<K>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Lends the set's descriptor, for an event loop of your own. It is readable while [`ready`](WaitSet::ready) has something to return. (It may be
    /// readable although there is nothing, when another thread was faster.) With [jobs](WaitSet::add_job) in the set, call
    /// [`wait_next`](WaitSet::wait_next) with a timeout of zero instead, until it returns [`TimedOut`](super::Next::TimedOut).
    ///
    /// # Errors
    /// [`Error::Unsupported`] in a simulation, and as long as no process was added.
    pub fn with_handle<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> R) -> Result<R> {
        match (self.own().shared.handle(), self.backend()) {
            (Some(fd), _) => Ok(f(fd)),
            (None, Some(backend)) => {
                let what = "a set of simulated processes has no descriptor".into();
                Err(Error::Unsupported { backend: backend.info().name, what })
            }
            (None, None) => {
                let what = "it has no descriptor yet: add a process first".into();
                Err(Error::Unsupported { backend: "wait set", what })
            }
        }
    }

    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> Option<Exited<K>> {
        self.wait_for(deadline, Ends::ByEmptiness).ok()
    }

    pub(super) fn wait_for(&self, deadline: Option<Instant>, ends: Ends) -> Result<Exited<K>, Vain<K>> {
        let ended = self.wait_for_any(deadline, ends);
        if ends == Ends::ByInterrupts {
            self.pass_on();
        }
        ended
    }

    fn wait_for_any(&self, deadline: Option<Instant>, ends: Ends) -> Result<Exited<K>, Vain<K>> {
        let is_interrupted = || ends == Ends::ByInterrupts && self.own().shared.take_interrupt();
        // First, or exits without a pause would put it off for ever.
        if is_interrupted() {
            return Err(Vain::Interrupted);
        }
        let mut seen = Vec::new();
        if let Some(news) = self.take_news(&mut seen, Again::All, ends, 0) {
            return news;
        }
        let Some(backend) = self.backend() else { return Err(Vain::Over) };
        loop {
            let rings = self.own().shared.count();
            let sleeper = self.own().shared.sleeper(ends);
            if is_interrupted() {
                self.hand_over(&self.lock());
                return Err(Vain::Interrupted);
            }
            // Another thread may have left something since the last look, and not have seen that this one is about to sleep.
            if let Some(news) = self.take_news(&mut seen, Again::WhenDue, ends, sleeper.leavers()) {
                return news;
            }
            let state = self.lock();
            if state.entries.processes() == 0 && ends == Ends::ByEmptiness {
                drop(state);
                self.be_silent();
                return Err(Vain::Over);
            }
            let again = state.later.at();
            drop(state);
            let until = deadline.into_iter().chain(again).min();
            self.own().shared.sleep(until, ends, backend.clock(), rings, &mut seen);
            drop(sleeper);
            if let Some(news) = self.take_news(&mut seen, Again::WhenDue, ends, 0) {
                return news;
            }
            if deadline.is_some_and(|deadline| deadline <= backend.clock().now()) {
                self.hand_over(&self.lock());
                return Err(if is_interrupted() { Vain::Interrupted } else { Vain::Over });
            }
        }
    }

    /// What it has in this process.
    pub(super) fn own(&self) -> &Own<K> {
        self.0.here()
    }

    pub(super) fn backend(&self) -> Option<Arc<dyn ProcessBackend>> {
        self.lock().backend.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.own().state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Default for WaitSet<K> {
    fn default() -> WaitSet<K> {
        WaitSet::new()
    }
}

impl<K> fmt::Debug for WaitSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitSet")
    }
}
