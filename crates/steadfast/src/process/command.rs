//! [`Command`]: how std starts it.

use super::Child;
use crate::twin;
use crate::{ExitStatus, Output};
use std::io;

/// The face of std.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a name and nothing else")]
pub struct Std;

/// `std::process::Command`, with the attributes of [`steadfast::Command`](crate::Command).
///
/// ```
/// use steadfast::process::Command;
/// let output = Command::new("sh").args(["-c", "umask"]).umask(0o027).output()?;
/// assert_eq!(output.stdout, b"0027\n");
/// # std::io::Result::Ok(())
/// ```
pub type Command = twin::Command<Std>;

impl Command {
    /// Starts it; returns once the program runs.
    ///
    /// # Errors
    /// The errno of the step that failed, such as `ENOENT` for a missing program, which is `NotFound`. `InvalidInput` without an errno for
    /// what no program can be given: a NUL byte, or two settings that contradict each other. As
    /// [`steadfast::Command::spawn`](crate::Command::spawn).
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.checked(crate::Command::spawn).map(Child::from)
    }

    /// Starts it, waits for it and gives its status.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.checked(crate::Command::status)
    }

    /// Starts it, reads its stdout and stderr to the end, and waits for it.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.checked(crate::Command::output)
    }
}
