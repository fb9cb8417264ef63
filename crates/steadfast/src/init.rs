//! [`run_under_init`]: orphans that are nobody's are reaped, and nobody else's children are.

use steadfast_core::Result;

/// Runs the rest of this program under an init of its own, which reaps all orphans: for who is process 1, as in a container, or wants the
/// descendants of its children not to be left to process 1 (`PR_SET_CHILD_SUBREAPER`). Call it first in `main`.
///
/// The process splits in two. The call returns in the child, which is the program from there on, with another PID; all that it starts is waited for by itself, as
/// ever, whether through this library or not. The parent has no other business: it reaps whoever becomes its child, which are the orphans; hands on
/// each signal that it gets, but for those that the terminal has sent to both; stops when the program is stopped; and ends when the program
/// does, with the same exit code or by the same signal (as process 1, which cannot: with 128 and its number). If it is killed, so is the
/// program.
///
/// It takes two processes because one cannot know: an orphan that comes to this process and a child that other code of the program has made with
/// fork(2) look the same, and whoever reaps the second takes away a status that somebody waits for.
///
/// ```no_run
/// use steadfast::Command;
/// fn main() -> steadfast::Result<()> {
///     steadfast::run_under_init()?;
///     let status = Command::new("server").status()?;      // what it leaves behind is reaped
///     std::process::exit(status.code().unwrap_or(1));
/// }
/// ```
///
/// # Errors
/// [`Error::System`](crate::Error::System), and nothing has changed: `EBUSY` if the program has more than one thread by now, for the child would have only
/// this one; what fork(2), prctl(2) and `/proc` say.
pub fn run_under_init() -> Result<()> {
    steadfast_linux::run_under_init()
}
