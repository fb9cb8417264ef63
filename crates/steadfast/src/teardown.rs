//! [`Teardown`]: how to stop what runs, from asking to insisting; and what came of it.

mod targets;

pub(crate) use targets::{Refusal, Targets};

use crate::ExitStatus;
use std::fmt;
use std::time::Duration;
use steadfast_core::{Result, Signal};

/// How to stop a process or a job: signals one after the other, each with the time that is given to it, and `SIGKILL` at the end.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Command, Signal, Teardown};
/// let server = Command::new("sleep").arg("60").spawn()?;
/// let second = Duration::from_secs(1);
/// let how = Teardown::signal(Signal::INT, second).then(Signal::TERM, second).kill();
/// let stopped = server.stop(&how)?;
/// println!("{stopped}");                                                // "ended after SIGINT", or what was needed
/// assert!(stopped.is_over());
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "it says how to stop, and stops nothing"]
pub struct Teardown {
    steps: Vec<(Signal, Duration)>,
}

/// How long a process that was killed may take to be gone, if nothing else is said. In state D, frozen, or before a debugger it takes as long as
/// that lasts.
const AFTER_KILL: Duration = Duration::from_secs(1);

impl Teardown {
    /// `SIGTERM`, this time to end in, then `SIGKILL`.
    pub fn graceful(time: Duration) -> Teardown {
        Teardown::signal(Signal::TERM, time).kill()
    }

    /// `SIGKILL` at once.
    pub fn killing() -> Teardown {
        Teardown { steps: Vec::new() }.kill()
    }

    /// Begins with this signal, after which it waits for this time. Without [`kill`](Self::kill) what has not ended after the last step runs on.
    pub fn signal(signal: Signal, time: Duration) -> Teardown {
        Teardown { steps: vec![(signal, time)] }
    }

    /// Goes on with this signal, after which it waits for this time.
    pub fn then(mut self, signal: Signal, time: Duration) -> Teardown {
        self.steps.push((signal, time));
        self
    }

    /// Ends with `SIGKILL`, and waits for a second. It takes longer only where no signal ends a process at once: in an uninterruptible system call,
    /// frozen, or held by a debugger.
    pub fn kill(self) -> Teardown {
        self.kill_within(AFTER_KILL)
    }

    /// As [`kill`](Self::kill), and waits for this time.
    pub fn kill_within(self, time: Duration) -> Teardown {
        self.then(Signal::KILL, time)
    }

    /// The signals, and the times that it waits after them.
    pub fn steps(&self) -> &[(Signal, Duration)] {
        &self.steps
    }

    /// No step was taken.
    pub(crate) fn begin(&self) -> Steps {
        Steps { how: self.clone(), taken: 0, sent: None }
    }
}

/// How far a teardown has come. Who takes the steps sends and waits: blocked, in a task, or while output is read.
pub(crate) struct Steps {
    how: Teardown,
    taken: usize,
    sent: Option<Signal>,
}

impl Steps {
    /// Sends the next signal, by `send`, which says whether anybody got it; returns for how long to wait then. `None`: there is no further step.
    pub(crate) fn next(&mut self, send: impl FnOnce(Signal) -> Result<bool>) -> Result<Option<Duration>> {
        let Some((signal, time)) = self.how.steps.get(self.taken) else { return Ok(None) };
        self.taken += 1;
        if send(*signal)? {
            self.sent = Some(*signal);
        }
        Ok(Some(*time))
    }

    pub(crate) fn stopped(&self, is_over: bool) -> Stopped {
        Stopped::new(is_over, self.sent)
    }
}

/// `SIGTERM, 10s; SIGKILL, 1s`
impl fmt::Display for Teardown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (signal, time)) in self.steps.iter().enumerate() {
            write!(f, "{}{signal}, {time:?}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// What a [`Teardown`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    is_over: bool,
    signal: Option<Signal>,
    status: Option<ExitStatus>,
}

impl Stopped {
    pub(crate) fn new(is_over: bool, signal: Option<Signal>) -> Stopped {
        Stopped { is_over, signal, status: None }
    }

    pub(crate) fn with(self, status: Option<ExitStatus>) -> Stopped {
        Stopped { status, ..self }
    }

    /// Whether it is over: the process was waited for, and nothing lives in the job. Otherwise the last step's time has passed, and it runs on, or no
    /// signal ends it yet.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The last signal that was sent; `None`: it had ended before.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// How the process ended, of a pipeline the last one; `None` of a job, and if that is not known.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }
}

/// `ended after SIGTERM`
impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_over, self.signal) {
            (true, None) => f.write_str("had ended before"),
            (true, Some(signal)) => write!(f, "ended after {signal}"),
            (false, None) => f.write_str("runs on"),
            (false, Some(signal)) => write!(f, "has not ended after {signal}"),
        }
    }
}
