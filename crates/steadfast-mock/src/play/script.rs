//! [`Script`]: what a simulated program does, step by step.

use crate::model::step::{Code, Disposition, Image, Kind, Step, Stream, Target};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::Signal;

/// What a simulated program does, in steps from top to bottom. If it ends without [`exit`](Script::exit), the program exits with 0; a handler
/// returns.
///
/// ```
/// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
/// use steadfast::mock::Script;
/// use steadfast::Signal;
/// use std::time::Duration;
/// let seconds = Duration::from_secs;
/// let server = Script::new()
///     .on(Signal::HUP, Script::new().write_stdout("read my configuration again\n"))
///     .on(Signal::TERM, Script::new().sleep(seconds(2)).exit(0))
///     .spawn("worker")
///     .write_stdout("ready\n")
///     .run_forever();
/// ```
///
/// A script that contradicts itself is refused when the kernel is built; [`check`](Script::check) says what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

impl From<Script> for Image {
    fn from(script: Script) -> Image {
        Image(Kind::Script(script.code()))
    }
}

impl Script {
    /// A program that exits with 0 at once.
    pub fn new() -> Script {
        Script::default()
    }

    pub(crate) fn code(self) -> Code {
        self.steps.into()
    }

    fn step(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// Continues with the steps of another script.
    pub fn then(mut self, script: Script) -> Script {
        self.steps.extend(script.steps);
        self
    }

    /// What it takes until the program runs once it was spawned, as of one whose file is on a slow file system. Whoever spawns it waits so long; what
    /// the script does comes after that, wherever this stands in it.
    pub fn exec_takes(mut self, time: Duration) -> Script {
        self.steps.splice(0..0, [Step::Open(time), Step::Opened]);
        self
    }

    /// Sleeps, without using CPU time. If a signal is handled meanwhile, the rest of the time is slept after the handler.
    pub fn sleep(self, time: Duration) -> Script {
        self.step(Step::Sleep(time))
    }

    /// Uses this much user CPU time. It takes longer if the process is stopped or handles signals meanwhile.
    pub fn compute(self, time: Duration) -> Script {
        self.step(Step::Compute(time))
    }

    /// Uses so many bytes of memory more, until it ends or executes another program. If its job may not use so much
    /// ([`JobLimits::memory`](steadfast_core::JobLimits::memory)), the kernel kills the member that uses most.
    pub fn allocate(self, bytes: u64) -> Script {
        self.step(Step::Allocate(bytes))
    }

    /// Writes to stdout. It blocks while the pipe is full, and gets `SIGPIPE` if the pipe has no reader (pipe(7)). If stdout is not a pipe, the bytes
    /// are discarded.
    pub fn write_stdout(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stdout, bytes.as_ref().into()))
    }

    /// As [`write_stdout`](Script::write_stdout), to stderr.
    pub fn write_stderr(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stderr, bytes.as_ref().into()))
    }

    /// Reads one line of stdin, or what is left before its end. Returns at once if stdin is not a pipe.
    pub fn read_stdin_line(self) -> Script {
        self.step(Step::ReadLine(None))
    }

    /// Reads one line of stdin, and performs the script that `then` returns for it (without the newline; `None` at the end of the input).
    ///
    /// ```
    /// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
    /// use steadfast::mock::Script;
    /// let shell = Script::new().loop_forever(Script::new().on_stdin_line(|line| match line {
    ///     None | Some("exit") => Script::new().exit(0),
    ///     Some(other) => Script::new().write_stdout(format!("{other}: not found\n")),
    /// }));
    /// ```
    pub fn on_stdin_line(self, then: impl Fn(Option<&str>) -> Script + Send + Sync + 'static) -> Script {
        let then = move |line: Option<&str>| {
            let script = then(line);
            script.check().map_err(|contradiction| contradiction.to_string()).map(|()| script.code())
        };
        self.step(Step::ReadLine(Some(Arc::new(then))))
    }

    /// Reads stdin to its end, which comes when no process has the other end open. Returns at once if stdin is not a pipe.
    pub fn read_stdin_to_end(self) -> Script {
        self.step(Step::ReadToEnd)
    }

    /// Closes stdin.
    pub fn close_stdin(self) -> Script {
        self.step(Step::Close(Stream::Stdin))
    }

    /// Closes stdout, as a daemon does.
    pub fn close_stdout(self) -> Script {
        self.step(Step::Close(Stream::Stdout))
    }

    /// Closes stderr.
    pub fn close_stderr(self) -> Script {
        self.step(Step::Close(Stream::Stderr))
    }

    /// From now on, runs `handler` when the signal arrives, and then continues. The signal is blocked while the handler runs.
    pub fn on(self, signal: Signal, handler: Script) -> Script {
        self.step(Step::On(signal, Disposition::Handle(handler.code())))
    }

    /// From now on, ignores the signal. If `SIGCHLD` is ignored, children leave no zombies (sigaction(2)).
    pub fn ignore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Ignore))
    }

    /// From now on, the signal has its default action again.
    pub fn restore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Default))
    }

    /// From now on, blocks the signal: it stays pending.
    pub fn block(self, signal: Signal) -> Script {
        self.step(Step::Block(signal))
    }

    /// From now on, does not block the signal. If it is pending, it is delivered at once.
    pub fn unblock(self, signal: Signal) -> Script {
        self.step(Step::Unblock(signal))
    }

    /// Starts a child, as fork(2) and execve(2) do: it inherits streams, group, session, blocked and ignored signals. If it cannot
    /// be started, the trace says so, and the script continues.
    pub fn spawn(self, child: impl Into<Image>) -> Script {
        self.step(Step::Spawn(child.into()))
    }

    /// Executes another program (execve(2)). PID, children, streams, blocked and ignored signals stay; handlers do not. If there is no such program, it
    /// exits with 127, as a shell does.
    pub fn exec(self, image: impl Into<Image>) -> Script {
        self.step(Step::Exec(image.into()))
    }

    /// Waits until one of its children has ended, and reaps it. Returns at once if it has none.
    pub fn wait_for_child(self) -> Script {
        self.step(Step::WaitForChild)
    }

    /// Waits until all of its children have ended, and reaps them.
    pub fn wait_for_children(self) -> Script {
        self.step(Step::WaitForChildren)
    }

    /// Sends itself a signal.
    pub fn raise(self, signal: Signal) -> Script {
        self.step(Step::Send(Target::Itself, signal))
    }

    /// Stops itself, until `SIGCONT` arrives.
    pub fn stop(self) -> Script {
        self.raise(Signal::STOP)
    }

    /// Sends its parent a signal. If the parent is the program under test, or init, the signal has no effect.
    pub fn signal_parent(self, signal: Signal) -> Script {
        self.step(Step::Send(Target::Parent, signal))
    }

    /// Sends each of its children a signal.
    pub fn signal_children(self, signal: Signal) -> Script {
        self.step(Step::Send(Target::Children, signal))
    }

    /// Sends its process group a signal, itself included (killpg(3)).
    pub fn signal_group(self, signal: Signal) -> Script {
        self.step(Step::Send(Target::Group, signal))
    }

    /// Moves into a new process group (setpgid(2)).
    pub fn new_group(self) -> Script {
        self.step(Step::NewGroup)
    }

    /// Moves into a new session (setsid(2)). The leader of a process group cannot, and stays in its session.
    pub fn new_session(self) -> Script {
        self.step(Step::NewSession)
    }

    /// From now on, orphaned descendants become its children (`PR_SET_CHILD_SUBREAPER`).
    pub fn become_subreaper(self) -> Script {
        self.step(Step::Subreaper)
    }

    /// Exits with the low 8 bits of `code`.
    pub fn exit(self, code: i32) -> Script {
        self.step(Step::Exit(code))
    }

    /// Sends itself `SIGABRT`, even if that is blocked. If a handler returns, or the signal is ignored, it still kills the process. It dumps core if the
    /// limit allows that (abort(3)).
    pub fn abort(self) -> Script {
        self.step(Step::Abort)
    }

    /// Performs `body` this many times.
    pub fn repeat(self, times: u32, body: Script) -> Script {
        self.step(Step::Loop(Some(times), body.code()))
    }

    /// Performs `body` again and again.
    pub fn loop_forever(self, body: Script) -> Script {
        self.step(Step::Loop(None, body.code()))
    }

    /// Waits for signals, for ever.
    pub fn run_forever(self) -> Script {
        self.step(Step::RunForever)
    }
}
