//! Small files of the kernel, in a directory that is open.

use rustix::fs::{self, Mode, OFlags};
use std::io;
use std::os::fd::BorrowedFd;
use steadfast_core::Errno;

fn raw(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The whole of it.
pub(crate) fn read_at(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let file = fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(raw)?;
    let text = io::read_to_string(std::fs::File::from(file));
    text.map_err(|error| Errno::of(&error).unwrap_or(Errno::IO))
}

/// In one go, which is how the kernel takes a command.
pub(crate) fn write_at(dir: BorrowedFd<'_>, file: &str, text: &[u8]) -> Result<(), Errno> {
    let file = fs::openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(raw)?;
    rustix::io::write(&file, text).map_err(raw).map(drop)
}
