//! A child of ours that nobody else hears of.

use crate::raw;
use std::ffi::{c_int, c_void};
use std::ptr;
use steadfast_core::Errno;

/// Makes one that runs `what`. It has no exit signal, so that the program's `SIGCHLD` handler sees nothing (golang/go#71828), and nobody
/// else's wait takes it. QEMU's user mode refuses that with `EINVAL`; there, and only there, it gets the usual one.
///
/// # Safety
/// The stack is the child's alone and large enough for `what`, which keeps to what is allowed after a vfork(2); `arg` lives as long as it is used.
pub(crate) unsafe fn child(
    flags: c_int,
    top: *mut c_void,
    what: extern "C" fn(*mut c_void) -> c_int,
    arg: *mut c_void,
) -> Result<i32, Errno> {
    let clone = |flags| {
        // SAFETY: our caller vouches for it.
        unsafe { raw::clone(flags, top, what, arg, ptr::null_mut(), ptr::null_mut()) }
    };
    match clone(flags) {
        Err(Errno::INVAL) => clone(flags | libc::SIGCHLD),
        answer => answer,
    }
}
