//! The doors: three ways to make the child.

use super::child;
use super::flight::{Flight, Seen};
use super::handover;
use super::step::What;
use crate::arch::{self, CloneArgs};
use crate::clock::SystemClock;
use crate::raw;
use crate::stat::behind_name;
use crate::wait::{
    Blocking, Reaping, Target, is_quiet_child, is_readable, is_reaped, reap_by, wait4, wait4_all, wait4_quiet, waitid,
};
use std::ffi::{c_int, c_void};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Errno, Pauses, Pid, Signal};

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
    /// Kills a child that has failed, and is not reaped by us. If other code may reap it, and there is no pidfd, it is looked at first.
    pub(super) fn kill(&self) {
        // If that fails, it has ended.
        match &self.pidfd {
            Some(pidfd) => _ = crate::pidfd::pidfd_send_signal(pidfd.as_fd(), Signal::KILL),
            None if !self.is_quiet && self.in_proc() != Some(Seen::Nothing) => {}
            // SAFETY: no pointer.
            None => _ = unsafe { libc::kill(self.pid, libc::SIGKILL) },
        }
    }

    /// Reaps a child that has failed, and has exited or is about to; whether it is done, by whomever, and not refused.
    pub(super) fn reap(&self) -> bool {
        is_reaped(&match &self.pidfd {
            Some(pidfd) => reap_by(pidfd.as_fd()),
            None if self.is_quiet => wait4_quiet(self.pid),
            None => wait4_all(self.pid),
        })
    }

    /// As [`reap`](Self::reap), but for no longer than until the deadline; whether it is done.
    pub(super) fn reap_until(&self, deadline: Instant) -> bool {
        let mut pauses = Pauses::new(Duration::from_micros(50), Duration::from_millis(10));
        loop {
            let answer = match &self.pidfd {
                Some(pidfd) => waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Now, Reaping::Reap),
                None if self.is_quiet => wait4(self.pid, libc::WNOHANG | libc::__WCLONE),
                None => wait4(self.pid, libc::WNOHANG | libc::__WALL),
            };
            if is_reaped(&answer) || SystemClock.now() >= deadline {
                return is_reaped(&answer);
            }
            pauses.sleep(&SystemClock, Some(deadline));
        }
    }

    /// How far it has come, by a look that takes nothing. Its end without a pidfd by `/proc`: waitid(2) may be what is fatal here.
    pub(super) fn seen(&self) -> Seen {
        match &self.pidfd {
            Some(pidfd) if is_readable(pidfd.as_fd()) => Seen::Ended,
            // Of an end the pidfd tells, in a moment.
            Some(_) => self.in_proc().filter(|seen| *seen == Seen::Executed).unwrap_or(Seen::Nothing),
            None => self.in_proc().unwrap_or(Seen::Unknown),
        }
    }

    /// As `/proc` has it; `None` if it does not show our child: it may be another PID namespace's, where the number is another process's.
    fn in_proc(&self) -> Option<Seen> {
        // Not among the flags that Linux documents, but as old as they are, and clear from its exec on (`PF_FORKNOEXEC`, acct(5)'s `AFORK`).
        const HAS_NOT_EXECUTED: u32 = 0x40;
        let own = std::process::id().to_string();
        if fs::read_link("/proc/self").ok()?.as_os_str() != own.as_str() {
            return None;
        }
        let stat = fs::read(format!("/proc/{}/stat", self.pid)).ok()?;
        // The state stands behind the name, and then the parent; five further on the flags (proc_pid_stat(5)).
        let mut fields = behind_name(&stat)?;
        let (state, parent, flags) = (fields.next()?, fields.next()?, fields.nth(4)?.parse::<u32>().ok()?);
        if parent != own {
            return None;
        }
        Some(match (state, flags) {
            ("Z" | "X", _) => Seen::Ended,
            // A kernel that does not say (gVisor).
            (_, 0) => Seen::Nothing,
            _ if flags & HAS_NOT_EXECUTED == 0 => Seen::Executed,
            _ => Seen::Nothing,
        })
    }

    /// The same child, for a look by another thread.
    pub(super) fn watched(&self) -> Result<Born, Errno> {
        let pidfd = self.pidfd.as_ref().map(OwnedFd::try_clone).transpose();
        let pidfd = pidfd.map_err(|error| Errno::of(&error).unwrap_or(Errno::MFILE))?;
        Ok(Born { pid: self.pid, pidfd, is_quiet: self.is_quiet })
    }

    /// Whether it is sure that this child, which has not told of a failure, has executed its program: it runs, or a program has exited.
    pub(super) fn has_executed(&self) -> bool {
        let Some(pidfd) = &self.pidfd else { return self.in_proc().is_some_and(|seen| seen != Seen::Ended) };
        let seen = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Now, Reaping::Leave);
        // Who was killed may have been on its way.
        seen.is_ok_and(|exit| exit.is_none_or(|exit| exit.status.code().is_some()))
    }
}

/// Makes the child, with these flags besides. With [`Pace::Suspended`] it has executed or exited by the time this returns; otherwise it goes on, and so do we.
///
/// # Errors
/// What the call says; `ENOSYS` if a filter's handler has answered for it, and nobody was born.
///
/// # Safety
/// The flight stays where it is until the child has left our memory. The child of [`Door::Fork`] has a copy.
pub(super) unsafe fn make(door: Door, want: WantPidfd, pace: Pace, extra: c_int, flight: &mut Flight) -> Result<Born, Errno> {
    let cgroup = flight.order.plan.attributes().cgroup.clone();
    if let (Door::Clone3, Some(cgroup)) = (door, &cgroup) {
        // SAFETY: as the caller promises.
        match unsafe { make3(want, pace, extra, flight, Some(cgroup.as_raw_fd())) } {
            // Before Linux 5.7, or not a cgroup of version 2: it can still be joined.
            Err(Errno::INVAL | Errno::TOOBIG | Errno::BADF | Errno::OPNOTSUPP) => {}
            answer => return answer,
        }
    }
    flight.order.join_cgroup = cgroup.is_some();
    if door == Door::Clone3 {
        // SAFETY: as the caller promises.
        return unsafe { make3(want, pace, extra, flight, None) };
    }
    let mut flags = flight.order.plan.attributes().namespaces.as_raw() as c_int | extra;
    if door == Door::Clone {
        flags |= pace.flags();
    }
    let mut pidfd: c_int = -1;
    // One place for both answers: `CLONE_PIDFD` does not go with `CLONE_PARENT_SETTID` here.
    let (extra_flag, extra) = match want {
        WantPidfd::Yes => (libc::CLONE_PIDFD, &raw mut pidfd),
        WantPidfd::No => (libc::CLONE_PARENT_SETTID, flight.born().as_ptr().cast()),
    };
    let (top, word) = (flight.stack().top(), flight.word());
    let flight = ptr::from_mut(flight);
    let clone = |exit_signal| {
        // SAFETY: the stack is the flight's alone and large enough; with our memory shared, the flight outlives the child's use of it, and
        // otherwise the child has a copy; `child::run` keeps to what is allowed after a vfork; `pidfd` outlives the call.
        unsafe { raw::clone(flags | extra_flag | exit_signal, top, child::run, order_of(flight), extra, word) }
    };
    // QEMU's user mode takes no child without an exit signal.
    let (pid, is_quiet) = match clone(0) {
        Err(Errno::INVAL) => (clone(libc::SIGCHLD)?, false),
        pid => (pid?, true),
    };
    // SAFETY: it lives on, and the child goes on with it, so it is shared from here on.
    born(door, want, unsafe { &*flight }, Born { pid, pidfd: None, is_quiet }, pidfd)
}

/// What becomes of us while the child is in our memory.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// We go on, and the kernel clears a word when it leaves.
    Running,
    Suspended,
}

impl Pace {
    fn flags(self) -> c_int {
        libc::CLONE_VM
            | match self {
                Pace::Running => libc::CLONE_CHILD_CLEARTID,
                Pace::Suspended => libc::CLONE_VFORK,
            }
    }
}

fn order_of(flight: *mut Flight) -> *mut c_void {
    // SAFETY: a flight, which `make` was given; no reference is made.
    unsafe { &raw mut (*flight).order }.cast()
}

/// # Safety
/// As [`make`].
unsafe fn make3(want: WantPidfd, pace: Pace, extra: c_int, flight: &mut Flight, cgroup: Option<c_int>) -> Result<Born, Errno> {
    let mut pidfd: c_int = -1;
    let mut flags = (pace.flags() | extra | libc::CLONE_PARENT_SETTID) as u64 | raw::CLONE_CLEAR_SIGHAND;
    flags |= u64::from(flight.order.plan.attributes().namespaces.as_raw());
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
        child_tid: flight.word().expose_provenance() as u64,
        parent_tid: flight.born().as_ptr().expose_provenance() as u64,
        stack: flight.stack().bottom().expose_provenance() as u64,
        stack_size: flight.stack().size() as u64,
        cgroup: cgroup.map_or(0, |fd| fd as u64),
        ..CloneArgs::default()
    };
    let flight = ptr::from_mut(flight);
    // SAFETY: the stack is the flight's alone and large enough; the flight outlives the child's use of it; `child::run3` keeps to what is
    // allowed after a vfork; `pidfd` outlives the call.
    match unsafe { arch::clone3(&args, child::run3, order_of(flight)) } {
        error if error < 0 => Err(Errno::from_raw(-error as i32)),
        // SAFETY: as in `make`.
        pid => born(Door::Clone3, want, unsafe { &*flight }, Born { pid: pid as i32, pidfd: None, is_quiet: true }, pidfd),
    }
}

/// With the number that `CLONE_PIDFD` left, as a descriptor.
fn born(door: Door, want: WantPidfd, flight: &Flight, child: Born, pidfd: c_int) -> Result<Born, Errno> {
    // The kernel has said so before the child could run; or a descriptor has come with it; or it has told so itself. It may have been killed
    // before its first instruction, by who kills all there are, or for want of memory, and be a zombie that nobody else sees.
    let is_born = flight.born().load(Ordering::Acquire) != 0
        || pidfd >= 0
        || flight.order.report.child_ran()
        || (child.is_quiet && is_quiet_child(child.pid));
    if door != Door::Fork && !is_born {
        // A SIGSYS handler that merely returns makes a filtered clone "return" its own number.
        return Err(Errno::NOSYS);
    }
    if want == WantPidfd::No {
        return Ok(child);
    }
    if pidfd < 0 {
        // The flag was accepted and ignored (an early gVisor). The probe should have seen that; do not lose the child. But
        // make sure that it is one, and no number that a SIGSYS handler left.
        if let Ok(Ok(None)) = Pid::new(child.pid).map(crate::wait::wait4_now) {
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
/// The flight is for a child with a copy of our memory.
pub(super) unsafe fn fork(want: WantPidfd, flight: &mut Flight) -> Result<Born, Errno> {
    let order = &mut flight.order;
    let line = (want == WantPidfd::Yes).then(handover::line).transpose()?;
    order.join_cgroup = order.plan.attributes().cgroup.is_some();
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
