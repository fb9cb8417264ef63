//! The child that shares our memory, under all that might go wrong with that.

use crate::Test;
use crate::contract::ACTOR;
use crate::leaks::{children, descriptors};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGUSR1};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use steadfast::{Command, Disposition, Errno, Limit, Probe, Signal, SignalSet, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("storm: 200,000 spawns from 8 threads, with signals, locks and allocations all around", storm),
        Test::new("storm: with hardly any address space left", out_of_address_space),
    ]
}

/// How many in all; the environment may ask for another number.
fn rounds() -> u64 {
    std::env::var("STEADFAST_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

/// A program that does nothing, and starts faster than any other.
pub(crate) fn noop() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noop");
    std::fs::write(&path, xtask::noop::executable(std::env::consts::ARCH).unwrap()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    (dir, path)
}

fn storm() {
    let before = descriptors();
    let (_dir, noop) = noop();
    let handled = Arc::new(AtomicUsize::new(0));
    for signal in [SIGUSR1, SIGALRM, SIGCHLD] {
        signal_hook::flag::register_usize(signal, Arc::clone(&handled), 1).unwrap();
    }
    let systems: Vec<System> = Probe::once()
        .unwrap()
        .doors()
        .iter()
        // A copy of the memory takes no part in what may happen to a shared one; it has its own tests.
        .filter(|door| **door != steadfast::Door::Fork)
        .flat_map(|door| [Some(System::pid_legacy_through(*door)), System::pidfd_through(*door).ok()])
        .flatten()
        .collect();
    let done = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let rounds = rounds();
    std::thread::scope(|scope| {
        // Others allocate, take locks that a spawn might take, and are signalled.
        let noise: Vec<_> = (0..2)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || {
                    let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
                    let mut sum = 0_u64;
                    let mut turn = seed;
                    while !over.load(Ordering::Relaxed) {
                        turn += 1;
                        kept.insert(turn % 64, vec![turn as u8; (turn % 5000) as usize]);
                        sum += std::env::vars_os().count() as u64 + std::env::current_dir().unwrap().as_os_str().len() as u64;
                        for (_, bytes) in kept.iter() {
                            // Nobody else writes to them.
                            assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
                        }
                        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGUSR1).unwrap();
                        System::pid_legacy().sleep(Duration::from_micros(300));
                    }
                    sum
                })
            })
            .collect();
        let spawners: Vec<_> = (0..8)
            .map(|number| {
                let (systems, done, noop) = (&systems, &done, &noop);
                scope.spawn(move || {
                    // Something on the stack that a stray child would overwrite.
                    let mut canary = [number as u64; 512];
                    let mut turn = number;
                    while done.fetch_add(1, Ordering::Relaxed) < rounds {
                        turn += 1;
                        let system = &systems[turn % systems.len()];
                        let mut command = Command::new(noop);
                        match turn % 7 {
                            0 => {
                                command.signal_mask(SignalSet::EMPTY).signal_disposition(Signal::HUP, Disposition::Ignore);
                            }
                            1 => {
                                command.setsid(true).rlimit(steadfast::Resource::CORE, 0).umask(0o77);
                            }
                            2 => {
                                command.current_dir("/").close_fds(true).fd(9, std::fs::File::open("/dev/null").unwrap());
                            }
                            3 => {
                                command.stdin(Stdio::null()).stdout(Stdio::piped()).env("TURN", turn.to_string());
                            }
                            4 => {
                                let error = system.spawn(command.current_dir("/no/such")).unwrap_err();
                                assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
                                continue;
                            }
                            _ => {}
                        }
                        let status = system.spawn(&command).unwrap().wait().unwrap();
                        assert!(status.success(), "{status}");
                        canary.iter_mut().for_each(|word| *word += 1);
                    }
                    canary.windows(2).all(|pair| pair[0] == pair[1])
                })
            })
            .collect();
        assert!(spawners.into_iter().all(|spawner| spawner.join().unwrap()));
        over.store(true, Ordering::Relaxed);
        assert!(noise.into_iter().all(|thread| thread.join().unwrap() > 0));
    });
    assert!(handled.load(Ordering::Relaxed) > 0);
    assert_eq!(children(), Vec::<String>::new());
    assert_eq!(descriptors().len(), before.len());
}

fn out_of_address_space() {
    let before = descriptors();
    let systems: Vec<System> = [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten().collect();
    // Rust's own allocations abort the program when they fail: they are to find what is free already.
    drop(vec![0_u8; 100 * 1024]);
    for system in &systems {
        assert!(system.spawn(&Command::new("true")).unwrap().wait().unwrap().success());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let used = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
    let (mut worked, mut refused) = (0, 0);
    // Less and less room: at the end not even for a child's stack.
    for room in (0..64).rev().map(|n| n * 8 * 1024) {
        setrlimit(Resource::RLIMIT_AS, used + room, hard).unwrap();
        for system in &systems {
            match system.spawn(Command::new(ACTOR).args(["exit", "3"]).rlimit(steadfast::Resource::AS, Limit::new(hard, hard))) {
                Ok(child) => {
                    assert_eq!(child.wait().unwrap().code(), Some(3));
                    worked += 1;
                }
                Err(error) => {
                    assert_eq!(error.errno(), Some(Errno::NOMEM), "{error}");
                    refused += 1;
                }
            }
        }
        setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
        assert_eq!(children(), Vec::<String>::new());
    }
    assert!(worked > 0, "{worked} worked, {refused} were refused");
    assert_eq!(descriptors(), before);
}
