//! [`Command::input`]: all that the child reads, given before it is started.

use super::Command;
use crate::input::Input;
use steadfast_core::{Error, PlanStdio, Result};

impl Command {
    /// Gives it all that it is to read from its stdin: bytes, or what a reader gives ([`Input::reader`]). It is written while the output is read,
    /// so neither side can block the other. This is for the calls that run the command to its end: [`output`](Command::output),
    /// [`output_timeout`](Command::output_timeout), [`capture`](Command::capture), [`status`](Command::status), those of
    /// [`Pipeline`](crate::Pipeline), and their async counterparts. Who [spawns](Command::spawn) writes to [`Child::stdin`](crate::Child::stdin).
    ///
    /// ```
    /// use steadfast::Command;
    /// let output = Command::new("tr").args(["a-z", "A-Z"]).input("hello").output()?;
    /// assert_eq!(output.stdout, b"HELLO");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// A child need not read it all: if it closes its stdin or exits, the rest is dropped, which is no error, and no `SIGPIPE`. If the time of the call
    /// is up first, the child's stdin is closed; ask for it to be [killed](crate::Capture::kill_on_timeout) then. If the call ends before
    /// all was written in any other way, the child is killed first, since it must not take a part for the whole: when the reader fails, and the
    /// call returns its error, or panics, and when the future of an async call is dropped.
    pub fn input(&mut self, input: impl Into<Input>) -> &mut Command {
        self.input = Some(input.into());
        self
    }

    /// Its stdin, where a call runs it to its end: a pipe for its input or, without one, this.
    pub(crate) fn stdin_or(&self, default: PlanStdio) -> PlanStdio {
        if self.input.is_some() { PlanStdio::Piped } else { default }
    }

    /// What it is to read from its stdin, if it was given that.
    pub(crate) fn own_input(&self) -> Option<&Input> {
        self.input.as_ref()
    }

    /// An input for which nobody would write, or a stdin beside it.
    pub(super) fn check_input(&self, stdin: &PlanStdio) -> Result<()> {
        let number = |(to, _): &(i32, _)| *to == 0;
        let why = match (&self.input, &self.stdin) {
            (None, _) => return Ok(()),
            (Some(_), Some(_)) => "input and stdin: both are what the child reads: drop one",
            (Some(_), None) if self.attributes.as_ref().is_some_and(|a| a.fds.iter().any(number)) => {
                "input and fd 0: both are what the child reads: drop one"
            }
            (Some(_), None) if !matches!(stdin, PlanStdio::Piped) => {
                "input is written by the calls that run a command to its end: use output, capture or status, or stdin(Stdio::piped()) \
                 and write to the child's stdin"
            }
            (Some(_), None) => return Ok(()),
        };
        Err(Error::InvalidPlan { program: self.program.clone(), why: why.into() })
    }
}
