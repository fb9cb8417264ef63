//! What waiting costs: an exit among so many live children, and the time from an exit to the return of whoever waits for it.

mod cell;
mod picture;
mod subject;

pub(crate) use cell::{Cell, run as run_cell};

use crate::{Format, Result, table};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub(crate) struct Wait {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How often each subject has its turn in each cell
    #[arg(long, default_value_t = 9, value_name = "N")]
    rounds: usize,
    /// How many live children there are
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000", value_name = "N")]
    children: Vec<usize>,
    /// Draws the cost of an exit against the number of children into this file (SVG)
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    PerExit,
    WakeUp,
    AsyncPerExit,
    AsyncWakeUp,
    /// (Not timed: the memory of a waiting handle)
    Memory,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Case::PerExit => "per_exit",
            Case::WakeUp => "wake_up",
            Case::AsyncPerExit => "async_per_exit",
            Case::AsyncWakeUp => "async_wake_up",
            Case::Memory => "memory",
        }
    }
}

/// What was measured of one subject in one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `per_exit`, `wake_up`, `async_per_exit` or `async_wake_up`.
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) children: usize,
    pub(crate) threads: usize,
    /// Of one exit.
    pub(crate) median_us: f64,
    /// To the median of `limit` in the same cell.
    pub(crate) ratio_to_limit: f64,
}

pub(crate) fn run(args: &Wait) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for case in [Case::PerExit, Case::AsyncPerExit] {
        for children in &args.children {
            rows.extend(measure::<Vec<Row>>(case, *children, args.rounds)?);
        }
    }
    // One exit each: more of them for the same time.
    for case in [Case::WakeUp, Case::AsyncWakeUp] {
        rows.extend(measure::<Vec<Row>>(case, 1, args.rounds * 100)?);
    }
    let most = args.children.iter().copied().max().unwrap_or(1000);
    let bytes: u64 = measure(Case::Memory, most, 1)?;
    match args.format {
        Format::Text => print!("{}\n{bytes} bytes for a handle that waits in a set\n", render(&rows)),
        Format::Json => println!("{}", serde_json::json!({ "bench": "wait", "rows": rows, "bytes_per_handle": bytes })),
    }
    match &args.picture {
        Some(path) => picture::draw(&rows, path),
        None => Ok(()),
    }
}

/// Runs a cell in a process of its own.
fn measure<T: serde::de::DeserializeOwned>(case: Case, children: usize, rounds: usize) -> Result<T> {
    eprintln!("{}: {children} children", case.name());
    let (children, rounds) = (children.to_string(), rounds.to_string());
    let words = ["wait-cell", case.name(), "--children", &children, "--rounds", &rounds];
    let output = Command::new(std::env::current_exe()?).args(words).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{words:?}: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let (median, ratio) = (format!("{:.2} µs", row.median_us), format!("{:.2}", row.ratio_to_limit));
        [row.case.clone(), row.children.to_string(), row.subject.clone(), median, ratio]
    };
    table::render(["case", "children", "subject", "median", "to the limit"], &[1, 3, 4], rows.iter().map(cells))
}
