//! `cargo xtask twins`: takes published crates, moves them from std's processes to ours by their `use` lines and nothing else, and looks
//! whether they still compile, and whether their own tests still pass.
#![forbid(unsafe_code)]

mod list;
mod of_std;
mod rewrite;
mod trial;

use clap::Parser;
use list::{CRATES, Published};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trial::{Outcome, Place, Tests};

#[derive(Parser)]
#[command(name = "cargo xtask twins", about = "Moves published crates to steadfast by their `use` lines, builds and tests them")]
struct Args {
    /// Which crates; all of them, if none is named
    crates: Vec<String>,
    /// Only whether they compile
    #[arg(long)]
    no_tests: bool,
    /// Where std's source is, `library/std/src`; the toolchain's component `rust-src`, if none is named
    #[arg(long, value_name = "DIR")]
    std_source: Option<PathBuf>,
    /// Writes the table to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(unknown) = args.crates.iter().find(|name| CRATES.iter().all(|published| published.name != **name)) {
        eprintln!("{unknown}: not in the list of twins/src/list.rs");
        return ExitCode::FAILURE;
    }
    let chosen =
        CRATES.iter().filter(|published| args.crates.is_empty() || args.crates.iter().any(|name| name == published.name));
    let std_source = of_std::source(args.std_source.as_deref())
        .filter(|_| !args.no_tests && (args.crates.is_empty() || args.std_source.is_some()));
    match run(&chosen.collect::<Vec<_>>(), !args.no_tests, std_source.as_deref()) {
        Ok((page, as_expected)) => {
            print!("{page}");
            if let Some(Err(error)) = args.write.as_ref().map(|file| std::fs::write(file, &page)) {
                eprintln!("the table cannot be written: {error}");
                return ExitCode::FAILURE;
            }
            if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The page, and whether each of them does as well as before.
fn run(crates: &[&Published], with_tests: bool, std_source: Option<&Path>) -> Result<(String, bool), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("this crate has no workspace")?;
    let place = Place::new(root)?;
    let sources = place.fetch(crates)?;
    let mut rows = String::new();
    let mut as_expected = true;
    for (published, source) in crates.iter().zip(&sources) {
        eprintln!("{} {}", published.name, published.version);
        let outcome = place.try_it(published, source, with_tests)?;
        as_expected &= outcome.is_as_good(published.fewer) || published.stands.is_some();
        row(&mut rows, published, &outcome);
    }
    let of_std = match std_source {
        None => "std's own tests and documentation examples were skipped: its source is not here (the component `rust-src`)."
            .to_owned(),
        Some(source) => {
            let outcome = place.try_std(source)?;
            as_expected &= outcome.is_as_good(0);
            let count = |tests: Option<Tests>| tests.map_or((0, 0), |tests| (tests.passed, tests.failed));
            let ((before, _), (after, failed)) = (count(outcome.before), count(outcome.after));
            format!(
                "Of std's own tests and documentation examples of processes, those of nightly features left out, {before} pass with std, and \
                 {after} with steadfast; {failed} fail.{}",
                outcome.error.map(|error| format!(" **{error}**")).unwrap_or_default()
            )
        }
    };
    Ok((format!("{HEAD}{rows}\n{of_std}\n"), as_expected))
}

const HEAD: &str = "# Twins\n\n\
    Published crates, moved from `std::process` to `steadfast::process` by their `use` lines and nothing else: in each path `std::process` \
    becomes `steadfast::process`, and `std::os::unix::process` becomes `steadfast::os::unix::process`, its `prelude` likewise. Made by `cargo xtask twins --write \
    docs/twins.md`, which fails if a crate does not compile, or if fewer of its own tests pass than before. None of their code is kept \
    here: the list is `twins/src/list.rs`.\n\n\
    | crate | changed lines | compiles | own tests before | own tests with steadfast | |\n\
    | --- | --- | --- | --- | --- | --- |\n";

fn row(rows: &mut String, published: &Published, outcome: &Outcome) {
    let compiles = match (&outcome.error, published.stands) {
        (None, _) => "yes".to_owned(),
        (Some(_), Some(why)) => format!("no: {why}"),
        (Some(error), None) => format!("**no**: {}", error.replace('|', "\\|")),
    };
    let tests = |tests: &Option<Tests>| match tests {
        None => "–".to_owned(),
        Some(tests) if tests.failed == 0 => format!("{} pass", tests.passed),
        Some(tests) => format!("{} pass, {} fail", tests.passed, tests.failed),
    };
    let Published { name, version, note, .. } = published;
    let (before, after) = (tests(&outcome.before), tests(&outcome.after));
    // Writing to a string cannot fail.
    _ = writeln!(rows, "| {name} {version} | {} | {compiles} | {before} | {after} | {note} |", outcome.changed);
}
