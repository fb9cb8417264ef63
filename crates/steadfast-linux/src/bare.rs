//! The least that a spawn can be: `clone`, `execve`, `waitid`, and nothing checked. What the benchmark compares with.

use crate::raw;
use crate::stack::Stack;
use crate::wait::{Blocking, Reaping, Target, waitid};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::ExitStatus;
use std::ptr;
use steadfast_core::Errno;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Starts a program with this process's environment and no arguments, and waits for it by its pidfd.
///
/// # Errors
/// What the calls say. A program that cannot be executed exits with 127.
pub fn spawn_and_wait(path: &CStr) -> Result<ExitStatus, Errno> {
    let argv = [path.as_ptr(), ptr::null()];
    let stack = Stack::take()?;
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let arg = (&raw const argv).cast_mut().cast::<c_void>();
    // SAFETY: the stack is ours alone and large enough; `run` executes or exits; what is pointed to outlives the call.
    let made = unsafe { raw::clone(flags, stack.top(), run, arg, &raw mut pidfd) };
    stack.keep();
    made?;
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let exit = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap)?;
    exit.map(|exit| exit.status).ok_or(Errno::CHILD)
}

extern "C" fn run(argv: *mut c_void) -> c_int {
    let argv = argv.cast::<*const c_char>().cast_const();
    // SAFETY: the first of the two pointers that `spawn_and_wait` passes.
    let path = unsafe { *argv };
    // SAFETY: the C library's own list, which this process does not change meanwhile: the benchmark sets no variables.
    let envp = unsafe { environ };
    // SAFETY: a C string and two null-terminated lists of such, which live on in the parent.
    unsafe { libc::syscall(libc::SYS_execve, path, argv, envp) };
    raw::exit_now(127)
}
