//! The members of a job as handles, and a signal to each of them.

use super::{Inner, Job};
use crate::{Error, Pid, Process, Result, Signal};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// More rounds than this are a job that makes processes faster than they can be signalled.
const ROUNDS: usize = 16;
/// So many handles are open at one time while members are signalled: each may be a descriptor.
const AT_ONCE: usize = 64;

impl Job {
    /// A handle of each member that lives: who ends meanwhile is left out, and so is who is started meanwhile.
    ///
    /// They are handles of processes that were found ([`Process::find`]): to wait for a child's status, use the handle that its spawn gave.
    ///
    /// # Errors
    /// As [`ProcessBackend::find`](crate::ProcessBackend::find), but for who has ended: `EMFILE` if there are more members than descriptors;
    /// [`Error::System`] if the kernel does not list them.
    pub fn members(&self) -> Result<Vec<Process>> {
        let listed = self.inner.place.members()?;
        self.inner.find(&listed)
    }
}

impl Inner {
    /// Those of the listed that are members.
    fn find(&self, listed: &[Pid]) -> Result<Vec<Process>> {
        let mut handles = Vec::with_capacity(listed.len());
        for pid in listed {
            match Process::find(&self.backend, *pid) {
                Ok(process) => handles.push(process),
                // Of a thread: then the member is gone, and its number somebody else's by now.
                Err(Error::ProcessDone { .. } | Error::ThreadId { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // A number may have changed hands between the list and the handle. From the handle on it does not: if the number is on the list again,
        // it is a member that the handle means.
        let still: HashSet<Pid> = self.place.members()?.into_iter().collect();
        handles.retain(|process| still.contains(&process.pid()));
        Ok(handles)
    }

    /// To all in one call of the backend's; or to each through its handle, until there is nobody new.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        if self.place.signal(signal)? {
            return Ok(());
        }
        self.is_slow.fetch_or(signal == Signal::KILL, Ordering::Relaxed);
        // By number: if a new member has got the number of one that was told, it was started meanwhile.
        let mut told = HashSet::new();
        let mut refused = Ok(());
        for _ in 0..ROUNDS {
            let new: Vec<Pid> = self.place.members()?.into_iter().filter(|pid| told.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            for some in new.chunks(AT_ONCE) {
                for member in self.find(some)? {
                    match member.signal(signal) {
                        Ok(()) | Err(Error::ProcessDone { .. }) => {}
                        Err(error) => refused = refused.and(Err(error)),
                    }
                }
            }
        }
        refused
    }
}
