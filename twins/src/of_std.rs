//! std's own tests and documentation examples of processes, as far as they need no nightly feature, where std's source is here: the component
//! `rust-src` of the toolchain, or the directory that one names.

use crate::rewrite::rewrite;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What is documented with examples.
const DOCUMENTED: [&str; 3] = ["process.rs", "os/unix/process.rs", "os/linux/process.rs"];

/// The directory of std's source, and of which Rust it says that it is.
pub(crate) fn source(named: Option<&Path>) -> Option<PathBuf> {
    let sysroot = || {
        let output = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
        Some(Path::new(String::from_utf8(output.stdout).ok()?.trim()).join("lib/rustlib/src/rust/library/std/src"))
    };
    let dir = named.map(Path::to_owned).or_else(sysroot)?;
    dir.join("process/tests.rs").is_file().then_some(dir)
}

/// A package of both, for std's names or for ours: `src/lib.rs` and `tests/std.rs`. Returns the lines that the rule has changed.
pub(crate) fn lay_out(source: &Path, to: &Path, moved: bool) -> Result<usize, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", source.display());
    let mut changed = 0;
    let mut rule = |text: String| {
        if !moved {
            return text;
        }
        let (text, lines) = rewrite(&text, None);
        changed += lines;
        text
    };
    let mut examples = String::new();
    for (number, file) in DOCUMENTED.iter().enumerate() {
        let text = fs::read_to_string(source.join(file)).map_err(failed)?;
        for (count, example) in blocks(&text).into_iter().enumerate() {
            // Writing to a string cannot fail.
            _ = writeln!(examples, "{}\npub fn example_{number}_{count}() {{}}\n", rule(example));
        }
    }
    // Inside of std, the paths begin with `crate` and `super`.
    let tests = fs::read_to_string(source.join("process/tests.rs")).map_err(failed)?;
    let [root, parent] = ["crate", "super"].map(|word| format!("{word}::"));
    let tests = tests.replace(&root, "std::").replace(&parent, "std::process::");
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to.join("src")).and_then(|()| fs::create_dir_all(to.join("tests"))).map_err(failed)?;
    fs::write(to.join("src/lib.rs"), examples).map_err(failed)?;
    fs::write(to.join("tests/std.rs"), rule(tests)).map_err(failed)?;
    let manifest = "[package]\nname = \"std-tests\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\nlibc = \"0.2\"\n";
    fs::write(to.join("Cargo.toml"), manifest).map_err(failed)?;
    Ok(changed)
}

/// The examples in a file's documentation, each as documentation of its own.
fn blocks(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(line) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            block = None;
            continue;
        };
        let is_fence = line.trim_start().starts_with("```");
        let block_before = block.take();
        block = match block_before {
            None if is_fence => Some(format!("///{line}\n")),
            None => None,
            Some(block) if is_fence => {
                let example = format!("{block}///{line}");
                if !example.contains("#![feature") {
                    all.push(example);
                }
                None
            }
            Some(block) => Some(format!("{block}///{line}\n")),
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_a_block_without_nightly_features() {
        let text =
            "/// a\n/// ```\n/// use std::process;\n/// ```\nfn a() {}\n    /// ```\n    /// #![feature(x)]\n    /// ```\n";
        assert_eq!(blocks(text), ["/// ```\n/// use std::process;\n/// ```"]);
    }
}
