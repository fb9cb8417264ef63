//! Runs a command with no network, one directory that it can write, no way to more privileges, and limits, in a job that ends with it:
//! `cargo run -p steadfast --features mock --example sandbox -- --writable target -- cargo build --offline`
//!
//! `sandbox.rs` is what a program takes over; `tests.rs` runs it on simulated kernels, also on one without Landlock.

mod rules;
mod sandbox;
#[cfg(test)]
mod tests;

use clap::Parser;
use sandbox::{Ended, Sandbox};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::System;

#[derive(Parser)]
#[command(about = "Runs a command in walls: no network, one writable directory, no new privileges, limits, in a job")]
struct Args {
    /// The one directory that it can write, and what is beneath
    #[arg(short, long, default_value = ".")]
    writable: PathBuf,
    /// The most memory that all its processes may use together, in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u64,
    /// The most processes and threads at one time
    #[arg(long, default_value_t = 256)]
    processes: u64,
    /// Seconds after which all of it is killed; fractions are fine
    #[arg(long, default_value_t = 3600.0)]
    time: f64,
    /// Goes without what this machine does not have, and says what that is
    #[arg(long)]
    if_possible: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let rules = rules::one_writable(&args.writable, args.if_possible)?;
    if rules.is_none() {
        eprintln!("sandbox: without Landlock: it can write wherever its user can");
    }
    let sandbox = Sandbox {
        rules,
        memory: args.memory << 20,
        processes: args.processes,
        time: Duration::try_from_secs_f64(args.time)?,
        if_possible: args.if_possible,
    };
    let report = sandbox.run(&System::current()?, &args.command)?;
    report.missing.iter().for_each(|missing| eprintln!("sandbox: without: {missing}"));
    Ok(match report.ended {
        Ended::ByItself(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(128)),
        Ended::OutOfTime => {
            eprintln!("sandbox: its time was up");
            ExitCode::from(124)
        }
    })
}
