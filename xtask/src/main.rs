//! `cargo xtask`: the commands of this repository.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{compare, environments, mutants, probe, recycle, release, test, tidy, tree};

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
    Bench(compare::Args),
    Hazards(compare::HazardArgs),
    Twins(compare::TwinArgs),
    Environments(environments::Args),
    Mutants(mutants::Args),
    Tidy(tidy::Args),
    Release(release::Args),
    #[command(hide = true)]
    RecyclePids(recycle::Args),
    #[command(hide = true)]
    GrowTree(tree::Args),
}

fn main() -> ExitCode {
    match Args::parse().command {
        Task::Probe(args) => probe::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => compare::run(&args),
        Task::Hazards(args) => compare::run_hazards(&args),
        Task::Twins(args) => compare::run_twins(&args),
        Task::Environments(args) => environments::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Release(args) => release::run(&args),
        Task::RecyclePids(args) => recycle::run(&args),
        Task::GrowTree(args) => tree::run(&args),
    }
}
