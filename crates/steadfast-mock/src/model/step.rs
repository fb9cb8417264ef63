//! [`Step`]: what a process can be made to do, one instruction after the other.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::Signal;

/// What a program does, step by step; shared by all its runs.
pub(crate) type Code = Arc<[Step]>;

/// What a program makes of the line that it has read, `None` at the end of its input; or why that cannot be done.
pub(crate) type OnLine = Arc<dyn Fn(Option<&str>) -> Result<Code, String> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Step {
    /// The time that its own exec takes.
    Open(Duration),
    /// From here on it is what was to be executed.
    Opened,
    Sleep(Duration),
    Compute(Duration),
    /// Bytes of memory, besides what it has.
    Allocate(u64),
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
/// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
/// use steadfast::mock::{Image, Script};
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

/// The step in the words of the script.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |stream: &Stream| match stream {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        match self {
            Step::Open(time) => write!(f, "exec_takes({time:?})"),
            Step::Opened => f.write_str("executed"),
            Step::Sleep(time) => write!(f, "sleep({time:?})"),
            Step::Compute(time) => write!(f, "compute({time:?})"),
            Step::Allocate(bytes) => write!(f, "allocate({bytes})"),
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
