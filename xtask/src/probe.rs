//! `cargo xtask probe`: what this machine can do, and the promise running on its kernel.

use crate::recycle::{self, Counts};
use crate::tree::{self, Proof};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steadfast::{Answer, Command, Containment, Error, ErrorKind, Feature, Job, JobLimit, Probe, Signal, System};

/// Shows which backend this machine gets and why, what its kernel can do, and proves the promise on it
#[derive(clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many PIDs the proof recycles
    #[arg(long, default_value_t = 100, value_name = "N")]
    rounds: u32,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// Everything there is to print.
struct Findings {
    probe: &'static Probe,
    features: &'static [Feature],
    took: Duration,
    system: System,
    kernel: String,
    recycling: Result<Counts, String>,
    jobs: Vec<Containing>,
    /// In what a job can be limited, and why not.
    limits: Vec<(JobLimit, Option<Error>)>,
    tree: Result<Proof, String>,
}

/// One containment for jobs.
struct Containing {
    containment: Containment,
    obstacle: Option<Error>,
    /// Why such a job lives on when its owner is gone.
    lives_on: Option<Error>,
}

fn containments() -> Result<Vec<Containing>, Error> {
    let of = |containment| match Job::builder().containment(containment).build() {
        Ok(job) => Ok(Containing { containment, obstacle: None, lives_on: job.lives_on() }),
        Err(error @ Error::NoContainment { .. }) => Ok(Containing { containment, obstacle: Some(error), lives_on: None }),
        Err(error) => Err(error),
    };
    Containment::ALL.into_iter().map(of).collect()
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();

/// Probes, proves and prints. Exit code 1, with the reason, if no backend works.
pub fn run(args: &Args) -> ExitCode {
    match examine(args.rounds) {
        Ok(findings) => {
            match args.format {
                Format::Text => print(&as_text(&findings)),
                Format::Json => print(&format!("{}\n", as_json(&findings))),
            }
            match findings.recycling {
                Ok(Counts { stranger_hit_by_handle: 1.., .. }) => ExitCode::FAILURE,
                _ if findings.tree.is_ok_and(|proof| proof.left_by_job > 0 && !proof.containment.leaks()) => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            anstream::eprintln!("{BAD}no backend works here:{BAD:#} {error}");
            ExitCode::FAILURE
        }
    }
}

fn examine(rounds: u32) -> Result<Findings, Error> {
    let start = Instant::now();
    let probe = Probe::once()?;
    let took = start.elapsed();
    let system = System::current()?;
    prove_plain(&system)?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".into());
    let features = Probe::features()?;
    let (kernel, recycling, jobs) = (kernel.trim().into(), recycle::count(rounds), containments()?);
    let (limits, tree) = (Job::available_limits()?, tree::prove(&system));
    Ok(Findings { probe, features, took, system, kernel, recycling, jobs, limits, tree })
}

/// Spawn, signal, wait; a second signal finds nobody.
fn prove_plain(system: &System) -> Result<(), Error> {
    let child = system.spawn(Command::new("sleep").arg("1000"))?;
    child.signal(Signal::TERM)?;
    let status = child.wait()?;
    let second = child.kill();
    let as_promised = std::os::unix::process::ExitStatusExt::signal(&status) == Some(Signal::TERM.as_raw())
        && second.as_ref().is_err_and(|error| error.kind() == ErrorKind::ProcessDone);
    if as_promised {
        return Ok(());
    }
    Err(Error::Unavailable {
        backend: system.backend_name(),
        why: format!("after SIGTERM a child ended with {status}, and a second signal gave {second:?}"),
        errno: None,
    })
}

fn reason(probe: &Probe, system: &System) -> String {
    match std::env::var_os("STEADFAST_BACKEND") {
        Some(_) => format!("STEADFAST_BACKEND={} says so", system.backend_name()),
        None => probe.reason(),
    }
}

fn as_json(findings: &Findings) -> Value {
    let errno = |answer: Answer| answer.errno().map(|errno| format!("{errno:?}"));
    let row = |name: &str, since: &str, answer: Answer| {
        json!({
            "name": name,
            "since": since,
            "works": answer.works(),
            "errno": errno(answer),
            "meaning": answer.to_string(),
        })
    };
    let checks: Vec<_> = findings.probe.checks.iter().map(|c| row(c.name, c.since, c.answer)).collect();
    let feature = |feature: &Feature| {
        let mut row = row(feature.name, feature.since, feature.answer);
        // Null of those that count none.
        row["version"] = json!(feature.version);
        row
    };
    let features: Vec<_> = findings.features.iter().map(feature).collect();
    let proof = match &findings.recycling {
        Ok(counts) => json!({
            "recycled": counts.recycled,
            "stranger_hit_by_pid": counts.stranger_hit_by_pid,
            "stranger_hit_by_handle": counts.stranger_hit_by_handle,
        }),
        Err(reason) => json!({
            "recycled": 0,
            "stranger_hit_by_pid": 0,
            "stranger_hit_by_handle": 0,
            "skipped": reason,
        }),
    };
    let jobs: Vec<_> = findings
        .jobs
        .iter()
        .map(|Containing { containment, obstacle, lives_on }| {
            json!({
                "containment": containment.name(),
                "works": obstacle.is_none(),
                "why": obstacle.as_ref().map(Error::to_string),
                "dies_with_owner": obstacle.is_none() && lives_on.is_none(),
                "why_it_lives_on": lives_on.as_ref().map(Error::to_string),
            })
        })
        .collect();
    let limit = |(limit, why): &(JobLimit, Option<Error>)| json!({ "limit": limit.to_string(), "works": why.is_none(), "why": why.as_ref().map(Error::to_string) });
    let limits: Vec<_> = findings.limits.iter().map(limit).collect();
    let tree = match &findings.tree {
        Ok(Proof { started, left_by_group, containment, left_by_job }) => json!({
            "started": started,
            "left_by_group": left_by_group,
            "containment": containment.name(),
            "left_by_job": left_by_job,
        }),
        Err(reason) => json!({ "started": 0, "left_by_group": 0, "left_by_job": 0, "skipped": reason }),
    };
    json!({
        "backend": findings.system.backend_name(),
        "reason": reason(findings.probe, &findings.system),
        "kernel": findings.kernel,
        "arch": std::env::consts::ARCH,
        "door": format!("{:?}", findings.probe.door),
        "spawn_waits": findings.probe.spawn_wait().to_string(),
        "probe_us": findings.took.as_micros(),
        "checks": checks,
        "features": features,
        "proof": proof,
        "jobs": jobs,
        "job_limits": limits,
        "job_proof": tree,
    })
}

/// Colours stay only where a terminal shows them.
fn print(text: &str) {
    match anstream::stdout().write_all(text.as_bytes()) {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => anstream::eprintln!("{error}"),
        Ok(()) => {}
    }
}

fn as_text(findings: &Findings) -> String {
    let Findings { probe, took, system, kernel, recycling, jobs, limits, tree, .. } = findings;
    let rows: String = probe
        .to_string()
        .lines()
        .map(|line| {
            let style = if line.contains(" ✓ ") { GOOD } else { Style::new() };
            format!("{style} {line}{style:#}\n")
        })
        .collect();
    let recycling = match recycling {
        Ok(Counts { recycled, stranger_hit_by_pid, stranger_hit_by_handle }) => format!(
            "recycled {recycled} PIDs: by number a signal would have hit a stranger {BAD}{stranger_hit_by_pid}{BAD:#} times, \
             through the handle it did {GOOD}{stranger_hit_by_handle}{GOOD:#} times"
        ),
        Err(reason) => format!("recycled no PIDs: {reason}"),
    };
    let jobs: String = jobs
        .iter()
        .map(|Containing { containment, obstacle, lives_on }| match (obstacle, lives_on) {
            (None, None) => format!("{GOOD} a job by {containment:<22} ✓ dies with its owner, whatever ends that{GOOD:#}\n"),
            (None, Some(Error::JobLivesOn { why, .. })) => {
                format!("{GOOD} a job by {containment:<22} ✓{GOOD:#} lives on when its owner is gone: {why}\n")
            }
            (None, Some(error)) => format!("{GOOD} a job by {containment:<22} ✓{GOOD:#} {error}\n"),
            (Some(Error::NoContainment { why, .. }), _) => format!(" a job by {containment:<22} – {why}\n"),
            (Some(error), _) => format!(" a job by {containment:<22} – {error}\n"),
        })
        .collect();
    let limits: String = limits
        .iter()
        .map(|(limit, why)| match why {
            None => format!("{GOOD} a job's limit of {limit:<16} ✓{GOOD:#}\n"),
            Some(Error::NoLimit { why, .. } | Error::NoContainment { why, .. }) => {
                format!(" a job's limit of {limit:<16} – {why}\n")
            }
            Some(error) => format!(" a job's limit of {limit:<16} – {error}\n"),
        })
        .collect();
    let tree = match tree {
        Ok(Proof { started, left_by_group, containment, left_by_job }) => format!(
            "started {started} processes, orphans and a daemon among them: killed by their group, {BAD}{left_by_group}{BAD:#} lived on; as a \
             job by {containment}, {GOOD}{left_by_job}{GOOD:#} did"
        ),
        Err(reason) => format!("killed no tree of processes: {reason}"),
    };
    format!(
        "{BOLD}backend: {}{BOLD:#} ({})\n\
         Linux {kernel}, {}; probed in {} µs; children are made through {:?}\n\
         a spawn waits {}\n\n{rows}{jobs}{limits}\n\
         spawned a process, signalled it, waited for it; a second signal gave ProcessDone\n{recycling}\n{tree}\n",
        system.backend_name(),
        reason(probe, system),
        std::env::consts::ARCH,
        took.as_micros(),
        probe.door,
        probe.spawn_wait(),
    )
}
