//! Threads of the library's own: small, and deaf to the program's signals.

use crate::raw::{self, SignalSet};
use std::io;
use std::mem::MaybeUninit;

/// Starts a thread on which no signal handler of the program ever runs, so that the program's signals go where they went
/// before. The C library's own signals it takes: setuid(3) and its family send one to every thread, and wait for each of them.
///
/// # Errors
/// `EAGAIN` when there may be no more threads.
pub fn spawn_quiet_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    const STACK: usize = 128 * 1024;
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    // A thread begins with the mask of the one that starts it.
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS & all_of_the_programs());
    let started = builder.spawn(run);
    raw::set_signal_mask(mask);
    started.map(drop)
}

/// All signals but those that the C library keeps for itself: 32 and 33 in glibc, 34 too in musl; it leaves them out of a full set. To
/// block them would be to hold up whoever calls setuid(3), for ever.
fn all_of_the_programs() -> SignalSet {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: a set, filled in just above. The answer is 1, 0, or -1 for a number that it does not speak of.
    let contains = |signal: &i32| unsafe { libc::sigismember(set.as_ptr(), *signal) } == 1;
    (1..=64).filter(contains).fold(0, |set, signal| set | 1 << (signal - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_librarys_own_signals_are_left_out_and_nothing_else() {
        let own: Vec<i32> = (1..=64).filter(|signal| all_of_the_programs() & 1 << (signal - 1) == 0).collect();
        assert!([vec![32, 33], vec![32, 33, 34]].contains(&own), "{own:?}");
    }
}
