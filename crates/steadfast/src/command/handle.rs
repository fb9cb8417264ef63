//! [`Handle`]: what a child is held by, when no descriptor is left.

use super::Command;
use crate::System;
use steadfast_core::{Errno, Error};
use steadfast_linux::has_room_for_descriptors;

/// What [`Command::handle`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handle {
    /// A pidfd, where the system has them; without a descriptor for it there is no child.
    #[default]
    Required,
    /// A pidfd; or, when few descriptors are left, the child's number, as the backend `pid-legacy` holds it. The number of a child is its own
    /// until it is reaped, and nobody but this crate reaps it, unless other code of the program waits for children that are not its own.
    ///
    /// The last descriptors are left to the program: the next child needs some to be started, for pipes and `/dev/null`. That is an eighth of
    /// the limit (`RLIMIT_NOFILE`), from 16 to 256 of them.
    IfPossible,
}

impl Command {
    /// Sets what happens when this process has no descriptor to spare for the pidfd of a child (`EMFILE`, `ENFILE`). By default the spawn fails.
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

    /// Whether to do without a pidfd, since few descriptors are left.
    pub(super) fn is_short(&self, system: &System) -> bool {
        self.is_flexible(system) && !has_room_for_descriptors()
    }

    /// Whether the spawn that failed so is to be tried without a pidfd: another thread has taken the last descriptor.
    pub(super) fn may_do_without(&self, system: &System, error: &Error) -> bool {
        self.is_flexible(system) && matches!(error.errno(), Some(Errno::MFILE | Errno::NFILE))
    }

    fn is_flexible(&self, system: &System) -> bool {
        let info = system.info();
        self.handle == Handle::IfPossible && info.real && info.lends_handle && !self.create_pidfd
    }
}
