//! Which crates are moved.

/// One of them.
pub(crate) struct Published {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) features: &'static [&'static str],
    /// What its own tests are told; `None`: they need what is not here.
    pub(crate) tests: Option<&'static [&'static str]>,
    /// Crates of this list whose moved copy it is built with, because it hands them a command or a child.
    pub(crate) with: &'static [&'static str],
    /// Features of steadfast that it needs.
    pub(crate) ours: &'static [&'static str],
    /// Directories that stay as they are: programs which its tests compile without cargo.
    pub(crate) keep: &'static [&'static str],
    /// Whether its tests look for their programs in a target directory of its own.
    pub(crate) own_target: bool,
    /// Of a library that we have a twin of: its tests alone are moved.
    pub(crate) suite: Option<Suite>,
    /// Why it does not compile, if it does not.
    pub(crate) stands: Option<&'static str>,
    /// How many of its tests fail that pass with what it had before, for the reason that the note gives.
    pub(crate) fewer: u32,
    /// What is to be known about the row.
    pub(crate) note: &'static str,
}

/// Tests without their library.
pub(crate) struct Suite {
    /// Where a path begins with the first, it begins with the second then.
    pub(crate) moves: (&'static str, &'static str),
    /// How the files of `tests` begin that are about processes, and what they share.
    pub(crate) files: &'static [&'static str],
    /// What they need, and which features they think they have.
    pub(crate) manifest: &'static str,
}

const fn published(name: &'static str, version: &'static str) -> Published {
    Published {
        name,
        version,
        features: &[],
        tests: Some(&[]),
        with: &[],
        ours: &[],
        keep: &[],
        own_target: false,
        suite: None,
        stands: None,
        fewer: 0,
        note: "",
    }
}

pub(crate) const CRATES: &[Published] = &[
    Published {
        stands: Some("hands on the `std::process::Command` of another crate, find-msvc-tools"),
        ..published("cc", "1.2.62")
    },
    published("cmake", "0.1.58"),
    published("pkg-config", "0.3.34"),
    published("rustc_version", "0.4.1"),
    published("grep-cli", "0.1.12"),
    published("open", "5.4.5"),
    published("cargo_metadata", "0.23.1"),
    published("escargot", "1.0.1"),
    published("rusty-fork", "0.3.1"),
    Published { tests: None, note: "its tests open a browser", ..published("webbrowser", "1.2.6") },
    published("shared_child", "1.1.2"),
    Published { with: &["shared_child"], ours: &["os_pipe"], own_target: true, ..published("duct", "1.1.2") },
    Published { features: &["std"], ..published("process-wrap", "10.0.1") },
    Published { keep: &["tests/data"], ..published("xshell", "0.2.7") },
    published("which", "8.0.6"),
    published("os_info", "3.15.0"),
    Published { stands: Some("the crate wait-timeout extends std's `Child` alone"), ..published("assert_cmd", "2.2.2") },
    published("subprocess", "1.2.3"),
    published("command-group", "5.0.1"),
    Published { ours: &["os_pipe"], ..published("cmd_lib", "2.0.1") },
    published("opener", "0.9.0"),
    published("jobserver", "0.1.35"),
    published("git-version", "0.3.9"),
    published("trycmd", "1.2.1"),
    Published {
        ours: &["tokio"],
        fewer: 1,
        note: "its tests of processes alone, over `steadfast::tokio::process`; one wants a panic of `spawn` where there is no runtime: ours needs none",
        suite: Some(Suite {
            moves: ("tokio::process", "steadfast::tokio::process"),
            files: &["process_", "support"],
            manifest: TOKIO,
        }),
        ..published("tokio", "1.54.1")
    },
    Published {
        ours: &["async-io"],
        note: "its tests alone, over `steadfast::async_process`",
        suite: Some(Suite { moves: ("async_process", "steadfast::async_process"), files: &[""], manifest: ASYNC_PROCESS }),
        ..published("async-process", "2.5.0")
    },
];

const TOKIO: &str = r#"[package]
name = "tokio-tests"
version = "0.0.0"
edition = "2021"
[features]
default = ["full", "process", "rt", "io-util", "time", "macros", "net", "signal", "sync", "fs"]
full = []
process = []
rt = []
io-util = []
time = []
macros = []
net = []
signal = []
sync = []
fs = []
[dependencies]
futures = "0.3"
libc = "0.2"
nix = { version = "0.31", features = ["fs", "process", "signal"] }
tempfile = "3"
tokio = { version = "1.54", features = ["full"] }
tokio-test = "0.4"
"#;

const ASYNC_PROCESS: &str = r#"[package]
name = "async-process-tests"
version = "0.0.0"
edition = "2021"
[dependencies]
async-io = "2"
async-process = "2"
futures-lite = "2"
"#;
