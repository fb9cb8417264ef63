//! [`Handle`]: what a child is held by, when no descriptor is left.

use super::Command;
use crate::System;
use steadfast_core::{Errno, Error};

/// What [`Command::handle`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handle {
    /// A pidfd, where the system has them; without a descriptor for it there is no child.
    #[default]
    Required,
    /// A pidfd; or, when no descriptor is left, the child's number, as the backend `pid-legacy` holds it. The number of a child is its own
    /// until it is reaped, and nobody but this crate reaps it, unless other code of the program waits for children that are not its own.
    IfPossible,
}

impl Command {
    /// Sets what happens when this process has no descriptor left for the pidfd of a child (`EMFILE`, `ENFILE`). By default the spawn fails.
    ///
    /// ```no_run
    /// use steadfast::{Command, Handle};
    /// let child = Command::new("worker").handle(Handle::IfPossible).spawn()?;
    /// println!("held by {}", child.backend().info().name);              // `pidfd`, or `pid-legacy`
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn handle(&mut self, handle: Handle) -> &mut Command {
        self.handle = handle;
        self
    }

    /// Whether the spawn that failed so is to be tried without a pidfd.
    pub(super) fn may_do_without(&self, system: &System, error: &Error) -> bool {
        let info = system.info();
        let is_full = matches!(error.errno(), Some(Errno::MFILE | Errno::NFILE));
        self.handle == Handle::IfPossible && is_full && info.real && info.lends_handle && !self.create_pidfd
    }
}
