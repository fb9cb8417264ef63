//! `pidfd_open(2)`, `pidfd_send_signal(2)` and `pidfd_getfd(2)`, whose answers are checked before anything is done with them, and `PIDFD_GET_INFO`.
//!
//! rustix has them, and trusts what comes back. A filter that raises `SIGSYS`, with a handler in the program that merely
//! returns, makes a call "return" its own number (on x86_64: 434 from `pidfd_open`): as a descriptor, that is somebody
//! else's, and dropping it would close it.

use crate::raw;
use crate::wait::{Blocking, Reaping, Target, waitid};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use steadfast_core::{Errno, Pid, Signal};

/// In the mask of `PIDFD_GET_INFO`: the exit status, once the process has been reaped (Linux 6.15).
pub(crate) const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// Opens a pidfd, close-on-exec, for the process `pid`: running or a zombie.
///
/// # Errors
/// `ESRCH` if there is none; `EINVAL` before Linux 6.16 if it is just being reaped, or if `pid` is a thread that leads no
/// process; `ENOENT` since 6.16 for such a thread; `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` or `EPERM` where the call is
/// missing or filtered.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: the call has no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    checked_pidfd(c_int::try_from(raw::check(answer)?).map_err(|_| Errno::NOSYS)?)
}

/// The pidfd that a call has opened for us and nobody else, if what it says is one.
pub(crate) fn checked_pidfd(number: c_int) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::NOSYS);
    }
    // SAFETY: borrowed for the one call below, which looks at the number and answers EBADF if it is not open; nothing is
    // read, written or closed through it.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    if !is_pidfd(fd) {
        return Err(Errno::NOSYS);
    }
    // SAFETY: the kernel has just opened this descriptor for us: it is a pidfd, and nobody else has been told of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this is a pidfd: to `waitid`, everything else is `EBADF`.
pub(crate) fn is_pidfd(fd: BorrowedFd<'_>) -> bool {
    !matches!(waitid(Target::Pidfd(fd), Blocking::Now, Reaping::Leave), Err(Errno::BADF | Errno::INVAL))
}

/// Sends a signal through a pidfd.
///
/// # Errors
/// `ESRCH` once the process has been reaped, `EPERM` when it lives and may not be signalled, `EBADF` for what is no pidfd,
/// `ENOSYS` or `EPERM` where the call is missing or filtered.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    send(pidfd, signal.as_raw(), 0)
}

/// Sends a signal through a pidfd to every process of the group that its process leads.
///
/// # Errors
/// As [`pidfd_send_signal`]; `ESRCH` also if it leads none; `EINVAL` before Linux 6.9.
pub fn pidfd_signal_group(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    const PIDFD_SIGNAL_PROCESS_GROUP: c_int = 1 << 2;
    send(pidfd, signal.as_raw(), PIDFD_SIGNAL_PROCESS_GROUP)
}

/// Sends a signal with a value through a pidfd, as sigqueue(3).
///
/// # Errors
/// As [`pidfd_send_signal`]; `EAGAIN` at the limit of queued signals.
pub fn pidfd_send_value(pidfd: BorrowedFd<'_>, signal: Signal, value: i32) -> Result<(), Errno> {
    let info = Queued::new(signal, value);
    // SAFETY: a siginfo of the kernel's size, which lives through the call.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.as_raw(), info.as_ptr(), 0) };
    match raw::check(answer)? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}

/// Whether its process may be signalled, as signal 0 finds out.
///
/// # Errors
/// `ESRCH` once the process has been reaped, `EINVAL` if it has no PID here.
pub fn pidfd_may_signal(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    match send(pidfd, 0, 0) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A duplicate of descriptor `fd` of the process, close-on-exec.
///
/// # Errors
/// `ESRCH` once the process has been reaped. `EBADF` if it has no such descriptor, or is a zombie, which has none: since Linux 6.9 the kernel says
/// `ESRCH` of that too. `EPERM` without the access of a debugger; `EMFILE`; `ENOSYS` or `EPERM` where the call is missing or filtered.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the call has no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    match raw::check(answer) {
        // What a SIGSYS handler that merely returns makes of it.
        Ok(number) if number == libc::SYS_pidfd_getfd => Err(Errno::NOSYS),
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else has been told of it.
        Ok(number) => Ok(unsafe { OwnedFd::from_raw_fd(number as c_int) }),
        Err(Errno::SRCH) if pidfd_is_taken(pidfd) => Err(Errno::BADF),
        Err(errno) => Err(errno),
    }
}

/// Whether its process has not been reaped yet, as signal 0 finds out.
pub fn pidfd_is_taken(pidfd: BorrowedFd<'_>) -> bool {
    send(pidfd, 0, 0) != Err(Errno::SRCH)
}

fn send(pidfd: BorrowedFd<'_>, signal: c_int, flags: c_int) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in its own, as for kill(2); there is no other pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, flags) };
    match raw::check(answer)? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}

/// A siginfo as sigqueue(3) makes it. In the C library's type these fields cannot be written.
pub(crate) struct Queued([c_int; Queued::WORDS]);

impl Queued {
    /// 128 bytes.
    const WORDS: usize = 32;
    /// Three ints, filled up for a union that has pointers in it; its own order is the PID, the user, the value.
    const FIELDS: usize = (3 * size_of::<c_int>()).next_multiple_of(align_of::<usize>()) / size_of::<c_int>();

    pub(crate) fn new(signal: Signal, value: i32) -> Queued {
        let mut words = [0; Queued::WORDS];
        words[0] = signal.as_raw();
        words[2] = libc::SI_QUEUE;
        words[Queued::FIELDS] = std::process::id() as c_int;
        words[Queued::FIELDS + 1] = rustix::process::getuid().as_raw() as c_int;
        words[Queued::FIELDS + 2] = value;
        Queued(words)
    }

    pub(crate) fn as_ptr(&self) -> *const c_int {
        self.0.as_ptr()
    }
}

/// How the process ended, after it has been reaped by whomever (`PIDFD_GET_INFO`, Linux 6.15); `None` before that.
///
/// # Errors
/// `ENOTTY` before Linux 6.13; `EOPNOTSUPP` before 6.15 for one that has been reaped; what a filter says.
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<ExitStatus>, Errno> {
    let info = pidfd_info(pidfd.as_raw_fd(), PIDFD_INFO_EXIT).map_err(|errno| match errno {
        // It does not know what it was asked for, and nobody else has the PID that it would tell.
        Errno::SRCH => Errno::OPNOTSUPP,
        errno => errno,
    })?;
    if info[0] & PIDFD_INFO_EXIT == 0 {
        return Ok(None);
    }
    // The last four of its 64 bytes, as wait(2) has them.
    let [.., a, b, c, d] = info[7].to_ne_bytes();
    Ok(Some(ExitStatus::from_raw(i32::from_ne_bytes([a, b, c, d]))))
}

/// `PIDFD_GET_INFO` with the first layout, 64 bytes, of which the first 8 are the mask of what is there.
pub(crate) fn pidfd_info(pidfd: c_int, mask: u64) -> Result<[u64; 8], Errno> {
    const PIDFD_GET_INFO: std::ffi::c_ulong = 0xC040_FF0B;
    let mut info = [0_u64; 8];
    info[0] = mask;
    // SAFETY: 64 bytes, which is the size in the request's number.
    let answer = unsafe { libc::syscall(libc::SYS_ioctl, pidfd, PIDFD_GET_INFO, info.as_mut_ptr()) };
    match raw::check(answer)? {
        0 => Ok(info),
        _ => Err(Errno::NOSYS),
    }
}
