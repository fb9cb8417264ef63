//! Where a test runs: this program, started again for each of them.

use crate::Test;
use libtest_mimic::{Completion, Failed, Trial};
use std::process::{Command, Output, Stdio};
use xtask::namespace;

/// Tells the program started again which test it is; and, in a namespace, that it is process 1 there.
const TEST: &str = "STEADFAST_TEST";
const INIT: &str = "STEADFAST_TEST_INIT";
const PASSED: i32 = 0;
const SKIPPED: i32 = 77;

/// What became of a test that did not panic.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Here,
    Namespace,
}

/// The test, as the runner sees it: starts this program again, and reads its exit code.
pub(crate) fn trial(test: Test) -> Trial {
    let name = test.name.clone();
    Trial::ignorable_test(name, move || {
        let output = again(&test.name, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(PASSED) => Ok(Completion::Completed),
            Some(SKIPPED) => {
                let reason = said.lines().last().unwrap_or("no reason given");
                Ok(Completion::Ignored { reason: Some(reason.to_owned()) })
            }
            _ => {
                let heard = String::from_utf8_lossy(&output.stdout);
                Err(Failed::from(format!("{}\n{heard}{said}", output.status)))
            }
        }
    })
}

fn again(test: &str, env: &[(&str, &str)]) -> Output {
    let own = std::env::current_exe().expect("a program knows where it is");
    let mut command = Command::new(own);
    command.env(TEST, test).env_remove("STEADFAST_BACKEND").envs(env.iter().copied());
    command.stdin(Stdio::null()).output().expect("this program can be started again")
}

/// Performs the test that the environment names; `None` if it names none.
pub(crate) fn perform_if_asked(tests: &[Test]) -> Option<i32> {
    let name = std::env::var(TEST).ok()?;
    let test = tests.iter().find(|test| test.name == name).expect("the runner names tests that there are");
    if test.place == Place::Namespace {
        if std::env::var_os(INIT).is_none() {
            return Some(leave_namespace(test));
        }
        namespace::mount_proc().expect("process 1 of a namespace of its own may mount /proc");
    }
    Some(match (test.check)() {
        Outcome::Passed => PASSED,
        Outcome::Skipped(reason) => {
            eprintln!("{reason}");
            SKIPPED
        }
    })
}

fn leave_namespace(test: &Test) -> i32 {
    if let Err(reason) = namespace::unshare_pids() {
        eprintln!("no PID namespace of its own can be had: {reason}");
        return SKIPPED;
    }
    let output = again(&test.name, &[(INIT, "1")]);
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.code().unwrap_or_else(|| {
        eprintln!("process 1: {}", output.status);
        1
    })
}
