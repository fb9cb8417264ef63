//! [`Membership`]: a job, as the plan of a process knows it that is to be started in it.

use super::Plan;
use crate::{Pid, Result};
use std::fmt;

/// A job, as the plan of a process knows it that is to be started in it: made by [`Job::membership`](crate::Job::membership).
pub trait Membership: Send + Sync + fmt::Debug {
    /// The plan as a backend is to start it, so that the process is a member from its birth on. It is counted as being born, until the callback is
    /// called.
    ///
    /// # Errors
    /// [`Error::JobOver`](crate::Error::JobOver) if the job was killed, dropped or detached; [`Error::InvalidPlan`](crate::Error::InvalidPlan) if the
    /// plan contradicts the job's containment. Then nothing is counted.
    fn admit(&self, plan: &Plan) -> Result<(Plan, OnBirth)>;

    /// Kills the job, as [`Job::kill`](crate::Job::kill). If it was dropped or detached, there is nothing to do.
    ///
    /// # Errors
    /// As there.
    fn kill(&self) -> Result<()>;
}

/// To be called when the process is born, with its PID, or could not be. If the job was killed meanwhile, so is the process.
pub type OnBirth = Box<dyn FnOnce(Option<Pid>) + Send>;
