//! The foreground of a terminal, and how whoever has given it away gets it back (tcsetpgrp(3)).

use crate::file::errno;
use crate::raw::{self, SignalSet};
use rustix::process::{Pid as RawPid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::os::fd::BorrowedFd;
use steadfast_core::{Errno, Pid};

const SIGTTOU: SignalSet = 1 << (libc::SIGTTOU - 1);

/// This process's own group, if it is the foreground one of this terminal, and the terminal its own.
pub fn own_foreground(terminal: BorrowedFd<'_>) -> Option<Pid> {
    let own = getpgrp();
    // `ENOTTY`: not the terminal of this session.
    (tcgetpgrp(terminal) == Ok(own)).then(|| Pid::new(own.as_raw_pid()).ok()).flatten()
}

/// The group in the foreground of this terminal.
///
/// # Errors
/// `ENOTTY` if it is not the terminal of this session, or none.
pub fn foreground_group(terminal: BorrowedFd<'_>) -> Result<Pid, Errno> {
    Pid::new(tcgetpgrp(terminal).map_err(errno)?.as_raw_pid()).map_err(|_| Errno::NOTTY)
}

/// Brings the group `to` to the foreground of this terminal, if the group `from` is there: whether it was.
///
/// Who is in the background gets `SIGTTOU` for that, and stops. The signal goes to the thread that asks, and where it is blocked the kernel allows
/// the change (tty_check_change). So it is blocked in this thread for the moment; no disposition and no other thread is touched.
///
/// # Errors
/// `ENOTTY` if this session has lost the terminal, `EIO` if that was hung up, `EPERM` if there is no group `to` any more.
pub fn take_foreground(terminal: BorrowedFd<'_>, from: Pid, to: Pid) -> Result<bool, Errno> {
    if tcgetpgrp(terminal).map_err(errno)?.as_raw_pid() != from.as_raw() {
        return Ok(false);
    }
    let to = RawPid::from_raw(to.as_raw()).ok_or(Errno::SRCH)?;
    let before = raw::set_signal_mask(raw::signal_mask() | SIGTTOU);
    let answer = tcsetpgrp(terminal, to);
    raw::set_signal_mask(before);
    answer.map(|()| true).map_err(errno)
}
