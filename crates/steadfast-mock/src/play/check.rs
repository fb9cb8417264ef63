//! [`Contradiction`]: what is wrong with a script that cannot mean what it says.

use super::script::Script;
use crate::model::step::{Disposition, Image, Kind, Step, Stream, Target};
use std::fmt;
use steadfast_core::Signal;

/// Why a script is refused: where, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The steps on the way there, counted from 1: a handler's or a loop's steps are counted anew.
    path: Vec<String>,
    reason: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join(", "), self.reason)
    }
}

impl std::error::Error for Contradiction {}

impl Script {
    /// Whether it can mean what it says.
    ///
    /// ```
    /// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
    /// use steadfast::mock::Script;
    /// let wrong = Script::new().run_forever().exit(3).check().unwrap_err();
    /// assert_eq!(wrong.to_string(), "step 2, exit(3): is never reached: step 1, run_forever, never ends");
    /// ```
    ///
    /// # Errors
    /// A [`Contradiction`]: a step behind one that never ends; a handler for `SIGKILL` or `SIGSTOP`, which cannot be handled, ignored
    /// or blocked; a stream that is used after it was closed; a loop for ever that takes no time.
    pub fn check(&self) -> Result<(), Contradiction> {
        check(&self.steps)
    }
}

pub(crate) fn check(steps: &[Step]) -> Result<(), Contradiction> {
    let mut closed: Vec<(Stream, usize)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let at = |index: usize| format!("step {}, {:?}", index + 1, steps[index]);
        let wrong = |reason: String| Err(Contradiction { path: vec![at(index)], reason });
        if let Some(before) = index.checked_sub(1).filter(|before| is_final(&steps[*before])) {
            return wrong(format!("is never reached: {}, never ends", at(before)));
        }
        let used = match step {
            Step::Write(stream, _) => Some(*stream),
            Step::ReadLine(_) | Step::ReadToEnd => Some(Stream::Stdin),
            _ => None,
        };
        if let Some((_, closing)) = closed.iter().find(|(stream, _)| Some(*stream) == used) {
            return wrong(format!("uses what {} has closed", at(*closing)));
        }
        match step {
            Step::On(signal, _) | Step::Block(signal) if matches!(*signal, Signal::KILL | Signal::STOP) => {
                return wrong(format!("{signal} cannot be handled, ignored or blocked (signal(7))"));
            }
            Step::Loop(Some(0), _) => return wrong("does nothing".into()),
            Step::Loop(None, body) if !body.iter().any(takes_time) => {
                return wrong("its body takes no time, so that the simulation would never come out of it".into());
            }
            Step::Close(stream) => closed.push((*stream, index)),
            _ => {}
        }
        let inside = match step {
            Step::On(_, Disposition::Handle(code))
            | Step::Loop(_, code)
            | Step::Spawn(Image(Kind::Script(code)))
            | Step::Exec(Image(Kind::Script(code))) => check(code),
            _ => Ok(()),
        };
        inside.map_err(|mut inner| {
            inner.path.insert(0, at(index));
            inner
        })?;
    }
    Ok(())
}

/// Whether nothing comes after it. (A loop may be left by a handler that exits, but not for the next step.)
fn is_final(step: &Step) -> bool {
    match step {
        Step::Exit(_) | Step::Abort | Step::RunForever | Step::Exec(_) | Step::Loop(None, _) => true,
        Step::Send(Target::Itself, signal) => *signal == Signal::KILL,
        _ => false,
    }
}

/// Whether it may wait for something, or leave the loop.
fn takes_time(step: &Step) -> bool {
    match step {
        Step::Sleep(time) | Step::Compute(time) => !time.is_zero(),
        Step::Loop(_, body) => body.iter().any(takes_time),
        Step::ReadLine(Some(_)) | Step::WaitForChild | Step::WaitForChildren => true,
        Step::Send(Target::Itself, signal) => *signal == Signal::STOP,
        step => is_final(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_contradiction_is_named_with_its_place() {
        let script = Script::new;
        let second = Duration::from_secs(1);
        for (wrong, message) in [
            (script().exit(1).sleep(second), "step 2, sleep(1s): is never reached: step 1, exit(1), never ends"),
            (script().ignore(Signal::KILL), "step 1, ignore(SIGKILL): SIGKILL cannot be handled, ignored or blocked (signal(7))"),
            (script().on(Signal::STOP, script()), "step 1, on(SIGSTOP): SIGSTOP cannot be"),
            (
                script().close_stdout().write_stdout("x"),
                "step 2, write_stdout(1 bytes): uses what step 1, close_stdout has closed",
            ),
            (script().close_stdin().read_stdin_line(), "step 2, read_stdin_line: uses what step 1, close_stdin has closed"),
            (script().loop_forever(script().write_stdout("x")), "step 1, loop_forever: its body takes no time"),
            (script().repeat(0, script()), "step 1, repeat(0): does nothing"),
            (
                script().sleep(second).on(Signal::TERM, script().abort().abort()),
                "step 2, on(SIGTERM), step 2, abort: is never reached: step 1, abort, never ends",
            ),
            (script().spawn(script().block(Signal::KILL)), "step 1, spawn(a script of 1 steps), step 1, block(SIGKILL): SIGKILL"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}\n{message}");
        }
        assert_eq!(script().loop_forever(script().repeat(2, script().sleep(second))).check(), Ok(()));
        assert_eq!(script().on(Signal::TERM, script().exit(0)).close_stdin().write_stdout("x").run_forever().check(), Ok(()));
    }
}
