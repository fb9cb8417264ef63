//! [`Feeding`]: an input that is written while the output is read.

use super::hub::Runtime;
use super::pipe::ChildStdin;
use crate::Process;
use crate::input::{Feed, Input};
use crate::output::end_early;
use crate::pipe::errno;
use std::task::{Context, Poll};
use steadfast_core::{Error, Result};

/// An input, and the stdin that it goes to, until all is written, nobody reads it any more, or the reading of the output is over.
pub(super) struct Feeding<'a, R: Runtime> {
    feed: Feed,
    stdin: &'a ChildStdin<R>,
    process: &'a Process,
}

impl<'a, R: Runtime> Feeding<'a, R> {
    pub(super) fn new(input: &Input, stdin: &'a ChildStdin<R>, process: &'a Process) -> Feeding<'a, R> {
        Feeding { feed: Feed::new(input), stdin, process }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stdin.is_open()
    }

    /// Writes once; whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if !self.is_open() {
            return Ok(false);
        }
        let next = self.feed.next().inspect_err(|_| end_early(self.process))?;
        if next.is_empty() {
            self.stdin.close();
            return Ok(true);
        }
        match self.stdin.poll_feed(cx, next) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(written)) => {
                self.feed.wrote(written);
                Ok(true)
            }
            Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.stdin.close();
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                Err(Error::System { call: "write", subject: format!("stdin of a child ({error})"), source: errno(&error) })
            }
        }
    }
}

/// What was not written by now is not.
impl<R: Runtime> Drop for Feeding<'_, R> {
    fn drop(&mut self) {
        self.stdin.close();
    }
}
