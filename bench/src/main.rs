//! Benchmarks of steadfast against the limit and against its peers; `cargo xtask bench` runs this.
//!
//! Machines are noisy. So the subjects take turns in one process, one spawn each, in an order that is shuffled for each round, and
//! what is reported are medians and their ratios. Each cell (memory in use, threads) is a process of its own, that the memory is as it says.
#![forbid(unsafe_code)]

mod cell;
mod identity;
mod job;
mod mock;
mod picture;
mod program;
mod rows;
#[path = "../../crates/steadfast/examples/supervisor/scenario.rs"]
mod scenario;
mod subject;
#[path = "../../crates/steadfast/examples/supervisor/supervisor.rs"]
mod supervisor;
mod table;
mod wait;

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures steadfast against the limit and against its peers")]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// What it takes to start a process and wait for it, and to read what it writes
    Spawn(Spawn),
    /// What it takes to hear of an exit, and how soon one does
    Wait(wait::Wait),
    /// What it takes to start a process in a job, to have a job, and to kill a large one
    Job(job::Args),
    /// What it takes to find a process, to reopen it by its identity, and to look at it
    Identity(identity::Args),
    /// What the simulated kernel costs
    Mock(mock::Mock),
    /// (One cell of a benchmark, in a process of its own)
    #[command(hide = true)]
    Cell(cell::Cell),
    /// (One cell of the benchmark of waiting)
    #[command(hide = true)]
    WaitCell(wait::Cell),
    /// (What the benchmark of output reads: so many bytes to each of stdout and stderr)
    #[command(hide = true)]
    Write { bytes: u64 },
}

#[derive(clap::Args)]
struct Spawn {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many spawns of each subject in each cell, at the most
    #[arg(long, default_value_t = 1500, value_name = "N")]
    rounds: usize,
    /// How much memory this process has in use, in MiB
    #[arg(long, value_delimiter = ',', default_value = "0,1024,4096", value_name = "MIB")]
    rss: Vec<u64>,
    /// Draws the medians of one thread into this file (SVG)
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
enum Format {
    /// A table
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// What was measured of one subject in one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    /// `plain`, `attributes`, `many` or `output`.
    case: String,
    subject: String,
    rss_mib: u64,
    threads: usize,
    /// Of one spawn and wait; in `many`, of a thousand.
    median_us: f64,
    /// To the median of `limit` in the same cell.
    ratio_to_limit: f64,
}

fn main() -> ExitCode {
    let done = match Args::parse().bench {
        Bench::Spawn(args) => spawn(&args),
        Bench::Wait(args) => wait::run(&args),
        Bench::WaitCell(cell) => wait::run_cell(&cell),
        Bench::Job(args) => job::run(&args),
        Bench::Identity(args) => identity::run(&args),
        Bench::Mock(args) => mock::run(&args),
        Bench::Cell(cell) => cell::run(&cell),
        Bench::Write { bytes } => program::write(bytes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn spawn(args: &Spawn) -> Result<()> {
    let mut rows = Vec::new();
    for rss_mib in &args.rss {
        for threads in [1, 2] {
            for case in [subject::Case::Plain, subject::Case::Attributes] {
                rows.extend(measure(case, *rss_mib, threads, args.rounds)?);
            }
        }
    }
    rows.extend(measure(subject::Case::Many, 0, 1, args.rounds.min(30))?);
    rows.extend(measure(subject::Case::Output, 0, 1, args.rounds.min(15))?);
    match args.format {
        Format::Text => print!("{}", render(&rows)),
        Format::Json => println!("{}", serde_json::json!({ "bench": "spawn", "rows": rows })),
    }
    match &args.picture {
        Some(path) => picture::draw(&rows, path),
        None => Ok(()),
    }
}

/// Runs a cell in a process of its own.
fn measure(case: subject::Case, rss_mib: u64, threads: usize, rounds: usize) -> Result<Vec<Row>> {
    let name = case.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    eprintln!("{name}: {rss_mib} MiB in use, {threads} thread(s)");
    let (rss, threads, rounds) = (rss_mib.to_string(), threads.to_string(), rounds.to_string());
    let words = ["cell", &name, "--rss", &rss, "--threads", &threads, "--rounds", &rounds];
    let output = Command::new(std::env::current_exe()?).args(words).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{words:?}: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let (median, ratio) = (format!("{:.1} µs", row.median_us), format!("{:.2}", row.ratio_to_limit));
        [row.case.clone(), format!("{} MiB", row.rss_mib), row.threads.to_string(), row.subject.clone(), median, ratio]
    };
    table::render(["case", "in use", "threads", "subject", "median", "to the limit"], &[1, 2, 4, 5], rows.iter().map(cells))
}
