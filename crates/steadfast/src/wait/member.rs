//! [`Member`]: what is put into a set, and taken out of it.

use crate::{Child, Process};
use std::ops::Deref;
use steadfast_core::Until;

/// A process as a [`WaitSet`](crate::WaitSet) has it: a [`Child`], pipes and all, which is the set's own then; or a handle beside others.
#[derive(Debug)]
pub struct Member {
    process: Process,
    end: Until,
    /// In a box, for most are none.
    child: Option<Box<Child>>,
}

impl Member {
    /// A process that is not a child, to be reported as soon as it has exited, and not only once it is gone, which may be never where its
    /// parent does not wait for it. See [`wait_exited`](crate::backend::Process::wait_exited).
    pub fn exit_of(process: Process) -> Member {
        Member { process, end: Until::Exited, child: None }
    }

    pub(super) fn end(&self) -> Until {
        self.end
    }

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
        Member { process: child.process().clone(), end: Until::Gone, child: Some(Box::new(child)) }
    }
}

impl From<Process> for Member {
    fn from(process: Process) -> Member {
        Member { process, end: Until::Gone, child: None }
    }
}
