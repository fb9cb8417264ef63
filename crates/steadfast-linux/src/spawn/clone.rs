//! The doors: three ways to make the child.

use super::child::{self, Order};
use crate::arch;
use crate::raw::{self, CloneArgs};
use crate::stack::Stack;
use crate::wait::{reap_whoever_wins, wait4_now};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use steadfast_core::{Errno, Pid};

/// How a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// `clone3`, our memory shared, handlers reset by the kernel.
    Clone3,
    /// `clone`, our memory shared.
    Clone,
    /// `clone`, our memory copied.
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

/// Makes the child and, with shared memory, waits until it has executed or exited. Its PID, and the number of its pidfd.
///
/// # Safety
/// What `order` borrows outlives this call; nobody else uses `stack`.
pub(super) unsafe fn make(door: Door, want: WantPidfd, stack: &Stack, order: &mut Order<'_>) -> Result<(i32, c_int), Errno> {
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
    let mut pidfd: c_int = -1;
    let mut flags = libc::SIGCHLD | order.attributes.namespaces.as_raw() as c_int;
    if door == Door::Clone {
        flags |= libc::CLONE_VM | libc::CLONE_VFORK;
    }
    if want == WantPidfd::Yes {
        flags |= libc::CLONE_PIDFD;
    }
    let order = std::ptr::from_mut(order).cast::<c_void>();
    // SAFETY: the stack is ours alone and large enough; CLONE_VM comes with CLONE_VFORK, and without both the child has a copy;
    // `child::run` keeps to what is allowed after a vfork; `pidfd` outlives the call.
    let pid = unsafe { raw::clone(flags, stack.top(), child::run, order, &raw mut pidfd) }?;
    Ok((pid, pidfd))
}

/// # Safety
/// As [`make`].
unsafe fn make3(want: WantPidfd, stack: &Stack, order: &mut Order<'_>, cgroup: Option<c_int>) -> Result<(i32, c_int), Errno> {
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
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.bottom().addr() as u64,
        stack_size: stack.size() as u64,
        cgroup: cgroup.map_or(0, |fd| fd as u64),
        ..CloneArgs::default()
    };
    let order = std::ptr::from_mut(order).cast::<c_void>();
    // SAFETY: the stack is ours alone and large enough; CLONE_VM comes with CLONE_VFORK; `child::run3` keeps to what is allowed
    // after a vfork; `pidfd` outlives the call.
    match unsafe { arch::clone3(&args, child::run3, order) } {
        error if error < 0 => Err(Errno::from_raw(-error as i32)),
        pid => Ok((pid as i32, pidfd)),
    }
}

/// Makes the number that `CLONE_PIDFD` left an owned descriptor.
pub(super) fn take_pidfd(pid: i32, number: c_int, want: WantPidfd) -> Result<Option<OwnedFd>, Errno> {
    if want == WantPidfd::No {
        return Ok(None);
    }
    if number < 0 {
        // The flag was accepted and ignored (an early gVisor). The probe should have seen that; do not lose the child. But
        // make sure that it is one, and no number that a SIGSYS handler left.
        if let Ok(Ok(None)) = Pid::new(pid).map(wait4_now) {
            // SAFETY: no pointer. The child was there a moment ago, and only we reap it.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            reap_whoever_wins(pid);
        }
        return Err(Errno::INVAL);
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else has been told of it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}
