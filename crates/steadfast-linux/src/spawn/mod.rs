//! The spawn engine: from a checked [`Plan`] to a running program.
//!
//! The child shares our memory (`CLONE_VM`) on a stack of its own until it has executed the program or given up: no page table is copied,
//! whatever the size of this process, and an error comes back through memory. We are not suspended meanwhile (`flight.rs` has the argument): a
//! start can be interrupted, given up ([`Start`]), and overlap with others. Three doors lead there:
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
//! | `mod.rs` | [`start`], [`spawn`], [`exec`] |
//! | `start.rs` | [`Start`]: a child on its way to its program |
//! | `flight.rs` | what it borrows of ours, and how we hear that it has left |
//! | `clone.rs` | the doors |
//! | `image.rs`, `environ.rs`, `prepare.rs`, `stdio.rs`, `descriptors.rs` | what is laid out before the child is born |
//! | `child.rs` | what the child does, step by step |
//! | `tale.rs` | what a child with walls has to tell beside |
//! | `step.rs` | which step failed, in one word and for people |
//! | `maps.rs` | the ID maps of a user namespace |
//! | `dumpable.rs`, `dump.rs`, `oom.rs` | what a child's change of user, its core dump, or its want of memory must not do to us |
//! | `hook.rs`, `handover.rs` | `pre_exec`; the pidfd of a child that fork(3) made |

mod child;
mod clone;
mod descriptors;
mod dump;
mod dumpable;
mod enter;
mod environ;
mod flight;
mod handover;
mod hook;
mod image;
mod maps;
mod missing;
mod oom;
mod parent;
mod prepare;
mod start;
mod stdio;
mod step;
mod tale;

pub use clone::{Door, WantPidfd};
pub(crate) use descriptors::close_from;
pub(crate) use enter::in_namespaces;
pub(crate) use flight::learnt;
pub use flight::{Loan, SpawnWait, spawn_wait};
pub use hook::{CommandExt, StdCommandExt};
pub(crate) use oom::may_run_out;
pub(crate) use prepare::mask as cpu_mask;
pub use start::{Child, GivenUp, Start};

use crate::file::write_at;
use crate::pidfd::pidfd_open;
use crate::raw;
use crate::stack::Stack;
use child::{Order, Parent, Report};
use clone::Pace;
use flight::{Flight, Hold, Way};
use prepare::Prepared;
use std::os::fd::{AsFd, AsRawFd};
use stdio::Streams;
use steadfast_core::{Attributes, Errno, Error, Namespaces, Pid, Plan, Stage};
use tale::Tale;

/// Starts the program of `plan`; returns once it runs, or a step before has failed.
///
/// # Errors
/// As [`start`] and [`Start::wait`].
pub fn spawn(plan: &Plan, want: WantPidfd, door: Door) -> Result<Child, Error> {
    let mut start = start(plan, want, door)?;
    loop {
        if let Some(answer) = start.wait(None) {
            return answer;
        }
    }
}

/// Makes the child, and returns; [`Start::wait`] says whether it has come to its program.
///
/// # Errors
/// [`Error::Spawn`] with the stage, the path and the errno, of the steps before the child is born; the others are told by [`Start::wait`]. No
/// child, zombie or descriptor is left then. [`Error::InvalidPlan`] for a descriptor that is to be the child's terminal, and is none; for a hook of
/// an unknown type.
pub fn start(plan: &Plan, want: WantPidfd, door: Door) -> Result<Start, Error> {
    if plan.attributes().dies_with_us { parent::start(plan, want, door) } else { start_here(plan, want, door, None) }
}

/// With this thread for its parent. The signal mask is the one that it begins with, in place of this thread's.
fn start_here(plan: &Plan, want: WantPidfd, door: Door, mask: Option<raw::SignalSet>) -> Result<Start, Error> {
    let a = plan.attributes();
    let failed = |stage, source| Error::Spawn { program: plan.program().to_owned(), stage, source };
    let clone_failed = |errno| failed(Stage::Clone, errno);
    check_terminals(plan)?;
    // Of a job it is known since it was made.
    let cgroup = a.cgroup.as_ref().filter(|_| plan.job().is_none());
    let may_run_out = cgroup.is_some_and(|cgroup| oom::may_run_out(cgroup.as_fd()));
    let door = if can_share_memory(a) && !may_run_out { door } else { Door::Fork };
    let shares = door != Door::Fork;
    let known = spawn_wait();
    let streams = Streams::open(plan.stdio()).map_err(|(stage, errno)| failed(stage, errno))?;
    // With a copy of our memory there is no other way; elsewhere it is the one that is always true.
    let channel = match known {
        SpawnWait::Word | SpawnWait::Suspended if shares => None,
        _ => match stdio::pipe() {
            // To be suspended takes no descriptors.
            Err(Errno::MFILE | Errno::NFILE) if shares => None,
            pipe => Some(pipe.map_err(clone_failed)?),
        },
    };
    let go = if maps::wanted(a) { Some(stdio::pipe().map_err(clone_failed)?) } else { None };
    // Where pidfds do not work, even to ask for one may be fatal.
    let own_pidfd = match (a.death_signal(), want) {
        (Some(_), WantPidfd::Yes) => Pid::new(std::process::id() as i32).ok().and_then(|own| pidfd_open(own).ok()),
        _ => None,
    };
    let channel_number = channel.as_ref().map_or(-1, |(_, ours)| ours.as_raw_fd());
    let hooks = hook::hold(a).ok_or_else(|| unknown_hook(plan))?;
    // The C library's fork makes no namespaces.
    let by_library = !hooks.is_empty() && a.namespaces.is_empty();
    let stack = if hooks.is_empty() { Stack::take() } else { Stack::large() }.map_err(clone_failed)?;

    let mut order = Order {
        plan: plan.clone(),
        plain: a.is_none() || a.are_of_a_job_alone(),
        prepared: Prepared::new(plan, streams.sources(), channel_number),
        unshare: a.unshare,
        mask: None,
        reset_handlers: door != Door::Clone3,
        join_cgroup: false,
        parent: match (&own_pidfd, a.death_signal()) {
            (_, None) => Parent::Whoever,
            (Some(pidfd), _) => Parent::Pidfd(pidfd.as_raw_fd()),
            (None, _) => Parent::Pid(std::process::id() as i32),
        },
        go: go.as_ref().map(|(theirs, ours)| [theirs.as_raw_fd(), ours.as_raw_fd()]),
        hooks: hook::erased(&hooks),
        is_born: true,
        report: Report::default(),
        tale: if Tale::is_wanted(a) { Some(Tale::map().map_err(clone_failed)?) } else { None },
    };
    // No handler of ours may run in the child, in our memory and on its stack. `clone3` gives it none. Elsewhere signals wait from
    // here on until the child has reset them: it begins with our mask, and we have it back as soon as it is born. (One that finds the child without
    // a handler does to it what it would do to a program that has none; where the program is not to be as we are in that, they wait too.)
    let differs = !a.dispositions.is_empty() || a.signal_mask.is_some() || a.foreground.is_some();
    // Without a pidfd, a child that such a signal ended at once could not be told from one that was never born.
    // While this thread is in another namespace for its children, no handler may make one.
    let blocks = door != Door::Clone3 || differs || want == WantPidfd::No || a.enter.is_some();
    let before = blocks.then(|| raw::set_signal_mask(raw::ALL_BUT_SIGSYS));
    order.mask = mask.or(before);
    let flight = Flight::new(order, stack);
    let make_with = |pace, extra| {
        // SAFETY: from `Flight::new`, and until it has a child nobody else's.
        let flight = unsafe { &mut *flight.as_ptr() };
        if by_library {
            // SAFETY: the child has a copy of the flight.
            unsafe { clone::fork(want, flight) }
        } else {
            // SAFETY: the flight stays until its `Hold` has seen that the child has left.
            unsafe { clone::make(door, want, pace, extra, flight) }
        }
    };
    let make = |pace| match &a.enter {
        None => make_with(pace, 0),
        // Its first process has ended, and so nobody is born there any more (pid_namespaces(7)).
        Some(enter) => enter::within(enter, by_library, |extra| make_with(pace, extra)).map_err(|errno| match errno {
            Errno::NOMEM => Errno::SRCH,
            errno => errno,
        }),
    };
    let mut pace = match (known, &channel) {
        (SpawnWait::Word, _) | (_, Some(_)) => Pace::Running,
        (_, None) => Pace::Suspended,
    };
    let mut made = make(pace);
    let for_the_pace =
        made.as_ref().err().copied().filter(|errno| shares && pace == Pace::Running && may_be_for_the_pace(*errno));
    if let Some(errno) = for_the_pace {
        let is_a_filters = known == SpawnWait::Unknown && errno != Errno::INVAL;
        pace = Pace::Suspended;
        made = make(pace).inspect(|_| {
            if is_a_filters {
                flight::learnt(SpawnWait::Suspended)
            }
        });
    }
    before.map(raw::set_signal_mask);

    let way = match (&channel, pace) {
        (_, Pace::Suspended) if shares => Way::Left,
        (Some(_), _) => Way::Channel,
        (None, _) => Way::Word,
    };
    let learns = shares && way == Way::Channel && known == SpawnWait::Unknown;
    // The child has its own copy of what is ours of these.
    let channel = channel.filter(|_| way == Way::Channel).map(|(theirs, _ours)| theirs);
    let hold = Hold::new(flight, way, channel, !shares, !shares || made.is_err());
    drop((hooks, own_pidfd));
    let born = made.map_err(|errno| failed(clone_stage(plan), errno))?;
    let unmapped = go.and_then(|(theirs, ours)| {
        drop(theirs);
        // Closing our end without a word sends the child away.
        maps::write(&born, a, &ours.into()).err()
    });
    let pid = Pid::new(born.pid).map_err(|_| clone_failed(Errno::RANGE))?;
    if let (Some(cgroup), true) = (&a.cgroup, plan.job().is_some() && hold.order().join_cgroup) {
        // It joins by itself, among its first steps; but a kill of the job before that would miss it. If this fails, so does its own step.
        _ = write_at(cgroup, "cgroup.procs", pid.to_string().as_bytes());
    }
    Ok(Start::new(pid, hold, born, want, streams.into_ours(), unmapped, learns))
}

/// Children in our memory may be allowed only if we are suspended: by a filter, to which those of posix_spawn(3) and vfork(2) are known; by the
/// kernel, for children who enter another time namespace (`EINVAL`, time_namespaces(7)).
fn may_be_for_the_pace(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCES | Errno::INVAL | Errno::NOSYS)
}

/// Whether the child can be in our memory until it executes.
fn can_share_memory(a: &Attributes) -> bool {
    // It may be wished otherwise. The caller's own code may write anywhere; the writer of ID maps must go on while the child waits; and whoever makes a user
    // namespace without privileges would be no longer dumpable by it, and could not write its own maps, for `/proc/self` would be root's.
    // And a score for the OOM killer is one for all who share a memory, unless its spawner is suspended (`__set_oom_adj` in the kernel).
    let is_wished = !a.copy_memory && a.oom_score_adj.is_none();
    is_wished && a.hooks.is_empty() && !maps::wanted(a) && !a.unshare.contains(Namespaces::USER) && !dump::could_end_us(a)
}

/// Replaces this process by the program of `plan`, in the steps of a child; returns only if one fails, and then those before it
/// have been taken. What belongs to a birth (`namespaces`) is entered by unshare(2).
///
/// # Errors
/// As [`start`].
pub fn exec(plan: &Plan) -> Error {
    let failed = |stage, source| Error::Spawn { program: plan.program().to_owned(), stage, source };
    let refused = |why: &str| Error::InvalidPlan { program: plan.program().to_owned(), why: why.into() };
    let a = plan.attributes();
    if a.namespaces.contains(Namespaces::PID) {
        return refused("namespaces(Namespaces::PID) and exec: a process keeps its PID for life: spawn it");
    }
    if a.dies_with_us {
        return refused("dies_with_us and exec: nobody is left with whom it could die: drop it");
    }
    if a.walls_if_possible {
        return refused("walls_if_possible and exec: nobody is left who could be told which are missing: drop it");
    }
    if maps::wanted(a) {
        return refused("uid_map or gid_map and exec: nobody is left outside to write the maps: spawn it");
    }
    if let Err(error) = check_terminals(plan) {
        return error;
    }
    let streams = match Streams::open(plan.stdio()) {
        Ok(streams) => streams,
        Err((stage, errno)) => return failed(stage, errno),
    };
    let Some(hooks) = hook::hold(a) else { return unknown_hook(plan) };
    // Handlers are not reset: a program that is executed has none, and if this fails, they are still ours.
    let mut order = Order {
        plan: plan.clone(),
        plain: false,
        prepared: Prepared::new(plan, streams.sources(), -1),
        unshare: a.unshare | a.namespaces,
        mask: None,
        reset_handlers: false,
        join_cgroup: a.cgroup.is_some(),
        parent: Parent::Whoever,
        go: None,
        hooks: hook::erased(&hooks),
        is_born: false,
        report: Report::default(),
        tale: None,
    };
    order.mask = Some(raw::set_signal_mask(raw::ALL_BUT_SIGSYS));
    let failure = child::become_program(&order);
    order.mask.map(raw::set_signal_mask);
    order.error(failure)
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
