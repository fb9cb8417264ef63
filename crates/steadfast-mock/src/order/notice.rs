//! Who is to be told of an exit, and statuses that outlive their processes.

use crate::model::host::Remains;
use crate::model::ids::{Id, JobId};
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use steadfast_core::{Exit, OnExit, Pid, Until};

#[derive(Default)]
pub(crate) struct Notices {
    waiting: HashMap<Id, Vec<(Until, OnExit)>>,
    /// Of processes that do not run their programs yet.
    starts: HashMap<Id, OnExit>,
    /// Of processes that have no report of a stop or a continuation.
    changes: HashMap<Id, Vec<OnExit>>,
    /// Of jobs that are not empty.
    jobs: HashMap<JobId, Vec<OnExit>>,
    /// Those that are due. They are called when the lock of the world is not held, for they come back to the scheduler.
    due: Vec<OnExit>,
    /// Of processes that are gone, and that somebody has a pidfd of: how they ended, and how many pidfds there are.
    lost: HashMap<Id, Lost>,
}

struct Lost {
    exit: Exit,
    handles: u32,
}

impl Notices {
    pub(crate) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn take_due(&mut self) -> Vec<OnExit> {
        std::mem::take(&mut self.due)
    }

    /// Calls when the process has come to this end; at once, if it has.
    pub(crate) fn add(&mut self, id: Id, end: Until, is_over: bool, tell: OnExit) {
        if is_over { self.due.push(tell) } else { self.waiting.entry(id).or_default().push((end, tell)) }
    }

    /// Calls when the process runs its program or has ended; at once, if that is so.
    pub(crate) fn add_start(&mut self, id: Id, is_over: bool, tell: OnExit) {
        if is_over {
            self.due.push(tell);
        } else {
            self.starts.insert(id, tell);
        }
    }

    /// Calls when it has stopped, goes on or has exited; at once, if there is news of that.
    pub(crate) fn add_change(&mut self, id: Id, has_news: bool, tell: OnExit) {
        if has_news { self.due.push(tell) } else { self.changes.entry(id).or_default().push(tell) }
    }

    #[inline]
    pub(crate) fn changed(&mut self, id: Id) {
        if !self.changes.is_empty() {
            self.due.extend(self.changes.remove(&id).into_iter().flatten());
        }
    }

    /// Calls when nothing lives in the job; at once, if that is so.
    pub(crate) fn add_job(&mut self, job: JobId, is_empty: bool, tell: OnExit) {
        if is_empty { self.due.push(tell) } else { self.jobs.entry(job).or_default().push(tell) }
    }

    pub(crate) fn job_is_empty(&mut self, job: JobId) {
        self.due.extend(self.jobs.remove(&job).into_iter().flatten());
    }

    pub(crate) fn started(&mut self, id: Id) {
        self.due.extend(self.starts.remove(&id));
    }

    /// Those who wait for one of these ends.
    pub(crate) fn fall_due(&mut self, id: Id, ends: &[Until]) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(waiting).into_iter().partition(|(end, _)| ends.contains(end));
        self.due.extend(due.into_iter().map(|(_, tell)| tell));
        *waiting = later;
        if waiting.is_empty() {
            self.waiting.remove(&id);
        }
    }

    /// A process is gone, whose pidfds may still be asked how it ended.
    pub(crate) fn keep(&mut self, id: Id, Remains { pid, status, handles }: Remains) {
        if let (true, Ok(pid)) = (handles > 0, Pid::new(pid)) {
            self.lost.insert(id, Lost { exit: Exit::new(pid, ExitStatus::from_raw(status)), handles });
        }
    }

    /// How it ended.
    pub(crate) fn lost(&self, id: Id) -> Option<Exit> {
        self.lost.get(&id).map(|lost| lost.exit)
    }

    /// One of its pidfds is closed.
    pub(crate) fn close(&mut self, id: Id) {
        if let Some(lost) = self.lost.get_mut(&id) {
            lost.handles -= 1;
            if lost.handles == 0 {
                self.lost.remove(&id);
            }
        }
    }
}
