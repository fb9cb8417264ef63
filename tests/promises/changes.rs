//! Stops and continuations of children: in sets, in tasks, beside other code that waits, and what is left of those who no longer wait.

use crate::Test;
use crate::leaks::{children, descriptors, each_backend, until};
use crate::scene::{Promise, Scene, on_every_backend};
use crate::stage::Outcome;
use crate::tasks::runtime;
use nix::sys::ptrace;
use nix::sys::signal::Signal as Number;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid as RawPid;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::tokio::AsyncProcess;
use steadfast::{Change, Changed, Child, Command, ErrorKind, Next, Process, Signal, Stdio, System, WaitSet};
use steadfast_tests::filter::Call;

const PROMISES: &[Promise] = &[
    ("a set tells of each change and of the exit, with which it leaves", in_a_set),
    ("a set has one under two keys, as an exit and as changes", twice_in_a_set),
    ("a set says nothing of what was removed", removed_from_a_set),
    ("a task awaits each, and a dropped future takes nothing", in_a_task),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("changes", PROMISES, |scene, check| check(scene));
    type Check = fn(&System);
    let real: [(&str, Check); 5] = [
        ("a waitpid elsewhere takes the report of a stop: the exit is told all the same", stolen),
        ("waitpids elsewhere in a storm of stops: nobody waits for ever", stolen_in_a_storm),
        ("a stop of a child that this program traces is the tracer's", traced),
        ("however many give up, there is one thread, and none when the child has ended", given_up),
        ("in the child of a fork it is no child", forked),
    ];
    tests.extend(real.into_iter().map(|(name, check)| {
        Test::that_may_skip(format!("changes: {name}"), move || {
            let before = descriptors();
            each_backend(check);
            until("those that were dropped are reaped", || children().is_empty());
            until("what was open is closed", || descriptors() == before);
            Outcome::Passed
        })
    }));
    tests.push(Test::new(
        "changes: in 3,000 orders of threads no wait is for ever, and nothing is told that was not",
        in_many_orders,
    ));
    tests.push(Test::that_may_skip("changes: without waitid(2): Unsupported, and the exit is told", without_waitid));
    tests
}

const STOPPED: Change = Change::Stopped(Signal::STOP);

fn next(set: &WaitSet<&'static str>) -> Changed<&'static str> {
    match set.wait_next(None).unwrap() {
        Next::Changed(changed) => changed,
        other => panic!("{other:?}"),
    }
}

fn in_a_set(scene: &Scene) {
    let _here = scene.system.enter();
    let set = WaitSet::new();
    let (one, other) = (scene.child(3), scene.child(4));
    set.add_changes("one", one.process().clone()).unwrap();
    set.add_changes("other", other.process().clone()).unwrap();
    assert_eq!(set.add_changes("one", other.process().clone()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(matches!(set.wait_next(Some(Duration::ZERO)).unwrap(), Next::TimedOut));
    for _ in 0..3 {
        one.signal(Signal::STOP).unwrap();
        let told = next(&set);
        assert_eq!((told.key, told.process.pid(), told.change.unwrap()), ("one", one.pid(), STOPPED));
        assert!(matches!(set.wait_next(Some(Duration::ZERO)).unwrap(), Next::TimedOut));
        one.signal(Signal::CONT).unwrap();
        assert_eq!(next(&set).change.unwrap(), Change::Continued);
    }
    // Nothing else of it: no exit, as far as that was not asked for.
    assert!(set.try_wait().is_none() && set.wait().is_none());
    assert_eq!(set.len(), 2);
    other.kill().unwrap();
    let told = next(&set);
    assert_eq!((told.key, told.change.unwrap().status()), ("other", other.status()));
    assert!(!set.contains(&"other") && set.contains(&"one"));
    one.release().unwrap();
    assert_eq!(next(&set).change.unwrap_err().kind(), ErrorKind::Released);
    assert!(set.is_empty());
}

fn twice_in_a_set(scene: &Scene) {
    let _here = scene.system.enter();
    let set = WaitSet::new();
    let child = scene.child(5);
    set.add("exit", child.process().clone()).unwrap();
    set.add_changes("changes", child.process().clone()).unwrap();
    child.signal(Signal::STOP).unwrap();
    assert_eq!(next(&set).change.unwrap(), STOPPED);
    child.kill().unwrap();
    let mut told = [false; 2];
    while told != [true; 2] {
        match set.wait_next(None).unwrap() {
            Next::Exited(exited) if exited.key == "exit" => told[0] = exited.status.unwrap().code().is_none(),
            Next::Changed(changed) if changed.key == "changes" => told[1] = changed.change.unwrap().status().is_some(),
            other => panic!("{other:?}"),
        }
    }
    assert!(set.is_empty());
}

fn removed_from_a_set(scene: &Scene) {
    let _here = scene.system.enter();
    let set = WaitSet::new();
    let child = scene.child(6);
    set.add_changes("changes", child.process().clone()).unwrap();
    assert!(set.remove(&"changes").is_none() && !set.remove_job(&"changes"));
    assert_eq!(set.remove_changes(&"changes").unwrap().pid(), child.pid());
    assert!(set.remove_changes(&"changes").is_none() && set.is_empty());
    child.signal(Signal::STOP).unwrap();
    assert_eq!(child.wait_change().unwrap(), STOPPED);
    assert!(matches!(set.wait_next(Some(Duration::from_millis(1))).unwrap(), Next::TimedOut));
    // It is dropped with a stop that nobody has asked for.
    set.add_changes("again", child.process().clone()).unwrap();
    child.signal(Signal::CONT).unwrap();
    drop(set);
    assert_eq!(child.wait_change().unwrap(), Change::Continued);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn in_a_task(scene: &Scene) {
    let _here = scene.system.enter();
    runtime().block_on(async {
        let child = steadfast::tokio::Child::from(scene.child(7));
        for _ in 0..3 {
            // Begun, and given up.
            let mut given_up = Box::pin(child.wait_change());
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            child.signal(Signal::STOP).unwrap();
            drop(given_up);
            assert_eq!(child.wait_change().await.unwrap(), STOPPED);
            child.signal(Signal::CONT).unwrap();
            assert_eq!(child.process().wait_change_async().await.unwrap(), Change::Continued);
        }
        let (wait, kill) = (child.wait_change(), async { child.kill().unwrap() });
        let (change, ()) = tokio::join!(wait, kill);
        assert_eq!(change.unwrap().status(), child.status());
        assert_eq!(child.wait_change().await.unwrap().status(), child.status());
        child.release().unwrap();
        let mut done = pin!(child.wait_change());
        assert!(done.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}

fn forever(system: &System) -> Child {
    system.spawn(Command::new("sleep").arg("1000").stdout(Stdio::null()).kill_on_drop(true)).unwrap()
}

fn raw(child: &Child) -> RawPid {
    RawPid::from_raw(child.pid().as_raw())
}

fn stolen(system: &System) {
    let child = forever(system);
    child.signal(Signal::STOP).unwrap();
    assert_eq!(
        waitpid(RawPid::from_raw(-1), Some(WaitPidFlag::WUNTRACED)),
        Ok(WaitStatus::Stopped(raw(&child), Number::SIGSTOP))
    );
    assert_eq!(child.try_wait_change().unwrap(), None);
    assert_eq!(child.wait_change_timeout(Duration::from_millis(2)).unwrap(), None);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| child.process().wait_change().unwrap());
        child.signal(Signal::KILL).unwrap();
        assert!(waits.join().unwrap().status().is_some());
    });
    assert!(child.status().is_some());
}

fn stolen_in_a_storm(system: &System) {
    for _ in 0..5 {
        let child = forever(system);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Never with `WEXITED`'s meaning: a child that has exited is not its business.
            scope.spawn(|| {
                let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WCONTINUED | WaitPidFlag::WNOHANG;
                while !is_over.load(Ordering::SeqCst) {
                    _ = nix::sys::wait::waitid(nix::sys::wait::Id::Pid(raw(&child)), flags);
                }
            });
            let waits: Vec<_> = (0..2)
                .map(|index| {
                    let process = child.process().clone();
                    scope.spawn(move || {
                        loop {
                            let change = match index {
                                0 => Some(process.wait_change().unwrap()),
                                _ => process.wait_change_timeout(Duration::from_millis(1)).unwrap(),
                            };
                            match change {
                                Some(Change::Exited(status)) => break status,
                                Some(Change::Stopped(signal)) => assert_eq!(signal, Signal::STOP),
                                Some(Change::Continued) | None => {}
                            }
                        }
                    })
                })
                .collect();
            for _ in 0..300 {
                child.signal(Signal::STOP).unwrap();
                child.signal(Signal::CONT).unwrap();
            }
            child.kill().unwrap();
            for waiter in waits {
                assert_eq!(Some(waiter.join().unwrap()), child.status());
            }
            is_over.store(true, Ordering::SeqCst);
        });
    }
}

fn traced(system: &System) {
    let child = system.spawn(Command::new("sh").args(["-c", "exit 3"]).trace_me(true)).unwrap();
    let is_stopped = || std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap().contains(") t ");
    until("it stops at its exec", is_stopped);
    assert_eq!(child.try_wait_change().unwrap(), None);
    assert_eq!(child.wait_change_timeout(Duration::from_millis(2)).unwrap(), None);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| child.process().wait_change().unwrap());
        until("it waits", crate::traced::is_waiting);
        // The tracer hears of it: nobody has taken it.
        assert_eq!(waitpid(raw(&child), Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Stopped(raw(&child), Number::SIGTRAP)));
        ptrace::cont(raw(&child), None).unwrap();
        assert_eq!(waits.join().unwrap().status().unwrap().code(), Some(3));
    });
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn given_up(system: &System) {
    let (before, child) = (threads(), forever(system));
    for _ in 0..300 {
        assert_eq!(child.wait_change_timeout(Duration::from_micros(1)).unwrap(), None);
        let mut future = Box::pin(child.process().wait_change_async());
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let set = WaitSet::new();
        set.add_changes((), child.process().clone()).unwrap();
    }
    assert!(threads() <= before + 1, "{} threads, {before} before", threads());
    // Nothing is lost by all that.
    child.signal(Signal::STOP).unwrap();
    assert_eq!(child.wait_change().unwrap(), STOPPED);
    assert_eq!(child.wait_change_timeout(Duration::from_micros(1)).unwrap(), None);
    // Nor does a thread stay when the handle is dropped: the child is killed with it.
    drop(child);
    until("the thread has ended", || threads() <= before);
    until("it is reaped", || children().is_empty());
}

fn forked(system: &System) {
    let child = forever(system);
    child.signal(Signal::STOP).unwrap();
    crate::forking::in_child(|| {
        assert_eq!(child.try_wait_change().unwrap_err().kind(), ErrorKind::NoChild);
        assert_eq!(child.wait_change().unwrap_err().kind(), ErrorKind::NoChild);
    });
    assert_eq!(child.wait_change().unwrap(), STOPPED);
}

/// Three ways to wait at once, a thief, and who stops and continues the child at any moment; a lost wake-up is a deadlock here.
fn in_many_orders() {
    let kernel = Kernel::builder().program("worker", Script::new().sleep(Duration::from_secs(9)).exit(4)).build();
    kernel.explore(1..=3_000, |sim| {
        let child = Command::new("worker").spawn().unwrap();
        let ways: [fn(&Process) -> Option<Change>; 3] = [
            |process| Some(process.wait_change().unwrap()),
            |process| process.wait_change_timeout(Duration::from_secs(2)).unwrap(),
            |process| {
                let set = WaitSet::new();
                set.add_changes((), process.clone()).unwrap();
                match set.wait_next(None).unwrap() {
                    Next::Changed(changed) => Some(changed.change.unwrap()),
                    other => panic!("{other:?}"),
                }
            },
        ];
        let waits: Vec<_> = ways
            .into_iter()
            .map(|wait| {
                let process = child.process().clone();
                sim.spawn(move || {
                    let (mut stops, mut continuations) = (0, 0);
                    loop {
                        match wait(&process) {
                            Some(Change::Stopped(signal)) => {
                                assert_eq!(signal, Signal::STOP);
                                stops += 1;
                            }
                            Some(Change::Continued) => continuations += 1,
                            Some(Change::Exited(status)) => return (stops, continuations, status),
                            None => {}
                        }
                    }
                })
            })
            .collect();
        let thief = (sim.random(0..2) == 1).then(|| {
            let kernel = sim.clone();
            sim.spawn(move || {
                kernel.system().sleep(kernel.random_time(Duration::from_secs(5)));
                u32::from(kernel.take_any_change().is_some())
            })
        });
        for _ in 0..3 {
            sim.system().sleep(sim.random_time(Duration::from_secs(1)));
            // It may have ended meanwhile.
            _ = child.signal(Signal::STOP);
            sim.system().sleep(sim.random_time(Duration::from_secs(1)));
            _ = child.signal(Signal::CONT);
        }
        let told: Vec<_> = waits.into_iter().map(|wait| wait.join()).collect();
        let stolen = thief.map_or(0, |thief| thief.join());
        assert!(told.iter().all(|(.., status)| Some(*status) == child.status() && status.code() == Some(4)));
        let (stops, continuations) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
        assert!(stops <= 3 && continuations <= 3 && stops + continuations + stolen <= 6, "{told:?}, {stolen} stolen");
    });
}

fn without_waitid() -> Outcome {
    let [.., call, _, _] = Call::all();
    assert_eq!(call.title(), "waitid in every form");
    call.answer(seccompiler::SeccompAction::Errno(nix::errno::Errno::EPERM as u32));
    let system = System::detect().unwrap();
    assert_eq!((system.backend_name(), system.info().tells_changes), ("pid-legacy", false));
    let child = forever(&system);
    child.signal(Signal::STOP).unwrap();
    for answer in [child.wait_change().map(Some), child.try_wait_change(), child.wait_change_timeout(Duration::from_secs(60))] {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let set = WaitSet::new();
    assert_eq!(set.add_changes((), child.process().clone()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(set.is_empty());
    child.kill().unwrap();
    assert_eq!(child.wait_change().unwrap_err().kind(), ErrorKind::Unsupported);
    let status = child.wait().unwrap();
    assert_eq!(child.wait_change().unwrap(), Change::Exited(status));
    Outcome::Passed
}
