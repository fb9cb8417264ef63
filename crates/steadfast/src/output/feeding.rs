//! [`Feeding`]: an input that is written while the output is read.

use super::reading::failed;
use crate::input::{Feed, Input};
use crate::pipe::End;
use crate::{ChildStdin, Process};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{Errno, Result};

/// An input, and the stdin that it goes to: until all is written, nobody reads it any more, or the reading of the output is over.
pub(crate) struct Feeding {
    feed: Feed,
    /// Whose stdin it is.
    process: Process,
    end: Option<Arc<End>>,
}

impl Feeding {
    pub(crate) fn new(input: &Input, stdin: &ChildStdin, process: &Process) -> Feeding {
        let feed = Feed::new(input);
        let end = stdin.open_end().ok();
        // From here on it is this one's alone: when this is dropped, the child's input is at its end.
        stdin.close();
        if let Some(end) = &end {
            end.set_blocking(false);
            if feed.is_large() {
                end.enlarge();
            }
        }
        Feeding { feed, process: process.clone(), end }
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.end().and_then(End::fd)
    }

    /// Writes once; whether anything moved before `deadline` (which only a simulated pipe can keep).
    pub(crate) fn write_some(&mut self, deadline: Instant) -> Result<bool> {
        let Some(end) = &self.end else { return Ok(false) };
        let next = self.feed.next().inspect_err(|_| end_early(&self.process))?;
        if next.is_empty() {
            self.close();
            return Ok(true);
        }
        match end.feed(next, deadline) {
            Ok(None) => Ok(false),
            Ok(Some(written)) => {
                self.feed.wrote(written);
                Ok(true)
            }
            Err(Errno::PIPE) => {
                self.close();
                Ok(true)
            }
            Err(errno) => Err(failed("write", "stdin", errno)),
        }
    }

    /// The end of the child's input.
    pub(crate) fn close(&mut self) {
        self.end = None;
    }
}

/// Whoever has been given a part must not take it for the whole.
pub(crate) fn end_early(process: &Process) {
    // One that is gone, or has changed its user, does with it what it likes.
    drop(process.kill());
}
