//! [`Error`]: one type for all backends, with a kind for programs and a text for people.
//!
//! Longer than other files: one type, with the sentence of each of its variants.

use crate::advice::{advice_at, advice_on};
use crate::{Containment, Errno, JobLimit, Pid, PidfileIs, Wall};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why an operation failed.
///
/// The text says what was to be done, which call failed on which object, the system's message with the errno, and what to do about it if that is
/// known. For programs there are [`Error::kind`] and [`Error::raw_os_error`].
///
/// `From<Error> for std::io::Error` makes `?` work in functions that return [`io::Result`]. The `io::Error` contains the `Error`: it
/// prints the same text, and [`io::Error::downcast`] returns the `Error`. Its `kind()` is std's for the errno, or the nearest one. An `io::Error`
/// holds either an errno or another error, never both. So its own `raw_os_error()` is `None`; [`Errno::of`] finds the errno in both cases.
///
/// `Debug` prints the same text as `Display`, because `unwrap`, and a `main` that returns an error, print `Debug`. `{:#?}` shows the fields.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process has been waited for, or was found to be gone (the system's `ESRCH`).
    #[error("process {pid}: it has already finished")]
    ProcessDone {
        /// The PID that it had.
        pid: Pid,
    },
    /// The handle has been released.
    #[error("process {pid}: the handle was released")]
    Released {
        /// The PID that it had or has.
        pid: Pid,
    },
    /// The exit status is not available (`ECHILD`).
    #[error(
        "wait for process {pid}: No child processes (os error 10): it is not a child of this process, \
         SIGCHLD is ignored, or somebody else has waited for it"
    )]
    NoChild {
        /// The PID that it had or has.
        pid: Pid,
    },
    /// The backend has no file descriptor to lend.
    #[error("process {pid}: the {backend} backend has no pidfd to lend")]
    NoHandle {
        /// The process.
        pid: Pid,
        /// The backend's name.
        backend: &'static str,
    },
    /// There is no process group of the process's number.
    #[error("process {pid}: it leads no process group: start it with process_group(0), or signal it alone")]
    NoGroup {
        /// The process.
        pid: Pid,
    },
    /// Two processes or jobs cannot have one key in a set.
    #[error("{}: the set has this key already: take another key, or remove that one first", pid.map_or("a job".into(), |pid| format!("process {pid}")))]
    KeyInUse {
        /// The process that was to be added; `None`: it was a job.
        pid: Option<Pid>,
    },
    /// A number that no process can have.
    #[error("{given} is no process ID: it must be between 1 and {}", Pid::MAX)]
    InvalidPid {
        /// What was given.
        given: String,
    },
    /// A number or name that no signal has.
    #[error("{given} is no signal: give a name such as TERM or RTMIN+3, or a number between 1 and 64")]
    InvalidSignal {
        /// What was given.
        given: String,
    },
    /// A text that is no [`Identity`](crate::Identity).
    #[error("{given} names no process: at byte {at}: {why}")]
    InvalidIdentity {
        /// The text, its first 120 characters at the most.
        given: String,
        /// Where in the text, in bytes from its beginning.
        at: usize,
        /// What is wrong there.
        why: &'static str,
    },
    /// A process cannot be named, or it cannot be known whether it is the one that an [`Identity`](crate::Identity) names.
    #[error("identity of process {pid}: {why}")]
    UnknownIdentity {
        /// The PID that it has or had.
        pid: Pid,
        /// Why not, and what to do about it.
        why: String,
    },
    /// A pidfile cannot be had.
    #[error("pidfile `{}`: {is}", .path.display())]
    Pidfile {
        /// The file.
        path: PathBuf,
        /// What it is.
        is: PidfileIs,
    },
    /// The number is the ID of a thread that does not lead its process.
    #[error("find {tid}: it is the ID of a thread, not of a process; the process is the `Tgid:` in /proc/{tid}/status")]
    ThreadId {
        /// What was given.
        tid: Pid,
    },
    /// The descriptor is no pidfd, or its process cannot be held by one here.
    #[error("descriptor {fd}: {found}")]
    NotAProcess {
        /// The number that it had; it has been closed.
        fd: RawFd,
        /// What it is.
        found: FdIs,
    },
    /// The process may be reaped at any moment by others, and what was asked for goes by its number.
    #[error(
        "{call} on process {pid}: it is not a child that this handle's owner has spawned, so that its PID may become another's \
         between the look and the call: choose ByNumber::EvenIfReaped if you can live with that"
    )]
    NotPinned {
        /// The call, such as `prlimit`.
        call: &'static str,
        /// The process.
        pid: Pid,
    },
    /// It has executed another program, or has exited, since the look at it began.
    #[error("process {pid}: it has executed another program, or has exited, since the look at it began: begin a new one")]
    Changed {
        /// The process.
        pid: Pid,
    },
    /// The settings of the command contradict each other, or can never work. Nothing was started.
    #[error("spawn `{}`: {why}", std::path::Path::new(.program).display())]
    InvalidPlan {
        /// The program as it was given.
        program: OsString,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A step of the spawn failed, before the first instruction of the program. No child is left.
    #[error("spawn `{}`: {stage}: {source}{}", std::path::Path::new(.program).display(), advice_at(.stage.call(), *.source))]
    Spawn {
        /// The program as it was given.
        program: OsString,
        /// The step.
        stage: Stage,
        /// The system's answer.
        source: Errno,
    },
    /// A wall that was asked for is not there on this kernel: it is too old, or was built or started without. Nothing was started.
    #[error("spawn `{}`: {wall} cannot be had here: {call}: {source}: it takes Linux {} or later, {}; or ask for it with walls_if_possible", std::path::Path::new(.program).display(), .wall.since(), .wall.switch(), call = .wall.call())]
    NoWall {
        /// The program as it was given.
        program: OsString,
        /// What is not there.
        wall: Wall,
        /// The system's answer.
        source: Errno,
    },
    /// The program did not run in time: the file, or the interpreter that it names, cannot be opened, a step before waits for something, or the
    /// child was stopped. The child is killed, and reaped in the background; it may be held up where no signal ends it.
    #[error("spawn `{}`: it does not run after {limit:?}, and was killed: see what its file, or the interpreter that it names, waits for", std::path::Path::new(.program).display())]
    SpawnTimedOut {
        /// The program as it was given.
        program: OsString,
        /// How long it had.
        limit: Duration,
    },
    /// The job was killed, and takes no new process. Nothing was started.
    #[error("a job by {containment}: it was killed, and no process is started in it any more: make a new one")]
    JobOver {
        /// What holds it together.
        containment: Containment,
    },
    /// A job cannot be held together by this here.
    #[error("a job by {containment} cannot be had here: {why}")]
    NoContainment {
        /// What was asked for.
        containment: Containment,
        /// Which call failed on what, and how.
        why: String,
        /// The errno of that call, if it returned one.
        errno: Option<Errno>,
    },
    /// What lives in the job is not killed when this process is gone.
    #[error("a job by {containment} lives on when its owner is gone: {why}")]
    JobLivesOn {
        /// What holds it together.
        containment: Containment,
        /// Which call failed on what, and how; or why nobody could see to it.
        why: String,
        /// The errno of that call, if it returned one.
        errno: Option<Errno>,
    },
    /// The job cannot be limited in this here. It was not made.
    #[error("a job with a limit of {limit} cannot be had here: {why}")]
    NoLimit {
        /// What was to be limited.
        limit: JobLimit,
        /// Which call failed on what, and how.
        why: String,
        /// The errno of that call, if it returned one.
        errno: Option<Errno>,
    },
    /// The backend cannot do this at all.
    #[error("the {backend} backend: {what}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// What it cannot do, and what to do instead.
        what: String,
    },
    /// The backend that was asked for cannot work on this kernel or in this sandbox.
    #[error("the {backend} backend cannot work here: {why}")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// Which call failed, and how.
        why: String,
        /// The errno of that call, if it returned one.
        errno: Option<Errno>,
    },
    /// `STEADFAST_BACKEND` names no backend.
    #[error("STEADFAST_BACKEND={}: no such backend: set it to `pidfd` or `pid-legacy`, or unset it", std::path::Path::new(.given).display())]
    UnknownBackend {
        /// Its value.
        given: OsString,
    },
    /// A command that had to succeed did not.
    #[error("`{command}`: {}{}{}", ended(.status.as_ref()), behind(.cause), behind(.stderr))]
    Unsuccessful {
        /// The program and its arguments.
        command: String,
        /// How it ended; `None` if it still runs.
        status: Option<ExitStatus>,
        /// Why it was ended by its spawner; empty if it was not.
        cause: &'static str,
        /// The last lines that it wrote to stderr, if that was captured: at most ten.
        stderr: String,
    },
    /// A system call failed in a way that has no variant of its own.
    #[error("{call} on {subject}: {source}{}", advice_on(.call, *.source))]
    System {
        /// The call, such as `pidfd_open`.
        call: &'static str,
        /// What it was made on, such as `process 42`.
        subject: String,
        /// The system's answer.
        source: Errno,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        match self {
            Error::ProcessDone { pid } => f.debug_struct("ProcessDone").field("pid", pid).finish(),
            Error::Released { pid } => f.debug_struct("Released").field("pid", pid).finish(),
            Error::NoChild { pid } => f.debug_struct("NoChild").field("pid", pid).finish(),
            Error::NoHandle { pid, backend } => f.debug_struct("NoHandle").field("pid", pid).field("backend", backend).finish(),
            Error::NoGroup { pid } => f.debug_struct("NoGroup").field("pid", pid).finish(),
            Error::KeyInUse { pid } => f.debug_struct("KeyInUse").field("pid", pid).finish(),
            Error::InvalidPid { given } => f.debug_struct("InvalidPid").field("given", given).finish(),
            Error::InvalidSignal { given } => f.debug_struct("InvalidSignal").field("given", given).finish(),
            Error::InvalidIdentity { given, at, why } => {
                f.debug_struct("InvalidIdentity").field("given", given).field("at", at).field("why", why).finish()
            }
            Error::UnknownIdentity { pid, why } => f.debug_struct("UnknownIdentity").field("pid", pid).field("why", why).finish(),
            Error::Pidfile { path, is } => f.debug_struct("Pidfile").field("path", path).field("is", is).finish(),
            Error::ThreadId { tid } => f.debug_struct("ThreadId").field("tid", tid).finish(),
            Error::NotAProcess { fd, found } => f.debug_struct("NotAProcess").field("fd", fd).field("found", found).finish(),
            Error::NotPinned { call, pid } => f.debug_struct("NotPinned").field("call", call).field("pid", pid).finish(),
            Error::Changed { pid } => f.debug_struct("Changed").field("pid", pid).finish(),
            Error::InvalidPlan { program, why } => {
                f.debug_struct("InvalidPlan").field("program", program).field("why", why).finish()
            }
            Error::Spawn { program, stage, source } => {
                f.debug_struct("Spawn").field("program", program).field("stage", stage).field("source", source).finish()
            }
            Error::NoWall { program, wall, source } => {
                f.debug_struct("NoWall").field("program", program).field("wall", wall).field("source", source).finish()
            }
            Error::SpawnTimedOut { program, limit } => {
                f.debug_struct("SpawnTimedOut").field("program", program).field("limit", limit).finish()
            }
            Error::JobOver { containment } => f.debug_struct("JobOver").field("containment", containment).finish(),
            Error::JobLivesOn { containment, why, errno } => {
                let mut shown = f.debug_struct("JobLivesOn");
                shown.field("containment", containment).field("why", why).field("errno", errno).finish()
            }
            Error::NoContainment { containment, why, errno } => {
                let mut shown = f.debug_struct("NoContainment");
                shown.field("containment", containment).field("why", why).field("errno", errno).finish()
            }
            Error::NoLimit { limit, why, errno } => {
                f.debug_struct("NoLimit").field("limit", limit).field("why", why).field("errno", errno).finish()
            }
            Error::Unsupported { backend, what } => {
                f.debug_struct("Unsupported").field("backend", backend).field("what", what).finish()
            }
            Error::Unavailable { backend, why, errno } => {
                f.debug_struct("Unavailable").field("backend", backend).field("why", why).field("errno", errno).finish()
            }
            Error::UnknownBackend { given } => f.debug_struct("UnknownBackend").field("given", given).finish(),
            Error::Unsuccessful { command, status, cause, stderr } => {
                let mut shown = f.debug_struct("Unsuccessful");
                shown.field("command", command).field("status", status).field("cause", cause).field("stderr", stderr).finish()
            }
            Error::System { call, subject, source } => {
                f.debug_struct("System").field("call", call).field("subject", subject).field("source", source).finish()
            }
        }
    }
}

fn ended(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "it still runs".into(), ExitStatus::to_string)
}

fn behind(words: &str) -> String {
    let before = if words.contains('\n') { ":\n" } else { ": " };
    if words.is_empty() { String::new() } else { format!("{before}{words}") }
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::ProcessDone`]
    ProcessDone,
    /// [`Error::Released`]
    Released,
    /// [`Error::NoChild`]
    NoChild,
    /// [`Error::NoHandle`]
    NoHandle,
    /// [`Error::NoGroup`]
    NoGroup,
    /// The caller's mistake, found before any system call: a PID, a signal, a plan, a backend's name, a key, an identity's text.
    InvalidInput,
    /// [`Error::ThreadId`]
    ThreadId,
    /// [`Error::NotAProcess`]
    NotAProcess,
    /// [`Error::NotPinned`]
    NotPinned,
    /// [`Error::Changed`]
    Changed,
    /// [`Error::UnknownIdentity`]
    UnknownIdentity,
    /// [`Error::Pidfile`] of a process that runs.
    PidfileTaken,
    /// [`Error::Pidfile`] for any other reason.
    Pidfile,
    /// [`Error::Spawn`]
    Spawn,
    /// [`Error::SpawnTimedOut`]
    SpawnTimedOut,
    /// [`Error::JobOver`]
    JobOver,
    /// [`Error::Unsupported`], [`Error::Unavailable`], [`Error::NoContainment`], [`Error::JobLivesOn`], [`Error::NoLimit`] or [`Error::NoWall`]
    Unsupported,
    /// [`Error::Unsuccessful`]
    Unsuccessful,
    /// [`Error::System`]
    System,
}

impl Error {
    /// The failure of `call` on process `pid`: for authors of a backend.
    pub fn on_process(call: &'static str, pid: Pid, errno: Errno) -> Error {
        Error::System { call, subject: format!("process {pid}"), source: errno }
    }

    /// A job by this cannot be frozen: for authors of a backend.
    pub fn cannot_freeze(containment: Containment) -> Error {
        let what = "it cannot be frozen: send SIGSTOP and SIGCONT, or take a job by cgroup".into();
        Error::Unsupported { backend: containment.name(), what }
    }

    /// A job by process group outlives its owner: for authors of a backend.
    pub fn group_lives_on() -> Error {
        let why = "nobody watches over a process group: take a stronger containment".into();
        Error::JobLivesOn { containment: Containment::Group, why, errno: None }
    }

    /// It was asked for: for authors of a backend.
    pub fn asked_to_live_on(containment: Containment) -> Error {
        Error::JobLivesOn { containment, why: "that was asked for".into(), errno: None }
    }

    /// A job by this takes nobody who runs: for authors of a backend.
    pub fn cannot_adopt(containment: Containment) -> Error {
        let what = "who runs cannot become a member: start it in the job, or take a job by cgroup".into();
        Error::Unsupported { backend: containment.name(), what }
    }

    /// A job by this has no limits: for authors of a backend.
    pub fn cannot_limit(containment: Containment, limit: JobLimit) -> Error {
        let why = format!("a job by {containment} has no account of its own: take a cgroup");
        Error::NoLimit { limit, why, errno: None }
    }

    /// A backend has no jobs: for authors of one.
    pub fn no_jobs(backend: &'static str, containment: Containment) -> Error {
        Error::NoContainment { containment, why: format!("the {backend} backend has no jobs"), errno: None }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::ProcessDone { .. } => ErrorKind::ProcessDone,
            Error::Released { .. } => ErrorKind::Released,
            Error::NoChild { .. } => ErrorKind::NoChild,
            Error::NoHandle { .. } => ErrorKind::NoHandle,
            Error::NoGroup { .. } => ErrorKind::NoGroup,
            Error::ThreadId { .. } => ErrorKind::ThreadId,
            Error::NotAProcess { .. } => ErrorKind::NotAProcess,
            Error::NotPinned { .. } => ErrorKind::NotPinned,
            Error::Changed { .. } => ErrorKind::Changed,
            Error::UnknownIdentity { .. } => ErrorKind::UnknownIdentity,
            Error::Pidfile { is: PidfileIs::Taken { .. }, .. } => ErrorKind::PidfileTaken,
            Error::Pidfile { .. } => ErrorKind::Pidfile,
            Error::Spawn { .. } => ErrorKind::Spawn,
            Error::SpawnTimedOut { .. } => ErrorKind::SpawnTimedOut,
            Error::JobOver { .. } => ErrorKind::JobOver,
            Error::Unsupported { .. }
            | Error::Unavailable { .. }
            | Error::NoContainment { .. }
            | Error::JobLivesOn { .. }
            | Error::NoLimit { .. }
            | Error::NoWall { .. } => ErrorKind::Unsupported,
            Error::Unsuccessful { .. } => ErrorKind::Unsuccessful,
            Error::System { .. } => ErrorKind::System,
            Error::InvalidPid { .. }
            | Error::InvalidSignal { .. }
            | Error::InvalidIdentity { .. }
            | Error::InvalidPlan { .. }
            | Error::UnknownBackend { .. }
            | Error::KeyInUse { .. } => ErrorKind::InvalidInput,
        }
    }

    /// The errno behind it, if a system call gave one. [`Error::NoChild`] always has `ECHILD`.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::NoChild { .. } => Some(Errno::CHILD),
            Error::Spawn { source, .. } | Error::NoWall { source, .. } | Error::System { source, .. } => Some(*source),
            Error::Unavailable { errno, .. }
            | Error::NoContainment { errno, .. }
            | Error::JobLivesOn { errno, .. }
            | Error::NoLimit { errno, .. }
            | Error::Pidfile { is: PidfileIs::Unknown { errno, .. }, .. } => *errno,
            _ => None,
        }
    }

    /// Whether the failure is temporary, so that the same call may succeed later: there are no more descriptors (`EMFILE`, `ENFILE`), processes or
    /// threads (`EAGAIN`), memory (`ENOMEM`) or watches (`ENOSPC`), or the call was interrupted (`EINTR`).
    pub fn is_of_the_moment(&self) -> bool {
        self.errno().is_some_and(Errno::is_of_the_moment)
    }

    /// The errno behind it as a number, under std's name for it.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno().map(Errno::as_raw)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match (error.kind(), error.raw_os_error()) {
            (ErrorKind::ProcessDone, _) => io::ErrorKind::NotFound,
            (ErrorKind::Unsuccessful | ErrorKind::JobOver | ErrorKind::UnknownIdentity, _) => io::ErrorKind::Other,
            (ErrorKind::PidfileTaken, _) => io::ErrorKind::AlreadyExists,
            (ErrorKind::Pidfile, None) => io::ErrorKind::Other,
            (ErrorKind::SpawnTimedOut, _) => io::ErrorKind::TimedOut,
            (ErrorKind::NoHandle | ErrorKind::Unsupported, _) => io::ErrorKind::Unsupported,
            (_, Some(raw)) => io::Error::from_raw_os_error(raw).kind(),
            (_, None) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// The step of a spawn that failed, in the order in which they are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Making a pipe for one of the standard streams, or opening `/dev/null` for it; or opening the child's end of its terminal.
    Open {
        /// `stdin`, `stdout`, `stderr` or `its terminal`.
        stream: &'static str,
    },
    /// Making the process: `clone` or `clone3`.
    Clone,
    /// Opening the pidfd of the new process, where it does not come with it.
    Pidfd,
    /// Putting a descriptor in place of one of the standard streams.
    Stdio {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
    },
    /// Setting one of the attributes of the process.
    Attribute {
        /// The call, or the file that is written: `setgid`, `setuid`, `setgroups`, `capset`, `setsid`, `setpgid`, `TIOCSCTTY`,
        /// `TIOCSPGRP`, `TIOCNOTTY`, `clone` (with namespaces), `unshare`, `mount`, `uid_map`, `gid_map`, `setgroups file`,
        /// `cgroup`, `setpriority`, `sched_setscheduler`, `sched_setaffinity`, `oom_score_adj`, `personality`, `setrlimit`,
        /// `ioprio_set`, `sched_setattr`, `PR_CAPBSET_DROP`, `PR_SET_SECUREBITS`, `landlock_restrict_self`, `seccomp`, `sendmsg` (of its listener),
        /// `chroot`, `fchdir`, `fd`, `close_fds`, `no_new_privs`, `sigaction`, `parent_death_signal`, `ptrace` or
        /// `pre_exec`.
        call: &'static str,
        /// Its argument, such as the group ID; empty if it has none.
        value: String,
    },
    /// Changing to the working directory.
    Chdir {
        /// The directory.
        path: PathBuf,
    },
    /// Starting the program.
    Exec {
        /// The file that was tried last, or the only one; `None` when a search found no file to try.
        path: Option<PathBuf>,
        /// The directories searched, if the program was given without a slash.
        search_path: Option<OsString>,
        /// What the file needs to be run and is not there, so that the system says of the file itself that it does not exist.
        missing: Option<Missing>,
    },
}

/// What a program needs to be run (execve(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The interpreter that a script names in its first line.
    Interpreter(PathBuf),
    /// The loader that a dynamic program names (`PT_INTERP`, elf(5)): as a rule the program is for another C library or machine.
    Loader(PathBuf),
}

/// `its interpreter …, named in its first line, does not exist`
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Interpreter(path) => {
                let ends_in_cr = path.as_os_str().as_encoded_bytes().ends_with(b"\r");
                let path = path.display().to_string();
                let hint = if ends_in_cr { ": that line ends in a carriage return, as on Windows" } else { "" };
                write!(f, "its interpreter `{}`, named in its first line, does not exist{hint}", path.trim_end_matches('\r'))
            }
            Missing::Loader(path) => write!(f, "its loader `{}` does not exist: it was built for another system", path.display()),
        }
    }
}

impl Stage {
    /// For advice: the call of an attribute (namespaces and cgroups have limits of their own), or the one that makes the process.
    fn call(&self) -> &'static str {
        match self {
            Stage::Clone => "clone",
            Stage::Attribute { call, .. } if *call != "clone" => call,
            _ => "",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Open { stream } => write!(f, "open a file for {stream}"),
            Stage::Clone => f.write_str("clone"),
            Stage::Pidfd => f.write_str("pidfd_open"),
            Stage::Stdio { stream } => write!(f, "set up {stream}"),
            Stage::Attribute { call, value } if value.is_empty() => f.write_str(call),
            Stage::Attribute { call, value } => write!(f, "{call} {value}"),
            Stage::Chdir { path } => write!(f, "chdir to `{}`", path.display()),
            Stage::Exec { path: Some(path), missing: Some(missing), .. } => write!(f, "exec `{}`: {missing}", path.display()),
            Stage::Exec { path: Some(path), .. } => write!(f, "exec `{}`", path.display()),
            Stage::Exec { path: None, search_path: Some(dirs), .. } => {
                write!(f, "exec: not found in PATH ({})", Path::new(dirs).display())
            }
            Stage::Exec { path: None, search_path: None, .. } => f.write_str("exec"),
        }
    }
}

mod fd_is;
#[cfg(test)]
mod tests;

pub use fd_is::FdIs;
