//! Figures of the simulation that no play shows, beside this kernel's: which PIDs are given, and how many descriptors are needed.

use crate::Test;
use crate::contract::{REAL, on};
use crate::stage::{Outcome, row};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::{self, File};
use steadfast::mock::{Builder, Kernel, Script, Simulated};
use steadfast::{Command, Errno, Signal, Stdio, System};
use xtask::namespace::{may_set_next_pid, set_next_pid};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (backend, real) in REAL {
        let simulated: fn(&Kernel) -> System = match *backend {
            "pidfd" => Kernel::system,
            _ => Kernel::system_pid_legacy,
        };
        let numbers = move || on(*real, |real| same_numbers(real, &simulated(&machine().build())));
        tests.push(Test::that_may_skip(format!("figures: PIDs of failed spawns: {backend}"), numbers).in_namespace());
        let room = move || on(*real, |real| same_room(real, simulated));
        tests.push(Test::that_may_skip(format!("figures: descriptors of a spawn: {backend}"), room).in_namespace());
        let turn = move || on(*real, |real| same_turn(real, simulated));
        tests.push(Test::that_may_skip(format!("figures: the PID after the last one: {backend}"), turn).in_namespace());
    }
    tests
}

const TRUE: &str = "/bin/true";

/// With the files that the tests use, as every machine has them.
fn machine() -> Builder {
    Kernel::builder().program(TRUE, Script::new()).not_executable("/etc/passwd")
}

/// The PID of a child, which has ended by then.
fn next_pid(system: &System) -> i32 {
    let child = system.spawn(&Command::new(TRUE)).unwrap();
    assert!(child.wait().unwrap().success());
    child.pid().as_raw()
}

fn same_numbers(real: &System, simulated: &System) -> Outcome {
    let mut lost = Command::new(TRUE);
    lost.process_group(31_000);
    let fails = [
        ("a missing program", Command::new("/no/such")),
        ("one that cannot be executed", Command::new("/etc/passwd")),
        ("a group that is not there", lost),
    ];
    for (what, command) in fails {
        let _row = row(what);
        let [real, simulated] = [real, simulated].map(|system| {
            let first = next_pid(system);
            let errors = [(); 10].map(|()| system.spawn(&command).unwrap_err().to_string());
            (errors, next_pid(system) - first)
        });
        assert_eq!(real, simulated, "{what}: real, and simulated");
        assert_eq!(real.1, 11, "{what}");
    }
    Outcome::Passed
}

/// How a command is started, and what comes of it in words.
type Attempt = (&'static str, fn(&System) -> String);

const ATTEMPTS: [Attempt; 4] = [
    ("output", |system| {
        let _here = system.enter();
        Command::new(TRUE).output().map_or_else(|error| error.to_string(), |output| output.status.to_string())
    }),
    ("status", |system| {
        let _here = system.enter();
        Command::new(TRUE).status().map_or_else(|error| error.to_string(), |status| status.to_string())
    }),
    ("three pipes and a parent-death signal", |system| {
        let piped = Stdio::piped;
        let mut command = Command::new(TRUE);
        command.stdin(piped()).stdout(piped()).stderr(piped()).parent_death_signal(Signal::TERM);
        ended(system, &command)
    }),
    ("no pipes, and a parent-death signal", |system| {
        let mut command = Command::new(TRUE);
        command.stdin(Stdio::null()).stderr(Stdio::null()).parent_death_signal(Signal::TERM);
        ended(system, &command)
    }),
];

fn ended(system: &System, command: &Command) -> String {
    let ended = system.spawn(command).and_then(|child| child.wait());
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// With room for none, one, two, … descriptors: what comes of it, and how many PIDs that took.
fn same_room(real: &System, simulated: fn(&Kernel) -> System) -> Outcome {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut failed = 0;
    for (what, attempt) in ATTEMPTS {
        let _row = row(what);
        for room in 0..10 {
            let first = next_pid(real);
            setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
            let mut filled: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            filled.truncate(filled.len() - room);
            let answer = attempt(real);
            drop(filled);
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
            let here = (answer, next_pid(real) - first);

            let kernel = machine().max_open_files(room as u32).build();
            let next_pid = || kernel.spawn_foreign(TRUE).unwrap().as_raw();
            let first = next_pid();
            let answer = attempt(&simulated(&kernel));
            assert_eq!(here, (answer, next_pid() - first), "{what}, room for {room}: real, and simulated");
            failed += u32::from(here.0.contains("Too many open files"));
        }
    }
    assert!((10..40).contains(&failed), "{failed} of 40 failed");
    Outcome::Passed
}

fn same_turn(real: &System, simulated: fn(&Kernel) -> System) -> Outcome {
    if !may_set_next_pid() {
        return Outcome::Skipped("PIDs may not be chosen here".into());
    }
    let pid_max: i32 = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap();
    let kernel = machine().pid_max(pid_max).build();
    for last in [298, 299, 300, 5000, pid_max - 2, pid_max - 1, pid_max] {
        set_next_pid(last + 1).unwrap();
        kernel.set_last_pid(last);
        let numbers = [real, &simulated(&kernel)].map(|system| [(); 2].map(|()| next_pid(system)));
        assert_eq!(numbers[0], numbers[1], "after {last}: real, and simulated");
    }
    // What the simulation panics at.
    for last in [-1, pid_max + 1] {
        let refused = set_next_pid(last + 1).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::INVAL.as_raw()), "{last}");
    }
    Outcome::Passed
}
