//! Waiting for the next exit, or for somebody who interrupts: in threads, in a signal handler, in a simulation.

use crate::Test;
use crate::forking::in_child;
use crate::leaks::{descriptors, until};
use crate::limits::assert_asleep;
use crate::scene::{Promise, Scene, on_every_backend};
use crate::traced::beside;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use steadfast::mock::{Kernel, Script};
use steadfast::{Command, Errno, Interrupter, Next, Process, Signal, System, WaitSet};
use steadfast_linux::bare;

const PROMISES: &[Promise] = &[
    ("an interrupt ends one wait: the next one, if none goes on", one_wait),
    ("an exit is returned with its key and status, one that was there before too", exits),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("interrupts", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    });
    type Check = fn(&System);
    let real: [(&str, Check); 6] = [
        ("whoever sleeps is woken, and nobody else", sleepers),
        ("in an empty set it sleeps until somebody adds a process that exits", empty),
        ("from a signal handler, in the middle of everything", from_a_handler),
        ("10,000 of them among 500 exits: each exit once", among_exits),
        ("in the child of a fork, the parent's set is left alone", forked),
        ("nothing is left: the descriptors go with the set and its interrupters", nothing_left),
    ];
    tests.extend(real.into_iter().map(|(name, check)| {
        Test::that_may_skip(format!("interrupts: {name}"), move || {
            [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten().for_each(|system| {
                let _here = system.enter();
                check(system);
            });
            crate::stage::Outcome::Passed
        })
    }));
    tests.push(Test::new("interrupts: in a simulation, in 2,000 orders", explored));
    tests
}

fn sleep() -> Process {
    Process::clone(&Command::new("sleep").arg("1000").spawn().unwrap())
}

/// What came, in a word.
fn word<K>(next: &Next<K>) -> &'static str {
    match next {
        Next::Exited(_) => "exited",
        Next::Interrupted => "interrupted",
        Next::TimedOut => "timed out",
        _ => "something new",
    }
}

fn now<K: Eq + std::hash::Hash>(set: &WaitSet<K>) -> &'static str {
    word(&set.wait_next(Some(Duration::ZERO)).unwrap())
}

fn one_wait(scene: &Scene) {
    let set = WaitSet::new();
    let stop = set.interrupter().unwrap();
    assert_eq!(now(&set), "timed out");
    // Many before a wait are one.
    (0..3).for_each(|_| stop.clone().interrupt());
    assert_eq!([now(&set), now(&set)], ["interrupted", "timed out"]);
    let forever = Command::new(scene.actor()).arg("forever").spawn().unwrap();
    set.add(1, Process::clone(&forever)).unwrap();
    stop.interrupt();
    // Others do not take notice, and leave it.
    assert!(set.try_wait().is_none() && set.wait_timeout(Duration::from_millis(1)).is_none());
    assert_eq!([word(&set.wait_next(None).unwrap()), now(&set)], ["interrupted", "timed out"]);
    assert_eq!(word(&set.wait_next(Some(Duration::from_millis(1))).unwrap()), "timed out");
    // Before exits that are there: whoever has them all the time would never hear of it.
    let killed = set.remove(&1).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    set.add(1, Process::clone(&killed)).unwrap();
    stop.interrupt();
    assert_eq!([now(&set), now(&set), now(&set)], ["interrupted", "exited", "timed out"]);
}

fn exits(scene: &Scene) {
    let set = WaitSet::new();
    let done = scene.child(3);
    done.wait().unwrap();
    set.add("done", done).unwrap();
    set.add("runs", scene.child(4)).unwrap();
    let mut seen = BTreeMap::new();
    while let Next::Exited(exited) = set.wait_next(Some(if seen.len() < 2 { Duration::MAX } else { Duration::ZERO })).unwrap() {
        seen.insert(exited.key, exited.status.unwrap().code());
    }
    assert_eq!(seen, BTreeMap::from([("done", Some(3)), ("runs", Some(4))]));
}

fn sleepers(_: &System) {
    let set = WaitSet::new();
    let process = sleep();
    set.add((), process.clone()).unwrap();
    let stop = set.interrupter().unwrap();
    thread::scope(|scope| {
        let wait_next = || word(&set.wait_next(None).unwrap());
        let waits = beside(scope, || set.wait().unwrap().status.unwrap());
        let nexts = [beside(scope, wait_next), beside(scope, wait_next)];
        for thread in [waits.1, nexts[0].1, nexts[1].1] {
            assert_asleep(thread);
        }
        stop.interrupt();
        until("one of them is woken", || nexts.iter().any(|next| next.0.is_finished()));
        // The others sleep on, and cost nothing.
        let left = nexts.iter().find(|next| !next.0.is_finished()).expect("an interrupt ends one wait").1;
        assert_asleep(left);
        assert_asleep(waits.1);
        stop.interrupt();
        assert_eq!(nexts.map(|next| next.0.join().unwrap()), ["interrupted"; 2]);
        assert_asleep(waits.1);
        process.kill().unwrap();
        assert!(!waits.0.join().unwrap().success());
    });
}

fn empty(_: &System) {
    let set = WaitSet::new();
    thread::scope(|scope| {
        let (next, thread) = beside(scope, || word(&set.wait_next(None).unwrap()));
        assert_asleep(thread);
        // One that comes and goes again is nothing to it.
        let process = sleep();
        set.add(1, process.clone()).unwrap();
        assert_asleep(thread);
        drop(set.remove(&1).unwrap());
        assert_asleep(thread);
        // Nor does it keep others, who leave an empty set.
        assert!(set.wait().is_none());
        set.add(2, process.clone()).unwrap();
        let (waits, _) = beside(scope, || set.wait().is_none());
        drop(set.remove(&2).unwrap());
        assert!(waits.join().unwrap());
        assert_asleep(thread);
        set.add(3, process.clone()).unwrap();
        process.kill().unwrap();
        assert_eq!(next.join().unwrap(), "exited");
    });
}

fn from_a_handler(_: &System) {
    // One for each backend, whose turns are in one process.
    static STOPS: [OnceLock<Interrupter>; 2] = [const { OnceLock::new() }; 2];
    static TURN: AtomicUsize = AtomicUsize::new(0);
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    let set = WaitSet::new();
    let turn = usize::from(STOPS[0].get().is_some());
    STOPS[turn].set(set.interrupter().unwrap()).expect("there are two backends");
    TURN.store(turn, Ordering::SeqCst);
    HANDLED.store(0, Ordering::SeqCst);
    bare::handle_by(Signal::USR1, || {
        HANDLED.fetch_add(1, Ordering::SeqCst);
        STOPS[TURN.load(Ordering::SeqCst)].get().expect("set before").interrupt();
    })
    .unwrap();
    let own = nix::unistd::getpid();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Handlers run on any of these, whatever it is in the middle of: an allocation, a lock, a spawn.
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                set.add(1, Process::clone(&Command::new("true").spawn().unwrap())).unwrap();
                while set.contains(&1) {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGUSR1).unwrap();
                thread::yield_now();
            }
        });
        let mut seen = [0, 0];
        while seen[0] < 300 || seen[1] < 100 {
            match set.wait_next(None).unwrap() {
                Next::Interrupted => seen[0] += 1,
                Next::Exited(exited) => {
                    assert!(exited.status.unwrap().success());
                    seen[1] += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        is_over.store(true, Ordering::SeqCst);
        // Whoever waits for the set to take its process has it taken.
        while let Next::Exited(_) | Next::Interrupted = set.wait_next(Some(Duration::from_millis(50))).unwrap() {}
    });
    assert!(HANDLED.load(Ordering::SeqCst) >= 300);
}

fn among_exits(_: &System) {
    let set = WaitSet::new();
    let stop = set.interrupter().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut times = 0;
            while !is_over.load(Ordering::SeqCst) || times < 10_000 {
                stop.interrupt();
                times += 1;
                thread::yield_now();
            }
        });
        let adds = scope.spawn(|| {
            for key in 0..500 {
                set.add(key, Process::clone(&Command::new("true").spawn().unwrap())).unwrap();
            }
        });
        let waiters = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut seen = Vec::new();
                loop {
                    match set.wait_next(Some(Duration::from_millis(100))).unwrap() {
                        Next::Exited(exited) => seen.push(exited.key),
                        _ if is_over.load(Ordering::SeqCst) => return seen,
                        _ => {}
                    }
                }
            })
        });
        adds.join().unwrap();
        until("all have exited", || set.is_empty());
        is_over.store(true, Ordering::SeqCst);
        let mut seen = waiters.map(|waiter| waiter.join().unwrap()).concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
    });
}

fn forked(_: &System) {
    let set = Arc::new(WaitSet::new());
    let process = sleep();
    set.add((), process.clone()).unwrap();
    let stop = set.interrupter().unwrap();
    in_child(|| {
        // The parent's, which is not woken by it; and the child's own.
        stop.interrupt();
        assert_eq!(now(&set), "timed out");
        let own = set.interrupter().unwrap();
        own.interrupt();
        assert_eq!([now(&set), now(&set)], ["interrupted", "timed out"]);
    });
    assert_eq!(now(&set), "timed out");
    stop.interrupt();
    assert_eq!(now(&set), "interrupted");
    process.kill().unwrap();
    assert_eq!(word(&set.wait_next(None).unwrap()), "exited");
}

fn nothing_left(_: &System) {
    let before = descriptors();
    let set: WaitSet<u8> = WaitSet::new();
    let stop = set.interrupter().unwrap();
    drop(set);
    stop.interrupt();
    drop(stop);
    assert_eq!(descriptors(), before);
    // Not one left: an error, and no wait that could not be interrupted.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let set: WaitSet<u8> = WaitSet::new();
    let answers = (set.interrupter().map(drop), set.wait_next(None).map(drop));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for answer in [answers.0, answers.1] {
        assert_eq!(answer.unwrap_err().errno(), Some(Errno::MFILE));
    }
    set.interrupter().unwrap().interrupt();
    assert_eq!(now(&set), "interrupted");
    drop(set);
    assert_eq!(descriptors(), before);
}

/// Two threads wait, one adds, one interrupts: whatever the order, each exit is returned once, each interrupt ends at most one wait, and nobody
/// is left waiting.
fn explored() {
    let second = Duration::from_secs(1);
    let kernel =
        Kernel::builder().program_with("job", move |run| Script::new().sleep(run.random_time(4 * second)).exit(3)).build();
    kernel.explore(1..=2000, |sim| {
        let set = Arc::new(WaitSet::new());
        let stop = set.interrupter().unwrap();
        let adds = {
            let set = Arc::clone(&set);
            sim.spawn(move || {
                for key in 0..3 {
                    set.add(key, Process::clone(&Command::new("job").spawn().unwrap())).unwrap();
                }
            })
        };
        let ended = Arc::new(AtomicUsize::new(0));
        let waiters = [0, 1].map(|_| {
            let (set, ended) = (Arc::clone(&set), Arc::clone(&ended));
            sim.spawn(move || {
                let mut seen = Vec::new();
                while let Next::Exited(exited) = set.wait_next(None).unwrap() {
                    seen.push(exited.key);
                }
                ended.fetch_add(1, Ordering::SeqCst);
                seen
            })
        });
        adds.join();
        let system = System::current().unwrap();
        system.sleep(sim.random_time(5 * second));
        let mut interrupts = 0;
        while ended.load(Ordering::SeqCst) < 2 {
            stop.interrupt();
            interrupts += 1;
            system.sleep(second / 10);
        }
        // Each ends one of them, and is not lost.
        assert!(interrupts == 2, "{interrupts}");
        let mut seen = waiters.map(|waiter| waiter.join()).concat();
        while let Next::Exited(exited) = set.wait_next(Some(10 * second)).unwrap() {
            seen.push(exited.key);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    });
}
