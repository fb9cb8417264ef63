//! The pipes of a twin's child: they have a descriptor, and are made into a [`Stdio`].

use super::child::Child;
use super::hub::Runtime;
use super::pipe::{ChildStderr, ChildStdout, Pipe};
use crate::Stdio;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

/// The write end of a child's stdin, for the twins. Dropping it is the end of the child's input.
pub struct TwinStdin<R: Runtime> {
    pipe: Box<Pipe<R>>,
}

impl<R: Runtime> TwinStdin<R> {
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, bytes)
    }
}

impl<R: Runtime> fmt::Debug for TwinStdin<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildStdin")
    }
}

impl<R: Runtime> Child<R> {
    /// Its stdin, as a twin has it.
    pub(crate) fn take_stdin(&mut self) -> Option<TwinStdin<R>> {
        self.stdin.take()?.into_pipe().map(|pipe| TwinStdin { pipe })
    }
}

macro_rules! descriptor {
    ($name:ident) => {
        impl<R: Runtime> $name<R> {
            /// The descriptor, which blocks again.
            ///
            /// # Errors
            /// `Unsupported` for the pipe of a simulated process.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                let end = self.pipe.into_end().ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(end.into_fd()?)
            }
        }

        /// Panics for the pipe of a simulated process.
        impl<R: Runtime> AsFd for $name<R> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.pipe.fd()
            }
        }

        /// Panics for the pipe of a simulated process.
        impl<R: Runtime> AsRawFd for $name<R> {
            fn as_raw_fd(&self) -> RawFd {
                self.pipe.fd().as_raw_fd()
            }
        }

        /// Fails for the pipe of a simulated process.
        impl<R: Runtime> TryFrom<$name<R>> for OwnedFd {
            type Error = io::Error;
            fn try_from(pipe: $name<R>) -> io::Result<OwnedFd> {
                pipe.into_owned_fd()
            }
        }

        /// For another process: it blocks again.
        impl<R: Runtime> TryFrom<$name<R>> for Stdio {
            type Error = io::Error;
            fn try_from(pipe: $name<R>) -> io::Result<Stdio> {
                let end = pipe.pipe.into_end().and_then(crate::pipe::End::into_stdio);
                end.map(Stdio::from).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
            }
        }
    };
}

descriptor!(TwinStdin);
descriptor!(ChildStdout);
descriptor!(ChildStderr);
