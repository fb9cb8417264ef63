//! [`JobLink`]: what plans, commands and children have of a job.

use super::{Inner, Job, JobEnd};
use crate::{Containment, Error, Membership, OnBirth, Plan, Result, Signal};
use std::fmt;
use std::sync::{Arc, Weak};

/// What plans, commands and children have of a job: made by [`Job::link`]. It does not keep the job: once that is dropped or detached, there is nobody
/// whom it could reach.
#[derive(Clone)]
pub struct JobLink {
    job: Weak<Inner>,
    containment: Containment,
}

impl Job {
    /// For whoever is to start processes in it, or to signal it, as long as it has an owner.
    pub fn link(&self) -> JobLink {
        JobLink { job: Arc::downgrade(&self.inner), containment: self.containment() }
    }

    /// For the plan of a process that is to be started in it. It does not keep the job: once that is dropped, such a start fails.
    pub fn membership(&self) -> Arc<dyn Membership> {
        self.link().membership()
    }
}

impl JobLink {
    /// For the plan of a process that is to be started in it.
    pub fn membership(&self) -> Arc<dyn Membership> {
        Arc::new(self.clone())
    }

    /// Kills the job, as [`Job::kill`]. If it was dropped or detached, there is nothing to do.
    ///
    /// # Errors
    /// As there.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends a signal to each member, as [`Job::signal`]. If it was dropped or detached, there is nothing to do.
    ///
    /// # Errors
    /// As there.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.owned().map_or(Ok(()), |job| if signal == Signal::KILL { job.kill() } else { job.signal(signal) })
    }

    /// What tells when nothing lives in it; `None` if it was dropped or detached.
    pub fn end(&self) -> Option<JobEnd> {
        self.owned().map(JobEnd::of)
    }

    /// The job, unless it was dropped or detached. Then it may still be there, for somebody who waits until nothing lives in it.
    fn owned(&self) -> Option<Arc<Inner>> {
        self.job.upgrade().filter(|job| job.has_owner())
    }
}

impl Membership for JobLink {
    fn admit(&self, plan: &Plan) -> Result<(Plan, OnBirth)> {
        let over = Error::JobOver { containment: self.containment };
        self.job.upgrade().ok_or(over)?.admit(plan)
    }

    fn kill(&self) -> Result<()> {
        JobLink::kill(self)
    }
}

impl fmt::Debug for JobLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a job by {}", self.containment)
    }
}
