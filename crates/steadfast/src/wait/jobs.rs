//! [`WaitSet::add_job`]: jobs in a set, and which of them is empty.

use super::emptied::Emptied;
use super::entries::{Entry, JobMember, What};
use super::set::WaitSet;
use super::signal::Vain;
use crate::Job;
use crate::places::Token;
use std::hash::Hash;
use std::sync::Arc;
use steadfast_core::{Error, Result};

impl<K: Eq + Hash> WaitSet<K> {
    /// Adds a job. [`wait_next`](WaitSet::wait_next) tells once when nothing lives in it, zombies apart, and it leaves the set with that. The other
    /// calls (`wait`, `wait_timeout`, `try_wait`, `ready`) return processes, and do not wait for jobs.
    ///
    /// ```
    /// use steadfast::{Command, Job, Next, WaitSet};
    /// let (set, job) = (WaitSet::new(), Job::new()?);
    /// let shell = Command::new("sh").args(["-c", "sleep 60 & exit 3"]).spawn_in(&job)?;
    /// set.add("shell", shell)?;
    /// set.add_job("all that it has started", &job)?;
    /// let Next::Exited(exited) = set.wait_next(None)? else { panic!("the shell ends first") };
    /// assert_eq!(exited.status?.code(), Some(3));
    /// job.kill()?;
    /// let Next::Emptied(emptied) = set.wait_next(None)? else { panic!("nothing else is in the set") };
    /// emptied.result?;                                            // and nothing is left
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// | a job that … | is told … |
    /// | --- | --- |
    /// | becomes empty, by itself or killed | once |
    /// | has no members when it is added | at once: start something in it first |
    /// | is empty, and then somebody is started in it before anybody looks | when that has ended too |
    /// | is dropped, and so killed | when nothing of it lives |
    /// | is [detached](Job::detach) | when nothing lives in what it held together |
    /// | was added twice, under two keys, or is in two sets | for each |
    /// | cannot be looked at (somebody has unmounted the cgroups) | once, with the error |
    /// | is in the set when the set is dropped | not at all |
    ///
    /// The set does not own the job: it does not kill it, and does not keep it from being killed by its drop. It keeps what is needed to tell: of a
    /// cgroup a descriptor, and one thread for all of them; of a process group a thread, and its leader's number. However often a job is in sets, that is needed
    /// once, until the job is empty. After a fork(2) of the program, the set in the forked child has the same jobs, and tells of them too.
    ///
    /// # Errors
    /// [`Error::KeyInUse`] if this key is in the set already; [`Error::Unsupported`] for a simulated job in a set of real processes, or the other way
    /// round; [`Error::System`] if there are no descriptors or threads left (`EMFILE`, `EAGAIN`), or the kernel does not tell. Then the set is unchanged.
    pub fn add_job(&self, key: K, job: &Job) -> Result<()> {
        let end = job.as_core().end();
        let own = self.own();
        own.shared.prepare(&**end.backend())?;
        let mut state = self.lock();
        if state.entries.find(&key).is_some() {
            return Err(Error::KeyInUse { pid: None });
        }
        state.backend.get_or_insert_with(|| Arc::clone(end.backend()));
        let token = state.entries.insert(key, What::Job(JobMember { end: end.clone(), is_watched: true }));
        drop(state);
        // Those who wait for jobs are woken by what interrupts them.
        let watched = self.prepare_interrupts().and_then(|()| end.watch(&own.watcher, token.0));
        if watched.is_err() {
            self.take_back(token);
        }
        if self.lock().entries.get(token).is_none() {
            end.unwatch(&own.watcher, token.0);
        }
        watched
    }

    /// Removes the job with this key; whether there was one. It is not told any more.
    pub fn remove_job(&self, key: &K) -> bool {
        let mut state = self.lock();
        let Some(token) = state.entries.find(key).filter(|token| state.entries.is_job(*token)) else { return false };
        let removed = state.entries.remove(token);
        drop(state);
        if let Some(entry) = removed {
            entry.unwatch(&self.own().watcher, token);
        }
        true
    }

    /// The first news that are worth it, of jobs and of processes of which changes are told.
    pub(super) fn take_told(&self) -> Option<Vain<K>> {
        loop {
            let mut state = self.lock();
            let token = state.told.pop_front()?;
            let is_job = state.entries.is_job(token);
            drop(state);
            let news = match is_job {
                true => self.take_emptied(token).map(Vain::Emptied),
                false => self.take_changed(token).map(Vain::Changed),
            };
            if news.is_some() {
                return news;
            }
        }
    }

    /// Whether nothing lives in this job, that has news.
    fn take_emptied(&self, token: Token) -> Option<Emptied<K>> {
        let watcher = &self.own().watcher;
        let mut state = self.lock();
        let job = state.entries.job(token)?;
        // Told, and yet something lives in it: it was started since, or is about to be born. That is no event, but time.
        let was_told = std::mem::replace(&mut job.is_watched, true);
        let end = job.end.clone();
        // Not under the lock: in a simulation a look lets other threads go on, and for a group it reads all of `/proc`.
        drop(state);
        let result = match end.is_empty() {
            Ok(true) => Ok(()),
            Err(error) if !error.is_of_the_moment() => Err(error),
            looked => {
                let is_watched = !was_told && looked.is_ok() && end.watch(watcher, token.0).is_ok();
                let mut state = self.lock();
                match state.entries.job(token) {
                    Some(job) if !is_watched => {
                        job.is_watched = false;
                        state.leave_for_later(token);
                    }
                    Some(_) => {}
                    // Removed meanwhile.
                    None => end.unwatch(watcher, token.0),
                }
                return None;
            }
        };
        let mut state = self.lock();
        // Unless another thread has told it meanwhile.
        let Entry { key, .. } = state.entries.remove(token)?;
        state.later.hope();
        self.hand_over(&state);
        drop(state);
        end.unwatch(watcher, token.0);
        Some(Emptied { key, result })
    }
}
