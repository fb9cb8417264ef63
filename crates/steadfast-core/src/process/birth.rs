//! [`Birth`]: a job is told how long a process is being born in it.

use crate::{Membership, Pid};

/// While a process is about to be born in a job. However that ends, the job is told.
pub(super) struct Birth<'a> {
    job: &'a dyn Membership,
    pub(super) pid: Option<Pid>,
}

impl<'a> Birth<'a> {
    /// In a job that has admitted it.
    pub(super) fn in_job(job: &'a dyn Membership) -> Birth<'a> {
        Birth { job, pid: None }
    }
}

impl Drop for Birth<'_> {
    fn drop(&mut self) {
        self.job.born(self.pid);
    }
}
