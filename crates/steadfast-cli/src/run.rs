//! `steadfast run`: a command in a job, in so much time and memory, and nothing of it is left.

use crate::say::{self, CANNOT_INVOKE, FAILED, Format, NOT_FOUND, Outcome, TIMED_OUT};
use clap::ValueEnum;
use serde_json::{Value, json};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::error::Error as StdError;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::{
    Child, Command, Containment, Errno, Error, ErrorKind, Job, JobUsage, Pidfile, Signal, Stage, Stdio, Stopped, System, Teardown,
};

/// Runs a command, and ends it and all that it has started: when it ends, or when its time is up
///
/// The exit code is the command's own, or 128 and the number of the signal that has ended it; 124 if the time was up, and 137 if it took SIGKILL then;
/// 125 if this program has failed, 126 if the command cannot be executed, 127 if there is none: as timeout(1) has it. SIGINT, SIGTERM, SIGHUP and
/// SIGQUIT to this program end the command as the end of its time does; the exit code is 128 and the signal's number then. Those of them that are
/// ignored, as by nohup(1), stay ignored.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long it may take: `90s`, `5m`, `1h 30m`
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    time_limit: Option<Duration>,
    /// The signal that asks it to end
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM")]
    signal: Signal,
    /// How long after that SIGKILL comes
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Memory for all of it together: `512M`, `2GiB`
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// How many processes and threads it may have at a time
    #[arg(short, long, value_name = "N")]
    processes: Option<u64>,
    /// How many CPUs it may use, `0.5` is half of one
    #[arg(short, long, value_name = "CPUS", value_parser = cpus)]
    cpus: Option<f64>,
    /// Goes without a limit that cannot be had here, and says so, in place of failing
    #[arg(long)]
    limits_if_possible: bool,
    /// What holds it together; by default the strongest that this machine gives without being noticed
    #[arg(long, value_enum, value_name = "HOW")]
    containment: Option<How>,
    /// Writes its stdout into this file
    #[arg(long, value_name = "FILE")]
    stdout: Option<PathBuf>,
    /// Writes its stderr into this file; `-` is wherever stdout goes
    #[arg(long, value_name = "FILE")]
    stderr: Option<PathBuf>,
    /// Has this pidfile name the command while it runs; fails if another process that runs is named there
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Waits until nothing lives that it has started, in place of ending that when the command ends
    #[arg(long)]
    wait_for_all: bool,
    /// The command, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// A cgroup: nobody leaves it
    Cgroup,
    /// A PID namespace: nobody leaves it, and its processes see other numbers
    Namespace,
    /// A process group: who makes a session of its own leaves it
    Group,
}

fn size(text: &str) -> Result<u64, parse_size::Error> {
    parse_size::Config::new().with_binary().parse_size(text)
}

fn cpus(text: &str) -> Result<f64, String> {
    let cpus: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if cpus.is_finite() && cpus > 0.0 { Ok(cpus) } else { Err("it must be more than 0".into()) }
}

/// What came of it.
struct Ran {
    code: u8,
    timed_out: bool,
    stopped: Option<Stopped>,
    took: Duration,
}

/// A command that gets no time is started all the same, and then its time is up.
const AT_LEAST: Duration = Duration::from_millis(100);

/// The exit code.
pub(crate) fn run(args: &Args, format: Format) -> u8 {
    match start_and_wait(args, format) {
        Ok(code) => code,
        Err(error) => {
            say::complain(&error);
            code_of_failure(&*error)
        }
    }
}

fn code_of_failure(error: &(dyn StdError + 'static)) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }) => NOT_FOUND,
        Some(Error::Spawn { stage: Stage::Exec { .. }, .. }) => CANNOT_INVOKE,
        _ => FAILED,
    }
}

fn start_and_wait(args: &Args, format: Format) -> Outcome {
    // A file may be a FIFO that nobody reads: while it is opened, a signal ends this program as any other.
    let mut command = command(args)?;
    let job = job(args)?;
    for (limit, why) in job.missing_limits() {
        say::complain(format_args!("without a limit of {limit}: {why}"));
    }
    let mut signals = signals()?;
    let handle = signals.handle();
    let how = Teardown::signal(args.signal, args.grace).kill_within(args.grace.max(Duration::from_secs(5)));
    let caught = AtomicI32::new(0);
    thread::scope(|scope| {
        let (job, how, caught) = (&job, &how, &caught);
        // Before the command is started: its exec may take for ever.
        let listener = thread::Builder::new().spawn_scoped(scope, move || {
            for signal in &mut signals {
                caught.store(signal, Ordering::SeqCst);
                // What it comes to is seen by whoever waits.
                job.stop(how).ok();
            }
        });
        let _closed_at_the_end = Closing(handle);
        listener.map_err(Into::into).and_then(|_| start(args, format, command.in_job(job), job, how, caught))
    })
}

/// Sends the listener away, after a panic too: the scope waits for it.
struct Closing(Handle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Of those that end the command, each that is not ignored.
fn signals() -> Outcome<Signals> {
    let ignored = ignored();
    let is_ignored = |signal: i32| ignored >> (signal - 1) & 1 == 1;
    if is_ignored(SIGCHLD) {
        // With a handler it is not, and then there is an exit status. The command has it as by default, as of timeout(1).
        signal_hook::flag::register(SIGCHLD, Arc::default())?;
    }
    Ok(Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)))?)
}

/// The signals that this process ignores: bit 0 is signal 1 (proc_pid_status(5)). Without `/proc`, none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn start(args: &Args, format: Format, command: &Command, job: &Job, how: &Teardown, caught: &AtomicI32) -> Outcome {
    let by_signal = || match caught.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(say::BY_SIGNAL + signal as u8),
    };
    let began = System::current()?.now();
    let started = args.time_limit.map_or_else(|| command.spawn(), |limit| command.spawn_timeout(limit.max(AT_LEAST)));
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            return match (by_signal(), error.kind()) {
                (Some(code), _) => Ok(code),
                (None, ErrorKind::SpawnTimedOut) => {
                    say::complain(error);
                    Ok(TIMED_OUT)
                }
                _ => Err(error.into()),
            };
        }
    };
    if by_signal().is_some() {
        // It may have come when there was nobody to be stopped.
        job.stop(how)?;
    }
    let pidfile = match args.pidfile.as_ref().map(|path| Pidfile::create(path, &child)).transpose() {
        Ok(pidfile) => pidfile,
        Err(error) => {
            job.stop(&Teardown::killing())?;
            return Err(error.into());
        }
    };
    let ran = wait(args, job, &child, how, began);
    if let Some(pidfile) = pidfile {
        pidfile.remove()?;
    }
    let mut ran = ran?;
    if let (Some(code), false) = (by_signal(), ran.timed_out) {
        ran.code = code;
    }
    report(args, job, &child, &ran, format)?;
    Ok(ran.code)
}

fn job(args: &Args) -> Outcome<Job> {
    let mut builder = Job::builder().limits_if_possible(args.limits_if_possible);
    if let Some(how) = args.containment {
        builder = builder.containment(match how {
            How::Cgroup => Containment::Cgroup,
            How::Namespace => Containment::Namespace,
            How::Group => Containment::Group,
        });
    }
    if let Some(bytes) = args.memory {
        builder = builder.memory_limit(bytes);
    }
    if let Some(processes) = args.processes {
        builder = builder.processes_limit(processes);
    }
    if let Some(cpus) = args.cpus {
        builder = builder.cpu_limit(cpus);
    }
    Ok(builder.build()?)
}

fn command(args: &Args) -> Outcome<Command> {
    let create = |path: &PathBuf| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    if let Some(path) = &args.stdout {
        command.stdout(create(path)?);
    }
    if let Some(path) = &args.stderr {
        command.stderr(if path.as_os_str() == "-" { Stdio::same_as_stdout() } else { create(path)?.into() });
    }
    Ok(command)
}

fn wait(args: &Args, job: &Job, child: &Child, how: &Teardown, began: Instant) -> Outcome<Ran> {
    let system = System::current()?;
    let deadline = args.time_limit.and_then(|limit| began.checked_add(limit));
    let status = match deadline {
        Some(deadline) => child.wait_deadline(deadline)?,
        None => Some(child.wait()?),
    };
    let in_time = status.is_some()
        && (!args.wait_for_all
            || match deadline {
                Some(deadline) => job.wait_empty_deadline(deadline)?,
                None => job.wait_empty().map(|()| true)?,
            });
    // In time or not, nothing of it is left.
    let stopped = job.stop(how)?;
    let status = match status {
        Some(status) => status,
        None => child.wait()?,
    };
    let took_a_kill = stopped.signal() == Some(Signal::KILL);
    let code = match in_time {
        true => say::code_of(status),
        false if took_a_kill => say::BY_SIGNAL + Signal::KILL.as_raw() as u8,
        false => TIMED_OUT,
    };
    Ok(Ran { code, timed_out: !in_time, stopped: Some(stopped), took: system.now().saturating_duration_since(began) })
}

/// To stderr: stdout is the command's.
fn report(args: &Args, job: &Job, child: &Child, ran: &Ran, format: Format) -> Outcome<()> {
    let lives = ran.stopped.is_some_and(|stopped| !stopped.is_over());
    if format == Format::Json {
        say::tell(&as_json(args, job, child, ran).to_string());
    } else if ran.timed_out {
        let limit = args.time_limit.unwrap_or_default();
        say::complain(format_args!("the time was up after {}", humantime::format_duration(limit)));
    }
    if lives {
        return Err(format!("something that the command has started cannot be ended yet: {}", words(ran)).into());
    }
    Ok(())
}

fn words(ran: &Ran) -> String {
    ran.stopped.map(|stopped| stopped.to_string()).unwrap_or_default()
}

fn as_json(args: &Args, job: &Job, child: &Child, ran: &Ran) -> Value {
    let usage = job.usage();
    json!({
        "command": args.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(),
        "pid": child.pid().as_raw(),
        "code": ran.code,
        "status": child.status().map(|status| status.to_string()),
        "timed_out": ran.timed_out,
        "teardown": words(ran),
        "seconds": ran.took.as_secs_f64(),
        "containment": job.containment().name(),
        "why_not_more": job.why_not_more().iter().map(|(stronger, why)| json!({ "containment": stronger.name(), "why": why.to_string() })).collect::<Vec<_>>(),
        "missing_limits": job.missing_limits().iter().map(|(limit, why)| json!({ "limit": limit.to_string(), "why": why.to_string() })).collect::<Vec<_>>(),
        "usage": usage.as_ref().ok().map(usage_as_json),
        "why_no_usage": usage.err().map(|error| error.to_string()),
    })
}

/// Of the whole tree; `null` where the kernel does not count it for this job.
fn usage_as_json(usage: &JobUsage) -> Value {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    json!({
        "user_seconds": seconds(usage.user_time),
        "system_seconds": seconds(usage.system_time),
        "memory_peak": usage.memory_peak,
        "processes_peak": usage.processes_peak,
        "killed_for_memory": usage.killed_for_memory,
        "refused_forks": usage.refused_forks,
        "throttled_seconds": seconds(usage.throttled_time),
        "read_bytes": usage.read_bytes,
        "written_bytes": usage.written_bytes,
    })
}
