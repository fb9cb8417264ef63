//! Runs the commands that come on stdin, a line each, so many at a time:
//! `printf 'sleep 1\nmake test\n' | cargo run -p steadfast --features mock --example job_queue -- --jobs 4 --timeout 60`
//!
//! Prints what each has written and how it ended, in their order. `tests.rs` shows what the simulated kernel finds in code like this.

mod queue;
#[cfg(test)]
mod tests;

use clap::Parser;
use queue::{Outcome, Queue};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;
use steadfast::{Command, Error};

#[derive(Parser)]
#[command(about = "Runs the commands on stdin, a line each, so many at a time")]
struct Args {
    /// How many run at once
    #[arg(short, long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Seconds after which one is killed; fractions are fine
    #[arg(short, long, default_value_t = 3600.0)]
    timeout: f64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("job_queue: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all have succeeded.
fn run(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let queue = Queue::start(args.jobs.into(), Duration::try_from_secs_f64(args.timeout)?)?;
    let mut tickets = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(&line);
        tickets.push((line, queue.submit(command)));
    }
    let mut all_well = true;
    for (line, ticket) in tickets {
        let outcome = ticket.wait();
        all_well &= matches!(&outcome, Ok(Outcome::Ended { status, .. }) if status.success());
        show(&line, outcome)?;
    }
    queue.finish();
    Ok(all_well)
}

fn show(line: &str, outcome: Result<Outcome, Error>) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match outcome {
        Ok(Outcome::Ended { status, stdout: written }) => {
            stdout.write_all(&written)?;
            writeln!(stdout, "{status}: {line}")
        }
        Ok(Outcome::TimedOut) => writeln!(stdout, "killed, its time was up: {line}"),
        Err(error) => writeln!(stdout, "{error}: {line}"),
    }
}
