//! [`Birth`]: a job is told how long a process is being born in it.

use crate::{OnBirth, Pid};

/// While a process is about to be born in a job. However that ends, the job is told.
pub(super) struct Birth {
    tell: Option<OnBirth>,
    pub(super) pid: Option<Pid>,
}

impl Birth {
    pub(super) fn new(tell: OnBirth) -> Birth {
        Birth { tell: Some(tell), pid: None }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.pid);
        }
    }
}
