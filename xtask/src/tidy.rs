//! `cargo xtask tidy`: the rules that a review forgets. Also a test, so that they cannot be forgotten either.

use crate::arrows::{self, Files};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use steadfast::Probe;

/// Checks the rules that a review forgets
#[derive(clap::Args)]
pub struct Args {}

/// Prints what breaks a rule; exit code 1 if anything does.
pub fn run(_: &Args) -> ExitCode {
    let found = findings(&root());
    for finding in &found {
        println!("{finding}");
    }
    match found.len() {
        0 => {
            println!("tidy: {} rules, nothing found", RULES.len());
            ExitCode::SUCCESS
        }
        n => {
            println!("tidy: {n} found");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A file of the repository: its path from the root, and its text.
struct File {
    path: String,
    text: String,
}

/// A rule's name, and what breaks it: file and reason.
type Rule = (&'static str, fn(&[File]) -> Vec<String>);

const RULES: &[Rule] = &[
    ("every file begins by saying what it is", heads),
    ("`unsafe` is in steadfast-linux and nowhere else, and all others forbid it", no_unsafe),
    ("`cfg` is in the one file for architectures, for optional features and tests", no_cfg),
    ("tests wait for the event", no_sleeps),
    ("every crate has the shared lints", shared_lints),
    ("PLATFORM.md has the features that the probe asks for", features),
    ("a file of more than 400 lines says why in its head, and none has more than 600", lengths),
    ("no files use each other in a circle", circles),
    ("the mock's floors: a file uses its own and lower ones", floors),
];

/// What breaks the rules below `root`.
pub fn findings(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    read(root, root, &mut files);
    files.sort_by(|a: &File, b| a.path.cmp(&b.path));
    let broken =
        |(name, rule): &Rule| -> Vec<String> { rule(&files).into_iter().map(|where_| format!("{where_}: {name}")).collect() };
    RULES.iter().flat_map(broken).collect()
}

fn read(root: &Path, dir: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && !["target", ".git", "corpus", "artifacts"].iter().any(|skip| name == *skip) {
            read(root, &path, files);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "toml" || e == "md") {
            let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push(File { path: relative, text: fs::read_to_string(&path).unwrap_or_default() });
        }
    }
}

fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// The lines of code that have the word, with their numbers: not comments, and not this file, which names what it looks for.
fn lines_with<'a>(file: &'a File, word: &'a str) -> impl Iterator<Item = String> + 'a {
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let found = file.text.lines().enumerate().filter(move |(_, line)| is_code(line) && line.contains(word));
    found.filter(|_| file.path != "xtask/src/tidy.rs").map(|(n, _)| format!("{}:{}", file.path, n + 1))
}

fn heads(files: &[File]) -> Vec<String> {
    let headless = |file: &&File| !file.text.starts_with("//!");
    sources(files).filter(headless).map(|file| file.path.clone()).collect()
}

fn no_unsafe(files: &[File]) -> Vec<String> {
    let elsewhere = |file: &&File| !file.path.starts_with("crates/steadfast-linux/");
    let used = sources(files)
        .filter(elsewhere)
        .flat_map(|file| ["unsafe {", "unsafe fn", "unsafe impl"].into_iter().flat_map(|word| lines_with(file, word)));
    let is_root = |file: &&File| {
        ["src/lib.rs", "src/main.rs", "src/actor.rs", "src/witness.rs", "promises/main.rs"]
            .iter()
            .any(|end| file.path.ends_with(end))
            && !file.path.starts_with("fuzz/")
    };
    let open = |file: &&File| !file.text.contains("#![forbid(unsafe_code)]");
    let open = sources(files).filter(elsewhere).filter(is_root).filter(open).map(|file| file.path.clone());
    used.chain(open).collect()
}

fn no_cfg(files: &[File]) -> Vec<String> {
    let allowed = ["#[cfg(test)]", "#[cfg(has_std_pipe)]", "#[cfg(doctest)]", "#[cfg(feature = ", "#[cfg(any(feature = "];
    let breaks = |file: &File, at: &String| {
        let number = at.rsplit(':').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
        let line = file.text.lines().nth(number - 1).unwrap_or_default();
        !allowed.iter().any(|form| line.contains(form))
    };
    let elsewhere = |file: &&File| file.path != "crates/steadfast-linux/src/arch.rs";
    let found = |file| {
        let attributes = lines_with(file, "#[cfg").chain(lines_with(file, "cfg!("));
        attributes.filter(move |at| breaks(file, at)).collect::<Vec<_>>()
    };
    sources(files).filter(elsewhere).flat_map(found).collect()
}

fn no_sleeps(files: &[File]) -> Vec<String> {
    sources(files)
        .filter(|file| file.path != "crates/steadfast-linux/src/clock.rs")
        .flat_map(|file| lines_with(file, "thread::sleep("))
        .collect()
}

fn shared_lints(files: &[File]) -> Vec<String> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml") && !file.path.starts_with("fuzz/"));
    manifests.filter(|file| !file.text.contains("[lints]\nworkspace = true")).map(|file| file.path.clone()).collect()
}

fn features(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == "PLATFORM.md") else {
        return vec!["PLATFORM.md is missing".into()];
    };
    let (Ok(probe), Ok(features)) = (Probe::once(), Probe::features()) else {
        return vec!["the probe cannot run".into()];
    };
    let asked = probe.checks.iter().map(|c| (c.name, c.since)).chain(features.iter().map(|f| (f.name, f.since)));
    let asked: Vec<String> = asked.map(|(name, since)| format!("| `{name}` | {since} |")).collect();
    let missing = asked.iter().filter(|row| !page.text.contains(row.as_str())).map(|row| format!("PLATFORM.md lacks {row}"));
    let rows = page.text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    let surplus = rows.filter(|row| !asked.iter().any(|known| row.starts_with(known.as_str())));
    missing.chain(surplus.map(|row| format!("PLATFORM.md has {row}, which nobody asks for"))).collect()
}

fn lengths(files: &[File]) -> Vec<String> {
    let is_too_long = |file: &&File| {
        let has_reason =
            file.text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("Longer than other files: "));
        file.text.lines().count() > if has_reason { 600 } else { 400 }
    };
    sources(files).filter(is_too_long).map(|file| file.path.clone()).collect()
}

/// All that is not a test's.
fn product(files: &[File]) -> Files<'_> {
    sources(files).filter(|file| !file.path.starts_with("tests/")).map(|file| (file.path.as_str(), file.text.as_str())).collect()
}

fn circles(files: &[File]) -> Vec<String> {
    arrows::circles(&product(files)).into_iter().map(|circle| circle.join(", ")).collect()
}

fn floors(files: &[File]) -> Vec<String> {
    arrows::upwards(&product(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        assert_eq!(findings(&root()), Vec::<String>::new());
    }

    #[test]
    fn what_is_untidy_is_found() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let bad =
            file("crates/x/src/lib.rs", "fn f() {\n    unsafe { g() }\n}\n#[cfg(unix)]\nfn h() { std::thread::sleep(d) }\n");
        assert_eq!(heads(std::slice::from_ref(&bad)), ["crates/x/src/lib.rs"]);
        assert_eq!(no_unsafe(std::slice::from_ref(&bad)), ["crates/x/src/lib.rs:2", "crates/x/src/lib.rs"]);
        assert_eq!(no_cfg(std::slice::from_ref(&bad)), ["crates/x/src/lib.rs:4"]);
        assert_eq!(no_sleeps(std::slice::from_ref(&bad)), ["crates/x/src/lib.rs:5"]);
        assert_eq!(shared_lints(&[file("crates/x/Cargo.toml", "[package]")]), ["crates/x/Cargo.toml"]);
        let long = |head: &str, lines: usize| file("crates/x/src/long.rs", &format!("//! Long.{head}\n{}", "\n".repeat(lines)));
        assert_eq!(lengths(&[long("", 401), long("\n//! Longer than other files: a table.", 401), long("", 399)]).len(), 1);
        let page = file("PLATFORM.md", "| `pidfd_open` | 5.3 | x |\n| `pidfd_oven` | 5.3 | x |\n");
        let found = features(&[page]);
        assert!(found.iter().any(|f| f.contains("pidfd_oven")) && !found.iter().any(|f| f.contains("`pidfd_open`")));
    }
}
