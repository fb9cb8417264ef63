//! [`JobWish`]: in which job a command is to be started; [`ChildJob`]: in which a child was.

use super::{Job, JobBuilder};
use crate::System;
use std::fmt;
use std::sync::Arc;
use steadfast_core::{JobLink, Membership, Result};

/// In which job a command is started.
#[derive(Clone, Debug)]
pub(crate) enum JobWish {
    In(JobLink),
    Own(JobBuilder),
}

impl JobWish {
    pub(crate) fn fulfil(&self, system: &System) -> Result<ChildJob> {
        Ok(match self {
            JobWish::In(link) => ChildJob::shared(link.clone()),
            JobWish::Own(builder) => ChildJob::own(builder.build_on(system)?),
        })
    }
}

/// The job of a child: of others too, or its own, which ends with the [`Child`](crate::Child).
pub(crate) struct ChildJob {
    link: JobLink,
    own: Option<Job>,
}

impl ChildJob {
    pub(crate) fn shared(link: JobLink) -> ChildJob {
        ChildJob { link, own: None }
    }

    pub(crate) fn own(job: Job) -> ChildJob {
        ChildJob { link: job.link(), own: Some(job) }
    }

    pub(crate) fn membership(&self) -> Arc<dyn Membership> {
        self.link.membership()
    }

    pub(crate) fn link(&self) -> &JobLink {
        &self.link
    }

    /// If it is the child's alone.
    pub(crate) fn job(&self) -> Option<&Job> {
        self.own.as_ref()
    }

    /// Kills all of it.
    pub(crate) fn kill(&self) -> Result<()> {
        self.link.kill()
    }
}

impl fmt::Debug for ChildJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.fmt(f)
    }
}
