//! [`Controller`]: starts and stops the daemon of a pidfile, and never anybody else.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use steadfast::{Command, Error, ErrorKind, ExitStatus, Pid, Pidfile, PidfileIs, PidfileStatus, Signal, Stdio, System, Teardown};

pub(crate) struct Controller {
    pidfile: PathBuf,
    system: System,
}

/// Why it could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It runs already.
    Running(Pid),
    /// It was started and has ended right away.
    Ended(ExitStatus),
    /// It was killed, and is still there: it hangs in the kernel.
    WillNotDie(PathBuf),
    Steadfast(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Running(pid) => write!(f, "it runs already, as process {pid}"),
            Failure::Ended(status) => write!(f, "it has ended right after its start: {status}"),
            Failure::WillNotDie(pidfile) => {
                write!(f, "the process of {} was killed and is still there: look at /proc/PID/stack", pidfile.display())
            }
            Failure::Steadfast(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Pidfile { is: PidfileIs::Taken { pid }, .. } => Failure::Running(pid),
            error => Failure::Steadfast(error),
        }
    }
}

/// How long a daemon must last to be called started.
const FIRST_STEPS: Duration = Duration::from_millis(100);

impl Controller {
    pub(crate) fn new(pidfile: PathBuf) -> Result<Controller, Failure> {
        Ok(Controller { pidfile, system: System::current()? })
    }

    /// Starts it in a session of its own. If two do so at once, the one whose daemon does not get the pidfile ends it again.
    pub(crate) fn start(&self, daemon: &Command) -> Result<Pid, Failure> {
        if let Some(pid) = self.status()? {
            return Err(Failure::Running(pid));
        }
        let mut daemon = daemon.clone();
        daemon.setsid(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.system.spawn(&daemon)?;
        let pid = child.pid();
        let pidfile = match Pidfile::create(&self.pidfile, &child) {
            Ok(pidfile) => pidfile,
            Err(error) => {
                // Nobody could stop it later. It may have ended, which is then why it has no name.
                let status = child.stop(&Teardown::killing())?.status();
                let has_ended = error.kind() == ErrorKind::ProcessDone;
                return Err(status.filter(|_| has_ended).map_or(error.into(), Failure::Ended));
            }
        };
        match child.wait_timeout(FIRST_STEPS)? {
            None => {
                pidfile.keep();
                Ok(pid)
            }
            // Its pidfile goes with it.
            Some(status) => Err(Failure::Ended(status)),
        }
    }

    /// Stops it: whether it was running.
    pub(crate) fn stop(&self, grace: Duration) -> Result<bool, Failure> {
        let how = Teardown::signal(Signal::TERM, grace).kill_within(Duration::from_secs(60));
        let stopped = Pidfile::stop(&self.pidfile, &how)?;
        if stopped.is_over() { Ok(stopped.signal().is_some()) } else { Err(Failure::WillNotDie(self.pidfile.clone())) }
    }

    /// Its PID, if it runs.
    pub(crate) fn status(&self) -> Result<Option<Pid>, Failure> {
        match Pidfile::status(&self.pidfile)? {
            PidfileStatus::Running(process) => Ok(Some(process.pid())),
            PidfileStatus::Absent | PidfileStatus::Stale(_) => Ok(None),
            PidfileStatus::Unknown(why) => Err(why.into()),
            PidfileStatus::OtherNamespace => {
                Err(Failure::Steadfast(Error::Pidfile { path: self.pidfile.clone(), is: PidfileIs::Elsewhere }))
            }
        }
    }
}
