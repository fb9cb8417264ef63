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
    /// Why it does not compile, if it does not.
    pub(crate) stands: Option<&'static str>,
    /// What is to be known about the row.
    pub(crate) note: &'static str,
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
        stands: None,
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
    Published {
        keep: &["tests/data"],
        note: "one of its tests looks at the format of its source",
        ..published("xshell", "0.2.7")
    },
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
];
