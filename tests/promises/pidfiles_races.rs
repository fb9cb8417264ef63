//! Pidfiles: who has one when two want it at once, and when its holder is killed. As many rounds of two starters as `STEADFAST_NAMES` says.

use crate::Test;
use crate::leaks::{is_over, until};
use crate::pidfiles::{files, on_each, own, place, stale, taken_by};
use crate::stage::row;
use std::fs;
use std::io::{PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use steadfast::{Child, Command, Pid, Pidfile, PidfileStatus, Process, Stale, Stdio, System, Takeover};
use steadfast_linux::bare;

/// Holds the file that the environment names, until it is killed.
pub(crate) const ROLES: &[(&str, fn())] = &[("(holds a pidfile)", holds)];
const FILE: &str = "STEADFAST_PIDFILE";
const FORKS: &str = "STEADFAST_PIDFILE_FORKS";

pub(crate) fn tests() -> Vec<Test> {
    type Check = fn(&System);
    let checks: &[(&str, Check)] = &[
        ("two threads start at once, absent or stale or unknown: one of them has it, and readers see no half", threads),
        ("two processes start at once: one of them has it", processes),
        ("its holder is killed, waited for or not, with a child or without: the next one has it in one call", killed),
    ];
    checks.iter().map(|(name, check)| on_each(name, *check)).collect()
}

fn rounds() -> u32 {
    std::env::var("STEADFAST_NAMES").map_or(2000, |text| text.parse().expect("STEADFAST_NAMES is a number"))
}

/// What two starters find, and how they take it.
fn begin(path: &Path, round: u32, stale: &str) -> Takeover {
    match round % 3 {
        0 => Takeover::IfStale,
        1 => {
            fs::write(path, stale).unwrap();
            Takeover::IfStale
        }
        _ => {
            fs::write(path, "4711\n").unwrap();
            Takeover::EvenIfUnknown
        }
    }
}

fn threads(system: &System) {
    let (_dir, path) = place();
    let stale = stale(system);
    // It makes the file in one step; what is there before the starters come is written as other tools do.
    let (gate, is_over, watches) = (Barrier::new(3), AtomicBool::new(false), AtomicBool::new(false));
    let rounds = rounds();
    std::thread::scope(|scope| {
        let start = || {
            let _here = system.enter();
            let mut wins = Vec::new();
            for round in 0..rounds {
                gate.wait();
                let takeover = [Takeover::IfStale, Takeover::IfStale, Takeover::EvenIfUnknown][round as usize % 3];
                let answer = Pidfile::create_with(&path, &own(), takeover);
                wins.push(answer.is_ok());
                gate.wait();
                assert!(taken_by(answer).is_none_or(|pid| pid == own().pid()));
            }
            wins
        };
        let starters = [scope.spawn(start), scope.spawn(start)];
        let reader = scope.spawn(|| {
            let _here = system.enter();
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                let is_watched = watches.load(Ordering::SeqCst);
                let status = Pidfile::status(&path).unwrap();
                // Unless the test writes into it just now, it is nothing or whole.
                if is_watched && watches.load(Ordering::SeqCst) {
                    assert!(!matches!(status, PidfileStatus::Unknown(_) | PidfileStatus::OtherNamespace), "{status:?}");
                    seen += 1;
                }
            }
            seen
        });
        for round in 0..rounds {
            watches.store(round % 3 == 0, Ordering::SeqCst);
            begin(&path, round, &stale);
            gate.wait();
            gate.wait();
            // The winner's is removed by its drop; the next round begins when both are through.
            until("it is removed", || !path.exists());
        }
        let [one, two] = starters.map(|starter| starter.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
        let both: Vec<u32> = one.iter().zip(&two).map(|(one, two)| u32::from(*one) + u32::from(*two)).collect();
        assert_eq!(both, vec![1; rounds as usize]);
        eprintln!(
            "{}: {rounds} rounds, the first of two has won {}",
            system.backend_name(),
            one.iter().filter(|won| **won).count()
        );
    });
    assert_eq!(files(&path), Vec::<String>::new());
}

/// Blocks until the other end is closed.
fn until_closed(mut pipe: &PipeReader) {
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
}

/// As processes: forks, which begin when a pipe is closed, and stay until both have answered.
fn processes(system: &System) {
    let (_dir, path) = place();
    let stale = stale(system);
    for round in 0..rounds() / 10 {
        let takeover = begin(&path, round, &stale);
        let [(begins, begin), (ends, end), (mut answers, answer)] = [(); 3].map(|()| std::io::pipe().unwrap());
        let mut gates = Some((begin, end));
        let starters = [(); 2].map(|()| {
            let child = bare::fork(|| {
                nix::unistd::alarm::set(60);
                // The write ends of its own copy, which would keep it waiting.
                drop(gates.take());
                until_closed(&begins);
                let taken = Pidfile::create_with(&path, &own(), takeover);
                let letter = if taken.is_ok() { b"w" } else { b"l" };
                (&answer).write_all(letter).unwrap();
                until_closed(&ends);
                assert_ne!(taken_by(taken), Some(own().pid()));
                0
            });
            nix::unistd::Pid::from_raw(child.unwrap().as_raw())
        });
        let (begin, end) = gates.take().unwrap();
        drop((begin, answer));
        let mut letters = [0; 2];
        answers.read_exact(&mut letters).unwrap();
        letters.sort_unstable();
        drop(end);
        for pid in starters {
            assert_eq!(nix::sys::wait::waitpid(pid, None).unwrap(), nix::sys::wait::WaitStatus::Exited(pid, 0));
        }
        assert_eq!(&letters, b"lw", "round {round}");
        assert_eq!(files(&path), Vec::<String>::new(), "round {round}");
    }
}

fn holds() {
    let _pidfile = Pidfile::start(PathBuf::from(std::env::var_os(FILE).unwrap())).unwrap();
    if std::env::var_os(FORKS).is_some() {
        // It has copies of all descriptors, and lives on.
        bare::fork(|| {
            nix::unistd::alarm::set(60);
            println!("{}", std::process::id());
            nix::unistd::pause();
            0
        })
        .unwrap();
    } else {
        println!("0");
    }
    nix::unistd::pause();
}

/// Another program that has it, and the PID of its child, if it has one.
fn holder(system: &System, path: &Path, forks: bool) -> (Child, i32) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(holds a pidfile)").env(FILE, path).stdout(Stdio::piped());
    if forks {
        command.env(FORKS, "1");
    }
    let mut child = system.spawn(&command).unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

fn killed(system: &System) {
    for forks in [false, true] {
        let _row = row(forks);
        let (_dir, path) = place();
        let (holder, fork) = holder(system, &path, forks);
        assert_eq!(taken_by(Pidfile::start(&path)), Some(holder.pid()));
        holder.kill().unwrap();
        until("it has exited", || is_over(holder.pid()));
        // A zombie has it no more.
        assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Stale(Stale::Exited)));
        drop(Pidfile::start(&path).unwrap());
        assert!(!path.exists());
        holder.wait().unwrap();
        if forks {
            Process::find(Pid::new(fork).unwrap()).unwrap().kill().unwrap();
        }
        let (second, _) = self::holder(system, &path, false);
        second.kill().unwrap();
        second.wait().unwrap();
        assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Stale(Stale::Gone)));
        let pidfile = Pidfile::start(&path).unwrap();
        assert_eq!(pidfile.identity().pid(), own().pid());
    }
}
