//! [`Member`]: what is put into a set, and taken out of it.

use crate::{Child, Process};
use std::ops::Deref;
use steadfast_core::Until;

/// A process in a [`WaitSet`](crate::WaitSet): a [`Child`] with its pipes, which the set owns; or a handle of which there may be others.
#[derive(Debug)]
pub struct Member {
    process: Process,
    end: Until,
    /// In a box, for most are none.
    child: Option<Box<Child>>,
}

impl Member {
    /// A process that is not a child, to be reported as soon as it has exited. Otherwise it is reported once it is gone, which never happens if its
    /// parent does not wait for it. See [`wait_exited`](crate::backend::Process::wait_exited).
    pub fn exit_of(process: Process) -> Member {
        Member { process, end: Until::Exited, child: None }
    }

    pub(super) fn end(&self) -> Until {
        self.end
    }

    /// The child with its pipes, if it was added as a [`Child`].
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
        Member { process: child.process().clone(), end: Until::Gone, child: Some(Box::new(child)) }
    }
}

impl From<Process> for Member {
    fn from(process: Process) -> Member {
        Member { process, end: Until::Gone, child: None }
    }
}
