//! `timeout(1)`, as coreutils 9.10 have it: runs a command, and ends it if it has not ended in time.
//!
//! `cargo run -p steadfast --example timeout -- -k 2 0.5m make test`
//!
//! The exit code is the command's own; 124 if the time was up; 125 if something else failed; 126 if the command cannot be executed, 127 if
//! there is none; 137 if it took `SIGKILL`. A command that a signal has ended ends this program by the same signal.
//!
//! One `poll` waits for the command, the clock and the signals that are to be passed on. Those go to the command through its handle, which
//! cannot hit a stranger, and then to the process group, which is our own. If this program is killed, the kernel passes the signal on.
//!
//! Not as coreutils: a standard stream that our caller has closed is `/dev/null` in the command, for Rust's runtime has opened that in its
//! place.
// Nothing here is unsafe but what `ctor` makes of its attribute.
#![deny(unsafe_code)]

mod begun;
mod duration;
mod options;
mod say;
mod signals;

use nix::sys::signal::SigSet;
use options::{Options, Order};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setpgid};
use say::{Voice, quote, words_of};
use signals::Incoming;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steadfast::{Child, Command, Errno, Error, ExitStatus, Pid, Process, Signal, Stage, System, WaitSet};

const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const CANNOT_INVOKE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// What a shell says of a program that a signal has ended, together with the signal's number.
const BY_SIGNAL: u8 = 128;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "timeout".into());
    let mut voice = Voice::new(name);
    ExitCode::from(match options::read(words) {
        Order::Run(options) => run(&options, &mut voice).unwrap_or_else(|error| refuse(&mut voice, &options, &*error)),
        Order::Help => answer(&mut voice, &["Usage: timeout [OPTION]... DURATION COMMAND [ARG]...\n", options::HELP].concat()),
        Order::Version => answer(&mut voice, concat!("timeout (steadfast) ", env!("CARGO_PKG_VERSION"), "\n")),
        Order::Refuse(why) => {
            why.into_iter().for_each(|why| voice.say(&why));
            voice.hint();
            voice.end_if_pipe_is_broken();
            FAILED
        }
    })
}

fn answer(voice: &mut Voice, text: &str) -> u8 {
    if voice.answer(text) { 0 } else { FAILED }
}

/// Says why there is no command that could be waited for; the exit code.
fn refuse(voice: &mut Voice, options: &Options, error: &(dyn std::error::Error + 'static)) -> u8 {
    let (words, code) = match error.downcast_ref::<Error>() {
        Some(Error::Spawn { stage: Stage::Exec { .. }, source, .. }) => {
            let code = if *source == Errno::NOENT { NOT_FOUND } else { CANNOT_INVOKE };
            (format!("failed to run command {}: {}", quote(&options.command), words_of(source.as_raw())), code)
        }
        // As the kernel has it of an empty name.
        _ if options.command.is_empty() => {
            (format!("failed to run command {}: {}", quote(&options.command), words_of(Errno::NOENT.as_raw())), NOT_FOUND)
        }
        _ => (error.to_string(), FAILED),
    };
    voice.say(&words);
    // There, it is the command to be that says it, and ends by it.
    match (voice.is_pipe_broken(), voice.has_failed()) {
        (true, _) => BY_SIGNAL + Signal::PIPE.as_raw() as u8,
        (false, true) => FAILED,
        (false, false) => code,
    }
}

/// The command, and what there is to know to end it.
struct Job<'a> {
    options: &'a Options,
    voice: &'a mut Voice,
    child: Child,
    /// We ourselves, as the leader of the group that the command is in.
    group: Option<Process>,
    /// What the next signal of ours is.
    signal: Option<Signal>,
    /// The time that the command has, and that between the signals. One does not put off the other.
    alarms: Vec<Instant>,
    kill_after: Duration,
    timed_out: bool,
    /// Passed on already, and to our whole group, so that they have come back to us.
    ignored: Vec<Signal>,
}

fn run(options: &Options, voice: &mut Voice) -> Result<u8, Box<dyn std::error::Error>> {
    let mut group = None;
    if !options.foreground {
        // A group of our own: what the command starts is in it, and hears of the end too. Fails for a session's leader, who has one.
        _ = setpgid(None, None);
        group = Some(Process::find(Pid::new(std::process::id() as i32)?)?);
    }
    let incoming = Incoming::begin(options.signal)?;
    let mut command = Command::new(&options.command);
    command.args(&options.args);
    incoming.restore_in(&mut command);
    if let Some(signal) = options.signal {
        // Whoever kills us cannot be asked to pass it on.
        command.parent_death_signal(signal);
    }
    let child = command.spawn()?;
    let set = WaitSet::new();
    set.add((), child.process().clone())?;
    let (signal, kill_after) = (options.signal, options.kill_after);
    let alarms = deadline_after(options.duration).into_iter().collect();
    let mut job = Job { options, voice, child, group, signal, alarms, kill_after, timed_out: false, ignored: Vec::new() };
    loop {
        if let Some(exited) = set.ready().next() {
            return Ok(job.exit_code(exited.status?));
        }
        let now = System::current()?.now();
        while let Some(due) = job.alarms.iter().position(|alarm| *alarm <= now) {
            job.alarms.swap_remove(due);
            job.time_is_up();
        }
        let left = job.alarms.iter().min().map(|alarm| alarm.saturating_duration_since(now));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs().min(1 << 30) as i64, tv_nsec: left.subsec_nanos().into() });
        set.with_handle(|exits| {
            let mut fds = [PollFd::from_borrowed_fd(exits, PollFlags::IN), PollFd::new(&incoming, PollFlags::IN)];
            // A signal that we have no say in may come in between; then there is nothing to read.
            _ = poll(&mut fds, left.as_ref());
        })?;
        while let Some(signal) = incoming.next() {
            match signal {
                _ if job.ignored.contains(&signal) => {}
                Signal::ALRM => job.time_is_up(),
                signal => job.end(Some(signal)),
            }
        }
    }
}

fn deadline_after(time: Duration) -> Option<Instant> {
    if time.is_zero() { None } else { System::current().ok()?.now().checked_add(time) }
}

impl Job<'_> {
    fn time_is_up(&mut self) {
        self.timed_out = true;
        self.end(self.signal);
    }

    /// Sends the signal to the command and, unless it is in the foreground, to everybody in our group.
    fn end(&mut self, signal: Option<Signal>) {
        if !self.kill_after.is_zero() {
            self.signal = Some(Signal::KILL);
            self.alarms.extend(deadline_after(std::mem::take(&mut self.kill_after)));
        }
        if self.options.verbose && !self.voice.has_failed() {
            let (signal, command) = (signals::name(signal), quote(&self.options.command));
            self.voice.say(&format!("sending signal {signal} to command {command}"));
            if self.voice.is_pipe_broken() {
                // That is a signal too, and comes before the one that was to be said.
                self.end(Some(Signal::PIPE));
            }
        }
        let is_last = matches!(signal, Some(Signal::KILL | Signal::CONT));
        for signal in [signal, (!is_last && !self.options.foreground).then_some(Signal::CONT)].into_iter().flatten() {
            // If it has ended by itself between these lines, the signal finds nobody, and certainly no stranger. If we may not signal it
            // any more, there is nothing to do but to wait.
            _ = self.child.signal(signal);
            if let Some(group) = &self.group {
                self.ignored.push(signal);
                _ = group.signal_group(signal);
            }
        }
    }

    fn exit_code(&mut self, status: ExitStatus) -> u8 {
        let code = match status.signal() {
            Some(signal) => self.code_of_signal(signal, status.core_dumped()),
            None if self.timed_out && !self.options.preserve_status => TIMED_OUT,
            None => status.code().unwrap_or(FAILED.into()) as u8,
        };
        // Who cannot hear what is said can at least see that.
        match (self.voice.has_failed(), self.timed_out) {
            (false, _) => code,
            (true, true) => TIMED_OUT,
            (true, false) => FAILED,
        }
    }

    fn code_of_signal(&mut self, signal: i32, has_dumped: bool) -> u8 {
        if has_dumped {
            self.voice.say("the monitored command dumped core");
        }
        if !self.timed_out && set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok() {
            // So that whoever waits for us sees the same. For a real-time one, nobody has changed what it does.
            drop(signal_hook::low_level::emulate_default_handler(signal));
            _ = SigSet::empty().thread_set_mask();
            drop(signal_hook::low_level::raise(signal));
        }
        let is_killed = signal == Signal::KILL.as_raw();
        if self.timed_out && !self.options.preserve_status && !is_killed { TIMED_OUT } else { BY_SIGNAL + signal as u8 }
    }
}
