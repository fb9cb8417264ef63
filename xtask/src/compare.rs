//! `cargo xtask bench`, `cargo xtask hazards` and `cargo xtask twins`: build the comparisons with optimisation (or by the profile that
//! `STEADFAST_PROFILE` names) and run one. They are crates of their own, so that
//! nobody who does not compare builds the libraries that we compare with.

use std::process::{Command, ExitCode};

/// Measures steadfast against the limit and against its peers
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Which benchmark, and its options: `spawn --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BENCH")]
    words: Vec<String>,
}

/// Tries the dangers that users of processes do not see on steadfast and its peers
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct HazardArgs {
    /// Its options: `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    words: Vec<String>,
}

/// Moves published crates from std's processes to ours by their `use` lines, builds and tests them
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct TwinArgs {
    /// Its options: `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    words: Vec<String>,
}

/// Runs it; its exit code.
pub fn run(args: &Args) -> ExitCode {
    run_package("steadfast-bench", &args.words)
}

/// Runs it; its exit code.
pub fn run_hazards(args: &HazardArgs) -> ExitCode {
    run_package("steadfast-hazards", &args.words)
}

/// Runs it; its exit code.
pub fn run_twins(args: &TwinArgs) -> ExitCode {
    run_package("steadfast-twins", &args.words)
}

fn run_package(package: &str, words: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Who only wants to see that each cell runs takes a profile that is built sooner.
    let profile = std::env::var_os("STEADFAST_PROFILE").unwrap_or_else(|| "release".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--profile"]).arg(profile).args(["--package", package, "--"]).args(words);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
