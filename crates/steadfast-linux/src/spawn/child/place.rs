//! Where the child is to live: cgroup, session and terminal, namespaces, scheduling, limits, root and directory.

use super::walls::SchedAttr;
use super::{Failure, at};
use crate::raw::{self, call as syscall};
use crate::spawn::prepare::Prepared;
use crate::spawn::step::What;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use steadfast_core::{Attributes, Errno, MountPropagation, Namespaces, Scheduling};

/// By writing to `cgroup.procs`, of which 0 means the writer (cgroups(7)): works in both versions.
pub(super) fn join_cgroup(a: &Attributes) -> Result<(), Failure> {
    let Some(cgroup) = &a.cgroup else { return Ok(()) };
    write_file(cgroup.as_raw_fd(), c"cgroup.procs", b"0\n").map_err(at(What::Cgroup))
}

/// The same in version 1, by a write that takes no lock of all forks, as one to `cgroup.procs` does: of one thread, which is all that there is.
pub(super) fn join_tasks(a: &Attributes) -> Result<(), Failure> {
    for tasks in &a.tasks {
        let (fd, text) = (tasks.as_raw_fd(), b"0\n");
        // SAFETY: as many bytes as is said.
        unsafe { raw::syscall!(libc::SYS_write, fd, text.as_ptr(), text.len()) }.map_err(at(What::Tasks))?;
    }
    Ok(())
}

pub(super) fn session(a: &Attributes) -> Result<(), Failure> {
    if a.setsid {
        syscall(libc::SYS_setsid, [0; 3]).map_err(at(What::Setsid))?;
    }
    if let Some(group) = a.process_group.or(a.foreground.as_ref().map(|_| 0)) {
        syscall(libc::SYS_setpgid, [0, group.into(), 0]).map_err(at(What::Setpgid))?;
    }
    if let Some(terminal) = &a.foreground {
        // SIGTTOU, which a background process gets for this, is blocked, and then the kernel allows it (tcsetpgrp(3)).
        let group = syscall(libc::SYS_getpgid, [0; 3]).map_err(at(What::Foreground))? as libc::pid_t;
        ioctl(terminal, libc::TIOCSPGRP, &raw const group as c_long).map_err(at(What::Foreground))?;
    }
    if a.detach_terminal {
        detach_terminal().map_err(at(What::DetachTerminal))?;
    }
    if let Some(terminal) = &a.controlling_terminal {
        ioctl(terminal, libc::TIOCSCTTY, 0).map_err(at(What::ControllingTerminal))?;
    }
    Ok(())
}

/// The controlling terminal, whichever it is, is `/dev/tty` (tty(4)).
fn detach_terminal() -> Result<(), Errno> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: a C string that lives for ever.
    let tty = unsafe { raw::syscall!(libc::SYS_openat, libc::AT_FDCWD, c"/dev/tty".as_ptr(), flags) }?;
    syscall(libc::SYS_ioctl, [tty, libc::TIOCNOTTY as c_long, 0])?;
    syscall(libc::SYS_close, [tty, 0, 0]).map(drop)
}

pub(super) fn namespaces(a: &Attributes, unshare: Namespaces) -> Result<(), Failure> {
    if !unshare.is_empty() {
        syscall(libc::SYS_unshare, [unshare.as_raw() as c_long, 0, 0]).map_err(at(What::Unshare))?;
    }
    let has_mounts = a.namespaces.contains(Namespaces::MOUNT) || unshare.contains(Namespaces::MOUNT);
    let propagation = match a.mount_propagation {
        _ if !has_mounts => return Ok(()),
        MountPropagation::Unchanged => return Ok(()),
        MountPropagation::Slave => libc::MS_SLAVE,
        // Or else what is mounted inside shows outside, where the root is shared (mount_namespaces(7)).
        _ => libc::MS_PRIVATE,
    };
    let flags = libc::MS_REC | propagation;
    let none = ptr::null::<c_void>();
    // SAFETY: C strings that live for ever; no type and no data are needed to change the propagation.
    let answer = unsafe { raw::syscall!(libc::SYS_mount, c"none".as_ptr(), c"/".as_ptr(), none, flags, none) };
    answer.map_err(at(What::Propagation)).map(drop)
}

pub(super) fn scheduling(a: &Attributes, prepared: &Prepared) -> Result<(), Failure> {
    if let Some(score) = &prepared.oom_score {
        write_file(libc::AT_FDCWD, c"/proc/self/oom_score_adj", score.as_bytes()).map_err(at(What::OomScore))?;
    }
    if let Some(policy) = a.scheduling {
        schedule(policy).map_err(at(What::Scheduling))?;
    }
    // After the policy, which carries a nice value of its own.
    if let Some(nice) = a.nice {
        syscall(libc::SYS_setpriority, [libc::PRIO_PROCESS as c_long, 0, nice.into()]).map_err(at(What::Nice))?;
    }
    if !prepared.affinity.is_empty() {
        let (size, mask) = (prepared.affinity.len(), prepared.affinity.as_ptr());
        // SAFETY: as many bytes as is said.
        let answer = unsafe { raw::syscall!(libc::SYS_sched_setaffinity, 0, size, mask) };
        answer.map_err(at(What::Affinity))?;
    }
    if let Some(personality) = a.personality {
        syscall(libc::SYS_personality, [personality as c_long, 0, 0]).map_err(at(What::Personality))?;
    }
    Ok(())
}

fn schedule(scheduling: Scheduling) -> Result<(), Errno> {
    let (policy, priority) = match scheduling {
        Scheduling::Batch => (libc::SCHED_BATCH, 0),
        Scheduling::Idle => (libc::SCHED_IDLE, 0),
        Scheduling::Fifo(priority) => (libc::SCHED_FIFO, priority.into()),
        Scheduling::RoundRobin(priority) => (libc::SCHED_RR, priority.into()),
        Scheduling::Deadline { runtime, deadline, period } => {
            let attr = SchedAttr {
                size: size_of::<SchedAttr>() as u32,
                policy: libc::SCHED_DEADLINE as u32,
                runtime: runtime.as_nanos() as u64,
                deadline: deadline.as_nanos() as u64,
                period: period.as_nanos() as u64,
                ..SchedAttr::default()
            };
            // SAFETY: an attribute of the size that it says.
            return unsafe { raw::syscall!(libc::SYS_sched_setattr, 0, &raw const attr, 0) }.map(drop);
        }
        _ => (libc::SCHED_OTHER, 0),
    };
    let priority: c_int = priority;
    // SAFETY: `struct sched_param` is this one int.
    unsafe { raw::syscall!(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) }.map(drop)
}

/// Raises hard limits while the caller's privileges are there; the soft ones wait for [`limits`].
pub(super) fn raise_limits(a: &Attributes, unshare: Namespaces) -> Result<(), Failure> {
    if a.uid.is_none() && unshare.is_empty() {
        // They are still there at the end.
        return Ok(());
    }
    for (index, (resource, limit)) in a.limits.iter().enumerate() {
        let failed = |errno| (What::Limit.number(index), errno);
        if limit.hard == 0 {
            continue;
        }
        let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        prlimit(resource.as_raw(), None, Some(&mut now)).map_err(failed)?;
        if limit.hard > now.rlim_max {
            now.rlim_max = limit.hard;
            prlimit(resource.as_raw(), Some(&now), None).map_err(failed)?;
        }
    }
    Ok(())
}

pub(super) fn limits(a: &Attributes) -> Result<(), Failure> {
    for (index, (resource, limit)) in a.limits.iter().enumerate() {
        let limit = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
        prlimit(resource.as_raw(), Some(&limit), None).map_err(|errno| (What::Limit.number(index), errno))?;
    }
    Ok(())
}

fn prlimit(resource: u32, new: Option<&libc::rlimit64>, old: Option<&mut libc::rlimit64>) -> Result<(), Errno> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    let old = old.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: each is null or a limit that lives through the call.
    unsafe { raw::syscall!(libc::SYS_prlimit64, 0, resource, new, old) }.map(drop)
}

pub(super) fn root(prepared: &Prepared) -> Result<(), Failure> {
    let Some(dir) = &prepared.chroot else { return Ok(()) };
    path(libc::SYS_chroot, dir).map_err(at(What::Chroot))?;
    // Or else we are still outside, and a relative directory would stay there (chroot(2)).
    path(libc::SYS_chdir, c"/").map_err(at(What::Chroot))
}

pub(super) fn directory(a: &Attributes, prepared: &Prepared) -> Result<(), Failure> {
    if let Some(dir) = &a.current_dir_fd {
        syscall(libc::SYS_fchdir, [dir.as_raw_fd().into(), 0, 0]).map_err(at(What::Fchdir))?;
    }
    if let Some(dir) = &prepared.current_dir {
        path(libc::SYS_chdir, dir).map_err(at(What::Chdir))?;
    }
    if let Some(mask) = a.umask {
        // Cannot fail (umask(2)).
        _ = syscall(libc::SYS_umask, [mask as c_long, 0, 0]);
    }
    Ok(())
}

/// A call on a path.
fn path(call: c_long, path: &CStr) -> Result<(), Errno> {
    // SAFETY: a C string that the parent keeps.
    unsafe { raw::syscall!(call, path.as_ptr()) }.map(drop)
}

fn ioctl(fd: &Arc<OwnedFd>, request: libc::Ioctl, argument: c_long) -> Result<c_long, Errno> {
    syscall(libc::SYS_ioctl, [fd.as_raw_fd().into(), request as c_long, argument])
}

/// Writes a file in one go.
fn write_file(dir: c_int, path: &CStr, text: &[u8]) -> Result<(), Errno> {
    // SAFETY: a C string that lives for ever.
    let fd = unsafe { raw::syscall!(libc::SYS_openat, dir, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) }?;
    // SAFETY: as many bytes as is said.
    let written = unsafe { raw::syscall!(libc::SYS_write, fd, text.as_ptr(), text.len()) };
    syscall(libc::SYS_close, [fd, 0, 0])?;
    written.map(drop)
}
