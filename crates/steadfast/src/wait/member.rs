//! [`Member`]: what is put into a set, and taken out of it.

use crate::{Child, Process};
use std::ops::Deref;

/// A process as a [`WaitSet`](crate::WaitSet) has it: a [`Child`], pipes and all, which is the set's own then; or a handle beside others.
#[derive(Debug)]
pub struct Member {
    process: Process,
    /// In a box, for most are none.
    child: Option<Box<Child>>,
}

impl Member {
    /// The child with its pipes, if it was put in as one.
    pub fn into_child(self) -> Option<Child> {
        self.child.map(|child| *child)
    }

    pub(super) fn close_stdin(&self) {
        if let Some(child) = &self.child {
            child.close_stdin();
        }
    }

    pub(super) fn into_parts(self) -> (Process, Option<Box<Child>>) {
        (self.process, self.child)
    }
}

impl Deref for Member {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl From<Child> for Member {
    fn from(child: Child) -> Member {
        Member { process: child.process().clone(), child: Some(Box::new(child)) }
    }
}

impl From<Process> for Member {
    fn from(process: Process) -> Member {
        Member { process, child: None }
    }
}
