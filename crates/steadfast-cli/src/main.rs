//! `steadfast`: runs, waits for, kills, names and lists processes, and never the wrong one.
//!
//! | file | holds |
//! | --- | --- |
//! | `run.rs` | a command in a job, with limits |
//! | `wait.rs`, `kill.rs`, `id.rs` | what is done to a process that exists |
//! | `tree.rs` | all descendants of a process |
//! | `ps.rs` | all processes, as trees |
//! | `probe.rs` | what this machine can do |
//! | `which.rs` | a process by what the user says: a PID, an identity, a pidfile |
//! | `say.rs` | text and JSON, progress, exit codes |
//! | `pages.rs` | manual pages and completions |
#![forbid(unsafe_code)]

mod id;
mod kill;
mod pages;
mod probe;
mod ps;
mod run;
mod say;
mod tree;
mod wait;
mod which;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs, waits for, kills, names and lists processes, and never the wrong one
///
/// A PID is a number that the kernel gives away again. This program holds on to processes by handles, and names them by identities, which can be
/// stored: what it signals is the process that was meant, or nobody.
#[derive(Parser)]
#[command(name = "steadfast", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    order: Order,
    /// How to print what is found
    #[arg(long, global = true, value_enum, default_value_t)]
    format: say::Format,
}

#[derive(Subcommand)]
enum Order {
    Run(run::Args),
    Wait(wait::Args),
    Kill(kill::Args),
    Id(id::Args),
    Ps(ps::Args),
    Probe(probe::Args),
    Man(pages::ManArgs),
    Completions(pages::CompletionsArgs),
}

fn main() -> ExitCode {
    let Cli { order, format } = Cli::try_parse().unwrap_or_else(|error| say::refuse(&error));
    let outcome = match order {
        Order::Run(args) => return ExitCode::from(run::run(&args, format)),
        Order::Wait(args) => wait::wait(&args, format),
        Order::Kill(args) => kill::kill(&args, format),
        Order::Id(args) => id::id(&args, format),
        Order::Ps(args) => ps::ps(&args, format),
        Order::Probe(args) => probe::probe(&args, format),
        Order::Man(args) => pages::man(&args),
        Order::Completions(args) => pages::completions(&args),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        say::complain(&error);
        say::FAILED
    }))
}
