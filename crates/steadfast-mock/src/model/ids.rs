//! What goes by a number: processes, pipes and jobs.

/// Where a process is in the table.
pub(crate) type Slot = u32;
/// Process 1: the parent of orphans.
pub(crate) const INIT: Slot = 0;
/// The program under test. It has no PID here: as if it had made this PID namespace and stayed outside.
pub(crate) const CALLER: Slot = 1;
/// No process.
pub(crate) const NONE: Slot = Slot::MAX;

/// A process, for ever: what a pidfd means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) slot: Slot,
    pub(super) generation: u32,
}

impl Id {
    /// As pidfs numbers it.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// Which pipe; numbers are used again when nobody has either end.
pub(crate) type PipeId = u32;

/// Which job, from 1 on; a number is used again when nobody has the job and nothing of it lives. Small, for each process has one.
pub(crate) type JobId = u16;
/// None.
pub(crate) const NO_JOB: JobId = 0;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Read,
    Write,
}
