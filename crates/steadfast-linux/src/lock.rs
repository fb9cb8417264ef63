//! Locks of files that belong to who has opened them (fcntl(2), `F_OFD_SETLK`, since Linux 3.15).
//!
//! The older locks of fcntl(2) belong to the process: two threads do not exclude each other, and whoever closes any descriptor of the file gives
//! them all up. A lock of this kind belongs to the open file description. A copy of the descriptor, in the child of a fork too, is the same lock: it
//! is given up when one of them unlocks it, or the last of them is closed.

use crate::raw;
use std::os::fd::{AsRawFd, BorrowedFd};
use steadfast_core::Errno;

/// Locks the whole file, alone, if nobody else has it: whether that was so. It must be open for writing.
///
/// # Errors
/// `EBADF` if it is not open for writing, `ENOLCK` if there may be no more locks, or the file system has none.
pub fn lock_file(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    match set(file, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        // fcntl(2): either of them, if another one has it.
        Err(Errno::AGAIN | Errno::ACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives the lock up, for all copies of the descriptor.
///
/// # Errors
/// As [`lock_file`].
pub fn unlock_file(file: BorrowedFd<'_>) -> Result<(), Errno> {
    set(file, libc::F_UNLCK)
}

fn set(file: BorrowedFd<'_>, kind: i32) -> Result<(), Errno> {
    // From the beginning to the end, wherever that will be. The PID has to be 0 here.
    let lock = libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the pointer is to what this command reads, which lives through the call.
    raw::check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } as _).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn one_of_two_has_it_and_a_copy_is_the_same() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(place.path()).unwrap();
        let (one, two) = (open(), open());
        let copy = one.try_clone().unwrap();
        assert_eq!(lock_file(one.as_fd()), Ok(true));
        assert_eq!((lock_file(two.as_fd()), lock_file(copy.as_fd())), (Ok(false), Ok(true)));
        // Of a lock that belongs to the process, this would be the end.
        drop(open());
        drop(one);
        assert_eq!(lock_file(two.as_fd()), Ok(false));
        unlock_file(copy.as_fd()).unwrap();
        assert_eq!(lock_file(two.as_fd()), Ok(true));
        assert_eq!(lock_file(File::open(place.path()).unwrap().as_fd()), Err(Errno::BADF));
    }
}
