//! Finds a process by its PID and waits for it to end.
//!
//! `cargo run -p steadfast --example adopt -- PID`; without a PID it starts a `sleep` through std and adopts that.
//!
//! Only a parent learns how its child ended. For any other process there is `with_handle`: a pidfd becomes readable when its
//! process ends, whoever the parent is.

use rustix::event::{PollFd, PollFlags, poll};
use std::process::ExitCode;
use steadfast::{Error, ErrorKind, Pid, Process, System};

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
        Err(error) if error.kind() == ErrorKind::NoChild => wait_for_a_stranger(&process, process.pid())?,
        Err(error) => return Err(error),
    }
    Ok(())
}

fn wait_for_a_stranger(process: &Process, pid: Pid) -> Result<(), Error> {
    let ready = process.with_handle(|pidfd| {
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        // Interrupted by a signal: once more.
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
    });
    match ready {
        Ok(()) | Err(Error::ProcessDone { .. }) => println!("{pid}: gone; only its parent knows how it ended"),
        Err(error) => return Err(error),
    }
    Ok(())
}
