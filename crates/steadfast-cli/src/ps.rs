//! `steadfast ps`: all processes, as trees; those in jobs, by their jobs.

use crate::say::{self, Format, Outcome};
use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use steadfast::{ErrorKind, Facts, Inspection, Pid, Process, Result, System};

/// Lists processes as trees: each line is of one process, read from beginning to end from the same one
///
/// A process that ends meanwhile is left out, and never mixed with the next one that has its PID.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these, and what descends from them
    #[arg(value_name = "PROCESS")]
    processes: Vec<String>,
    /// Only those in jobs of this library by cgroup, a tree for each job
    #[arg(long)]
    jobs: bool,
    /// The identity of each, too
    #[arg(long)]
    id: bool,
}

/// Of one process.
struct Line {
    pid: Pid,
    facts: Facts,
    command: Vec<OsString>,
    cgroup: Option<PathBuf>,
    identity: Option<String>,
}

/// With which the names of the cgroups begin that are jobs.
const OF_A_JOB: &str = "steadfast-";

pub(crate) fn ps(args: &Args, format: Format) -> Outcome {
    let mut lines = BTreeMap::new();
    for process in System::current()?.processes()? {
        if let Some(line) = unless_over(process.and_then(|process| line(&process, args.id)))? {
            lines.insert(line.pid, line);
        }
    }
    let roots = match args.processes.is_empty() {
        true => None,
        false => Some(args.processes.iter().map(|text| pid_of(text)).collect::<Outcome<Vec<Pid>>>()?),
    };
    let mut groups: BTreeMap<Option<PathBuf>, Vec<(usize, &Line)>> = BTreeMap::new();
    let is_in_a_job = |line: &Line| job_of(line).is_some();
    let is_root = |line: &Line| match &roots {
        Some(roots) => roots.contains(&line.pid),
        None => line
            .facts
            .parent
            .and_then(|parent| lines.get(&parent))
            .is_none_or(|parent| args.jobs && job_of(parent) != job_of(line)),
    };
    for root in lines.values().filter(|line| is_root(line)) {
        let mut below = Vec::new();
        descend(root, 0, &lines, &mut below);
        for (depth, line) in below {
            if !args.jobs || (is_in_a_job(line) && job_of(line) == job_of(root)) {
                groups.entry(args.jobs.then(|| job_of(line)).flatten()).or_default().push((depth, line));
            }
        }
    }
    show(&groups, args, format)?;
    Ok(0)
}

fn pid_of(text: &str) -> Outcome<Pid> {
    match crate::which::find(text)? {
        crate::which::Found::Process(process) => Ok(process.pid()),
        crate::which::Found::Over(how) => Err(format!("{text}: {how}").into()),
    }
}

fn line(process: &Process, with_identity: bool) -> Result<Line> {
    let inspection: Inspection = process.inspect()?;
    let facts = inspection.facts()?;
    // What may not be read is shown as nothing: of kernel threads and other users' processes that is usual.
    let command = inspection.command_line().unwrap_or_default();
    let cgroup = inspection.cgroup().unwrap_or_default();
    let identity = if with_identity { process.identity().ok().map(|identity| identity.to_string()) } else { None };
    Ok(Line { pid: process.pid(), facts, command, cgroup, identity })
}

fn unless_over<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if matches!(error.kind(), ErrorKind::ProcessDone | ErrorKind::Changed) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The cgroup of the job that it is in, if it is in one.
fn job_of(line: &Line) -> Option<PathBuf> {
    let cgroup = line.cgroup.as_ref()?;
    let is_job = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(OF_A_JOB);
    cgroup.ancestors().find(|dir| dir.file_name().is_some_and(is_job)).map(PathBuf::from)
}

fn descend<'a>(line: &'a Line, depth: usize, lines: &'a BTreeMap<Pid, Line>, into: &mut Vec<(usize, &'a Line)>) {
    into.push((depth, line));
    if depth > lines.len() {
        // Lines are read one after the other: if numbers were given away meanwhile, parents can form a circle.
        return;
    }
    for child in lines.values().filter(|child| child.facts.parent == Some(line.pid) && child.pid != line.pid) {
        descend(child, depth + 1, lines, into);
    }
}

fn command_of(line: &Line) -> String {
    let text = match line.command.is_empty() {
        true => format!("[{}]", line.facts.name.to_string_lossy()),
        false => line.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
    };
    say::harmless(&text)
}

fn show(groups: &BTreeMap<Option<PathBuf>, Vec<(usize, &Line)>>, args: &Args, format: Format) -> Outcome<()> {
    if format == Format::Json {
        let all: Vec<Value> =
            groups.iter().flat_map(|(job, lines)| lines.iter().map(|(depth, line)| as_json(job, *depth, line))).collect();
        return say::print_json(&all.into());
    }
    for (job, lines) in groups {
        if let Some(job) = job {
            say::print(&format!("job {}\n", job.display()))?;
        }
        let mut table = Table::new();
        let header = ["PID", "STATE", "CPU s", "MiB"].into_iter().chain(args.id.then_some("IDENTITY")).chain(["COMMAND"]);
        table.load_style(NOTHING).set_header(header);
        for (depth, line) in lines {
            let cpu = (line.facts.user_time + line.facts.system_time).as_secs_f64();
            let cells = [
                line.pid.to_string(),
                line.facts.state.to_string(),
                format!("{cpu:.1}"),
                (line.facts.resident >> 20).to_string(),
            ];
            let identity = args.id.then(|| line.identity.clone().unwrap_or_else(|| "-".into()));
            table.add_row(cells.into_iter().chain(identity).chain([format!("{}{}", "  ".repeat(*depth), command_of(line))]));
        }
        let text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        say::print(&text)?;
    }
    Ok(())
}

fn as_json(job: &Option<PathBuf>, depth: usize, line: &Line) -> Value {
    json!({
        "pid": line.pid.as_raw(),
        "parent": line.facts.parent.map(|parent| parent.as_raw()),
        "depth": depth,
        "name": line.facts.name.to_string_lossy(),
        "state": line.facts.state.to_string(),
        "user_seconds": line.facts.user_time.as_secs_f64(),
        "system_seconds": line.facts.system_time.as_secs_f64(),
        "resident_bytes": line.facts.resident,
        "threads": line.facts.threads,
        "command": line.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(),
        "cgroup": line.cgroup,
        "job": job,
        "identity": line.identity,
    })
}
