//! Small files of the kernel, in a directory that is open; and errors of the libraries as ours.

use rustix::fs::{self, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use steadfast_core::Errno;

/// As the library for system calls has it.
pub(crate) fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// As std has it.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::of(error).unwrap_or(Errno::IO)
}

/// Opens it, close-on-exec.
pub(crate) fn open_at(dir: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
}

/// The whole of it.
pub(crate) fn read_at(dir: impl AsFd, name: &str) -> Result<String, Errno> {
    let file = open_at(dir, name, OFlags::RDONLY)?;
    io::read_to_string(File::from(file)).map_err(|error| errno_of(&error))
}

/// The whole of it, whatever bytes there are.
pub(crate) fn read_bytes_at(dir: impl AsFd, name: &str) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let mut file = File::from(open_at(dir, name, OFlags::RDONLY)?);
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| errno_of(&error))?;
    Ok(bytes)
}

/// In one go, which is how the kernel takes a command; again, if a signal handler came in between (some of them wait, such as a limit of memory).
pub(crate) fn write_at(dir: impl AsFd, name: &str, text: &[u8]) -> Result<(), Errno> {
    let file = open_at(dir, name, OFlags::WRONLY)?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, text)).map_err(errno).map(drop)
}
