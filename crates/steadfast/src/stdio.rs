//! [`Stdio`]: where a standard stream of a new process comes from or goes to.

use crate::pipe::{ChildStderr, ChildStdin, ChildStdout};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use steadfast_core::PlanStdio;

/// Where a standard stream of a new process comes from or goes to, as `std::process::Stdio`; and it can be cloned.
///
/// ```
/// use steadfast::{Command, Stdio};
/// let echo = Command::new("echo").arg("hi").stdout(Stdio::piped()).spawn()?;
/// # let mut echo = echo;
/// let sorted = Command::new("sort").stdin(echo.stdout.take().expect("piped")).output()?;
/// assert_eq!(sorted.stdout, b"hi\n");
/// # echo.wait()?;
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio(pub(crate) Source);

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Real(PlanStdio),
    /// A stream that was closed already, or could not be copied.
    Closed,
}

impl Stdio {
    /// A new pipe, whose other end is in the [`Child`](crate::Child).
    pub fn piped() -> Stdio {
        Stdio(Source::Real(PlanStdio::Piped))
    }

    /// This process's own.
    pub fn inherit() -> Stdio {
        Stdio(Source::Real(PlanStdio::Inherit))
    }

    /// `/dev/null`.
    pub fn null() -> Stdio {
        Stdio(Source::Real(PlanStdio::Null))
    }
}

/// The child gets a copy; the descriptor itself is closed with the last clone of the `Stdio`, which the
/// [`Command`](crate::Command) holds.
impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        Stdio(Source::Real(PlanStdio::Fd(Arc::new(fd))))
    }
}

macro_rules! from_owned {
    ($($owner:ty),*) => {$(
        impl From<$owner> for Stdio {
            fn from(owner: $owner) -> Stdio {
                OwnedFd::from(owner).into()
            }
        }
    )*};
}

from_owned!(File, std::process::ChildStdin, std::process::ChildStdout, std::process::ChildStderr);

macro_rules! from_own_stream {
    ($($stream:ty),*) => {$(
        /// A copy of this process's own; if it is closed, the spawn says so.
        impl From<$stream> for Stdio {
            fn from(stream: $stream) -> Stdio {
                stream.as_fd().try_clone_to_owned().map_or(Stdio(Source::Closed), Stdio::from)
            }
        }
    )*};
}

from_own_stream!(std::io::Stdout, std::io::Stderr);

macro_rules! from_pipe {
    ($($pipe:ty),*) => {$(
        /// A simulated process's pipe can be given to a process of the same simulation; elsewhere the spawn refuses it.
        impl From<$pipe> for Stdio {
            fn from(pipe: $pipe) -> Stdio {
                Stdio(pipe.into_stdio().map_or(Source::Closed, Source::Real))
            }
        }
    )*};
}

from_pipe!(ChildStdin, ChildStdout, ChildStderr);
