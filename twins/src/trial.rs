//! A crate that is fetched, moved, built and tested.

use crate::list::{Published, Suite};
use crate::of_std;
use crate::rewrite::rewrite;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{Capture, Captured, Command, Pid, Process, Stdio};

/// After which cargo, and what it runs, is killed: something hangs.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long output is awaited once cargo has exited: some tests leave processes behind that have it open.
const DELAY: Duration = Duration::from_secs(5);

/// Where it is done: in the target directory, out of everybody's way.
pub(crate) struct Place {
    workspace: PathBuf,
    dir: PathBuf,
}

#[derive(Clone, Copy)]
pub(crate) struct Tests {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

pub(crate) struct Outcome {
    /// Lines that the rule has changed.
    pub(crate) changed: usize,
    /// The compiler's first error.
    pub(crate) error: Option<String>,
    pub(crate) before: Option<Tests>,
    pub(crate) after: Option<Tests>,
}

impl Outcome {
    /// Whether it compiles, and passes as much as before, but for so many tests.
    pub(crate) fn is_as_good(&self, fewer: u32) -> bool {
        let passes = match (self.before, self.after) {
            (Some(before), Some(after)) => after.passed + fewer >= before.passed,
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.error.is_none() && passes
    }
}

impl Place {
    pub(crate) fn new(workspace: &Path) -> Result<Place, String> {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| format!("this process cannot become a subreaper: {errno}"))?;
        let dir = workspace.join("target/twins");
        fs::create_dir_all(dir.join("fetch/src")).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Place { workspace: workspace.to_owned(), dir })
    }

    /// Where cargo has put the source of each.
    pub(crate) fn fetch(&self, crates: &[&Published]) -> Result<Vec<PathBuf>, String> {
        let mut manifest =
            String::from("[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n");
        for Published { name, version, features, .. } in crates {
            // Writing to a string cannot fail.
            _ = writeln!(manifest, "{name} = {{ version = \"={version}\", features = {features:?} }}");
        }
        let fetch = self.dir.join("fetch");
        write(&fetch.join("src/lib.rs"), "")?;
        write(&fetch.join("Cargo.toml"), &manifest)?;
        let output = self.cargo(&fetch, &self.dir.join("target"), &["metadata", "--format-version", "1"])?;
        let metadata: Value = serde_json::from_slice(&output.stdout.to_vec())
            .map_err(|_| format!("the crates cannot be fetched: {}", output.stderr))?;
        let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
        let find = |published: &&Published| {
            let package = packages.iter().find(|p| p["name"] == published.name && p["version"] == published.version);
            let manifest = package.and_then(|package| package["manifest_path"].as_str()).map(Path::new);
            manifest.and_then(Path::parent).map(Path::to_owned).ok_or_else(|| format!("{} was not fetched", published.name))
        };
        crates.iter().map(find).collect()
    }

    pub(crate) fn try_it(&self, published: &Published, source: &Path, with_tests: bool) -> Result<Outcome, String> {
        let [plain, moved] = ["std", "steadfast"].map(|name| self.dir.join(name).join(published.name));
        let suite = published.suite.as_ref();
        lay_out(source, &plain, suite, &mut |_, text| text)?;
        let mut changed = 0;
        lay_out(source, &moved, suite, &mut |path, text| {
            if published.keep.iter().any(|dir| path.starts_with(source.join(dir))) {
                return text;
            }
            let (text, lines) = rewrite(&text, suite.map(|suite| suite.moves));
            changed += lines;
            text
        })?;
        self.adopt(&plain, "")?;
        let ours = self.workspace.join("crates/steadfast");
        let mut added = format!("\n[dependencies.steadfast]\npath = {ours:?}\nfeatures = {:?}\n", published.ours);
        for name in published.with {
            // Writing to a string cannot fail.
            _ = write!(added, "[patch.crates-io.{name}]\npath = {:?}\n", self.dir.join("steadfast").join(name));
        }
        self.adopt(&moved, &added)?;
        let mut features = Vec::new();
        if !published.features.is_empty() {
            features = vec!["--features".to_owned(), published.features.join(",")];
        }
        let mut check = vec!["check", "--quiet"];
        check.extend(features.iter().map(String::as_str));
        let target = |dir: &Path| if published.own_target { dir.join("target") } else { self.dir.join("target") };
        let output = self.cargo(&moved, &target(&moved), &check)?;
        let error = (!output.status.is_some_and(|status| status.success())).then(|| first_error(&output));
        let tests = published.tests.filter(|_| with_tests);
        let run = |dir: &Path| {
            let Some(args) = tests else { return Ok(None) };
            let mut words = vec!["test", "--no-fail-fast"];
            words.extend(features.iter().map(String::as_str));
            words.extend(args);
            self.cargo(dir, &target(dir), &words).map(|output| summary(&output))
        };
        let before = run(&plain)?;
        let after = if error.is_none() { run(&moved)? } else { None };
        Ok(Outcome { changed, error, before, after })
    }

    /// As [`try_it`](Self::try_it), with std's own tests.
    pub(crate) fn try_std(&self, source: &Path) -> Result<Outcome, String> {
        let [plain, moved] = ["std", "steadfast"].map(|name| self.dir.join(name).join("std-tests"));
        of_std::lay_out(source, &plain, false)?;
        let changed = of_std::lay_out(source, &moved, true)?;
        self.adopt(&plain, "")?;
        self.adopt(&moved, &format!("steadfast = {{ path = {:?} }}\n", self.workspace.join("crates/steadfast")))?;
        let test = |dir: &Path| self.cargo(dir, &self.dir.join("target"), &["test", "--no-fail-fast"]);
        let before = summary(&test(&plain)?);
        let output = test(&moved)?;
        let error = output.stderr.to_string().contains("could not compile").then(|| first_error(&output));
        Ok(Outcome { changed, error, before, after: summary(&output) })
    }

    /// Makes it a package of its own, with what is added.
    fn adopt(&self, package: &Path, added: &str) -> Result<(), String> {
        let manifest = package.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
        let workspace = if text.contains("[workspace]") { "" } else { "\n[workspace]\n" };
        write(&manifest, &format!("{text}{added}{workspace}"))
    }

    fn cargo(&self, dir: &Path, target: &Path, words: &[&str]) -> Result<Captured, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(words).current_dir(dir).env("CARGO_TARGET_DIR", target);
        // What this crate was built with is not theirs.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
        let cargo = started.map_err(|error| error.to_string())?;
        let captured = cargo.capture(&Capture::new().timeout(PATIENCE).wait_delay(DELAY)).map_err(|error| error.to_string())?;
        if captured.timed_out {
            // A test that hangs has cargo above it, and perhaps children below.
            cargo.kill_group().map_err(|error| error.to_string())?;
            cargo.wait().map_err(|error| error.to_string())?;
        }
        end_orphans()?;
        Ok(captured)
    }
}

/// Ends what some tests leave running: it has come to this process, which is its subreaper, when its parent ended.
fn end_orphans() -> Result<(), String> {
    loop {
        let tasks = fs::read_dir("/proc/self/task").map_err(|error| error.to_string())?.flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<Pid> =
            lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
        if children.is_empty() {
            return Ok(());
        }
        for orphan in children.into_iter().filter_map(|pid| Process::find(pid).ok()) {
            // What has ended by itself meanwhile is as good.
            drop(orphan.kill());
            drop(orphan.wait());
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The crate, or its tests alone as a package that has nothing else.
fn lay_out(
    from: &Path,
    to: &Path,
    suite: Option<&Suite>,
    change: &mut impl FnMut(&Path, String) -> String,
) -> Result<(), String> {
    let Some(suite) = suite else { return copy(from, to, change) };
    drop(fs::remove_dir_all(to));
    let (tests, target) = (from.join("tests"), to.join("tests"));
    let failed = |error: std::io::Error| format!("{}: {error}", tests.display());
    fs::create_dir_all(&target).map_err(failed)?;
    for entry in fs::read_dir(&tests).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if suite.files.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            copy(&entry.path(), &target.join(name), change)?;
        }
    }
    fs::create_dir_all(to.join("src")).map_err(failed)?;
    write(&to.join("src/lib.rs"), "")?;
    write(&to.join("Cargo.toml"), suite.manifest)
}

/// A file, or a whole directory; Rust files changed. What was there before goes.
fn copy(from: &Path, to: &Path, change: &mut impl FnMut(&Path, String) -> String) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    if from.is_dir() {
        drop(fs::remove_dir_all(to));
        fs::create_dir_all(to).map_err(failed)?;
        for entry in fs::read_dir(from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            copy(&entry.path(), &to.join(entry.file_name()), change)?;
        }
        Ok(())
    } else if from.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(from).map_err(failed)?;
        write(to, &change(from, text))
    } else {
        fs::copy(from, to).map(drop).map_err(failed)
    }
}

fn first_error(output: &Captured) -> String {
    let text = output.stderr.to_string();
    let mut errors = text.lines().filter(|line| line.starts_with("error"));
    errors.next().unwrap_or("the compiler says nothing").to_owned()
}

/// All that `test result:` lines say; `None` if there are none.
fn summary(output: &Captured) -> Option<Tests> {
    let text = output.stdout.to_string();
    let count = |line: &str, what: &str| {
        let words: Vec<&str> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        let number = words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse::<u32>().ok());
        number.unwrap_or(0)
    };
    let mut all = None;
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let tests: &mut Tests = all.get_or_insert(Tests { passed: 0, failed: 0 });
        tests.passed += count(line, "passed");
        tests.failed += count(line, "failed");
    }
    all
}
