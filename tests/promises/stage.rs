//! Where a test runs: this program, started again for each of them.

use crate::Test;
use libtest_mimic::{Completion, Failed, Trial};
use std::fs::File;
use std::io::{Read, Seek};
use std::sync::RwLock;
use std::time::Duration;
use steadfast::{Command, ExitStatus, Stdio, System};
use xtask::namespace;

/// Tells the program started again which test it is; and, in a namespace, that it is process 1 there.
const TEST: &str = "STEADFAST_TEST";
/// No test: says which backend is chosen.
const DETECTS: &str = "errors: (detects)";
const INIT: &str = "STEADFAST_TEST_INIT";
const PASSED: i32 = 0;
const SKIPPED: i32 = 77;

/// Whoever runs alone has all of it.
static TURNS: RwLock<()> = RwLock::new(());

/// What became of a test that did not panic.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
}

/// What is needed for a test; or the test's answer is that it is skipped.
macro_rules! given {
    ($answer:expr) => {
        match $answer {
            Ok(given) => given,
            Err(skipped) => return skipped,
        }
    };
}
pub(crate) use given;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Here,
    /// As process 1 of a PID namespace.
    Namespace,
    /// In a PID namespace, as a child of process 1, which reaps orphans.
    UnderInit,
}

/// A test that takes longer hangs. The longest takes some ten seconds, unless more rounds are asked for.
fn patience() -> Duration {
    let asks_for_more =
        ["STEADFAST_JOBS", "STEADFAST_NAMES", "STEADFAST_RACES", "STEADFAST_RECYCLES", "STEADFAST_STORM", "STEADFAST_WALLS"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
    Duration::from_secs(if asks_for_more { 2 * 3600 } else { 240 })
}

/// The test, as the runner sees it: starts this program again, and reads its exit code.
pub(crate) fn trial(test: Test) -> Trial {
    let name = test.name.clone();
    Trial::ignorable_test(name, move || {
        let turn = (test.is_alone.then(|| TURNS.write()), (!test.is_alone).then(|| TURNS.read()));
        let (status, said) = again(&test.name, &[]);
        drop(turn);
        match status.and_then(|status| status.code()) {
            Some(PASSED) => Ok(Completion::Completed),
            Some(SKIPPED) => {
                let reason = said.lines().last().unwrap_or("no reason given");
                Ok(Completion::Ignored { reason: Some(reason.to_owned()) })
            }
            _ => Err(Failed::from(match status {
                Some(status) => format!("{status}\n{said}"),
                None => format!("hangs: killed after {:?}\n{said}", patience()),
            })),
        }
    })
}

/// Starts this program again and, until it ends, reaps whatever becomes an orphan; its exit code.
#[allow(clippy::zombie_processes, reason = "it is waited for, with whatever else becomes an orphan")]
fn be_init() -> i32 {
    use nix::sys::wait::WaitStatus;
    let own = std::env::current_exe().expect("a program knows where it is");
    let child = std::process::Command::new(own).spawn().expect("this program can be started again");
    match namespace::reap_until(child.id()).expect("there is a child") {
        WaitStatus::Exited(_, code) => code,
        ended => {
            eprintln!("ended: {ended:?}");
            1
        }
    }
}

/// Starts this program again; its status, `None` if it hung, and what it said. Into a file: a pipe would be kept open by a
/// grandchild that a failing test leaves.
fn again(test: &str, env: &[(&str, &str)]) -> (Option<ExitStatus>, String) {
    let own = std::env::current_exe().expect("a program knows where it is");
    let mut said = tempfile::tempfile().expect("a temporary file");
    let copy = |file: &File| file.try_clone().expect("a duplicate");
    let child = Command::new(own)
        .env(TEST, test)
        .env_remove("STEADFAST_BACKEND")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(copy(&said))
        .stderr(copy(&said))
        .spawn()
        .expect("this program can be started again");
    let status = child.wait_timeout(patience()).expect("it is our child");
    if status.is_none() {
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    let mut text = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut text)).expect("a file can be read");
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// Performs the test that the environment names; `None` if it names none.
pub(crate) fn perform_if_asked(tests: &[Test]) -> Option<i32> {
    let name = std::env::var(TEST).ok()?;
    if name == DETECTS {
        // The subject of a test that forces a backend.
        return Some(match System::detect() {
            Ok(system) => {
                println!("{}", system.backend_name());
                PASSED
            }
            Err(error) => {
                eprintln!("{error}");
                1
            }
        });
    }
    let roles = crate::surroundings::ROLES
        .iter()
        .chain(crate::scenarios::ROLES)
        .chain(crate::handles_from::ROLES)
        .chain(crate::hostile::ROLES)
        .chain(crate::jobs_elsewhere::ROLES)
        .chain(crate::init::ROLES)
        .chain(crate::jobs_limits::ROLES)
        .chain(crate::ptys::ROLES)
        .chain(crate::ptys_foreground::ROLES)
        .chain(crate::changes_terminal::ROLES)
        .chain(crate::jobs_owner::ROLES)
        .chain(crate::names::ROLES)
        .chain(crate::pidfiles_races::ROLES);
    if let Some((_, play)) = roles.into_iter().find(|(role, _)| *role == name) {
        play();
        return Some(PASSED);
    }
    let test = tests.iter().find(|test| test.name == name).expect("the runner names tests that there are");
    match (test.place, std::process::id()) {
        (Place::Here, _) => {}
        _ if std::env::var_os(INIT).is_none() => return Some(leave_namespace(test)),
        (_, 1) => {
            namespace::mount_proc().expect("process 1 of a namespace of its own may mount /proc");
            if test.place == Place::UnderInit {
                return Some(be_init());
            }
        }
        _ => {}
    }
    Some(match (test.check)() {
        Outcome::Passed => PASSED,
        Outcome::Skipped(reason) => {
            eprintln!("{reason}");
            SKIPPED
        }
    })
}

/// What a test is at: said if it fails there, wherever below.
#[must_use = "it is said while this lives"]
pub(crate) struct Row(String);

/// The row of a table, or the backend, that comes next.
pub(crate) fn row(name: impl std::fmt::Display) -> Row {
    Row(name.to_string())
}

impl Drop for Row {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was at: {}", self.0);
        }
    }
}

fn leave_namespace(test: &Test) -> i32 {
    // Before: the probe's child would be the new namespace's init.
    System::detect().expect("this machine can be probed");
    if let Err(reason) = namespace::unshare_pids() {
        eprintln!("no PID namespace of its own can be had: {reason}");
        return SKIPPED;
    }
    let (status, said) = again(&test.name, &[(INIT, "1")]);
    eprint!("{said}");
    status.and_then(|status| status.code()).unwrap_or_else(|| {
        eprintln!("process 1: {status:?}");
        1
    })
}
