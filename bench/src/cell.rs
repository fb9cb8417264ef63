//! One cell: so much memory in use, so many threads, and all subjects of a case, taking turns.

use crate::program::Noop;
use crate::subject::{self, Case, Subject};
use crate::{Result, Row};
use std::sync::Barrier;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Cell {
    case: Case,
    #[arg(long)]
    rss: u64,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    rounds: usize,
}

/// No subject gets more time than this in a cell: some take a thousand times as long as others.
const BUDGET: Duration = Duration::from_secs(4);
/// And each gets this many rounds at least, if so many are asked for.
const LEAST: usize = 12;

pub(crate) fn run(cell: &Cell) -> Result<()> {
    let noop = Noop::make()?;
    let memory = vec![1_u8; (cell.rss << 20) as usize];
    let barrier = Barrier::new(cell.threads);
    let samples = std::thread::scope(|scope| {
        let work = || {
            // A runtime may belong to one thread.
            let subjects = subject::of(cell.case, &noop)?;
            barrier.wait();
            take_turns(&subjects, cell.rounds).map(|samples| (names(&subjects), samples))
        };
        let threads: Vec<_> = (0..cell.threads)
            .map(|_| scope.spawn(move || work().map_err(|e: Box<dyn std::error::Error>| e.to_string())))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect::<std::result::Result<Vec<_>, String>>()
    })?;
    // Still in use.
    assert!(memory.iter().step_by(4096).all(|byte| *byte == 1));
    let names = samples.first().map(|(names, _)| names.clone()).unwrap_or_default();
    let medians: Vec<f64> = (0..names.len())
        .map(|index| median(samples.iter().flat_map(|(_, samples)| samples[index].iter().copied()).collect()))
        .collect();
    let limit = names.iter().position(|name| *name == "limit").map(|index| medians[index]).ok_or("no limit")?;
    let row = |(name, median): (&&str, &f64)| Row {
        case: format!("{:?}", cell.case).to_lowercase(),
        subject: (*name).to_owned(),
        rss_mib: cell.rss,
        threads: cell.threads,
        median_us: *median,
        ratio_to_limit: median / limit,
    };
    let rows: Vec<Row> = names.iter().zip(&medians).map(row).collect();
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

fn names(subjects: &[Subject<'_>]) -> Vec<&'static str> {
    subjects.iter().map(|subject| subject.name).collect()
}

/// In microseconds, for each subject.
fn take_turns(subjects: &[Subject<'_>], rounds: usize) -> Result<Vec<Vec<f64>>> {
    for subject in subjects {
        // Its first time is no measure.
        (subject.run)()?;
    }
    let mut samples = vec![Vec::new(); subjects.len()];
    let mut spent = vec![Duration::ZERO; subjects.len()];
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    for _ in 0..rounds {
        // Who comes behind whom matters: a fork leaves all pages of the parent to be copied.
        fastrand::shuffle(&mut order);
        for index in order.iter().copied() {
            if spent[index] > BUDGET && samples[index].len() >= LEAST {
                continue;
            }
            let start = Instant::now();
            (subjects[index].run)()?;
            let took = start.elapsed();
            spent[index] += took;
            samples[index].push(took.as_secs_f64() * 1e6);
        }
    }
    Ok(samples)
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
