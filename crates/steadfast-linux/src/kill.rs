//! `kill(2)` by number, for the PID backend. (nix knows no real-time signal, and rustix wants `unsafe` for one.)

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

/// Whether nobody has this number, as signal 0 finds out.
pub(crate) fn is_free(pid: i32) -> bool {
    // SAFETY: no pointer.
    pid > 1 && raw::check(unsafe { libc::syscall(libc::SYS_kill, pid, 0) }) == Err(Errno::SRCH)
}

fn send(target: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no pointer.
    match raw::check(unsafe { libc::syscall(libc::SYS_kill, target, signal.as_raw()) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
