//! `steadfast wait`: until processes have ended.

use crate::say::{self, Format, Outcome, Progress};
use crate::which::{Found, find};
use serde_json::json;
use std::time::{Duration, Instant};
use steadfast::{ExitStatus, Process, System};

/// Waits until each process has ended, whoever has started it
///
/// The exit code is that of the last one, if the kernel tells it (Linux 6.15, and a pidfd), and else 0; 124 if the time is up; 125 if a process is not
/// there. A process that has ended by a signal counts as 128 and the signal's number. One that was named by an identity or a pidfile, and has ended
/// before, is no error: its exit code is not known any more.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A PID, an identity, or the path of a pidfile
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<String>,
    /// For how long, for all of them together: `90s`, `5m`
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Until its parent has waited for it, too, so that its PID is free
    #[arg(long)]
    gone: bool,
}

/// What became of one.
enum End {
    Status(ExitStatus),
    /// And nobody tells how.
    Ended,
    Before(String),
}

pub(crate) fn wait(args: &Args, format: Format) -> Outcome {
    // All are held on to before the first is waited for.
    let found: Vec<Found> = args.processes.iter().map(|text| find(text)).collect::<Outcome<_>>()?;
    let system = System::current()?;
    let deadline = args.timeout.and_then(|timeout| system.now().checked_add(timeout));
    let mut ends = Vec::new();
    for (text, found) in args.processes.iter().zip(found) {
        let end = match found {
            Found::Over(how) => End::Before(how),
            Found::Process(process) => {
                let _progress = Progress::of(format!("waiting for {text}"));
                match wait_for(&process, args.gone, deadline)? {
                    Some(status) => status.map_or(End::Ended, End::Status),
                    None => {
                        show(&ends, format)?;
                        say::complain(format_args!("{text}: still runs when the time is up"));
                        return Ok(say::TIMED_OUT);
                    }
                }
            }
        };
        ends.push((text.as_str(), end));
    }
    show(&ends, format)?;
    Ok(match ends.last() {
        Some((_, End::Status(status))) => say::code_of(*status),
        _ => 0,
    })
}

/// Its status, if that is told; `None` if the time is up.
fn wait_for(process: &Process, until_gone: bool, deadline: Option<Instant>) -> Outcome<Option<Option<ExitStatus>>> {
    let left = |deadline: Instant| deadline.saturating_duration_since(process.backend().clock().now());
    let ended = match (until_gone, deadline.map(left)) {
        (false, None) => Some(process.wait_exited()?),
        (true, None) => Some(process.wait_gone()?),
        (false, Some(left)) => process.wait_exited_timeout(left)?,
        (true, Some(left)) => process.wait_gone_timeout(left)?,
    };
    Ok(ended.map(|ended| ended.status()))
}

fn show(ends: &[(&str, End)], format: Format) -> Outcome<()> {
    if format == Format::Json {
        let of = |(text, end): &(&str, End)| match end {
            End::Status(status) => {
                json!({ "process": text, "ended": true, "code": say::code_of(*status), "status": status.to_string() })
            }
            End::Ended => json!({ "process": text, "ended": true, "code": null, "status": "not told by this kernel" }),
            End::Before(how) => json!({ "process": text, "ended": true, "code": null, "status": how }),
        };
        return say::print_json(&ends.iter().map(of).collect());
    }
    ends.iter().try_for_each(|(text, end)| match end {
        End::Status(status) => say::print(&format!("{text}: {status}\n")),
        End::Ended => say::print(&format!("{text}: it has ended; this kernel does not tell how\n")),
        End::Before(how) => say::print(&format!("{text}: {how}\n")),
    })
}
