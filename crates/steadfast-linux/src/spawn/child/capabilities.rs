//! The capabilities of the child between its change of user and its program: those that the program is to have, and a [`Guard`].

use super::{Failure, at, prctl};
use crate::raw::{self, call as syscall};
use crate::spawn::step::What;
use std::ffi::c_int;
use steadfast_core::{Attributes, Capability, Errno};

/// A capability that the child keeps, in its permitted set alone, from the change of user until the kernel has given it the
/// memory of its program.
///
/// Whoever lacks a capability that a process is permitted may not trace it, whatever their users (`cap_ptrace_access_check` in the
/// kernel): not read its memory, not take its descriptors. That holds where the other protection, that the child's memory is not
/// dumpable, has a gap: for a process on its way out, whose memory is gone (before Linux 7.1), after `PR_SET_DUMPABLE` 1, and with
/// `fs.suid_dumpable` 1. In an exec the kernel computes the capabilities anew, once memory and descriptors are the program's; what was
/// permitted before is of no account to it (capabilities(7)), with an exception: where `no_new_privs` or a tracer keeps a
/// file's capabilities from the program, it may still have those that it had.
#[derive(Clone, Copy)]
pub(super) struct Guard(Capability);

/// Nothing in the kernel asks for it.
const UNUSED: Capability = Capability::NET_BROADCAST;

/// The guard of this child, if it can have one.
pub(super) fn guard(a: &Attributes) -> Option<Guard> {
    // Root is watched by nobody with less.
    a.uid.filter(|uid| *uid != 0)?;
    let now = Sets::get().ok()?;
    // A filter may refuse this, and to find out afterwards would be too late.
    now.set().ok()?;
    if now.permits(UNUSED) {
        return Some(Guard(UNUSED));
    }
    // Whoever can change the user is permitted this one.
    let is_free = !a.no_new_privileges && !a.trace_me && prctl(libc::PR_GET_NO_NEW_PRIVS, 0) == Ok(0);
    (is_free && now.permits(Capability::SETUID)).then_some(Guard(Capability::SETUID))
}

/// Leaves a new user with the guard and what is asked for, and makes that ambient, for which it must be permitted and inheritable first.
pub(super) fn set(a: &Attributes, guard: Option<Guard>) -> Result<(), Failure> {
    let mut sets = Sets::get().map_err(at(What::Capset))?;
    if a.uid.is_some_and(|uid| uid != 0) {
        sets.permit_none_but(a.ambient.iter().copied().chain(guard.map(|Guard(kept)| kept)));
    }
    a.ambient.iter().for_each(|capability| sets.inherit(*capability));
    sets.set().map_err(at(What::Capset))?;
    for (index, capability) in a.ambient.iter().enumerate() {
        let raise = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_RAISE.into(), capability.as_raw().into()];
        syscall(libc::SYS_prctl, raise).map_err(|errno| (What::AmbientCapability.number(index), errno))?;
    }
    Ok(())
}

/// The thread's own sets, 32 capabilities in each half.
struct Sets([Half; 2]);

/// `struct __user_cap_data_struct`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

impl Header {
    /// Of this thread; `_LINUX_CAPABILITY_VERSION_3`.
    const OWN: Header = Header { version: 0x2008_0522, pid: 0 };
}

impl Sets {
    fn get() -> Result<Sets, Errno> {
        let (mut header, mut halves) = (Header::OWN, [Half::default(); 2]);
        // SAFETY: a header and the two halves that its version has.
        unsafe { raw::syscall!(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) }?;
        Ok(Sets(halves))
    }

    fn set(&self) -> Result<(), Errno> {
        let mut header = Header::OWN;
        // SAFETY: as above.
        unsafe { raw::syscall!(libc::SYS_capset, &raw mut header, self.0.as_ptr()) }.map(drop)
    }

    fn permits(&self, capability: Capability) -> bool {
        let (half, bit) = place(capability);
        self.0.get(half).is_some_and(|half| half.permitted & bit != 0)
    }

    fn permit_none_but(&mut self, kept: impl Iterator<Item = Capability>) {
        let mut masks = [0; 2];
        for (half, bit) in kept.map(place) {
            if let Some(mask) = masks.get_mut(half) {
                *mask |= bit;
            }
        }
        for (half, mask) in self.0.iter_mut().zip(masks) {
            half.permitted &= mask;
            half.effective &= mask;
        }
    }

    fn inherit(&mut self, capability: Capability) {
        let (half, bit) = place(capability);
        if let Some(half) = self.0.get_mut(half) {
            half.permitted |= bit;
            half.inheritable |= bit;
        }
    }
}

fn place(capability: Capability) -> (usize, u32) {
    (usize::from(capability.as_raw() / 32), 1 << (capability.as_raw() % 32))
}
