//! `cargo xtask mutants`: breaks the code that the promise rests on, in one place after the other, and asks whether a test fails.
//!
//! What breaks it is cargo-mutants. What is said here is which files count, and which tests judge each of them: all of them would take a
//! minute for each of some six hundred mutants. What survives and may is in `.cargo/mutants.toml`, with the reason.

use std::process::{Command, ExitCode};

/// Breaks the code that the promise rests on, one place after the other: a list of what no test notices (hours; takes cargo-mutants)
#[derive(clap::Args)]
pub struct Args {
    /// Which part; all of them, if none is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// What else cargo-mutants is to be told: `--list`, `--shard 1/8`, `--file GLOB`, `--re NAME`
    #[arg(last = true, value_name = "OPTION")]
    more: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The state machine behind a handle
    Core,
    /// The pidfd backend
    Pidfd,
    /// The PID backend
    PidLegacy,
    /// What the engine does of waiting, and of the privileges of a child
    Engine,
}

/// How a part is examined.
struct Plan {
    files: &'static [&'static str],
    /// The tests that judge it, one list after the other: whom the first catch the others need not.
    tests: &'static [Tests],
    /// Seconds after which a mutant that still runs counts as caught: it waits for ever.
    patience: &'static str,
}

/// Of these packages, and what `cargo test` is told.
struct Tests {
    packages: &'static [&'static str],
    args: &'static [&'static str],
}

impl Part {
    const ALL: [Part; 4] = [Part::Core, Part::Pidfd, Part::PidLegacy, Part::Engine];

    fn name(self) -> &'static str {
        match self {
            Part::Core => "core",
            Part::Pidfd => "pidfd",
            Part::PidLegacy => "pid-legacy",
            Part::Engine => "engine",
        }
    }

    fn plan(self) -> Plan {
        match self {
            Part::Core => Plan {
                files: &["crates/steadfast-core/src/process/**"],
                tests: &[
                    Tests {
                        packages: &["steadfast-core", "steadfast-conformance"],
                        args: &["--lib", "--test", "answers", "--test", "last_one_out", "--test", "toy"],
                    },
                    Tests { packages: &["steadfast-tests"], args: &["--test", "promises", "--", "waiting", "--skip", "mock"] },
                ],
                patience: "30",
            },
            Part::Pidfd => Plan {
                files: &["crates/steadfast-pidfd/src/**"],
                tests: const {
                    &[
                        Tests { packages: &["steadfast-tests", "steadfast-pidfd"], args: &contract(": pid-legacy") },
                        Tests { packages: &["steadfast-tests"], args: &promises(": pid-legacy") },
                    ]
                },
                patience: "120",
            },
            Part::PidLegacy => Plan {
                files: &["crates/steadfast-pid-legacy/src/**"],
                tests: const {
                    &[
                        Tests { packages: &["steadfast-tests", "steadfast-pid-legacy"], args: &contract(": pidfd") },
                        Tests { packages: &["steadfast-tests"], args: &promises(": pidfd") },
                    ]
                },
                patience: "120",
            },
            Part::Engine => Plan {
                files: &[
                    "crates/steadfast-linux/src/wait.rs",
                    "crates/steadfast-linux/src/spawn/dumpable.rs",
                    "crates/steadfast-linux/src/spawn/child/capabilities.rs",
                    "crates/steadfast-linux/src/spawn/child/credentials.rs",
                ],
                tests: &[Tests {
                    packages: &["steadfast-tests", "steadfast-linux"],
                    args: &[
                        "--lib", "--tests", "--", "--skip", "beside", "--skip", "mock", "--skip", "probe", "--skip", "straits",
                    ],
                }],
                patience: "120",
            },
        }
    }
}

/// The contract on one backend, without that of the other.
const fn contract(other: &'static str) -> [&'static str; 9] {
    ["--lib", "--test", "promises", "--", "contract", "--skip", "mock", "--skip", other]
}

/// All promises on it that take no more than some seconds.
#[rustfmt::skip]
const fn promises(other: &'static str) -> [&'static str; 30] {
    [
        "--lib", "--test", "promises", "--",
        "--skip", "beside", "--skip", "mock", "--skip", "probe", "--skip", "straits", "--skip", "attribute", "--skip", "like std",
        "--skip", "same play", "--skip", "hostile", "--skip", "30,000", "--skip", "examples", "--skip", "storm", "--skip", "races",
        "--skip", other,
    ]
}

/// Runs cargo-mutants on each part; its exit code is not 0 if anything survives.
pub fn run(args: &Args) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let parts = if args.parts.is_empty() { &Part::ALL[..] } else { &args.parts };
    let mut all_caught = true;
    for part in parts {
        let plan = part.plan();
        let output = crate::tidy::root().join("target/mutants").join(part.name());
        if let Err(error) = std::fs::create_dir_all(&output) {
            eprintln!("{}: cannot be made: {error}", output.display());
            return ExitCode::FAILURE;
        }
        for (pass, tests) in plan.tests.iter().enumerate() {
            let mut command = Command::new(&cargo);
            command.args(["mutants", "--baseline", "skip", "--build-timeout", "600", "--timeout", plan.patience]);
            command.arg("--output").arg(&output);
            for file in plan.files {
                command.args(["--file", file]);
            }
            for package in tests.packages {
                command.args(["--test-package", package]);
            }
            if pass > 0 {
                command.arg("--iterate");
            }
            command.args(&args.more).arg("--").args(tests.args);
            let is_last = pass + 1 == plan.tests.len();
            match command.status() {
                Ok(status) => all_caught &= status.success() || !is_last,
                Err(error) => {
                    eprintln!("cargo cannot be started: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
