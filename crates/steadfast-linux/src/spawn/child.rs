//! What the child does between its birth and the program's first instruction.
//!
//! It shares the memory of a parent that goes on, with the thread that made it: their thread pointer is one, and so are errno and all that is
//! thread-local. So: no allocation, no lock, no panic, nothing thread-local, and no function of the C library, but raw system calls. What it
//! uses of the parent's is in its [`Order`], which `flight.rs` keeps. (The caller's own hooks excepted, whose child has a copy.)
//!
//! The steps, in this order, for these reasons:
//!
//! | step | why here |
//! | --- | --- |
//! | wait for the ID maps | until they are there, every ID is the overflow ID |
//! | cgroup | what follows is accounted there; it takes the caller's privileges |
//! | session, process group, terminal | while the caller's descriptors still have their numbers |
//! | unshare | before the root, so that mounts are private before anything is looked up |
//! | OOM score, policy, nice value, affinity, personality; reset-on-fork, I/O priority; hard limits upwards | they take the caller's privileges, and `/proc` |
//! | root directory | takes privileges too |
//! | descriptors of ours that are not needed | before the new user can come by them |
//! | groups, then gid, then uid, then capabilities | each takes privileges that the next one drops |
//! | of those: inheritable, ambient, bounding set, securebits | each is bounded by the next one; the last two take `CAP_SETPCAP` |
//! | parent-death signal | the kernel clears it when the IDs change (prctl(2)) |
//! | directory, umask | inside the root, with the rights of the new user |
//! | descriptors | nothing after this uses a caller's number |
//! | no new privileges | an IDs change is not affected; Landlock, a filter, and a hook that installs one need it |
//! | Landlock | nothing after this opens a file by its path but the program's |
//! | dispositions, then the mask | a pending signal finds no handler of the caller's |
//! | hooks | see the process as the program will |
//! | limits | last, for each step before might break them |
//! | tracing | only the program is to be traced |
//! | filters of system calls | last: whatever they refuse, only the program can be refused it |

mod capabilities;
mod credentials;
mod execute;
mod place;
mod walls;

use super::descriptors;
use super::dumpable::changes_credentials;
use super::hook::Held;
use super::prepare::Prepared;
use super::step::{Step, What};
use super::tale::Tale;
use crate::raw::{self, KernelSigaction, call as syscall};
use std::ffi::{c_int, c_long, c_void};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use steadfast_core::{Attributes, Disposition, Errno, Error, Namespaces, Plan, Signal, Wall};

/// What to do. The parent keeps it, as it is and where it is, until the child has left it.
pub(super) struct Order {
    pub(super) plan: Plan,
    /// There are no attributes.
    pub(super) plain: bool,
    pub(super) prepared: Prepared,
    /// What it leaves by unshare(2).
    pub(super) unshare: Namespaces,
    /// What was blocked before we blocked all; `None`: we did not, and the mask is as it shall be.
    pub(super) mask: Option<raw::SignalSet>,
    pub(super) reset_handlers: bool,
    /// The cgroup is to be joined; otherwise there is none, or the child was born in it.
    pub(super) join_cgroup: bool,
    pub(super) parent: Parent,
    /// A pipe with a byte in it once the ID maps are written, at its end if they cannot be.
    pub(super) go: Option<[c_int; 2]>,
    /// The caller's own code, or null. Only for a child with a copy of our memory, whose parent is in the same function still.
    pub(super) hooks: *const Vec<Held<'static>>,
    /// Whether this is a child, so that what is done to this process is done to nobody else.
    pub(super) is_born: bool,
    pub(super) report: Report,
    /// For what the report cannot carry, of a child with walls.
    pub(super) tale: Option<Tale>,
}

impl Order {
    /// What this failure of the child's is to whoever has asked for it.
    pub(super) fn error(&self, (step, errno): Failure) -> Error {
        step.error(&self.plan, &self.prepared.image, errno)
    }

    /// Each wall that the child goes without.
    pub(super) fn missing_walls(&self) -> Vec<(Wall, Error)> {
        let missing = self.tale.iter().flat_map(Tale::missing);
        missing.filter_map(|(step, errno)| Some((step.lacks()?, self.error((step, errno))))).collect()
    }

    /// What a child with a copy of our memory has told beside its channel.
    pub(super) fn told(&self) -> Option<Failure> {
        self.tale.as_ref()?.failure()
    }

    /// A filter may keep the child from ending by itself.
    pub(super) fn may_not_end(&self) -> bool {
        walls::is_filtered(self.attributes())
    }

    fn attributes(&self) -> &Attributes {
        self.plan.attributes()
    }

    fn hooks(&self) -> &[Held<'static>] {
        // SAFETY: null, or what the parent holds, or in a copy held, while this runs.
        unsafe { self.hooks.as_ref() }.map_or(&[], Vec::as_slice)
    }
}

/// Who our parent was, to notice that it has died before `PR_SET_PDEATHSIG`.
#[derive(Clone, Copy)]
pub(super) enum Parent {
    /// Its pidfd.
    Pidfd(c_int),
    /// Its PID in our PID namespace.
    Pid(i32),
    /// Nobody wants to know.
    Whoever,
}

pub(super) type Failure = (Step, Errno);

/// Written by the child, read by the parent once the child has left. Atomic because they are two processes.
#[derive(Default)]
pub(super) struct Report {
    ran: AtomicU32,
    step: AtomicU32,
    errno: AtomicI32,
}

impl Report {
    /// It has come to life; it may be in any step by now, or beyond.
    pub(super) fn child_ran(&self) -> bool {
        self.ran.load(Ordering::Acquire) != 0
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        let step = Step::from_raw(self.step.load(Ordering::Acquire))?;
        Some((step, Errno::from_raw(self.errno.load(Ordering::Acquire))))
    }
}

/// The child's first function, as `clone3` in assembly calls it.
pub(super) unsafe extern "C" fn run3(order: *mut c_void) -> ! {
    run(order);
    raw::exit_now(127)
}

/// The child's first function, as the C library's `clone` calls it.
pub(super) extern "C" fn run(order: *mut c_void) -> c_int {
    // SAFETY: `start` passes its `Order`, and keeps it until we have executed or exited; what either side changes of it meanwhile is atomic.
    let order = unsafe { &*order.cast::<Order>() };
    order.report.ran.store(1, Ordering::Release);
    let (step, errno) = become_program(order);
    order.report.errno.store(errno.as_raw(), Ordering::Release);
    order.report.step.store(step.as_raw(), Ordering::Release);
    if let Some(tale) = &order.tale {
        tale.fail((step, errno));
    }
    send(order.prepared.descriptors.channel.number(), step, errno);
    if changes_credentials(order.attributes()) {
        descriptors::Descriptors::close_all();
    }
    raw::exit_now(127)
}

/// Takes all steps. Comes back only if one fails.
///
/// Not inlined: the frames below it are left before a child that has failed ends, so that a sanitizer, which keeps book of the stack's
/// variables in memory that the child shares, finds none of them when the next child has this stack.
#[inline(never)]
pub(super) fn become_program(order: &Order) -> Failure {
    match prepare(order) {
        // SAFETY: the lists of the image are null-terminated, as `Image` made them, and live in our parent.
        Ok(()) => unsafe { execute::execute(&order.prepared) },
        Err(failure) => failure,
    }
}

fn prepare(order: &Order) -> Result<(), Failure> {
    let a = order.attributes();
    let hooks = order.hooks();
    if order.plain {
        if order.join_cgroup {
            place::join_cgroup(a)?;
        }
        place::join_tasks(a)?;
        // The usual case, in as little code as possible: none of it is in a cache by now.
        place::directory(a, &order.prepared)?;
        order.prepared.descriptors.arrange().map_err(descriptors::step)?;
        return signals(order);
    }
    await_maps(order)?;
    if order.join_cgroup {
        place::join_cgroup(a)?;
    }
    place::join_tasks(a)?;
    place::session(a)?;
    place::namespaces(a, order.unshare)?;
    place::scheduling(a, &order.prepared)?;
    walls::priorities(order)?;
    place::raise_limits(a, order.unshare)?;
    place::root(&order.prepared)?;
    let guard = if order.is_born { capabilities::guard(a) } else { None };
    if order.is_born && changes_credentials(a) && (guard.is_none() || !hooks.is_empty()) {
        let parent = if let Parent::Pidfd(fd) = order.parent { fd } else { -1 };
        let directory = a.current_dir_fd.as_ref().map_or(-1, |dir| dir.as_raw_fd());
        order.prepared.descriptors.close_ours(&[parent, directory]);
    }
    credentials::change(a, guard)?;
    parent_death_signal(order)?;
    place::directory(a, &order.prepared)?;
    order.prepared.descriptors.arrange().map_err(descriptors::step)?;
    order.prepared.descriptors.close_others();
    if a.no_new_privileges {
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(at(What::NoNewPrivileges))?;
    }
    walls::landlock(order)?;
    signals(order)?;
    if order.is_born && !hooks.is_empty() {
        if guard.is_some() {
            capabilities::unguard(a)?;
        }
        super::hook::abort_on_panic();
    }
    for hook in hooks {
        hook.run().map_err(|error| (What::PreExec.into(), Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL))))?;
    }
    place::limits(a)?;
    if a.trace_me {
        syscall(libc::SYS_ptrace, [libc::PTRACE_TRACEME as c_long, 0, 0]).map_err(at(What::Trace))?;
    }
    name_itself(order);
    walls::seccomp(order)
}

fn name_itself(order: &Order) {
    // SAFETY: as in `become_program`.
    unsafe { execute::name_itself(&order.prepared) }
}

fn await_maps(order: &Order) -> Result<(), Failure> {
    let Some([reader, writer]) = order.go else { return Ok(()) };
    // Or else our own copy would keep it from ending.
    syscall(libc::SYS_close, [writer.into(), 0, 0]).map_err(at(What::Maps))?;
    let mut byte = 0_u8;
    loop {
        // SAFETY: room for one byte.
        match unsafe { raw::syscall!(libc::SYS_read, reader, &raw mut byte, 1) } {
            Ok(1) => return Ok(()),
            Err(Errno::INTR) => {}
            // Closed without a word: the parent knows why, or is gone.
            _ => return Err((What::Maps.into(), Errno::CANCELED)),
        }
    }
}

fn parent_death_signal(order: &Order) -> Result<(), Failure> {
    let Some(signal) = order.attributes().death_signal() else { return Ok(()) };
    prctl(libc::PR_SET_PDEATHSIG, signal.as_raw().into()).map_err(at(What::ParentDeathSignal))?;
    // It may have died before: then the signal will never come, unless we send it.
    let is_gone = match order.parent {
        Parent::Pidfd(fd) => is_readable(fd),
        // 0: it is outside of our PID namespace, and cannot be told from a dead one.
        Parent::Pid(pid) => !matches!(syscall(libc::SYS_getppid, [0; 3]), Ok(ppid) if ppid == 0 || ppid == c_long::from(pid)),
        Parent::Whoever => false,
    };
    if is_gone {
        let own = syscall(libc::SYS_getpid, [0; 3]).map_err(at(What::ParentDeathSignal))?;
        syscall(libc::SYS_kill, [own, signal.as_raw().into(), 0]).map_err(at(What::ParentDeathSignal))?;
    }
    Ok(())
}

/// A pidfd is readable when the process has ended.
fn is_readable(fd: c_int) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let no_mask = std::ptr::null::<c_void>();
    // SAFETY: one pollfd, as is said; a time; no mask.
    let ready = unsafe { raw::syscall!(libc::SYS_ppoll, &raw mut poll, 1, &raw const now, no_mask, size_of::<raw::SignalSet>()) };
    ready == Ok(1)
}

/// Handlers first, the mask last: a handler of the parent's must not run here. What is ignored stays ignored, as nohup(1)
/// needs it, but for SIGPIPE, which Rust's runtime ignores in every program.
fn signals(order: &Order) -> Result<(), Failure> {
    if order.reset_handlers {
        for signal in 1..=64 {
            match raw::sigaction(signal, None) {
                Ok(action) if action.handler != libc::SIG_IGN && action.handler != libc::SIG_DFL => {
                    raw::reset_signal(signal);
                }
                _ => {}
            }
        }
    }
    let a = order.attributes();
    if a.dispositions.iter().all(|(signal, _)| *signal != Signal::PIPE) {
        raw::reset_signal(libc::SIGPIPE);
    }
    for (index, (signal, disposition)) in a.dispositions.iter().enumerate() {
        match disposition {
            Disposition::Default => raw::reset_signal(signal.as_raw()),
            Disposition::Ignore => {
                let ignore = KernelSigaction::ignore();
                raw::sigaction(signal.as_raw(), Some(&ignore)).map_err(|errno| (What::Disposition.number(index), errno))?;
            }
        }
    }
    a.signal_mask.map(|mask| mask.as_raw()).or(order.mask).map(raw::set_signal_mask);
    Ok(())
}

/// For `map_err`: this step failed.
fn at(what: What) -> impl Fn(Errno) -> Failure {
    move |errno| (what.into(), errno)
}

fn prctl(option: c_int, value: c_long) -> Result<c_long, Errno> {
    syscall(libc::SYS_prctl, [option.into(), value, 0])
}

/// Tells a parent that does not see our memory; -1: it does. Not inlined, as [`become_program`].
#[inline(never)]
pub(super) fn send(channel: c_int, step: Step, errno: Errno) {
    if channel >= 0 {
        let message = [step.as_raw(), errno.as_raw() as u32];
        // SAFETY: 8 bytes that live through the call. A pipe takes them whole.
        _ = unsafe { raw::syscall!(libc::SYS_write, channel, message.as_ptr(), size_of_val(&message)) };
    }
}
