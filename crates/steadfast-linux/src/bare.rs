//! The least that a spawn can be: `clone`, `execve`, `waitid`, and nothing checked: what the benchmark compares with. And a fork and a storm of signals, for tests.

use crate::raw;
use crate::stack::Stack;
use crate::wait::{self, Blocking, Reaping, Target};
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::mem;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use steadfast_core::{Errno, Pid, Signal};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The system calls of a spawn with attributes, one after the other.
#[derive(Clone, Debug)]
#[allow(missing_docs, clippy::exhaustive_structs, reason = "for the benchmark alone")]
pub struct Calls {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub dir: CString,
    /// Pairs of a descriptor and the number that it gets.
    pub fds: Vec<(i32, i32)>,
    /// Resource, soft and hard.
    pub limits: Vec<(u32, u64, u64)>,
}

struct Order<'a> {
    argv: [*const c_char; 2],
    calls: Option<&'a Calls>,
}

/// Starts a program with this process's environment and no arguments, and waits for it by its pidfd.
///
/// # Errors
/// What the calls say. A program that cannot be executed exits with 127.
pub fn spawn_and_wait(path: &CStr, calls: Option<&Calls>) -> Result<ExitStatus, Errno> {
    let order = Order { argv: [path.as_ptr(), ptr::null()], calls };
    let stack = Stack::take()?;
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let arg = (&raw const order).cast_mut().cast::<c_void>();
    // SAFETY: the stack is ours alone and large enough; `run` executes or exits; what is pointed to outlives the call.
    let made = unsafe { raw::clone(flags, stack.top(), run, arg, &raw mut pidfd, ptr::null_mut()) };
    stack.keep();
    made?;
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let exit = wait::call(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap)?;
    exit.map(|exit| exit.status).ok_or(Errno::CHILD)
}

extern "C" fn run(order: *mut c_void) -> c_int {
    // SAFETY: `spawn_and_wait` passes its order, and keeps it until we have executed or exited.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    let [path, _] = order.argv;
    if let Some(calls) = order.calls {
        make(calls);
    }
    // SAFETY: the C library's own list, which this process does not change meanwhile: the benchmark sets no variables.
    let envp = unsafe { environ };
    // SAFETY: a C string and two null-terminated lists of such, which live on in the parent.
    unsafe { libc::syscall(libc::SYS_execve, path, order.argv.as_ptr(), envp) };
    raw::exit_now(127)
}

fn make(calls: &Calls) {
    // SAFETY: no pointer.
    unsafe { libc::syscall(libc::SYS_setsid) };
    // SAFETY: as many IDs as is said.
    unsafe { libc::syscall(libc::SYS_setgroups, calls.groups.len(), calls.groups.as_ptr()) };
    // SAFETY: no pointer.
    unsafe { libc::syscall(libc::SYS_setgid, calls.gid) };
    // SAFETY: no pointer.
    unsafe { libc::syscall(libc::SYS_setuid, calls.uid) };
    // SAFETY: a C string.
    unsafe { libc::syscall(libc::SYS_chdir, calls.dir.as_ptr()) };
    for (from, to) in &calls.fds {
        // SAFETY: no pointer.
        unsafe { libc::syscall(libc::SYS_dup3, *from, *to, 0) };
    }
    for (resource, soft, hard) in &calls.limits {
        let limit = [*soft, *hard];
        let none = ptr::null::<u64>();
        // SAFETY: `struct rlimit64` is these two numbers; the old one is not asked for.
        unsafe { libc::syscall(libc::SYS_prlimit64, 0, *resource, limit.as_ptr(), none) };
    }
}

/// Forks as a program does, by the C library's fork(3): for the tests, which forbid `unsafe`. The child ends with what `run` gives, or 101
/// if it panics, and runs nothing else of the program's.
///
/// # Errors
/// `EAGAIN`, `ENOMEM` (fork(2)).
pub fn fork(run: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: whoever calls this is a test, and knows what it may do in a copy of one thread among many.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(101);
            // SAFETY: no pointer.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::new(pid).map_err(|_| raw::errno()),
    }
}

/// What the handler of [`handle_by`] calls.
static HANDLER: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

extern "C" fn call_handler(_: c_int) {
    if let Some(handler) = HANDLER.get() {
        handler();
    }
}

/// From now on the signal calls this function, in the handler itself, on whichever thread it comes to. The first function is the one for all
/// signals.
///
/// # Errors
/// `EINVAL` (sigaction(2)).
pub fn handle_by(signal: Signal, handler: fn()) -> Result<(), Errno> {
    HANDLER.get_or_init(|| handler);
    // SAFETY: all zeros are an action: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = call_handler as extern "C" fn(c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action lives through the call; whoever calls this is a test, and vouches for what its function does.
    raw::check(unsafe { libc::sigaction(signal.as_raw(), &raw const action, ptr::null_mut()) }.into()).map(drop)
}

/// How often the handler of [`interrupt_by`] has run.
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: c_int) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

/// From now on the signal interrupts calls, which are not restarted: a handler without `SA_RESTART`, which the crates for handlers do not
/// offer. What counts how often it has run.
///
/// # Errors
/// `EINVAL` (sigaction(2)).
pub fn interrupt_by(signal: Signal) -> Result<&'static AtomicU64, Errno> {
    // SAFETY: all zeros are an action: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(c_int) as usize;
    // SAFETY: the handler does nothing but add to an atomic; the old action is not asked for.
    raw::check(unsafe { libc::sigaction(signal.as_raw(), &raw const action, ptr::null_mut()) }.into())?;
    Ok(&INTERRUPTED)
}

/// Sends a signal to one thread of this process.
///
/// # Errors
/// `ESRCH`: there is no such thread (any more).
pub fn signal_thread(thread: i32, signal: Signal) -> Result<(), Errno> {
    let numbers = [std::process::id() as c_long, c_long::from(thread), c_long::from(signal.as_raw())];
    raw::call(libc::SYS_tgkill, numbers).map(drop)
}
