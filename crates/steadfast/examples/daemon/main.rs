//! Starts and stops a daemon that is known by a pidfile:
//! `cargo run -p steadfast --features mock --example daemon -- --pidfile /tmp/web.pid start python3 -m http.server`
//!
//! The pidfile outlives the daemon, and the number in it may be somebody else's by then. A `Pidfile` names the process and not the number. `tests.rs` shows
//! what the simulated kernel finds where a number is used.

mod controller;
#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};
use controller::{Controller, Failure};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::Command;

#[derive(Parser)]
#[command(about = "Starts and stops a daemon that is known by a pidfile")]
struct Args {
    /// Where its PID is kept; in a directory that is emptied at boot, such as /run
    #[arg(long)]
    pidfile: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts it, unless it runs
    Start {
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Stops it: SIGTERM and, when the grace is over, SIGKILL
    Stop {
        /// Seconds; fractions are fine
        #[arg(long, default_value_t = 10.0)]
        grace: f64,
    },
    /// Says whether it runs; exit code 0 if it does, 3 if it does not
    Status,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("daemon: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let controller = Controller::new(args.pidfile)?;
    match args.what {
        What::Start { command } => {
            let mut daemon = Command::new(&command[0]);
            daemon.args(&command[1..]);
            println!("started: {}", controller.start(&daemon)?);
        }
        What::Stop { grace } => match controller.stop(Duration::try_from_secs_f64(grace).unwrap_or(Duration::MAX))? {
            true => println!("stopped"),
            false => println!("it was not running"),
        },
        What::Status => match controller.status()? {
            Some(pid) => println!("it runs: {pid}"),
            None => {
                println!("it does not run");
                return Ok(ExitCode::from(3));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
