//! [`Membership`]: a job, as the plan of a process knows it that is to be started in it.

use super::Plan;
use crate::{Pid, Result};
use std::fmt;

/// A job, as the plan of a process knows it that is to be started in it: made by [`Job::membership`](crate::Job::membership).
pub trait Membership: Send + Sync + fmt::Debug {
    /// The plan as a backend is to start it, so that the process is a member from its birth on. It is counted as being born, until
    /// [`born`](Self::born) is called.
    ///
    /// # Errors
    /// [`Error::JobOver`](crate::Error::JobOver) if the job was killed; [`Error::InvalidPlan`](crate::Error::InvalidPlan) if the plan contradicts
    /// the job's containment. Then nothing is counted.
    fn admit(&self, plan: &Plan) -> Result<Plan>;

    /// Kills the job, as [`Job::kill`](crate::Job::kill).
    ///
    /// # Errors
    /// As there.
    fn kill(&self) -> Result<()>;

    /// It is born, with this PID, or could not be. If the job was killed meanwhile, so is the process.
    fn born(&self, pid: Option<Pid>);
}
