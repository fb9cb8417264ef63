//! [`Runtime`]: what is asked of one.

use crate::pipe::End;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use steadfast_core::Lent;

/// An async runtime: [`Tokio`](crate::tokio::Tokio), with the feature of its name, or [`AsyncIo`](crate::async_io::AsyncIo). There
/// are no others.
#[allow(private_bounds, reason = "what is asked of it is not for others to implement")]
pub trait Runtime: Engine {}

impl<R: Engine> Runtime for R {}

pub(crate) trait Engine: Sized + Send + Sync + Unpin + 'static {
    /// Tells one instance of the runtime from another.
    type Id: Copy + PartialEq + Send + Sync + Unpin;
    /// A descriptor that is registered with it.
    type Source: Send + Sync + Unpin;
    type Timer: Future + Send;

    /// The instance that polls the calling task.
    ///
    /// # Errors
    /// If there is none.
    fn id() -> io::Result<Self::Id>;

    fn register(descriptor: Descriptor, interest: Interest) -> io::Result<Self::Source>;

    /// Whether [`poll_readable`](Self::poll_readable) is ready only some time after it has woken the task.
    const IS_LATE: bool;

    /// Ready once the descriptor is readable; only asked until it is.
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
    Pidfd(Lent),
    Pipe(Arc<End>),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
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
