//! The boundary: the five traits that a backend implements. Longer than other files: it is the one that an author reads.
//!
//! No method has a default implementation: a wrapper that forgot to forward a method would be wrong without a compiler error.
//!
//! # Each method, and the promise that needs it
//! | method | without it |
//! | --- | --- |
//! | [`ProcessBackend::info`] | a user could not see which backend is in use, and a test not what to skip |
//! | [`ProcessBackend::clock`] | timeouts would not hold in virtual time |
//! | [`ProcessBackend::generation`] | the child of a fork(2) would reap and signal its parent's children |
//! | [`ProcessBackend::start`], [`ProcessBackend::find`] | there would be no processes |
//! | [`ProcessBackend::find_by_fd`] | a pidfd that somebody has sent would be a number again: who reads its PID finds whoever has that by then |
//! | [`ProcessBackend::reopen`] | "what was named is never somebody else": a stored PID means whoever has it by then |
//! | [`BackendStart::pid`] | of a start that hangs nobody could say which process it is |
//! | [`BackendStart::wait`] | a program that cannot be opened at once would hold up its spawner, beyond any limit |
//! | [`BackendStart::on_ready`] | a task would block its executor while a program is being executed |
//! | [`BackendProcess::signal`] | "a signal is delivered, or it is `ProcessDone`" |
//! | [`BackendProcess::signal_group`] | a group could only be signalled by its number, which may be another's |
//! | [`BackendProcess::signal_value`] | a program that tells its signals apart by their values (sigqueue(3)) could only be reached by its number |
//! | [`BackendProcess::may_signal`] | whether it may be signalled could be learnt only by a signal |
//! | [`BackendProcess::by_number`] | calls that know no pidfd, as prlimit(2), would be made with a number that may be another's by then |
//! | [`BackendProcess::wait_exited`] | "N threads get the same status": it sees the exit, and leaves the number taken |
//! | [`BackendProcess::reap`] | "no signal goes out after the reap": it is the last call, and never blocks |
//! | [`BackendProcess::on_exit`] | each process in a set or awaited in a task, and each that is not a child, would need a thread |
//! | [`BackendProcess::wait_change`], [`BackendProcess::try_change`] | a stop of a child could not be heard of but by a waitpid(2) elsewhere, which might reap it |
//! | [`BackendProcess::on_change`] | a stop could be waited for neither with a limit, nor in a set, nor in a task |
//! | [`BackendProcess::identity`] | a process could not be named beyond the life of its handle |
//! | [`BackendProcess::handle`] | a pidfd could not be lent, nor polled together with thousands |
//! | [`BackendProcess::abandon`] | "a dropped child leaves no zombie" |
//! | [`ProcessBackend::job`] | what a process starts could not be reached once it has ended |
//! | [`BackendProcess::look`] | facts of a process could be those of a stranger who has its number |
//! | [`ProcessBackend::list`] | a test of a program that looks through all processes would see the machine's, and not the simulated ones |
//! | [`BackendJob::containment`] | a user could not see who can leave the job |
//! | [`BackendJob::lives_on`] | a job that outlives its killed owner would be taken for one that does not |
//! | [`BackendJob::detach`] | a daemon could not be left behind by a job that dies with its owner |
//! | [`BackendJob::join`] | a process could start others before it is in the job |
//! | [`BackendJob::born`] | who is killed between its birth and its joining a group would be missed |
//! | [`BackendJob::adopt`] | a child that was started without it could not become a member |
//! | [`BackendJob::signal`] | a job that makes processes faster than they can be listed could not be killed |
//! | [`BackendJob::freeze`], [`BackendJob::thaw`] | a job could be stopped only by a signal, which its members see |
//! | [`BackendJob::members`] | its processes would have no handles |
//! | [`BackendJob::wait_empty`] | "nothing of it is left" could not be known: a wait for one process proves nothing |
//! | [`BackendJob::on_empty`] | each job in a set or awaited in a task would need a thread |
//! | [`BackendJob::usage`] | what was used by processes that others have waited for would be lost |
//! | [`Clock::now`], [`Clock::sleep_until`] | deadlines, and pauses where there is no event |
//! | [`Clock::scheduler`] | a lock of the program under test would stop a simulation |
//! | [`PipeWrite::write_deadline`], [`PipeRead::read_deadline`] | output of a simulated process could not be read in time |
//! | [`PipeRead::block_until`] | two simulated pipes and an exit could not be waited for at once |
//! | [`PipeWrite::into_end`], [`PipeRead::into_end`] | a pipeline of simulated processes |
//!
//! Removed: a call that waits and reaps at once, for a child with a single handle. It saved one system call of six.

use crate::sync::Scheduler;
use crate::{
    Attributes, BackendLook, Change, Containment, Error, Exit, Identity, JobPlan, JobUsage, Pid, Plan, Reopened, Result, Signal,
    Wall,
};
use std::any::Any;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

/// A backend: spawns processes, finds them, and has a clock.
///
/// # For users
/// A backend is chosen once, behind `steadfast::System`; nothing here is called directly.
///
/// # For authors
/// A backend is nearly stateless. [`Process`](crate::Process) keeps the state for every backend: that a handle is Running, Done or Released, that
/// no signal is sent after the reap, that one thread reaps and all get the status. Test your backend against the contract with
/// `steadfast-conformance`.
pub trait ProcessBackend: Send + Sync {
    /// Its name, and what it can do. The answer must always be the same.
    fn info(&self) -> BackendInfo;

    /// Its clock. Every timeout is measured by it.
    fn clock(&self) -> &dyn Clock;

    /// A number that stays the same in this process, and is different in its child after a fork(2). There, a handle that the parent made is of a
    /// process that is not a child. In a simulation it is always the same.
    fn generation(&self) -> u32;

    /// Begins to start a process, and returns. Whether the program runs, [`BackendStart::wait`] tells; if the start is dropped before that, it is
    /// given up.
    ///
    /// # Errors
    /// [`Error::Spawn`](crate::Error::Spawn) with the stage, for what fails before there is a process; then no child, zombie or descriptor is left.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a setting in the plan that this backend does not support.
    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>>;

    /// Takes hold of a process that exists.
    ///
    /// # Errors
    /// [`Error::ProcessDone`](crate::Error::ProcessDone) when there is none,
    /// [`Error::ThreadId`](crate::Error::ThreadId) when the number is a thread's,
    /// [`Error::System`](crate::Error::System) for the rest. A temporary failure must not lead to a weaker handle.
    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>>;

    /// Takes hold of the process that this descriptor stands for, whoever has opened it. The descriptor becomes the handle's, or is closed.
    ///
    /// # Errors
    /// [`Error::NotAProcess`](crate::Error::NotAProcess) with what it is instead;
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a backend without pidfds, which must not fall back to the PID;
    /// [`Error::System`](crate::Error::System) for the rest.
    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd>;

    /// The PIDs of all processes that this one sees, from the lowest on. Each may be another's by the time that it is used.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) of a backend that has no [looks](BackendProcess::look) either; what the system says.
    fn list(&self) -> Result<Vec<Pid>>;

    /// Takes hold of the process that was named, if it still is there: as [`find`](Self::find), but of this life of the number or of none. Nothing is
    /// sent to it. What is opened is compared after it was opened, and is the handle.
    ///
    /// # For authors
    /// Begin with [`Identity::elsewhere`]. *Gone* is said only of what is known to be gone: what is hidden, refused or filtered is
    /// [`Reopened::Unknown`], with the call's error; so is a start time that is not exact ([`StartTime::is_same`](crate::StartTime::is_same)).
    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>>;

    /// Makes a job with no process in it, held together by what the plan says and by nothing weaker.
    ///
    /// # Errors
    /// [`Error::NoContainment`](crate::Error::NoContainment) with the call and the path, if that cannot be had here;
    /// [`Error::System`](crate::Error::System) for a failure of the moment. Nothing is left then.
    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>>;
}

/// A process on its way to its program.
///
/// # For authors
/// Dropping it before [`wait`](Self::wait) has answered gives it up: the process is killed and reaped in the background, and neither a zombie, nor
/// a descriptor, nor memory is left. A backend whose processes are there at once returns [`Spawned::at_once`]; one around another backend uses
/// [`and_then`].
pub trait BackendStart: Send {
    /// The PID of the process, which it has from its birth on.
    fn pid(&self) -> Pid;

    /// Blocks until the program runs, or a step before that has failed. `Ok(None)` when `deadline` passed first. With a deadline in the past it only
    /// checks; without one it waits for ever. It is not called again once it has returned something else.
    ///
    /// # Errors
    /// [`Error::Spawn`](crate::Error::Spawn) with the stage; then no child, zombie or descriptor is left. A process that has
    /// failed, and has not ended when the deadline passes, may be left: to drop the start gives it up.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>>;

    /// Calls `tell` once, from the moment on in which [`wait`](Self::wait) has something to return: on any thread, also before this returns. It
    /// is called at most once. If the start is dropped before, `tell` need not be called.
    ///
    /// # Errors
    /// `EAGAIN` and similar, if this needs a thread and there is none.
    fn on_ready(&mut self, tell: OnExit) -> Result<()>;
}

/// A start, and what is done with its outcome.
pub fn and_then(
    start: Box<dyn BackendStart>,
    then: impl FnOnce(Result<Spawned>) -> Result<Spawned> + Send + 'static,
) -> Box<dyn BackendStart> {
    Box::new(Then { start, then: Some(then) })
}

struct Then<F> {
    start: Box<dyn BackendStart>,
    then: Option<F>,
}

impl<F: FnOnce(Result<Spawned>) -> Result<Spawned> + Send> BackendStart for Then<F> {
    fn pid(&self) -> Pid {
        self.start.pid()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>> {
        let outcome = match self.start.wait(deadline) {
            Ok(None) => return Ok(None),
            Ok(Some(spawned)) => Ok(spawned),
            Err(error) => Err(error),
        };
        self.then.take().map_or(Ok(None), |then| then(outcome).map(Some))
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        self.start.on_ready(tell)
    }
}

/// One that is over.
struct AtOnce {
    pid: Pid,
    spawned: Option<Spawned>,
}

impl BackendStart for AtOnce {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn wait(&mut self, _: Option<Instant>) -> Result<Option<Spawned>> {
        Ok(self.spawned.take())
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        tell();
        Ok(())
    }
}

/// Given up: nobody has asked for it.
impl Drop for AtOnce {
    fn drop(&mut self) {
        if let Some(spawned) = self.spawned.take() {
            // Fails if it is gone, which is what was wanted.
            drop(spawned.process.signal(Signal::KILL));
            spawned.process.abandon();
        }
    }
}

/// One process, as a backend holds it.
///
/// # For users
/// This is what stands behind a [`Process`](crate::Process).
///
/// # For authors
/// [`Process`](crate::Process) calls these from many threads at once and promises: [`reap`](Self::reap) is called only when no
/// other call on this object is in progress, and nothing is called after it has found an exit. Report
/// the errors of the system as they are ([`Error::System`](crate::Error::System) with the errno); the caller interprets `ESRCH`, `ECHILD` and
/// `EINTR`. Dropping the object frees what it holds, and does nothing to the process.
pub trait BackendProcess: Send + Sync {
    /// Sends a signal; never blocks. To a zombie: `Ok`.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; `EPERM` when the caller may not signal it.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Sends a signal to every process of the group that this one leads, itself included; never blocks. `Ok(false)` if there is no group
    /// with its number.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped, because the number of the group may then be reused; `EPERM` when the caller may signal none of
    /// them.
    fn signal_group(&self, signal: Signal) -> Result<bool>;

    /// Sends a signal with a value, as sigqueue(3); never blocks. To a zombie: `Ok`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal); `EAGAIN` when as many signals are queued as may be.
    fn signal_value(&self, signal: Signal, value: i32) -> Result<()>;

    /// Whether the caller may signal it. It sends nothing and never blocks. Of a zombie as of one that runs.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped.
    fn may_signal(&self) -> Result<bool>;

    /// Calls `act`, which makes a call that takes nothing but the PID, at most once; looks before and after whether that still is the process's own, and
    /// keeps it so where that is the backend's to do. `act` does not block. If the second look finds the process gone, what `act` said does not count.
    ///
    /// # Errors
    /// `ESRCH` if the process has been reaped, before or meanwhile; [`Error::Unsupported`](crate::Error::Unsupported) where its number is none of the
    /// kernel's; what `act` says.
    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()>;

    /// A look at the process that is bound to this life of it, whatever its number comes to mean. A zombie can be looked at.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; [`Error::Unsupported`](crate::Error::Unsupported); what the system says.
    fn look(&self) -> Result<Box<dyn BackendLook>>;

    /// Blocks until the process has exited, and returns how, without reaping it: it stays a zombie, and its PID stays taken. `Ok(None)` when
    /// `deadline` passed first. With a deadline in the past it only checks; without one it waits for ever.
    ///
    /// # Errors
    /// `ECHILD` if it is not a child of the caller's or its status was collected; `EINTR` if a signal came in between.
    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>>;

    /// Reaps the process if it has exited; never blocks. `Ok(None)` while it has not.
    ///
    /// # Errors
    /// `ECHILD` when it has been reaped already, by any code.
    fn reap(&self) -> Result<Option<Exit>>;

    /// Calls `tell` once, when the process has come to this end, or at once if it already has. For a child both ends are the same: the moment from
    /// which [`wait_exited`](Self::wait_exited) does not block. This is called at most once on each object for each end, unless it fails.
    ///
    /// `tell` may be called on any thread, also before this returns. It neither blocks nor calls the backend; but a backend must
    /// not hold a lock that it needs for [`Clock::scheduler`]'s methods, which `tell` may use. If the object is dropped before,
    /// `tell` need not be called.
    ///
    /// The `tell` of a [`Process`](crate::Process) does not panic, even if a watcher does. That of another caller may: a backend that calls it on a
    /// shared thread must [contain](crate::contain) the panic.
    ///
    /// # Errors
    /// `EMFILE`, `EAGAIN` and similar, if this needs a descriptor or a thread and there is none.
    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()>;

    /// Blocks until the process has stopped, goes on after a stop, or has exited. The report of a stop or of going on is taken, so that it is told
    /// once, to one caller by whatever object; that of an exit is left, as by [`wait_exited`](Self::wait_exited), and an exit comes before what was
    /// not taken until then.
    ///
    /// # For authors
    /// Nothing but a stop or a continuation may be taken: not an exit, nor what belongs to a tracer in this program. So look first (`WNOWAIT`), and
    /// take what is no exit. If other code has taken it in between, wait on.
    ///
    /// # Errors
    /// `ECHILD` if it is not a child of the caller's or its status was collected; `EINTR` if a signal came in between;
    /// [`Error::Unsupported`](crate::Error::Unsupported) if the backend does not declare [`BackendInfo::tells_changes`].
    fn wait_change(&self) -> Result<Change>;

    /// As [`wait_change`](Self::wait_change), without blocking: `None` if there is nothing to tell.
    ///
    /// # Errors
    /// As [`wait_change`](Self::wait_change).
    fn try_change(&self) -> Result<Option<Change>>;

    /// Calls `tell` once, when [`try_change`](Self::try_change) has something to return, an error too; at once, if it has. It takes nothing. After it has
    /// called, it may be asked again. For `tell` the same holds as in [`on_exit`](Self::on_exit).
    ///
    /// # Errors
    /// `EMFILE`, `EAGAIN` and similar, if this needs a descriptor or a thread and there is none;
    /// [`Error::Unsupported`](crate::Error::Unsupported) as above.
    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()>;

    /// Names it, so that [`ProcessBackend::reopen`] finds this life of it and no other, with all evidence that can be had. It is looked at last whether
    /// it has been reaped meanwhile, so that all was read of this process.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; [`Error::UnknownIdentity`](crate::Error::UnknownIdentity) if there is no evidence; what the
    /// system says to a call that fails for the moment, rather than less evidence.
    fn identity(&self) -> Result<Identity>;

    /// Lends the descriptor that stands for the process, if this backend has one.
    fn handle(&self) -> Option<BorrowedFd<'_>>;

    /// Takes over a child that no handle waits for any more, and reaps it in the background once it has exited. If the reap fails (`EINTR`,
    /// `EPERM`, `EAGAIN`), it is tried again, until it succeeds or fails with `ECHILD`. The child may have exited already: this is also called
    /// for one whose [`reap`](Self::reap) has failed.
    fn abandon(self: Arc<Self>);
}

/// One job, as a backend holds it.
///
/// # For users
/// This is what stands behind a [`Job`](crate::Job).
///
/// # For authors
/// [`Job`](crate::Job) keeps the state: that nothing is started in a job that was killed, and that who is being born then is killed too. Dropping the object
/// does nothing to the members; what it holds is freed in the background, once nothing lives in the job.
pub trait BackendJob: Send + Sync {
    /// What holds it together.
    fn containment(&self) -> Containment;

    /// `None`: all members are killed when this process is gone: it has ended in whatever way, or executed another program. Otherwise why not.
    fn lives_on(&self) -> Option<Error>;

    /// Sees to it that the members live on when this process is gone.
    ///
    /// # Errors
    /// What the system says; then they die with it.
    fn detach(&self) -> Result<()>;

    /// Changes the attributes of a process that is about to be started, so that it is a member from its birth on.
    ///
    /// # Errors
    /// What in the attributes contradicts that, and what to do.
    fn join(&self, attributes: &mut Attributes) -> Result<(), String>;

    /// A process was born with the attributes of [`join`](Self::join), is a child of the caller's and not reaped. If it has to take a step to be a
    /// member, that is taken for it now, so that from here on a signal reaches it.
    fn born(&self, pid: Pid);

    /// Makes a running child of the caller's a member, which is not reaped meanwhile. To one that has ended: `Ok`.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) if there is no such call; what the system says.
    fn adopt(&self, pid: Pid) -> Result<()>;

    /// Sends a signal to all members at one moment, so that none can escape by a fork; never blocks. To a job in which nothing lives: `Ok`.
    /// `Ok(false)`: there is no such call for this signal, and each member is to be signalled through its handle.
    ///
    /// # Errors
    /// `EPERM` if none of them may be signalled.
    fn signal(&self, signal: Signal) -> Result<bool>;

    /// Stops all members; whether none of them runs any more at the deadline. They stay so until [`thaw`](Self::thaw), or are killed.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) if there is no such call.
    fn freeze(&self, deadline: Option<Instant>) -> Result<bool>;

    /// Lets all members go on.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    fn thaw(&self) -> Result<()>;

    /// The PIDs of its members, as far as this process sees them.
    ///
    /// # Errors
    /// What the system says.
    fn members(&self) -> Result<Vec<Pid>>;

    /// Blocks until nothing lives in it, zombies apart. `Ok(false)` when `deadline` passed first. With a deadline in the past it only checks;
    /// without one it waits for ever.
    ///
    /// # Errors
    /// What the system says, but for `EINTR`.
    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool>;

    /// Calls `tell` once, when nothing lives in it, or at once if that is so: as [`BackendProcess::on_exit`], and any number of times on each object.
    ///
    /// # Errors
    /// `EMFILE`, `EAGAIN` and similar, if this needs a descriptor or a thread and there is none.
    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()>;

    /// What its members have used.
    ///
    /// # Errors
    /// What the system says.
    fn usage(&self) -> Result<JobUsage>;
}

/// The two ends of a process that is not the caller's child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a process exits, and is gone")]
pub enum Until {
    /// It has exited, with all of its threads. It is a zombie until its parent waits for it.
    Exited,
    /// Its parent has waited for it, and its PID is free.
    Gone,
}

/// A callback for the end of a process or of a job. The backend contains a panic in it ([`contain`](crate::contain)).
pub type OnExit = Box<dyn FnOnce() + Send>;

/// The clock of a backend.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Instant;

    /// Blocks until `deadline`; returns at once if it has passed.
    fn sleep_until(&self, deadline: Instant);

    /// The scheduler of a simulation, which decides which thread continues; [`sync`](crate::sync) uses it. `None` for the machine's clock.
    fn scheduler(&self) -> Option<Arc<dyn Scheduler>>;
}

/// A process that was just started.
pub struct Spawned {
    /// Its PID.
    pub pid: Pid,
    /// The process.
    pub process: Arc<dyn BackendProcess>,
    /// The largest resident set that the spawner itself has had so far, in bytes, once the program has been executed; 0 if that does
    /// not influence what is reported for the child. See [`MaxRss`](crate::MaxRss).
    pub spawner_peak: u64,
    /// The caller's ends of the pipes that the plan asked for: stdin, stdout, stderr.
    pub pipes: [Option<PipeEnd>; 3],
    /// The pidfd that the plan asked for: close-on-exec, and the caller's own.
    pub pidfd: Option<OwnedFd>,
    /// Each wall that it was to have if possible, and does not have, with [`Error::NoWall`](crate::Error::NoWall).
    pub missing_walls: Vec<(Wall, Error)>,
}

impl Spawned {
    /// As the start of a backend whose processes run from the moment on in which they are made.
    pub fn at_once(self) -> Box<dyn BackendStart> {
        Box::new(AtOnce { pid: self.pid, spawned: Some(self) })
    }
}

/// The process behind a descriptor.
#[allow(clippy::exhaustive_enums, reason = "it has been reaped, or not")]
pub enum FoundByFd {
    /// It has not been reaped.
    There {
        /// Its PID.
        pid: Pid,
        /// The process.
        process: Arc<dyn BackendProcess>,
    },
    /// It has been reaped. Then nobody tells which PID it had.
    Gone {
        /// How it ended, if the kernel tells.
        status: Option<ExitStatus>,
    },
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
    /// Writes as much as there is room for; if there is none, it waits until `deadline`, or for ever without one. `Ok(None)` if the deadline passed
    /// first. With a deadline in the past it does not wait.
    ///
    /// # Errors
    /// `EPIPE` if the pipe has no reader; other errors of the simulation.
    fn write_deadline(&self, bytes: &[u8], deadline: Option<Instant>) -> std::io::Result<Option<usize>>;

    /// The end as one of the streams of another process, for [`PlanStdio::End`](crate::PlanStdio::End).
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The read end of a simulated pipe.
pub trait PipeRead: Send + Sync {
    /// The end as one of the streams of another process, for [`PlanStdio::End`](crate::PlanStdio::End).
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Reads what is there into `buffer`; if there is nothing, it waits until `deadline`, or for ever without one. `Ok(Some(0))` at the end of the
    /// stream, `Ok(None)` if the deadline passed first. With a deadline in the past it does not wait.
    ///
    /// # Errors
    /// Errors of the simulation.
    fn read_deadline(&self, buffer: &mut [u8], deadline: Option<Instant>) -> std::io::Result<Option<usize>>;

    /// Blocks until `ready` returns `true`, or until `deadline`. `ready` is called at the beginning, and again whenever anything has happened in the
    /// simulation. So one thread can wait for several pipes and processes at once: `ready` checks them, and never blocks.
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

/// The name of a backend, and what it can do. The conformance suite skips what it cannot do, and reports that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// Its name, as in `STEADFAST_BACKEND` and in error messages.
    pub name: &'static str,
    /// Whether [`BackendProcess::handle`] lends a descriptor.
    pub lends_handle: bool,
    /// Whether a handle from [`ProcessBackend::find`] can never act on a process that got a recycled PID, not even in
    /// the moment after a check.
    pub find_is_exact: bool,
    /// Whether it hears of stops and continuations ([`BackendProcess::wait_change`]).
    pub tells_changes: bool,
    /// Whether its processes are real ones: they can inherit descriptors, and see the file system.
    pub real: bool,
}

impl BackendInfo {
    /// A backend that has only what the contract requires.
    pub const fn new(name: &'static str) -> BackendInfo {
        BackendInfo { name, lends_handle: false, find_is_exact: false, tells_changes: false, real: false }
    }

    /// Declares that it lends descriptors.
    pub const fn lends_handle(mut self) -> Self {
        self.lends_handle = true;
        self
    }

    /// Declares that a found process is never confused with a later one.
    pub const fn find_is_exact(mut self) -> Self {
        self.find_is_exact = true;
        self
    }

    /// Declares that it hears of stops and continuations.
    pub const fn tells_changes(mut self) -> Self {
        self.tells_changes = true;
        self
    }

    /// Declares that its processes are real ones.
    pub const fn real(mut self) -> Self {
        self.real = true;
        self
    }
}
