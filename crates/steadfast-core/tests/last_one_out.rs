//! The last call to come back reaps, and nobody else: with a backend whose calls come back when the test says so.
//!
//! Longer than other files: the backend that does as the test says is only understood beside what is asked of it.
#![forbid(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Change, Clock, Errno, Error, ErrorKind, Exit, FoundByFd,
    Identity, JobPlan, OnExit, Pid, Plan, Process, ProcessBackend, Reopened, Result, Signal, Spawned, Until, Watcher,
};

/// What was called, in order, and what holds the next call of a kind back.
#[derive(Default)]
struct Script {
    calls: Mutex<Vec<&'static str>>,
    hold_wait: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    hold_signal: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    hold_on_exit: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    /// The next one.
    refuse_on_exit: Mutex<bool>,
    interrupt: Mutex<u32>,
    tell: Mutex<Option<OnExit>>,
    /// Answers of the next reaps, the last one first.
    refuse_reap: Mutex<Vec<Errno>>,
}

struct Scripted(Arc<Script>);

impl Script {
    fn note(&self, call: &'static str) {
        self.calls.lock().unwrap().push(call);
    }

    fn count(&self, call: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|made| **made == call).count()
    }
}

/// Says that it is there, then waits until it may go on.
fn held(hold: &Mutex<Option<(Sender<()>, Receiver<()>)>>) {
    let hold = hold.lock().unwrap().take();
    if let Some((arrived, go_on)) = hold {
        arrived.send(()).unwrap();
        go_on.recv().unwrap();
    }
}

/// Arranges that the next call is held; gives what tells that it is there, and what lets it go on.
fn hold(slot: &Mutex<Option<(Sender<()>, Receiver<()>)>>) -> (Receiver<()>, Sender<()>) {
    let ((arrived, is_there), (go_on, may_go_on)) = (channel(), channel());
    *slot.lock().unwrap() = Some((arrived, may_go_on));
    (is_there, go_on)
}

fn exit() -> Exit {
    Exit::new(Pid::MAX, ExitStatus::from_raw(7 << 8))
}

impl BackendProcess for Scripted {
    fn signal(&self, _: Signal) -> Result<()> {
        self.0.note("signal");
        held(&self.0.hold_signal);
        Ok(())
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.signal(signal).map(|()| true)
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
        self.0.note("wait");
        held(&self.0.hold_wait);
        let mut interrupt = self.0.interrupt.lock().unwrap();
        if *interrupt > 0 {
            *interrupt -= 1;
            return Err(Error::on_process("wait", Pid::MAX, Errno::INTR));
        }
        Ok(Some(exit()))
    }

    fn reap(&self) -> Result<Option<Exit>> {
        self.0.note("reap");
        let refusal = self.0.refuse_reap.lock().unwrap().pop();
        match refusal {
            Some(errno) => Err(Error::on_process("reap", Pid::MAX, errno)),
            None => Ok(Some(exit())),
        }
    }

    fn on_exit(self: Arc<Self>, _: Until, tell: OnExit) -> Result<()> {
        self.0.note("on_exit");
        held(&self.0.hold_on_exit);
        if std::mem::take(&mut *self.0.refuse_on_exit.lock().unwrap()) {
            return Err(Error::on_process("on_exit", Pid::MAX, Errno::MFILE));
        }
        *self.0.tell.lock().unwrap() = Some(tell);
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
        self.0.note("abandon");
    }
}

impl Clock for Scripted {
    fn now(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is a clock")]
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) {}

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}

impl ProcessBackend for Scripted {
    fn info(&self) -> BackendInfo {
        BackendInfo::new("scripted")
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn generation(&self) -> u32 {
        0
    }

    fn start(&self, _: &Plan) -> Result<Box<dyn BackendStart>> {
        let process = Arc::new(Scripted(Arc::clone(&self.0)));
        Ok(Spawned { pid: Pid::MAX, spawner_peak: 0, process, pipes: [None, None, None], pidfd: None, missing_walls: Vec::new() }
            .at_once())
    }

    fn find(&self, _: Pid) -> Result<Arc<dyn BackendProcess>> {
        Ok(Arc::new(Scripted(Arc::clone(&self.0))))
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

fn spawned() -> (Arc<Script>, Process) {
    let script = Arc::new(Script::default());
    let backend: Arc<dyn ProcessBackend> = Arc::new(Scripted(Arc::clone(&script)));
    let (process, _, _) = Process::spawn(&backend, &Plan::builder("x").build().unwrap()).unwrap();
    (script, process)
}

#[test]
fn the_reap_waits_for_another_waiter() {
    let (script, process) = spawned();
    let (is_there, go_on) = hold(&script.hold_wait);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| process.wait().unwrap());
        is_there.recv().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(7));
        // The other one is still in the kernel with this number: it must stay ours.
        assert_eq!(script.count("reap"), 0);
        // And no new call begins.
        assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(process.wait().unwrap().code(), Some(7));
        assert_eq!((script.count("signal"), script.count("wait")), (0, 2));
        go_on.send(()).unwrap();
        assert_eq!(other.join().unwrap().code(), Some(7));
    });
    assert_eq!(script.count("reap"), 1);
    drop(process);
    assert_eq!((script.count("reap"), script.count("abandon")), (1, 0));
}

#[test]
fn the_reap_waits_for_a_signal_in_flight() {
    let (script, process) = spawned();
    let (is_there, go_on) = hold(&script.hold_signal);
    std::thread::scope(|scope| {
        let signal = scope.spawn(|| process.kill().unwrap());
        is_there.recv().unwrap();
        assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(7));
        assert_eq!(script.count("reap"), 0);
        go_on.send(()).unwrap();
        signal.join().unwrap();
    });
    assert_eq!(script.count("reap"), 1);
}

#[test]
fn a_waiter_blocked_at_a_release_collects_and_reaps() {
    let (script, process) = spawned();
    let (is_there, go_on) = hold(&script.hold_wait);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| process.wait().unwrap());
        is_there.recv().unwrap();
        process.release().unwrap();
        assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::Released);
        go_on.send(()).unwrap();
        assert_eq!(waiter.join().unwrap().code(), Some(7));
    });
    assert_eq!((script.count("reap"), script.count("abandon")), (1, 0));
    assert_eq!(process.wait().unwrap_err().kind(), ErrorKind::Released);
}

#[test]
fn a_dropped_or_released_child_is_handed_back_once() {
    let (script, process) = spawned();
    let clone = process.clone();
    drop(process);
    assert_eq!(script.count("abandon"), 0);
    clone.release().unwrap();
    drop(clone);
    assert_eq!((script.count("abandon"), script.count("reap")), (1, 0));
}

#[test]
fn an_interrupted_wait_goes_on() {
    let (script, process) = spawned();
    *script.interrupt.lock().unwrap() = 100;
    assert_eq!(process.wait().unwrap().code(), Some(7));
    assert_eq!((script.count("wait"), script.count("reap")), (101, 1));
}

#[test]
fn run_waits_again_after_a_signal_and_reaps() {
    let script = Arc::new(Script::default());
    *script.interrupt.lock().unwrap() = 2;
    let backend: Arc<dyn ProcessBackend> = Arc::new(Scripted(Arc::clone(&script)));
    let seen = Process::run(&backend, &Plan::builder("x").build().unwrap()).unwrap();
    assert_eq!(seen, exit());
    assert_eq!((script.count("wait"), script.count("reap"), script.count("abandon")), (3, 1, 0));
}

/// In the waiter's call, whose other call is a signal on its way: so that the reap is a call of its own, behind the look at the exit.
fn reaped_at_last(refusals: &[Errno]) -> Arc<Script> {
    let (script, process) = spawned();
    refusals.clone_into(&mut script.refuse_reap.lock().unwrap());
    let (is_there, go_on) = hold(&script.hold_signal);
    std::thread::scope(|scope| {
        let signal = scope.spawn(|| process.kill().unwrap());
        is_there.recv().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(7));
        go_on.send(()).unwrap();
        signal.join().unwrap();
    });
    assert_eq!(process.wait().unwrap().code(), Some(7));
    drop(process);
    script
}

#[test]
fn an_interrupted_reap_is_made_again() {
    for times in [1, 5] {
        let script = reaped_at_last(&vec![Errno::INTR; times]);
        assert_eq!((script.count("reap"), script.count("abandon")), (times + 1, 0));
    }
}

#[test]
fn a_reap_that_is_refused_is_left_to_the_background() {
    for refusals in [&[Errno::PERM][..], &[Errno::AGAIN], &[Errno::PERM; 3], &[Errno::AGAIN, Errno::INTR]] {
        let script = reaped_at_last(refusals);
        assert_eq!(script.count("abandon"), 1, "{refusals:?}");
        assert_eq!(script.calls.lock().unwrap().last(), Some(&"abandon"));
    }
    // Somebody else was quicker.
    let script = reaped_at_last(&[Errno::CHILD]);
    assert_eq!((script.count("reap"), script.count("abandon")), (1, 0));
}

#[test]
fn a_look_whose_reap_is_refused_gives_the_status_all_the_same() {
    for (refusals, is_left) in [(&[Errno::INTR][..], false), (&[Errno::PERM], false), (&[Errno::PERM, Errno::PERM], true)] {
        let (script, process) = spawned();
        refusals.clone_into(&mut script.refuse_reap.lock().unwrap());
        assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(7), "{refusals:?}");
        assert_eq!(script.count("abandon") == 1, is_left, "{refusals:?}");
    }
}

/// Notes its token; an odd one panics then, and when it is dropped.
struct Touchy(Sender<u64>, u64);

/// What it panics with panics when it is dropped.
struct Touched;

impl Drop for Touched {
    fn drop(&mut self) {
        panic!("on purpose, of what was panicked with");
    }
}

impl Watcher for Touchy {
    fn notify(&self, token: u64) {
        self.0.send(token).unwrap();
        if token % 2 == 1 {
            std::panic::panic_any(Touched);
        }
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        assert!(self.1 % 2 == 0, "on purpose, at the end of a watcher");
    }
}

/// Watches it with five, of whom nobody else keeps any.
fn watched(process: &Process) -> Receiver<u64> {
    let (sender, told) = channel();
    for token in 0..5 {
        let watcher: Arc<dyn Watcher> = Arc::new(Touchy(sender.clone(), token));
        process.watch_end(Until::Gone, &watcher, token).unwrap();
    }
    told
}

#[test]
fn watchers_that_panic_keep_nobody_from_being_told() {
    let (script, process) = spawned();
    let told = watched(&process);
    let tell = script.tell.lock().unwrap().take().unwrap();
    // The backend's thread goes on.
    tell();
    assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(process.wait().unwrap().code(), Some(7));
    // At once, on the thread that asks.
    let (sender, told) = channel();
    let watcher: Arc<dyn Watcher> = Arc::new(Touchy(sender, 0));
    process.watch(&watcher, 1);
    process.watch_end(Until::Gone, &watcher, 3).unwrap();
    drop(watcher);
    assert_eq!(told.iter().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn watchers_that_panic_spoil_no_wait_and_no_reap() {
    let (script, process) = spawned();
    let told = watched(&process);
    assert_eq!(process.wait().unwrap().code(), Some(7));
    assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((script.count("reap"), script.count("abandon")), (1, 0));
    let (script, process) = spawned();
    let told = watched(&process);
    process.release().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(script.count("abandon"), 1);
    // Whom nobody tells, because nobody has the handle any more.
    let (script, process) = spawned();
    let told = watched(&process);
    drop(process);
    assert_eq!(told.iter().count(), 0);
    assert_eq!(script.count("abandon"), 1);
}

struct Channel(Sender<u64>);

impl Watcher for Channel {
    fn notify(&self, token: u64) {
        self.0.send(token).unwrap();
    }
}

#[test]
fn a_watch_that_is_refused_disturbs_nobody_but_those_who_rely_on_it() {
    let (script, process) = spawned();
    let (sender, told) = channel();
    let watcher: Arc<dyn Watcher> = Arc::new(Channel(sender));
    let refuse = || *script.refuse_on_exit.lock().unwrap() = true;
    process.watch(&watcher, 1);
    refuse();
    assert_eq!(process.watch_end(Until::Gone, &watcher, 2).unwrap_err().errno(), Some(Errno::MFILE));
    assert_eq!(told.try_iter().count(), 0, "two who are refused would wake each other for ever");
    // While it is asked another one comes, and is told that it has to ask again.
    refuse();
    let (is_there, go_on) = hold(&script.hold_on_exit);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| process.watch_end(Until::Gone, &watcher, 3).unwrap_err());
        is_there.recv().unwrap();
        process.watch_end(Until::Gone, &watcher, 4).unwrap();
        go_on.send(()).unwrap();
        asks.join().unwrap();
    });
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 4]);
    process.watch_end(Until::Gone, &watcher, 5).unwrap();
    script.tell.lock().unwrap().take().unwrap()();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [5]);
    assert_eq!(script.count("on_exit"), 3);
}
