//! A third party's backend, written with nothing but core: the suite passes it. With a bug planted, the suite catches it.
//!
//! Its processes live in a table: they do what an `Act` says, at once, and time does not matter to them.
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use steadfast_conformance::{Act, Outcome, Subject, run};
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, BootId, Change, Clock, Errno, Error, Evidence, Exit,
    FoundByFd, Identity, JobPlan, OnExit, Pid, PipeEnd, PipeRead, PipeWrite, Plan, ProcessBackend, Reopened, Result, Signal,
    Spawned, Stage, Until,
};

/// It has one boot and one PID namespace.
const BOOT: BootId = BootId::from_bytes([7; 16]);
const NAMESPACE: u64 = 1;

/// What a careless author might get wrong.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// Looking at an exit takes it away.
    LookReaps,
    /// A lost status is made up.
    LostIsSuccess,
    /// It claims to lend a descriptor.
    ClaimsHandle,
    /// It calls before the exit.
    TellsTooEarly,
    /// Who has exited is taken for one who is gone.
    ZombieIsGone,
}

/// What each of them says at once.
struct Ready(Mutex<Cursor<&'static str>>);

impl PipeRead for Ready {
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync> {
        Arc::new(*self)
    }

    fn read_deadline(&self, buffer: &mut [u8], _: Option<Instant>) -> std::io::Result<Option<usize>> {
        self.0.lock().unwrap().read(buffer).map(Some)
    }

    fn block_until(&self, _: Option<Instant>, ready: &mut dyn FnMut() -> bool) {
        // There is nothing to wait for: all that it says is there from the start.
        ready();
    }
}

struct Toy {
    table: Arc<Table>,
    bug: Bug,
}

#[derive(Default)]
struct Table {
    processes: Mutex<(i32, HashMap<Pid, Entry>)>,
    changed: Condvar,
}

struct Entry {
    act: Act,
    stopped: bool,
    abandoned: bool,
    exit: Option<ExitStatus>,
}

struct ToyProcess {
    table: Arc<Table>,
    pid: Pid,
    bug: Bug,
}

impl Table {
    fn with<T>(&self, change: impl FnOnce(&mut (i32, HashMap<Pid, Entry>)) -> T) -> T {
        let answer = change(&mut self.processes.lock().unwrap());
        self.changed.notify_all();
        answer
    }

    fn end(processes: &mut HashMap<Pid, Entry>, pid: Pid, raw_status: i32) {
        let Some(entry) = processes.get_mut(&pid) else { return };
        entry.exit.get_or_insert(ExitStatus::from_raw(raw_status));
        if entry.abandoned {
            processes.remove(&pid);
        }
    }
}

impl Clock for Toy {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) {
        let guard = self.table.processes.lock().unwrap();
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.table.changed.wait_timeout(guard, left));
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}

impl ProcessBackend for Toy {
    fn info(&self) -> BackendInfo {
        let toy = BackendInfo::new("toy").find_is_exact();
        if self.bug == Bug::ClaimsHandle { toy.lends_handle() } else { toy }
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn generation(&self) -> u32 {
        0
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        let missing = || Error::Spawn {
            program: plan.program().to_owned(),
            stage: Stage::Exec { path: None, search_path: None, missing: None },
            source: Errno::NOENT,
        };
        let act = (plan.program() == "actor").then(|| Act::from_args(plan.args())).flatten().ok_or_else(missing)?;
        let pid = self.table.with(|(last, processes)| {
            *last += 1;
            let pid = Pid::new(1000 + *last).expect("few enough");
            let entry = Entry { act, stopped: false, abandoned: false, exit: None };
            processes.insert(pid, entry);
            if let Act::Exit(code) = act {
                Table::end(processes, pid, i32::from(code) << 8);
            }
            pid
        });
        let stdin = Stdin { table: Arc::clone(&self.table), pid };
        let pipes = [
            Some(PipeEnd::Writer(Box::new(stdin))),
            Some(PipeEnd::Reader(Box::new(Ready(Mutex::new(Cursor::new("ready\n")))))),
            None,
        ];
        let process = Arc::new(ToyProcess { table: Arc::clone(&self.table), pid, bug: self.bug });
        Ok(Spawned { pid, process, spawner_peak: 0, pipes, pidfd: None, missing_walls: Vec::new() }.at_once())
    }

    fn list(&self) -> Result<Vec<Pid>> {
        Err(Error::Unsupported { backend: "toy", what: "it has no looks".into() })
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        Err(Error::Unsupported { backend: self.info().name, what: "no descriptors".into() })
    }

    /// A number is given once.
    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        if let Some(elsewhere) = identity.elsewhere(BOOT, NAMESPACE) {
            return elsewhere;
        }
        let exit = self.table.with(|(_, processes)| processes.get(&identity.pid()).map(|entry| entry.exit));
        match exit {
            Some(Some(_)) if self.bug == Bug::ZombieIsGone => Reopened::Gone,
            Some(exit) => Reopened::Same {
                process: Arc::new(ToyProcess { table: Arc::clone(&self.table), pid: identity.pid(), bug: self.bug }),
                has_exited: exit.is_some(),
            },
            None => Reopened::Gone,
        }
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        Err(Error::no_jobs(self.info().name, plan.containment))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        match self.table.with(|(_, processes)| processes.contains_key(&pid)) {
            true => Ok(Arc::new(ToyProcess { table: Arc::clone(&self.table), pid, bug: self.bug })),
            false => Err(Error::ProcessDone { pid }),
        }
    }
}

impl ToyProcess {
    fn exit(&self, entry: Option<&Entry>) -> Result<Option<Exit>> {
        let lost = || match self.bug {
            Bug::LostIsSuccess => Ok(Some(Exit::new(self.pid, ExitStatus::from_raw(0)))),
            _ => Err(Error::on_process("wait", self.pid, Errno::CHILD)),
        };
        entry.map_or_else(lost, |entry| Ok(entry.exit.map(|status| Exit::new(self.pid, status))))
    }
}

/// It has no processes that could read or write.
impl PipeWrite for Stdin {
    fn write_deadline(&self, bytes: &[u8], _: Option<Instant>) -> std::io::Result<Option<usize>> {
        Ok(Some(bytes.len()))
    }

    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync> {
        Arc::new(*self)
    }
}

impl BackendProcess for ToyProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.table.with(|(_, processes)| {
            let gone = || Error::on_process("signal", self.pid, Errno::SRCH);
            let entry = processes.get_mut(&self.pid).ok_or_else(gone)?;
            match (entry.act, signal) {
                (_, Signal::STOP) => entry.stopped = true,
                (_, Signal::CONT) => entry.stopped = false,
                (Act::ExitOn(its, code), signal) if its == signal => {
                    Table::end(processes, self.pid, i32::from(code) << 8);
                }
                (Act::Shrug(its), signal) if its == signal => {}
                (_, signal) => Table::end(processes, self.pid, signal.as_raw()),
            }
            Ok(())
        })
    }

    /// Its processes lead no groups.
    fn signal_group(&self, _: Signal) -> Result<bool> {
        self.table.with(|(_, processes)| match processes.contains_key(&self.pid) {
            true => Ok(false),
            false => Err(Error::on_process("signal", self.pid, Errno::SRCH)),
        })
    }

    fn signal_value(&self, signal: Signal, _: i32) -> Result<()> {
        self.signal(signal)
    }

    fn may_signal(&self) -> Result<bool> {
        self.table.with(|(_, processes)| match processes.contains_key(&self.pid) {
            true => Ok(true),
            false => Err(Error::on_process("signal", self.pid, Errno::SRCH)),
        })
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        Err(Error::Unsupported { backend: "toy", what: "it has no looks".into() })
    }

    fn by_number(&self, _: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        Err(Error::Unsupported { backend: "toy", what: "nothing goes by its numbers".into() })
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let mut guard = self.table.processes.lock().unwrap();
        loop {
            let seen = self.exit(guard.1.get(&self.pid))?;
            if seen.is_some() {
                if self.bug == Bug::LookReaps {
                    guard.1.remove(&self.pid);
                }
                return Ok(seen);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            guard = match left {
                Some(left) if left.is_zero() => return Ok(None),
                Some(left) => self.table.changed.wait_timeout(guard, left).unwrap().0,
                None => self.table.changed.wait(guard).unwrap(),
            };
        }
    }

    fn reap(&self) -> Result<Option<Exit>> {
        self.table.with(|(_, processes)| {
            let seen = self.exit(processes.get(&self.pid))?;
            if seen.is_some() {
                processes.remove(&self.pid);
            }
            Ok(seen)
        })
    }

    fn on_exit(self: Arc<Self>, _: Until, tell: OnExit) -> Result<()> {
        if self.bug == Bug::TellsTooEarly {
            tell();
            return Ok(());
        }
        std::thread::spawn(move || {
            drop(self.wait_exited(None));
            tell();
        });
        Ok(())
    }

    fn wait_change(&self) -> Result<Change> {
        Err(Error::Unsupported { backend: "toy", what: "it tells of no stops".into() })
    }

    fn try_change(&self) -> Result<Option<Change>> {
        Err(Error::Unsupported { backend: "toy", what: "it tells of no stops".into() })
    }

    fn on_change(self: Arc<Self>, _: OnExit) -> Result<()> {
        Err(Error::Unsupported { backend: "toy", what: "it tells of no stops".into() })
    }

    fn identity(&self) -> Result<Identity> {
        match self.table.with(|(_, processes)| processes.contains_key(&self.pid)) {
            true => Ok(Identity::new(BOOT, NAMESPACE, self.pid, Evidence::Pidfs(self.pid.as_raw() as u64))),
            false => Err(Error::on_process("identity", self.pid, Errno::SRCH)),
        }
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        if self.reap().is_ok_and(|reaped| reaped.is_some()) {
            return;
        }
        self.table.with(|(_, processes)| {
            if let Some(entry) = processes.get_mut(&self.pid) {
                entry.abandoned = true;
            }
        });
    }
}

/// Closing it is what an `UntilEof` waits for.
struct Stdin {
    table: Arc<Table>,
    pid: Pid,
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.table.with(|(_, processes)| {
            if let Some(Act::UntilEof(code)) = processes.get(&self.pid).map(|entry| entry.act) {
                Table::end(processes, self.pid, i32::from(code) << 8);
            }
        });
    }
}

fn subject(bug: Bug) -> Subject {
    let table = Arc::new(Table::default());
    let toy = Arc::new(Toy { table: Arc::clone(&table), bug });
    Subject::new(toy, "actor").reap_behind(move |pid| {
        let reaped = table.with(|(_, processes)| processes.remove(&pid));
        assert!(reaped.is_some_and(|entry| entry.exit.is_some()), "only an exited child can be reaped");
    })
}

#[test]
fn a_backend_that_keeps_the_contract_passes() {
    let report = run(&subject(Bug::None));
    println!("{report}");
    assert_eq!(report.failed(), Vec::<&str>::new());
    // What it cannot arrange is skipped, not passed; and it has no jobs, and tells of no stops.
    let skipped = report.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
    let of_jobs = report.skipped().iter().filter(|name| name.starts_with("job:")).count();
    assert_eq!((report.skipped().len(), skipped, of_jobs), (58, 58, 22));
}

#[test]
fn each_planted_bug_is_caught_by_its_promise() {
    for (bug, promise) in [
        (Bug::LookReaps, "backend: a second reap gives ECHILD"),
        (Bug::LostIsSuccess, "wait: somebody else reaped it: NoChild, and it stays so"),
        (Bug::ClaimsHandle, "with_handle: running: lends the pidfd"),
        (Bug::ZombieIsGone, "reopen: a zombie: Same, and it has exited"),
        (Bug::TellsTooEarly, "watch_end: told when it can be waited for, and not before"),
    ] {
        let promises = steadfast_conformance::promises();
        let promise = promises.iter().find(|p| p.name == promise).expect("the list has it");
        let outcome = promise.check(&subject(bug));
        assert!(matches!(outcome, Outcome::Failed(_)), "{}: {outcome:?}", promise.name);
    }
}
