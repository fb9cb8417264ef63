//! [`Script`]: what a simulated program does, step by step.

use std::sync::Arc;
use std::time::Duration;
use steadfast_core::Signal;

/// What a simulated program does. It reads from top to bottom; where it ends without [`exit`](Script::exit), the program exits with
/// 0, or the handler returns.
///
/// ```
/// use steadfast_mock::Script;
/// use steadfast_core::Signal;
/// use std::time::Duration;
/// let stubborn = Script::new().ignore(Signal::TERM).write_stdout("ready\n").sleep(Duration::from_secs(9)).exit(3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Sleep(Duration),
    Compute(Duration),
    Write(Stream, Arc<[u8]>),
    ReadStdinToEnd,
    On(Signal, Disposition),
    Block(Signal),
    Unblock(Signal),
    Exit(i32),
    Raise(Signal),
    RunForever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Debug)]
pub(crate) enum Disposition {
    Default,
    Ignore,
    Handle(Script),
}

impl Script {
    /// A program that exits with 0 at once.
    pub fn new() -> Script {
        Script::default()
    }

    fn step(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// Waits, using no CPU. A handled signal is taken meanwhile, and the rest of the time is waited after it.
    pub fn sleep(self, time: Duration) -> Script {
        self.step(Step::Sleep(time))
    }

    /// Works: as `sleep`, and the time counts as user CPU time.
    pub fn compute(self, time: Duration) -> Script {
        self.step(Step::Compute(time))
    }

    /// Writes to stdout. Goes nowhere unless stdout is piped.
    pub fn write_stdout(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stdout, bytes.as_ref().into()))
    }

    /// Writes to stderr. Goes nowhere unless stderr is piped.
    pub fn write_stderr(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stderr, bytes.as_ref().into()))
    }

    /// Reads stdin until the other end is closed. Returns at once unless stdin is piped.
    pub fn read_stdin_to_end(self) -> Script {
        self.step(Step::ReadStdinToEnd)
    }

    /// From here on, runs `handler` when the signal comes, then goes on where it was. `SIGKILL` and `SIGSTOP` cannot be handled.
    pub fn on(self, signal: Signal, handler: Script) -> Script {
        self.step(Step::On(signal, Disposition::Handle(handler)))
    }

    /// From here on, ignores the signal; not `SIGKILL` and `SIGSTOP`.
    pub fn ignore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Ignore))
    }

    /// From here on, the signal has its default action again.
    pub fn restore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Default))
    }

    /// From here on, keeps the signal pending; not `SIGKILL` and `SIGSTOP`.
    pub fn block(self, signal: Signal) -> Script {
        self.step(Step::Block(signal))
    }

    /// From here on, takes the signal, a pending one at once.
    pub fn unblock(self, signal: Signal) -> Script {
        self.step(Step::Unblock(signal))
    }

    /// Exits with the low 8 bits of `code`.
    pub fn exit(self, code: i32) -> Script {
        self.step(Step::Exit(code))
    }

    /// Ends by `SIGABRT`, with a core dump.
    pub fn abort(self) -> Script {
        self.step(Step::On(Signal::ABRT, Disposition::Default)).step(Step::Raise(Signal::ABRT))
    }

    /// Sends itself a signal.
    pub fn raise(self, signal: Signal) -> Script {
        self.step(Step::Raise(signal))
    }

    /// Waits for signals, for ever.
    pub fn run_forever(self) -> Script {
        self.step(Step::RunForever)
    }
}
