//! [`Script`]: what a simulated program does, step by step.

use std::ffi::OsString;
use std::fmt;
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

/// A script that is finished: shared by all its runs.
pub(crate) type Code = Arc<[Step]>;

/// What a program makes of the line that it has read; `None` at the end of its input.
pub(crate) type OnLine = Arc<dyn Fn(Option<&str>) -> Script + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Step {
    Sleep(Duration),
    Compute(Duration),
    Write(Stream, Arc<[u8]>),
    ReadLine(Option<OnLine>),
    ReadToEnd,
    Close(Stream),
    On(Signal, Disposition),
    Block(Signal),
    Unblock(Signal),
    Spawn(Image),
    Exec(Image),
    WaitForChild,
    WaitForChildren,
    Send(Target, Signal),
    NewGroup,
    NewSession,
    Subreaper,
    Exit(i32),
    Abort,
    /// Times, or for ever.
    Loop(Option<u32>, Code),
    RunForever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Clone)]
pub(crate) enum Disposition {
    Default,
    Ignore,
    Handle(Code),
}

/// Whom a program sends a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Itself,
    Parent,
    Group,
    /// The ones that it has now.
    Children,
}

/// What a simulated process executes: a program by its name, with arguments, or a script of its own.
///
/// ```
/// use steadfast_mock::{Image, Script};
/// let by_name = Image::from("worker");
/// let with_arguments = Image::from(["worker", "--quiet"]);
/// let inline = Image::from(Script::new().exit(3));
/// ```
#[derive(Clone)]
pub struct Image(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Program(OsString, Vec<OsString>),
    Script(Code),
}

impl From<&str> for Image {
    fn from(program: &str) -> Image {
        Image(Kind::Program(program.into(), Vec::new()))
    }
}

/// The program, and its arguments.
///
/// # Panics
/// If there is not even a program.
impl<const N: usize> From<[&str; N]> for Image {
    fn from(words: [&str; N]) -> Image {
        let (program, args) = words.split_first().expect("an image is a program and its arguments: give at least the program");
        Image(Kind::Program(program.into(), args.iter().map(Into::into).collect()))
    }
}

impl From<Script> for Image {
    fn from(script: Script) -> Image {
        Image(Kind::Script(script.code()))
    }
}

impl Image {
    pub(crate) fn args(&self) -> &[OsString] {
        match &self.0 {
            Kind::Program(_, args) => args,
            Kind::Script(_) => &[],
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Program(program, args) => {
                write!(f, "{}", program.to_string_lossy())?;
                args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
            }
            Kind::Script(code) => write!(f, "a script of {} steps", code.len()),
        }
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

    /// Goes on with the steps of another script.
    pub fn then(mut self, script: Script) -> Script {
        self.steps.extend(script.steps);
        self
    }

    /// Waits, using no CPU. A handled signal is taken meanwhile, and the rest of the time is waited after it.
    pub fn sleep(self, time: Duration) -> Script {
        self.step(Step::Sleep(time))
    }

    /// Works: uses so much user CPU time, which takes longer if it is stopped or handles signals meanwhile.
    pub fn compute(self, time: Duration) -> Script {
        self.step(Step::Compute(time))
    }

    /// Writes to stdout: waits while the pipe is full, and gets `SIGPIPE` if nobody can read it (pipe(7)). Goes nowhere if stdout
    /// is no pipe.
    pub fn write_stdout(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stdout, bytes.as_ref().into()))
    }

    /// As [`write_stdout`](Script::write_stdout), to stderr.
    pub fn write_stderr(self, bytes: impl AsRef<[u8]>) -> Script {
        self.step(Step::Write(Stream::Stderr, bytes.as_ref().into()))
    }

    /// Reads one line of stdin, or what is left before its end. Returns at once if stdin is no pipe.
    pub fn read_stdin_line(self) -> Script {
        self.step(Step::ReadLine(None))
    }

    /// Reads one line of stdin, and does what `then` makes of it (without the line's end; `None` at the end of the input).
    ///
    /// ```
    /// use steadfast_mock::Script;
    /// let shell = Script::new().loop_forever(Script::new().on_stdin_line(|line| match line {
    ///     None | Some("exit") => Script::new().exit(0),
    ///     Some(other) => Script::new().write_stdout(format!("{other}: not found\n")),
    /// }));
    /// ```
    pub fn on_stdin_line(self, then: impl Fn(Option<&str>) -> Script + Send + Sync + 'static) -> Script {
        self.step(Step::ReadLine(Some(Arc::new(then))))
    }

    /// Reads stdin until nobody has its other end open. Returns at once if stdin is no pipe.
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

    /// From here on, runs `handler` when the signal comes, then goes on where it was. Meanwhile the signal itself is blocked.
    pub fn on(self, signal: Signal, handler: Script) -> Script {
        self.step(Step::On(signal, Disposition::Handle(handler.code())))
    }

    /// From here on, ignores the signal. Ignoring `SIGCHLD` leaves no zombies (sigaction(2)).
    pub fn ignore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Ignore))
    }

    /// From here on, the signal has its default action again.
    pub fn restore(self, signal: Signal) -> Script {
        self.step(Step::On(signal, Disposition::Default))
    }

    /// From here on, keeps the signal pending.
    pub fn block(self, signal: Signal) -> Script {
        self.step(Step::Block(signal))
    }

    /// From here on, takes the signal, a pending one at once.
    pub fn unblock(self, signal: Signal) -> Script {
        self.step(Step::Unblock(signal))
    }

    /// Starts a child, as fork(2) and execve(2) do: it inherits streams, group, session, blocked and ignored signals. If it cannot
    /// be started, that is noted, and the script goes on.
    pub fn spawn(self, child: impl Into<Image>) -> Script {
        self.step(Step::Spawn(child.into()))
    }

    /// Becomes another program (execve(2)): the same PID, children, streams, blocked and ignored signals; no handlers. Exits with 127
    /// if there is none, as a shell does.
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

    /// Stops itself, until somebody sends `SIGCONT`.
    pub fn stop(self) -> Script {
        self.raise(Signal::STOP)
    }

    /// Sends its parent a signal; neither the program under test nor init feels it.
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

    /// Moves into a process group of its own (setpgid(2)).
    pub fn new_group(self) -> Script {
        self.step(Step::NewGroup)
    }

    /// Moves into a session of its own (setsid(2)). The leader of a group cannot, and stays where it is.
    pub fn new_session(self) -> Script {
        self.step(Step::NewSession)
    }

    /// From here on, orphaned descendants become its children (`PR_SET_CHILD_SUBREAPER`).
    pub fn become_subreaper(self) -> Script {
        self.step(Step::Subreaper)
    }

    /// Exits with the low 8 bits of `code`.
    pub fn exit(self, code: i32) -> Script {
        self.step(Step::Exit(code))
    }

    /// Sends itself `SIGABRT`, even if that is blocked; where a handler returns, or it is ignored, ends by it all the same. With a core dump
    /// if its limit allows one (abort(3)).
    pub fn abort(self) -> Script {
        self.step(Step::Abort)
    }

    /// Does `body` so many times.
    pub fn repeat(self, times: u32, body: Script) -> Script {
        self.step(Step::Loop(Some(times), body.code()))
    }

    /// Does `body` again and again.
    pub fn loop_forever(self, body: Script) -> Script {
        self.step(Step::Loop(None, body.code()))
    }

    /// Waits for signals, for ever.
    pub fn run_forever(self) -> Script {
        self.step(Step::RunForever)
    }
}

/// The step in the words of the script.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |stream: &Stream| match stream {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        match self {
            Step::Sleep(time) => write!(f, "sleep({time:?})"),
            Step::Compute(time) => write!(f, "compute({time:?})"),
            Step::Write(stream, bytes) => write!(f, "write_{}({} bytes)", name(stream), bytes.len()),
            Step::ReadLine(None) => f.write_str("read_stdin_line"),
            Step::ReadLine(Some(_)) => f.write_str("on_stdin_line"),
            Step::ReadToEnd => f.write_str("read_stdin_to_end"),
            Step::Close(stream) => write!(f, "close_{}", name(stream)),
            Step::On(signal, Disposition::Default) => write!(f, "restore({signal})"),
            Step::On(signal, Disposition::Ignore) => write!(f, "ignore({signal})"),
            Step::On(signal, Disposition::Handle(_)) => write!(f, "on({signal})"),
            Step::Block(signal) => write!(f, "block({signal})"),
            Step::Unblock(signal) => write!(f, "unblock({signal})"),
            Step::Spawn(image) => write!(f, "spawn({image:?})"),
            Step::Exec(image) => write!(f, "exec({image:?})"),
            Step::WaitForChild => f.write_str("wait_for_child"),
            Step::WaitForChildren => f.write_str("wait_for_children"),
            Step::Send(Target::Itself, Signal::STOP) => f.write_str("stop"),
            Step::Send(Target::Itself, signal) => write!(f, "raise({signal})"),
            Step::Send(Target::Parent, signal) => write!(f, "signal_parent({signal})"),
            Step::Send(Target::Group, signal) => write!(f, "signal_group({signal})"),
            Step::Send(Target::Children, signal) => write!(f, "signal_children({signal})"),
            Step::NewGroup => f.write_str("new_group"),
            Step::NewSession => f.write_str("new_session"),
            Step::Subreaper => f.write_str("become_subreaper"),
            Step::Exit(code) => write!(f, "exit({code})"),
            Step::Abort => f.write_str("abort"),
            Step::Loop(Some(times), _) => write!(f, "repeat({times})"),
            Step::Loop(None, _) => f.write_str("loop_forever"),
            Step::RunForever => f.write_str("run_forever"),
        }
    }
}
