//! Runs shell commands at the same time, and shows their lines as they come: `cargo run --example steps -- 'make' 'cargo test'`.
//!
//! Ctrl-C asks all of them to end, a second one kills them. The exit code is 0 if all have succeeded, 1 if one has not, 130 after Ctrl-C.

use clap::Parser;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use steadfast::{Capture, Command, Error, Lines, Next, OutputStream, Process, Signal, WaitSet};

#[derive(Parser)]
struct Args {
    /// What is run, each by `sh -c`
    #[arg(required = true, value_name = "COMMAND")]
    commands: Vec<String>,
    /// The longest that each may take, in seconds; then it is killed
    #[arg(long, default_value_t = 3600.0, value_name = "SECONDS")]
    limit: f64,
}

fn main() -> Result<ExitCode, Error> {
    let args = Args::parse();
    let time = Duration::try_from_secs_f64(args.limit).unwrap_or(Duration::MAX);
    // A line without an end does not use up the memory.
    let options = Capture::new().timeout(time).kill_on_timeout(true).line_limit(10_000);
    let set = WaitSet::new();
    // Before the first step: from here on Ctrl-C is ours to answer.
    let stop = set.interrupter()?;
    let handled = ctrlc(move || stop.interrupt());
    if let Err(error) = handled {
        eprintln!("Ctrl-C ends this program and leaves the steps alone: {error}");
    }
    let mut readers = Vec::new();
    let mut processes: Vec<Process> = Vec::new();
    for (number, command) in args.commands.iter().enumerate() {
        let mut step = Command::new("sh");
        // Not in the terminal's foreground group, whose Ctrl-C would come to each of them too.
        step.args(["-c", command]).process_group(0).kill_on_drop(true).checked(true);
        let lines = step.lines(&options)?;
        processes.push(lines.process().clone());
        set.add(number, lines.process().clone())?;
        readers.push(thread::spawn(move || show(number, lines)));
    }
    let mut interrupts = 0;
    while !set.is_empty() {
        match set.wait_next(None)? {
            Next::Exited(_) => {}
            Next::Interrupted => {
                interrupts += 1;
                let signal = if interrupts == 1 { Signal::TERM } else { Signal::KILL };
                // Whoever has ended, or leads no group any more, needs none.
                processes.iter().for_each(|process| drop(process.signal_group(signal)));
            }
            _ => break,
        }
    }
    // All of them, also after one that has failed.
    let failed = readers.into_iter().filter_map(|reader| reader.join().ok().filter(|succeeded| !succeeded)).count();
    Ok(match (interrupts, failed) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(130),
    })
}

/// Each line behind the number of its step; whether the step has succeeded.
fn show(number: usize, mut lines: Lines) -> bool {
    for line in lines.by_ref() {
        match line {
            Ok(line) if line.stream == OutputStream::Stdout => println!("{number}  {line}"),
            Ok(line) => eprintln!("{number}! {line}"),
            Err(error) => eprintln!("{number}! {error}"),
        }
    }
    match lines.finish() {
        Ok(_) => true,
        Err(error) => {
            eprintln!("{number}! {error}");
            false
        }
    }
}

/// Calls for each Ctrl-C, on a thread.
fn ctrlc(call: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
    thread::spawn(move || signals.forever().for_each(|_| call()));
    Ok(())
}
