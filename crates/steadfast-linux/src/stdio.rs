//! [`Stdio`]: where a standard stream of a new process comes from or goes to.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use steadfast_core::PlanStdio;

/// Where a standard stream of a new process comes from or goes to, as `std::process::Stdio`; and it can be cloned.
///
/// It is made of whatever has a descriptor, and of the pipes of another child; of those of `std::io::pipe` too, where std has them (Rust 1.87):
///
/// ```
/// use std::fs::File;
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
/// # use steadfast_linux as steadfast;
/// use steadfast::Stdio;
/// let null = Stdio::from(File::open("/dev/null")?);
/// let (ours, theirs) = UnixStream::pair()?;
/// let socket = Stdio::from(OwnedFd::from(theirs));
/// # drop((null, ours, socket));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio(Option<PlanStdio>);

// What a simulated pipe is, which only its own backend looks into, is not held across an unwinding.
impl UnwindSafe for Stdio {}
impl RefUnwindSafe for Stdio {}

impl Stdio {
    /// A new pipe, whose other end is in the `Child`.
    pub fn piped() -> Stdio {
        PlanStdio::Piped.into()
    }

    /// This process's own.
    pub fn inherit() -> Stdio {
        PlanStdio::Inherit.into()
    }

    /// `/dev/null`.
    pub fn null() -> Stdio {
        PlanStdio::Null.into()
    }

    /// For stderr: wherever stdout goes, so that one reader has both in the order in which they were written. As a shell's `2>&1` behind all other
    /// redirections; of `stdin` or `stdout` a spawn refuses it. Unlike a pipe whose write end is given twice, it leaves no descriptor with
    /// the command that would keep the reader from its end.
    pub fn same_as_stdout() -> Stdio {
        PlanStdio::Stdout.into()
    }

    /// A stream that was closed before it could be given away. A spawn with it fails with `EBADF`.
    pub fn closed() -> Stdio {
        Stdio(None)
    }

    /// What a plan says of it; `None` for one that was closed.
    pub fn plan(&self) -> Option<&PlanStdio> {
        self.0.as_ref()
    }
}

impl From<PlanStdio> for Stdio {
    fn from(stdio: PlanStdio) -> Stdio {
        Stdio(Some(stdio))
    }
}

/// The child gets a copy; the descriptor itself is closed with the last clone of the `Stdio`, which the
/// command holds.
impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        PlanStdio::Fd(Arc::new(fd)).into()
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

// Rust 1.87 (build.rs).
#[cfg(has_std_pipe)]
#[allow(clippy::incompatible_msrv, reason = "only where the compiler has it")]
mod std_pipes {
    use super::{OwnedFd, Stdio};
    from_owned!(std::io::PipeReader, std::io::PipeWriter);
}

#[cfg(feature = "os_pipe")]
from_owned!(os_pipe::PipeReader, os_pipe::PipeWriter);

macro_rules! from_own_stream {
    ($($stream:ty),*) => {$(
        /// A copy of this process's own; if it is closed, the spawn says so.
        impl From<$stream> for Stdio {
            fn from(stream: $stream) -> Stdio {
                stream.as_fd().try_clone_to_owned().map_or(Stdio(None), Stdio::from)
            }
        }
    )*};
}

from_own_stream!(std::io::Stdout, std::io::Stderr);

/// The `Stdio` owns the descriptor, and closes it.
impl FromRawFd for Stdio {
    unsafe fn from_raw_fd(fd: RawFd) -> Stdio {
        // SAFETY: the caller has promised the same: that the descriptor is open, and nobody else's.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}
