//! Threads of the library's own: small, and deaf to the program's signals.

use crate::raw::{self, SignalSet};
use std::ffi::{CString, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use steadfast_core::contain;

/// What a thread does, once.
type Work = Box<dyn FnOnce() + Send>;

/// Starts a thread on which no signal handler of the program ever runs, so that the program's signals go where they went
/// before. The C library's own signals it takes: setuid(3) and its family send one to every thread, and wait for each of them.
///
/// By pthread_create(3), for std's threads begin with a lock of std's own, which in the child of a fork(2) may be held for ever, by a thread
/// that was just beginning and is not there. The C library puts what is its own in order there.
///
/// # Errors
/// `EAGAIN` when there may be no more threads.
pub fn spawn_quiet_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_thread_of(STACK, name, run)
}

/// With room for code of the program's.
pub(crate) fn spawn_large_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_thread_of(LARGE, name, run)
}

/// As large as what a program's own first thread usually has: that is not taken before it is used.
const LARGE: usize = 8 * 1024 * 1024;
const STACK: usize = 128 * 1024;

fn spawn_thread_of(size: usize, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // To Linux it is 15 bytes.
    let name = CString::new(name).unwrap_or_default();
    let work: Work = Box::new(move || {
        // SAFETY: a C string.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        run();
    });
    // A thread begins with the mask of the one that starts it.
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS & all_of_the_programs());
    let started = start(work, size);
    raw::set_signal_mask(mask);
    started
}

fn start(work: Work, size: usize) -> io::Result<()> {
    let check = |errno| if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: room for them.
    check(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: they were initialized just above. A size that is refused leaves the usual one.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), size) };
    // SAFETY: as above, and a state that there is.
    unsafe { libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED) };
    let work = Box::into_raw(Box::new(work));
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: room for the thread's name; attributes as above; `begin` takes what `work` points to, which nobody else has any more.
    let answer = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), begin, work.cast()) };
    // SAFETY: initialized above, and not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if answer != 0 {
        // SAFETY: it was made by `into_raw` above, and there is no thread that has taken it.
        drop(unsafe { Box::from_raw(work) });
    }
    check(answer)
}

extern "C" fn begin(work: *mut c_void) -> *mut c_void {
    // SAFETY: `start` has made it by `into_raw`, for this thread alone.
    let work = unsafe { Box::from_raw(work.cast::<Work>()) };
    contain(work);
    ptr::null_mut()
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
