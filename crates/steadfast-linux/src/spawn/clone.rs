//! The doors: three ways to make the child.

use super::child::{self, Order};
use super::handover;
use super::step::What;
use crate::arch;
use crate::raw::{self, CloneArgs};
use crate::stack::Stack;
use crate::wait::{dies_quietly, reap_by, reap_quiet, reap_whoever_wins, wait4_now};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use steadfast_core::{Errno, Pid};

/// How a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// `clone3`, our memory shared, handlers reset by the kernel.
    Clone3,
    /// `clone`, our memory shared.
    Clone,
    /// `clone`, our memory copied; for code of the caller's, by the C library's `fork`.
    Fork,
}

/// Whether the child comes with a pidfd (`CLONE_PIDFD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantPidfd {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// A child that was made, and may not have come far.
pub(super) struct Born {
    pub(super) pid: i32,
    /// If one was wanted, and the child has not failed before it had one.
    pub(super) pidfd: Option<OwnedFd>,
    /// It has no exit signal until it executes a program (execve(2)): a `waitpid(-1)` of other code does not see it, so its number is
    /// its own until we reap it, and no `SIGCHLD` tells of a child that nobody has heard of.
    is_quiet: bool,
}

impl Born {
    /// Reaps a child that has failed, and has exited or is about to. Whether somebody else was quicker is all the same.
    pub(super) fn reap(&self) {
        match &self.pidfd {
            Some(pidfd) => _ = reap_by(pidfd.as_fd()),
            None if self.is_quiet => reap_quiet(self.pid),
            None => reap_whoever_wins(self.pid),
        }
    }
}

/// Makes the child and, with shared memory, waits until it has executed or exited.
///
/// # Errors
/// What the call says; `ENOSYS` if a filter's handler has answered for it, and nobody was born.
///
/// # Safety
/// What `order` borrows outlives this call; nobody else uses `stack`. The child of [`Door::Fork`] has a copy of all that.
pub(super) unsafe fn make(door: Door, want: WantPidfd, stack: &Stack, order: &mut Order<'_>) -> Result<Born, Errno> {
    let cgroup = order.attributes.cgroup.clone();
    if let (Door::Clone3, Some(cgroup)) = (door, &cgroup) {
        // SAFETY: as the caller promises.
        match unsafe { make3(want, stack, order, Some(cgroup.as_raw_fd())) } {
            // Before Linux 5.7, or not a cgroup of version 2: it can still be joined.
            Err(Errno::INVAL | Errno::TOOBIG | Errno::BADF | Errno::OPNOTSUPP) => {}
            answer => return answer,
        }
    }
    order.join_cgroup = cgroup.is_some();
    if door == Door::Clone3 {
        // SAFETY: as the caller promises.
        return unsafe { make3(want, stack, order, None) };
    }
    let mut flags = order.attributes.namespaces.as_raw() as c_int;
    if door == Door::Clone {
        flags |= libc::CLONE_VM | libc::CLONE_VFORK;
    }
    if want == WantPidfd::Yes {
        flags |= libc::CLONE_PIDFD;
    }
    let mut pidfd: c_int = -1;
    let mut clone = |exit_signal| {
        let order = ptr::from_mut(&mut *order).cast::<c_void>();
        // SAFETY: the stack is ours alone and large enough; CLONE_VM comes with CLONE_VFORK, and without both the child has a copy;
        // `child::run` keeps to what is allowed after a vfork; `pidfd` outlives the call.
        unsafe { raw::clone(flags | exit_signal, stack.top(), child::run, order, &raw mut pidfd) }
    };
    // QEMU's user mode takes no child without an exit signal.
    let (pid, is_quiet) = match clone(0) {
        Err(Errno::INVAL) => (clone(libc::SIGCHLD)?, false),
        pid => (pid?, true),
    };
    born(door, want, order, Born { pid, pidfd: None, is_quiet }, pidfd)
}

/// # Safety
/// As [`make`].
unsafe fn make3(want: WantPidfd, stack: &Stack, order: &mut Order<'_>, cgroup: Option<c_int>) -> Result<Born, Errno> {
    let mut pidfd: c_int = -1;
    let mut flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64 | raw::CLONE_CLEAR_SIGHAND;
    flags |= u64::from(order.attributes.namespaces.as_raw());
    if want == WantPidfd::Yes {
        flags |= libc::CLONE_PIDFD as u64;
    }
    if cgroup.is_some() {
        flags |= raw::CLONE_INTO_CGROUP;
    }
    let args = CloneArgs {
        flags,
        // Exposed: the kernel writes there.
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        stack: stack.bottom().expose_provenance() as u64,
        stack_size: stack.size() as u64,
        cgroup: cgroup.map_or(0, |fd| fd as u64),
        ..CloneArgs::default()
    };
    let for_child = ptr::from_mut(&mut *order).cast::<c_void>();
    // SAFETY: the stack is ours alone and large enough; CLONE_VM comes with CLONE_VFORK; `child::run3` keeps to what is allowed
    // after a vfork; `pidfd` outlives the call.
    match unsafe { arch::clone3(&args, child::run3, for_child) } {
        error if error < 0 => Err(Errno::from_raw(-error as i32)),
        pid => born(Door::Clone3, want, order, Born { pid: pid as i32, pidfd: None, is_quiet: true }, pidfd),
    }
}

/// With the number that `CLONE_PIDFD` left, as a descriptor.
fn born(door: Door, want: WantPidfd, order: &Order<'_>, child: Born, pidfd: c_int) -> Result<Born, Errno> {
    // It may have been killed before its first instruction: by who kills all there are, or for want of memory.
    let is_born = || child.is_quiet && dies_quietly(child.pid);
    if door != Door::Fork && !order.report.child_ran() && pidfd < 0 && !is_born() {
        // A SIGSYS handler that merely returns makes a filtered clone "return" its own number.
        return Err(Errno::NOSYS);
    }
    if want == WantPidfd::No {
        return Ok(child);
    }
    if pidfd < 0 {
        // The flag was accepted and ignored (an early gVisor). The probe should have seen that; do not lose the child. But
        // make sure that it is one, and no number that a SIGSYS handler left.
        if let Ok(Ok(None)) = Pid::new(child.pid).map(wait4_now) {
            // SAFETY: no pointer. The child was there a moment ago, and only we reap it.
            unsafe { libc::kill(child.pid, libc::SIGKILL) };
            child.reap();
        }
        return Err(Errno::INVAL);
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else has been told of it.
    Ok(Born { pidfd: Some(unsafe { OwnedFd::from_raw_fd(pidfd) }), ..child })
}

/// Makes a child by the C library's fork(3), for code of the caller's: the allocator is in order there, handlers of pthread_atfork(3)
/// run, and setuid(3) knows that there is one thread. Its pidfd it opens itself, so that it is nobody else's, and hands it to us.
///
/// # Errors
/// What the call says; `EMFILE` if there is no room for the pidfd.
///
/// # Safety
/// `order` is for a child with a copy of our memory.
pub(super) unsafe fn fork(want: WantPidfd, order: &mut Order<'_>) -> Result<Born, Errno> {
    let line = (want == WantPidfd::Yes).then(handover::line).transpose()?;
    order.join_cgroup = order.attributes.cgroup.is_some();
    // SAFETY: the child goes on below, and never leaves this function.
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        return Err(raw::errno());
    }
    if pid == 0 {
        if let Some((_, theirs)) = &line {
            if let Err(errno) = handover::send_own_pidfd(theirs) {
                child::send(order.prepared.descriptors.channel.number(), What::Pidfd.into(), errno);
                raw::exit_now(127);
            }
        }
        child::run(ptr::from_mut(order).cast());
        raw::exit_now(127);
    }
    let mut child = Born { pid, pidfd: None, is_quiet: false };
    if let Some((ours, theirs)) = line {
        drop(theirs);
        match handover::receive(&ours) {
            Ok(pidfd) => child.pidfd = pidfd,
            Err(errno) => {
                // Closed, it sends the child away.
                drop(ours);
                child.reap();
                return Err(errno);
            }
        }
    }
    Ok(child)
}
