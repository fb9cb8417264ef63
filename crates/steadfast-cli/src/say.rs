//! Text and JSON, progress, exit codes.

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;
use steadfast::ExitStatus;

/// The time was up, as timeout(1) has it.
pub(crate) const TIMED_OUT: u8 = 124;
/// This program has failed, and not the command.
pub(crate) const FAILED: u8 = 125;
/// The command is there, and cannot be executed.
pub(crate) const CANNOT_INVOKE: u8 = 126;
/// There is no such command.
pub(crate) const NOT_FOUND: u8 = 127;
/// What a shell adds to the number of the signal that has ended a command.
pub(crate) const BY_SIGNAL: u8 = 128;

pub(crate) type Outcome<T = u8> = Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON value
    Json,
}

/// What clap has to say: help and version are no errors, and else this program has failed.
pub(crate) fn refuse(error: &clap::Error) -> ! {
    // Who cannot be told has the exit code.
    _ = error.print();
    std::process::exit(if error.use_stderr() { FAILED.into() } else { 0 })
}

pub(crate) fn complain(what: impl Display) {
    tell(&format!("steadfast: {what}"));
}

/// A line to stderr. If that is full, or nobody reads it, the exit code still tells; eprintln! would panic, and that have a code of its own.
pub(crate) fn tell(line: &str) {
    _ = anstream::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What other programs have written, in one line, and with nothing that a terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// To stdout. A reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> Outcome<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        answer => Ok(answer?),
    }
}

pub(crate) fn print_json(value: &Value) -> Outcome<()> {
    print(&format!("{value}\n"))
}

/// What a shell would say of it.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => BY_SIGNAL + signal as u8,
        (None, None) => FAILED,
    }
}

/// What is waited for, and since when; on a terminal only, and gone with the value.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn of(what: String) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
