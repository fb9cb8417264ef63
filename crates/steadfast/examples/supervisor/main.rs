//! Keeps a program running: `cargo run -p steadfast --features mock --example supervisor -- PROGRAM [ARG…]`
//!
//! Restarts it with growing pauses when it ends, gives up when it fails too often, and stops it gently when its own stdin ends (or
//! with Ctrl-D). `tests.rs` shows what the simulated kernel finds in code like this.

#[cfg(test)]
mod scenario;
mod supervisor;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;
use steadfast::Command;
use supervisor::{Ended, Policy, Supervisor};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("supervisor: give a program to keep running, and its arguments");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    match supervise(command) {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::GaveUp(status)) => {
            let last = status.map_or("it could not be started".to_owned(), |status| status.to_string());
            eprintln!("supervisor: it fails too often; the last time: {last}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(command: Command) -> Result<Ended, steadfast::Error> {
    let mut rng = fastrand::Rng::new();
    let supervisor = Arc::new(Supervisor::new(command, Policy::default(), move || rng.f64())?);
    let stopper = Arc::clone(&supervisor);
    // Not joined: it may wait for its stdin for ever.
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        if let Err(error) = stopper.stop() {
            eprintln!("supervisor: {error}");
        }
    });
    supervisor.run()
}
