//! The contract, on every backend and through every door; and the same answers from each two of them.

use crate::Test;
use crate::stage::Outcome as Performed;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use steadfast::mock::{Kernel, Script};
use steadfast::{Door, Pid, Probe, Signal, System};
use steadfast_conformance::{Act, Kin, Outcome, Promise, Subject, promises, same_answers};
pub(crate) use steadfast_tests::tells_lost_status;

/// The child program of all tests.
pub(crate) const ACTOR: &str = env!("CARGO_BIN_EXE_actor");

/// A backend's name in the tests' names, and how to have it.
type Backend = (&'static str, fn() -> Result<Subject, String>);

const BACKENDS: &[Backend] = &[
    ("pidfd", || pidfd(Door::Clone3)),
    ("pidfd, clone", || pidfd(Door::Clone)),
    ("pidfd, fork", || pidfd(Door::Fork)),
    ("pid-legacy", || pid_legacy(Door::Clone3)),
    ("pid-legacy, clone", || pid_legacy(Door::Clone)),
    ("pid-legacy, fork", || pid_legacy(Door::Fork)),
    ("mock", || Ok(mock(Kernel::backend, false))),
    ("mock, 6.15", || Ok(mock(Kernel::backend, true).tells_lost_status(true))),
    ("mock-pid-legacy", || Ok(mock(Kernel::backend_pid_legacy, true))),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (backend, subject) in BACKENDS {
        for promise in promises() {
            let name = format!("contract: {backend}: {}", promise.name);
            let check = move || match subject() {
                Err(reason) => Performed::Skipped(reason),
                Ok(subject) => performed(promise.check(&subject)),
            };
            let test = Test::that_may_skip(name, check);
            tests.push(if backend.starts_with("mock") { test } else { in_its_place(&promise, test) });
        }
    }
    for (index, (one, a)) in BACKENDS.iter().enumerate() {
        for (other, b) in &BACKENDS[index + 1..] {
            // The doors are one backend each; of each kind, one is enough here.
            if [one, other].iter().any(|name| name.ends_with("clone") || name.ends_with("fork")) {
                continue;
            }
            tests.push(Test::that_may_skip(format!("same answers: {one} and {other}"), move || match (a(), b()) {
                (Ok(a), Ok(b)) => {
                    same_answers(&a, &b);
                    Performed::Passed
                }
                (Err(reason), _) | (_, Err(reason)) => Performed::Skipped(reason),
            }));
        }
    }
    tests
}

/// What became of a promise, as what became of a test.
pub(crate) fn performed(outcome: Outcome) -> Performed {
    match outcome {
        Outcome::Passed => Performed::Passed,
        Outcome::Skipped(reason) => Performed::Skipped(reason.to_owned()),
        Outcome::Failed(seen) => panic!("{seen}"),
    }
}

/// A promise of a real backend is tested in a namespace, but for a foreign process, which is one whose parent is outside: in a namespace
/// of one's own there is none.
pub(crate) fn in_its_place(promise: &Promise, test: Test) -> Test {
    if promise.name.contains("not our child") { test } else { test.in_namespace() }
}

fn pidfd(door: Door) -> Result<Subject, String> {
    let system = System::pidfd_through(door).map_err(|error| error.to_string())?;
    is_open(door)?;
    Ok(real(&system).tells_lost_status(tells_lost_status()))
}

fn pid_legacy(door: Door) -> Result<Subject, String> {
    is_open(door)?;
    Ok(real(&System::pid_legacy_through(door)))
}

fn is_open(door: Door) -> Result<(), String> {
    let probe = Probe::once().map_err(|error| error.to_string())?;
    if probe.doors().contains(&door) { Ok(()) } else { Err(format!("{door:?} does not work on this kernel")) }
}

fn real(system: &System) -> Subject {
    steadfast_tests::real(system, ACTOR.as_ref(), foreigner)
}

/// How to have a real backend's system.
pub(crate) type Real = fn() -> steadfast::Result<System>;

/// The two real backends, whether they work here or not.
pub(crate) const REAL: &[(&str, Real)] = &[("pidfd", System::pidfd), ("pid-legacy", || Ok(System::pid_legacy()))];

/// Performs something on one of them, if it works here.
pub(crate) fn on(system: Real, check: impl FnOnce(&System) -> Performed) -> Performed {
    match system() {
        Ok(system) => check(&system),
        Err(error) => Performed::Skipped(error.to_string()),
    }
}

/// A process whose parent is a shell, which waits for it.
pub(crate) fn foreigner() -> Pid {
    foreigner_of(ACTOR)
}

/// The same, of a copy of the actor.
pub(crate) fn foreigner_of(actor: &str) -> Pid {
    let script = format!("'{actor}' forever >/dev/null & echo $!; wait");
    let mut shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("sh");
    let mut line = String::new();
    BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("the shell says a PID");
    // The shell ends when its child has; whoever waits for it is in nobody's way.
    std::thread::spawn(move || shell.wait());
    line.trim().parse().expect("a PID")
}

/// A simulation with the actor, and somebody else's process.
pub(crate) fn kernel(tells_lost_status: bool) -> Kernel {
    Kernel::builder()
        .tells_lost_status(tells_lost_status)
        .pid_max(4096)
        .program_with("actor", |run| script(&run.args))
        .program("foreigner", Script::new().run_forever())
        .program("neglectful", Script::new().spawn("sleeper").write_stdout("\n").read_stdin_to_end().wait_for_children())
        .program("copy", copy())
        .program("noop", Script::new())
        .program("sleeper", Script::new().run_forever())
        .program("talker", talker())
        .build()
}

/// As `cat`, by lines.
fn copy() -> Script {
    let answer = |line: Option<&str>| match line {
        None => Script::new().exit(0),
        Some(line) => Script::new().write_stdout(format!("{line}\n")),
    };
    Script::new().loop_forever(Script::new().on_stdin_line(answer))
}

/// Says much, complains, and has a last word when its input ends.
fn talker() -> Script {
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    Script::new().write_stdout(numbers).write_stderr("oops\n").read_stdin_to_end().write_stdout("late\n").exit(0)
}

fn mock(backend: impl Fn(&Kernel) -> Arc<dyn steadfast::backend::ProcessBackend>, tells_lost_status: bool) -> Subject {
    let kernel = kernel(tells_lost_status);
    let (reaper, home, chooser) = (kernel.clone(), kernel.clone(), kernel.clone());
    Subject::new(backend(&kernel), "actor")
        .reap_behind(move |pid| {
            let process = reaper.backend().find(pid).expect("it is there");
            assert!(process.wait_exited(None).expect("it is our child").is_some());
            process.reap().expect("it has exited");
        })
        .foreigner(move || home.spawn_foreign("foreigner").expect("there is such a program"))
        .next_pid(move |pid| chooser.set_last_pid(pid.as_raw() - 1))
}

/// Starts a process that is related to it like that. What it starts has set itself up when its parent has slept.
fn beget(kin: Kin) -> Script {
    let alone = || Script::new().read_stdin_to_end();
    let apart = || Script::new().new_session().read_stdin_to_end();
    let set_up = |script: Script| script.sleep(Duration::from_micros(1));
    set_up(match kin {
        Kin::Child => Script::new().spawn(alone()),
        Kin::Group => Script::new().spawn(Script::new().new_group().read_stdin_to_end()),
        Kin::Session => Script::new().spawn(apart()),
        Kin::Orphan => Script::new().spawn(Script::new().spawn(alone())).wait_for_child(),
        Kin::Daemon => Script::new().spawn(Script::new().spawn(apart())).wait_for_child(),
    })
}

/// What the actor does, for a simulated process.
fn script(args: &[OsString]) -> Script {
    let ready = Script::new();
    if args.iter().eq(["last-words"]) {
        let says = Script::new().write_stdout("last words\n").exit(3);
        return ready.on(Signal::TERM, says).write_stdout("ready\n").run_forever();
    }
    match Act::from_args(args).expect("the suite speaks the actor's language") {
        Act::Exit(code) => Script::new().exit(code.into()),
        Act::Forever => ready.write_stdout("ready\n").run_forever(),
        Act::ExitOn(signal, code) => {
            let handler = Script::new().exit(code.into());
            ready.on(signal, handler).write_stdout("ready\n").run_forever()
        }
        Act::Shrug(signal) => ready.ignore(signal).write_stdout("ready\n").run_forever(),
        Act::Beget(kin) => beget(kin).write_stdout("ready\n").run_forever(),
        Act::BegetAndExit(kin) => beget(kin).write_stdout("ready\n").exit(0),
        Act::Allocate(mebibytes) => ready.allocate(u64::from(mebibytes) << 20).write_stdout("ready\n").run_forever(),
        Act::Multiply(children) => {
            let child = Script::new().read_stdin_to_end();
            ready
                .repeat(children, Script::new().spawn(child))
                .sleep(Duration::from_micros(1))
                .write_stdout("ready\n")
                .run_forever()
        }
        Act::UntilEof(code) => ready.write_stdout("ready\n").read_stdin_to_end().exit(code.into()),
    }
}
