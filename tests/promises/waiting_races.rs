//! Races around waiting, on purpose: each round starts a process, lets threads loose on its handle, and knows what each may see.
//!
//! `STEADFAST_RACES` says how many rounds; with 100,000 all of it takes some minutes.

use crate::Test;
use crate::leaks::{children, until};
use crate::scene::{Scene, on_every_backend};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use steadfast::{Child, Command, ErrorKind, ExitStatus, Process, Result, WaitSet};

type Race = (&'static str, fn(&Scene, u64, &Path));

const RACES: &[Race] = &[
    ("exit against timeout", exit_against_timeout),
    ("kill against wait", kill_against_wait),
    ("release against wait", release_against_wait),
    ("drop against wait", drop_against_wait),
    ("two sets and three threads on one handle", two_sets),
];

pub(crate) fn tests() -> Vec<Test> {
    on_every_backend("races", RACES, |scene, race| {
        let dir = programs();
        race(scene, rounds(), dir.path());
        until("no zombie is left", || children().is_empty());
    })
}

fn rounds() -> u64 {
    std::env::var("STEADFAST_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000)
}

/// Programs that start faster than any others: one that ends at once, and one that stays.
fn programs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let arch = std::env::consts::ARCH;
    for (name, bytes) in [("noop", xtask::noop::executable(arch)), ("sleeper", xtask::noop::sleeper(arch))] {
        xtask::noop::write(&dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// What the threads of a round share.
struct Round {
    process: Process,
    /// The same process, by a handle of its own.
    found: Option<Process>,
    sets: [WaitSet<u8>; 2],
    /// For whoever is to drop it.
    child: Mutex<Option<Child>>,
    number: u64,
}

type Act<'a> = &'a (dyn Fn(&Round) + Sync);

/// In each round all acts are performed at once.
fn race(scene: &Scene, rounds: u64, program: &Path, in_sets: usize, acts: &[Act<'_>]) {
    let name = if scene.system.info().real { program.as_os_str() } else { program.file_name().unwrap() };
    let command = Command::new(name);
    let current: Mutex<Option<Arc<Round>>> = Mutex::new(None);
    let barrier = Barrier::new(acts.len() + 1);
    std::thread::scope(|scope| {
        for act in acts {
            let (current, barrier) = (&current, &barrier);
            scope.spawn(move || {
                for _ in 0..rounds {
                    barrier.wait();
                    let round = current.lock().unwrap().clone().expect("there is a round");
                    act(&round);
                    drop(round);
                    barrier.wait();
                }
            });
        }
        for number in 0..rounds {
            let child = scene.system.spawn(&command).unwrap();
            let process = child.process().clone();
            let found = scene.system.find(child.pid()).ok();
            let sets = [WaitSet::new(), WaitSet::new()];
            for set in &sets[..in_sets] {
                set.add(1, Process::clone(&process)).unwrap();
            }
            let round = Round { process, found, sets, child: Mutex::new(Some(child)), number };
            *current.lock().unwrap() = Some(Arc::new(round));
            barrier.wait();
            barrier.wait();
            *current.lock().unwrap() = None;
        }
    });
}

/// From nothing to about as long as an exit takes.
fn moment(round: &Round) -> Duration {
    Duration::from_micros(round.number * 7 % 150)
}

fn until_some<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
    }
}

fn by_timeout(round: &Round) -> ExitStatus {
    until_some(|| round.process.wait_timeout(moment(round)).unwrap())
}

fn by_set(round: &Round, set: usize) -> Result<ExitStatus> {
    let exited = until_some(|| round.sets[set].wait_timeout(moment(round)));
    assert_eq!((exited.key, round.sets[set].len()), (1, 0));
    assert!(round.sets[set].wait().is_none());
    exited.status
}

fn is_success(status: ExitStatus) {
    assert!(status.success(), "{status}");
}

fn is_killed(status: ExitStatus) {
    assert_eq!(status.signal(), Some(9), "{status}");
}

/// A status, or that the handle was released; nothing else.
fn is_killed_or_released(answer: Result<ExitStatus>) {
    match answer {
        Ok(status) => is_killed(status),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Released, "{error}"),
    }
}

fn kill_until_done(process: &Process) {
    let error = until_some(|| process.kill().err());
    assert_eq!(error.kind(), ErrorKind::ProcessDone, "{error}");
}

fn exit_against_timeout(scene: &Scene, rounds: u64, programs: &Path) {
    let acts: [Act<'_>; 3] = [&|round| is_success(by_timeout(round)), &|round| is_success(by_set(round, 0).unwrap()), &|round| {
        is_success(until_some(|| round.process.try_wait().unwrap()))
    }];
    race(scene, rounds, &programs.join("noop"), 1, &acts);
}

fn kill_against_wait(scene: &Scene, rounds: u64, programs: &Path) {
    let acts: [Act<'_>; 4] = [
        &|round| is_killed(round.process.wait().unwrap()),
        &|round| is_killed(by_set(round, 0).unwrap()),
        &|round| is_killed(by_timeout(round)),
        &|round| kill_until_done(&round.process),
    ];
    race(scene, rounds, &programs.join("sleeper"), 1, &acts);
}

fn release_against_wait(scene: &Scene, rounds: u64, programs: &Path) {
    let acts: [Act<'_>; 4] = [
        &|round| is_killed_or_released(round.process.wait()),
        &|round| is_killed_or_released(by_set(round, 0)),
        &|round| round.process.release().unwrap(),
        &|round| {
            if let Some(Err(error)) = round.found.as_ref().map(|found| found.kill()) {
                assert_eq!(error.kind(), ErrorKind::ProcessDone, "{error}");
            }
        },
    ];
    race(scene, rounds, &programs.join("sleeper"), 1, &acts);
}

fn drop_against_wait(scene: &Scene, rounds: u64, programs: &Path) {
    let acts: [Act<'_>; 4] = [
        &|round| is_killed(by_set(round, 0).unwrap()),
        &|round| is_killed(round.process.clone().wait().unwrap()),
        // The child; a set with its handle; a handle of somebody else's.
        &|round| drop(round.child.lock().unwrap().take()),
        &|round| {
            let set = WaitSet::new();
            set.add(round.number, Process::clone(&round.process)).unwrap();
            round
                .process
                .kill()
                .or_else(|error| if error.kind() == ErrorKind::ProcessDone { Ok(()) } else { Err(error) })
                .unwrap();
            drop(set);
        },
    ];
    race(scene, rounds, &programs.join("sleeper"), 1, &acts);
}

fn two_sets(scene: &Scene, rounds: u64, programs: &Path) {
    let acts: [Act<'_>; 4] = [
        &|round| is_killed(by_set(round, 0).unwrap()),
        &|round| is_killed(round.sets[1].wait().unwrap().status.unwrap()),
        &|round| is_killed(round.process.wait().unwrap()),
        &|round| kill_until_done(&round.process),
    ];
    race(scene, rounds, &programs.join("sleeper"), 2, &acts);
}
