//! Threads of the library's own: small, and deaf to signals.

use crate::raw;
use std::io;

/// Starts a thread on which no signal handler of the program ever runs, so that the program's signals go where they went
/// before.
///
/// # Errors
/// `EAGAIN` when there may be no more threads.
pub fn spawn_quiet_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    const STACK: usize = 128 * 1024;
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    // A thread begins with the mask of the one that starts it.
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    let started = builder.spawn(run);
    raw::set_signal_mask(mask);
    started.map(drop)
}
