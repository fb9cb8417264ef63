//! Who the child is to be: groups, group, user, capabilities; by raw calls, for the C library's would change all threads of a
//! process that is not the child's.

use super::capabilities::{self, Guard};
use super::{Failure, at, prctl};
use crate::arch::{SYS_SETGROUPS, SYS_SETRESGID, SYS_SETRESUID};
use crate::raw::{self, call as syscall};
use crate::spawn::step::What;
use std::ffi::c_long;
use steadfast_core::{Attributes, Errno};

pub(super) fn change(a: &Attributes, guard: Option<Guard>) -> Result<(), Failure> {
    if a.uid.is_some() || !a.ambient.is_empty() || a.keep_capabilities {
        // The caller's would stay with the new user, where they survive the change (from one that is not root), and beside those of
        // the list. Before Linux 4.3 there are none.
        let clear = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_CLEAR_ALL.into(), 0];
        match syscall(libc::SYS_prctl, clear) {
            Ok(_) | Err(Errno::INVAL) => {}
            Err(errno) => return Err((What::ClearAmbient.into(), errno)),
        }
    }
    let sets = guard.is_some() || capabilities::are_asked_for(a);
    if sets && a.uid.is_some() {
        // Or else the change of user takes them all (capabilities(7)).
        prctl(libc::PR_SET_KEEPCAPS, 1).map_err(at(What::KeepCapabilities))?;
    }
    if let Some(groups) = &a.groups {
        setgroups(groups).map_err(at(What::Setgroups))?;
    }
    if let Some(gid) = a.gid {
        // All three: setgid(2) leaves the real and the saved one to whoever lacks the privilege, and with them the way back.
        syscall(SYS_SETRESGID, [gid as c_long; 3]).map_err(at(What::Setgid))?;
    }
    if let Some(uid) = a.uid {
        if a.groups.is_none() && !a.keep_groups {
            match setgroups(&[]) {
                // Whoever may not drop groups has none that the new user must not have; as std.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err((What::Setgroups.into(), errno)),
            }
        }
        syscall(SYS_SETRESUID, [uid as c_long; 3]).map_err(at(What::Setuid))?;
    }
    if sets { capabilities::set(a, guard) } else { Ok(()) }
}

fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: as many IDs as is said.
    unsafe { raw::syscall!(SYS_SETGROUPS, groups.len(), groups.as_ptr()) }.map(drop)
}
