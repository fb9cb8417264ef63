//! `cargo xtask environments`: the probe and the contract on machines that we do not have.
//!
//! A static program, the witness (`tests/src/witness.rs`), is taken to each place, examines it, and says line by line what it finds. What
//! a place is known to be like is in `places.rs`; where it is otherwise, or a promise is broken, that is a failure.
//!
//! | file | holds |
//! | --- | --- |
//! | `places.rs` | where the witness goes, and what is expected there |
//! | `packages.rs` | Debian's packages, of other releases too: found, checked, unpacked, never installed |
//! | `travel.rs` | the witness, and how it gets to each kind of place |
//! | `testimony.rs` | what it says, and whether that is as expected |
//! | `report.rs` | tables, JSON, `docs/environments.md` |

pub(crate) mod packages;
mod places;
mod report;
mod testimony;
mod travel;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use places::Place;
use std::path::PathBuf;
use std::process::ExitCode;
pub use testimony::MARK;
use testimony::Testimony;

/// In the environment of a witness that is alone on its machine.
pub const ALONE: &str = "STEADFAST_ALONE";

/// Holds both real backends to the contract on other kernels, emulators and sandboxes, and prints one matrix
#[derive(clap::Args)]
pub struct Args {
    /// Go only to the place of this name, or to those whose names contain this (may be given several times)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// List the places
    #[arg(long)]
    list: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many random cases each property is tried with
    #[arg(long, default_value_t = 30, value_name = "N")]
    cases: u32,
    /// How many programs are started as another user in each way, with that user's processes about
    #[arg(long, default_value_t = 100, value_name = "N")]
    spawns: u32,
    /// Also writes the matrix into this file (Markdown)
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON array, an object for each place
    Json,
}

/// What became of a visit.
pub(crate) enum Visit {
    /// As expected, or the differences.
    Made(Box<Testimony>, Vec<String>),
    /// It cannot be had here, with the reason.
    Skipped(String),
}

/// Goes everywhere. Exit code 1 if something is not as expected, or nothing was examined.
pub fn run(args: &Args) -> ExitCode {
    let places = choose(places::all(), &args.only);
    if args.list {
        places.iter().for_each(|place| println!("{}", place.name));
        return ExitCode::SUCCESS;
    }
    match visit_all(&places, args) {
        Ok(visits) => ExitCode::from(u8::from(!is_good(&visits))),
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A name in full means one place: `kernel 6.1` is not `kernel 6.12`.
fn choose(places: Vec<Place>, only: &[String]) -> Vec<Place> {
    let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
    let means = |text: &String, name: &str| if names.contains(text) { text == name } else { name.contains(text.as_str()) };
    places.into_iter().filter(|place| only.is_empty() || only.iter().any(|text| means(text, &place.name))).collect()
}

fn visit_all(places: &[Place], args: &Args) -> Result<Vec<Visit>, String> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {msg}").map_err(|error| error.to_string())?;
    let progress = ProgressBar::new(places.len() as u64).with_style(style);
    progress.set_message("building the witness");
    let traveller = travel::Traveller::new(args.cases, args.spawns)?;
    let mut visits = Vec::new();
    for place in places {
        progress.set_message(place.name.clone());
        visits.push(match visit(&traveller, place) {
            Err(reason) => Visit::Skipped(reason),
            Ok(testimony) => {
                let differences = place.expected.differences(&testimony);
                Visit::Made(Box::new(testimony), differences)
            }
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    let all: Vec<(&Place, &Visit)> = places.iter().zip(&visits).collect();
    match args.format {
        Format::Text => print!("{}", report::text(&all)),
        Format::Json => println!("{}", report::json(&all)),
    }
    if let Some(path) = &args.write {
        let words = report::markdown(&all)?;
        std::fs::write(path, words).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(visits)
}

/// A place that hangs by itself now and then is visited again, some times.
fn visit(traveller: &travel::Traveller, place: &Place) -> Result<Testimony, String> {
    let mut hung = Vec::new();
    loop {
        let testimony = traveller.visit(place)?;
        match testimony.hung_at() {
            Some(promise) if place.expected.hangs.is_some() && hung.len() < 2 => hung.push(promise.to_owned()),
            _ => return Ok(Testimony { hung, ..testimony }),
        }
    }
}

fn is_good(visits: &[Visit]) -> bool {
    let made = visits.iter().filter(|visit| matches!(visit, Visit::Made(..))).count();
    let is_as_expected =
        |visit: &Visit| matches!(visit, Visit::Skipped(_)) || matches!(visit, Visit::Made(_, none) if none.is_empty());
    made > 0 && visits.iter().all(is_as_expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(lines: &str) -> Testimony {
        let marked: String = lines.lines().map(|line| format!("[ 1.0] noise\n{MARK}{line}\r\n")).collect();
        Testimony::hear(&marked)
    }

    const PROBE: &str = r#"{"event":"probe","backend":"pid-legacy","door":"Fork","checks":[{"name":"pidfd_open","answer":"ENOSYS"},{"name":"waitid","answer":"works"},{"name":"pidfd_send_signal","answer":"works"},{"name":"clone_pidfd","answer":"EINVAL"}],"features":[{"name":"clone3","since":"5.3","answer":"works"}]}"#;

    fn told(promise: &str) -> Testimony {
        let end = r#"{"event":"end","before":[4,1,0],"after":[4,1,0]}"#;
        witness(&format!("{PROBE}\n{promise}\n{end}"))
    }

    fn kept() -> Testimony {
        told(r#"{"event":"promise","backend":"pid-legacy","name":"p","outcome":"kept","why":""}"#)
    }

    fn expected() -> places::Expected {
        places::Expected::of("pid-legacy", ["ENOSYS", "works", "works", "EINVAL"])
    }

    #[test]
    fn a_name_in_full_means_one_place() {
        let chosen = |only: &[&str]| -> Vec<String> {
            let only: Vec<String> = only.iter().map(|text| (*text).to_owned()).collect();
            choose(places::all(), &only).into_iter().map(|place| place.name).collect()
        };
        assert_eq!(chosen(&["kernel 6.1", "valgrind"]), ["valgrind 3.19", "valgrind 3.24", "kernel 6.1"]);
        assert_eq!(chosen(&[]).len(), places::all().len());
        assert_eq!(chosen(&["no such place"]), Vec::<String>::new());
    }

    #[test]
    fn what_is_as_expected_is_good_and_nothing_else() {
        assert_eq!(expected().differences(&kept()), Vec::<String>::new());
        let other = places::Expected::of("pidfd", ["works", "works", "works", "works"]);
        let differences = other.differences(&kept());
        assert!(differences.iter().any(|line| line == "backend: expected pidfd, seen pid-legacy"), "{differences:?}");
        assert!(differences.iter().any(|line| line == "clone_pidfd: expected works, seen EINVAL"), "{differences:?}");
    }

    #[test]
    fn a_broken_promise_a_silent_witness_and_a_leak_are_failures() {
        let broken = told(r#"{"event":"promise","backend":"pid-legacy","name":"p","outcome":"broken","why":"no"}"#);
        assert_eq!(expected().differences(&broken), ["pid-legacy: p: expected kept, seen broken: no"]);
        assert_eq!(expected().but_broken(&["p"]).differences(&broken), Vec::<String>::new());
        assert_eq!(expected().but_broken(&["p"]).differences(&kept()), ["pid-legacy: p: expected broken, seen kept"]);
        let hung = witness(&format!(
            "{PROBE}\n{}",
            r#"{"event":"promise","backend":"pid-legacy","name":"p","outcome":"begun","why":""}"#
        ));
        let differences = expected().differences(&hung);
        assert!(differences.iter().any(|line| line.contains("pid-legacy: p: expected an end, seen none")), "{differences:?}");
        // Only one that was killed has hung.
        assert_eq!((hung.hung_at(), kept().hung_at()), (None, None));
        let killed = Testimony { killed_after: Some(std::time::Duration::from_secs(1)), ..hung };
        assert_eq!(killed.hung_at(), Some("p"));
        assert!(expected().but_hangs("why").differences(&killed).contains(&"killed after 1s".to_owned()));
        let leaking = witness(&format!("{PROBE}\n{}", r#"{"event":"end","before":[4,1,0],"after":[5,1,0]}"#));
        assert!(expected().differences(&leaking)[0].contains("descriptors"), "{:?}", expected().differences(&leaking));
        // Nothing kept at all is no success either.
        assert!(!is_good(&[Visit::Skipped("no".into())]));
        assert!(is_good(&[Visit::Skipped("no".into()), Visit::Made(Box::new(kept()), vec![])]));
    }

    #[test]
    fn features_follow_the_kernels_version() {
        let kernel = places::Expected::of("pid-legacy", ["ENOSYS", "works", "works", "EINVAL"]).features_since("5.2");
        assert_eq!(kernel.differences(&kept()), ["clone3 (since 5.3): expected none, seen works"]);
        let kernel = expected().features_since("5.10");
        assert_eq!(kernel.differences(&kept()), Vec::<String>::new());
    }
}
