//! The spawn engine: from a checked [`Plan`] to a running program.
//!
//! The child shares our memory (`CLONE_VM`) on a stack of its own, and we are suspended until it has executed the program or
//! given up (`CLONE_VFORK`): no page table is copied, whatever the size of this process, and an error comes back through
//! memory. Three doors lead there:
//!
//! * [`Door::Clone3`]: `clone3` with `CLONE_CLEAR_SIGHAND` (Linux 5.5), which resets all handlers in the kernel.
//! * [`Door::Clone`]: `clone`, and a loop over the handlers: where `clone3` is filtered or missing.
//! * [`Door::Fork`]: a copy of our memory, and a pipe for the error: for kernels that take the flags and do not share
//!   (QEMU's user mode and valgrind turn `vfork` into `fork`: the child's report would never be seen, and a missing program
//!   would look like one that ran and exited with 127); and for what cannot be had in shared memory: the caller's own code
//!   (`pre_exec`, whose child is made by the C library's fork(3)), a user namespace that is entered or whose ID maps somebody outside has to
//!   write, and, before Linux 5.16, a child whose core dump would end us too.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`spawn`], [`exec`] |
//! | `clone.rs` | the doors |
//! | `image.rs`, `environ.rs`, `prepare.rs`, `stdio.rs`, `descriptors.rs` | what is laid out before the child is born |
//! | `child.rs` | what the child does, step by step |
//! | `step.rs` | which step failed, in one word and for people |
//! | `maps.rs` | the ID maps of a user namespace |
//! | `dumpable.rs`, `dump.rs` | what a child's change of user, or its core dump, must not do to us |
//! | `hook.rs`, `handover.rs` | `pre_exec`; the pidfd of a child that fork(3) made |

mod child;
mod clone;
mod descriptors;
mod dump;
mod dumpable;
mod environ;
mod handover;
mod hook;
mod image;
mod maps;
mod missing;
mod prepare;
mod stdio;
mod step;

pub use clone::{Door, WantPidfd};
pub use hook::{CommandExt, StdCommandExt};

use crate::pidfd::pidfd_open;
use crate::raw;
use crate::stack::Stack;
use child::{Failure, Order, Parent, Report};
use image::Image;
use prepare::Prepared;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use stdio::Streams;
use steadfast_core::{Attributes, Errno, Error, Namespaces, Pid, Plan, Stage};
use step::Step;

/// A child that runs its program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// Its PID.
    pub pid: Pid,
    /// Its pidfd, close-on-exec, if one was wanted.
    pub pidfd: Option<OwnedFd>,
    /// Our ends of its pipes: stdin, stdout, stderr.
    pub pipes: [Option<OwnedFd>; 3],
    /// The largest resident set that this process had had when the program was executed, in bytes: what the kernel tells of the child's peak
    /// is not below that, see [`MaxRss`](steadfast_core::MaxRss).
    pub spawner_peak: u64,
}

/// Starts the program of `plan`; returns once it runs, or a step before has failed.
///
/// # Errors
/// [`Error::Spawn`] with the stage, the path and the errno. No child, zombie or descriptor is left then.
/// [`Error::InvalidPlan`] for a descriptor that is to be the child's terminal, and is none; for a hook of an unknown type.
pub fn spawn(plan: &Plan, want: WantPidfd, door: Door) -> Result<Child, Error> {
    let a = plan.attributes();
    let failed = |stage, source| Error::Spawn { program: plan.program().to_owned(), stage, source };
    let clone_failed = |errno| failed(Stage::Clone, errno);
    check_terminals(plan)?;
    let door = if can_share_memory(a) { door } else { Door::Fork };
    let streams = Streams::open(plan.stdio()).map_err(|(stage, errno)| failed(stage, errno))?;
    let mut image = Image::new(plan);
    let report = Report::default();
    let channel = if door == Door::Fork { Some(stdio::pipe().map_err(clone_failed)?) } else { None };
    let go = if maps::wanted(a) { Some(stdio::pipe().map_err(clone_failed)?) } else { None };
    // Where pidfds do not work, even to ask for one may be fatal.
    let own_pidfd = match (a.parent_death_signal, want) {
        (Some(_), WantPidfd::Yes) => Pid::new(std::process::id() as i32).ok().and_then(|own| pidfd_open(own).ok()),
        _ => None,
    };
    let channel_number = channel.as_ref().map_or(-1, |(_, ours)| ours.as_raw_fd());
    let prepared = Prepared::new(plan, &mut image, streams.sources(), channel_number);
    let hooks = hook::hold(a).ok_or_else(|| unknown_hook(plan))?;
    // The C library's fork makes no namespaces.
    let by_library = !hooks.is_empty() && a.namespaces.is_empty();
    let stack = if hooks.is_empty() { Stack::take() } else { Stack::large() }.map_err(clone_failed)?;

    let mut order = Order {
        attributes: a,
        plain: a.is_none(),
        prepared: &prepared,
        mask: None,
        reset_handlers: door != Door::Clone3,
        join_cgroup: false,
        parent: match (&own_pidfd, a.parent_death_signal) {
            (_, None) => Parent::Whoever,
            (Some(pidfd), _) => Parent::Pidfd(pidfd.as_raw_fd()),
            (None, _) => Parent::Pid(std::process::id() as i32),
        },
        go: go.as_ref().map(|(theirs, ours)| [theirs.as_raw_fd(), ours.as_raw_fd()]),
        hooks,
        is_born: true,
        report: &report,
    };
    // No handler of ours may run in the child, in our memory and on its stack. `clone3` gives it none. Elsewhere signals wait from
    // here on until the child has reset them. (One that finds the child without a handler does to it what it would do to a program
    // that has none; where the program is not to be as we are in that, they wait too.)
    let differs = !a.dispositions.is_empty() || a.signal_mask.is_some() || a.foreground.is_some();
    // Without a pidfd it could not be told whether a child that such a signal ended at once was ever born.
    if door != Door::Clone3 || differs || want == WantPidfd::No {
        order.mask = Some(raw::set_signal_mask(raw::ALL_BUT_SIGSYS));
    }
    let made = if by_library {
        // SAFETY: the child has a copy of `order` and of all that it borrows.
        unsafe { clone::fork(want, &mut order) }
    } else {
        // SAFETY: `order` and all that it borrows live in this function, past the call; the stack is ours; with shared memory the
        // child has left both by the time it returns.
        unsafe { clone::make(door, want, &stack, &mut order) }
    };
    order.mask.map(raw::set_signal_mask);
    drop(order);
    stack.keep();

    let child = made.map_err(|errno| failed(clone_stage(plan), errno))?;
    let unmapped = go.and_then(|(theirs, ours)| {
        drop(theirs);
        // Closing our end without a word sends the child away.
        maps::write(&child, a, &ours.into()).err()
    });
    let failure = match channel {
        Some((theirs, ours)) => {
            drop(ours);
            read_failure(theirs)
        }
        None => report.failure(),
    };
    if let Some((stage, errno)) =
        unmapped.or_else(|| failure.map(|(step, errno)| (step.failed_stage(plan, &image, errno), errno)))
    {
        child.reap();
        return Err(failed(stage, errno));
    }
    if want == WantPidfd::Yes && child.pidfd.is_none() {
        // It was killed before it could hand it over.
        child.reap();
        return Err(failed(Stage::Pidfd, Errno::SRCH));
    }
    let pid = Pid::new(child.pid).map_err(|_| clone_failed(Errno::RANGE))?;
    Ok(Child { pid, pidfd: child.pidfd, pipes: streams.into_ours(), spawner_peak: crate::wait::own_peak() })
}

/// Whether the child can be in our memory until it executes.
fn can_share_memory(a: &Attributes) -> bool {
    // It may be wished otherwise. The caller's own code may write anywhere; the writer of ID maps must go on while the child waits; and whoever makes a user
    // namespace without privileges would be no longer dumpable by it, and could not write its own maps, for `/proc/self` would be root's.
    !a.copy_memory && a.hooks.is_empty() && !maps::wanted(a) && !a.unshare.contains(Namespaces::USER) && !dump::could_end_us(a)
}

/// Replaces this process by the program of `plan`, in the steps of a child; returns only if one fails, and then those before it
/// have been taken. What belongs to a birth (`namespaces`) is entered by unshare(2).
///
/// # Errors
/// As [`spawn`].
pub fn exec(plan: &Plan) -> Error {
    let failed = |stage, source| Error::Spawn { program: plan.program().to_owned(), stage, source };
    let refused = |why: &str| Error::InvalidPlan { program: plan.program().to_owned(), why: why.into() };
    let mut a = plan.attributes().clone();
    if a.namespaces.contains(Namespaces::PID) {
        return refused("namespaces(Namespaces::PID) and exec: a process keeps its PID for life: spawn it");
    }
    if maps::wanted(&a) {
        return refused("uid_map or gid_map and exec: nobody is left outside to write the maps: spawn it");
    }
    if let Err(error) = check_terminals(plan) {
        return error;
    }
    a.unshare = a.unshare | a.namespaces;
    let streams = match Streams::open(plan.stdio()) {
        Ok(streams) => streams,
        Err((stage, errno)) => return failed(stage, errno),
    };
    let Some(hooks) = hook::hold(&a) else { return unknown_hook(plan) };
    let mut image = Image::new(plan);
    let prepared = Prepared::new(plan, &mut image, streams.sources(), -1);
    let report = Report::default();
    // Handlers are not reset: a program that is executed has none, and if this fails, they are still ours.
    let mut order = Order {
        attributes: &a,
        plain: false,
        prepared: &prepared,
        mask: None,
        reset_handlers: false,
        join_cgroup: a.cgroup.is_some(),
        parent: Parent::Whoever,
        go: None,
        hooks,
        is_born: false,
        report: &report,
    };
    order.mask = Some(raw::set_signal_mask(raw::ALL_BUT_SIGSYS));
    let (step, errno) = child::become_program(&mut order);
    order.mask.map(raw::set_signal_mask);
    drop(order);
    failed(step.failed_stage(plan, &image, errno), errno)
}

/// A terminal must be one. (Asked for here, as core makes no call, and long before the child would find out.)
fn check_terminals(plan: &Plan) -> Result<(), Error> {
    let a = plan.attributes();
    for (name, terminal) in [("controlling_terminal", &a.controlling_terminal), ("foreground", &a.foreground)] {
        let Some(fd) = terminal else { continue };
        // SAFETY: no pointer.
        if unsafe { libc::isatty(fd.as_raw_fd()) } == 0 {
            let why = format!("{name}: descriptor {} is no terminal ({})", fd.as_raw_fd(), raw::errno());
            return Err(Error::InvalidPlan { program: plan.program().to_owned(), why });
        }
    }
    Ok(())
}

fn unknown_hook(plan: &Plan) -> Error {
    let why = "a hook that was not made by CommandExt::pre_exec".into();
    Error::InvalidPlan { program: plan.program().to_owned(), why }
}

/// With namespaces, that is what is most often refused.
fn clone_stage(plan: &Plan) -> Stage {
    let a = plan.attributes();
    match (a.namespaces.is_empty(), &a.cgroup) {
        (true, None) => Stage::Clone,
        (false, None) => Stage::Attribute { call: "clone", value: format!("into new namespaces {}", a.namespaces) },
        (true, Some(_)) => Stage::Attribute { call: "clone", value: "into the cgroup".into() },
        (false, Some(_)) => {
            Stage::Attribute { call: "clone", value: format!("into the cgroup and new namespaces {}", a.namespaces) }
        }
    }
}

/// Waits until the child has executed the program (which closes its end) or has told why not.
fn read_failure(channel: OwnedFd) -> Option<Failure> {
    let mut message = [0; 8];
    let mut channel = std::fs::File::from(channel);
    channel.read_exact(&mut message).ok()?;
    let [s0, s1, s2, s3, e0, e1, e2, e3] = message;
    let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
    Some((Step::from_raw(u32::from_ne_bytes([s0, s1, s2, s3]))?, Errno::from_raw(errno)))
}
