//! A thousand children, and a bar that shows how many have exited: `cargo run --example waitset -- --children 1000`.
//!
//! One thread waits for all of them. What an exit costs does not depend on how many there are.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::Duration;
use steadfast::{Command, Error, WaitSet};

#[derive(Parser)]
struct Args {
    /// How many processes are started
    #[arg(long, default_value_t = 1000, value_name = "N")]
    children: usize,
    /// The longest that one of them takes, in seconds
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    longest: f64,
    /// Gives up after this time, and kills those that are left
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
}

fn main() -> Result<(), Error> {
    let args = Args::parse();
    let bar = ProgressBar::new(args.children as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} exited, {msg} ({elapsed}, {eta} left)");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let set = WaitSet::new();
    for key in 0..args.children {
        // A shell that sleeps for a time of its own, and one in ten that fails.
        let time = fastrand::f64() * args.longest;
        let script = format!("sleep {time:.3}; exit {}", if key % 10 == 9 { 1 } else { 0 });
        match Command::new("sh").args(["-c", &script]).spawn() {
            Ok(child) => set.add(key, child)?,
            Err(error) => {
                // What runs is waited for all the same.
                bar.suspend(|| eprintln!("{} children are enough for this machine: {error}", set.len()));
                bar.set_length(set.len() as u64);
                break;
            }
        }
    }
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(exited) = set.wait_timeout(Duration::from_secs(args.patience)) {
        let ending = exited.status.map_or_else(|error| error.to_string(), |status| status.to_string());
        *endings.entry(ending).or_default() += 1;
        bar.inc(1);
        let all: Vec<String> = endings.iter().map(|(ending, count)| format!("{count} × {ending}")).collect();
        bar.set_message(all.join(", "));
    }
    bar.finish();
    if !set.is_empty() {
        eprintln!("{} did not exit in {} s: they go on", set.len(), args.patience);
    }
    for (ending, count) in endings {
        println!("{count} × {ending}");
    }
    Ok(())
}
