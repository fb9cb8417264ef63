//! `cargo xtask release`: what has to be so before a version goes out.
//!
//! The oldest compiler and the standard libraries of other architectures are Debian 13's packages, unpacked into the cache of `cargo xtask
//! environments`. Its compiler is started with its own C library, because this machine's may be older.

use crate::environments::packages::Packages;
use crate::tidy;
use clap::ValueEnum;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Checks what a release needs: packages, the oldest compiler, each architecture, each feature alone, the oldest dependencies, the last version's API
#[derive(clap::Args)]
pub struct Args {
    /// Only these checks
    #[arg(value_enum, value_name = "CHECK")]
    only: Vec<Check>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// Each crate can be published, by `cargo publish --dry-run`, and is built from what is in its package
    Packages,
    /// The crates are built by the compiler of `rust-version`
    Compiler,
    /// The crates are checked for each architecture of PLATFORM.md, 32-bit and big-endian ones too
    Architectures,
    /// The crates are built with each of their features alone, and with none
    Features,
    /// The crates are built with the oldest versions of what they depend on
    Dependencies,
    /// The API has changed since the last tag as its version says
    Api,
}

enum Outcome {
    Kept(String),
    Failed(String),
    Skipped(String),
}

/// Those that are published and are libraries.
const LIBRARIES: [&str; 7] = [
    "steadfast",
    "steadfast-conformance",
    "steadfast-core",
    "steadfast-linux",
    "steadfast-mock",
    "steadfast-pid-legacy",
    "steadfast-pidfd",
];

/// Of a Debian release: its compiler, and what that needs.
const SUITE: &str = "trixie";
const COMPILER: [&str; 17] = [
    "rustc",
    "libstd-rust-dev",
    "libstd-rust-1.85",
    "libllvm19",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libz3-4",
    "libedit2",
    "libzstd1",
    "libxml2",
    "libffi8",
    "libbsd0",
    "libmd0",
    "libtinfo6",
    "liblzma5",
];

/// An architecture as Debian has it, and as Rust does.
const ARCHITECTURES: [(&str, &str); 6] = [
    ("arm64", "aarch64-unknown-linux-gnu"),
    ("armhf", "armv7-unknown-linux-gnueabihf"),
    ("i386", "i686-unknown-linux-gnu"),
    ("ppc64el", "powerpc64le-unknown-linux-gnu"),
    ("riscv64", "riscv64gc-unknown-linux-gnu"),
    ("s390x", "s390x-unknown-linux-gnu"),
];

/// Runs them all, and says what came of each. Exit code 1 if one has failed.
pub fn run(args: &Args) -> ExitCode {
    let mut has_failed = false;
    for check in Check::value_variants() {
        if !args.only.is_empty() && !args.only.contains(check) {
            continue;
        }
        let outcome = match check {
            Check::Packages => packages(),
            Check::Compiler => compiler(),
            Check::Architectures => architectures(),
            Check::Features => features(),
            Check::Dependencies => dependencies(),
            Check::Api => api(),
        };
        let name = check.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
        has_failed |= matches!(outcome, Outcome::Failed(_));
        match outcome {
            Outcome::Kept(what) => println!("{name}: ok: {what}"),
            Outcome::Failed(why) => println!("{name}: FAILED: {why}"),
            Outcome::Skipped(why) => println!("{name}: skipped: because {why}"),
        }
    }
    ExitCode::from(u8::from(has_failed))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tidy::root());
    command
}

fn target_dir() -> PathBuf {
    tidy::root().join("target/release-checks")
}

/// Lets it say what it says, and asks how it ended.
fn ends_well(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} has ended with {status}")),
        Err(error) => Err(format!("{:?} cannot be started: {error}", command.get_program())),
    }
}

fn outcome(what: impl Into<String>, answer: Result<(), String>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Kept(what.into()),
        Err(why) => Outcome::Failed(why),
    }
}

fn of_libraries(command: &mut Command) -> &mut Command {
    command.args(LIBRARIES.iter().flat_map(|library| ["-p", library]))
}

fn packages() -> Outcome {
    let mut publish = cargo();
    publish.args(["publish", "--quiet", "--workspace", "--dry-run", "--allow-dirty", "--target-dir"]).arg(target_dir());
    outcome("all crates can be published, and are built from their packages", ends_well(&mut publish))
}

/// The compiler of the oldest version, with the standard libraries of these architectures.
fn oldest_compiler(architectures: &[&str]) -> Result<PathBuf, String> {
    let host = Packages::new()?;
    let root = target_dir().join("sysroot");
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|error| fail(&root, error))?;
    }
    fs::create_dir_all(&root).map_err(|error| fail(&root, error))?;
    let foreign = Packages::foreign(SUITE, architectures)?;
    for package in COMPILER {
        copied(&host.fetch(&format!("{package}/{SUITE}"))?, &root)?;
    }
    for architecture in architectures {
        let dir = foreign.fetch(&format!("libstd-rust-dev:{architecture}"))?;
        copied(&dir.join("usr/lib/rustlib"), &root.join("usr/lib/rustlib"))?;
    }
    // By the loader and the libraries of its own release; `lib` may be in `/` or in `/usr`.
    let root = root.display();
    let script = format!(
        "#!/bin/sh\nloader=$(ls {root}/usr/lib64/ld-linux-x86-64.so.2 {root}/lib64/ld-linux-x86-64.so.2 2>/dev/null | head -n1)\n\
         exec \"$loader\" --library-path {root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu {root}/usr/bin/rustc --sysroot {root}/usr \"$@\"\n"
    );
    let path = target_dir().join("rustc");
    fs::write(&path, script).map_err(|error| fail(&path, error))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|error| fail(&path, error))?;
    Ok(path)
}

/// With hard links, where they are to be had: the packages are large, and only read.
fn copied(from: &Path, into: &Path) -> Result<(), String> {
    let mut from: OsString = from.as_os_str().to_owned();
    from.push("/.");
    let copy = |how: &str| ends_well(Command::new("cp").args(["-rP", "--preserve=mode", how]).arg(&from).arg(into));
    copy("--link").or_else(|_| copy("--force"))
}

/// A check by this compiler.
fn check_by(rustc: &Path) -> Command {
    let mut check = cargo();
    check.env("RUSTC", rustc).args(["check", "--quiet", "--lib", "--all-features", "--target-dir"]).arg(target_dir());
    of_libraries(&mut check);
    check
}

fn compiler() -> Outcome {
    if std::env::consts::ARCH != "x86_64" {
        return Outcome::Skipped("the compiler's package is x86_64's".into());
    }
    let rustc = match oldest_compiler(&[]) {
        Ok(rustc) => rustc,
        Err(why) => return Outcome::Skipped(why),
    };
    outcome("the libraries are built by rustc 1.85", ends_well(&mut check_by(&rustc)))
}

fn architectures() -> Outcome {
    if std::env::consts::ARCH != "x86_64" {
        return Outcome::Skipped("the compiler's package is x86_64's".into());
    }
    let rustc = match oldest_compiler(&ARCHITECTURES.map(|(debian, _)| debian)) {
        Ok(rustc) => rustc,
        Err(why) => return Outcome::Skipped(why),
    };
    let mut all = check_by(&rustc);
    all.args(ARCHITECTURES.iter().flat_map(|(_, target)| ["--target", target]));
    let names = ARCHITECTURES.map(|(_, target)| target.split('-').next().unwrap_or_default());
    outcome(format!("the libraries are checked for {}", names.join(", ")), ends_well(&mut all))
}

fn features() -> Outcome {
    let mut hack = cargo();
    hack.args(["hack", "check", "--quiet", "--each-feature", "--no-dev-deps", "--target-dir"]).arg(target_dir());
    if !cargo().args(["hack", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped("cargo-hack is not there: cargo install --locked cargo-hack".into());
    }
    outcome("each feature alone, none, and all", ends_well(of_libraries(&mut hack)))
}

/// In a copy, which has what is published and nothing else: what tests and tools depend on would ask for newer versions.
fn dependencies() -> Outcome {
    // The one that chooses a compiler, and not that which it has chosen for us.
    let nightly = || {
        let mut command = Command::new("cargo");
        command.arg("+nightly");
        command
    };
    if !nightly().arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped("there is no nightly compiler".into());
    }
    let copy = target_dir().join("oldest");
    let answer = copied_for_publishing(&copy).and_then(|()| {
        let here = |command: &mut Command| ends_well(command.current_dir(&copy));
        here(nightly().args(["update", "--quiet", "-Zdirect-minimal-versions"]))?;
        here(of_libraries(cargo().args(["check", "--quiet", "--all-features", "--target-dir"]).arg(target_dir())))
    });
    outcome("the libraries are built with the oldest versions that they allow", answer)
}

fn copied_for_publishing(copy: &Path) -> Result<(), String> {
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if copy.exists() {
        fs::remove_dir_all(copy).map_err(|error| fail(copy, error))?;
    }
    fs::create_dir_all(copy.join("crates")).map_err(|error| fail(copy, error))?;
    let root = tidy::root();
    for library in LIBRARIES {
        let (from, to) = (root.join("crates").join(library), copy.join("crates").join(library));
        fs::create_dir_all(&to).map_err(|error| fail(&to, error))?;
        copied(&from.join("src"), &to.join("src"))?;
        let build = from.join("build.rs");
        if build.exists() {
            fs::copy(&build, to.join("build.rs")).map_err(|error| fail(&build, error))?;
        }
        let manifest = from.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|error| fail(&manifest, error))?;
        fs::write(to.join("Cargo.toml"), without_tests(&text)).map_err(|error| fail(&to, error))?;
    }
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| fail(&manifest, error))?;
    let of_list = |line: &&str| !["members =", "default-members =", "exclude ="].iter().any(|begin| line.starts_with(begin));
    let text: String = text.lines().filter(of_list).map(|line| format!("{line}\n")).collect();
    let text = text.replacen("[workspace]\n", "[workspace]\nmembers = [\"crates/*\"]\n", 1);
    fs::write(copy.join("Cargo.toml"), text).map_err(|error| fail(copy, error))
}

/// A manifest's tables but for those of tests and examples.
fn without_tests(manifest: &str) -> String {
    let mut is_kept = true;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_kept = !["[dev-dependencies]", "[[test]]", "[[example]]"].contains(&line);
        }
        if is_kept {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn api() -> Outcome {
    let tags = Command::new("git").args(["describe", "--tags", "--abbrev=0"]).current_dir(tidy::root()).output();
    let tag = tags
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let Some(tag) = tag else { return Outcome::Skipped("no version was tagged yet".into()) };
    if !cargo().args(["semver-checks", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped("cargo-semver-checks is not there: cargo install --locked cargo-semver-checks".into());
    }
    let mut checks = cargo();
    checks.args(["semver-checks", "--baseline-rev", &tag]);
    outcome(format!("as its version says, since {tag}"), ends_well(of_libraries(&mut checks)))
}
