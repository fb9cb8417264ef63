//! The capabilities of the child between its change of user and its program: those that the program is to have, and a [`Guard`].

use super::{Failure, at, prctl};
use crate::raw::{self, call as syscall};
use crate::spawn::step::What;
use std::ffi::{c_int, c_long};
use steadfast_core::{Attributes, Capability, Errno, SecureBits};

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

/// Whether its sets, or what governs them, are to be others than the change of user makes them.
pub(super) fn are_asked_for(a: &Attributes) -> bool {
    !a.ambient.is_empty() || a.inheritable.is_some() || a.keep_capabilities || takes_setpcap(a)
}

fn takes_setpcap(a: &Attributes) -> bool {
    a.bounding.is_some() || !a.securebits.is_empty()
}

/// Leaves a new user with the guard and what is asked for: inheritable, then ambient, for which it must be permitted and inheritable first; then the
/// bounding set, outside of which nothing becomes inheritable; then the securebits, by which nothing may become ambient. Those two take
/// `CAP_SETPCAP`, which a new user has until then.
pub(super) fn set(a: &Attributes, guard: Option<Guard>) -> Result<(), Failure> {
    let mut sets = Sets::get().map_err(at(What::Capset))?;
    let kept = a.ambient.iter().copied().chain(guard.map(|Guard(kept)| kept));
    let loses = a.uid.is_some_and(|uid| uid != 0) && !a.keep_capabilities;
    let setpcap = takes_setpcap(a).then_some(Capability::SETPCAP);
    if loses {
        sets.permit_none_but(kept.clone().chain(setpcap));
    }
    if let Some(inheritable) = &a.inheritable {
        sets.inherit_none_but(inheritable);
    }
    a.ambient.iter().for_each(|capability| sets.inherit(*capability));
    if a.keep_capabilities {
        sets.inherit_all();
    }
    setpcap.into_iter().for_each(|capability| sets.make_effective(capability));
    sets.set().map_err(at(What::Capset))?;
    for (index, capability) in a.ambient.iter().enumerate() {
        raise(*capability).map_err(|errno| (What::AmbientCapability.number(index), errno))?;
    }
    if a.keep_capabilities {
        all().filter(|capability| sets.permits(*capability)).try_for_each(raise).map_err(at(What::KeptCapability))?;
    }
    if let Some(bounding) = &a.bounding {
        bound(bounding)?;
    }
    secure(a.securebits).map_err(at(What::SecureBits))?;
    if loses && setpcap.is_some() {
        sets.permit_none_but(kept);
        sets.set().map_err(at(What::Capset))?;
    }
    Ok(())
}

/// Gives the guard up, for code of the caller's that comes before the program.
pub(super) fn unguard(a: &Attributes) -> Result<(), Failure> {
    if a.keep_capabilities {
        return Ok(());
    }
    let mut sets = Sets::get().map_err(at(What::Capset))?;
    sets.permit_none_but(a.ambient.iter().copied());
    sets.set().map_err(at(What::Capset))
}

/// As many as there is room for in the sets, known here or not.
fn all() -> impl Iterator<Item = Bit> {
    (0..64).map(Bit)
}

/// Makes it ambient.
fn raise(capability: impl Into<Bit>) -> Result<(), Errno> {
    let Bit(number) = capability.into();
    let raise = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_RAISE.into(), number.into()];
    syscall(libc::SYS_prctl, raise).map(drop)
}

/// Drops all from the bounding set but these. What is not there need not be dropped, which takes a privilege.
fn bound(kept: &[Capability]) -> Result<(), Failure> {
    for Bit(number) in all().filter(|Bit(number)| kept.iter().all(|kept| kept.as_raw() != *number)) {
        match prctl(libc::PR_CAPBSET_READ, number.into()) {
            Ok(0) => {}
            // Behind the kernel's last one.
            Err(Errno::INVAL) => break,
            _ => {
                let dropped = prctl(libc::PR_CAPBSET_DROP, number.into());
                dropped.map_err(|errno| (What::Bounding.number(number.into()), errno))?;
            }
        }
    }
    Ok(())
}

fn secure(bits: SecureBits) -> Result<(), Errno> {
    if bits.is_empty() {
        return Ok(());
    }
    let now = prctl(libc::PR_GET_SECUREBITS, 0)?;
    let then = now | bits.as_raw() as c_long;
    if then == now { Ok(()) } else { prctl(libc::PR_SET_SECUREBITS, then).map(drop) }
}

/// A capability, of whatever number.
#[derive(Clone, Copy)]
struct Bit(u8);

impl From<Capability> for Bit {
    fn from(capability: Capability) -> Bit {
        Bit(capability.as_raw())
    }
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

    fn permits(&self, capability: impl Into<Bit>) -> bool {
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

    fn inherit_none_but(&mut self, kept: &[Capability]) {
        self.0.iter_mut().for_each(|half| half.inheritable = 0);
        for (half, bit) in kept.iter().map(|kept| place(*kept)) {
            if let Some(half) = self.0.get_mut(half) {
                half.inheritable |= bit;
            }
        }
    }

    /// All that is permitted.
    fn inherit_all(&mut self) {
        for half in &mut self.0 {
            half.inheritable |= half.permitted;
            half.effective = half.permitted;
        }
    }

    /// If it is permitted.
    fn make_effective(&mut self, capability: Capability) {
        let (half, bit) = place(capability);
        if let Some(half) = self.0.get_mut(half) {
            half.effective |= half.permitted & bit;
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

fn place(capability: impl Into<Bit>) -> (usize, u32) {
    let Bit(number) = capability.into();
    (usize::from(number / 32), 1 << (number % 32))
}
