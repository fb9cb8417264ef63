//! `kill(2)` by number, for the PID backend. (nix knows no real-time signal, and rustix wants `unsafe` for one.)

use crate::raw;
use steadfast_core::{Errno, Pid, Signal};

/// Sends a signal to whichever process has this number now.
///
/// # Errors
/// `ESRCH` if there is none, `EPERM` if it may not be signalled.
pub fn kill(pid: Pid, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no pointer.
    match raw::check(unsafe { libc::syscall(libc::SYS_kill, pid.as_raw(), signal.as_raw()) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
