//! Runs a tool for at most so long, as a coding agent does, and leaves nothing of it behind, whatever it has started:
//! `cargo run -p steadfast --features mock --example agent -- --limit 60 -- make test`
//!
//! `tests.rs` shows what the simulated kernel finds in code like this.

mod agent;
#[cfg(test)]
mod tests;

use agent::{Ended, Task};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::{Command, Error, Job, System};

#[derive(Parser)]
#[command(about = "Runs a tool for at most so long, and leaves nothing of it behind")]
struct Args {
    /// Seconds after which it is stopped; fractions are fine
    #[arg(short, long, default_value_t = 3600.0)]
    limit: f64,
    /// The tool and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    tool: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let system = System::current()?;
    let task = Task::new(&system, &Job::builder(), Duration::try_from_secs_f64(args.limit)?)?;
    let mut tool = Command::new(&args.tool[0]);
    let report = task.run(tool.args(&args.tool[1..]))?;
    if report.left > 0 {
        eprintln!("agent: {} processes that it had left behind were ended ({})", report.left, task.job());
    }
    Ok(match report.ended {
        Ended::ByItself(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(128)),
        Ended::OutOfTime => {
            eprintln!("agent: its time was up");
            ExitCode::from(124)
        }
        Ended::Cancelled => return Err(Box::new(Error::JobOver { containment: task.job().containment() })),
    })
}
