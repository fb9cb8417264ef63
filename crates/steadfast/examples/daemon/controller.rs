//! [`Controller`]: starts and stops the daemon of a pidfile, and never anybody else.

use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::time::Duration;
use steadfast::{Command, Error, ExitStatus, Pid, Process, Signal, Stdio, System};

pub(crate) struct Controller {
    pidfile: PathBuf,
    /// When whoever has this number was started.
    start_time: Box<dyn Fn(Pid) -> Option<u64> + Send + Sync>,
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
    WillNotDie(Pid),
    /// Somebody else starts or stops it at this moment.
    Busy,
    /// The pidfile does not say what this program writes.
    Damaged(PathBuf, String),
    Pidfile(PathBuf, io::Error),
    Process(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Running(pid) => write!(f, "it runs already, as process {pid}"),
            Failure::Ended(status) => write!(f, "it has ended right after its start: {status}"),
            Failure::WillNotDie(pid) => write!(f, "process {pid} was killed and is still there: look at /proc/{pid}/stack"),
            Failure::Busy => write!(f, "somebody else starts or stops it at this moment: try again"),
            Failure::Damaged(file, text) => {
                write!(
                    f,
                    "{} says {text:?}, which is no PID and start time: remove it when the daemon does not run",
                    file.display()
                )
            }
            Failure::Pidfile(file, error) => write!(f, "{}: {error}", file.display()),
            Failure::Process(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Process(error)
    }
}

/// What the pidfile says.
#[derive(Clone, Copy)]
struct Record {
    pid: Pid,
    started: u64,
}

/// The pidfile, which nobody else uses meanwhile. It is never removed, only emptied: whoever has opened it has the one.
struct Pidfile {
    path: PathBuf,
    file: File,
    record: Option<Record>,
}

/// How long a daemon must last to be called started.
const FIRST_STEPS: Duration = Duration::from_millis(100);
const LOOK_EACH: Duration = Duration::from_millis(50);

impl Controller {
    pub(crate) fn new(
        pidfile: PathBuf,
        start_time: impl Fn(Pid) -> Option<u64> + Send + Sync + 'static,
    ) -> Result<Controller, Failure> {
        Ok(Controller { pidfile, start_time: Box::new(start_time), system: System::current()? })
    }

    /// Starts it in a session of its own.
    pub(crate) fn start(&self, daemon: &Command) -> Result<Pid, Failure> {
        let mut pidfile = self.open()?;
        if let Some((record, _)) = self.running(&pidfile)? {
            return Err(Failure::Running(record.pid));
        }
        let mut daemon = daemon.clone();
        daemon.setsid(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.system.spawn(&daemon)?;
        let pid = child.pid();
        // As long as we hold it, the number is its own, dead or alive.
        let started = (self.start_time)(pid).ok_or_else(|| io::Error::other("no /proc, which says when a process was started"));
        let written = match started {
            Ok(started) => pidfile.write(Some(Record { pid, started })),
            Err(error) => Err(Failure::Pidfile("/proc".into(), error)),
        };
        if let Err(failure) = written {
            // Nobody could stop it later.
            child.kill().and_then(|()| child.wait())?;
            return Err(failure);
        }
        match child.wait_timeout(FIRST_STEPS)? {
            None => Ok(pid),
            Some(status) => {
                pidfile.write(None)?;
                Err(Failure::Ended(status))
            }
        }
    }

    /// Stops it, and gives the PID that it had; `None` if it was not running.
    pub(crate) fn stop(&self, grace: Duration) -> Result<Option<Pid>, Failure> {
        let mut pidfile = self.open()?;
        let Some((record, process)) = self.running(&pidfile)? else {
            pidfile.write(None)?;
            return Ok(None);
        };
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, Duration::from_secs(60))] {
            match process.signal(signal) {
                Ok(()) | Err(Error::ProcessDone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if self.is_gone_within(&pidfile, patience)? {
                pidfile.write(None)?;
                return Ok(Some(record.pid));
            }
        }
        Err(Failure::WillNotDie(record.pid))
    }

    /// Its PID, if it runs.
    pub(crate) fn status(&self) -> Result<Option<Pid>, Failure> {
        Ok(self.running(&self.open()?)?.map(|(record, _)| record.pid))
    }

    /// Takes hold of whoever has the number; then asks who it is. If that is the daemon, so is what is held: had it been somebody
    /// before the daemon, the daemon would have been started since, and it was not.
    fn running(&self, pidfile: &Pidfile) -> Result<Option<(Record, Process)>, Failure> {
        let Some(record) = pidfile.record else { return Ok(None) };
        match self.system.find(record.pid) {
            Ok(process) => Ok(((self.start_time)(record.pid) == Some(record.started)).then_some((record, process))),
            Err(Error::ProcessDone { .. } | Error::ThreadId { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// It is not our child, so that there is no status to wait for.
    fn is_gone_within(&self, pidfile: &Pidfile, patience: Duration) -> Result<bool, Failure> {
        let start = self.system.now();
        while self.running(pidfile)?.is_some() {
            if self.system.now() - start >= patience {
                return Ok(false);
            }
            self.system.sleep(LOOK_EACH);
        }
        Ok(true)
    }

    fn open(&self) -> Result<Pidfile, Failure> {
        let path = self.pidfile.clone();
        let failed = |error| Failure::Pidfile(path.clone(), error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(errno) if errno == rustix::io::Errno::WOULDBLOCK => return Err(Failure::Busy),
            Err(errno) => return Err(failed(errno.into())),
        }
        let mut text = String::new();
        (&file).read_to_string(&mut text).map_err(failed)?;
        let record = match Record::parse(&text) {
            Ok(record) => record,
            Err(()) => return Err(Failure::Damaged(path, text)),
        };
        Ok(Pidfile { path, file, record })
    }
}

impl Record {
    fn parse(text: &str) -> Result<Option<Record>, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => Ok(None),
            [pid, started] => Ok(Some(Record { pid: pid.parse().map_err(drop)?, started: started.parse().map_err(drop)? })),
            _ => Err(()),
        }
    }
}

impl Pidfile {
    fn write(&mut self, record: Option<Record>) -> Result<(), Failure> {
        let text = record.map(|Record { pid, started }| format!("{pid} {started}\n")).unwrap_or_default();
        let written = self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| self.file.write_all(text.as_bytes()));
        self.record = record;
        written.map_err(|error| Failure::Pidfile(self.path.clone(), error))
    }
}

/// Closing would not do: a child that another thread is just starting has a copy of the descriptor, until it executes its program.
impl Drop for Pidfile {
    fn drop(&mut self) {
        // It can only fail for a file that is not open.
        flock(&self.file, FlockOperation::Unlock).ok();
    }
}
