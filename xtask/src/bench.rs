//! `cargo xtask bench`: builds the benchmarks with optimisation and runs one. They are a crate of their own, so that nobody who
//! does not measure builds the libraries that we compare with.

use std::process::{Command, ExitCode};

/// Measures steadfast against the limit and against its peers
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Which benchmark, and its options: `spawn --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BENCH")]
    words: Vec<String>,
}

/// Runs it; its exit code.
pub fn run(args: &Args) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = ["run", "--quiet", "--release", "--package", "steadfast-bench", "--"];
    match Command::new(cargo).args(words).args(&args.words).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
