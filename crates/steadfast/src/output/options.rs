//! [`Capture`]: how to read what a child writes.

use crate::System;
use crate::teardown::Teardown;
use crate::within::Within;
use std::time::Duration;

/// How to read the output of a child: for how long, how much of it, and what to do at the limit.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Capture, Command};
/// let options = Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true).limit(1000);
/// let captured = Command::new("seq").arg("100000").capture(&options)?;
/// assert!(captured.status.expect("in time").success());
/// assert!(captured.stdout.head().starts_with(b"1\n2\n"));
/// assert!(captured.stdout.tail().ends_with(b"99999\n100000\n"));
/// assert_eq!(captured.stdout.total(), 588_895);
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it says how to read, and reads nothing"]
pub struct Capture {
    pub(crate) timeout: Option<Duration>,
    pub(crate) kill_on_timeout: bool,
    /// How it is ended then, if not by `SIGKILL` at once.
    pub(crate) on_timeout: Option<Teardown>,
    pub(crate) limit: Option<usize>,
    pub(crate) kill_on_limit: bool,
    pub(crate) line_limit: Option<usize>,
    /// After the exit; `None`: to the end of the streams.
    pub(crate) wait_delay: Option<Duration>,
}

/// Whoever passes on a child's words (`exec > >(cat)`) is done soon after it, and a daemon that has kept them open never is.
const WAIT_DELAY: Duration = Duration::from_millis(250);

/// How long a process that was killed may take to be gone. In state D, frozen, or before a debugger it takes as long as that lasts.
pub(crate) const KILL_DELAY: Duration = Duration::from_millis(250);

impl Default for Capture {
    fn default() -> Capture {
        Capture::new()
    }
}

impl Capture {
    /// The time of a call on this system, which begins now.
    pub(crate) fn begin(&self, system: &System) -> Option<Within> {
        Within::from(system.now(), self.timeout)
    }

    /// No timeout, no limit, and a [`wait_delay`](Self::wait_delay) of a quarter of a second.
    pub fn new() -> Capture {
        Capture {
            timeout: None,
            kill_on_timeout: false,
            on_timeout: None,
            limit: None,
            kill_on_limit: false,
            line_limit: None,
            wait_delay: Some(WAIT_DELAY),
        }
    }

    /// Returns after this time, with what was read so far. The time begins with the call, even if the call first has to wait for another thread
    /// that reads the same child. It includes the start of the child, where the call starts it: a child that does not run its
    /// program by then is killed in any case ([`Captured::started`](super::Captured::started)).
    pub fn timeout(mut self, timeout: Duration) -> Capture {
        self.timeout = Some(timeout);
        self
    }

    /// Whether the child is killed and waited for when the timeout has passed. Otherwise it goes on, and can be captured again. With
    /// [`on_timeout`](Self::on_timeout), it is stopped as that says instead.
    ///
    /// A process that is frozen, held by a debugger, or in an uninterruptible system call does not exit at once when it is killed. It is waited for
    /// another quarter of a second; then the status is `None`.
    pub fn kill_on_timeout(mut self, kill: bool) -> Capture {
        self.kill_on_timeout = kill;
        self
    }

    /// Stops the child like this when the timeout has passed, instead of killing it at once: signals, each with the time that is given to it. What the
    /// child writes meanwhile is read. [`Captured::stopped`](super::Captured::stopped) says what was needed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Capture, Command, Signal, Teardown};
    /// let script = "trap 'echo saved; exit 3' TERM; echo begun; while :; do sleep 0.01; done";
    /// let options = Capture::new().timeout(Duration::from_millis(500)).on_timeout(Teardown::graceful(Duration::from_secs(60)));
    /// let captured = Command::new("sh").args(["-c", script]).capture(&options)?;
    /// let stopped = captured.stopped.expect("its time was up");
    /// assert_eq!((stopped.to_string(), stopped.signal()), ("ended after SIGTERM".into(), Some(Signal::TERM)));
    /// assert_eq!((captured.stdout.to_vec(), captured.status.unwrap().code()), (b"begun\nsaved\n".to_vec(), Some(3)));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// A child that was started in a [job](crate::Command::in_job), its own or one of others too, is stopped with all of it: each member gets the
    /// signals, and it is over when nothing lives there. The commands of a [`Pipeline`](crate::Pipeline) are stopped together, the last first.
    ///
    /// The call returns when that is over, at the latest when the times of all steps have passed after the timeout. Its input is written on meanwhile.
    ///
    /// | given too | what happens |
    /// | --- | --- |
    /// | no [`timeout`](Self::timeout) | nothing: there is no limit at which it could be stopped |
    /// | [`kill_on_timeout(true)`](Self::kill_on_timeout), before or after | it is stopped like this |
    /// | `kill_on_timeout(false)`, after | nothing: it goes on; `true` after that stops it like this again |
    /// | [`kill_on_limit`](Self::kill_on_limit) | a child that writes too much is killed at once, also while it is being stopped |
    ///
    /// | the child … | then |
    /// | --- | --- |
    /// | has ended when the time is up, with all of its job | `stopped` says so, and that no signal was needed |
    /// | does not run its program by then | it is killed at once ([`Captured::started`](super::Captured::started)) |
    /// | lives after the last step, if that is not `SIGKILL` or has no effect | the `status` is `None`; it goes on, its input ends, and it can be captured again |
    /// | may not be signalled (`EPERM`: it has changed its user) | each step's time passes, and it goes on |
    pub fn on_timeout(mut self, how: Teardown) -> Capture {
        (self.on_timeout, self.kill_on_timeout) = (Some(how), true);
        self
    }

    /// How it is stopped when the timeout has passed, if that is not by `SIGKILL` at once.
    pub(crate) fn teardown(&self) -> Option<&Teardown> {
        self.on_timeout.as_ref().filter(|_| self.kill_on_timeout)
    }

    /// Keeps at most this many bytes of each stream, the first half and the last half, and counts the rest. So the memory in use does not grow with
    /// the output. Reading continues as long as the child writes; see [`kill_on_limit`](Self::kill_on_limit).
    pub fn limit(mut self, bytes: usize) -> Capture {
        self.limit = Some(bytes);
        self
    }

    /// Whether the child is killed and waited for as soon as one of its streams has more than the [`limit`](Self::limit), instead of reading
    /// on; [`Captured::over_limit`](super::Captured::over_limit) says so. Without a limit it has no effect.
    ///
    /// ```
    /// use steadfast::{Capture, Command};
    /// let captured = Command::new("yes").capture(&Capture::new().limit(1 << 20).kill_on_limit(true))?;
    /// assert!(captured.over_limit && captured.stdout.head().starts_with(b"y\ny\n"));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn kill_on_limit(mut self, kill: bool) -> Capture {
        self.kill_on_limit = kill;
        self
    }

    /// Keeps at most this many bytes of each line, its beginning, and counts the rest, where output is read
    /// [line by line](crate::Command::lines). So a line without an end does not use up the memory.
    pub fn line_limit(mut self, bytes: usize) -> Capture {
        self.line_limit = Some(bytes);
        self
    }

    /// How long to continue reading, within the timeout, when the child has exited and another process, such as a grandchild, still has its streams
    /// open. The output of the child itself is always read. What the other process writes later is not, and then the stream is not
    /// [complete](super::CapturedStream::is_complete). By default: a quarter of a second.
    pub fn wait_delay(mut self, delay: Duration) -> Capture {
        self.wait_delay = Some(delay);
        self
    }

    /// Reads to the end of both streams, even if other processes keep them open, as `output` does; the timeout still counts.
    pub fn to_the_end(mut self) -> Capture {
        self.wait_delay = None;
        self
    }
}
