//! [`Poller`]: what is asked of a runtime: to poll descriptors, and to tell the time.

use crate::pipe::End;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use steadfast_core::Lent;

pub(crate) trait Poller: Sized + Send + Sync + Unpin + 'static {
    /// Tells one instance of the runtime from another.
    type Id: Copy + PartialEq + Send + Sync + Unpin + 'static;
    /// A descriptor that is registered with it.
    type Source: Send + Sync + Unpin + 'static;
    type Timer: Future + Send;

    /// The instance that polls the calling task.
    ///
    /// # Errors
    /// If there is none.
    fn id() -> io::Result<Self::Id>;

    fn register(descriptor: Descriptor, interest: Interest) -> io::Result<Self::Source>;

    /// Calls `read` while the descriptor is readable, and has the task woken when it is so again.
    ///
    /// # Errors
    /// If that will not be, for the runtime is gone.
    fn poll_while_readable(source: &Self::Source, cx: &mut Context<'_>, read: &mut dyn FnMut()) -> io::Result<()> {
        let mut attempt = || {
            read();
            Ok(None::<Infallible>)
        };
        match Self::without_budget(cx, |cx| Self::poll_io(source, cx, Interest::Read, &mut attempt)) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(never)) => match never {},
            Poll::Pending => Ok(()),
        }
    }

    /// Polls, and is not told to come back later because the task has done enough for now: nobody may be there to come back.
    fn without_budget<T>(cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(cx)
    }

    /// Wakes the task when the descriptor is readable, unless it is so already.
    fn poll_readable(source: &Self::Source, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tries until it succeeds or fails; pending while it has nothing to say (`Ok(None)`), until the descriptor is ready again.
    fn poll_io<T>(
        source: &Self::Source,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: Attempt<'_, T>,
    ) -> Poll<io::Result<T>>;

    fn timer(at: Instant) -> Self::Timer;

    /// Its present; `None` where the calling thread has none.
    fn clock() -> Option<Instant>;
}

pub(crate) type Attempt<'a, T> = &'a mut dyn FnMut() -> io::Result<Option<T>>;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// A descriptor that lives as long as it is registered, whatever becomes of its owner.
pub(crate) enum Descriptor {
    Hub(Arc<OwnedFd>),
    Pidfd(Lent),
    Pipe(Arc<End>),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Hub(epoll) => epoll.as_fd(),
            Descriptor::Pidfd(lent) => lent.as_fd(),
            Descriptor::Pipe(end) => match end.fd() {
                Some(fd) => fd,
                None => unreachable!("a simulated pipe is not registered"),
            },
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
