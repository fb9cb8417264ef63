//! [`Streams`]: what becomes the child's stdin, stdout and stderr, and our ends of its pipes.

use crate::raw;
use std::ffi::c_int;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use steadfast_core::{Errno, PlanStdio, Stage};

#[derive(Default)]
pub(super) struct Streams {
    /// What the child copies to 0, 1 and 2; -1: nothing.
    sources: [c_int; 3],
    /// Kept open until the child has copied them.
    theirs: [Option<Source>; 3],
    ours: [Option<OwnedFd>; 3],
}

enum Source {
    Opened(OwnedFd),
    Callers(Arc<OwnedFd>),
}

impl Streams {
    pub(super) fn open(stdio: &[PlanStdio; 3]) -> Result<Streams, (Stage, Errno)> {
        let mut streams = Streams { sources: [-1; 3], ..Streams::default() };
        for (index, stream) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
            let (theirs, ours) = open(&stdio[index], index == 0).map_err(|errno| (Stage::Open { stream }, errno))?;
            streams.sources[index] = theirs.as_ref().map_or(-1, Source::number);
            streams.theirs[index] = theirs;
            streams.ours[index] = ours;
        }
        if matches!(stdio[2], PlanStdio::Stdout) {
            // Where stdout stays as it is, that is descriptor 1; else what becomes that.
            streams.sources[2] = if streams.sources[1] == -1 { 1 } else { streams.sources[1] };
        }
        Ok(streams)
    }

    pub(super) fn sources(&self) -> [c_int; 3] {
        self.sources
    }

    pub(super) fn into_ours(self) -> [Option<OwnedFd>; 3] {
        self.ours
    }
}

impl Source {
    fn number(&self) -> c_int {
        match self {
            Source::Opened(fd) => fd.as_raw_fd(),
            Source::Callers(fd) => fd.as_raw_fd(),
        }
    }
}

/// The child's end, and ours.
fn open(stdio: &PlanStdio, is_input: bool) -> Result<(Option<Source>, Option<OwnedFd>), Errno> {
    match stdio {
        PlanStdio::Inherit | PlanStdio::Stdout => Ok((None, None)),
        PlanStdio::Null => {
            let null = File::options().read(is_input).write(!is_input).open("/dev/null");
            let null = null.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
            Ok((Some(Source::Opened(above_stdio(null.into())?)), None))
        }
        PlanStdio::Piped => {
            let (reader, writer) = pipe()?;
            let (theirs, ours) = if is_input { (reader, writer) } else { (writer, reader) };
            Ok((Some(Source::Opened(theirs)), Some(ours)))
        }
        PlanStdio::Fd(fd) if fd.as_raw_fd() <= 2 => Ok((Some(Source::Opened(duplicate_above_stdio(fd)?)), None)),
        PlanStdio::Fd(fd) => Ok((Some(Source::Callers(Arc::clone(fd))), None)),
        _ => Err(Errno::INVAL),
    }
}

/// A pipe, read end first: close-on-exec, and with both ends above the standard streams, even in a program that runs with
/// some of those closed.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: room for two descriptors.
    let answer = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    raw::check(answer.into())?;
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((above_stdio(reader)?, above_stdio(writer)?))
}

fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { duplicate_above_stdio(&fd) }
}

fn duplicate_above_stdio(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointer; the descriptor is open, for `fd` owns it.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    raw::check(answer.into())?;
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}
