//! [`Job`]: processes and all that they start, killed and waited for as one. One state machine for all backends.
//!
//! # How the races are closed
//!
//! * **A birth and a kill.** Whoever starts a process says so before ([`Membership::admit`]) and after ([`OnBirth`]). A kill that comes
//!   in between may be over before the child is there: some kernels kill who is born into a killed cgroup, and some do not. So a birth that
//!   finds the job killed kills it again.
//! * **An adoption** is a birth to them.
//! * **A birth and a wait.** Nobody is admitted to a killed job, so births only become fewer. A wait for one looks whether anything lives when none is
//!   under way any more, and not before: who is born behind the look would be missed.
//! * **A list and a signal.** A number on a list of members may be a stranger's a moment later. So a handle is made of each, and then the list is
//!   read again: who is on both is a member, and the handle is its.

mod adopt;
mod end;
mod link;
mod members;
mod values;
mod watchers;

pub use end::JobEnd;
pub use link::JobLink;
pub use values::{Containment, JobLimit, JobLimits, JobPlan, JobUsage};

use watchers::Watchers;

use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Attributes, BackendJob, Error, OnBirth, OnExit, Pauses, Pid, Plan, ProcessBackend, Result, Signal};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Processes that were started in it, and all that they start. Dropping it kills them.
///
/// A job is **Open**, **Killed** ([`kill`](Job::kill) was called, or it was dropped) or **Empty** (it was killed, and a wait has seen that nothing
/// of it lives).
///
/// | operation | Open | Killed | Empty |
/// | --- | --- | --- | --- |
/// | to start a process in it | a member from its birth on | `JobOver` | `JobOver` |
/// | [`adopt`](Job::adopt) | a member from now on | `JobOver` | `JobOver` |
/// | [`signal`](Job::signal) | to each member | to each that still ends | `Ok`: to nobody |
/// | [`kill`](Job::kill) | becomes Killed | `Ok`: once more | `Ok` |
/// | [`freeze`](Job::freeze), [`thaw`](Job::thaw) | no member runs; they go on | `JobOver` | `JobOver` |
/// | [`members`](Job::members) | handles | of those that still end | none |
/// | [`wait_empty`](Job::wait_empty) | blocks until nothing lives in it; stays Open | blocks, then Empty | at once |
/// | [`usage`](Job::usage) | so far | so far | so far |
/// | drop | kills | nothing | nothing |
///
/// A member is who was started in it or by a member, and has not left (see [`Containment`]). A zombie is none: it does nothing any more. That a
/// process ends does not end the job, whichever it is. A handle of a member stays what it is, and a child is waited for by it, in the job and after it.
///
/// # After a fork(2) of the program
/// In the forked child, a job of the parent's can be signalled, killed and waited for; a process group can only be waited for, since whether its number
/// is still taken only its leader's parent knows. Dropping it there does nothing, and what is started in it there the parent does not know.
pub struct Job {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn ProcessBackend>,
    place: Arc<dyn BackendJob>,
    generation: u32,
    /// The backend could not kill it in one call.
    is_slow: AtomicBool,
    state: Mutex<State>,
    /// A birth is over.
    born: Condvar,
    watchers: Watchers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Killed,
    Empty,
}

struct State {
    phase: Phase,
    /// How many processes are about to be born in it.
    births: usize,
    /// Its owner has given it up: by a detach, or a drop, which kills it besides.
    is_detached: bool,
}

/// Between two kills of a job that the backend cannot kill in one call.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

impl Job {
    /// Makes an empty one.
    ///
    /// # Errors
    /// [`Error::NoContainment`] with what is missing here; [`Error::System`] for a failure of the moment.
    pub fn new(backend: &Arc<dyn ProcessBackend>, plan: &JobPlan) -> Result<Job> {
        let place = backend.job(plan)?;
        let inner = Inner {
            generation: backend.generation(),
            backend: Arc::clone(backend),
            place,
            is_slow: AtomicBool::new(false),
            state: Mutex::new(State { phase: Phase::Open, births: 0, is_detached: false }),
            born: Condvar::new(),
            watchers: Watchers::default(),
        };
        Ok(Job { inner: Arc::new(inner) })
    }

    /// What holds it together.
    pub fn containment(&self) -> Containment {
        self.inner.place.containment()
    }

    /// The backend that has made it.
    pub fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.inner.backend
    }

    /// Sends a signal to each member. Who is started while this goes on may get it or not. `SIGKILL` is [`kill`](Job::kill).
    ///
    /// # Errors
    /// [`Error::System`] with `EPERM` for the first member that may not be signalled; the others have got it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if signal == Signal::KILL {
            return self.kill();
        }
        self.inner.signal(signal)
    }

    /// Kills all members, and whoever is about to be started: from now on nothing is started in it any more. It does not wait until they have
    /// ended; [`wait_empty`](Job::wait_empty) does.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses it: the job is Killed all the same, and this can be called again.
    pub fn kill(&self) -> Result<()> {
        self.inner.kill()
    }

    /// Stops all members, and returns when none of them runs any more; `false` if the deadline, on the backend's clock, passes first. They notice
    /// nothing of it, in contrast to `SIGSTOP`. A frozen job can be killed.
    ///
    /// # Errors
    /// [`Error::JobOver`] once it was killed. [`Error::Unsupported`] for a process group, which can only be signalled.
    pub fn freeze(&self, deadline: Option<Instant>) -> Result<bool> {
        self.inner.check_open()?;
        self.inner.place.freeze(deadline)
    }

    /// Lets all members go on.
    ///
    /// # Errors
    /// As [`freeze`](Job::freeze).
    pub fn thaw(&self) -> Result<()> {
        self.inner.check_open()?;
        self.inner.place.thaw()
    }

    /// Blocks until nothing lives in it, zombies apart. `false` if the deadline, on the backend's clock, passes first; with one in the past it
    /// only looks.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel does not tell.
    pub fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        self.inner.wait_empty(deadline)
    }

    /// Calls once nothing lives in it, on any thread, or at once. Of a killed job, [`wait_empty`](Job::wait_empty) has the last word.
    ///
    /// # Errors
    /// As [`BackendJob::on_empty`]. Each call takes what the backend needs for one; see [`watch_empty`](Job::watch_empty).
    pub fn on_empty(&self, tell: OnExit) -> Result<()> {
        Arc::clone(&self.inner.place).on_empty(tell)
    }

    /// What its members have used.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel does not tell.
    pub fn usage(&self) -> Result<JobUsage> {
        self.inner.place.usage()
    }

    /// Why its members live on when this process is gone; `None`: they are killed then.
    pub fn lives_on(&self) -> Option<Error> {
        self.inner.place.lives_on()
    }

    /// Gives it up without killing it: its members live on, also when this process is gone, and nobody can reach them as one any more. A job that was
    /// killed stays killed.
    ///
    /// # Errors
    /// As [`BackendJob::detach`]: it is given up, and its members die with this process.
    pub fn detach(self) -> Result<()> {
        if !self.inner.is_here() {
            return Ok(());
        }
        let phase = {
            let mut state = self.inner.lock();
            state.is_detached = true;
            state.phase
        };
        if phase != Phase::Open {
            return Ok(());
        }
        // Nobody is admitted any more. Who is just being born belongs to those that live on.
        self.inner.wait_for_births(None);
        self.inner.place.detach()
    }
}

/// What was asked for is that nothing outlives it.
impl Drop for Job {
    fn drop(&mut self) {
        if !self.inner.is_here() {
            return;
        }
        let was_detached = std::mem::replace(&mut self.inner.lock().is_detached, true);
        if !was_detached && self.inner.phase() == Phase::Open {
            // It is refused to nobody who could make the job. Nothing is waited for.
            drop(self.inner.kill());
        }
    }
}

impl Inner {
    fn is_here(&self) -> bool {
        self.generation == self.backend.generation()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// In the child of a fork(2) the lock may be another thread's for ever, and what it guards is the parent's.
    fn phase(&self) -> Phase {
        if self.is_here() { self.lock().phase } else { Phase::Open }
    }

    fn has_owner(&self) -> bool {
        !self.is_here() || !self.lock().is_detached
    }

    fn check_open(&self) -> Result<()> {
        if self.phase() == Phase::Open { Ok(()) } else { Err(self.over()) }
    }

    fn kill(&self) -> Result<()> {
        if self.is_here() {
            let mut state = self.lock();
            if state.phase == Phase::Empty {
                return Ok(());
            }
            state.phase = Phase::Killed;
        }
        self.signal(Signal::KILL)
    }

    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        let mut pauses = Pauses::new(SHORTEST, LONGEST);
        loop {
            let phase = self.phase();
            match phase {
                Phase::Empty => return Ok(true),
                Phase::Killed if !self.wait_for_births(deadline) => return Ok(false),
                // From here on nobody is born in a killed one any more, who could be missed by the look.
                Phase::Killed | Phase::Open => {}
            }
            let is_slow = phase == Phase::Killed && self.is_slow.load(Ordering::Relaxed);
            if is_slow {
                // Who was just being born while the others were killed is found by another look.
                self.signal(Signal::KILL)?;
            }
            let look = is_slow.then(|| self.backend.clock().now());
            let is_empty = self.place.wait_empty(look.or(deadline))?;
            // Killed meanwhile, it has births to wait for.
            if is_empty && self.stays(phase) {
                return Ok(true);
            }
            let is_late = deadline.is_some_and(|deadline| deadline <= self.backend.clock().now());
            if is_late || !(is_empty || is_slow) {
                return Ok(false);
            }
            if is_slow {
                pauses.sleep(self.backend.clock(), deadline);
            }
        }
    }

    /// Waits until nobody is being born in it; whether that is so before the deadline.
    fn wait_for_births(&self, deadline: Option<Instant>) -> bool {
        if !self.is_here() {
            return true;
        }
        let mut state = self.lock();
        while state.births > 0 {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(self.backend.clock().now()));
            state = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => self.born.wait_timeout(state, left).0,
                None => self.born.wait(state),
            };
        }
        true
    }

    /// Nothing lived in it when it was in this phase: whether that is its answer. If it was killed by then, it is empty for ever.
    fn stays(&self, phase: Phase) -> bool {
        if !self.is_here() {
            return true;
        }
        let mut state = self.lock();
        if phase == Phase::Killed {
            state.phase = Phase::Empty;
        }
        state.phase == phase || state.phase == Phase::Empty
    }

    fn over(&self) -> Error {
        Error::JobOver { containment: self.place.containment() }
    }

    fn admit(self: &Arc<Self>, plan: &Plan) -> Result<(Plan, OnBirth)> {
        let mut attributes = Attributes::clone(plan.attributes());
        let joined = self.place.join(&mut attributes);
        joined.map_err(|why| Error::InvalidPlan { program: plan.program().to_owned(), why })?;
        Ok((plan.joined(attributes), self.begin_birth()?))
    }

    /// From here until it is told how that went, somebody is about to become a member.
    fn begin_birth(self: &Arc<Self>) -> Result<OnBirth> {
        if self.is_here() {
            let mut state = self.lock();
            if state.phase != Phase::Open || state.is_detached {
                return Err(self.over());
            }
            state.births += 1;
        }
        let own = Arc::clone(self);
        Ok(Box::new(move |pid| own.born(pid)))
    }

    fn born(&self, pid: Option<Pid>) {
        if let Some(pid) = pid {
            self.place.born(pid);
        }
        if !self.is_here() {
            return;
        }
        let phase = self.lock().phase;
        if phase != Phase::Open {
            // Before it is counted as over: a wait that sees none under way is to see a job that was killed after all of them.
            drop(self.signal(Signal::KILL));
        }
        let mut state = self.lock();
        state.births -= 1;
        // It may have been killed between the two locks; then that kill came after the birth.
        if state.births == 0 {
            self.born.notify_all();
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({}, {}, {:?})", self.containment(), self.backend().info().name, self.inner.phase())
    }
}
