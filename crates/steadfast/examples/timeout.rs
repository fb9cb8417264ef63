//! Runs a command and kills it if it has not ended in time.
//!
//! `cargo run -p steadfast --example timeout -- 2.5 sleep 60`
//!
//! Exits with the command's own code; with 124 if the time was up; with 125 if something else failed, 127 if there is no such command.

use clap::Parser;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::{Command, Errno, Error, ExitStatus, Signal};

#[derive(Parser)]
#[command(about = "Runs a command and ends it if it has not ended in time")]
struct Args {
    /// Seconds that it may take; fractions are fine
    seconds: f64,
    /// The signal that ends it, such as TERM or 15; after 2 seconds more, SIGKILL
    #[arg(short, long, default_value = "TERM")]
    signal: Signal,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("timeout: {error}");
            ExitCode::from(if error.errno() == Some(Errno::NOENT) { 127 } else { 125 })
        }
    }
}

fn run(args: &Args) -> Result<u8, Error> {
    let time = Duration::try_from_secs_f64(args.seconds).unwrap_or(Duration::MAX);
    let child = Command::new(&args.command[0]).args(&args.command[1..]).spawn()?;
    if let Some(status) = child.wait_timeout(time)? {
        return Ok(exit_code(status));
    }
    // It may end by itself between these lines. Then the signal finds nobody, and certainly no stranger.
    match child.signal(args.signal) {
        Err(Error::ProcessDone { .. }) => {}
        answer => answer?,
    }
    if child.wait_timeout(Duration::from_secs(2))?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(124)
}

/// As a shell reports it: 128 and the signal.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}
