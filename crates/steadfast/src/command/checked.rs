//! [`Command::checked`]: whether an end without success is an error.

use super::Command;
use crate::output::{Captured, CapturedStream};
use crate::{ExitStatus, Output, Stdio};
use steadfast_core::{Error, PlanStdio, Result};

impl Command {
    /// Whether the command must succeed: with `true`, the calls that run it to its end return [`Error::Unsuccessful`] unless it exits with 0, and
    /// is not ended for its time or its limit ([`kill_on_limit`](crate::Capture::kill_on_limit)). The error has the program with its arguments, the
    /// status, and the last lines of stderr if that was captured. The calls are [`status`](Command::status), [`output`](Command::output), [`output_timeout`](Command::output_timeout),
    /// [`capture`](Command::capture), those of [`Pipeline`](crate::Pipeline), and their async counterparts.
    ///
    /// ```
    /// use steadfast::Command;
    /// let error = Command::new("sh").args(["-c", "echo no such branch >&2; exit 3"]).checked(true).output().unwrap_err();
    /// assert_eq!(error.to_string(), r#"`"sh" "-c" "echo no such branch >&2; exit 3"`: exit status: 3: no such branch"#);
    /// ```
    pub fn checked(&mut self, must_succeed: bool) -> &mut Command {
        self.checked = must_succeed;
        self
    }

    pub(crate) fn is_checked(&self) -> bool {
        self.checked
    }

    /// Whether what it says on stderr is in its stdout.
    pub(crate) fn is_one_stream(&self) -> bool {
        matches!(self.stderr.as_ref().and_then(Stdio::plan), Some(PlanStdio::Stdout))
    }

    /// Whether it must be run by a call that looks after it to its end.
    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn is_looked_after(&self) -> bool {
        self.checked || self.input.is_some()
    }

    pub(crate) fn check_status(&self, status: ExitStatus) -> Result<ExitStatus> {
        match self.checked && !status.success() {
            true => Err(self.unsuccessful(Some(status), "", &[])),
            false => Ok(status),
        }
    }

    pub(crate) fn check_output(&self, output: Output) -> Result<Output> {
        match self.checked && !output.status.success() {
            true => Err(self.unsuccessful(
                Some(output.status),
                "",
                if self.is_one_stream() { &output.stdout } else { &output.stderr },
            )),
            false => Ok(output),
        }
    }

    pub(crate) fn check(&self, captured: Captured) -> Result<Captured> {
        let Captured { status, timed_out, over_limit, stdout, stderr, .. } = &captured;
        let said = if self.is_one_stream() { stdout } else { stderr };
        self.check_end(*status, cause(*timed_out, *over_limit), &last(said))?;
        Ok(captured)
    }

    pub(crate) fn check_end(&self, status: Option<ExitStatus>, cause: &'static str, said: &[u8]) -> Result<()> {
        match self.checked && (!cause.is_empty() || !status.is_some_and(|status| status.success())) {
            true => Err(self.unsuccessful(status, cause, said)),
            false => Ok(()),
        }
    }

    pub(crate) fn unsuccessful(&self, status: Option<ExitStatus>, cause: &'static str, stderr: &[u8]) -> Error {
        let words = std::iter::once(&self.program).chain(&self.args).map(|word| format!("{word:?}"));
        Error::Unsuccessful { command: words.collect::<Vec<_>>().join(" "), status, cause, stderr: last_lines(stderr) }
    }
}

/// Why it was ended, if it was.
pub(crate) fn cause(timed_out: bool, over_limit: bool) -> &'static str {
    match (timed_out, over_limit) {
        (true, _) => "its time was up",
        (_, true) => "it wrote more than its limit",
        _ => "",
    }
}

/// The last that is there without a gap.
pub(crate) fn last(stream: &CapturedStream) -> Vec<u8> {
    if stream.omitted() == 0 || stream.tail().is_empty() { stream.to_vec() } else { stream.tail().to_vec() }
}

const LINES: usize = 10;
const BYTES: usize = 2000;

/// At most so many, and so long, as fit into a message.
fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(BYTES)..]);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_last_lines() {
        let many: String = (1..=50).map(|n| format!("line {n}\n")).collect();
        assert_eq!(
            last_lines(many.as_bytes()).lines().collect::<Vec<_>>(),
            (41..=50).map(|n| format!("line {n}")).collect::<Vec<_>>()
        );
        assert_eq!(last_lines(&[b'x'; 5000]).len(), BYTES);
        assert_eq!((last_lines(b""), last_lines(b"\n\n"), last_lines(b"a\xff\n\n")), ("".into(), "".into(), "a\u{fffd}".into()));
    }
}
