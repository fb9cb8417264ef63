//! Our ends of a child's pipes. They are types of ours because a simulated process has no descriptors.

use crate::Stdio;
use rustix::buffer::spare_capacity;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use steadfast_core::{Errno, Error, PipeEnd, PipeRead, PipeWrite, PlanStdio, ProcessBackend};

pub(crate) const SIMULATED: &str =
    "the pipe of a simulated process has no descriptor: read and write it, or use `steadfast::Command`";

/// What is read at once at the least, and what a pipe holds at first.
pub(crate) const ROOM: usize = 64 * 1024;

/// One end of a pipe, real or simulated.
pub(crate) enum End {
    File(File),
    Writer(Box<dyn PipeWrite>),
    Reader(Box<dyn PipeRead>),
    /// Our end of a terminal, where `EIO` is the end of the file.
    Terminal(Arc<File>),
    /// Of a kind that this version does not know.
    Unknown,
}

impl From<PipeEnd> for End {
    fn from(end: PipeEnd) -> End {
        match end {
            PipeEnd::Fd(fd) => End::File(File::from(fd)),
            PipeEnd::Writer(writer) => End::Writer(writer),
            PipeEnd::Reader(reader) => End::Reader(reader),
            _ => End::Unknown,
        }
    }
}

impl End {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            End::File(file) => (&*file).read(buffer),
            End::Reader(reader) => reader.read_deadline(buffer, None).map(Option::unwrap_or_default),
            End::Terminal(file) => at_the_end((&**file).read(buffer), 0),
            End::Writer(_) | End::Unknown => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::File(file) => (&*file).write(bytes),
            End::Writer(writer) => writer.write_deadline(bytes, None).map(Option::unwrap_or_default),
            End::Terminal(file) => (&**file).write(bytes),
            End::Reader(_) | End::Unknown => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            End::File(file) => (&*file).read_vectored(buffers),
            // The first that has room, as std's own default does.
            _ => self.read(buffers.iter_mut().find(|buffer| !buffer.is_empty()).map_or(&mut [], |buffer| &mut **buffer)),
        }
    }

    pub(crate) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            End::File(file) => (&*file).write_vectored(parts),
            _ => self.write(parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| &**part)),
        }
    }

    /// As a stream of another process; `None` if it was closed.
    pub(crate) fn into_stdio(self) -> Option<PlanStdio> {
        match self {
            End::File(file) => Some(PlanStdio::Fd(Arc::new(file.into()))),
            End::Writer(writer) => Some(PlanStdio::End(writer.into_end())),
            End::Reader(reader) => Some(PlanStdio::End(reader.into_end())),
            // A child gets the other end.
            End::Terminal(_) | End::Unknown => None,
        }
    }

    pub(crate) fn into_fd(self) -> Result<OwnedFd, Error> {
        match self {
            End::File(file) => Ok(file.into()),
            _ => Err(Error::Unsupported { backend: "mock", what: "the pipe of a simulated process is no descriptor".into() }),
        }
    }
}

/// The write end of a child's stdin. Dropping it is the end of the child's input.
pub struct ChildStdin {
    /// Shared with a write in progress, so that closing need not wait for it.
    end: Mutex<Option<Arc<End>>>,
}

impl ChildStdin {
    pub(crate) fn new(end: impl Into<End>) -> ChildStdin {
        ChildStdin { end: Mutex::new(Some(Arc::new(end.into()))) }
    }

    /// The end itself, which is not in here any more; `None` if it was closed.
    pub(crate) fn take(&self) -> Option<ChildStdin> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(ChildStdin { end: Mutex::new(Some(end)) })
    }

    pub(crate) fn close(&self) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(end);
    }
}

impl ChildStdin {
    /// Until `Child::wait` has closed it.
    pub(crate) fn open_end(&self) -> io::Result<Arc<End>> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        end.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open_end()?.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.open_end()?.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildStdin")
    }
}

impl ChildStdin {
    pub(crate) fn into_end(self) -> End {
        let end = self.end.into_inner().unwrap_or_else(PoisonError::into_inner);
        end.and_then(Arc::into_inner).unwrap_or(End::Unknown)
    }

    pub(crate) fn into_stdio(self) -> Option<PlanStdio> {
        self.into_end().into_stdio()
    }
}

/// Fails with [`Error::Unsupported`] for a simulated process, and for a stdin that `Child::wait` has closed.
impl TryFrom<ChildStdin> for OwnedFd {
    type Error = Error;
    fn try_from(stdin: ChildStdin) -> Result<OwnedFd, Error> {
        stdin.into_end().into_fd()
    }
}

/// Fails with [`Error::Unsupported`] for a simulated process, and for a stdin that `Child::wait` has closed.
impl TryFrom<ChildStdin> for std::process::ChildStdin {
    type Error = Error;
    fn try_from(stdin: ChildStdin) -> Result<Self, Error> {
        OwnedFd::try_from(stdin).map(Into::into)
    }
}

macro_rules! read_end {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The read end of a child's ", $what, ".")]
        pub struct $name {
            end: End,
            /// Of a simulated process, whose time counts.
            backend: Option<Arc<dyn ProcessBackend>>,
        }

        impl $name {
            pub(crate) fn new(end: impl Into<End>) -> $name {
                $name { end: end.into(), backend: None }
            }

            pub(crate) fn of(end: impl Into<End>, backend: &Arc<dyn ProcessBackend>) -> $name {
                let simulated = (!backend.info().real).then(|| Arc::clone(backend));
                $name { end: end.into(), backend: simulated }
            }

            pub(crate) fn backend(&self) -> Option<&Arc<dyn ProcessBackend>> {
                self.backend.as_ref()
            }

            pub(crate) fn end(&self) -> &End {
                &self.end
            }

            /// What the types of other faces are made of.
            pub(crate) fn into_end(self) -> End {
                self.end
            }

            pub(crate) fn into_stdio(self) -> Option<PlanStdio> {
                self.end.into_stdio()
            }
        }

        impl Read for &$name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.end.read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.end.read_vectored(buffers)
            }
        }

        impl Read for $name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.end.read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.end.read_vectored(buffers)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        /// Fails with [`Error::Unsupported`] for a simulated process.
        impl TryFrom<$name> for OwnedFd {
            type Error = Error;
            fn try_from(end: $name) -> Result<OwnedFd, Error> {
                end.end.into_fd()
            }
        }

        /// Fails with [`Error::Unsupported`] for a simulated process.
        impl TryFrom<$name> for std::process::$name {
            type Error = Error;
            fn try_from(end: $name) -> Result<Self, Error> {
                OwnedFd::try_from(end).map(Into::into)
            }
        }
    };
}

read_end!(ChildStdout, "stdout");
read_end!(ChildStderr, "stderr");

impl End {
    /// The descriptor to poll, if it has one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            End::File(file) => Some(file.as_fd()),
            End::Terminal(file) => Some(file.as_fd()),
            _ => None,
        }
    }

    /// Makes a pipe hold as much as everybody may have it hold (pipe(7)), so that reader and writer take turns less often: a
    /// child that writes much is read in three quarters of the time.
    pub(crate) fn enlarge(&self) {
        if let End::File(file) = self {
            // `EPERM`: this user's pipes hold enough already.
            _ = rustix::pipe::fcntl_setpipe_size(file, 1 << 20);
        }
    }

    /// Whether reads and writes wait for something to be done.
    pub(crate) fn set_blocking(&self, blocks: bool) {
        if let End::File(file) = self {
            // Cannot fail for a descriptor that is open.
            let flags = rustix::fs::fcntl_getfl(file).unwrap_or(rustix::fs::OFlags::empty());
            let nonblocking = rustix::fs::OFlags::NONBLOCK;
            _ = rustix::fs::fcntl_setfl(file, if blocks { flags - nonblocking } else { flags | nonblocking });
        }
    }

    /// Writes what there is room for, of a descriptor that does not block; a simulated pipe waits for room until `deadline`. `None` without
    /// room. No `SIGPIPE` for want of a reader.
    ///
    /// # Errors
    /// `EPIPE` without a reader.
    pub(crate) fn feed(&self, bytes: &[u8], deadline: Instant) -> Result<Option<usize>, Errno> {
        match self {
            End::File(file) => match steadfast_linux::write_without_signal(file.as_fd(), bytes) {
                Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                answer => answer.map(Some),
            },
            End::Writer(writer) => writer
                .write_deadline(bytes, Some(deadline))
                .map_err(|error| if error.kind() == io::ErrorKind::BrokenPipe { Errno::PIPE } else { errno(&error) }),
            End::Reader(_) | End::Terminal(_) | End::Unknown => Err(Errno::BADF),
        }
    }

    /// Reads once, to the end of `into`: how many bytes, 0 at the end of the stream. `None` if nothing came before the deadline,
    /// which only a simulated pipe keeps, or if nothing is there and the descriptor does not block.
    pub(crate) fn read_some(&self, into: &mut Vec<u8>, deadline: Option<Instant>) -> io::Result<Option<usize>> {
        match self {
            End::File(file) => read_file(file, into),
            End::Terminal(file) => at_the_end(read_file(file, into), Some(0)),
            End::Reader(reader) => {
                let filled = into.len();
                into.resize(filled + ROOM, 0);
                let read = reader.read_deadline(&mut into[filled..], deadline);
                into.truncate(filled + read.as_ref().ok().copied().flatten().unwrap_or(0));
                read
            }
            End::Writer(_) | End::Unknown => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// `None` if nothing is there, and the descriptor does not block.
fn read_file(file: &File, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        into.reserve(ROOM);
        match rustix::io::read(file, spare_capacity(into)) {
            Ok(read) => return Ok(Some(read)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `EIO` of a terminal is the end of the file: nobody has the other end open.
fn at_the_end<T>(answer: io::Result<T>, end: T) -> io::Result<T> {
    match answer {
        Err(error) if error.raw_os_error() == Some(Errno::IO.as_raw()) => Ok(end),
        answer => answer,
    }
}

/// Its number; `EIO` for an error without one.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::IO.as_raw()))
}

macro_rules! from_pipe {
    ($($pipe:ty),*) => {$(
        /// A simulated process's pipe can be given to a process of the same simulation; elsewhere the spawn refuses it.
        impl From<$pipe> for Stdio {
            fn from(pipe: $pipe) -> Stdio {
                pipe.into_stdio().map_or_else(Stdio::closed, Stdio::from)
            }
        }
    )*};
}

from_pipe!(ChildStdin, ChildStdout, ChildStderr);
