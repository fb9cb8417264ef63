//! [`Process`]: the handle, and the one state machine behind it.
//!
//! # How the races are closed
//!
//! Every call to the backend is counted while it is in progress. A waiter *looks* at the exit without reaping
//! ([`BackendProcess::wait_exited`]), marks the handle Done, and returns what it saw. From then on no call begins. The
//! **last call to come back** reaps. So while any thread is inside the kernel with this PID, or on its way there, the
//! process is at least a zombie, and the kernel cannot hand the number to anybody else:
//!
//! * a signal cannot go out after the reap, because the reap waits for it, and it does not begin after Done;
//! * of N waiters none can enter the kernel with a number that has been recycled (golang/go#67642), and each of them sees
//!   the same status, its own or the one that is kept;
//! * no thread ever waits for another one here: no lock is held across a call, and there is no condition variable. That
//!   keeps a simulation in control of who runs. The one exception, a look that reaps at the same time, takes a call that does
//!   not block, and is not made in a simulation (`Inner::reap_if_alone`).
//!
//! What was tried first, a lock that signals share and the reaper takes for itself (as Go does), blocks a thread where a
//! simulated kernel cannot see it, and needs a second mechanism to hand the status to the other waiters.

mod birth;
mod by_number;
mod change;
mod ended;
mod finding;
mod forked;
mod naming;
mod signal;
mod starting;
mod state;
mod watch;
mod watchers;

pub use by_number::ByNumber;
pub use ended::Ended;
pub use starting::{Started, Starting};
pub use watchers::Watcher;

use birth::Birth;
use state::{Inner, Learnt, Look, Origin, Phase, Refused, State, retry_interrupted};
use watchers::Watchers;

use crate::lock::Mutex;
use crate::{BackendProcess, Errno, Error, Exit, Identity, Pid, Plan, ProcessBackend, Reopened, Result};
use once_cell::race::OnceBox;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process, held so that no operation can reach another one.
///
/// A handle is **Running**, **Done** (it was waited for, or found to be gone) or **Released**
/// ([`release`](Process::release) was called); clones share one state. Done and Released are final: no call goes to the
/// kernel after them. All methods take `&self`; share a handle between threads, or clone it.
///
/// | operation | Running | Done | Released |
/// | --- | --- | --- | --- |
/// | [`signal`](Process::signal), [`kill`](Process::kill), [`signal_group`](Process::signal_group), [`kill_group`](Process::kill_group), [`signal_value`](Process::signal_value) | delivered | `ProcessDone` | `Released` |
/// | [`may_signal`](Process::may_signal) | `Ok(true)`, or `Ok(false)` (`EPERM`) | `ProcessDone` | `Released` |
/// | [`wait`](Process::wait) | blocks, then Done | the same status again | `Released` |
/// | `wait`, the status being lost | `NoChild` | `NoChild` | `Released` |
/// | [`try_wait`](Process::try_wait) | `Ok(None)` | as `wait` | `Released` |
/// | [`wait_change`](Process::wait_change) | blocks until it stops, goes on (each told once) or exits, then Done | its exit, again and again | `Released` |
/// | `wait_change`, not a child, or the status being lost | `NoChild` | `NoChild` | `Released` |
/// | [`try_wait_change`](Process::try_wait_change) | `Ok(None)` if nothing has changed | as `wait_change` | `Released` |
/// | [`with_handle`](Process::with_handle) | lends the pidfd, or `NoHandle` | `ProcessDone` | `Released` |
/// | [`identity`](Process::identity) | its name | `ProcessDone` | `Released` |
/// | [`release`](Process::release) | Released | stays Done, `Ok` | `Ok` |
///
/// When the last clone of a child's handle is dropped, the child is neither killed nor waited for: the backend reaps it in the background once
/// it exits. Dropping the handle of a process that was found, and not spawned, has no effect on the process.
///
/// # After a fork(2) of the program
/// In the forked child, a handle that the parent made behaves as one that was found, of a process that is not a child: signals work; a wait
/// fails with [`Error::NoChild`], unless the status was known before the fork or the kernel reports it; [`wait_gone`](Process::wait_gone)
/// waits; and dropping it has no effect. Parent and child do not see what the other one does to its handle.
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

/// A pidfd on loan, see [`Process::lend`].
pub struct Lent(Arc<dyn BackendProcess>);

impl Process {
    /// Spawns a plan. Returns the handle, the ends of the pipes that the plan asked for (stdin, stdout, stderr), and the
    /// pidfd that it asked for.
    ///
    /// # Errors
    /// As [`ProcessBackend::start`] and [`BackendStart::wait`](crate::BackendStart::wait).
    pub fn spawn(backend: &Arc<dyn ProcessBackend>, plan: &Plan) -> Result<Started> {
        Process::start(backend, plan)?.finish()
    }

    /// Begins to spawn a plan, and returns.
    ///
    /// # Errors
    /// As [`ProcessBackend::start`]; [`Error::JobOver`] if the job of the plan was killed.
    pub fn start(backend: &Arc<dyn ProcessBackend>, plan: &Plan) -> Result<Starting> {
        let start = match plan.job() {
            None => backend.start(plan)?,
            Some(job) => {
                let (plan, tell) = job.admit(plan)?;
                let mut birth = Birth::new(tell);
                let start = backend.start(&plan)?;
                birth.pid = Some(start.pid());
                start
            }
        };
        Ok(Starting::new(backend, start))
    }

    /// Spawns a plan, closes the stdin that it may have piped, and waits for the process.
    ///
    /// # Errors
    /// As [`spawn`](Process::spawn) and [`wait`](Process::wait).
    pub fn run(backend: &Arc<dyn ProcessBackend>, plan: &Plan) -> Result<Exit> {
        // What it writes has a reader until it ends.
        let (process, [stdin, _stdout, _stderr], _pidfd) = Process::spawn(backend, plan)?;
        drop(stdin);
        process.wait()?;
        process.exit().ok_or(Error::NoChild { pid: process.pid() })
    }

    /// The backend that made this handle.
    pub fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.inner.backend
    }

    fn new(
        backend: &Arc<dyn ProcessBackend>,
        pid: Pid,
        process: Arc<dyn BackendProcess>,
        origin: Origin,
        spawner_peak: u64,
    ) -> Process {
        Process::in_phase(Phase::Running, backend, pid, Some(process), origin, spawner_peak)
    }

    fn in_phase(
        phase: Phase,
        backend: &Arc<dyn ProcessBackend>,
        pid: Pid,
        process: Option<Arc<dyn BackendProcess>>,
        origin: Origin,
        spawner_peak: u64,
    ) -> Process {
        // A number that was found may be another child's by now, which only `wait_exited` finds out before it looks.
        let is_exact = backend.info().find_is_exact;
        let may_reap_at_once = (is_exact || origin == Origin::Spawned) && backend.clock().scheduler().is_none();
        let state = State { phase, calls: 0, reap_due: false, is_left: false, process, watchers: Watchers::none(), rare: None };
        let weak = state.process.as_ref().map(Arc::downgrade);
        Process {
            inner: Arc::new(Inner {
                pid,
                origin,
                is_exact,
                may_reap_at_once,
                generation: backend.generation(),
                spawner_peak,
                backend: Arc::clone(backend),
                process: weak,
                state: Mutex::new(state),
                successor: OnceBox::new(),
            }),
        }
    }

    /// This handle in the process that asks, which may be the child of a fork.
    fn here(&self) -> &Arc<Inner> {
        self.inner.here()
    }

    /// Whether this process is the one that has the handle, and not the child of a fork(2) of it.
    pub fn is_here(&self) -> bool {
        self.inner.is_here()
    }

    /// The PID that the process has or had: for logs. It can be read in every state. Once the process has been reaped, the number may
    /// belong to another process.
    pub fn pid(&self) -> Pid {
        self.inner.pid
    }

    /// Blocks until the process has exited, reaps it and returns its status. Any number of threads may wait; all of them, and every later call,
    /// get the same status. (Go's second `Wait` fails. Here handles are shared, so a late caller gets the answer too.)
    ///
    /// # Errors
    /// [`Error::NoChild`] (`ECHILD`) if no status is available: it is not a child of this process, or other code has waited for it, or
    /// `SIGCHLD` is ignored. Where the kernel still reports the true status (with a pidfd, since Linux 6.15), that is returned instead,
    /// without resource usage. For a process that is alive and not a child, see [`wait_gone`](Process::wait_gone). [`Error::Released`] after [`release`](Process::release).
    pub fn wait(&self) -> Result<ExitStatus> {
        match self.wait_until(None)? {
            Some(exit) => Ok(exit.status),
            None => Err(Error::System {
                call: "wait_exited without a deadline",
                subject: format!("process {}: the backend says that it still runs", self.pid()),
                source: Errno::TIMEDOUT,
            }),
        }
    }

    /// As [`wait`](Process::wait), without blocking: `None` while it runs.
    ///
    /// # Errors
    /// As [`wait`](Process::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.look(None)
    }

    /// As [`try_wait`](Process::try_wait), after [`unwatch`](Process::unwatch): for a watcher that was told of an exit, and need not be
    /// told again.
    ///
    /// # Errors
    /// As [`wait`](Process::wait).
    pub fn try_wait_unwatched(&self, watcher: &Arc<dyn Watcher>, token: u64) -> Result<Option<ExitStatus>> {
        self.look(Some((watcher, token)))
    }

    fn look(&self, unwatch: Option<(&Arc<dyn Watcher>, u64)>) -> Result<Option<ExitStatus>> {
        match self.here().reap_if_alone(unwatch) {
            Look::Exited(status) => Ok(Some(status)),
            Look::Running => Ok(None),
            Look::AskAgain => self.wait_deadline(self.inner.backend.clock().now()),
        }
    }

    /// As [`wait`](Process::wait), for at most `timeout`: `None` if it is still running. A timeout too long for the clock waits
    /// for ever.
    ///
    /// # Errors
    /// As [`wait`](Process::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = self.inner.backend.clock().now().checked_add(timeout);
        Ok(self.wait_until(deadline)?.map(|exit| exit.status))
    }

    /// As [`wait`](Process::wait), until `deadline` on the backend's clock: `None` if it is still running.
    ///
    /// # Errors
    /// As [`wait`](Process::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Option<ExitStatus>> {
        Ok(self.wait_until(Some(deadline))?.map(|exit| exit.status))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let no_child = Error::NoChild { pid: self.pid() };
        let call = match self.here().begin() {
            Ok(call) => call,
            Err(Refused::Done(exit)) => return exit.map(Some).ok_or(no_child),
            Err(Refused::Released) => return Err(self.released_error()),
        };
        // Before the look: what is told after it, it may not have seen, and then neither the status.
        let was_told = self.here().lock().watchers.has_told();
        match retry_interrupted(|| call.process().wait_exited(deadline)) {
            Ok(Some(exit)) => {
                let exit = exit.of_spawner(self.inner.spawner_peak);
                call.end(Learnt::Exited(exit));
                Ok(Some(exit))
            }
            Ok(None) => Ok(None),
            Err(error) if error.errno() == Some(Errno::CHILD) => {
                // A child of ours whose status is lost is gone, and on a backend without pidfds its number is free: stop
                // using it. A process that was found may just not be our child, and lives; unless the backend knows better.
                let is_gone = self.here().origin == Origin::Spawned || was_told;
                call.end(if is_gone { Learnt::Gone } else { Learnt::Nothing });
                // Another waiter may have seen the exit before somebody else took the status.
                self.exit().map(Some).ok_or(no_child)
            }
            Err(error) => Err(error),
        }
    }

    /// The status, if it has been collected. Makes no system call.
    pub fn status(&self) -> Option<ExitStatus> {
        self.exit().map(|exit| exit.status)
    }

    /// PID, status and resource usage, if they have been collected. Makes no system call.
    #[doc(alias = "rusage")]
    #[doc(alias = "getrusage")]
    #[doc(alias = "wait4")]
    pub fn exit(&self) -> Option<Exit> {
        match &self.here().lock().phase {
            Phase::Done(exit) => exit.as_deref().copied(),
            Phase::Running | Phase::Released => None,
        }
    }

    /// Calls the closure with the pidfd: to poll it, to send it to another process, or to duplicate it (`fd.try_clone_to_owned()`). The
    /// descriptor stays open until the closure returns, even if another thread waits for the process or releases the handle.
    ///
    /// # Errors
    /// [`Error::NoHandle`] on a backend without pidfds, [`Error::ProcessDone`] and [`Error::Released`] by state.
    pub fn with_handle<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> R) -> Result<R> {
        let lent = self.lend()?;
        Ok(f(lent.as_fd()))
    }

    /// As [`with_handle`](Process::with_handle), but the descriptor stays open as long as the returned value exists: to poll several at once.
    ///
    /// # Errors
    /// As [`with_handle`](Process::with_handle).
    pub fn lend(&self) -> Result<Lent> {
        // Not a counted call: it may take its time, which must not keep a zombie. The clone keeps the descriptor open.
        let process = {
            let state = self.here().lock();
            match (&state.phase, &state.process) {
                (Phase::Released, _) => return Err(self.released_error()),
                (Phase::Running, Some(process)) => Arc::clone(process),
                (Phase::Done(_), _) | (Phase::Running, None) => return Err(self.done_error()),
            }
        };
        match process.handle() {
            Some(_) => Ok(Lent(process)),
            None => Err(Error::NoHandle { pid: self.pid(), backend: self.inner.backend.info().name }),
        }
    }

    /// Gives the handle up: every clone becomes Released, and the pidfd is closed when the last call in progress returns. A call that is blocked
    /// in a wait still gets the status. A child is reaped in the background, as if all handles had been dropped.
    ///
    /// # Errors
    /// None today; a Done or Released handle stays as it is.
    pub fn release(&self) -> Result<()> {
        let inner = self.here();
        let mut state = inner.lock();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Released;
            inner.part(state);
        }
        Ok(())
    }

    /// Gives the handle up as [`release`](Process::release), and leaves a child to the program, whose own waitpid(2) it then waits for: it
    /// is not reaped in the background. If nobody waits for it, it stays a zombie until this program ends.
    ///
    /// A call that is blocked in a wait still gets the status, and reaps. A Done or Released handle stays as it is.
    pub fn leave(&self) {
        let inner = self.here();
        let mut state = inner.lock();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Released;
            state.is_left = true;
            inner.part(state);
        }
    }

    fn done_error(&self) -> Error {
        Error::ProcessDone { pid: self.pid() }
    }

    fn released_error(&self) -> Error {
        Error::Released { pid: self.pid() }
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0.handle() {
            Some(fd) => fd,
            None => unreachable!("it had one when it was lent, and a backend does not change its mind"),
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({:?})", self.as_fd())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, {}, {:?})", self.pid(), self.inner.backend.info().name, *self.here().lock())
    }
}
