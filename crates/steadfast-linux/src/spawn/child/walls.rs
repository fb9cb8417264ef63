//! The walls: what shuts the child in. Each may be one that this kernel does not have, which is told apart from one that is refused.

use super::{Failure, Order};
use crate::raw::{self, call as syscall};
use crate::spawn::handover;
use crate::spawn::step::{Step, What};
use std::ffi::{c_long, c_uint};
use std::ptr;
use steadfast_core::{Attributes, Errno, SeccompFilter};

/// `SCHED_FLAG_RESET_ON_FORK`
const RESET_ON_FORK: u64 = 1;
/// `IOPRIO_WHO_PROCESS`
const WHO_PROCESS: c_long = 1;

/// `struct sched_attr`, first version (sched_setattr(2)).
#[derive(Default)]
#[repr(C)]
pub(super) struct SchedAttr {
    pub(super) size: u32,
    pub(super) policy: u32,
    pub(super) flags: u64,
    pub(super) nice: i32,
    pub(super) priority: u32,
    pub(super) runtime: u64,
    pub(super) deadline: u64,
    pub(super) period: u64,
}

/// After policy and nice value, which it keeps; both take the caller's privileges.
pub(super) fn priorities(order: &Order) -> Result<(), Failure> {
    let a = order.attributes();
    if a.reset_on_fork {
        stand(order, What::ResetOnFork.into(), reset_on_fork(), Errno::NOSYS)?;
    }
    if let Some(priority) = a.io_priority {
        let answer = syscall(libc::SYS_ioprio_set, [WHO_PROCESS, 0, priority.as_raw() as c_long]);
        stand(order, What::IoPriority.into(), answer.map(drop), Errno::NOSYS)?;
    }
    Ok(())
}

fn reset_on_fork() -> Result<(), Errno> {
    let mut attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..SchedAttr::default() };
    // SAFETY: room for an attribute of the size that is said.
    unsafe { raw::syscall!(libc::SYS_sched_getattr, 0, &raw mut attr, size_of::<SchedAttr>(), 0) }?;
    attr.flags |= RESET_ON_FORK;
    // SAFETY: an attribute of the size that it says.
    unsafe { raw::syscall!(libc::SYS_sched_setattr, 0, &raw const attr, 0) }.map(drop)
}

/// After all that opens files by their paths.
pub(super) fn landlock(order: &Order) -> Result<(), Failure> {
    for (index, ruleset) in order.prepared.descriptors.rulesets.iter().enumerate() {
        let answer = syscall(libc::SYS_landlock_restrict_self, [ruleset.number().into(), 0, 0]).map(drop);
        // ENOSYS: before Linux 5.13, or built without it. EOPNOTSUPP: not among the LSMs of this boot.
        let lacking = if answer == Err(Errno::OPNOTSUPP) { Errno::OPNOTSUPP } else { Errno::NOSYS };
        stand(order, What::Landlock.number(index), answer, lacking)?;
    }
    Ok(())
}

/// The last step before the program: what comes after it is filtered, and that is the exec alone.
pub(super) fn seccomp(order: &Order) -> Result<(), Failure> {
    for (index, filter) in order.attributes().seccomp.iter().enumerate() {
        let flags = flags(filter);
        let answer = install(filter, flags);
        // Of a flag that it does not know a kernel says what it says of a bad program.
        let is_of_flags = answer == Err(Errno::INVAL) && !knows(flags);
        let lacking = if is_of_flags { Errno::INVAL } else { Errno::NOSYS };
        let listener = answer.as_ref().map_or(-1, |answer| *answer);
        stand(order, What::Seccomp.number(index), answer.map(drop), lacking)?;
        let socket = order.prepared.descriptors.listener.number();
        if filter.listener_socket().is_some() && listener >= 0 {
            // Its own descriptor is close-on-exec, and what is in the socket is no descriptor.
            handover::send(socket, listener as _).map_err(|errno| (What::Listener.into(), errno))?;
        }
    }
    Ok(())
}

fn flags(filter: &SeccompFilter) -> c_long {
    let flag = |on, flag: c_long| if on { flag } else { 0 };
    flag(filter.logs(), libc::SECCOMP_FILTER_FLAG_LOG as c_long)
        | flag(filter.allows_speculation(), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as c_long)
        | flag(filter.listener_socket().is_some(), libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as c_long)
}

/// The listener's descriptor, with that flag; else 0.
fn install(filter: &SeccompFilter, flags: c_long) -> Result<c_long, Errno> {
    let instructions = filter.instructions();
    let program = libc::sock_fprog {
        // At most 4096, or the plan would be none.
        len: instructions.len() as u16,
        // Not written through; the same structure.
        filter: instructions.as_ptr().cast_mut().cast(),
    };
    // SAFETY: as many instructions as is said, which our parent keeps.
    unsafe { raw::syscall!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
}

/// Without a program to install, a kernel that knows the flags gets as far as looking for it.
fn knows(flags: c_long) -> bool {
    let none = ptr::null::<libc::sock_fprog>();
    // SAFETY: no program, which is refused.
    let answer = unsafe { raw::syscall!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER as c_uint, flags, none) };
    answer == Err(Errno::FAULT)
}

/// A wall that was put up, or not: with this errno, because the kernel does not have it.
fn stand(order: &Order, step: Step, answer: Result<(), Errno>, lacking: Errno) -> Result<(), Failure> {
    let Err(errno) = answer else { return Ok(()) };
    if errno != lacking {
        return Err((step, errno));
    }
    let failure = (step.lacking(), errno);
    match &order.tale {
        Some(tale) if order.attributes().walls_if_possible => {
            tale.miss(failure);
            Ok(())
        }
        _ => Err(failure),
    }
}

/// Whether the program's end may be told by a filter only.
pub(super) fn is_filtered(a: &Attributes) -> bool {
    !a.seccomp.is_empty()
}
