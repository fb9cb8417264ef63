//! Naming a process, and coming back to it by its name.

use super::state::{Origin, UNKNOWN};
use super::{Identity, Process, Reopened};
use crate::{Errno, ProcessBackend, Result};
use std::sync::Arc;

impl Process {
    /// Names this process, beyond the life of the handle and of this program: see [`Identity`]. A zombie that was not waited for has a name too.
    ///
    /// With a pidfd it takes some ten system calls. Without, the process must have been seen in a later tick of the clock than the one in which it was
    /// started: in the first 10 ms of its life, this waits for the rest of them.
    ///
    /// Ask for it before the process is waited for: afterwards there is nothing that could be named.
    ///
    /// # Errors
    /// [`Error::ProcessDone`](crate::Error::ProcessDone) if it was waited for or is gone, [`Error::Released`](crate::Error::Released) after
    /// [`release`](Process::release); [`Error::UnknownIdentity`](crate::Error::UnknownIdentity) if nothing tells it from a later process of its
    /// number; [`Error::System`](crate::Error::System) if `/proc` cannot be read (`ENOENT`: it is not mounted; `EMFILE`), or a call is filtered.
    pub fn identity(&self) -> Result<Identity> {
        self.send(|process| process.identity())
    }

    /// Takes hold of the process that was named, if it still is there, as [`find`](Process::find) does by number.
    pub fn reopen(backend: &Arc<dyn ProcessBackend>, identity: &Identity) -> Reopened<Process> {
        let reopened = loop {
            match backend.reopen(identity) {
                // A signal came in between, which says nothing.
                Reopened::Unknown(why) if why.errno() == Some(Errno::INTR) => {}
                answer => break answer,
            }
        };
        reopened.map(|process| Process::new(backend, identity.pid(), process, Origin::Found, UNKNOWN))
    }
}
