//! [`Lent`]: the terminal whose foreground a child has got from us ([`Command::foreground`](crate::Command::foreground)), and how it comes back.
//!
//! Otherwise this process would be a background process of its own terminal, and stop at its next tcsetattr(3). A shell does the same for its
//! commands.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steadfast_core::{Attributes, Errno, Error, Pid, Result};
use steadfast_linux::{foreground_group, own_foreground, take_foreground};

/// A foreground that is to come back.
#[derive(Debug)]
pub(crate) struct Lent {
    terminal: Arc<OwnedFd>,
    /// Our group, which had it.
    ours: Pid,
    /// The group that gets it; until the child is born, the one that it is to join, if it is to join one.
    to: Option<Pid>,
    /// Once is enough: afterwards it may have been given to somebody else, who has the number by then.
    is_back: AtomicBool,
}

impl Lent {
    /// What this process is about to give away, if it has it.
    pub(crate) fn before(attributes: &Attributes) -> Option<Lent> {
        let terminal = attributes.foreground.as_ref()?;
        let ours = own_foreground(terminal.as_fd())?;
        let to = attributes.process_group.and_then(|group| Pid::new(group).ok());
        Some(Lent { terminal: Arc::clone(terminal), ours, to, is_back: AtomicBool::new(false) })
    }

    /// Gives it to this group, which is there and stays so meanwhile.
    pub(crate) fn give(terminal: OwnedFd, to: Pid) -> Result<Lent> {
        let failed = |source| {
            let subject = format!("the terminal that process group {to} is to have in the foreground");
            Error::System { call: "tcsetpgrp", subject, source }
        };
        match own_foreground(terminal.as_fd()) {
            Some(ours) => {
                let lent = Lent { terminal: Arc::new(terminal), ours, to: Some(to), is_back: AtomicBool::new(false) };
                match take_foreground(lent.terminal.as_fd(), ours, to) {
                    Ok(true) => Ok(lent),
                    // Somebody has taken it from us between the two calls.
                    Ok(false) => Err(failed(Errno::PERM)),
                    Err(errno) => Err(failed(errno)),
                }
            }
            // To take it from others is a stop by `SIGTTOU` for whoever is in the background, and not ours to overrule.
            None => Err(failed(if foreground_group(terminal.as_fd()).is_err() { Errno::NOTTY } else { Errno::PERM })),
        }
    }

    /// To be called when the child has ended or stopped; the first call counts.
    pub(crate) fn bring_back(&self) {
        let Some(to) = self.to else { return };
        if !self.is_back.swap(true, Ordering::AcqRel) {
            // Whatever it fails for, the terminal is not this session's any more, and there is nothing to be done.
            _ = take_foreground(self.terminal.as_fd(), to, self.ours);
        }
    }
}

/// As long as the child has not come to its program: if it never does, it is killed, and the terminal comes back.
pub(crate) struct LentAtStart(Option<Lent>);

impl LentAtStart {
    pub(crate) fn to(child: Pid, lent: Option<Lent>) -> LentAtStart {
        LentAtStart(lent.map(|lent| Lent { to: lent.to.or(Some(child)), ..lent }))
    }

    /// It is the child's now.
    pub(crate) fn take(&mut self) -> Option<Lent> {
        self.0.take()
    }
}

impl Drop for LentAtStart {
    fn drop(&mut self) {
        self.0.iter().for_each(Lent::bring_back);
    }
}
