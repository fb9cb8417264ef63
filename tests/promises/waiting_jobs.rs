//! Jobs in a set, beside processes: each is told once, when nothing lives in it, whatever becomes of the job meanwhile.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::contract::ACTOR;
use crate::forking::in_child;
use crate::jobs::{each_job, own_cgroups};
use crate::leaks::{children, descriptors, until};
use crate::limits::assert_asleep;
use crate::scene::{Scene, on_every_backend};
use crate::traced::beside;
use crate::waiting::is_readable;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steadfast::mock::{Kernel, Script};
use steadfast::{Child, Command, Emptied, ErrorKind, Job, Next, Process, Signal, Stdio, System, WaitSet};

const PROMISES: &[Promise] = &[
    ("told once, with its key, when nothing lives in it; other calls return processes", told_once),
    ("a key is somebody's, of a process or of a job; who is removed is not told", keys),
    ("dropped, it is killed and told; detached, it is told when its last member ends", given_up),
    ("who is started before anybody looks is waited for", started_again),
    ("under two keys, and in two sets", twice),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("waiting for jobs", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        each_job(&scene.system, |job| check(scene, job));
    });
    type Check = fn(&System, Job);
    let real: [(&str, Check); 5] = [
        ("whoever sleeps is woken by what it waits for, and uses nothing until then", sleepers),
        ("the set's descriptor in a loop of one's own", own_loop),
        ("in the child of a fork each set tells for itself", forked),
        ("however often it is in sets, that takes what one takes", one_descriptor),
        ("nothing is left of sets and jobs that are dropped in any order", nothing_left),
    ];
    tests.extend(real.into_iter().map(|(name, check)| {
        let on_both = move || {
            for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
                let _here = system.enter();
                each_job(system, |job| check(system, job));
            }
            crate::stage::Outcome::Passed
        };
        Test::that_may_skip(format!("waiting for jobs: {name}"), on_both).under_init()
    }));
    tests.push(Test::new("waiting for jobs: in a simulation, in 1,000 orders", explored));
    tests
}

/// Holds a promise with one job of the scene.
type Check = fn(&Scene, Job);
type Promise = (&'static str, Check);

/// Lives until its stdin is closed.
fn member(program: impl AsRef<std::ffi::OsStr>, job: &Job) -> Child {
    let mut command = Command::new(program);
    command.args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn_in(job).unwrap()
}

fn emptied<K: std::fmt::Debug>(next: Next<K>) -> K {
    match next {
        Next::Emptied(Emptied { key, result, .. }) => {
            result.unwrap();
            key
        }
        other => panic!("no job: {other:?}"),
    }
}

fn next<K: Eq + std::hash::Hash>(set: &WaitSet<K>) -> Next<K> {
    set.wait_next(None).unwrap()
}

fn has_none<K: Eq + std::hash::Hash>(set: &WaitSet<K>) -> bool {
    matches!(set.wait_next(Some(Duration::ZERO)).unwrap(), Next::TimedOut)
}

fn told_once(scene: &Scene, job: Job) {
    let set = WaitSet::new();
    set.add_job("empty", &job).unwrap();
    assert_eq!(emptied(next(&set)), "empty");
    let mut child = member(scene.actor(), &job);
    set.add("child", Process::clone(&child)).unwrap();
    set.add_job("job", &job).unwrap();
    assert!(has_none(&set) && set.try_wait().is_none() && set.len() == 2);
    child.stdin = None;
    // Neither is lost, whichever is told first.
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        match next(&set) {
            Next::Exited(exited) => assert!(exited.status.unwrap().success() && seen.insert(exited.key)),
            next => assert!(seen.insert(emptied(next))),
        }
    }
    assert_eq!(seen, BTreeSet::from(["child", "job"]));
    assert!(set.is_empty() && has_none(&set) && set.wait().is_none());
    // Those who wait for processes leave it to those who wait for all.
    set.add_job("job", &job).unwrap();
    assert!(set.wait().is_none() && set.ready().next().is_none());
    assert_eq!(set.len(), 1);
    assert_eq!(emptied(next(&set)), "job");
    // Open still.
    job.kill().unwrap();
    set.add_job("killed", &job).unwrap();
    assert_eq!(emptied(next(&set)), "killed");
}

fn keys(scene: &Scene, job: Job) {
    let set = WaitSet::new();
    let child = member(scene.actor(), &job);
    set.add_job(1, &job).unwrap();
    let error = set.add_job(1, &job).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("a job: the set has this key already"), "{error}");
    assert_eq!(set.add(1, Process::clone(&child)).unwrap_err().kind(), ErrorKind::InvalidInput);
    set.add(2, Process::clone(&child)).unwrap();
    assert!(set.add_job(2, &job).is_err() && set.len() == 2);
    assert!(set.remove(&1).is_none() && set.contains(&1));
    assert!(!set.remove_job(&2) && set.contains(&2) && !set.remove_job(&3));
    assert!(set.remove_job(&1) && !set.remove_job(&1) && !set.contains(&1));
    child.kill().unwrap();
    let Next::Exited(exited) = next(&set) else { panic!("the job is not in it") };
    assert_eq!(exited.key, 2);
    job.wait_empty().unwrap();
    assert!(has_none(&set));
    // The key is free, and whoever has it next is told.
    set.add_job(1, &job).unwrap();
    assert_eq!(emptied(next(&set)), 1);
}

fn given_up(scene: &Scene, job: Job) {
    let set = WaitSet::new();
    let containment = job.containment();
    let child = member(scene.actor(), &job);
    set.add_job("dropped", &job).unwrap();
    assert!(has_none(&set));
    let mut next_of = Command::new(scene.actor());
    next_of.args(["exit", "0"]).in_job(&job);
    drop(job);
    assert_eq!(emptied(next(&set)), "dropped");
    assert!(!child.wait().unwrap().success());
    assert_eq!(next_of.spawn().unwrap_err().kind(), ErrorKind::JobOver);

    let job = scene.system.job(&Job::builder().containment(containment)).unwrap();
    let mut child = member(scene.actor(), &job);
    set.add_job("detached", &job).unwrap();
    next_of.in_job(&job);
    job.detach().unwrap();
    // Nobody has it any more, though the set can still tell.
    assert_eq!(next_of.spawn().unwrap_err().kind(), ErrorKind::JobOver);
    assert!(has_none(&set) && child.try_wait().unwrap().is_none());
    child.stdin = None;
    assert_eq!(emptied(next(&set)), "detached");
    assert!(child.wait().unwrap().success());
}

fn started_again(scene: &Scene, job: Job) {
    let set = WaitSet::new();
    let first = member(scene.actor(), &job);
    set.add_job((), &job).unwrap();
    first.kill().unwrap();
    job.wait_empty().unwrap();
    let mut second = member(scene.actor(), &job);
    for _ in 0..3 {
        assert!(matches!(set.wait_next(Some(Duration::from_millis(2))).unwrap(), Next::TimedOut));
    }
    second.stdin = None;
    emptied(next(&set));
    assert!(job.is_empty().unwrap() && second.wait().unwrap().success());
}

fn twice(scene: &Scene, job: Job) {
    let sets = [WaitSet::new(), WaitSet::new()];
    let child = member(scene.actor(), &job);
    for set in &sets {
        set.add_job(1, &job).unwrap();
        set.add_job(2, &job).unwrap();
    }
    assert!(sets.iter().all(has_none));
    child.kill().unwrap();
    for set in &sets {
        let keys = [0, 0].map(|_: u8| emptied(next(set)));
        assert!(keys == [1, 2] || keys == [2, 1], "{keys:?}");
        assert!(has_none(set));
    }
}

fn sleepers(_: &System, job: Job) {
    let set = WaitSet::new();
    let child = member(ACTOR, &job);
    let outside = Process::clone(&Command::new("sleep").arg("1000").spawn().unwrap());
    set.add(0, outside.clone()).unwrap();
    set.add_job(1, &job).unwrap();
    set.add_job(2, &job).unwrap();
    thread::scope(|scope| {
        let waits = beside(scope, || set.wait().unwrap().key);
        let nexts = [0, 1].map(|_| beside(scope, || emptied(next(&set))));
        for thread in [waits.1, nexts[0].1, nexts[1].1] {
            assert_asleep(thread);
        }
        child.kill().unwrap();
        let mut keys = nexts.map(|next| next.0.join().unwrap());
        keys.sort_unstable();
        assert_eq!(keys, [1, 2]);
        assert_asleep(waits.1);
        outside.kill().unwrap();
        assert_eq!(waits.0.join().unwrap(), 0);
    });
    // Whoever takes the news in passing wakes whom they are for.
    for _ in 0..20 {
        let child = member(ACTOR, &job);
        set.add(0, Process::clone(&child)).unwrap();
        set.add_job(1, &job).unwrap();
        thread::scope(|scope| {
            let keeps_asking = scope.spawn(|| {
                while set.contains(&0) || set.contains(&1) {
                    drop(set.try_wait());
                }
            });
            let next = scope.spawn(|| while !matches!(next(&set), Next::Emptied(_)) {});
            child.kill().unwrap();
            next.join().unwrap();
            keeps_asking.join().unwrap();
        });
    }
}

fn own_loop(_: &System, job: Job) {
    let set: WaitSet<u8> = WaitSet::new();
    let child = member(ACTOR, &job);
    set.add_job(1, &job).unwrap();
    set.add_job(2, &job).unwrap();
    assert!(!is_readable(&set, Duration::ZERO));
    child.kill().unwrap();
    // One at a time: it stays readable as long as one is left.
    let mut keys = Vec::new();
    while keys.len() < 2 {
        assert!(is_readable(&set, Duration::from_secs(60)));
        if let next @ Next::Emptied(_) = set.wait_next(Some(Duration::ZERO)).unwrap() {
            keys.push(emptied(next));
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, [1, 2]);
    assert!(has_none(&set) && !is_readable(&set, Duration::ZERO));
    // A loop that asks for processes alone is not woken again and again for a job.
    set.add_job(3, &job).unwrap();
    assert!(is_readable(&set, Duration::from_secs(60)));
    until("it has nothing for who asks so", || set.ready().next().is_none() && !is_readable(&set, Duration::ZERO));
    assert_eq!(emptied(next(&set)), 3);
}

fn forked(_: &System, job: Job) {
    let set = WaitSet::new();
    let child = member(ACTOR, &job);
    set.add_job("both", &job).unwrap();
    set.add("child", Process::clone(&child)).unwrap();
    in_child(|| {
        assert!(set.len() == 2 && has_none(&set));
        assert!(set.remove_job(&"both"));
        set.add_job("again", &job).unwrap();
        assert!(has_none(&set));
        drop(set.remove(&"child"));
        child.kill().unwrap();
        assert_eq!(emptied(next(&set)), "again");
    });
    // The parent's is told of it as well, and by nobody else.
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        match next(&set) {
            Next::Exited(exited) => assert!(seen.insert(exited.key)),
            next => assert!(seen.insert(emptied(next))),
        }
    }
    assert_eq!(seen, BTreeSet::from(["both", "child"]));
    // One that is told in the child, of a job that is dropped in the parent.
    let child = member(ACTOR, &job);
    set.add_job("both", &job).unwrap();
    in_child(|| {
        child.kill().unwrap();
        assert_eq!(emptied(next(&set)), "both");
        drop(set);
    });
    child.wait().unwrap();
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn one_descriptor(_: &System, job: Job) {
    let _child = member(ACTOR, &job);
    let sets: Vec<WaitSet<usize>> = (0..3).map(|_| WaitSet::new()).collect();
    sets.iter().for_each(|set| set.add_job(0, &job).unwrap());
    let before = (descriptors().len(), threads());
    for key in 1..50 {
        for set in &sets {
            set.add_job(key, &job).unwrap();
            assert!(has_none(set));
            assert!(key % 2 == 0 || set.remove_job(&key));
        }
    }
    // Others of ours, of the row before, come and go.
    until("no more than before", || descriptors().len() <= before.0 && threads() <= before.1);
    job.kill().unwrap();
    for set in &sets {
        while !set.is_empty() {
            emptied(next(set));
        }
    }
}

fn nothing_left(system: &System, job: Job) {
    let containment = job.containment();
    drop(job);
    // A thread of ours may be about to end, of an earlier row.
    until("what was before is over", || children().is_empty() && own_cgroups().is_empty() && threads() == 1);
    let before = descriptors();
    for round in 0..30 {
        let job = system.job(&Job::builder().containment(containment)).unwrap();
        let child = member(ACTOR, &job);
        let set = WaitSet::new();
        set.add_job(0, &job).unwrap();
        set.add("the child".len(), child).unwrap();
        match round % 4 {
            0 => drop((set, job)),
            1 => drop((job, set)),
            2 => {
                drop(job);
                while !set.is_empty() {
                    next(&set);
                }
            }
            _ => {
                set.interrupter().unwrap().interrupt();
                assert!(matches!(next(&set), Next::Interrupted));
                assert!(set.remove_job(&0));
            }
        }
    }
    until("no child is left", || children().is_empty());
    until("no cgroup is left", || own_cgroups().is_empty());
    until("no thread is left", || threads() == 1);
    until("no descriptor is left", || descriptors() == before);
}

fn explored() {
    let second = Duration::from_secs(1);
    let kernel = Kernel::builder()
        .program_with("worker", move |run| Script::new().sleep(run.random_time(2 * second)).exit(0))
        .program("server", Script::new().spawn("worker").run_forever())
        .build();
    kernel.explore(1..=1000, |sim| {
        let set = Arc::new(WaitSet::new());
        let jobs = [0, 1].map(|_| Arc::new(Job::new().unwrap()));
        for (key, job) in (0..).zip(&jobs) {
            for program in ["worker", "server"] {
                set.add((key, program), Process::clone(&Command::new(program).spawn_in(job).unwrap())).unwrap();
            }
            set.add_job((key, "job"), job).unwrap();
        }
        let patience = sim.random_time(second);
        let ends = jobs.map(|job| {
            sim.spawn(move || {
                _ = job.wait_empty_timeout(patience).unwrap();
                // Whoever starts one just now starts it in vain, or it is killed too.
                job.signal(Signal::TERM).unwrap();
                job.kill().unwrap();
                job
            })
        });
        let processes = [0, 1].map(|_| {
            let set = Arc::clone(&set);
            sim.spawn(move || std::iter::from_fn(|| set.wait()).map(|exited| exited.key).collect::<Vec<_>>())
        });
        let all = [0, 1].map(|_| {
            let set = Arc::clone(&set);
            sim.spawn(move || {
                let mut seen = Vec::new();
                // Each of them hears of one job.
                loop {
                    match set.wait_next(None).unwrap() {
                        Next::Exited(exited) => seen.push(exited.key),
                        next => {
                            seen.push(emptied(next));
                            return seen;
                        }
                    }
                }
            })
        });
        let ends = ends.map(|end| end.join());
        let mut seen: Vec<_> = all.map(|thread| thread.join()).concat();
        seen.extend(processes.map(|thread| thread.join()).concat());
        seen.sort_unstable();
        let of = |key| [(key, "job"), (key, "server"), (key, "worker")];
        assert_eq!(seen, [of(0), of(1)].concat());
        assert!(ends.iter().all(|job| job.is_empty().unwrap()));
    });
}
