//! How much room there is for descriptors (getrlimit(2), `RLIMIT_NOFILE`).
//!
//! A descriptor that is kept for each child uses up those that the program needs to start the next one: pipes, `/dev/null`. So the last ones are
//! left to it: an eighth of all that it may have, from 16 to 256. A new descriptor gets the lowest number that is free (open(2)), so they are the
//! highest numbers.

use crate::raw;
use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether a descriptor may be kept for one more child: the first of the last ones is free.
pub fn has_room_for_descriptors() -> bool {
    let first = c_long::try_from(first_of_the_last()).unwrap_or(c_long::from(c_int::MAX));
    // A copy of a standard stream is a descriptor like any other; of those one may be closed.
    let copies = (0..=2).map(|stream| raw::call(libc::SYS_fcntl, [stream, libc::F_DUPFD_CLOEXEC.into(), first]));
    match copies.into_iter().find_map(Result::ok) {
        Some(copy) => {
            // SAFETY: no pointer; the kernel has just opened it for us, and nobody else has been told.
            unsafe { libc::close(copy as c_int) };
            copy == first
        }
        // All are taken; or there is no stream, and then nothing is known.
        None => (0..=2).all(|stream| raw::call(libc::SYS_fcntl, [stream, libc::F_GETFD.into(), 0]).is_err()),
    }
}

/// Whether this one is none of the last.
pub fn leaves_room(fd: BorrowedFd<'_>) -> bool {
    u64::from(fd.as_raw_fd().unsigned_abs()) < first_of_the_last()
}

fn first_of_the_last() -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the limit.
    let answer = raw::check(unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) }.into());
    // If it is refused, nothing is known of a limit.
    let limit = answer.map_or(u64::MAX, |_| limit.rlim_cur);
    limit.saturating_sub((limit / 8).clamp(16, 256))
}
