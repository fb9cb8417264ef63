//! Callbacks that panic, and panic again when they are dropped: nobody else notices, whoever calls them, on every backend.

use crate::Test;
use crate::leaks::until;
use crate::scene::{Promise, Scene, on_every_backend};
use crate::tasks::runtime;
use std::ffi::OsString;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use steadfast::backend::Until;
use steadfast::backend::Watcher;
use steadfast::mock::{Kernel, Script};
use steadfast::{Child, Command, Process, Result, System, WaitSet, wait_any};

const PROMISES: &[Promise] = &[
    ("of watchers: all others are told, and what is due in the background is done", watchers),
    ("of watchers that use the library: it holds nothing that they need", busy),
    ("of wakers: all other tasks go on, and the runtime does", wakers),
    ("of wakers, at the end of their runtime: all others are moved to another", wakers_of_a_closed_runtime),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("waiting: panics", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    });
    tests.push(Test::new("tasks: panics of wakers on the thread of async-io", on_the_thread_of_async_io));
    tests.push(Test::new("waiting: a panic of a watcher is the verdict of an exploration", verdict));
    tests
}

/// Tells that it was called, and panics; and so does the end of what it panics with, and its own.
pub(crate) struct Bad(mpsc::Sender<u64>);

pub(crate) struct Worse;

impl Bad {
    fn called(&self, token: u64) {
        // Who asked may not be interested.
        self.0.send(token).ok();
        panic_any(Worse);
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("on purpose, in the end of a callback");
    }
}

impl Drop for Worse {
    fn drop(&mut self) {
        panic!("on purpose, in the end of what was panicked with");
    }
}

impl Watcher for Bad {
    fn notify(&self, token: u64) {
        self.called(token);
    }
}

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        self.called(0);
    }
}

pub(crate) fn bad() -> (Arc<Bad>, mpsc::Receiver<u64>) {
    let (sender, called) = mpsc::channel();
    (Arc::new(Bad(sender)), called)
}

/// What is done in the background goes on: dropped children are reaped, and those who wait for others' processes are told.
fn background_works(scene: &Scene) {
    let dropped: Vec<_> = (0..5).map(|code| scene.child(code).pid()).collect();
    for pid in dropped {
        until("a dropped child is reaped", || {
            scene.system.sleep(Duration::from_millis(1));
            scene.system.find(pid).is_err()
        });
    }
    let foreigner = scene.foreigner();
    let set = WaitSet::new();
    set.add((), Process::clone(&foreigner)).unwrap();
    foreigner.kill().unwrap();
    assert!(foreigner.wait_gone_timeout(Duration::from_secs(60)).unwrap().is_some());
    assert!(set.wait_timeout(Duration::from_secs(60)).is_some());
}

fn watchers(scene: &Scene) {
    let mut children: Vec<Child> = (0..4).map(|code| scene.child(code)).collect();
    let (set, others) = (WaitSet::new(), WaitSet::new());
    let (watcher, called) = bad();
    let watcher: Arc<dyn Watcher> = watcher;
    for (key, child) in (0..).zip(&children) {
        child.process().watch_end(Until::Gone, &watcher, key).unwrap();
        set.add(key, Process::clone(child)).unwrap();
        child.process().watch_end(Until::Gone, &watcher, 10 + key).unwrap();
        others.add(key, Process::clone(child)).unwrap();
    }
    // From now on each is dropped where it is called last.
    drop(watcher);
    children[0].stdin = None;
    assert_eq!(children[0].wait().unwrap().code(), Some(0));
    children[1].stdin = None;
    assert_eq!(wait_any(&[children[1].process()], None).unwrap().unwrap().status.unwrap().code(), Some(1));
    // By whoever is told by the backend.
    children.drain(2..);
    for set in [set, others] {
        let mut seen: Vec<_> = std::iter::from_fn(|| set.wait()).map(|exited| exited.status.unwrap().code().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
    background_works(scene);
    let mut told: Vec<u64> = called.iter().collect();
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 10, 11, 12, 13]);
}

/// Does what needs the backend's thread again, when it is called: waits for others, and has a child reaped.
struct Busy {
    system: System,
    actor: OsString,
    others: [Process; 2],
    quiet: Arc<dyn Watcher>,
    done: mpsc::Sender<u64>,
}

impl Watcher for Busy {
    fn notify(&self, token: u64) {
        let _here = self.system.enter();
        let spawned = Command::new(&self.actor).args(["exit", "0"]).spawn();
        drop(spawned.unwrap());
        for (other, end) in self.others.iter().zip([Until::Exited, Until::Gone]) {
            other.watch_end(end, &self.quiet, token).unwrap();
            other.unwatch(&self.quiet, token);
        }
        self.done.send(token).unwrap();
    }
}

fn busy(scene: &Scene) {
    let (mut parent, neglected) = scene.neglected();
    let (done, heard) = mpsc::channel();
    let (_parent_of_other, other) = scene.neglected();
    let system = scene.system.clone();
    let others = [Process::clone(&other), scene.foreigner()];
    let quiet: Arc<dyn Watcher> = Arc::new(Quiet);
    let watcher: Arc<dyn Watcher> = Arc::new(Busy { system, actor: scene.actor().clone(), others, quiet, done });
    let child = scene.child(0);
    let foreigner = scene.foreigner();
    // A zombie of somebody else's, and that it is gone; a process of somebody else's; a child.
    neglected.watch_end(Until::Exited, &watcher, 0).unwrap();
    neglected.watch_end(Until::Gone, &watcher, 1).unwrap();
    foreigner.watch_end(Until::Gone, &watcher, 2).unwrap();
    child.process().watch_end(Until::Gone, &watcher, 3).unwrap();
    let told = |token| {
        until("its watcher has been called, and has returned", || {
            scene.system.sleep(Duration::from_millis(1));
            heard.try_recv() == Ok(token)
        });
    };
    neglected.kill().unwrap();
    told(0);
    parent.stdin = None;
    told(1);
    foreigner.kill().unwrap();
    told(2);
    child.kill().unwrap();
    told(3);
}

struct Quiet;

impl Watcher for Quiet {
    fn notify(&self, _: u64) {}
}

type End = Pin<Box<dyn Future<Output = Result<steadfast::ExitStatus>>>>;

fn end(process: &Process) -> End {
    let process = process.clone();
    Box::pin(async move { steadfast::tokio::AsyncProcess::wait_async(&process).await })
}

/// Polls it once, for a task that panics when it is woken.
fn poll_badly(end: &mut End) -> mpsc::Receiver<u64> {
    let (waker, called) = bad();
    let waker = Waker::from(waker);
    assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // The only other one is in there.
    std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(waker))));
    called
}

/// Enough for each way to hear of an exit: by the runtime itself, by the hub, and by the backend, for two of one child.
fn of_each_way(children: &[Child]) -> Vec<End> {
    children.iter().flat_map(|child| [end(child.process()), end(child.process())]).collect()
}

fn codes() -> impl Iterator<Item = i32> {
    (0..6).flat_map(|code| [code, code])
}

fn wakers(scene: &Scene) {
    runtime().block_on(async {
        let children: Vec<Child> = (0..6).map(|code| scene.child(code)).collect();
        let (mut bad, mut good) = (of_each_way(&children), of_each_way(&children));
        let called: Vec<_> = bad.iter_mut().map(poll_badly).collect();
        let mut tasks = Vec::new();
        for mut end in good.drain(..) {
            let is_pending = std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_pending())).await;
            assert!(is_pending);
            tasks.push(end);
        }
        drop(children);
        for (code, end) in codes().zip(tasks) {
            assert_eq!(end.await.unwrap().code(), Some(code));
        }
        for (code, end) in codes().zip(bad) {
            assert_eq!(end.await.unwrap().code(), Some(code));
        }
        assert!(called.iter().any(|called| called.try_recv().is_ok()));
    });
    background_works(scene);
}

fn wakers_of_a_closed_runtime(scene: &Scene) {
    let (first, second) = (runtime(), runtime());
    let children: Vec<Child> = (0..6).map(|code| scene.child(code)).collect();
    let mut bad = of_each_way(&children);
    let called: Vec<_> = first.block_on(async { bad.iter_mut().map(poll_badly).collect() });
    drop(first);
    let told = called.iter().filter(|called| called.try_recv().is_ok()).count();
    // A simulation has no descriptors that a runtime could poll.
    assert!(told >= 2 || scene.system.backend_name() != "pidfd", "{told}");
    second.block_on(async {
        drop(children);
        for (code, end) in codes().zip(bad) {
            assert_eq!(tokio::time::timeout(Duration::from_secs(60), end).await.expect("told").unwrap().code(), Some(code));
        }
    });
    background_works(scene);
}

fn on_the_thread_of_async_io() {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let _here = system.enter();
        let spawn = || Command::new("cat").stdin(steadfast::Stdio::piped()).spawn().unwrap();
        let end = |process: &Process| -> End {
            let process = process.clone();
            Box::pin(async move { steadfast::async_io::AsyncProcess::wait_async(&process).await })
        };
        let children: Vec<Child> = (0..6).map(|_| spawn()).collect();
        let mut ends: Vec<End> = children.iter().flat_map(|child| [end(child.process()), end(child.process())]).collect();
        let called: Vec<_> = ends.iter_mut().map(poll_badly).collect();
        drop(children);
        // Nobody blocks on a future now: its own thread calls them.
        for called in called {
            called.recv_timeout(Duration::from_secs(60)).expect("called");
        }
        for end in ends {
            assert!(async_io::block_on(end).unwrap().success());
        }
        let mut later = spawn();
        let mut end = end(later.process());
        let called = poll_badly(&mut end);
        later.stdin = None;
        called.recv_timeout(Duration::from_secs(60)).expect("its thread goes on");
    }
}

fn verdict() {
    struct Asserts;
    impl Watcher for Asserts {
        fn notify(&self, token: u64) {
            assert_ne!(token, 7, "what a test finds out in a watcher");
        }
    }
    let kernel = Kernel::builder().program("job", Script::new().exit(0)).build();
    let run = || {
        kernel.explore(1..=3, |_| {
            let child = Command::new("job").spawn().unwrap();
            let watcher: Arc<dyn Watcher> = Arc::new(Asserts);
            child.process().watch_end(Until::Gone, &watcher, 7).unwrap();
            child.wait().unwrap();
        });
    };
    let said = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let said = said.downcast_ref::<String>().expect("a report");
    assert!(said.contains("what a test finds out in a watcher"), "{said}");
}
