//! A small shell with job control: pipelines, `&`, Ctrl-Z, Ctrl-C, `jobs`, `fg`, `bg`, `$?`.
//! `cargo run -p steadfast --features mock --example shell`
//!
//! | file | holds |
//! | --- | --- |
//! | `line.rs` | what a line says |
//! | `job.rs` | the processes of one line, in one process group; how they stand |
//! | `shell.rs` | what the shell has started, and what it does with a line |
//! | `tests.rs` | the same without a terminal, in many orders, in the simulated kernel |
//!
//! It has no handler and no `waitpid(-1)`: that a job has stopped it hears by `wait_change`, of its own children alone.

mod job;
mod line;
mod shell;
#[cfg(test)]
mod tests;

use nix::sys::signal::{SigSet, Signal};
use shell::{Shell, Then};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shell: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // The keys are for whoever is in the foreground; while the shell itself is, they only empty the line. Blocked, and not ignored: what is ignored
    // its children would ignore too. They get an empty mask.
    let keys = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
    keys.into_iter().collect::<SigSet>().thread_block()?;
    let terminal = io::stdin().is_terminal().then(|| File::options().read(true).write(true).open("/dev/tty")).transpose()?;
    let mut shell = Shell::new(terminal, io::stdout());
    loop {
        shell.tell()?;
        print!("$ ");
        io::stdout().flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 || shell.execute(&line)? == Then::Exit {
            return Ok(());
        }
    }
}
