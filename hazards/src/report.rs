//! The table: for the terminal, as JSON, and as the page `docs/hazards.md`.

use crate::hazard;
use crate::library;
use crate::verdict::{PATIENCE, Seen, Verdict};
use comfy_table::{Table, presets::NOTHING};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) hazard: String,
    pub(crate) library: String,
    pub(crate) is_ours: bool,
    pub(crate) seen: Seen,
}

/// Whose packages the peers are, by the workspace's lock file.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The README has the table in its shortest form between these.
const BEGIN: &str = "<!-- hazards: begin -->\n";
const END: &str = "<!-- hazards: end -->\n";

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Safe => "safe",
        Verdict::Error => "error",
        Verdict::WrongAnswer => "wrong answer",
        Verdict::StrangerHit => "stranger hit",
        Verdict::Robbed => "robbed",
        Verdict::NotOffered => "–",
    }
}

/// A hazard, and what each library makes of it.
fn rows(cells: &[Cell]) -> Vec<(&'static str, Vec<&Cell>)> {
    let row = |hazard: &hazard::Hazard| (hazard.name, cells.iter().filter(|cell| cell.hazard == hazard.id).collect::<Vec<_>>());
    hazard::ALL.iter().map(row).filter(|(_, cells)| !cells.is_empty()).collect()
}

pub(crate) fn text(cells: &[Cell]) -> String {
    let rows = rows(cells);
    let mut table = Table::new();
    let header = rows.first().map(|(_, cells)| cells.iter().map(|cell| cell.library.replace(", ", "\n")));
    table.load_style(NOTHING).set_header(std::iter::once("hazard".to_owned()).chain(header.into_iter().flatten()));
    for (name, cells) in &rows {
        table.add_row(std::iter::once(*name).chain(cells.iter().map(|cell| word(cell.seen.verdict))));
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for (name, cells) in rows {
        _ = writeln!(text, "\n{name}:");
        for cell in cells.iter().filter(|cell| cell.seen.verdict != Verdict::NotOffered) {
            _ = writeln!(text, "  {}: {}: {}", cell.library, word(cell.seen.verdict), cell.seen.note);
        }
    }
    text
}

/// When, and with what.
pub(crate) struct Day {
    date: String,
    versions: Vec<(String, String)>,
}

pub(crate) fn today() -> Result<Day> {
    Ok(Day { date: said_by("date", &["-u", "+%F"])?, versions: versions()? })
}

pub(crate) fn json(cells: &[Cell], day: &Day) -> String {
    let versions: serde_json::Map<_, _> =
        day.versions.iter().map(|(name, version)| (name.clone(), version.clone().into())).collect();
    json!({ "hazards": cells, "date": day.date, "versions": versions }).to_string()
}

fn said_by(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Of the libraries, each once; and of what is beneath them.
fn versions() -> Result<Vec<(String, String)>> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = said_by(&rustc, &["--version"])?;
    let version = version.split(' ').nth(1).unwrap_or_default().to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut versions = vec![("Linux".to_owned(), kernel.trim().to_owned()), ("std".to_owned(), version)];
    for package in library::all().iter().filter_map(|library| library.package) {
        let entry = format!("name = \"{package}\"\nversion = \"");
        let version =
            LOCK.split_once(&entry).and_then(|(_, rest)| rest.split('"').next()).ok_or("a package that is not locked")?;
        if versions.iter().all(|(name, _)| name != package) {
            versions.push((package.to_owned(), version.to_owned()));
        }
    }
    Ok(versions)
}

fn markdown(cells: &[Cell]) -> String {
    let line = |words: Vec<String>| format!("| {} |\n", words.join(" | "));
    let rows = rows(cells);
    let libraries: Vec<String> =
        rows.first().map(|(_, cells)| cells.iter().map(|c| c.library.clone()).collect()).unwrap_or_default();
    let mut table = line(std::iter::once("hazard".to_owned()).chain(libraries.iter().cloned()).collect());
    table += &line(std::iter::repeat_n("---".to_owned(), libraries.len() + 1).collect());
    for (name, cells) in rows {
        let shown = |cell: &&Cell| match cell.seen.verdict {
            bad @ (Verdict::WrongAnswer | Verdict::StrangerHit | Verdict::Robbed) => format!("**{}**", word(bad)),
            good => word(good).to_owned(),
        };
        table += &line(std::iter::once(name.to_owned()).chain(cells.iter().map(shown)).collect());
    }
    table
}

/// How often each library did what.
fn summary(cells: &[Cell]) -> String {
    let mut table = "| of so many dangers | safe | error | wrong answer | stranger hit | not offered |\n".to_owned();
    table += "| --- | --- | --- | --- | --- | --- |\n";
    let mut libraries: Vec<&str> = cells.iter().map(|cell| &*cell.library).collect();
    let mut seen = HashSet::new();
    libraries.retain(|library| seen.insert(*library));
    for library in libraries {
        let count = |verdicts: &[Verdict]| {
            let is_it = |cell: &&Cell| cell.library == library && verdicts.contains(&cell.seen.verdict);
            cells.iter().filter(is_it).count().to_string()
        };
        let counts = [
            count(&[Verdict::Safe]),
            count(&[Verdict::Error]),
            count(&[Verdict::WrongAnswer]),
            count(&[Verdict::StrangerHit, Verdict::Robbed]),
            count(&[Verdict::NotOffered]),
        ];
        _ = writeln!(table, "| {library} | {} |", counts.join(" | "));
    }
    table
}

/// The same on each run.
fn without_pids(note: &str) -> String {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    let mut parts = note.split("process ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match digits(part) {
        0 => text + "process " + part,
        count => text + "process PID" + &part[count..],
    })
}

/// # Errors
/// If a file cannot be written, or the README has no place for the table.
pub(crate) fn write(cells: &[Cell], Day { date, versions }: &Day, path: &Path) -> Result<()> {
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut page = format!(
        "# Hazards\n\nThe dangers that users of processes do not see, tried on {date} with {}. Made by `cargo xtask hazards --write \
         docs/hazards.md`, which fails if a cell of steadfast's is neither safe nor an honest error.\n\n\
         *safe*: the truth, and nobody else was touched. *error*: it says that it cannot tell. *wrong answer*: it says what is not so, \
         panics, does not return in {} seconds, cannot go on, or what it was to end lives on and no call says so. *stranger hit*: it killed, or took the \
         status of, a process that it was not asked about. –: it does not offer that.\n\n\
         A tree is asked of each that offers to end more than the one process, in the strongest way of its documentation. What only the \
         documentation says is not told to a program. command-group has no column: it signals a group by the same killpg(2) as \
         process-wrap, its successor.\n\n",
        versions.join(", "),
        PATIENCE.as_secs()
    );
    page += &markdown(cells);
    page += "\n## What each of them did\n";
    for (name, cells) in rows(cells) {
        _ = write!(page, "\n**{}{}**\n\n", name[..1].to_uppercase(), &name[1..]);
        for cell in cells.iter().filter(|cell| cell.seen.verdict != Verdict::NotOffered) {
            _ = writeln!(page, "* {}: {}: {}", cell.library, word(cell.seen.verdict), without_pids(&cell.seen.note));
        }
    }
    fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    let readme = path.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("README.md");
    let text = fs::read_to_string(&readme).map_err(|error| format!("{}: {error}", readme.display()))?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the README has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("the README's place for the table has no end")?;
    Ok(fs::write(&readme, format!("{before}{BEGIN}{}{END}{after}", summary(cells)))?)
}
