//! A core dump of the child's must not be ours.
//!
//! Before Linux 5.16 a signal that dumps core ended every process that shared the memory. A child has no handlers of ours, so a
//! `SIGQUIT` that the program handles, and that reaches its process group during a spawn, finds the child at its default: both are
//! gone. No order of blocking and resetting closes that: between the last unblocking and the execve there is always an instruction. So
//! where it can happen the child gets a copy of our memory, as std's fork makes one.

use crate::raw;
use std::ffi::c_int;
use steadfast_core::Attributes;

/// Those whose default is a core dump (signal(7)), but `SIGSEGV` and `SIGBUS`: Rust's runtime handles these in every program, and they come
/// from the thread's own fault.
const DUMPING: [c_int; 8] =
    [libc::SIGQUIT, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGFPE, libc::SIGXCPU, libc::SIGXFSZ, libc::SIGSYS];

/// Whether a child in our memory could end us by a signal that we would survive.
pub(super) fn could_end_us(a: &Attributes) -> bool {
    raw::kernel_version() < (5, 16) && DUMPING.into_iter().any(|signal| is_survived(signal, a))
}

fn is_survived(signal: c_int, a: &Attributes) -> bool {
    match raw::sigaction(signal, None).map(|action| action.handler) {
        // Ignored by us, it is ignored by the child, unless that is to be otherwise.
        Ok(libc::SIG_IGN) => a.dispositions.iter().any(|(other, _)| other.as_raw() == signal),
        // Blocked here, it is blocked there, unless that is to be otherwise.
        Ok(libc::SIG_DFL) => a.signal_mask.is_some(),
        // A handler; or a kernel that does not tell.
        _ => true,
    }
}
