//! The whole contract, on both real backends, while an attacker acts all the time: a user's thieves, a rogue reaper, a program that forks,
//! a storm of signals, callbacks that panic. Beside all but the reaper each promise holds exactly; what holds beside that is in `ledger.rs`.

use crate::Test;
use crate::callbacks::{Worse, bad};
use crate::contract::{ACTOR, REAL, Real, foreigner_of, in_its_place, performed};
use crate::forking::in_child;
use crate::leaks::{children, until};
use crate::ledger::Ledger;
use crate::stage::Outcome as Performed;
use nix::unistd::Uid;
use rustix::process::{self, WaitId, WaitIdOptions, WaitOptions};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use steadfast::backend::{
    Attributes, BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, FoundByFd, JobPlan, Plan, ProcessBackend, Reopened,
    Until, Watcher,
};
use steadfast::{Command, ErrorKind, Identity, Pid, Result, Signal, Stdio, System};
use steadfast_conformance::{Outcome, Subject, promises};
use steadfast_linux::bare;
use steadfast_tests::robbery::{Thieves, Trade, USER};
use steadfast_tests::{real, tells_lost_status};

const NOHANG: WaitOptions = WaitOptions::NOHANG;
const WITNESS: &str = env!("CARGO_BIN_EXE_witness");

/// Who it is, and how it begins: it has acted once when that returns. `Err` says why it cannot be had.
struct Attacker {
    name: &'static str,
    start: fn(&System) -> Start,
}

type Start = std::result::Result<Attack, String>;

/// An attacker at work.
struct Attack {
    /// What the contract is asked of.
    subject: Subject,
    /// Ends it: how often it has acted, and what the outcome is worth beside it.
    end: Box<dyn FnOnce(Outcome) -> (u64, Outcome)>,
}

const ATTACKERS: &[Attacker] = &[
    Attacker { name: "a second user's thieves", start: thieves },
    Attacker { name: "a rogue reaper", start: reaper },
    Attacker { name: "a host that forks", start: forks },
    Attacker { name: "a signal storm", start: storm },
    Attacker { name: "callbacks that panic", start: panics },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for attacker in ATTACKERS {
        for (backend, system) in REAL {
            for promise in promises() {
                let name = format!("beside {}: {backend}: {}", attacker.name, promise.name);
                let check = move || beside(attacker, *system, |subject| promise.check(subject));
                tests.push(in_its_place(&promise, Test::that_may_skip(name, check)).beside_others());
            }
        }
    }
    tests
}

fn beside(attacker: &Attacker, system: Real, check: impl FnOnce(&Subject) -> Outcome) -> Performed {
    let begun = match system() {
        Ok(system) => (attacker.start)(&system),
        Err(error) => Err(error.to_string()),
    };
    let Attack { subject, end } = match begun {
        Ok(attack) => attack,
        Err(reason) => return Performed::Skipped(reason),
    };
    let outcome = check(&subject);
    let (acts, outcome) = end(outcome);
    assert!(acts > 0, "the attacker did nothing");
    performed(outcome)
}

fn subject(system: &System, actor: &Path) -> Subject {
    let foreign = actor.to_str().expect("a path in UTF-8").to_owned();
    let tells = system.info().find_is_exact && tells_lost_status();
    real(system, actor, move || foreigner_of(&foreign)).tells_lost_status(tells)
}

/// A thread that acts again and again.
struct Again {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Again {
    /// `act` says how often it has acted.
    fn start(mut act: impl FnMut() -> u64 + Send + 'static) -> Again {
        let over = Arc::new(AtomicBool::new(false));
        let (begun, begins) = mpsc::channel();
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let (mut acts, mut begun) = (0, Some(begun));
            while !is_over.load(Ordering::SeqCst) {
                acts += act();
                if let Some(begun) = begun.take_if(|_| acts > 0) {
                    begun.send(()).expect("it is waited for");
                }
            }
            acts
        });
        begins.recv().expect("the attacker acts");
        Again { over, thread }
    }

    fn stop(self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the attacker comes to a good end")
    }

    /// Beside which every promise is kept exactly.
    fn exactly(self, system: &System) -> Attack {
        let end = Box::new(|outcome| (self.stop(), outcome));
        Attack { subject: subject(system, ACTOR.as_ref()), end }
    }
}

/// All that the contract starts is this user's.
struct AsUser {
    backend: Arc<dyn ProcessBackend>,
    thieves: Arc<Thieves>,
}

impl ProcessBackend for AsUser {
    fn info(&self) -> BackendInfo {
        self.backend.info()
    }
    fn clock(&self) -> &dyn Clock {
        self.backend.clock()
    }
    fn generation(&self) -> u32 {
        self.backend.generation()
    }
    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        let [stdin, stdout, stderr] = plan.stdio().clone();
        let attributes = Attributes { uid: Some(USER), gid: Some(USER), ..plan.attributes().clone() };
        let mut theirs = Plan::builder(plan.program()).args(plan.args()).stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(env) = plan.env() {
            theirs = theirs.env(env.to_vec());
        }
        let theirs = theirs.attributes(attributes).build()?;
        self.thieves.learn_next().expect("the next PID can be told");
        self.backend.start(&theirs)
    }
    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        self.backend.find(pid)
    }
    fn list(&self) -> Result<Vec<Pid>> {
        self.backend.list()
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        self.backend.find_by_fd(fd)
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.backend.reopen(identity)
    }
    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        self.backend.job(plan)
    }
}

/// The actor where any user can execute it, which the place of the build may not be.
pub(crate) fn actor_for_all() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = dir.path().join("actor");
    fs::hard_link(ACTOR, &path).or_else(|_| fs::copy(ACTOR, &path).map(drop)).expect("there is room");
    (dir, path)
}

fn thieves(system: &System) -> Start {
    if !Uid::effective().is_root() {
        return Err("takes root".into());
    }
    let thieves = Arc::new(Thieves::start(WITNESS.as_ref(), &[Trade::Memory, Trade::Descriptors])?);
    let (dir, actor) = actor_for_all();
    let backend = Arc::new(AsUser { backend: Arc::clone(system.backend()), thieves: Arc::clone(&thieves) });
    let subject = subject(&System::with_backend(backend), &actor);
    let end = move |outcome| {
        let booty = thieves.caught().expect("they are our children");
        assert!(booty.is_nothing(), "{booty:?}");
        drop(dir);
        (booty.attempts, outcome)
    };
    Ok(Attack { subject, end: Box::new(end) })
}

/// Takes whatever has ended; and there is always somebody, for it begins with a child of its own.
fn reaper(system: &System) -> Start {
    let ledger = Ledger::new(system.backend());
    ledger.hear_panics();
    let (behind, rogue, judge) = (ledger.share(), ledger.share(), ledger.share());
    let wait = |pid: Option<process::Pid>| {
        let (pid, status) = pid.map_or_else(|| process::wait(NOHANG), |pid| process::waitpid(Some(pid), NOHANG)).ok()??;
        Some((Pid::new(pid.as_raw_nonzero().get()).expect("a PID"), ExitStatus::from_raw(status.as_raw())))
    };
    drop(std::process::Command::new(ACTOR).args(["exit", "0"]).spawn().map_err(|error| error.to_string())?);
    let again = Again::start(move || {
        let has_taken = rogue.reap_behind(|| wait(None));
        if !has_taken {
            std::thread::yield_now();
        }
        u64::from(has_taken)
    });
    let subject = subject(&System::with_backend(Arc::new(ledger)), ACTOR.as_ref()).beside_a_reaper().reap_behind(move |pid| {
        // Whoever is first; it has exited, or will.
        let pid = process::Pid::from_raw(pid.as_raw()).expect("a PID");
        process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok();
        behind.reap_behind(|| wait(Some(pid)));
    });
    let end = move |outcome| (again.stop(), judge.judge(outcome));
    Ok(Attack { subject, end: Box::new(end) })
}

/// The children are touched by it, and its statics.
fn forks(system: &System) -> Start {
    let here = system.clone();
    let forever = || system.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null()).kill_on_drop(true));
    let kept = forever().map_err(|error| error.to_string())?;
    let set = steadfast::WaitSet::new();
    set.add((), kept.process().clone()).map_err(|error| error.to_string())?;
    let again = Again::start(move || {
        in_child(|| {
            assert_eq!(kept.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
            kept.signal(Signal::CONT).unwrap();
            assert!(set.try_wait().is_none());
            let exits = || here.spawn(Command::new(ACTOR).args(["exit", "6"])).unwrap();
            assert_eq!(exits().wait().unwrap().code(), Some(6));
            drop(exits());
            until("what was dropped is reaped", || children().is_empty());
        });
        assert_eq!(kept.try_wait().unwrap(), None);
        1
    });
    Ok(again.exactly(system))
}

/// Every thread is interrupted, all the time.
fn storm(system: &System) -> Start {
    let handled = bare::interrupt_by(Signal::USR1).map_err(|errno| errno.to_string())?;
    let mut before = 0;
    let again = Again::start(move || {
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        for thread in fs::read_dir("/proc/self/task").unwrap() {
            let thread: i32 = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
            // One that has ended meanwhile is no matter.
            if thread != own {
                bare::signal_thread(thread, Signal::USR1).ok();
            }
        }
        std::thread::yield_now();
        let now = handled.load(Ordering::Relaxed);
        now - std::mem::replace(&mut before, now)
    });
    Ok(again.exactly(system))
}

/// In the backend's own threads; and so do the ends of the watchers.
fn panics(system: &System) -> Start {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>();
        if !info.payload().is::<Worse>() && !text.is_some_and(|text| text.starts_with("on purpose")) {
            usual(info);
        }
    }));
    let here = system.clone();
    let again = Again::start(move || {
        let mut command = Command::new(ACTOR);
        let mut child = here.spawn(command.args(["until-eof", "6"]).stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
        let (watcher, called) = bad();
        let watcher: Arc<dyn Watcher> = watcher;
        child.process().watch_end(Until::Gone, &watcher, 6).unwrap();
        // From now on it is dropped where it is called.
        drop(watcher);
        child.stdin = None;
        assert_eq!(called.recv_timeout(Duration::from_secs(60)), Ok(6));
        assert_eq!(child.wait().unwrap().code(), Some(6));
        1
    });
    Ok(again.exactly(system))
}
