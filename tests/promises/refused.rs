//! What the system refuses for the moment: nobody is forgotten by that, neither who waits nor what is to be reaped.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::leaks::{children, each_backend, until};
use crate::scene::{Promise, Scene, on_every_backend};
use crate::stage::Outcome;
use crate::tasks::runtime;
use crate::waiting::is_readable;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::backend::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Clock, FoundByFd, JobPlan, OnExit, Plan, ProcessBackend,
    Reopened, Spawned, Until, and_then,
};
use steadfast::tokio::AsyncProcess;
use steadfast::{
    Change, Child, Command, Errno, Error, ErrorKind, Exit, Identity, Pid, Process, Result, Signal, Stdio, System, WaitSet,
    wait_any,
};

const PROMISES: &[Promise] = &[
    ("set: who cannot be looked at for a while stays in it", set_looks_again),
    ("set: one that cannot be added leaves it as it was, and others that wait for it", set_is_as_before),
    ("wait_gone: an error when it begins, and none once it waits", gone_waits_on),
];

/// Where processes have no descriptors, who waits is watched from the beginning, and there is nothing to refuse later.
const WITH_DESCRIPTORS: &[Promise] = &[
    ("set: who cannot be watched any more stays in it, and is reported once, with its status", set_keeps_it),
    ("set: the descriptor in a loop of one's own tells of those too", set_in_a_loop),
    ("any: once it waits, it waits on", any_waits_on),
    ("a task that waits, waits on", task_waits_on),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("waiting: refused", WITH_DESCRIPTORS, |scene, check| check(scene));
    tests.retain(|test| !test.name.contains(": mock"));
    tests.extend(on_every_backend("waiting: refused", PROMISES, |scene, check| check(scene)));
    tests.push(Test::that_may_skip("leaks: a reap that is refused is made again, until no zombie is left", reaps_are_refused));
    tests
}

/// The backend of a scene, which refuses what it is told to.
struct Refusing {
    backend: Arc<dyn ProcessBackend>,
    will: Arc<Will>,
}

#[derive(Default)]
struct Will {
    /// Whether nobody can be watched.
    watches: AtomicBool,
    /// So many looks are refused yet.
    looks: AtomicUsize,
    /// Holds a refusal of a watch back.
    hold: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    /// Tells of a refusal.
    told: std::sync::Mutex<Option<mpsc::Sender<()>>>,
    /// What is lent for a pidfd: always readable, as a child's is that a debugger has.
    readable: Option<OwnedFd>,
}

struct Held {
    process: Arc<dyn BackendProcess>,
    will: Arc<Will>,
    readable: Option<OwnedFd>,
}

impl Held {
    fn new(process: Arc<dyn BackendProcess>, will: &Arc<Will>) -> Arc<Held> {
        let readable = will.readable.as_ref().map(|fd| fd.try_clone().unwrap());
        Arc::new(Held { process, will: Arc::clone(will), readable })
    }
}

impl Will {
    /// With a readable descriptor for each process.
    fn with_descriptors() -> Will {
        Will { readable: Some(eventfd(1, EventfdFlags::CLOEXEC).unwrap()), ..Will::default() }
    }

    fn refused(&self, call: &'static str, errno: Errno) -> Error {
        if let Some(told) = &*self.told.lock().unwrap() {
            // Who asked may have heard enough.
            told.send(()).ok();
        }
        Error::on_process(call, Pid::MAX, errno)
    }

    fn look(&self) -> Result<()> {
        let left = self.looks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |looks| looks.checked_sub(1));
        if left.is_ok() { Err(self.refused("waitid", Errno::NOMEM)) } else { Ok(()) }
    }

    /// Hears of the next refusals.
    fn listen(&self) -> mpsc::Receiver<()> {
        let (sender, refusals) = mpsc::channel();
        *self.told.lock().unwrap() = Some(sender);
        refusals
    }

    fn refuse_watches(&self, refuse: bool) {
        self.watches.store(refuse, Ordering::SeqCst);
    }
}

impl ProcessBackend for Refusing {
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
        let will = Arc::clone(&self.will);
        Ok(and_then(self.backend.start(plan)?, move |spawned| {
            let spawned = spawned?;
            Ok(Spawned { process: Held::new(spawned.process, &will), ..spawned })
        }))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Ok(Held::new(self.backend.find(pid)?, &self.will))
    }

    fn list(&self) -> Result<Vec<Pid>> {
        self.backend.list()
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        Ok(match self.backend.find_by_fd(fd)? {
            FoundByFd::There { pid, process } => FoundByFd::There { pid, process: Held::new(process, &self.will) },
            gone @ FoundByFd::Gone { .. } => gone,
        })
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.backend.reopen(identity).map(|process| Held::new(process, &self.will) as Arc<dyn BackendProcess>)
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        self.backend.job(plan)
    }
}

impl BackendProcess for Held {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.process.signal_group(signal)
    }

    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        self.process.signal_value(signal, value)
    }

    fn may_signal(&self) -> Result<bool> {
        self.process.may_signal()
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        self.process.look()
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        self.process.by_number(act)
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        self.will.look()?;
        self.process.wait_exited(deadline)
    }

    fn reap(&self) -> Result<Option<Exit>> {
        self.will.look()?;
        self.process.reap()
    }

    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()> {
        if self.will.watches.load(Ordering::SeqCst) {
            let error = self.will.refused("epoll_ctl", Errno::MFILE);
            let hold = self.will.hold.lock().unwrap().take();
            if let Some(hold) = hold {
                hold.recv().unwrap();
            }
            return Err(error);
        }
        Arc::clone(&self.process).on_exit(end, tell)
    }

    fn wait_change(&self) -> Result<Change> {
        self.process.wait_change()
    }

    fn try_change(&self) -> Result<Option<Change>> {
        self.process.try_change()
    }

    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        Arc::clone(&self.process).on_change(tell)
    }

    fn identity(&self) -> Result<Identity> {
        self.process.identity()
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.readable.as_ref().map(AsFd::as_fd)
    }

    fn abandon(self: Arc<Self>) {
        Arc::clone(&self.process).abandon();
    }
}

/// The scene's system, as it is to be refused.
fn refusing(scene: &Scene, will: Will) -> (System, Arc<Will>) {
    let will = Arc::new(will);
    let backend = Arc::clone(scene.system.backend());
    (System::with_backend(Arc::new(Refusing { backend, will: Arc::clone(&will) })), will)
}

fn child(scene: &Scene, system: &System, code: u8) -> Child {
    let mut command = Command::new(scene.actor());
    command.args(["until-eof", &code.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
    system.spawn(&command).unwrap()
}

fn set_keeps_it(scene: &Scene) {
    let (system, will) = refusing(scene, Will::with_descriptors());
    for is_refused_to_the_end in [true, false] {
        will.refuse_watches(true);
        let (set, mut child) = (WaitSet::new(), child(scene, &system, 7));
        set.add(1, Process::clone(&child)).unwrap();
        assert!(set.try_wait().is_none());
        assert_eq!(set.len(), 1);
        thread::scope(|scope| {
            let refusals = will.listen();
            let waiters = [(); 3].map(|()| scope.spawn(|| set.wait().map(|exited| (exited.key, exited.status.unwrap().code()))));
            // It looks again and again, for one that has nothing to say.
            refusals.iter().take(5).for_each(drop);
            will.refuse_watches(is_refused_to_the_end);
            child.stdin = None;
            let mut seen = waiters.map(|waiter| waiter.join().unwrap());
            seen.sort_unstable();
            assert_eq!(seen, [None, None, Some((1, Some(7)))]);
        });
    }
    // Two of one process do not keep each other awake, and what others do with it is told.
    will.refuse_watches(true);
    let (set, child) = (WaitSet::new(), child(scene, &system, 8));
    set.add(1, Process::clone(&child)).unwrap();
    will.refuse_watches(false);
    set.add(2, Process::clone(&child)).unwrap();
    will.refuse_watches(true);
    assert!(set.try_wait().is_none());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    for _ in 0..2 {
        assert_eq!(set.wait().unwrap().status.unwrap().signal(), Some(9));
    }
    assert!(set.wait().is_none());
}

fn set_looks_again(scene: &Scene) {
    for refusals in [1, 2, 3, 40] {
        let (system, will) = refusing(scene, Will::default());
        let set = WaitSet::new();
        let mut children: Vec<Child> = (0..3).map(|code| child(scene, &system, code)).collect();
        for (key, child) in (0..).zip(&children) {
            set.add(key, Process::clone(child)).unwrap();
        }
        will.looks.store(refusals, Ordering::SeqCst);
        for child in &mut children {
            child.stdin = None;
        }
        let mut seen: Vec<_> =
            std::iter::from_fn(|| set.wait()).map(|exited| (exited.key, exited.status.unwrap().code())).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2].map(|key| (key, Some(key))), "{refusals}");
    }
}

fn set_is_as_before(scene: &Scene) {
    let (system, will) = refusing(scene, Will::default());
    let set = WaitSet::new();
    let [mut one, other] = [1, 2].map(|code| child(scene, &system, code));
    set.add(1, Process::clone(&one)).unwrap();
    will.refuse_watches(true);
    assert_eq!(set.add(2, Process::clone(&other)).unwrap_err().errno(), Some(Errno::MFILE));
    assert!(set.len() == 1 && !set.contains(&2));
    will.refuse_watches(false);
    set.add(2, Process::clone(&other)).unwrap();
    one.stdin = None;
    assert_eq!(set.wait().unwrap().status.unwrap().code(), Some(1));
    drop(other);
    assert_eq!(set.wait().unwrap().status.unwrap().code(), Some(2));
    // Somebody waits for nobody else.
    let (go_on, hold) = mpsc::channel();
    let refusals = will.listen();
    *will.hold.lock().unwrap() = Some(hold);
    will.refuse_watches(true);
    let third = child(scene, &system, 3);
    thread::scope(|scope| {
        let adds = scope.spawn(|| set.add(3, Process::clone(&third)).unwrap_err());
        refusals.recv().unwrap();
        let (sender, thread) = mpsc::channel();
        let waits = scope.spawn(|| {
            let sender = sender;
            sender.send(nix::unistd::gettid()).unwrap();
            set.wait().is_none()
        });
        let stat = format!("/proc/self/task/{}/stat", thread.recv().unwrap());
        until("it sleeps", || std::fs::read_to_string(&stat).unwrap().contains(") S "));
        go_on.send(()).unwrap();
        adds.join().unwrap();
        assert!(waits.join().unwrap());
    });
}

fn set_in_a_loop(scene: &Scene) {
    let (system, will) = refusing(scene, Will::with_descriptors());
    will.refuse_watches(true);
    let (set, mut child) = (WaitSet::new(), child(scene, &system, 7));
    set.add(1, Process::clone(&child)).unwrap();
    for _ in 0..5 {
        assert!(is_readable(&set, Duration::from_secs(60)));
        assert_eq!(set.ready().count(), 0);
    }
    child.stdin = None;
    let exited = loop {
        assert!(is_readable(&set, Duration::from_secs(60)));
        if let Some(exited) = set.ready().next() {
            break exited;
        }
    };
    assert_eq!(exited.status.unwrap().code(), Some(7));
}

fn any_waits_on(scene: &Scene) {
    let (system, will) = refusing(scene, Will::with_descriptors());
    will.refuse_watches(true);
    let mut children = [7, 8].map(|code| child(scene, &system, code));
    // Sets can be had; and then nothing but what is watched.
    for index in [1, 0] {
        thread::scope(|scope| {
            let refusals = will.listen();
            let processes: Vec<Process> = children.iter().map(|child| child.process().clone()).collect();
            let waiter = scope.spawn(move || {
                let left: Vec<&Process> = processes.iter().filter(|process| process.is_running()).collect();
                wait_any(&left, None).unwrap().unwrap()
            });
            refusals.iter().take(5).for_each(drop);
            children[index].stdin = None;
            assert_eq!(waiter.join().unwrap().status.unwrap().code(), Some(7 + index as i32));
        });
    }
    let running = child(scene, &system, 9);
    assert!(wait_any(&[running.process()], Some(Duration::from_millis(3))).unwrap().is_none());
}

fn gone_waits_on(scene: &Scene) {
    let (system, will) = refusing(scene, Will::default());
    let foreigner = system.find(scene.foreigner().pid()).unwrap();
    // When it begins there is an error, and the handle is as it was.
    will.refuse_watches(true);
    assert_eq!(foreigner.wait_gone().unwrap_err().errno(), Some(Errno::MFILE));
    will.refuse_watches(false);
    assert!(foreigner.wait_gone_timeout(Duration::from_millis(2)).unwrap().is_none());
    // It is told of the end, and cannot look.
    thread::scope(|scope| {
        let waiter = scope.spawn(|| foreigner.wait_gone());
        foreigner.kill().unwrap();
        let gone = waiter.join().unwrap().unwrap();
        assert!(gone.status().is_none_or(|status| status.signal() == Some(9)));
    });
    assert_eq!(foreigner.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    let other = system.find(scene.foreigner().pid()).unwrap();
    assert!(other.wait_gone_timeout(Duration::from_millis(2)).unwrap().is_none());
    other.kill().unwrap();
    will.looks.store(0, Ordering::SeqCst);
    assert!(other.wait_gone_timeout(Duration::from_secs(60)).unwrap().is_some());
}

fn task_waits_on(scene: &Scene) {
    for is_refused_to_the_end in [true, false] {
        let (system, will) = refusing(scene, Will::with_descriptors());
        runtime().block_on(async {
            let mut children = [7, 8, 9, 10].map(|code| child(scene, &system, code));
            // The descriptors are readable: each asks the backend as soon as it has a seat.
            will.refuse_watches(true);
            let refusals = will.listen();
            let tasks: Vec<_> = children
                .iter()
                .map(|child| {
                    let process = child.process().clone();
                    tokio::spawn(async move { process.wait_async().await })
                })
                .collect();
            let mut count = 0;
            while count < 12 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                count += refusals.try_iter().count();
            }
            assert!(tasks.iter().all(|task| !task.is_finished()));
            will.looks.store(2, Ordering::SeqCst);
            will.refuse_watches(is_refused_to_the_end);
            for child in &mut children {
                child.stdin = None;
            }
            for (code, task) in (7..).zip(tasks) {
                assert_eq!(task.await.unwrap().unwrap().code(), Some(code));
            }
        });
    }
}

/// strace(1), which answers some of this process's `waitid` in the kernel's place.
struct Strace(std::process::Child);

impl Strace {
    fn attach(inject: &str) -> std::result::Result<Strace, String> {
        let own = std::process::id().to_string();
        let child = std::process::Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=waitid", "-e", inject, "-p", &own])
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut strace = Strace(child.map_err(|error| format!("strace cannot be started: {error}"))?);
        let mut ended = None;
        until("strace is there, or is not allowed to be", || {
            ended = strace.0.try_wait().unwrap();
            ended.is_some() || tracer() != "0"
        });
        ended.map_or(Ok(strace), |status| Err(format!("strace may not trace this process: {status}")))
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        until("strace is gone", || tracer() == "0");
    }
}

fn tracer() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    line.trim().to_owned()
}

fn reaps_are_refused() -> Outcome {
    if let Err(reason) = Strace::attach("inject=waitid:error=EINTR:when=60000").map(Strace::end) {
        return Outcome::Skipped(reason);
    }
    each_backend(|system| {
        for errno in ["EINTR", "EPERM", "EAGAIN"] {
            // Counted in each thread. Not every other one: where a look and a reap take turns, those would be all reaps, for ever.
            for when in ["1", "2", "2..4", "1..9"] {
                let strace = Strace::attach(&format!("inject=waitid:error={errno}:when={when}")).unwrap();
                leave_zombies(system, &format!("{}: {errno}, {when}", system.backend_name()));
                strace.end();
            }
        }
    });
    Outcome::Passed
}

fn leave_zombies(system: &System, what: &str) {
    let mut command = Command::new(crate::contract::ACTOR);
    command.args(["until-eof", "7"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let spawn = || system.spawn(&command).unwrap();
    // Dropped while they run, and when they have exited.
    let inputs: Vec<_> = (0..3).map(|_| spawn().stdin.take()).collect();
    let mut exited: Vec<Child> = (0..3).map(|_| spawn()).collect();
    for child in &mut exited {
        child.stdin = None;
        until("it has exited", || crate::leaks::is_over(child.pid()));
    }
    drop((inputs, exited));
    // Waited for by those who ask again, for an error is theirs; and in a set, which does.
    for _ in 0..3 {
        let mut child = spawn();
        child.stdin = None;
        let status = loop {
            match child.wait() {
                Ok(status) => break status,
                Err(error) => assert_eq!(error.kind(), ErrorKind::System, "{error}"),
            }
        };
        assert_eq!(status.code(), Some(7), "{what}");
    }
    if !what.contains("EPERM") {
        let set = WaitSet::new();
        for key in 0..3 {
            let child = spawn();
            while let Err(error) = set.add(key, Process::clone(&child)) {
                assert!(error.is_of_the_moment(), "{what}: {error}");
            }
        }
        for _ in 0..3 {
            assert_eq!(set.wait().unwrap().status.unwrap().code(), Some(7), "{what}");
        }
    }
    // strace itself.
    until(&format!("no zombie is left: {what}"), || children().len() == 1);
}
