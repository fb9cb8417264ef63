//! Waiting for several processes, on every backend: each of whom is reported once, whatever becomes of its handle.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::scene::{Promise, Scene, on_every_backend, real, simulated};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use steadfast::mock::{Kernel, Script};
use steadfast::{Child, Command, ErrorKind, ExitStatus, Member, Process, Stdio, System, WaitSet, wait_any};

const PROMISES: &[Promise] = &[
    ("set: each exit is reported once, with its key, until it is empty", all_exits),
    ("set: a key is somebody's until that exits or is removed", keys),
    ("set: no timeout is too short or too long", timeouts),
    ("set: what has exited can be had without blocking", ready),
    ("set: a handle that is done is reported at once", done),
    ("set: a handle that is released is reported at once", released),
    ("set: who is waited for elsewhere is reported with the same status", waited_for_elsewhere),
    ("set: one handle under two keys, and in two sets", twice),
    ("set: a lost status is no success", lost),
    ("set: who is not our child is reported when it is gone", foreign),
    ("set, wait_exited, wait_gone: a zombie of somebody else's has exited, and is not gone", others_zombie),
    ("wait_exited, then wait_gone: a zombie of somebody else's, while others are waited for", one_end_at_a_time),
    ("set: threads share it, and each exit goes to one of them", shared),
    ("set: one that is dropped leaves its handles alone, and no zombie", dropped),
    ("set: a child that it was given is its own: alive in it, back with its exit, and killed with it if it is to be", owned),
    ("any: the first of a few, by its index", any),
    ("any: handles that are done or released, no handle, no time", any_over),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("waiting", PROMISES, |scene, check| check(scene));
    tests.push(Test::new("waiting: real and simulated processes do not mix", unlike));
    tests.push(Test::new("waiting: a set between threads, in 2,000 orders", explored));
    tests.push(Test::new("waiting: a set of both real backends", both_kinds));
    tests.push(Test::new("waiting: the set's descriptor in a loop of one's own", own_loop));
    tests.push(Test::new("waiting: a duplicate of a pidfd does not keep the set awake", duplicate));
    tests
}

fn code(status: steadfast::Result<ExitStatus>) -> Option<i32> {
    status.unwrap().code()
}

fn all_exits(scene: &Scene) {
    let set = WaitSet::new();
    assert!(set.is_empty() && set.wait().is_none() && set.try_wait().is_none());
    for round in 1..=3 {
        for key in 0..30_u8 {
            // Whose stdin is closed before, at, or after the moment when it comes in.
            let mut child = scene.child(key);
            if key % 3 == 0 {
                child.stdin = None;
            }
            if key % 6 == 0 {
                scene.until_zombie(child.process());
            }
            set.add(key, Process::clone(&child)).unwrap();
        }
        assert_eq!(set.len(), 30);
        let mut seen = Vec::new();
        while let Some(exited) = set.wait() {
            assert_eq!(exited.status.unwrap().code(), Some(exited.key.into()));
            assert_eq!(exited.process.exit().unwrap().pid, exited.process.pid());
            seen.push(exited.key);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..30).collect::<Vec<_>>(), "round {round}");
        assert!(set.is_empty());
    }
}

fn keys(scene: &Scene) {
    let set = WaitSet::new();
    let [mut one, mut other] = [scene.child(1), scene.child(2)];
    set.add("key", Process::clone(&one)).unwrap();
    let error = set.add("key", Process::clone(&other)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the set has this key already"), "{error}");
    assert_eq!(set.len(), 1);
    assert_eq!(set.remove(&"key").unwrap().pid(), one.pid());
    assert!(set.remove(&"key").is_none() && !set.contains(&"key"));
    set.add("key", Process::clone(&other)).unwrap();
    // Who was removed is not reported, and can be waited for.
    one.stdin = None;
    assert_eq!(one.wait().unwrap().code(), Some(1));
    other.stdin = None;
    assert_eq!(code(set.wait().unwrap().status), Some(2));
    assert!(set.is_empty() && set.wait().is_none());
}

fn timeouts(scene: &Scene) {
    let set = WaitSet::new();
    let mut child = scene.child(3);
    set.add((), Process::clone(&child)).unwrap();
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(700), Duration::from_millis(5)] {
        let start = scene.system.now();
        assert!(set.wait_timeout(timeout).is_none());
        assert!(scene.system.now() - start >= timeout);
    }
    assert!(set.wait_deadline(scene.system.now()).is_none());
    child.stdin = None;
    assert_eq!(code(set.wait_timeout(Duration::MAX).unwrap().status), Some(3));
}

fn ready(scene: &Scene) {
    let set = WaitSet::new();
    let mut children: Vec<Child> = (0..6).map(|code| scene.child(code)).collect();
    for (key, child) in children.iter().enumerate() {
        set.add(key, Process::clone(child)).unwrap();
    }
    assert_eq!(set.ready().count(), 0);
    for child in &mut children[2..5] {
        child.stdin = None;
        scene.until_zombie(child.process());
    }
    let mut keys = Vec::new();
    // A helper thread may need a moment to say so.
    while keys.len() < 3 {
        keys.extend(set.ready().map(|exited| exited.key));
        keys.extend(set.wait_timeout(Duration::from_millis(1)).map(|exited| exited.key));
    }
    keys.sort_unstable();
    assert_eq!(keys, [2, 3, 4]);
    assert_eq!(set.len(), 3);
}

fn done(scene: &Scene) {
    let set = WaitSet::new();
    let mut child = scene.child(4);
    child.stdin = None;
    child.wait().unwrap();
    set.add(1, Process::clone(&child)).unwrap();
    assert_eq!(code(set.try_wait().unwrap().status), Some(4));
    set.add(1, Process::clone(&child)).unwrap();
    assert_eq!(code(set.wait().unwrap().status), Some(4));
}

fn released(scene: &Scene) {
    let set = WaitSet::new();
    let [before, meanwhile, stays] = [5, 6, 7].map(|code| scene.child(code));
    before.release().unwrap();
    set.add("before", Process::clone(&before)).unwrap();
    set.add("meanwhile", Process::clone(&meanwhile)).unwrap();
    set.add("stays", Process::clone(&stays)).unwrap();
    let exited = set.try_wait().unwrap();
    assert_eq!((exited.key, exited.status.unwrap_err().kind()), ("before", ErrorKind::Released));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| set.wait().unwrap());
        meanwhile.release().unwrap();
        let exited = waiter.join().unwrap();
        assert_eq!((exited.key, exited.status.unwrap_err().kind()), ("meanwhile", ErrorKind::Released));
    });
    assert_eq!(set.len(), 1);
}

fn waited_for_elsewhere(scene: &Scene) {
    for _ in 0..20 {
        let set = WaitSet::new();
        let mut child = scene.child(8);
        set.add((), Process::clone(&child)).unwrap();
        thread::scope(|scope| {
            let other = child.process().clone();
            let by_set = scope.spawn(|| set.wait().unwrap());
            let by_handle = scope.spawn(move || other.wait().unwrap());
            child.stdin = None;
            assert_eq!(by_handle.join().unwrap().code(), Some(8));
            assert_eq!(code(by_set.join().unwrap().status), Some(8));
        });
    }
}

fn twice(scene: &Scene) {
    let [one, other] = [WaitSet::new(), WaitSet::new()];
    let mut child = scene.child(9);
    for (set, key) in [(&one, "a"), (&one, "b"), (&other, "c")] {
        set.add(key, Process::clone(&child)).unwrap();
    }
    child.stdin = None;
    let mut keys: Vec<_> = [one.wait(), one.wait(), other.wait()]
        .map(Option::unwrap)
        .into_iter()
        .map(|exited| {
            assert_eq!(code(exited.status), Some(9));
            exited.key
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(one.is_empty() && other.is_empty());
}

fn lost(scene: &Scene) {
    let set = WaitSet::new();
    let mut child = scene.child(10);
    set.add((), Process::clone(&child)).unwrap();
    child.stdin = None;
    (scene.reap_behind)(child.pid());
    match set.wait().unwrap().status {
        Ok(status) => assert!(scene.tells_lost_status && status.code() == Some(10)),
        Err(error) => assert!(!scene.tells_lost_status && error.kind() == ErrorKind::NoChild, "{error}"),
    }
}

fn foreign(scene: &Scene) {
    let set = WaitSet::new();
    let process = scene.foreigner();
    set.add((), Process::clone(&process)).unwrap();
    assert!(set.wait_timeout(Duration::from_millis(5)).is_none());
    process.kill().unwrap();
    match set.wait().unwrap().status {
        Ok(status) => assert!(scene.tells_lost_status && status.signal() == Some(9)),
        Err(error) => assert!(!scene.tells_lost_status && error.kind() == ErrorKind::NoChild, "{error}"),
    }
    assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
}

fn owned(scene: &Scene) {
    let spawn = |args: &[&str]| {
        let mut command = Command::new(&scene.actor);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        scene.system.spawn(&command).expect("the actor can be spawned")
    };
    let set = WaitSet::new();
    set.add(1, spawn(&["until-eof", "7"])).unwrap();
    set.add(2, spawn(&["forever"])).unwrap();
    // Its stdin has been closed, as by any wait.
    let exited = set.wait().unwrap();
    assert_eq!((exited.key, code(exited.status)), (1, Some(7)));
    assert_eq!(exited.child.map(|child| child.pid()), Some(exited.process.pid()));
    let running = set.remove(&2).unwrap();
    assert_eq!(running.try_wait().unwrap(), None);
    let handle = Process::clone(&running);
    set.add(3, running.into_child().expect("it was given as one")).unwrap();
    // One that is not taken is dropped.
    let refused = spawn(&["forever"]);
    let its_handle = refused.process().clone();
    assert_eq!(set.add(3, refused).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(its_handle.wait().unwrap().signal(), Some(9));
    assert_eq!(handle.try_wait().unwrap(), None);
    drop(set);
    assert_eq!(handle.wait().unwrap().signal(), Some(9));
    let set = WaitSet::new();
    set.add((), handle).unwrap();
    assert!(set.wait().unwrap().child.is_none());
}

fn shared(scene: &Scene) {
    const MANY: u8 = 60;
    let set = WaitSet::new();
    let children: Vec<Child> = (0..MANY).map(|code| scene.child(code)).collect();
    for (key, child) in (0..).zip(&children) {
        set.add(key, Process::clone(child)).unwrap();
    }
    let started = Barrier::new(4);
    let mut keys = thread::scope(|scope| {
        let take = || {
            started.wait();
            std::iter::from_fn(|| set.wait()).map(|exited| (exited.key, code(exited.status))).collect::<Vec<_>>()
        };
        let waiters = [(); 3].map(|()| scope.spawn(take));
        started.wait();
        drop(children);
        waiters.into_iter().flat_map(|waiter| waiter.join().unwrap()).collect::<Vec<_>>()
    });
    keys.sort_unstable();
    assert_eq!(keys, (0..MANY).map(|key| (key, Some(key.into()))).collect::<Vec<_>>());
}

fn dropped(scene: &Scene) {
    let set = WaitSet::new();
    let [mut kept, given] = [11, 12].map(|code| scene.child(code));
    let pid = given.pid();
    set.add(1, Process::clone(&kept)).unwrap();
    set.add(2, Process::clone(&given)).unwrap();
    drop(given);
    drop(set);
    scene.until_gone(pid);
    kept.stdin = None;
    assert_eq!(kept.wait().unwrap().code(), Some(11));
}

fn any(scene: &Scene) {
    let mut children: Vec<Child> = (20..26).map(|code| scene.child(code)).collect();
    let all: Vec<Process> = children.iter().map(|child| child.process().clone()).collect();
    let refs = || all.iter().collect::<Vec<_>>();
    assert!(wait_any(&refs(), Some(Duration::ZERO)).unwrap().is_none());
    assert!(wait_any(&refs(), Some(Duration::from_millis(2))).unwrap().is_none());
    for index in [4, 0, 5] {
        children[index].stdin = None;
        let others: Vec<&Process> = refs().into_iter().filter(|process| process.status().is_none()).collect();
        let exited = wait_any(&others, None).unwrap().unwrap();
        assert_eq!(exited.process.pid(), all[index].pid());
        assert_eq!(others[exited.key].pid(), all[index].pid());
        assert_eq!(code(exited.status), Some(20 + index as i32));
    }
    // A thread that is blocked in it hears of what others do with the handles.
    let others = [&all[1], &all[2]];
    for release in [true, false] {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_any(&others[usize::from(!release)..], None).unwrap().unwrap());
            if release {
                all[1].release().unwrap();
                assert_eq!(waiter.join().unwrap().status.unwrap_err().kind(), ErrorKind::Released);
            } else {
                children[2].stdin = None;
                assert_eq!(all[2].wait().unwrap().code(), Some(22));
                assert_eq!(code(waiter.join().unwrap().status), Some(22));
            }
        });
    }
}

fn any_over(scene: &Scene) {
    assert!(wait_any(&[], None).unwrap().is_none());
    let [mut done, released, running] = [30, 31, 32].map(|code| scene.child(code));
    done.stdin = None;
    done.wait().unwrap();
    released.release().unwrap();
    let exited = wait_any(&[running.process(), done.process()], None).unwrap().unwrap();
    assert_eq!((exited.key, code(exited.status)), (1, Some(30)));
    let exited = wait_any(&[running.process(), released.process()], Some(Duration::ZERO)).unwrap().unwrap();
    assert_eq!((exited.key, exited.status.unwrap_err().kind()), (1, ErrorKind::Released));
}

fn unlike() {
    let [mock, real] = [simulated(Kernel::backend, true), real(System::pid_legacy(), false)];
    let [simulated, child] = [mock.child(1), real.child(1)];
    let set = WaitSet::new();
    set.add(1, Process::clone(&child)).unwrap();
    let error = set.add(2, Process::clone(&simulated)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("not both"), "{error}");
    assert_eq!(set.len(), 1);
    let set = WaitSet::new();
    assert_eq!(set.with_handle(|_| ()).unwrap_err().kind(), ErrorKind::Unsupported);
    set.add(2, Process::clone(&simulated)).unwrap();
    assert_eq!(set.with_handle(|_| ()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(set.add(1, Process::clone(&child)).is_err());
    assert!(wait_any(&[child.process(), simulated.process()], None).is_err());
}

/// Two threads share a set, a third kills and releases, and one waits for a process that is not ours; whatever the order, each exit is
/// reported once, and nobody is left waiting.
fn explored() {
    let second = Duration::from_secs(1);
    let kernel = Kernel::builder()
        .program_with("job", move |run| Script::new().sleep(run.random_time(4 * second)).exit(3))
        .program("server", Script::new().run_forever())
        .build();
    kernel.explore(1..=2000, |sim| {
        let set = Arc::new(WaitSet::new());
        for key in 0..4 {
            let program = if key < 3 { "job" } else { "server" };
            set.add(key, Process::clone(&Command::new(program).spawn().unwrap())).unwrap();
        }
        let server = set.remove(&3).unwrap();
        set.add(3, Process::clone(&server)).unwrap();
        let patience = sim.random_time(3 * second);
        let daemon = Process::find(sim.spawn_foreign("server").unwrap()).unwrap();
        let other = daemon.clone();
        let killer = sim.spawn(move || {
            assert!(server.wait_timeout(patience).unwrap().is_none());
            server.kill().unwrap();
            other.kill().unwrap();
        });
        let gone = sim.spawn(move || daemon.wait_gone().unwrap());
        let waiters = [0, 1].map(|_| {
            let set = Arc::clone(&set);
            sim.spawn(move || {
                let mut seen = Vec::new();
                while let Some(exited) = set.wait() {
                    let status = exited.status.unwrap();
                    assert_eq!((status.code(), status.signal()), if exited.key < 3 { (Some(3), None) } else { (None, Some(9)) });
                    seen.push(exited.key);
                }
                seen
            })
        });
        let mut seen = waiters.map(|waiter| waiter.join()).concat();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        killer.join();
        assert_eq!(gone.join().status(), None);
    });
}

fn both_kinds() {
    let systems = [System::pid_legacy(), System::pidfd().unwrap_or_else(|_| System::pid_legacy())];
    let scenes = systems.map(|system| real(system, false));
    let set = WaitSet::new();
    for key in 0..40_u8 {
        set.add(key, Process::clone(&scenes[usize::from(key % 2)].child(key))).unwrap();
    }
    let seen: BTreeMap<u8, Option<i32>> =
        std::iter::from_fn(|| set.wait()).map(|exited| (exited.key, code(exited.status))).collect();
    assert_eq!(seen, (0..40).map(|key| (key, Some(key.into()))).collect());
}

/// Whoever was told of the first end asks for the second, while the backend has others to tell of, and so does not begin anew.
fn one_end_at_a_time(scene: &Scene) {
    let company = scene.foreigner();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| company.wait_gone().unwrap());
        for times in [1, 2] {
            let (mut parent, process) = scene.neglected();
            assert_eq!(process.wait_exited_timeout(Duration::from_millis(2)).unwrap(), None);
            process.kill().unwrap();
            for _ in 0..times {
                process.wait_exited().unwrap();
            }
            assert_eq!(process.wait_gone_timeout(Duration::from_millis(2)).unwrap(), None);
            parent.stdin = None;
            process.wait_gone().unwrap();
            assert!(parent.wait().unwrap().success());
        }
        company.kill().unwrap();
        waiter.join().unwrap();
    });
}

fn others_zombie(scene: &Scene) {
    let (mut parent, process) = scene.neglected();
    let set = WaitSet::new();
    set.add("exited", Member::exit_of(process.clone())).unwrap();
    set.add("gone", process.clone()).unwrap();
    assert_eq!(process.wait_exited_timeout(Duration::ZERO).unwrap(), None);
    assert!(set.wait_timeout(Duration::from_millis(2)).is_none());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| process.wait_exited().unwrap());
        process.kill().unwrap();
        assert_eq!(waiter.join().unwrap().status(), None);
    });
    let exited = set.wait().unwrap();
    assert_eq!((exited.key, exited.status.unwrap_err().kind()), ("exited", ErrorKind::NoChild));
    assert_eq!(process.wait_exited_timeout(Duration::ZERO).unwrap().unwrap().status(), None);
    set.add("exited again", Member::exit_of(scene.system.find(process.pid()).unwrap())).unwrap();
    assert_eq!(set.wait().unwrap().key, "exited again");
    // It takes signals still, and has its number; and nobody says how it has ended.
    process.kill().unwrap();
    assert_eq!(process.wait_gone_timeout(Duration::from_millis(50)).unwrap(), None);
    assert!(set.wait_timeout(Duration::from_millis(50)).is_none());
    parent.stdin = None;
    let gone = process.wait_gone().unwrap();
    assert_eq!(gone.status().map(|status| status.signal()), scene.tells_lost_status.then_some(Some(9)));
    let exited = set.wait().unwrap();
    assert_eq!((exited.key, exited.status.ok()), ("gone", gone.status()));
    assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert!(parent.wait().unwrap().success());
}

pub(crate) fn is_readable(set: &WaitSet<u8>, timeout: Duration) -> bool {
    set.with_handle(|fd| {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        rustix::event::poll(&mut fds, Some(&timeout)).unwrap() > 0
    })
    .unwrap()
}

fn own_loop() {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let scene = real(system, false);
        let set = WaitSet::new();
        let mut children: Vec<Child> = (0..20).map(|code| scene.child(code)).collect();
        for (key, child) in (0..).zip(&children) {
            set.add(key, Process::clone(child)).unwrap();
        }
        assert!(!is_readable(&set, Duration::ZERO));
        // One at a time, though many are ready: it stays readable as long as one is.
        let stays = children.split_off(19);
        drop(children);
        for _ in 0..19 {
            let exited = loop {
                assert!(is_readable(&set, Duration::from_secs(60)));
                if let Some(exited) = set.ready().next() {
                    break exited;
                }
            };
            assert_eq!(code(exited.status), Some(exited.key.into()));
        }
        assert_eq!((set.len(), set.ready().count()), (1, 0));
        assert!(!is_readable(&set, Duration::ZERO));
        drop(stays);
        assert_eq!(set.wait().unwrap().key, 19);
    }
}

fn duplicate() {
    let Ok(system) = System::pidfd() else { return };
    let scene = real(system, false);
    let set = WaitSet::new();
    let [mut one, other] = [1, 2].map(|code| scene.child(code));
    set.add(1, Process::clone(&one)).unwrap();
    set.add(2, Process::clone(&other)).unwrap();
    let duplicate = one.with_handle(|fd| fd.try_clone_to_owned().unwrap()).unwrap();
    one.stdin = None;
    assert_eq!(set.wait().unwrap().key, 1);
    assert_eq!(set.ready().count(), 0);
    // The registration is still in there, and silent.
    assert!(!is_readable(&set, Duration::ZERO));
    drop(duplicate);
    drop(other);
    assert_eq!(set.wait().unwrap().key, 2);
}
