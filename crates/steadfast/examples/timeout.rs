//! `timeout(1)`, as coreutils have it: runs a command, and ends it if it has not ended in time.
//!
//! `cargo run -p steadfast --example timeout -- -k 2 0.5m make test`
//!
//! The exit code is the command's own; 124 if the time was up; 125 if something else failed; 126 if the command cannot be executed, 127 if
//! there is none; 137 if it took `SIGKILL`. A command that a signal has ended ends this program by the same signal.
//!
//! One `poll` waits for the command, the clock and the signals that are to be passed on. Those go to the command through its handle, which
//! cannot hit a stranger, and then to the process group, which is our own.

use clap::Parser;
use clap::error::ErrorKind as Usage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{self as rustix_process, Resource, Rlimit};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steadfast::{Child, Command, Disposition, Errno, Error, ExitStatus, Signal, System, WaitSet};

#[derive(Parser)]
#[command(name = "timeout", version, about = "Runs a command, and ends it if it has not ended in time")]
struct Args {
    /// Exits with the command's own status, even if the time was up
    #[arg(short, long)]
    preserve_status: bool,
    /// Leaves the command in the foreground, where it can read from the terminal; its children are not ended then
    #[arg(short, long)]
    foreground: bool,
    /// Sends SIGKILL too, if it still runs this long after the first signal
    #[arg(short, long, value_parser = duration, value_name = "DURATION", default_value = "0", hide_default_value = true)]
    kill_after: Duration,
    /// The signal that ends it
    #[arg(short, long, default_value = "TERM")]
    signal: Signal,
    /// Says on stderr which signal is sent
    #[arg(short, long)]
    verbose: bool,
    /// How long it may take: a number, and s (seconds, if nothing is said), m, h or d behind it; 0 is for ever
    #[arg(value_parser = duration)]
    duration: Duration,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const CANNOT_INVOKE: u8 = 126;
const NOT_FOUND: u8 = 127;

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        Some((at, 'd')) => (&text[..at], 86_400.0),
        _ => (text, 1.0),
    };
    let seconds: f64 = number.parse().map_err(|_| "invalid time interval".to_owned())?;
    match seconds * unit {
        seconds if seconds.is_nan() || seconds < 0.0 => Err("invalid time interval".into()),
        // As long as a clock can say, or longer: for ever.
        seconds => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let is_asked_for = matches!(error.kind(), Usage::DisplayHelp | Usage::DisplayVersion);
            // Nothing can be said where nothing can be printed.
            drop(error.print());
            return ExitCode::from(if is_asked_for { 0 } else { FAILED });
        }
    };
    let code = run(&args).unwrap_or_else(|error| {
        eprintln!("timeout: {error}");
        match error.downcast_ref::<Error>() {
            Some(Error::Spawn { source: Errno::NOENT, .. }) => NOT_FOUND,
            Some(Error::Spawn { stage: steadfast::Stage::Exec { .. }, .. }) => CANNOT_INVOKE,
            _ => FAILED,
        }
    });
    ExitCode::from(code)
}

/// The command, and what there is to know to end it.
struct Job<'a> {
    args: &'a Args,
    child: Child,
    /// What the next signal of ours is.
    signal: Signal,
    deadline: Option<Instant>,
    kill_after: Duration,
    timed_out: bool,
    /// Passed on already, and to our whole group, so that they have come back to us.
    ignored: Vec<Signal>,
}

fn run(args: &Args) -> Result<u8, Box<dyn std::error::Error>> {
    if !args.foreground {
        // A group of our own: what the command starts is in it, and hears of the end too. Fails for a session's leader, who has one.
        _ = rustix_process::setpgid(None, None);
    }
    let mut incoming: BTreeMap<Signal, UnixStream> = BTreeMap::new();
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP, Signal::TERM, args.signal] {
        if signal != Signal::KILL && signal != Signal::STOP {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), write)?;
            incoming.insert(signal, read);
        }
    }
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    for signal in [Signal::TTIN, Signal::TTOU] {
        command.signal_disposition(signal, Disposition::Default);
    }
    let child = command.spawn()?;
    let set = WaitSet::new();
    set.add((), child.process().clone())?;
    let deadline = deadline_after(args.duration);
    let (signal, kill_after) = (args.signal, args.kill_after);
    let mut job = Job { args, child, signal, deadline, kill_after, timed_out: false, ignored: Vec::new() };
    loop {
        if let Some(exited) = set.ready().next() {
            return Ok(job.exit_code(exited.status?));
        }
        let now = System::current()?.now();
        if job.deadline.is_some_and(|deadline| deadline <= now) {
            (job.timed_out, job.deadline) = (true, None);
            job.end(job.signal)?;
        }
        let left = job.deadline.map(|deadline| deadline.saturating_duration_since(now));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs().min(1 << 30) as i64, tv_nsec: left.subsec_nanos().into() });
        set.with_handle(|exits| {
            let mut fds = vec![PollFd::from_borrowed_fd(exits, PollFlags::IN)];
            fds.extend(incoming.values().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            // A signal may come in between; then its pipe is readable.
            _ = poll(&mut fds, left.as_ref());
        })?;
        for (signal, pipe) in &mut incoming {
            let has_come = pipe.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0);
            if has_come && !job.ignored.contains(signal) {
                job.end(*signal)?;
            }
        }
    }
}

fn deadline_after(time: Duration) -> Option<Instant> {
    if time.is_zero() { None } else { System::current().ok()?.now().checked_add(time) }
}

impl Job<'_> {
    /// Sends the signal to the command and, unless it is in the foreground, to everybody in our group.
    fn end(&mut self, signal: Signal) -> Result<(), Error> {
        if !self.kill_after.is_zero() {
            self.signal = Signal::KILL;
            self.deadline = deadline_after(std::mem::take(&mut self.kill_after));
        }
        if self.args.verbose {
            let name = signal.to_string();
            eprintln!("timeout: sending signal {} to command {:?}", name.trim_start_matches("SIG"), self.args.command[0]);
        }
        let and_continue = signal != Signal::KILL && signal != Signal::CONT && !self.args.foreground;
        for signal in [Some(signal), and_continue.then_some(Signal::CONT)].into_iter().flatten() {
            match self.child.signal(signal) {
                // It has ended by itself between these lines: then the signal finds nobody, and certainly no stranger.
                Err(Error::ProcessDone { .. }) => {}
                answer => answer?,
            }
            if !self.args.foreground {
                self.ignored.push(signal);
                if let Some(named) = rustix_process::Signal::from_named_raw(signal.as_raw()) {
                    _ = rustix_process::kill_current_process_group(named);
                }
            }
        }
        Ok(())
    }

    fn exit_code(&self, status: ExitStatus) -> u8 {
        let Some(signal) = status.signal() else {
            let code = status.code().unwrap_or(FAILED.into()) as u8;
            return if self.timed_out && !self.args.preserve_status { TIMED_OUT } else { code };
        };
        if status.core_dumped() {
            eprintln!("timeout: the monitored command dumped core");
        }
        let no_core = Rlimit { current: Some(0), maximum: Some(0) };
        if !self.timed_out && rustix_process::setrlimit(Resource::Core, no_core).is_ok() {
            // So that whoever waits for us sees the same; it comes back if the signal is ignored.
            drop(signal_hook::low_level::emulate_default_handler(signal));
        }
        let is_killed = signal == Signal::KILL.as_raw();
        if self.timed_out && !self.args.preserve_status && !is_killed { TIMED_OUT } else { 128 + signal as u8 }
    }
}
