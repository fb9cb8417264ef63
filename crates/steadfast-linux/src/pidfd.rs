//! `pidfd_open(2)` and `pidfd_send_signal(2)`, whose answers are checked before anything is done with them.
//!
//! rustix has both, and trusts what comes back. A filter that raises `SIGSYS`, with a handler in the program that merely
//! returns, makes a call "return" its own number (on x86_64: 434 from `pidfd_open`): as a descriptor, that is somebody
//! else's, and dropping it would close it.

use crate::raw;
use crate::wait::{Blocking, Reaping, Target, waitid};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use steadfast_core::{Errno, Pid, Signal};

/// Opens a pidfd, close-on-exec, for the process `pid`: running or a zombie.
///
/// # Errors
/// `ESRCH` if there is none; `EINVAL` before Linux 6.16 if it is just being reaped, or if `pid` is a thread that leads no
/// process; `ENOENT` since 6.16 for such a thread; `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` or `EPERM` where the call is
/// missing or filtered.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: the call has no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let number = c_int::try_from(raw::check(answer)?).map_err(|_| Errno::NOSYS)?;
    if !is_pidfd(number) {
        return Err(Errno::NOSYS);
    }
    // SAFETY: the kernel has just opened this descriptor for us: it is a pidfd, and nobody else has been told of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether `number` is an open pidfd: to `waitid`, everything else is `EBADF`.
fn is_pidfd(number: c_int) -> bool {
    if number < 0 {
        return false;
    }
    // SAFETY: borrowed for the one call below, which looks at the number and answers EBADF if it is not open; nothing is
    // read, written or closed through it.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    !matches!(waitid(Target::Pidfd(fd), Blocking::Now, Reaping::Leave), Err(Errno::BADF | Errno::INVAL))
}

/// Sends a signal through a pidfd.
///
/// # Errors
/// `ESRCH` once the process has been reaped, `EPERM` when it lives and may not be signalled, `EBADF` for what is no pidfd,
/// `ENOSYS` or `EPERM` where the call is missing or filtered.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in its own, as for kill(2); there is no other pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.as_raw(), no_info, 0) };
    match raw::check(answer)? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
