//! `steadfast kill`: ends the process that was meant, or nobody.

use crate::say::{self, Format, Outcome, Progress};
use crate::tree::Tree;
use crate::which::{Found, find};
use serde_json::json;
use std::time::Duration;
use steadfast::{ErrorKind, Process, Signal, System};

/// Ends the process that is named, or nobody; with --tree all that descend from it, too
///
/// An identity or a pidfile says which process was meant. A PID says who has the number at this moment. Without --grace one signal is sent and
/// nothing is waited for. With it, whoever has not ended by then is killed, and the call returns when all have ended. The exit code is 0, also if it had
/// ended before; 1 if something lives on; 125 if it cannot be found or signalled.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A PID, an identity, or the path of a pidfile
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<String>,
    /// Which signal: `TERM`, `SIGINT`, `9`, `RTMIN+1`
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM")]
    signal: Signal,
    /// Waits for so long, sends SIGKILL to whom has not ended, and waits for the end
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Its children, and theirs, as well, but for this program; each is stopped before its own children are read
    #[arg(long)]
    tree: bool,
}

/// How long a process that was killed may take.
const AFTER_KILL: Duration = Duration::from_secs(5);

pub(crate) fn kill(args: &Args, format: Format) -> Outcome {
    let found: Vec<Found> = args.processes.iter().map(|text| find(text)).collect::<Outcome<_>>()?;
    let (mut shown, mut lives) = (Vec::new(), false);
    for (text, found) in args.processes.iter().zip(found) {
        let (hit, left, words) = match found {
            Found::Over(how) => (0, 0, how),
            Found::Process(process) => one(&process, text, args)?,
        };
        lives |= left > 0;
        match format {
            Format::Text => say::print(&format!("{text}: {words}\n"))?,
            Format::Json => shown.push(json!({ "process": text, "signalled": hit, "left": left, "outcome": words })),
        }
    }
    if format == Format::Json {
        say::print_json(&shown.into())?;
    }
    Ok(u8::from(lives))
}

/// How many were signalled, how many live, and what to say.
fn one(process: &Process, text: &str, args: &Args) -> Outcome<(usize, usize, String)> {
    let signal = args.signal;
    let (members, hit) = if args.tree {
        let mut tree = Tree::stopped(process)?;
        let hit = tree.signal(signal)?;
        (tree.members().to_vec(), hit)
    } else {
        let hit = match process.signal(signal) {
            Err(error) if error.kind() == ErrorKind::ProcessDone => 0,
            answer => answer.map(|()| 1)?,
        };
        (vec![process.clone()], hit)
    };
    let Some(grace) = args.grace else { return Ok((hit, 0, format!("{signal} was sent to {}", processes(hit)))) };
    let _progress = Progress::of(format!("{text}: waiting for the end after {signal}"));
    if left_after(&members, grace)? == 0 {
        return Ok((hit, 0, format!("{} ended after {signal}", processes(hit))));
    }
    for member in &members {
        match member.kill() {
            Err(error) if error.kind() != ErrorKind::ProcessDone => return Err(error.into()),
            _ => {}
        }
    }
    let left = left_after(&members, AFTER_KILL)?;
    let words = match left {
        0 => format!("{} ended after {signal} and SIGKILL", processes(hit)),
        left => format!("{} of {} cannot be ended yet: SIGKILL was sent", left, processes(hit)),
    };
    Ok((hit, left, words))
}

/// How many have not exited when the time is up.
fn left_after(members: &[Process], time: Duration) -> Outcome<usize> {
    let now = || System::current().map(|system| system.now());
    let deadline = now()?.checked_add(time);
    let mut left = 0;
    for member in members {
        let ended = match deadline {
            Some(deadline) => member.wait_exited_timeout(deadline.saturating_duration_since(now()?))?,
            None => Some(member.wait_exited()?),
        };
        left += usize::from(ended.is_none());
    }
    Ok(left)
}

fn processes(count: usize) -> String {
    match count {
        1 => "1 process".into(),
        count => format!("{count} processes"),
    }
}
