//! Who the child is to be: groups, group, user, capabilities; by raw calls, for the C library's would change all threads of a
//! process that is not the child's.

use super::{Failure, at, prctl};
use crate::arch::{SYS_SETGROUPS, SYS_SETRESGID, SYS_SETRESUID};
use crate::raw::{self, call as syscall};
use crate::spawn::step::What;
use steadfast_core::{Attributes, Errno};

pub(super) fn change(a: &Attributes) -> Result<(), Failure> {
    if a.uid.is_some() || !a.ambient.is_empty() {
        // The caller's would stay with the new user, where they survive the change (from one that is not root), and beside those of
        // the list. Before Linux 4.3 there are none.
        let clear = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_CLEAR_ALL.into(), 0];
        match syscall(libc::SYS_prctl, clear) {
            Ok(_) | Err(Errno::INVAL) => {}
            Err(errno) => return Err((What::ClearAmbient.into(), errno)),
        }
    }
    if !a.ambient.is_empty() {
        // Or else the change of user takes them all (capabilities(7)).
        prctl(libc::PR_SET_KEEPCAPS, 1).map_err(at(What::KeepCapabilities))?;
    }
    if let Some(groups) = &a.groups {
        setgroups(groups).map_err(at(What::Setgroups))?;
    }
    if let Some(gid) = a.gid {
        // All three: setgid(2) leaves the real and the saved one to whoever lacks the privilege, and with them the way back.
        syscall(SYS_SETRESGID, [gid.into(); 3]).map_err(at(What::Setgid))?;
    }
    if let Some(uid) = a.uid {
        if a.groups.is_none() && !a.keep_groups {
            match setgroups(&[]) {
                // Whoever may not drop groups has none that the new user must not have; as std.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err((What::Setgroups.into(), errno)),
            }
        }
        syscall(SYS_SETRESUID, [uid.into(); 3]).map_err(at(What::Setuid))?;
    }
    ambient(a)
}

fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: as many IDs as is said.
    raw::check(unsafe { libc::syscall(SYS_SETGROUPS, groups.len(), groups.as_ptr()) }).map(drop)
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, of which there are two: the lower 32 capabilities and the rest.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// An ambient capability must be permitted and inheritable first.
fn ambient(a: &Attributes) -> Result<(), Failure> {
    const VERSION_3: u32 = 0x2008_0522;
    if a.ambient.is_empty() {
        return Ok(());
    }
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: a header and the two sets that its version has.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    raw::check(answer).map_err(at(What::Capset))?;
    for capability in &a.ambient {
        let (half, bit) = (usize::from(capability.as_raw() / 32), 1 << (capability.as_raw() % 32));
        if let Some(half) = sets.get_mut(half) {
            half.permitted |= bit;
            half.inheritable |= bit;
        }
    }
    // SAFETY: as above.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    raw::check(answer).map_err(at(What::Capset))?;
    for (index, capability) in a.ambient.iter().enumerate() {
        let raise = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_RAISE.into(), capability.as_raw().into()];
        syscall(libc::SYS_prctl, raise).map_err(|errno| (What::AmbientCapability.number(index), errno))?;
    }
    Ok(())
}
