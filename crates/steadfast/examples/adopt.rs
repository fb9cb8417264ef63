//! Finds a process by its PID and waits for it to end.
//!
//! `cargo run -p steadfast --example adopt -- PID`; without a PID it starts a `sleep` through std and adopts that.
//!
//! A parent waits for the status. Whoever is none waits until the process is gone, that is until its parent has waited for it; then the
//! kernel tells the status to whoever has a pidfd (Linux 6.15).

use std::process::ExitCode;
use steadfast::{Error, ErrorKind, Process, System};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adopt: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let process = match std::env::args().nth(1) {
        Some(pid) => Process::find(pid.parse()?)?,
        None => {
            let child = std::process::Command::new("sleep").arg("0.2").spawn();
            let child = child.expect("there is a program `sleep` on every system");
            Process::try_from(child)?
        }
    };
    println!("waiting for {} by {}", process.pid(), System::current()?.backend_name());
    match process.wait() {
        Ok(status) => println!("{}: {status}", process.pid()),
        Err(error) if error.kind() == ErrorKind::NoChild => println!("{}: {}", process.pid(), process.wait_gone()?),
        Err(error) => return Err(error),
    }
    Ok(())
}
