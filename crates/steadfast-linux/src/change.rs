//! `waitid(2)` for stops and continuations, which takes nothing else.

use crate::wait::{self, Blocking, Target};
use std::ffi::c_int;
use steadfast_core::{Change, Errno, Signal};

/// The report of a stop or of a continuation of the child, which is taken; or its exit, which is left. `None`: there is nothing to report.
///
/// That comes back from [`Blocking::Block`] too: of a child that this program traces, whose stops are its tracer's, are left to it, and end every
/// call until it has taken them; and of a pidfd that somebody has made non-blocking. Then look again later.
///
/// # Errors
/// As [`waitid`](crate::waitid).
pub fn take_change(target: Target<'_>, blocking: Blocking) -> Result<Option<Change>, Errno> {
    loop {
        // Looked at first. A call that takes at once takes a tracer's events as well, and one that waits for exits too would reap.
        let seen = look_for_change(target, blocking)?;
        if !matches!(seen, Some(Change::Stopped(_) | Change::Continued)) {
            return Ok(seen);
        }
        match ask(target, TAKE | libc::WNOHANG) {
            // It may be another one than was seen: how the child stands now.
            Ok(Some(taken)) => return Ok(Some(taken)),
            // Other code was quicker.
            Ok(None) if blocking == Blocking::Now => return Ok(None),
            // Or the child has exited since, of which this call says the same as of no child. Or both: the next look tells.
            Ok(None) | Err(Errno::CHILD) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// As [`take_change`], and takes nothing (`WNOWAIT`).
///
/// # Errors
/// As [`take_change`].
pub fn look_for_change(target: Target<'_>, blocking: Blocking) -> Result<Option<Change>, Errno> {
    let wait = if blocking == Blocking::Now { libc::WNOHANG } else { 0 };
    ask(target, TAKE | libc::WEXITED | libc::WNOWAIT | wait)
}

const TAKE: c_int = libc::WSTOPPED | libc::WCONTINUED;

fn ask(target: Target<'_>, options: c_int) -> Result<Option<Change>, Errno> {
    let Some((_, code, status)) = wait::ask(target, options, std::ptr::null_mut())? else { return Ok(None) };
    Ok(match code {
        libc::CLD_STOPPED => Signal::new(status).ok().map(Change::Stopped),
        libc::CLD_CONTINUED => Some(Change::Continued),
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED => Some(Change::Exited(wait::exit_status(code, status))),
        // A tracer's (`CLD_TRAPPED`).
        _ => None,
    })
}
