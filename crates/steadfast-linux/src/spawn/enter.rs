//! A child that is born into a PID namespace which is there already (setns(2)).
//!
//! That is not for the child to do: who enters a PID namespace does so for its children. So it is this thread that enters, for the moment in which the child
//! is made, with its signals blocked, so that no handler forks meanwhile. Where that takes privileges which this process has only in another user
//! namespace, it would have to enter that too, and could not come back: so a child of ours does both, makes the child in our place (`CLONE_PARENT`:
//! it is ours), and ends. It shares our memory and our descriptors, and we are suspended.

use crate::quiet;
use crate::raw;
use crate::stack::Stack;
use crate::wait::wait4_all;
use rustix::fs::{Mode, OFlags};
use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use steadfast_core::{EnterNamespaces, Errno, Signal};

/// Makes a child there: `make` is given what belongs to the flags of its clone(2). By the C library's fork(3) only this thread can.
pub(super) fn within<T>(
    enter: &EnterNamespaces,
    by_library: bool,
    make: impl FnOnce(c_int) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // For whoever has entered another one for this thread's children.
    let path = "/proc/thread-self/ns/pid_for_children";
    let before = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(crate::file::errno)?;
    // Into one that we have made we may, and back into our own perhaps not, which may be another user namespace's: then this thread stays where it is.
    let can_return = if enter.user.is_some() { Err(Errno::PERM) } else { setns(before.as_raw_fd(), libc::CLONE_NEWPID) };
    match can_return {
        Err(errno) if by_library => return Err(errno),
        Err(_) => return beside(enter, || make(libc::CLONE_PARENT)),
        Ok(()) => {}
    }
    setns(enter.pid.as_raw_fd(), libc::CLONE_NEWPID)?;
    let made = make(0);
    // It was allowed a moment ago. For want of memory it may fail, and then nothing else may be done before it succeeds: later children would be in
    // the job.
    while setns(before.as_raw_fd(), libc::CLONE_NEWPID).is_err() {
        std::thread::yield_now();
    }
    made
}

/// Sends a signal to all processes in the PID namespace, but its first.
pub(crate) fn in_namespaces(enter: &EnterNamespaces, signal: Signal) -> Result<(), Errno> {
    let stack = Stack::own()?;
    let order = (signal.as_raw(), AtomicI32::new(0));
    beside(enter, || {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK;
        // SAFETY: the stack is that child's alone; it makes one call and ends, and the one that has made it goes on when it has.
        let pid = unsafe { quiet::child(flags, stack.top(), signal_all, (&raw const order).cast_mut().cast()) }?;
        _ = wait4_all(pid);
        Ok(())
    })?;
    match order.1.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

extern "C" fn signal_all(order: *mut c_void) -> c_int {
    // SAFETY: `in_namespaces` passes its own, and is suspended.
    let (signal, failed) = unsafe { &*order.cast::<(c_int, AtomicI32)>() };
    if let Err(errno) = raw::call(libc::SYS_kill, [-1, (*signal).into(), 0]) {
        failed.store(errno.as_raw(), Ordering::Release);
    }
    raw::exit_now(0)
}

struct Task<F, T> {
    /// Descriptors, which the caller keeps, and their kinds.
    enter: [Option<(c_int, c_int)>; 2],
    run: Option<F>,
    answer: Result<T, Errno>,
}

/// Runs it in a child of ours that has entered them, while we are suspended.
fn beside<T, F: FnOnce() -> Result<T, Errno>>(enter: &EnterNamespaces, run: F) -> Result<T, Errno> {
    let stack = Stack::own()?;
    let user = enter.user.as_ref().map(|user| (user.as_raw_fd(), libc::CLONE_NEWUSER));
    let mut task =
        Task { enter: [user, Some((enter.pid.as_raw_fd(), libc::CLONE_NEWPID))], run: Some(run), answer: Err(Errno::CANCELED) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    // SAFETY: the stack is ours alone, and large enough for what a clone takes; `task` lives until we go on, which is when the child has ended. It does
    // what this thread would do, which does nothing meanwhile: no lock is taken, nothing is allocated, and the errno that it writes is this thread's.
    let made = unsafe { quiet::child(flags, stack.top(), perform::<T, F>, ptr::from_mut(&mut task).cast()) };
    raw::set_signal_mask(mask);
    _ = wait4_all(made?);
    task.answer
}

extern "C" fn perform<T, F: FnOnce() -> Result<T, Errno>>(task: *mut c_void) -> c_int {
    // SAFETY: `beside` passes its own, of these types, and is suspended.
    let task = unsafe { &mut *task.cast::<Task<F, T>>() };
    let entered = task.enter.iter().flatten().try_for_each(|(space, kind)| setns(*space, *kind));
    task.answer = match (entered, task.run.take()) {
        (Ok(()), Some(run)) => run(),
        (entered, _) => Err(entered.err().unwrap_or(Errno::CANCELED)),
    };
    raw::exit_now(0)
}

fn setns(space: c_int, kind: c_int) -> Result<(), Errno> {
    raw::call(libc::SYS_setns, [space.into(), kind.into(), 0]).map(drop)
}
