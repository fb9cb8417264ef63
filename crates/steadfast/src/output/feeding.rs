//! [`Feeding`]: an input that is written while the output is read.

use super::reading::failed;
use crate::input::{Feed, Input};
use crate::pipe::End;
use crate::{ChildStdin, Process};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{Errno, Result};

/// An input, and the stdin that it goes to: until all is written, nobody reads it any more, or the reading of the output is over. If it ends
/// before that, by an error, a panic or a future that is dropped, the child is killed first: whoever has been given a part must not take it for
/// the whole.
pub(crate) struct Feeding {
    feed: Feed,
    whose: Readers,
    end: Option<Arc<End>>,
}

/// Who reads an input: the child and, in a pipeline, those behind it. One that is gone, or has changed its user, does with it what it likes.
pub(crate) struct Readers(Vec<Process>);

impl Readers {
    pub(crate) fn new<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Readers {
        Readers(processes.into_iter().cloned().collect())
    }

    pub(crate) fn kill(&self) {
        drop(kill_backwards(self.0.iter()));
    }
}

impl Feeding {
    pub(crate) fn new(input: &Input, stdin: &ChildStdin, whose: Readers) -> Feeding {
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
        Feeding { feed, whose, end }
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
        let next = self.feed.next()?;
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

impl Drop for Feeding {
    fn drop(&mut self) {
        if self.end.is_some() {
            self.whose.kill();
        }
    }
}

/// Kills all of them, the last first: whoever reads what another one writes must not see its end, and take a part for the whole. The answers are
/// in that order.
pub(crate) fn kill_backwards<'a>(processes: impl DoubleEndedIterator<Item = &'a Process>) -> Vec<Result<()>> {
    processes.rev().map(|process| process.kill()).collect()
}
