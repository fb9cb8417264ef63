//! What the child does between its birth and the program's first instruction.
//!
//! It shares the memory of a suspended parent whose other threads go on. So: no allocation, no lock, no panic, and no function
//! of the C library but `syscall`, which only touches errno.

use crate::raw::{self, SignalSet};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use steadfast_core::Errno;

/// What to do. All pointers are into the parent's memory, which the parent keeps as it is until the child has left it.
pub(super) struct Order {
    pub(super) image: Pointers,
    /// What becomes 0, 1 and 2; -1: leave it. None of them is below 3, so that none is overwritten before it is used.
    pub(super) streams: [c_int; 3],
    pub(super) mask: SignalSet,
    pub(super) reset_handlers: bool,
    pub(super) report: *const Report,
    /// Where to report instead, if the memory is a copy; else -1.
    pub(super) channel: c_int,
}

/// The program and its surroundings as `execve` wants them.
pub(super) struct Pointers {
    /// The files to try, in order; null ends it.
    pub(super) candidates: *const *const c_char,
    /// A free slot, then `argv` with its null: the slot is for running a script without `#!`.
    pub(super) argv_after_slot: *mut *const c_char,
    pub(super) envp: *const *const c_char,
    /// Null: stay.
    pub(super) current_dir: *const c_char,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stdin,
    Stdout,
    Stderr,
    Chdir,
    /// Executing the candidate of this index.
    Exec(u32),
    /// None of the candidates exists.
    NotFound,
}

impl Step {
    fn as_raw(self) -> u32 {
        match self {
            Step::Stdin => 1,
            Step::Stdout => 2,
            Step::Stderr => 3,
            Step::Chdir => 4,
            Step::NotFound => 5,
            Step::Exec(index) => index | 1 << 31,
        }
    }

    pub(super) fn from_raw(raw: u32) -> Option<Step> {
        match raw {
            1 => Some(Step::Stdin),
            2 => Some(Step::Stdout),
            3 => Some(Step::Stderr),
            4 => Some(Step::Chdir),
            5 => Some(Step::NotFound),
            exec if exec >> 31 == 1 => Some(Step::Exec(exec & !(1 << 31))),
            _ => None,
        }
    }
}

/// Written by the child, read by the parent once it goes on. Atomic because they are two processes, if never at once.
#[derive(Default)]
pub(super) struct Report {
    ran: AtomicU32,
    step: AtomicU32,
    errno: AtomicI32,
}

impl Report {
    pub(super) fn child_ran(&self) -> bool {
        self.ran.load(Ordering::Acquire) != 0
    }

    pub(super) fn failure(&self) -> Option<(Step, Errno)> {
        let step = Step::from_raw(self.step.load(Ordering::Acquire))?;
        Some((step, Errno::from_raw(self.errno.load(Ordering::Acquire))))
    }
}

/// The child's first function, as `clone3` in assembly calls it.
pub(super) unsafe extern "C" fn run3(order: *mut c_void) -> ! {
    run(order);
    raw::exit_now(127)
}

/// The child's first function, as the C library's `clone` calls it.
pub(super) extern "C" fn run(order: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its `Order`, and keeps it until we have executed or exited.
    let order = unsafe { &*order.cast::<Order>() };
    // SAFETY: as above, for the report in it.
    let report = unsafe { &*order.report };
    report.ran.store(1, Ordering::Release);
    let Err((step, errno)) = prepare_and_execute(order);
    report.errno.store(errno.as_raw(), Ordering::Release);
    report.step.store(step.as_raw(), Ordering::Release);
    if order.channel >= 0 {
        send(order.channel, step, errno);
    }
    raw::exit_now(127)
}

fn prepare_and_execute(order: &Order) -> Result<std::convert::Infallible, (Step, Errno)> {
    for (target, step) in [Step::Stdin, Step::Stdout, Step::Stderr].into_iter().enumerate() {
        let source = order.streams.get(target).copied().unwrap_or(-1);
        if source >= 0 {
            // dup3 leaves the copy without close-on-exec; the source has it.
            // SAFETY: no pointer; the descriptor table is the child's own.
            let answer = unsafe { libc::syscall(libc::SYS_dup3, source, target, 0) };
            raw::check(answer).map_err(|errno| (step, errno))?;
        }
    }
    if !order.image.current_dir.is_null() {
        // SAFETY: a C string that the parent keeps.
        let answer = unsafe { libc::syscall(libc::SYS_chdir, order.image.current_dir) };
        raw::check(answer).map_err(|errno| (Step::Chdir, errno))?;
    }
    reset_signals(order);
    // SAFETY: the pointers of the order are the parent's, valid and null-terminated as `Image` made them.
    let (step, errno) = unsafe { execute(&order.image) };
    Err((step, errno))
}

/// Handlers first, the mask last: a handler of the parent's must not run here. What is ignored stays ignored, as nohup(1)
/// needs it, but for SIGPIPE, which Rust's runtime ignores in every program.
fn reset_signals(order: &Order) {
    if order.reset_handlers {
        for signal in 1..=64 {
            match raw::sigaction(signal, None) {
                Ok(action) if action.handler != libc::SIG_IGN && action.handler != libc::SIG_DFL => {
                    raw::reset_signal(signal);
                }
                _ => {}
            }
        }
    }
    raw::reset_signal(libc::SIGPIPE);
    raw::set_signal_mask(order.mask);
}

/// Tries the candidates as execvp(3) does; returns why none of them runs.
///
/// # Safety
/// The pointers are null-terminated lists of C strings; `argv_after_slot` has a slot before it and at least one entry.
unsafe fn execute(image: &Pointers) -> (Step, Errno) {
    let mut denied = None;
    let mut index = 0;
    let mut candidate = image.candidates;
    loop {
        // SAFETY: `candidate` has not passed the null that ends the list.
        let path = unsafe { *candidate };
        if path.is_null() {
            return denied.unwrap_or((Step::NotFound, Errno::NOENT));
        }
        let mut errno = execve(path, image.argv_after_slot, image.envp);
        if errno == Errno::NOEXEC {
            // SAFETY: as the caller promises.
            errno = unsafe { execute_script(path, image) };
        }
        match errno {
            Errno::ACCES => denied = Some((Step::Exec(index), errno)),
            // The directory is missing, or away with its file server: look in the next one.
            Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::STALE | Errno::TIMEDOUT => {}
            errno => return (Step::Exec(index), errno),
        }
        index += 1;
        candidate = candidate.wrapping_add(1);
    }
}

/// Runs a file that is no binary and has no `#!` with the shell, as execvp(3) and POSIX have it.
///
/// # Safety
/// As [`execute`].
unsafe fn execute_script(path: *const c_char, image: &Pointers) -> Errno {
    let shell = c"/bin/sh".as_ptr();
    let slot = image.argv_after_slot.wrapping_sub(1);
    // SAFETY: the slot is there for this.
    unsafe { *slot = shell };
    // SAFETY: argv has at least the program's own name.
    let name = unsafe { ptr::replace(image.argv_after_slot, path) };
    let errno = execve(shell, slot, image.envp);
    // SAFETY: as above; the next candidate sees argv as it was.
    unsafe { *image.argv_after_slot = name };
    errno
}

fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    // SAFETY: the lists are null-terminated and their strings live on in the parent; on success this does not return.
    unsafe { libc::syscall(libc::SYS_execve, path, argv, envp) };
    raw::errno()
}

fn send(channel: c_int, step: Step, errno: Errno) {
    let message = [step.as_raw(), errno.as_raw() as u32];
    // SAFETY: 8 bytes that live through the call. A pipe takes them whole.
    unsafe { libc::syscall(libc::SYS_write, channel, message.as_ptr(), size_of_val(&message)) };
}
