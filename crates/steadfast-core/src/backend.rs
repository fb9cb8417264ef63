//! The boundary: the three traits that a backend implements.
//!
//! No method has a default. A wrapper that forgot to forward one would be wrong silently.
//!
//! # Each method, and the promise that needs it
//! | method | without it |
//! | --- | --- |
//! | [`ProcessBackend::info`] | nobody could be told which backend is in use, nor a test what it may skip |
//! | [`ProcessBackend::clock`] | timeouts would not hold in virtual time |
//! | [`ProcessBackend::generation`] | the child of a fork(2) would reap and signal its parent's children |
//! | [`ProcessBackend::spawn`], [`ProcessBackend::find`] | there would be no processes |
//! | [`BackendProcess::signal`] | "a signal is delivered, or it is `ProcessDone`" |
//! | [`BackendProcess::signal_group`] | a group could only be signalled by its number, which may be another's |
//! | [`BackendProcess::wait_exited`] | "N threads get the same status": it sees the exit, and leaves the number taken |
//! | [`BackendProcess::reap`] | "no signal goes out after the reap": it is the last call, and never blocks |
//! | [`BackendProcess::on_exit`] | a set of thousands, a task, and who is no child would need a thread each |
//! | [`BackendProcess::handle`] | a pidfd could not be lent, nor polled together with thousands |
//! | [`BackendProcess::abandon`] | "a dropped child leaves no zombie" |
//! | [`Clock::now`], [`Clock::sleep_until`] | deadlines, and pauses where there is no event |
//! | [`Clock::scheduler`] | a lock of the program's would stop a simulation |
//! | [`PipeWrite::write_deadline`], [`PipeRead::read_deadline`] | output of a simulated process could not be read in time |
//! | [`PipeRead::block_until`] | two simulated pipes and an exit could not be waited for at once |
//! | [`PipeWrite::into_end`], [`PipeRead::into_end`] | a pipeline of simulated processes |
//!
//! What was here and went: waiting and reaping in one call, for a child that nobody else has a handle of. It saved one system call of six.

use crate::sync::Scheduler;
use crate::{Exit, Pid, Plan, Result, Signal};
use std::any::Any;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// A way to have processes: spawns them, finds them, tells the time.
///
/// # For users
/// A backend is chosen once, behind `steadfast::System`; nothing here is called directly.
///
/// # For authors
/// A backend is nearly stateless. That a handle is Running, Done or Released, that no signal goes out after the reap,
/// that one thread reaps and all get the status: [`Process`](crate::Process) sees to it, for every backend. Hold yours
/// to the contract with `steadfast-conformance`.
pub trait ProcessBackend: Send + Sync {
    /// Its name and what it cannot do. The same answer at every call.
    fn info(&self) -> BackendInfo;

    /// Its time. Every timeout is measured on it.
    fn clock(&self) -> &dyn Clock;

    /// Which of the processes that fork(2) makes of one this is: a number that stays, and is another one in the child of a fork. There
    /// a handle of the parent's is one of a process that is no child. Always the same in a simulation.
    fn generation(&self) -> u32;

    /// Starts a process: returns once the program runs, or a step before that has failed.
    ///
    /// # Errors
    /// [`Error::Spawn`](crate::Error::Spawn) with the stage; then no child, zombie or descriptor is left.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a wish in the plan that this backend cannot fulfil.
    fn spawn(&self, plan: &Plan) -> Result<Spawned>;

    /// Takes hold of a process that exists.
    ///
    /// # Errors
    /// [`Error::ProcessDone`](crate::Error::ProcessDone) when there is none,
    /// [`Error::ThreadId`](crate::Error::ThreadId) when the number is a thread's,
    /// [`Error::System`](crate::Error::System) for the rest; a refusal of the moment must not yield a weaker handle.
    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>>;
}

/// One process, as a backend holds it.
///
/// # For users
/// This is what stands behind a [`Process`](crate::Process).
///
/// # For authors
/// [`Process`](crate::Process) calls these from many threads at once and promises: [`reap`](Self::reap) is called only when no
/// other call on this object is in progress, and nothing is called after it has found an exit. Report
/// the system's errors as they are ([`Error::System`](crate::Error::System) with the errno): `ESRCH`, `ECHILD` and `EINTR`
/// get their meaning above. Dropping the object frees what it holds, and does nothing to the process.
pub trait BackendProcess: Send + Sync {
    /// Sends a signal; never blocks. To a zombie: `Ok`.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; `EPERM` when it lives but may not be signalled.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Sends a signal to every process of the group that this one leads, itself included; never blocks. `Ok(false)`: there is no group of
    /// its number.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped, for from then on the group's number may be another's; `EPERM` when none of them may be
    /// signalled.
    fn signal_group(&self, signal: Signal) -> Result<bool>;

    /// Blocks until the process has exited and tells how, without reaping it: it stays a zombie, and its PID its own.
    /// `Ok(None)` when `deadline` passed first; a deadline in the past only looks; without one it waits for ever.
    ///
    /// # Errors
    /// `ECHILD` if it is not a child of the caller's or its status was collected; `EINTR` if a signal came in between.
    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>>;

    /// Reaps the process if it has exited; never blocks. `Ok(None)` while it has not.
    ///
    /// # Errors
    /// `ECHILD` when it was reaped already, by whomever.
    fn reap(&self) -> Result<Option<Exit>>;

    /// Calls `tell` once, when the process has come to this end; at once, if it has. For a child both ends are one: as soon as
    /// [`wait_exited`](Self::wait_exited) would not block any more. Asked at most once of each object for each end, unless it has failed.
    ///
    /// `tell` may be called on any thread, also before this returns. It neither blocks nor calls the backend; but a backend must
    /// not hold a lock that it needs for [`Clock::scheduler`]'s methods, which `tell` may use. If the object is dropped before, nobody
    /// wants to know any more.
    ///
    /// A [`Process`](crate::Process) asks with a `tell` that does not panic, whatever its watchers do. Anybody else's may: what calls it on a
    /// thread that others rely on [contains](crate::contain) the panic.
    ///
    /// # Errors
    /// `EMFILE`, `EAGAIN` and the like, if it takes a descriptor or a thread and there is none.
    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()>;

    /// Lends the descriptor that stands for the process, if this backend has one.
    fn handle(&self) -> Option<BorrowedFd<'_>>;

    /// Takes over a child that nobody will wait for any more: reaps it in the background once it has exited. A reap that is refused
    /// (`EINTR`, `EPERM`, `EAGAIN`) is tried again, after a while, until it succeeds or says `ECHILD`. Such a child may be what is taken
    /// over: one that has exited, whose [`reap`](Self::reap) was refused.
    fn abandon(self: Arc<Self>);
}

/// When a process that is not the caller's child counts as over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a process exits, and is gone")]
pub enum Until {
    /// Once its code has run to its end, all of its threads': what is left is a zombie, until its parent waits for it.
    Exited,
    /// Once its parent has waited for it, and its PID is free.
    Gone,
}

/// What is called when a process has exited. A panic in it ends at the backend ([`contain`](crate::contain)).
pub type OnExit = Box<dyn FnOnce() + Send>;

/// Time, as a backend has it.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Instant;

    /// Blocks until `deadline`; returns at once if it has passed.
    fn sleep_until(&self, deadline: Instant);

    /// Who decides which thread goes on, if this is not the machine's time: then [`sync`](crate::sync) goes by it.
    fn scheduler(&self) -> Option<Arc<dyn Scheduler>>;
}

/// A process that was just started.
pub struct Spawned {
    /// Its PID.
    pub pid: Pid,
    /// The process.
    pub process: Arc<dyn BackendProcess>,
    /// The largest resident set that the spawner itself has had so far, in bytes, once the program has been executed; 0 if that has no
    /// influence on what is told of the child's. See [`MaxRss`](crate::MaxRss).
    pub spawner_peak: u64,
    /// The caller's ends of the pipes that the plan asked for: stdin, stdout, stderr.
    pub pipes: [Option<PipeEnd>; 3],
    /// The pidfd that the plan asked for: close-on-exec, and the caller's own.
    pub pidfd: Option<OwnedFd>,
}

/// The caller's end of a pipe to or from a process.
#[non_exhaustive]
pub enum PipeEnd {
    /// A pipe of the operating system.
    Fd(OwnedFd),
    /// What a simulated process reads; dropping it is the end of its input.
    Writer(Box<dyn PipeWrite>),
    /// What a simulated process writes.
    Reader(Box<dyn PipeRead>),
}

/// The write end of a simulated pipe.
pub trait PipeWrite: Send + Sync {
    /// Writes as much as there is room for, or waits for some until `deadline`; without one, for ever. `Ok(None)` if the deadline passed
    /// first; a deadline in the past only looks.
    ///
    /// # Errors
    /// `EPIPE` if nobody can read it any more; what the simulation makes of it.
    fn write_deadline(&self, bytes: &[u8], deadline: Option<Instant>) -> std::io::Result<Option<usize>>;

    /// The end as one of the streams of another process, for [`PlanStdio::End`](crate::PlanStdio::End).
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The read end of a simulated pipe.
pub trait PipeRead: Send + Sync {
    /// The end as one of the streams of another process, for [`PlanStdio::End`](crate::PlanStdio::End).
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Reads what is there into `buffer`, or waits for it until `deadline`; without one, for ever. `Ok(Some(0))` at the end of the
    /// stream, `Ok(None)` if the deadline passed first; a deadline in the past only looks.
    ///
    /// # Errors
    /// What the simulation makes of it.
    fn read_deadline(&self, buffer: &mut [u8], deadline: Option<Instant>) -> std::io::Result<Option<usize>>;

    /// Blocks until `ready` says so, or until `deadline`; asks it at first, and then whenever anything has happened in the
    /// simulation. So one thread can wait for several pipes and processes at once: `ready` looks at them, and never blocks.
    fn block_until(&self, deadline: Option<Instant>, ready: &mut dyn FnMut() -> bool);
}

/// Without a deadline.
impl std::io::Read for Box<dyn PipeRead> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.read_deadline(buffer, None).map(Option::unwrap_or_default)
    }
}

/// Without a deadline.
impl std::io::Write for Box<dyn PipeWrite> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_deadline(bytes, None).map(Option::unwrap_or_default)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a backend is called and what it can do. What it cannot, the conformance suite skips, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// Its name, as `STEADFAST_BACKEND` and error messages have it.
    pub name: &'static str,
    /// Whether [`BackendProcess::handle`] lends a descriptor.
    pub lends_handle: bool,
    /// Whether a handle from [`ProcessBackend::find`] is safe from a recycled PID for ever, not only up to the moment of
    /// the last check.
    pub find_is_exact: bool,
    /// Whether its processes are the operating system's: they can be given descriptors, and see the file system.
    pub real: bool,
}

impl BackendInfo {
    /// A backend that can do nothing beyond the contract.
    pub const fn new(name: &'static str) -> BackendInfo {
        BackendInfo { name, lends_handle: false, find_is_exact: false, real: false }
    }

    /// Says that it lends descriptors.
    pub const fn lends_handle(mut self) -> Self {
        self.lends_handle = true;
        self
    }

    /// Says that a found process is never confused with a later one.
    pub const fn find_is_exact(mut self) -> Self {
        self.find_is_exact = true;
        self
    }

    /// Says that its processes are the operating system's.
    pub const fn real(mut self) -> Self {
        self.real = true;
        self
    }
}
