//! [`Task`]: one tool, run for at most so long, that any thread can cancel.
//!
//! It is ordinary code. That nothing of the tool is left is the job's doing: it holds what the tool has started, too.

use std::time::Duration;
use steadfast::{Command, Error, ErrorKind, ExitStatus, Job, JobBuilder, System, Teardown};

/// What has ended the tool.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    ByItself(ExitStatus),
    OutOfTime,
    Cancelled,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) ended: Ended,
    /// How many processes were there when the tool itself had ended.
    pub(crate) left: usize,
}

pub(crate) struct Task {
    job: Job,
    system: System,
    limit: Duration,
}

/// How long what was asked to end may take, before it is made to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

impl Task {
    pub(crate) fn new(system: &System, job: &JobBuilder, limit: Duration) -> Result<Task, Error> {
        Ok(Task { job: system.job(job)?, system: system.clone(), limit })
    }

    /// What holds the tool: any thread can kill it, whether the tool runs or is about to be started.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Runs the tool. When this returns, nothing lives that it has started.
    pub(crate) fn run(&self, tool: &Command) -> Result<Report, Error> {
        let spawned = self.system.spawn(tool.clone().in_job(&self.job));
        let child = match spawned {
            // Cancelled before it could be started.
            Err(error) if error.kind() == ErrorKind::JobOver => return Ok(Report { ended: Ended::Cancelled, left: 0 }),
            spawned => spawned?,
        };
        let status = child.wait_timeout(self.limit)?;
        let left = self.job.members()?.len() - usize::from(status.is_none());
        self.job.stop(&Teardown::graceful(GRACE))?;
        // Not before: what was killed may take a moment.
        self.job.wait_empty()?;
        let ended = match status {
            Some(status) if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) => Ended::Cancelled,
            Some(status) => Ended::ByItself(status),
            None => Ended::OutOfTime,
        };
        child.wait()?;
        Ok(Report { ended, left })
    }
}
