//! Writing into a pipe that may have lost its reader, in a program that may have `SIGPIPE` at its default.

use crate::raw::{self, SignalSet};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use steadfast_core::Errno;

const SIGPIPE: SignalSet = 1 << (libc::SIGPIPE - 1);

/// Writes once into a pipe that does not block (write(2)): how many bytes. Without a reader it is `EPIPE` and nothing else: no `SIGPIPE`,
/// which would end a program that has it at its default. The signal goes to the thread that writes (signal(7)), so it is blocked here for
/// the moment, and taken out again. Neither the program's disposition nor another thread is touched.
///
/// # Errors
/// As write(2): `EAGAIN` if there is no room, `EPIPE` without a reader.
pub fn write_without_signal(pipe: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let before = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    // One that was waiting already is the program's own, and could only wait where it was blocked.
    let is_others = before & SIGPIPE != 0 && pending() & SIGPIPE != 0;
    // SAFETY: the pointer and the length are of one slice, which lives through the call.
    let answer = raw::check(unsafe { libc::write(pipe.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as _);
    if answer == Err(Errno::PIPE) && !is_others {
        take_sigpipe();
    }
    raw::set_signal_mask(before);
    answer.map(|written| written as usize)
}

/// What waits for this thread, or for the process, while it is blocked.
fn pending() -> SignalSet {
    let mut set: SignalSet = 0;
    // SAFETY: room for 8 bytes, which is what the size says.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut set, size_of::<SignalSet>()) };
    set
}

/// Takes one that waits; does not wait for it.
fn take_sigpipe() {
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let set = SIGPIPE;
    let no_info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the set and the time live through the call, and the size is the set's; nobody wants to know more of the signal.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, no_info, &raw const none, size_of::<SignalSet>()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::KernelSigaction;
    use std::io;
    use std::os::fd::AsFd;

    /// Whose reader is gone: out of the copies too that the children of other tests have until they execute.
    fn broken() -> io::PipeWriter {
        let (_, writer) = io::pipe().unwrap();
        let mut wanted = libc::pollfd { fd: writer.as_raw_fd(), events: 0, revents: 0 };
        while wanted.revents & libc::POLLERR == 0 {
            raw::poll(&mut wanted, -1);
        }
        writer
    }

    /// Both in one test: an action set by one thread changes what waits in another (a signal that is set to be ignored is thrown away
    /// wherever it waits: sigaction(2), POSIX).
    #[test]
    fn without_a_reader_it_is_an_error_and_no_signal_and_one_that_was_waiting_goes_on_to_wait() {
        no_signal();
        others_signal();
    }

    fn no_signal() {
        let default = KernelSigaction::default();
        let own = raw::sigaction(libc::SIGPIPE, Some(&default)).unwrap();
        let mask = raw::set_signal_mask(0);
        let answer = write_without_signal(broken().as_fd(), b"x");
        // Here it would end this program.
        let left = raw::set_signal_mask(mask);
        raw::sigaction(libc::SIGPIPE, Some(&own)).unwrap();
        assert_eq!((answer, left & SIGPIPE, pending() & SIGPIPE), (Err(Errno::PIPE), 0, 0));
    }

    fn others_signal() {
        let mask = raw::set_signal_mask(SIGPIPE);
        // By the plain call, as other code of the program may have had it.
        // SAFETY: one byte, which lives through the call.
        unsafe { libc::write(broken().as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
        let answer = write_without_signal(broken().as_fd(), b"x");
        let waiting = pending() & SIGPIPE;
        take_sigpipe();
        raw::set_signal_mask(mask);
        assert_eq!((answer, waiting), (Err(Errno::PIPE), SIGPIPE));
    }
}
