//! What a handle makes of its backend's answers: which of them end it, which are passed on, and which call is made at all.
#![forbid(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Change, Clock, Errno, Error, ErrorKind, Exit, FoundByFd,
    Identity, JobPlan, OnExit, Pid, Plan, Process, ProcessBackend, Reopened, Result, Signal, Spawned, Until, Watcher,
};

/// How it answers. `None`: with what is usual, and an exit with code 7.
#[derive(Default)]
struct Answers {
    /// To `wait_exited`, `reap` and `collect`.
    wait: Mutex<Option<Errno>>,
    /// It runs.
    runs: Mutex<bool>,
    /// To signals.
    signal: Mutex<Option<Errno>>,
    leads_no_group: bool,
    is_exact: bool,
    generation: AtomicU32,
    calls: Mutex<Vec<&'static str>>,
    /// What `on_exit` was given; called in the middle of the next `wait_exited`, which does not see it yet.
    tell: Mutex<Option<OnExit>>,
}

impl Answers {
    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn answer(&self, call: &'static str) -> Result<Option<Exit>> {
        self.calls.lock().unwrap().push(call);
        let set = *self.wait.lock().unwrap();
        let answer = match set {
            Some(errno) => Err(Error::on_process(call, Pid::MAX, errno)),
            None if *self.runs.lock().unwrap() => Ok(None),
            None => Ok(Some(Exit::new(Pid::MAX, ExitStatus::from_raw(7 << 8)))),
        };
        // Not in a reap, which is done under the handle's lock.
        let tell = self.tell.lock().unwrap().take_if(|_| call == "wait");
        if let Some(tell) = tell {
            tell();
        }
        answer
    }
}

struct Answering(Arc<Answers>);

impl BackendProcess for Answering {
    fn signal(&self, _: Signal) -> Result<()> {
        self.0.calls.lock().unwrap().push("signal");
        let set = *self.0.signal.lock().unwrap();
        match set {
            Some(errno) => Err(Error::on_process("kill", Pid::MAX, errno)),
            None => Ok(()),
        }
    }
    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.signal(signal).map(|()| !self.0.leads_no_group)
    }
    fn signal_value(&self, signal: Signal, _: i32) -> Result<()> {
        self.signal(signal)
    }

    fn may_signal(&self) -> Result<bool> {
        self.signal(Signal::CONT).map(|()| true)
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        unreachable!("nobody looks")
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        act(Pid::MAX)
    }

    fn wait_exited(&self, _: Option<Instant>) -> Result<Option<Exit>> {
        self.0.answer("wait")
    }
    fn reap(&self) -> Result<Option<Exit>> {
        self.0.answer("reap")
    }
    fn on_exit(self: Arc<Self>, _: Until, tell: OnExit) -> Result<()> {
        *self.0.tell.lock().unwrap() = Some(tell);
        self.0.calls.lock().unwrap().push("on_exit");
        Ok(())
    }
    fn wait_change(&self) -> Result<Change> {
        unreachable!("nobody stops")
    }

    fn try_change(&self) -> Result<Option<Change>> {
        unreachable!("nobody stops")
    }

    fn on_change(self: Arc<Self>, _: OnExit) -> Result<()> {
        unreachable!("nobody stops")
    }

    fn identity(&self) -> Result<Identity> {
        Err(Error::UnknownIdentity { pid: Pid::MAX, why: "nobody is named here".into() })
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn abandon(self: Arc<Self>) {
        self.0.calls.lock().unwrap().push("abandon");
    }
}

impl Clock for Answering {
    fn now(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is a clock")]
        Instant::now()
    }
    fn sleep_until(&self, _: Instant) {}
    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}

impl ProcessBackend for Answering {
    fn info(&self) -> BackendInfo {
        let info = BackendInfo::new("answering");
        if self.0.is_exact { info.find_is_exact() } else { info }
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
    fn generation(&self) -> u32 {
        self.0.generation.load(Ordering::SeqCst)
    }
    fn start(&self, _: &Plan) -> Result<Box<dyn BackendStart>> {
        let process = Arc::new(Answering(Arc::clone(&self.0)));
        Ok(Spawned { pid: Pid::MAX, spawner_peak: 0, process, pipes: [None, None, None], pidfd: None, missing_walls: Vec::new() }
            .at_once())
    }
    fn find(&self, _: Pid) -> Result<Arc<dyn BackendProcess>> {
        Ok(Arc::new(Answering(Arc::clone(&self.0))))
    }

    fn list(&self) -> Result<Vec<Pid>> {
        unreachable!("nobody lists")
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        Err(Error::Unsupported { backend: self.info().name, what: "no descriptors".into() })
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        identity.unknown("nobody is named here")
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        Err(Error::no_jobs(self.info().name, plan.containment))
    }
}

fn plan() -> Plan {
    Plan::builder("x").build().unwrap()
}

fn backend(answers: Answers) -> (Arc<Answers>, Arc<dyn ProcessBackend>) {
    let answers = Arc::new(answers);
    (Arc::clone(&answers), Arc::new(Answering(answers)))
}

fn spawned(answers: Answers) -> (Arc<Answers>, Process) {
    let (answers, backend) = backend(answers);
    (answers, Process::spawn(&backend, &plan()).unwrap().0)
}

fn found(answers: Answers) -> (Arc<Answers>, Process) {
    let (answers, backend) = backend(answers);
    (answers, Process::find(&backend, Pid::MAX).unwrap())
}

fn refusing(errno: Errno) -> Answers {
    Answers { wait: Mutex::new(Some(errno)), ..Answers::default() }
}

#[test]
fn run_says_that_a_status_is_lost_and_leaves_a_child_that_could_not_be_waited_for_to_the_background() {
    let (answers, backend) = backend(refusing(Errno::CHILD));
    assert_eq!(Process::run(&backend, &plan()).unwrap_err().kind(), ErrorKind::NoChild);
    assert_eq!(answers.calls(), ["wait"]);
    *answers.wait.lock().unwrap() = Some(Errno::PERM);
    assert_eq!(Process::run(&backend, &plan()).unwrap_err().errno(), Some(Errno::PERM));
    assert_eq!(answers.calls(), ["wait", "abandon"]);
    *answers.wait.lock().unwrap() = None;
    assert_eq!(Process::run(&backend, &plan()).unwrap().status.code(), Some(7));
    assert_eq!(answers.calls(), ["wait", "reap"]);
}

#[test]
fn a_lost_status_ends_the_handle_of_a_child_and_of_nobody_else() {
    let (answers, child) = spawned(refusing(Errno::CHILD));
    assert_eq!(child.wait().unwrap_err().kind(), ErrorKind::NoChild);
    assert!(!child.is_running());
    answers.calls();
    assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(child.wait().unwrap_err().kind(), ErrorKind::NoChild);
    drop(child);
    assert_eq!(answers.calls(), Vec::<&str>::new());

    let (answers, stranger) = found(refusing(Errno::CHILD));
    assert_eq!(stranger.wait().unwrap_err().kind(), ErrorKind::NoChild);
    assert!(stranger.is_running());
    stranger.kill().unwrap();
    assert_eq!(answers.calls(), ["wait", "signal"]);
}

#[test]
fn another_error_of_a_wait_is_passed_on_and_ends_nothing() {
    for (answers, process) in [spawned(refusing(Errno::PERM)), found(refusing(Errno::PERM))] {
        for error in [process.wait().unwrap_err(), process.try_wait().unwrap_err()] {
            assert_eq!(error.errno(), Some(Errno::PERM));
        }
        assert!(process.is_running() && process.exit().is_none() && process.status().is_none());
        *answers.wait.lock().unwrap() = None;
        assert_eq!(process.wait().unwrap().code(), Some(7));
        assert_eq!((process.exit().unwrap().pid, process.status().unwrap().code()), (Pid::MAX, Some(7)));
    }
}

#[test]
fn every_way_to_wait_gives_the_status_or_that_it_runs() {
    type Way = fn(&Process) -> Option<ExitStatus>;
    let ways: [Way; 3] = [
        |process| process.try_wait().unwrap(),
        |process| process.wait_timeout(Duration::ZERO).unwrap(),
        |process| process.wait_deadline(process.backend().clock().now()).unwrap(),
    ];
    for way in ways {
        let (answers, child) = spawned(Answers { runs: Mutex::new(true), ..Answers::default() });
        assert_eq!(way(&child), None);
        *answers.runs.lock().unwrap() = false;
        assert_eq!(way(&child).unwrap().code(), Some(7));
    }
}

#[test]
fn signals_reach_the_backend_and_its_answers_get_their_meaning() {
    let (answers, process) = spawned(Answers::default());
    process.signal(Signal::TERM).unwrap();
    process.kill().unwrap();
    process.signal_group(Signal::TERM).unwrap();
    process.kill_group().unwrap();
    assert_eq!(answers.calls(), ["signal"; 4]);
    for (errno, kind) in [(Errno::PERM, ErrorKind::System), (Errno::SRCH, ErrorKind::ProcessDone)] {
        *answers.signal.lock().unwrap() = Some(errno);
        for error in [process.signal(Signal::TERM).unwrap_err(), process.signal_group(Signal::TERM).unwrap_err()] {
            assert_eq!(error.kind(), kind);
        }
    }
    let (_, alone) = spawned(Answers { leads_no_group: true, ..Answers::default() });
    assert_eq!(alone.signal_group(Signal::TERM).unwrap_err().kind(), ErrorKind::NoGroup);
    assert_eq!(alone.kill_group().unwrap_err().kind(), ErrorKind::NoGroup);
    alone.signal(Signal::TERM).unwrap();
}

#[test]
fn a_look_reaps_at_once_only_who_cannot_be_another() {
    let (answers, child) = spawned(Answers::default());
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    assert_eq!(answers.calls(), ["reap"]);
    let (answers, process) = found(Answers { is_exact: true, ..Answers::default() });
    assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(7));
    assert_eq!(answers.calls(), ["reap"]);
    let (answers, process) = found(Answers::default());
    assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(7));
    // Behind the look that asks whether it still is the one.
    assert_eq!(answers.calls(), ["wait", "reap"]);
}

struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: u64) {}
}

#[test]
fn a_look_of_a_watcher_is_a_look() {
    let watcher: Arc<dyn Watcher> = Arc::new(Nobody);
    let (answers, child) = spawned(Answers { runs: Mutex::new(true), ..Answers::default() });
    child.watch_end(Until::Gone, &watcher, 1).unwrap();
    assert_eq!(child.try_wait_unwatched(&watcher, 1).unwrap(), None);
    assert!(child.is_running());
    *answers.runs.lock().unwrap() = false;
    assert_eq!(child.try_wait_unwatched(&watcher, 1).unwrap().unwrap().code(), Some(7));
    assert!(!child.is_running());
}

#[test]
fn in_the_child_of_a_fork_it_is_nobodys_child() {
    let (answers, child) = spawned(Answers { runs: Mutex::new(true), ..Answers::default() });
    assert!(child.is_here());
    answers.generation.store(1, Ordering::SeqCst);
    assert!(!child.is_here());
    child.kill().unwrap();
    assert_eq!(answers.calls(), ["signal"]);
    drop(child);
    assert_eq!(answers.calls(), Vec::<&str>::new());
}

#[test]
fn an_end_that_is_told_during_a_look_is_seen_by_the_next_one_with_its_status() {
    struct Deaf;
    impl Watcher for Deaf {
        fn notify(&self, _: u64) {}
    }
    let (answers, process) = found(refusing(Errno::CHILD));
    let deaf: Arc<dyn Watcher> = Arc::new(Deaf);
    process.watch_end(Until::Gone, &deaf, 0).unwrap();
    assert_eq!(process.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
    assert!(answers.tell.lock().unwrap().is_none(), "it was told");
    assert!(process.is_running());
    *answers.wait.lock().unwrap() = None;
    assert_eq!(process.wait_gone().unwrap().status().and_then(|status| status.code()), Some(7));
    let (_, process) = found(refusing(Errno::CHILD));
    process.watch_end(Until::Gone, &deaf, 0).unwrap();
    assert_eq!(process.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
    assert_eq!(process.wait_gone().unwrap().status(), None);
}
