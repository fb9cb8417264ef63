//! System calls as the child after a clone may make them: no allocation, no lock, no thread of the C library involved, and no errno, which
//! the child shares with a thread of ours that may run.

use std::ffi::{c_int, c_long, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use steadfast_core::Errno;

pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
pub(crate) const CLONE_INTO_CGROUP: u64 = 1 << 33;
pub(crate) const CLONE_AUTOREAP: u64 = 1 << 34;

/// The kernel's own signal set: 64 signals.
pub(crate) type SignalSet = u64;
/// All that can wait. `SIGSYS` is raised by the very call that a filter traps: blocked, it would kill the program, which may
/// have a handler that answers for the call.
pub(crate) const ALL_BUT_SIGSYS: SignalSet = !(1 << (libc::SIGSYS - 1));

/// The kernel's `struct sigaction`: x86_64 and most others; only its first word, the handler, is looked at.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct KernelSigaction {
    pub(crate) handler: usize,
    rest: [u64; 3],
}

impl KernelSigaction {
    pub(crate) fn ignore() -> KernelSigaction {
        KernelSigaction { handler: libc::SIG_IGN, ..KernelSigaction::default() }
    }
}

/// What may be an argument of a system call.
pub(crate) trait Word {
    fn word(self) -> usize;
}

macro_rules! words {
    ($($number:ty)*) => {$(
        impl Word for $number {
            fn word(self) -> usize {
                self as usize
            }
        }
    )*};
}

words!(i32 u32 i64 u64 isize usize);

impl<T> Word for *const T {
    fn word(self) -> usize {
        // The kernel goes there.
        self.expose_provenance()
    }
}

impl<T> Word for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// A system call with up to six arguments; those that are not given are zero. It touches no errno, and no memory: all are in registers.
macro_rules! syscall {
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr $(,)?) => {{
        use $crate::raw::Word as _;
        $crate::raw::answer($crate::arch::syscall($number, $a.word(), $b.word(), $c.word(), $d.word(), $e.word(), $f.word()))
    }};
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::raw::syscall!($number $(, $argument)*, 0_usize)
    };
}
pub(crate) use syscall;

/// What the kernel itself answered.
pub(crate) fn answer(answer: isize) -> Result<c_long, Errno> {
    if (-4095..0).contains(&answer) { Err(Errno::from_raw(-answer as i32)) } else { Ok(answer as c_long) }
}

/// What a function of the C library returned, as an errno or a number.
pub(crate) fn check(answer: c_long) -> Result<c_long, Errno> {
    if answer == -1 { Err(errno()) } else { Ok(answer) }
}

/// A system call that takes numbers only, at most three; some want the rest of theirs to be zero.
pub(crate) fn call(number: c_long, [a, b, c]: [c_long; 3]) -> Result<c_long, Errno> {
    // SAFETY: the calls made through here take no pointer, or one that their caller vouches for.
    unsafe { syscall!(number, a, b, c) }
}

/// The errno of the call of the C library just made on this thread.
pub(crate) fn errno() -> Errno {
    // SAFETY: the C library keeps this pointer valid for the thread's life.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: only this thread uses its errno; as above.
    Errno::from_raw(unsafe { *location })
}

/// Sets this thread's signal mask and returns the one before. Unlike `pthread_sigmask`, it reaches the C library's own
/// signals 32 and 33 as well, whose handlers must not run in a child that shares our memory.
pub(crate) fn set_signal_mask(mask: SignalSet) -> SignalSet {
    let mut old: SignalSet = 0;
    // SAFETY: both pointers are to 8 bytes that live through the call, which is what the size argument says.
    let answer =
        unsafe { syscall!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size_of::<SignalSet>()) };
    debug_assert!(answer.is_ok());
    old
}

/// This thread's signal mask.
pub(crate) fn signal_mask() -> SignalSet {
    let mut mask: SignalSet = 0;
    let none = std::ptr::null::<SignalSet>();
    // SAFETY: no new mask; room for the 8 bytes that the size argument says.
    let answer = unsafe { syscall!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, none, &raw mut mask, size_of::<SignalSet>()) };
    debug_assert!(answer.is_ok());
    mask
}

/// Reads a signal's disposition and, if `new` is given, sets it.
pub(crate) fn sigaction(signal: c_int, new: Option<&KernelSigaction>) -> Result<KernelSigaction, Errno> {
    let mut old = KernelSigaction::default();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or a valid action, `old` is room for one; both at least as large as the kernel's.
    let answer = unsafe { syscall!(libc::SYS_rt_sigaction, signal, new, &raw mut old, size_of::<SignalSet>()) };
    answer.map(|_| old)
}

/// Resets a signal to its default.
pub(crate) fn reset_signal(signal: c_int) {
    // Fails for SIGKILL and SIGSTOP only, which always have it.
    _ = sigaction(signal, Some(&KernelSigaction::default()));
}

/// In bytes. (rustix reads it in a way that valgrind reports.)
pub(crate) fn page_size() -> usize {
    // SAFETY: no pointer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize
}

/// Ends this process at once, running nothing of the program's.
pub(crate) fn exit_now(code: c_int) -> ! {
    loop {
        // SAFETY: the call has no pointer and does not return; a filter that refuses it leaves us in the loop.
        _ = unsafe { syscall!(libc::SYS_exit_group, code) };
    }
}

/// `clone(2)` through the C library, for a child on the stack `top`. `extra` is where `CLONE_PIDFD` puts the descriptor, or
/// `CLONE_PARENT_SETTID` the PID; `word` is what `CLONE_CHILD_CLEARTID` clears.
///
/// In the child the library's part (glibc since 2.25, musl) is to call `run`: it takes it from the new stack, and writes nothing.
///
/// # Safety
/// As for [`crate::arch::clone3`]; `top` is aligned to 16 bytes.
pub(crate) unsafe fn clone(
    flags: c_int,
    top: *mut c_void,
    run: extern "C" fn(*mut c_void) -> c_int,
    arg: *mut c_void,
    extra: *mut c_int,
    word: *mut u32,
) -> Result<i32, Errno> {
    let no_tls = std::ptr::null_mut::<c_void>();
    // SAFETY: the caller vouches for the stack, the function and what the pointers point to.
    let pid = unsafe { libc::clone(run, top, flags, arg, extra, no_tls, word) };
    if pid == -1 { Err(errno()) } else { Ok(pid) }
}

/// One entry, for so many milliseconds: how many have an event, or -1.
pub(crate) fn poll(entry: &mut libc::pollfd, time: c_int) -> c_int {
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(entry, 1, time) }
}

/// Sleeps until something has happened to what is in the `epoll`; how many events there are. (By the C library, which gives the size of the signal
/// set also when there is none: memcheck wants it.)
pub(crate) fn epoll_wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> Result<usize, Errno> {
    let room = events.len().min(c_int::MAX as usize) as c_int;
    // SAFETY: room for as many events as is said; no signal set.
    let answer = unsafe { libc::epoll_pwait(epoll.as_raw_fd(), events.as_mut_ptr(), room, -1, std::ptr::null()) };
    check(answer.into()).map(|count| count as usize)
}

/// The kernel's version as it says it: `(5, 16)`; all zero if it does not. Asked for once: it stays the same while we run.
pub(crate) fn kernel_version() -> (u32, u32) {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let known = match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let (major, minor) = ask_kernel_version();
            let version = u64::from(major) << 32 | u64::from(minor);
            KNOWN.store(version, Ordering::Relaxed);
            version
        }
        known => known,
    };
    ((known >> 32) as u32, known as u32)
}

fn ask_kernel_version() -> (u32, u32) {
    // SAFETY: utsname is arrays of bytes, for which all zero is a value.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: room for what the kernel writes.
    if unsafe { libc::uname(&raw mut name) } == -1 {
        return (0, 0);
    }
    let mut digits = name
        .release
        .split(|c| !(*c as u8).is_ascii_digit())
        .map(|part| part.iter().fold(0_u32, |n, c| n.saturating_mul(10).saturating_add(u32::from(*c as u8 - b'0'))));
    (digits.next().unwrap_or(0), digits.next().unwrap_or(0))
}
