//! [`Feeding`]: an input that is written while the output is read.

use super::hub::Runtime;
use super::pipe::ChildStdin;
use crate::Process;
use crate::input::{Feed, Input};
use crate::output::Readers;
use crate::pipe::errno;
use std::task::{Context, Poll};
use steadfast_core::{Error, Result};

/// An input, and the stdin that it goes to: until all is written, nobody reads it any more, or the reading of the output is over. If it ends
/// before that, the child is killed first.
pub(super) struct Feeding<R: Runtime> {
    feed: Feed,
    /// Dropped with this, which is the end of the child's input.
    stdin: ChildStdin<R>,
    whose: Readers,
}

impl<R: Runtime> Feeding<R> {
    pub(super) fn new(input: &Input, stdin: ChildStdin<R>, process: &Process) -> Feeding<R> {
        Feeding { feed: Feed::new(input), stdin, whose: Readers::new([process]) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stdin.is_open()
    }

    /// What was not written by now is not.
    pub(super) fn close(&self) {
        self.stdin.close();
    }

    /// Writes once; whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if !self.is_open() {
            return Ok(false);
        }
        let next = self.feed.next()?;
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

/// As [`crate::output::Feeding`]: given up before its end, it has the child killed.
impl<R: Runtime> Drop for Feeding<R> {
    fn drop(&mut self) {
        if self.is_open() {
            self.whose.kill();
        }
    }
}
