//! What the simulated kernel costs: a cycle of spawn, exit and wait; a supervised hour; an event among many processes; a process.

use crate::{Format, Result, scenario, table};
use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};
use steadfast::backend::{Plan, Process};
use steadfast::mock::{Kernel, Script, Simulated};

#[derive(clap::Args)]
pub(crate) struct Mock {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How often each is measured; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: usize,
    /// Only cases whose names contain this: cycles, explore_supervisor, per_event
    #[arg(long, default_value = "", value_name = "NAME")]
    case: String,
    /// How much is done in each round, in percent
    #[arg(long, default_value_t = 100, value_name = "PERCENT")]
    work: u64,
}

/// What was measured in one case.
#[derive(Serialize)]
pub(crate) struct Row {
    /// `cycles` (spawn, exit and wait), `explore_supervisor` (seeds, each an hour) or `per_event`.
    pub(crate) case: &'static str,
    /// How many simulated processes there were, beside the one that is measured.
    pub(crate) live: usize,
    pub(crate) per_second: f64,
}

/// One case: its name, how many live processes, and what does so much of it.
type Case = (&'static str, usize, fn(usize, u64) -> Result<u64>);

const CASES: [Case; 7] = [
    ("cycles", 0, cycles),
    ("cycles", 10_000, cycles),
    ("explore_supervisor", 1, explore_supervisor),
    ("per_event", 10, events),
    ("per_event", 100, events),
    ("per_event", 1_000, events),
    ("per_event", 10_000, events),
];

pub(crate) fn run(args: &Mock) -> Result<()> {
    let cases: Vec<&Case> = CASES.iter().filter(|(case, ..)| case.contains(&args.case)).collect();
    if cases.is_empty() {
        return Err(format!(
            "--case {}: there is none of this name; there are cycles, explore_supervisor and per_event",
            args.case
        )
        .into());
    }
    let mut samples = vec![Vec::new(); cases.len()];
    // They take turns, so that a busy moment of the machine is in all of them.
    for _ in 0..args.rounds.max(1) {
        for ((_, live, work), samples) in cases.iter().zip(&mut samples) {
            samples.push(work(*live, args.work)?);
        }
    }
    let median = |mut samples: Vec<u64>| {
        samples.sort_unstable();
        samples[samples.len() / 2] as f64
    };
    let rows: Vec<Row> = cases
        .iter()
        .zip(samples)
        .map(|((case, live, _), samples)| Row { case, live: *live, per_second: median(samples) })
        .collect();
    let bytes = bytes_per_process()?;
    match args.format {
        Format::Text => print!("{}\n{bytes} bytes for a live process and its handle\n", render(&rows)),
        Format::Json => println!("{}", serde_json::json!({ "bench": "mock", "rows": rows, "bytes_per_process": bytes })),
    }
    Ok(())
}

fn per_second(done: u64, since: Instant) -> u64 {
    (done as f64 / since.elapsed().as_secs_f64()) as u64
}

/// A kernel with so many processes that wake up once a second, each at a moment of its own.
fn busy(live: usize) -> Result<(Kernel, Vec<Process>)> {
    let second = Duration::from_secs(1);
    let kernel = Kernel::builder()
        .pid_max(1 << 20)
        .program_with("busy", move |run| Script::new().sleep(run.random_time(second)).loop_forever(Script::new().sleep(second)))
        .program("cycle", Script::new())
        .build();
    let (backend, plan) = (kernel.backend(), Plan::builder("busy").build()?);
    let all: Result<Vec<Process>, _> = (0..live).map(|_| Process::spawn(&backend, &plan).map(|(process, ..)| process)).collect();
    Ok((kernel, all?))
}

fn cycles(live: usize, work: u64) -> Result<u64> {
    let (kernel, others) = busy(live)?;
    let (backend, plan) = (kernel.backend(), Plan::builder("cycle").build()?);
    let cycles = 5_000 * work;
    let start = Instant::now();
    for _ in 0..cycles {
        let (process, ..) = Process::spawn(&backend, &plan)?;
        black_box(process.wait()?);
    }
    let per_second = per_second(cycles, start);
    drop(others);
    Ok(per_second)
}

fn explore_supervisor(_: usize, work: u64) -> Result<u64> {
    let seeds = 10 * work;
    let start = Instant::now();
    let explored = scenario::kernel().exploration().jobs(1).run(1..=seeds, scenario::an_hour);
    explored.map_err(|failure| failure.to_string())?;
    Ok(per_second(seeds, start))
}

fn events(live: usize, work: u64) -> Result<u64> {
    let (kernel, others) = busy(live)?;
    let seconds = (10_000 * work).div_ceil(live as u64);
    let start = Instant::now();
    kernel.system().sleep(Duration::from_secs(seconds));
    let per_second = per_second(seconds * live as u64, start);
    drop(others);
    Ok(per_second)
}

/// What one more live process takes, its handle included: as this process's resident set says.
fn bytes_per_process() -> Result<u64> {
    const MANY: usize = 100_000;
    let before = resident()?;
    let (kernel, all) = busy(MANY)?;
    let bytes = resident()?.saturating_sub(before) / all.len() as u64;
    drop((kernel, all));
    Ok(bytes)
}

/// This process's resident set, in bytes.
pub(crate) fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS in /proc/self/status")?;
    Ok(kib.parse::<u64>()? * 1024)
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let each = format!("{:.2} µs", 1e6 / row.per_second);
        [row.case.to_owned(), row.live.to_string(), format!("{:.0}", row.per_second), each]
    };
    table::render(["case", "live processes", "per second", "each"], &[1, 2, 3], rows.iter().map(cells))
}
