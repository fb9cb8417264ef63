//! [`Command::in_job`], [`Command::own_job`]: in which job a command is started.

use super::Command;
use crate::Child;
use crate::job::{Job, JobBuilder, JobWish};
use steadfast_core::Result;

impl Command {
    /// Starts it in this job, whenever it is started: it is a member from its birth on. Once the job was killed or dropped, a start fails with
    /// [`Error::JobOver`](crate::Error::JobOver).
    ///
    /// Where a call ends the command for its time or its limit ([`output_timeout`](Command::output_timeout), [`capture`](Command::capture),
    /// [`lines`](Command::lines), and those of [`Pipeline`](crate::Pipeline)), it kills the whole job; or stops it, as
    /// [`Capture::on_timeout`](crate::Capture::on_timeout) says.
    ///
    /// A command that is to be in a group or session of its own cannot be started in a job by [`Group`](crate::Containment::Group), nor one
    /// with a [`cgroup`](Command::cgroup) in one by [`Cgroup`](crate::Containment::Cgroup): [`Error::InvalidPlan`](crate::Error::InvalidPlan).
    pub fn in_job(&mut self, job: &Job) -> &mut Command {
        self.job = Some(JobWish::In(job.link()));
        self
    }

    /// Starts it in a new job of its own each time, made as the builder says. The job ends with the [`Child`]: when that is dropped, all that it has
    /// started and that still lives is killed. See [`Child::job`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Command, Job};
    /// let mut tool = Command::new("sh");
    /// tool.args(["-c", "(setsid sleep 60 &); echo done; sleep 60"]).own_job(Job::builder());
    /// let captured = tool.output_timeout(Duration::from_millis(200))?;      // kills what it has left behind, too
    /// assert!(captured.timed_out);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn own_job(&mut self, builder: JobBuilder) -> &mut Command {
        self.job = Some(JobWish::Own(builder));
        self
    }

    /// Starts it on the current system in this job, as [`in_job`](Command::in_job) and [`spawn`](Command::spawn).
    ///
    /// # Errors
    /// [`Error::JobOver`](crate::Error::JobOver) once the job was killed; else as [`spawn`](Command::spawn).
    pub fn spawn_in(&self, job: &Job) -> Result<Child> {
        self.clone().in_job(job).spawn()
    }
}
