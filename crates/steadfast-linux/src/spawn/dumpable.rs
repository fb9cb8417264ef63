//! [`Dumpable`]: what a child's change of user must not do to us.
//!
//! Whether a process can be dumped, and traced, belongs to its memory. A child that changes its user makes the memory that it
//! still shares with us not dumpable (measured on Linux 6.18; `commit_creds` in the kernel): our `/proc/self` would be root's, we
//! could not be debugged, and left no core. It must stay so while the child is in our memory, or else the new user could trace
//! the child, and write to us; and be undone when no such child is left.

use super::clone::Door;
use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};
use steadfast_core::{Attributes, Namespaces};

/// How many such children there are, and what we were before the first.
static IN_FLIGHT: Mutex<(usize, c_int)> = Mutex::new((0, 0));

/// While it lives, a child may be changing its user in our memory.
pub(super) struct Dumpable(());

impl Dumpable {
    /// `None`: this child changes nothing of the kind, or not in our memory.
    pub(super) fn keep(a: &Attributes, door: Door) -> Option<Dumpable> {
        let changes = a.uid.is_some() || a.gid.is_some() || !a.ambient.is_empty() || a.unshare.contains(Namespaces::USER);
        if !changes || door == Door::Fork {
            return None;
        }
        let mut in_flight = IN_FLIGHT.lock().unwrap_or_else(PoisonError::into_inner);
        if in_flight.0 == 0 {
            // SAFETY: no pointer.
            in_flight.1 = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        }
        in_flight.0 += 1;
        Some(Dumpable(()))
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut in_flight = IN_FLIGHT.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.0 -= 1;
        if *in_flight == (0, 1) {
            // SAFETY: no pointer.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}
