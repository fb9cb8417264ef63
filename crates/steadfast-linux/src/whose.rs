//! Whose pidfd a descriptor is that somebody has sent, or whether it is one.
//!
//! | asked | by | on |
//! | --- | --- | --- |
//! | whether it is a pidfd | `waitid(P_PIDFD, WNOHANG \| WNOWAIT)`: `EBADF` for everything else, a directory of `/proc` too | 5.4 |
//! | whether it is a thread's | its flags: `PIDFD_THREAD` is `O_EXCL`, which nobody can set later (fcntl(2)) | 6.9; before, there are none |
//! | whether it has been reaped | signal 0: `ESRCH` | 5.1 |
//! | whether it has a PID here | signal 0: `EINVAL` in a PID namespace that is neither ours nor below it | 5.1 |
//! | which | `PIDFD_GET_INFO` | 6.13 |
//! | which, before | `NSpid:` of its fdinfo, at the level that our own `NStgid:` has in the same `/proc` | 5.5 |
//!
//! The `Pid:` of its fdinfo alone would be wrong: it is the number that `/proc` knows, which may be mounted for an outer namespace.

use crate::file::{errno, errno_of};
use crate::pidfd::{is_pidfd, pidfd_exit_status, pidfd_info, pidfd_may_signal};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitStatus;
use steadfast_core::{Errno, Error, FdIs, Pid, Result};

/// The process that a pidfd stands for.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "it has been reaped, or not")]
pub enum Whose {
    /// It has not been reaped, and has this PID here.
    Lives(Pid),
    /// It has been reaped; how it ended, if the kernel tells (since Linux 6.15). Which PID it had, it never tells.
    Gone(Option<ExitStatus>),
}

/// Looks whose pidfd this is.
///
/// # Errors
/// [`Error::NotAProcess`] if it is none, or a thread's, or of a process that has no PID here. [`Error::System`] if its PID cannot be read: before
/// Linux 6.13 that takes `/proc`.
pub fn whose_pidfd(fd: BorrowedFd<'_>) -> Result<Whose> {
    let is = |found| Error::NotAProcess { fd: fd.as_raw_fd(), found };
    if !is_pidfd(fd) {
        return Err(is(FdIs::Other { what: what_else(fd) }));
    }
    let flags = fcntl_getfl(fd).map_err(|error| failed("fcntl(F_GETFL)", fd, errno(error)))?;
    if flags.contains(OFlags::EXCL) {
        return Err(is(FdIs::Thread));
    }
    // Twice: it may be reaped just before its PID is asked for, and then it is known to be.
    let mut answer = Err(Errno::SRCH);
    for _ in 0..2 {
        match pidfd_may_signal(fd) {
            Ok(_) => {}
            Err(Errno::SRCH) => return Ok(Whose::Gone(pidfd_exit_status(fd).ok().flatten())),
            Err(Errno::INVAL) => return Err(is(FdIs::Elsewhere)),
            Err(errno) => return Err(failed("pidfd_send_signal with signal 0", fd, errno)),
        }
        answer = pid_of(fd);
        if answer != Err(Errno::SRCH) {
            break;
        }
    }
    answer
        .map(Whose::Lives)
        .map_err(|errno| failed("PIDFD_GET_INFO, and a read of its fdinfo and our status in /proc,", fd, errno))
}

fn failed(call: &'static str, fd: BorrowedFd<'_>, source: Errno) -> Error {
    Error::System { call, subject: format!("descriptor {}", fd.as_raw_fd()), source }
}

/// The PID that its process has here; `ESRCH` if it has been reaped.
fn pid_of(fd: BorrowedFd<'_>) -> Result<Pid, Errno> {
    let told = match pidfd_info(fd.as_raw_fd(), 0) {
        Ok(info) => {
            // In the third word the PID comes before the thread group's.
            let [a, b, c, d, ..] = info[2].to_ne_bytes();
            i32::from_ne_bytes([a, b, c, d])
        }
        Err(Errno::SRCH) => return Err(Errno::SRCH),
        Err(_) => told_by_proc(fd)?,
    };
    // 0 and -1 are said of one that is not there any more.
    Pid::new(told).map_err(|_| Errno::SRCH)
}

/// The same, read in `/proc`.
fn told_by_proc(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    // Of this thread, which may have descriptors of its own (unshare(2)).
    let ours = read("/proc/thread-self/status")?;
    let its = read(&format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))?;
    pid_at_our_level(&ours, &its).ok_or(Errno::INVAL)
}

/// Each file has the numbers of its process, from that namespace which `/proc` shows down to its own. Our own is the last one of ours.
fn pid_at_our_level(ours: &str, its: &str) -> Option<i32> {
    let level = numbers(ours, "NStgid:").map_or(0, |ours| ours.count().saturating_sub(1));
    // A kernel without PID namespaces has neither line.
    let mut its = numbers(its, "NSpid:").or_else(|| numbers(its, "Pid:"))?;
    match its.clone().next()?.parse().ok()? {
        reaped if reaped < 0 => Some(reaped),
        _ => its.nth(level)?.parse().ok(),
    }
}

fn numbers<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str> + Clone + use<'a>> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::split_ascii_whitespace)
}

fn read(path: &str) -> Result<String, Errno> {
    std::fs::read_to_string(path).map_err(|error| errno_of(&error))
}

/// What it is that is no pidfd: by its link in `/proc`, such as `socket:[1234]`, or else by its type.
fn what_else(fd: BorrowedFd<'_>) -> String {
    let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()));
    let kind = fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let kind = match kind {
        Ok(FileType::RegularFile) => "a regular file",
        Ok(FileType::Directory) => "a directory",
        Ok(FileType::Socket) => "a socket",
        Ok(FileType::Fifo) => "a pipe",
        Ok(FileType::CharacterDevice) => "a character device",
        _ => "something else",
    };
    link.map_or_else(|_| kind.to_owned(), |link| format!("{kind} (`{}`)", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_one_at_our_level() {
        let outer = "Name:\tx\nNStgid:\t25878\nNSpid:\t25878\n";
        let inner = "NStgid:\t25878\t1\n";
        for (ours, its, expected) in [
            (outer, "pos:\t0\nPid:\t25879\nNSpid:\t25879\n", Some(25879)),
            (outer, "Pid:\t25879\nNSpid:\t25879\t2\n", Some(25879)),
            (inner, "Pid:\t25879\nNSpid:\t25879\t2\n", Some(2)),
            (inner, "Pid:\t25879\nNSpid:\t25879\t2\t1\n", Some(2)),
            (inner, "Pid:\t-1\nNSpid:\t-1\n", Some(-1)),
            // Of an outer namespace; that would have been found out before.
            (inner, "Pid:\t25830\nNSpid:\t25830\n", None),
            ("", "Pid:\t7\n", Some(7)),
            (outer, "pos:\t0\n", None),
        ] {
            assert_eq!(pid_at_our_level(ours, its), expected, "{ours:?} {its:?}");
        }
    }
}
