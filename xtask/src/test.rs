//! `cargo xtask test`: everything that this machine can test, and a list of what it cannot.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// Runs all tests that this machine can run; lists what was skipped, and why
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose names contain this
    filter: Option<String>,
}

/// What came out of all the runs.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// Runs them; exit code 1 if one fails, or if nothing ran.
pub fn run(args: &Args) -> ExitCode {
    let mut tally = Tally::default();
    // The tests of the programs start them.
    // All but the one that is there for what others do, and has their libraries to build.
    let all = ["--workspace", "--exclude", "steadfast-hazards", "--all-features"];
    let built = cargo(&mut tally, &[&["build"], &all[..], &["--bins", "--examples"]].concat(), None);
    let filter = args.filter.as_deref();
    let all = [&["test"], &all[..], &["--no-fail-fast"]].concat();
    let tested = built && cargo(&mut tally, &all, filter);
    summary(&tally, filter);
    if built && tested && tally.failed.is_empty() && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs cargo, shows what it says, and counts.
fn cargo(tally: &mut Tally, args: &[&str], filter: Option<&str>) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let child = Command::new(cargo).args(args).args(filter).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            return false;
        }
    };
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tally.count(&line);
        }
    }
    child.wait().is_ok_and(|status| status.success())
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.passed + self.failed.len() + self.skipped.len() == 0
    }

    /// Reads a line such as `test NAME ... ok`, of std's runner or of libtest-mimic's.
    fn count(&mut self, line: &str) {
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            return;
        };
        let name = name.trim_end();
        match outcome {
            "ok" => self.passed += 1,
            "FAILED" => self.failed.push(name.to_owned()),
            outcome => {
                if let Some(reason) = outcome.strip_prefix("ignored") {
                    let reason = reason.trim_start_matches([' ', ',', '(']).trim_end_matches(')');
                    self.skipped.push(format!("{name}: because {reason}"));
                }
            }
        }
    }
}

fn summary(tally: &Tally, filter: Option<&str>) {
    println!("\n────────────────────────────────────────");
    for skipped in &tally.skipped {
        println!("skipped: {skipped}");
    }
    for failed in &tally.failed {
        println!("FAILED: {failed}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed.len(), tally.skipped.len());
    if let (Some(filter), true) = (filter, tally.is_empty()) {
        println!("no test has a name that contains `{filter}`: the names are those behind `test ` when all are run");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_never_a_pass() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a promise: kept       ... ok",
            "test a promise: skipped    ... ignored (no such thing)",
            "test other ... ignored, on purpose",
            "test bad ... FAILED",
            "test result: ok. 2 passed; 0 failed",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed), (2, vec!["bad".to_owned()]));
        assert_eq!(tally.skipped, ["a promise: skipped: because no such thing", "other: because on purpose"]);
    }
}
