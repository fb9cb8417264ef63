//! [`no_process_left`]: a test that leaves a process, a zombie or a descriptor behind fails.

use crate::System;
use rustix::fs::{fstat, fstatfs, stat};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::{
    BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, Error, FoundByFd, Identity, JobPlan, Pauses, Pid, PipeEnd,
    Plan, ProcessBackend, Reopened, Result, Signal, Spawned, and_then,
};
use steadfast_linux::{Blocking, Reaping, Target, waitid};

/// Runs a test, and panics if a process, a zombie or a descriptor is left of what it has started through this crate. The message names
/// each, and the processes are killed.
///
/// ```
/// use steadfast::{Command, testing::no_process_left};
/// no_process_left(|| {
///     let server = Command::new("sleep").arg("60").spawn().unwrap();
///     // …
///     server.kill().unwrap();
///     server.wait().unwrap();                                             // without these two lines it panics
/// });
/// ```
///
/// # What counts
/// | left | as |
/// | --- | --- |
/// | a child that runs | `process 1234 (sleep) still runs` |
/// | a child that has exited, and nobody has waited for it | `process 1234 (sleep) is a zombie` |
/// | what a child has started and left behind, in a session of its own too | `process 1240 (daemon), started by a child, still runs` |
/// | a pidfd, or our end of a pipe, of a child that is gone (the pidfd: since Linux 6.9) | `descriptor 7 is a pidfd of process 1234 (sleep)` |
///
/// Whatever ends within a second of the test's end is not left: a child that was dropped is reaped in the background.
///
/// Other tests may run on other threads at the same time: what they start does not count, and the test's own threads count only if they
/// [enter](System::enter) its [current](System::current) system, as the test's thread does. What a child has started is recognized by a variable
/// in its environment, `STEADFAST_LEFT_BY`; so one that clears its environment, or belongs to another user, is not found. In a simulation the children
/// count.
///
/// # Panics
/// If something is left, or no system can be chosen. If the test panics, that is what is passed on.
#[track_caller]
pub fn no_process_left<T>(test: impl FnOnce() -> T) -> T {
    let inner = match System::current() {
        Ok(system) => system,
        Err(error) => panic!("{error}"),
    };
    let recorder = Arc::new(Recorder::new(Arc::clone(inner.backend())));
    let by_number = Recorder { inner: Arc::clone(inner.by_number().backend()), ..Recorder::clone(&recorder) };
    let system = System::of(Arc::clone(&recorder) as Arc<dyn ProcessBackend>).or_by_number(Arc::new(by_number));
    let entered = system.enter();
    let answer = catch_unwind(AssertUnwindSafe(test));
    drop(entered);
    // After a panic nobody asks.
    let left = recorder.left(if answer.is_ok() { PATIENCE } else { Duration::ZERO });
    match answer {
        Err(panic) => resume_unwind(panic),
        Ok(_) if !left.is_empty() => panic!("the test has left something behind:\n{}", left.join("\n")),
        Ok(answer) => answer,
    }
}

/// How long it may take to go.
const PATIENCE: Duration = Duration::from_secs(1);

const VARIABLE: &str = "STEADFAST_LEFT_BY";

/// A backend that remembers what it has started.
#[derive(Clone)]
struct Recorder {
    inner: Arc<dyn ProcessBackend>,
    /// In the environment of nobody else.
    mark: String,
    /// When the test began, in ticks since the boot, as `/proc` counts them.
    since: u64,
    born: Arc<Mutex<Vec<Born>>>,
}

struct Born {
    name: Name,
    /// Until it is gone. Of the backend, for a handle that looks would reap it; none if there was no descriptor for it.
    process: Option<Own>,
    is_gone: bool,
    /// Of its pidfd and its pipes, device and inode.
    files: Vec<(&'static str, (u64, u64))>,
}

#[derive(Clone)]
struct Name {
    pid: Pid,
    program: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.program)
    }
}

impl ProcessBackend for Recorder {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
    }

    fn generation(&self) -> u32 {
        self.inner.generation()
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        // A simulated process has no environment that could be looked at from outside.
        let marked = self.info().real.then(|| plan.with_variable(VARIABLE, &self.mark));
        let start = self.inner.start(marked.as_ref().unwrap_or(plan))?;
        let (recorder, program) = (self.clone(), plan.program().to_string_lossy().into_owned());
        Ok(and_then(start, move |spawned| spawned.inspect(|spawned| recorder.record(spawned, program))))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        self.inner.find(pid)
    }

    fn list(&self) -> Result<Vec<Pid>> {
        self.inner.list()
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        self.inner.find_by_fd(fd)
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.inner.reopen(identity)
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        self.inner.job(plan)
    }
}

impl Recorder {
    fn record(&self, spawned: &Spawned, program: String) {
        let pipes = spawned.pipes.iter().flatten().filter_map(|pipe| match pipe {
            PipeEnd::Fd(fd) => Some(("a pipe", file(fd.as_fd())?)),
            _ => None,
        });
        let pidfd = spawned.process.handle().and_then(|fd| Some(("a pidfd", pidfs_file(fd)?)));
        let name = Name { pid: spawned.pid, program };
        let process = self.inner.find(spawned.pid).ok().map(Own::new);
        self.lock().push(Born { name, process, is_gone: false, files: pipes.chain(pidfd).collect() });
    }

    fn new(inner: Arc<dyn ProcessBackend>) -> Recorder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let boot = steadfast_linux::boot_time();
        let mark = format!("{}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed), boot.as_nanos());
        Recorder { inner, mark, since: steadfast_linux::tick_now(), born: Arc::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Born>> {
        self.born.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left when it has had the time to go.
    fn left(&self, patience: Duration) -> Vec<String> {
        let mut born = std::mem::take(&mut *self.lock());
        let deadline = self.inner.clock().now() + patience;
        let mut pauses = Pauses::new(Duration::from_micros(100), Duration::from_millis(10));
        let (mut left, mut was_empty) = (Vec::new(), false);
        loop {
            let now = self.inner.clock().now();
            left.clear();
            left.extend(born.iter_mut().filter_map(|born| born.left(now)));
            let (others, is_sure) = self.descendants(&born);
            left.extend(others.iter().map(|(line, _)| line.clone()));
            left.extend(descriptors(&born));
            if left.is_empty() && is_sure {
                // Twice: a process that forks and exits may have stepped from behind the look to before it.
                if was_empty {
                    return left;
                }
                was_empty = true;
                continue;
            }
            was_empty = false;
            if deadline <= now {
                let found = |born: &Born| match &born.process {
                    Some(own) => Some(Arc::clone(&own.process)),
                    // A child that has not been waited for: the number is still its own.
                    None if !born.is_gone => self.inner.find(born.name.pid).ok(),
                    None => None,
                };
                for process in born.iter().filter_map(found).chain(others.into_iter().filter_map(|(_, process)| process)) {
                    // Whoever is of another user, or gone after all, is not to be helped.
                    drop(process.signal(Signal::KILL));
                }
                return left;
            }
            pauses.sleep(self.inner.clock(), Some(deadline));
        }
    }

    /// What children have started; and whether nobody else can be of those.
    fn descendants(&self, born: &[Born]) -> (Vec<Other>, bool) {
        let (mut found, mut is_sure) = (Vec::new(), true);
        if !self.info().real {
            return (found, is_sure);
        }
        let pids = self.inner.list().unwrap_or_default();
        for pid in pids.into_iter().filter(|pid| !born.iter().any(|born| born.name.pid == *pid)) {
            match self.is_ours(pid) {
                Some(false) => continue,
                None => {
                    is_sure = false;
                    continue;
                }
                Some(true) => {}
            }
            let process = self.inner.find(pid).ok();
            // Once more, now that the number is held.
            if self.is_ours(pid) != Some(false) {
                let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
                found.push((format!("{}, started by a child, still runs", Name { pid, program }), process));
            }
        }
        (found, is_sure)
    }

    /// Whether it has the mark. `None`: it is just executing a program, and has no environment that could be read.
    fn is_ours(&self, pid: Pid) -> Option<bool> {
        let environment = std::fs::read(format!("/proc/{pid}/environ"));
        let marked = format!("{VARIABLE}={}", self.mark);
        match environment {
            Ok(environment) if environment.is_empty() => (!self.is_new(pid)).then_some(false),
            Ok(environment) => Some(environment.split(|byte| *byte == 0).any(|variable| variable == marked.as_bytes())),
            // Of another user, or gone.
            Err(_) => Some(false),
        }
    }

    /// Whether it was started since the test began, and is neither a zombie nor the kernel's: those have no memory.
    fn is_new(&self, pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc_pid_stat(5): from the state on; the name before it may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let (started, memory) = (number(19), number(20));
        fields.first().is_some_and(|state| !matches!(*state, "Z" | "X")) && memory > 0 && started >= self.since
    }
}

impl Born {
    /// What is to be said of it, unless it is gone.
    fn left(&mut self, now: Instant) -> Option<String> {
        if self.is_gone {
            return None;
        }
        let answer = match &self.process {
            Some(own) => own.process.wait_exited(Some(now)),
            // A child's number is its own until it is waited for.
            None => waitid(Target::Pid(self.name.pid), Blocking::Now, Reaping::Leave)
                .map_err(|errno| Error::on_process("waitid", self.name.pid, errno)),
        };
        // Which a pidfd also says of who was waited for. To a zombie the signal is nothing.
        let is_there = || self.process.as_ref().is_none_or(|own| own.process.signal(Signal::CONT).is_ok());
        let what = match answer {
            Ok(None) => "still runs",
            Ok(Some(_)) if is_there() => "is a zombie: nobody has waited for it",
            // It is no child any more: it was waited for.
            _ => {
                (self.process, self.is_gone) = (None, true);
                return None;
            }
        };
        Some(format!("{} {what}", self.name))
    }
}

/// What is to be said of a process that no test has started itself, and how it is killed.
type Other = (String, Option<Arc<dyn BackendProcess>>);

/// A process that was found, whose descriptor is no test's.
struct Own {
    process: Arc<dyn BackendProcess>,
    number: Option<u32>,
}

/// The numbers of such descriptors.
static OWN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

impl Own {
    fn new(process: Arc<dyn BackendProcess>) -> Own {
        let number = process.handle().map(|fd| fd.as_raw_fd().unsigned_abs());
        OWN.lock().unwrap_or_else(PoisonError::into_inner).extend(number);
        Own { process, number }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = own.iter().position(|number| Some(*number) == self.number) {
            own.swap_remove(index);
        }
    }
}

/// Descriptors of those that are gone.
fn descriptors(born: &[Born]) -> Vec<String> {
    let numbers = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let of = |number: u32| {
        let file = stat(format!("/proc/self/fd/{number}")).ok()?;
        let is_its = |known: &&(&'static str, (u64, u64))| known.1 == (file.st_dev, file.st_ino);
        let gone = born.iter().filter(|born| born.is_gone);
        gone.filter_map(|born| Some((born, born.files.iter().find(is_its)?.0))).next()
    };
    numbers
        .filter(|number| !own.contains(number))
        .filter_map(|number| of(number).map(|(born, what)| format!("descriptor {number} is {what} of {}", born.name)))
        .collect()
}

fn file(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    fstat(fd).ok().map(|file| (file.st_dev, file.st_ino))
}

/// Of a pidfd, where each process has an inode of its own.
fn pidfs_file(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    // `PID_FS_MAGIC`, statfs(2).
    const PIDFS: u64 = 0x5049_4446;
    file(fd).filter(|_| fstatfs(fd).is_ok_and(|system| system.f_type as u64 == PIDFS))
}
