//! `cargo xtask`: the commands of this repository.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{bench, environments, probe, recycle, test, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What one does with steadfast's repository", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    Probe(probe::Args),
    Test(test::Args),
    Bench(bench::Args),
    Environments(environments::Args),
    Tidy(tidy::Args),
    #[command(hide = true)]
    RecyclePids(recycle::Args),
}

fn main() -> ExitCode {
    match Args::parse().command {
        Task::Probe(args) => probe::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Environments(args) => environments::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::RecyclePids(args) => recycle::run(&args),
    }
}
