//! `kill(2)` by number, for the PID backend. (nix knows no real-time signal, and rustix wants `unsafe` for one.)

use crate::pidfd::Queued;
use crate::raw;
use steadfast_core::{Errno, Pid, Signal};

/// Sends a signal to whichever process has this number now.
///
/// # Errors
/// `ESRCH` if there is none, `EPERM` if it may not be signalled.
pub fn kill(pid: Pid, signal: Signal) -> Result<(), Errno> {
    send(pid.as_raw(), signal)
}

/// Sends a signal to every process of the group that has this number now.
///
/// # Errors
/// `ESRCH` if there is none, `EPERM` if none of them may be signalled.
pub fn kill_group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    // -1 would be everybody.
    if leader.as_raw() == 1 {
        return Err(Errno::PERM);
    }
    send(-leader.as_raw(), signal)
}

/// Sends a signal with a value to whichever process has this number now, as sigqueue(3).
///
/// # Errors
/// As [`kill`]; `EAGAIN` at the limit of queued signals.
pub fn kill_with_value(pid: Pid, signal: Signal, value: i32) -> Result<(), Errno> {
    let info = Queued::new(signal, value);
    // SAFETY: a siginfo of the kernel's size, which lives through the call.
    match raw::check(unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid.as_raw(), signal.as_raw(), info.as_ptr()) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}

/// Whether whichever process has this number now may be signalled, as signal 0 finds out.
///
/// # Errors
/// `ESRCH` if there is none.
pub fn may_signal(pid: Pid) -> Result<bool, Errno> {
    match send_nothing(pid.as_raw()) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether nobody has this number, as signal 0 finds out.
pub(crate) fn is_free(pid: i32) -> bool {
    pid > 1 && send_nothing(pid) == Err(Errno::SRCH)
}

fn send_nothing(pid: i32) -> Result<(), Errno> {
    // SAFETY: no pointer.
    match raw::check(unsafe { libc::syscall(libc::SYS_kill, pid, 0) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}

fn send(target: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no pointer.
    match raw::check(unsafe { libc::syscall(libc::SYS_kill, target, signal.as_raw()) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
