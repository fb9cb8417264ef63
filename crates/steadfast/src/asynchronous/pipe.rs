//! Our ends of a child's pipes, for tasks.

use super::hub::{Engine, Runtime};
use super::runtime::{Attempt, Descriptor, Interest};
use super::virtual_time::VirtualTime;
use crate::Process;
use crate::pipe::End;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

/// An end, registered with the runtime that polls it. With another one, should the task come to be polled by that: a pipe outlives the
/// runtime in which it was made.
pub(crate) struct Pipe<R: Engine> {
    end: Arc<End>,
    source: Option<(R::Id, R::Source)>,
    time: Option<VirtualTime<R>>,
    /// The present of a simulation: what looks and does not wait has this deadline.
    process: Process,
}

impl<R: Engine> Pipe<R> {
    fn new(end: End, process: &Process) -> Pipe<R> {
        end.set_blocking(false);
        Pipe { end: Arc::new(end), source: None, time: VirtualTime::of(process.backend()), process: process.clone() }
    }

    pub(crate) fn end(&self) -> Arc<End> {
        Arc::clone(&self.end)
    }

    pub(crate) fn now(&self) -> Instant {
        self.process.backend().clock().now()
    }

    /// Tries until it succeeds or fails; pending while it cannot say (`Ok(None)`).
    pub(crate) fn poll_io<T>(
        &mut self,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: Attempt<'_, T>,
    ) -> Poll<io::Result<T>> {
        if let Some(time) = &mut self.time {
            return time.poll(cx, |_| attempt().transpose().map_or(Poll::Pending, Poll::Ready));
        }
        let here = R::id()?;
        let source = match &mut self.source {
            Some((at, source)) if *at == here => source,
            stale => {
                // First, for the descriptor cannot be registered twice.
                *stale = None;
                let source = R::register(Descriptor::Pipe(Arc::clone(&self.end)), interest)?;
                &mut stale.insert((here, source)).1
            }
        };
        R::poll_io(source, cx, interest, attempt)
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (end, now) = (self.end(), self.now());
        self.poll_io(cx, Interest::Read, &mut || end.try_read(buffer, now))
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (end, now) = (self.end(), self.now());
        self.poll_io(cx, Interest::Write, &mut || end.try_write(bytes, now))
    }

    /// Its descriptor.
    ///
    /// # Panics
    /// A simulated pipe has none.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.end.fd().expect(crate::pipe::SIMULATED)
    }

    /// The end, as it was.
    pub(super) fn into_end(self) -> Option<End> {
        drop(self.source);
        let end = Arc::into_inner(self.end)?;
        end.set_blocking(true);
        Some(end)
    }
}

/// The write end of a child's stdin, for tasks. Dropping it, or shutting it down, is the end of the child's input.
///
/// It implements the runtime's own trait for writing.
pub struct ChildStdin<R: Runtime> {
    /// `None`: [`Child::wait`](super::Child::wait) has closed it.
    pipe: Mutex<Option<Box<Pipe<R>>>>,
}

impl<R: Runtime> ChildStdin<R> {
    pub(super) fn new(stdin: crate::ChildStdin, process: &Process) -> ChildStdin<R> {
        ChildStdin { pipe: Mutex::new(Some(Box::new(Pipe::new(stdin.into_end(), process)))) }
    }

    /// As a twin holds it, whose `wait` takes it by `&mut`.
    pub(super) fn into_pipe(self) -> Option<Box<Pipe<R>>> {
        self.pipe.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn close(&self) {
        let pipe = self.lock().take();
        drop(pipe);
    }

    /// The same end for threads; `None` if it was closed.
    pub fn into_blocking(self) -> Option<crate::ChildStdin> {
        self.into_pipe().and_then(|pipe| pipe.into_end()).map(crate::ChildStdin::new)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.lock() {
            Some(pipe) => pipe.poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Writes once, and without a `SIGPIPE`.
    pub(super) fn poll_feed(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.lock();
        let Some(pipe) = &mut *pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let (end, now) = (pipe.end(), pipe.now());
        let mut feed = || end.feed(bytes, now).map_err(|errno| io::Error::from_raw_os_error(errno.as_raw()));
        pipe.poll_io(cx, Interest::Write, &mut feed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Pipe<R>>>> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> fmt::Debug for ChildStdin<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildStdin")
    }
}

macro_rules! read_end {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The read end of a child's ", $what, ", for tasks.")]
        ///
        /// It implements the runtime's own trait for reading.
        pub struct $name<R: Runtime> {
            pub(crate) pipe: Box<Pipe<R>>,
        }

        impl<R: Runtime> $name<R> {
            pub(super) fn new(end: crate::$name, process: &Process) -> $name<R> {
                $name { pipe: Box::new(Pipe::new(end.into_end(), process)) }
            }

            /// The same end for threads, or for [`Stdio::from`](crate::Stdio): the stdin of another process.
            ///
            /// # Panics
            /// Never: nobody else has the end.
            pub fn into_blocking(self) -> crate::$name {
                crate::$name::new(self.pipe.into_end().expect("a descriptor that is registered no more is nobody else's"))
            }
        }

        impl<R: Runtime> fmt::Debug for $name<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

read_end!(ChildStdout, "stdout");
read_end!(ChildStderr, "stderr");

impl End {
    /// Reads what is there; `None` if nothing is. Of a descriptor that does not block, or in a simulation whose present is `now`.
    fn try_read(&self, buffer: &mut [u8], now: Instant) -> io::Result<Option<usize>> {
        match self {
            End::Reader(reader) => reader.read_deadline(buffer, Some(now)),
            end => unless_blocked(end.read(buffer)),
        }
    }

    /// As [`try_read`](Self::try_read), to write what there is room for.
    fn try_write(&self, bytes: &[u8], now: Instant) -> io::Result<Option<usize>> {
        match self {
            End::Writer(writer) => writer.write_deadline(bytes, Some(now)),
            end => unless_blocked(end.write(bytes)),
        }
    }
}

fn unless_blocked(answer: io::Result<usize>) -> io::Result<Option<usize>> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        answer => answer.map(Some),
    }
}
