//! A running child becomes a member.

use super::Job;
use crate::{Process, Result};

impl Job {
    /// Makes a child of this process that runs a member, and all that it starts from now on. What it has started before stays where it is. One that has
    /// ended, and was not waited for, is left as it is.
    ///
    /// Nobody can have its number meanwhile: it is not waited for through its handle until this is done. (Other code of the program that waits for
    /// children which are not its own could take that away.)
    ///
    /// # Errors
    /// [`Error::JobOver`](crate::Error::JobOver) once the job was killed. [`Error::NotPinned`](crate::Error::NotPinned) for who was found and not spawned: its number could
    /// be a stranger's in the moment in which the kernel takes it. [`Error::Unsupported`](crate::Error::Unsupported) if this containment takes none that
    /// run. [`Error::ProcessDone`](crate::Error::ProcessDone) and [`Error::Released`](crate::Error::Released) by its state. [`Error::System`](crate::Error::System)
    /// if the kernel refuses it.
    pub fn adopt(&self, process: &Process) -> Result<()> {
        let birth = self.inner.begin_birth()?;
        let adopted = process.pinned("write cgroup.procs", |pid| self.inner.place.adopt(pid));
        birth(adopted.is_ok().then_some(process.pid()));
        adopted
    }
}
