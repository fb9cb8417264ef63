//! Kernels that do not have a wall, and a storm of walled children.

use crate::Test;
use crate::errors::each_system;
use crate::leaks::{children, descriptors};
use crate::stage::{Outcome, row};
use crate::storm::noop;
use crate::walls::{allow_all, ruleset, with_wall};
use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpOp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use steadfast::{Command, Door, Errno, Error, ErrorKind, IoPriority, Probe, System, Wall};
use steadfast_tests::filter::Call;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("walls: a flag that the kernel does not know is told apart from a bad program", unknown_flag),
        Test::new("walls: if possible, and exec: refused", exec),
        Test::new("walls: 2,000 walled spawns from 32 threads that allocate: none hangs", storm),
    ];
    for (name, errno) in [("ENOSYS", Errno::NOSYS), ("EOPNOTSUPP", Errno::OPNOTSUPP), ("EPERM", Errno::PERM)] {
        let name = format!("walls: calls answered by {name}: refused by name, or reported, or neither");
        tests.push(Test::that_may_skip(name, move || {
            answered(errno);
            Outcome::Passed
        }));
    }
    tests
}

/// Each wall's call.
const CALLS: [(Wall, i64); 4] = [
    (Wall::Landlock, libc::SYS_landlock_restrict_self),
    (Wall::Seccomp, libc::SYS_seccomp),
    (Wall::IoPriority, libc::SYS_ioprio_set),
    (Wall::ResetOnFork, libc::SYS_sched_setattr),
];

/// Whether this answer to it means that it is not there.
fn is_lacking(wall: Wall, errno: Errno) -> bool {
    errno == Errno::NOSYS || (wall == Wall::Landlock && errno == Errno::OPNOTSUPP)
}

fn answered(errno: Errno) {
    // seccomp(2) comes last: without it no other call can be answered.
    for (_, number) in CALLS.into_iter().filter(|(wall, _)| *wall != Wall::Seccomp).chain([CALLS[1]]) {
        Call { name: "a wall", number, only: None }.answer(SeccompAction::Errno(errno.as_raw() as u32));
    }
    each_system(|system| {
        let before = descriptors();
        for (wall, _) in CALLS {
            let _row = row(wall);
            let mut command = Command::new("true");
            let error = system.spawn(with_wall(command.no_new_privileges(true), wall)).unwrap_err();
            let is_lacking = is_lacking(wall, errno);
            assert_eq!(error.errno(), Some(errno), "{error}");
            match (&error, is_lacking) {
                (Error::NoWall { wall: named, .. }, true) => {
                    assert_eq!((*named, error.kind()), (wall, ErrorKind::Unsupported));
                    let text = error.to_string();
                    assert!(text.contains(wall.since()) && text.contains(wall.call()), "{text}");
                }
                (Error::Spawn { .. }, false) => {}
                _ => panic!("{error:#?}"),
            }
            match (system.spawn(command.walls_if_possible(true)), is_lacking) {
                (Ok(child), true) => {
                    let [(missing, Error::NoWall { source, .. })] = child.missing_walls() else {
                        panic!("{:?}", child.missing_walls())
                    };
                    assert_eq!((*missing, *source), (wall, errno));
                    assert!(child.wait().unwrap().success());
                }
                (Err(Error::Spawn { source, .. }), false) => assert_eq!(source, errno),
                (answer, _) => panic!("{answer:#?}"),
            }
        }
        // All at once, one of them twice.
        if errno == Errno::NOSYS {
            let mut command = Command::new("true");
            command.walls_if_possible(true);
            CALLS.into_iter().chain([CALLS[1]]).for_each(|(wall, _)| _ = with_wall(&mut command, wall));
            let child = system.spawn(&command).unwrap();
            let mut missing: Vec<Wall> = child.missing_walls().iter().map(|(wall, _)| *wall).collect();
            missing.sort();
            assert_eq!(missing, [Wall::Landlock, Wall::Seccomp, Wall::Seccomp, Wall::IoPriority, Wall::ResetOnFork]);
            assert!(child.wait().unwrap().success());
            let tasks = command.spawn().unwrap();
            assert_eq!(tasks.missing_walls().len(), 5);
            assert!(tasks.wait().unwrap().success());
            // And a program that is missing too.
            let mut command = Command::new("/no/such/program");
            let error = system.spawn(with_wall(command.walls_if_possible(true), Wall::Landlock)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
        }
        assert_eq!((descriptors(), children()), (before, vec![]));
    });
}

/// As a kernel before 4.14 answers, with a program and without.
fn unknown_flag() {
    const LOG: u64 = 1 << 1;
    let only = Some((1, SeccompCmpOp::MaskedEq(LOG), LOG));
    Call { name: "seccomp", number: libc::SYS_seccomp, only }.answer(SeccompAction::Errno(libc::EINVAL as u32));
    each_system(|system| {
        let mut command = Command::new("true");
        command.no_new_privileges(true).seccomp(allow_all().log(true)).seccomp(allow_all());
        let error = system.spawn(&command).unwrap_err();
        assert!(matches!(error, Error::NoWall { wall: Wall::Seccomp, source: Errno::INVAL, .. }), "{error:#?}");
        let child = system.spawn(command.walls_if_possible(true)).unwrap();
        assert!(matches!(child.missing_walls(), [(Wall::Seccomp, _)]), "{:?}", child.missing_walls());
        assert!(child.wait().unwrap().success());
    });
}

fn exec() {
    let error = Command::new("true").walls_if_possible(true).exec();
    assert!(matches!(&error, Error::InvalidPlan { why, .. } if why.contains("walls_if_possible")), "{error}");
}

/// How many in all; the environment may ask for another number.
fn rounds() -> u64 {
    std::env::var("STEADFAST_WALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

fn storm() {
    let before = descriptors().len();
    let (dir, noop) = noop();
    let systems: Vec<System> = Probe::once()
        .unwrap()
        .doors()
        .iter()
        .filter(|door| **door != Door::Fork)
        .flat_map(|door| [Some(System::pid_legacy_through(*door)), System::pidfd_through(*door).ok()])
        .flatten()
        .collect();
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let rules = ruleset(Path::new("/"));
    std::thread::scope(|scope| {
        let noise: Vec<_> = (0..28)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || {
                    let (mut kept, mut turn) = (BTreeMap::new(), seed);
                    while !over.load(Ordering::Relaxed) {
                        turn += 1;
                        kept.insert(turn % 64, vec![turn as u8; (turn % 5000) as usize]);
                        assert!(kept.values().all(|bytes: &Vec<u8>| bytes.first() == bytes.last()));
                    }
                })
            })
            .collect();
        let spawners: Vec<_> = (0..4)
            .map(|number: usize| {
                let (systems, done, noop, rules) = (&systems, &done, &noop, &rules);
                scope.spawn(move || {
                    let mut turn = number;
                    while done.fetch_add(1, Ordering::Relaxed) < rounds() {
                        turn += 1;
                        let mut command = Command::new(noop);
                        command.no_new_privileges(true).seccomp(allow_all()).io_priority(IoPriority::Idle).reset_on_fork(true);
                        rules.iter().for_each(|rules| _ = command.landlock(rules.try_clone().unwrap()));
                        command.walls_if_possible(turn.is_multiple_of(2));
                        let child = systems[turn % systems.len()].spawn(&command).unwrap();
                        assert!(child.missing_walls().is_empty());
                        assert!(child.wait().unwrap().success());
                    }
                })
            })
            .collect();
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        over.store(true, Ordering::Relaxed);
        noise.into_iter().for_each(|thread| thread.join().unwrap());
    });
    drop((dir, rules));
    assert_eq!((descriptors().len(), children()), (before, vec![]));
}
