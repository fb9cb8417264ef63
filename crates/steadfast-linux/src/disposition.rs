//! What a signal does in this process (sigaction(2)), as far as that takes no code of the program's. (nix wants `unsafe` for it.)

use crate::raw::{self, KernelSigaction};
use steadfast_core::{Errno, Signal};

/// Ignores a signal from here on. It replaces a handler, of which a library that has set it hears nothing.
///
/// # Errors
/// `EINVAL` for `SIGKILL` and `SIGSTOP`, which cannot be ignored.
pub fn ignore_signal(signal: Signal) -> Result<(), Errno> {
    raw::sigaction(signal.as_raw(), Some(&KernelSigaction::ignore())).map(drop)
}

/// Gives a signal its default action again. It replaces a handler, of which a library that has set it hears nothing.
///
/// # Errors
/// `EINVAL` for `SIGKILL` and `SIGSTOP`, which always have it.
pub fn restore_signal(signal: Signal) -> Result<(), Errno> {
    raw::sigaction(signal.as_raw(), Some(&KernelSigaction::default())).map(drop)
}
