//! [`Supervisor`]: keeps a program running, until it is told to stop or the program fails too often.
//!
//! It is ordinary code. It takes its time from [`System`] and its locks from [`steadfast::sync`], so that the simulated kernel can run
//! an hour of it in a millisecond, and every order of its threads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use steadfast::sync::{Condvar, Mutex};
use steadfast::{Command, Error, ExitStatus, Process, Signal, System};

/// When to start it again, and how to stop it.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// What it doubles up to.
    pub longest_pause: Duration,
    /// After so long a run the next failure is a first one.
    pub steady: Duration,
    /// So many restarts within the window, and no more.
    pub max_restarts: usize,
    /// See `max_restarts`.
    pub window: Duration,
    /// How long it may take to stop before it is killed.
    pub grace: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        let seconds = Duration::from_secs;
        Policy {
            first_pause: Duration::from_millis(100),
            longest_pause: seconds(30),
            steady: seconds(60),
            max_restarts: 10,
            window: seconds(60),
            grace: seconds(5),
        }
    }
}

/// How supervising ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to.
    Stopped,
    /// The program failed too often; its last status, if it could be started.
    GaveUp(Option<ExitStatus>),
}

pub(crate) struct Supervisor {
    command: Command,
    policy: Policy,
    system: System,
    /// A number from 0 to 1 for each pause: half of it is fixed and half is chance, so that many supervisors do not restart at once.
    jitter: Mutex<Box<dyn FnMut() -> f64 + Send>>,
    state: Mutex<State>,
    stopping: Condvar,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    current: Option<Process>,
}

impl Supervisor {
    pub(crate) fn new(
        command: Command,
        policy: Policy,
        jitter: impl FnMut() -> f64 + Send + 'static,
    ) -> Result<Supervisor, Error> {
        let (system, jitter) = (System::current()?, Mutex::new(Box::new(jitter) as Box<_>));
        Ok(Supervisor { command, policy, system, jitter, state: Mutex::default(), stopping: Condvar::new() })
    }

    /// Runs the program until [`stop`](Self::stop) is called or it has failed too often.
    pub(crate) fn run(&self) -> Result<Ended, Error> {
        let mut restarts: VecDeque<Instant> = VecDeque::new();
        let mut pause = self.policy.first_pause;
        loop {
            let started = self.system.now();
            let status = match self.system.spawn(&self.command) {
                Ok(child) => {
                    // Whoever stops us sees the child from here on; who was before that is seen here.
                    if self.is_stopping_with(Some(child.process())) {
                        self.terminate(child.process())?;
                        return Ok(Ended::Stopped);
                    }
                    Some(child.wait()?)
                }
                // Of the moment: as good as a crash.
                Err(error) if error.errno().is_some_and(|errno| errno.is_transient()) => None,
                Err(error) => return Err(error),
            };
            if self.is_stopping_with(None) {
                return Ok(Ended::Stopped);
            }
            let now = self.system.now();
            if now - started >= self.policy.steady {
                pause = self.policy.first_pause;
            }
            restarts.retain(|restart| now - *restart < self.policy.window);
            if restarts.len() >= self.policy.max_restarts {
                return Ok(Ended::GaveUp(status));
            }
            restarts.push_back(now);
            if self.is_stopped_within(self.jittered(pause)) {
                return Ok(Ended::Stopped);
            }
            pause = (pause * 2).min(self.policy.longest_pause);
        }
    }

    /// Stops the program: `TERM`, and `KILL` when the grace is over. Returns when it is gone; [`run`](Self::run) returns too.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        let current = {
            let mut state = self.state.lock();
            state.is_stopping = true;
            state.current.clone()
        };
        self.stopping.notify_all();
        current.map_or(Ok(()), |process| self.terminate(&process))
    }

    /// Through the handle, it is no matter if the program ends, and is waited for, at any moment of this.
    fn terminate(&self, process: &Process) -> Result<(), Error> {
        match process.signal(Signal::TERM) {
            Err(Error::ProcessDone { .. }) => return Ok(()),
            sent => sent?,
        }
        if process.wait_timeout(self.policy.grace)?.is_none() {
            match process.kill() {
                Ok(()) | Err(Error::ProcessDone { .. }) => drop(process.wait()?),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says who runs now, and learns in the same moment whether it shall.
    fn is_stopping_with(&self, current: Option<&Process>) -> bool {
        let mut state = self.state.lock();
        state.current = current.cloned();
        state.is_stopping
    }

    /// Pauses; whether it was told to stop meanwhile.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let until = self.system.now() + pause;
        let mut state = self.state.lock();
        while !state.is_stopping {
            let left = until.saturating_duration_since(self.system.now());
            if left.is_zero() {
                break;
            }
            (state, _) = self.stopping.wait_timeout(state, left);
        }
        state.is_stopping
    }

    fn jittered(&self, pause: Duration) -> Duration {
        pause.mul_f64(0.5 + 0.5 * (self.jitter.lock())())
    }
}
