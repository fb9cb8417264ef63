//! The probe: what this kernel, in this sandbox, can do. It runs once.
//!
//! No check implies another one: emulated kernels and filters support any subset (QEMU 7.2 has
//! `pidfd_open` without `CLONE_PIDFD`, valgrind 3.24 has both without `pidfd_send_signal`). So each call is tried on its own.

mod checks;
mod sacrifice;

use crate::fork::PerProcess;
use crate::spawn::{Door, SpawnWait, learnt, spawn_wait};
use once_cell::race::OnceBox;
use sacrifice::{Question, Verdict};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use steadfast_core::{Errno, Error};

/// What this machine can do.
///
/// `Display` prints a table with a line for each call and each feature: its name, the kernel version that introduced it, and whether it works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// The calls that the pidfd backend needs, in the order in which they are tried.
    pub checks: Vec<Check>,
    /// Whether `waitid(2)` can be called at all; where a filter forbids it, the PID backend uses `wait4(2)`.
    pub waitid: Answer,
    /// Whether `pidfd_send_signal(2)` accepts a descriptor of `/proc/PID` (Linux 5.1). Then the PID backend uses it to signal processes that were
    /// found.
    pub proc_signal: Answer,
    /// How children are made here.
    pub door: Door,
}

/// A call that the pidfd backend needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// `pidfd_open`, `waitid`, `pidfd_send_signal` or `clone_pidfd`.
    pub name: &'static str,
    /// The kernel that brought it.
    pub since: &'static str,
    /// Whether it works.
    pub answer: Answer,
}

/// An optional feature of the kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Feature {
    /// Its name as in the manual pages.
    pub name: &'static str,
    /// The version of its interface, if it works and counts them: of Landlock the ABI (landlock(7)).
    pub version: Option<u32>,
    /// The kernel that brought it.
    pub since: &'static str,
    /// Whether it works.
    pub answer: Answer,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It works.
    Works,
    /// It failed with this errno.
    Failed(Errno),
    /// The process that made the call was killed by this signal; `SIGSYS` comes from a seccomp filter.
    Killed(i32),
}

impl Answer {
    /// Whether it works.
    pub fn works(self) -> bool {
        self == Answer::Works
    }

    /// The errno, if the call failed with one.
    pub fn errno(self) -> Option<Errno> {
        match self {
            Answer::Failed(errno) => Some(errno),
            Answer::Works | Answer::Killed(_) => None,
        }
    }
}

/// What happened and what it means.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Answer::Works => f.write_str("works"),
            Answer::Failed(errno) => {
                let meaning = match errno {
                    Errno::NOSYS => "the kernel does not have it, or a filter says so",
                    Errno::PERM | Errno::ACCES => "a filter or security module forbids it",
                    Errno::INVAL | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::NOTTY => "the kernel does not know it",
                    Errno::NOENT => "there is none here",
                    _ => "an answer that Linux does not give",
                };
                write!(f, "{errno}: {meaning}")
            }
            Answer::Killed(libc::SIGSYS) => f.write_str("killed by SIGSYS: a seccomp filter forbids it"),
            Answer::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Asks in a child that may die of it.
fn ask(questions: &'static [Question]) -> Result<Vec<(&'static Question, Answer)>, Error> {
    let refused = |call: &'static str, why: &str, source| Error::System {
        call,
        subject: format!("the probe of this machine ({why})"),
        source,
    };
    let for_now = "refused for now: raise the limit and ask again";
    if children_would_be_init() {
        let why = "this process has left its PID namespace, and the probe's short-lived child would be process 1 of the new one, \
                   and end it: call System::detect() before unshare(2)";
        return Err(refused("clone", why, Errno::BUSY));
    }
    let verdicts = sacrifice::ask(questions).map_err(|errno| refused("clone", for_now, errno))?;
    let answer = |(question, verdict): (&'static Question, Verdict)| match verdict {
        Verdict::Works => Ok((question, Answer::Works)),
        Verdict::Failed(errno) if errno.is_transient() => Err(refused(question.name, for_now, errno)),
        Verdict::Failed(errno) => Ok((question, Answer::Failed(errno))),
        Verdict::Killed(signal) => Ok((question, Answer::Killed(signal))),
    };
    questions.iter().zip(verdicts).map(answer).collect()
}

/// Asked here, once it has worked in the child.
fn version(name: &str, answer: Answer) -> Option<u32> {
    let version = (name == checks::LANDLOCK && answer.works()).then(checks::landlock_version)?;
    version.ok().and_then(|version| u32::try_from(version).ok())
}

/// After `unshare(CLONE_NEWPID)` or a `setns`, the next child is the new namespace's init; once that has exited, the namespace
/// takes no more processes (`ENOMEM` for ever). The link to the namespace cannot be read as long as it has no init.
fn children_would_be_init() -> bool {
    let link = std::path::Path::new("/proc/self/ns/pid_for_children");
    link.symlink_metadata().is_ok() && link.read_link().is_err()
}

impl Probe {
    /// What this machine can do. The first call runs the probe, which takes about 0.3 ms. The result is remembered, for all threads, and in the children
    /// of a fork(2) as well.
    ///
    /// Calls that a seccomp filter may kill for are made in a short-lived child. It leaves no zombie, no descriptor and no changed disposition, and
    /// raises no `SIGCHLD` where the kernel supports children without an exit signal (clone(2); QEMU's user mode does not).
    ///
    /// # Errors
    /// [`Error::System`] if the probe failed for a temporary reason (`EMFILE`, `ENFILE`, `ENOMEM`, `EAGAIN`), or with `EBUSY` if this process has left
    /// its PID namespace, so that its next child would be the init of the new one. A failure is not remembered: call again.
    pub fn once() -> Result<&'static Probe, Error> {
        static KEPT: OnceBox<Probe> = OnceBox::new();
        static RUNNING: PerProcess<Mutex<()>> = PerProcess::new(Mutex::default);
        if let Some(probe) = KEPT.get() {
            return Ok(probe);
        }
        let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = KEPT.get() {
            return Ok(probe);
        }
        let probe = Probe::run()?;
        Ok(KEPT.get_or_init(|| Box::new(probe)))
    }

    /// Runs the probe now, even if its result is known. For tests and measurements.
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn run() -> Result<Probe, Error> {
        let answers = ask(checks::NEEDED)?;
        let answer = |name| {
            let found = answers.iter().find(|(question, _)| question.name == name);
            found.map_or(Answer::Failed(Errno::NOSYS), |(_, answer)| *answer)
        };
        let required = answers.iter().filter(|(question, _)| question.is_required);
        let checks = required.map(|(q, answer)| Check { name: q.name, since: q.since, answer: *answer }).collect();
        let door = match () {
            () if !answer("vfork").works() => Door::Fork,
            () if crate::arch::HAS_CLONE3 && answer("clone3").works() => Door::Clone3,
            () => Door::Clone,
        };
        match answer(checks::IN_OUR_MEMORY) {
            Answer::Works => {}
            Answer::Failed(Errno::OPNOTSUPP) => learnt(SpawnWait::Pipe),
            // A filter, or an emulator.
            Answer::Failed(_) | Answer::Killed(_) => learnt(SpawnWait::Suspended),
        }
        Ok(Probe { checks, waitid: answer("waitid_pid"), proc_signal: answer("proc_signal"), door })
    }

    /// The optional features of this kernel. The first call checks them, in another child like that of [`once`](Self::once); the result is remembered.
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn features() -> Result<&'static [Feature], Error> {
        static KEPT: OnceBox<Vec<Feature>> = OnceBox::new();
        if let Some(features) = KEPT.get() {
            return Ok(features);
        }
        let answers = ask(checks::OPTIONAL)?;
        let mut features: Vec<_> = answers
            .iter()
            .map(|(question, answer)| Feature {
                name: question.name,
                version: version(question.name, *answer),
                since: question.since,
                answer: *answer,
            })
            .collect();
        features.push(Feature { name: "cgroup.kill", version: None, since: "5.14", answer: checks::cgroup_kill() });
        Ok(KEPT.get_or_init(|| Box::new(features)))
    }

    /// The first required check that failed; `None` if the pidfd backend works here.
    pub fn obstacle(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.answer.works())
    }

    /// Why the backend is pidfd, or not, in words.
    pub fn reason(&self) -> String {
        match self.obstacle() {
            None => "all that pidfd needs works here".into(),
            Some(check) => format!("pidfd needs {}: {}", check.name, check.answer),
        }
    }

    /// How a spawn through [`door`](Self::door) hears that its child runs the program, as far as this process knows by now: its first spawns
    /// find out.
    pub fn spawn_wait(&self) -> SpawnWait {
        if self.door == Door::Fork { SpawnWait::Pipe } else { spawn_wait() }
    }

    /// The doors that work here, the preferred one first.
    pub fn doors(&self) -> &'static [Door] {
        match self.door {
            Door::Clone3 => &[Door::Clone3, Door::Clone, Door::Fork],
            Door::Clone => &[Door::Clone, Door::Fork],
            Door::Fork => &[Door::Fork],
        }
    }
}

/// The table. The [features](Probe::features) are checked if they are not known yet, and left out if that fails.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = Probe::features().unwrap_or_default();
        let checks: Vec<_> = self.checks.iter().map(|check| (check.name, check.since, check.answer, None)).collect();
        let of = |feature: &Feature| (feature.name, feature.since, feature.answer, feature.version);
        let features: Vec<_> = features.iter().map(of).collect();
        let width = checks.iter().chain(&features).map(|(name, ..)| name.len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  since Linux", "")?;
        for (part, rows) in [checks, features].into_iter().enumerate() {
            if part > 0 && !rows.is_empty() {
                writeln!(f)?;
            }
            for (name, since, answer, version) in rows {
                let mark = if answer.works() { '✓' } else { '–' };
                let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
                writeln!(f, "{name:width$}  {since:11}  {mark} {answer}{version}")?;
            }
        }
        Ok(())
    }
}
