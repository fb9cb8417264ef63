//! Where the witness goes, and what is expected there.

use super::testimony::Testimony;

/// A kernel, an emulator or a sandbox.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) expected: Expected,
}

/// How one gets there.
pub(crate) enum Way {
    /// This machine as it is.
    Here,
    /// Under a filter, by its name in the witness.
    Filtered(String),
    /// QEMU's user mode: a package and the program in it.
    QemuUser(Package, &'static str),
    Gvisor(Package, &'static str),
    Valgrind(Package),
    /// A real kernel of this series, under QEMU's emulation of a machine.
    Kernel(&'static str),
}

/// A package of a release of Debian.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) suite: &'static str,
}

/// What is known of a place.
pub(crate) struct Expected {
    /// `None`: whatever this machine is.
    backend: Option<&'static str>,
    checks: Vec<(&'static str, String)>,
    features: Features,
    broken: &'static [&'static str],
    waits: Option<&'static str>,
    /// Why the place itself hangs now and then, whatever is asked there.
    pub(crate) hangs: Option<&'static str>,
}

enum Features {
    /// They come from the machine beneath.
    Unknown,
    /// Those that came with this version or before.
    Since(&'static str),
    Only(&'static [&'static str]),
}

/// What the pidfd backend cannot do without, in the probe's order.
const CHECKS: [&str; 4] = ["pidfd_open", "waitid", "pidfd_send_signal", "clone_pidfd"];

/// All of them, the quickest first.
pub(crate) fn all() -> Vec<Place> {
    let mut places = vec![Place { name: "native".into(), way: Way::Here, expected: Expected::anything() }];
    let place = |name: String, way, expected| Place { name, way, expected };
    for (call, check) in
        [("pidfd_open", 0), ("waitid", 1), ("waitid in every form", 1), ("pidfd_send_signal", 2), ("clone_pidfd", 3)]
    {
        // `Reply::all` in `tests/src/filter.rs` has them too. Said twice on purpose: all that is shared with the witness are words, and what
        // it is expected to say is not taken from itself. It refuses a name that it does not know.
        for (reply, answer) in [
            ("ENOSYS", "ENOSYS"),
            ("EPERM", "EPERM"),
            ("EINVAL", "EINVAL"),
            ("SIGSYS trap", "signal 31"),
            ("kill thread", "signal 31"),
            ("kill process", "signal 31"),
        ] {
            let mut checks = ["works"; 4];
            checks[check] = answer;
            let filter = format!("{call}: {reply}");
            let expected = Expected::of("pid-legacy", checks);
            places.push(place(format!("seccomp: {filter}"), Way::Filtered(filter), expected));
        }
    }
    for (profile, backend, checks) in [
        ("docker, 2019", "pid-legacy", ["EPERM", "works", "EPERM", "works"]),
        ("docker, 2024", "pidfd", ["works"; 4]),
        ("android 10", "pid-legacy", ["signal 31", "works", "signal 31", "works"]),
    ] {
        let expected = Expected::of(backend, checks);
        places.push(place(format!("seccomp: {profile}"), Way::Filtered(profile.into()), expected));
    }
    let package = |name, suite| Package { name, suite };
    let legacy = |checks| Expected::of("pid-legacy", checks);
    places.extend([
        // It takes an exit code of 32 or more for the number of a signal, and translates it.
        place(
            "qemu-user 5.2".into(),
            Way::QemuUser(package("qemu-user-static", "bullseye"), "qemu-x86_64-static"),
            legacy(["ENOSYS", "works", "ENOSYS", "EINVAL"])
                .but_broken(&["wait: running: blocks, collects status and PID, becomes done"]),
        ),
        place(
            "qemu-user 7.2".into(),
            Way::QemuUser(package("qemu-user-static", "bookworm"), "qemu-x86_64-static"),
            // One visit in some hundreds on a busy machine: a child of fork(2) sleeps before the emulated program's next instruction, in a
            // futex of the emulator's own data, which a thread held that the child does not have.
            legacy(["works", "works", "works", "EINVAL"])
                .but_hangs("a child waits for a lock of the emulator's own after fork(2)"),
        ),
        place(
            "qemu-user 10.0".into(),
            Way::QemuUser(package("qemu-user", "bookworm-backports"), "qemu-x86_64"),
            Expected::of("pidfd", ["works"; 4]),
        ),
        place(
            "qemu-user 11.1".into(),
            Way::QemuUser(package("qemu-user", "trixie-backports"), "qemu-x86_64"),
            Expected::of("pidfd", ["works"; 4]),
        ),
    ]);
    // It clears no word at an exec, and says nothing of that.
    let gvisor = || legacy(["ENOSYS", "EINVAL", "ENOSYS", "EINVAL"]).waits("pipe");
    places.extend([
        place(
            "gvisor 2022, ptrace".into(),
            Way::Gvisor(package("runsc", "bookworm"), "ptrace"),
            gvisor().features_only(&["WCONTINUED"]),
        ),
        place(
            "gvisor 2024, ptrace".into(),
            Way::Gvisor(package("runsc", "trixie"), "ptrace"),
            gvisor().features_only(&["clone3", "WCONTINUED"]),
        ),
        place(
            "gvisor 2024, systrap".into(),
            Way::Gvisor(package("runsc", "trixie"), "systrap"),
            gvisor().features_only(&["clone3", "WCONTINUED"]),
        ),
        place(
            "valgrind 3.19".into(),
            Way::Valgrind(package("valgrind", "bookworm")),
            legacy(["ENOSYS", "works", "ENOSYS", "works"]),
        ),
        place(
            "valgrind 3.24".into(),
            Way::Valgrind(package("valgrind", "trixie")),
            legacy(["works", "works", "ENOSYS", "works"]),
        ),
    ]);
    for series in ["5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "7.0", "7.3"] {
        let expected = Expected::of("pidfd", ["works"; 4]).features_since(series).waits("word");
        places.push(place(format!("kernel {series}"), Way::Kernel(series), expected));
    }
    places
}

impl Expected {
    fn anything() -> Expected {
        Expected { backend: None, checks: Vec::new(), features: Features::Unknown, broken: &[], hangs: None, waits: None }
    }

    pub(crate) fn of(backend: &'static str, checks: [&str; 4]) -> Expected {
        let checks = CHECKS.into_iter().zip(checks.map(str::to_owned)).collect();
        Expected { backend: Some(backend), checks, ..Expected::anything() }
    }

    /// By what its spawns hear of an exec.
    fn waits(self, waits: &'static str) -> Expected {
        Expected { waits: Some(waits), ..self }
    }

    pub(crate) fn features_since(self, version: &'static str) -> Expected {
        Expected { features: Features::Since(version), ..self }
    }

    fn features_only(self, these: &'static [&'static str]) -> Expected {
        Expected { features: Features::Only(these), ..self }
    }

    /// The place breaks these promises, and nobody can do anything about it.
    pub(crate) fn but_broken(self, broken: &'static [&'static str]) -> Expected {
        Expected { broken, ..self }
    }

    /// The place itself hangs now and then, for this reason: then it is visited again.
    pub(crate) fn but_hangs(self, reason: &'static str) -> Expected {
        Expected { hangs: Some(reason), ..self }
    }

    /// Expected beside seen, for all that is not as expected.
    pub(crate) fn differences(&self, seen: &Testimony) -> Vec<String> {
        let mut differences = seen.errors.clone();
        let mut compare = |what: &str, expected: &str, seen: &str| {
            if expected != seen {
                differences.push(format!("{what}: expected {expected}, seen {seen}"));
            }
        };
        if let Some(backend) = self.backend {
            compare("backend", backend, &seen.backend);
        }
        if let Some(waits) = self.waits {
            compare("the spawner waits by", waits, &seen.waits);
        }
        for (name, expected) in &self.checks {
            compare(name, expected, seen.check(name).unwrap_or("nothing"));
        }
        for (name, since, answer) in &seen.features {
            let is_expected = match self.features {
                Features::Unknown => continue,
                Features::Since(version) => numbers(since) <= numbers(version),
                Features::Only(these) => these.contains(&name.as_str()),
            };
            match (is_expected, answer.as_str()) {
                (true, answer) => compare(&format!("{name} (since {since})"), "works", answer),
                (false, "works") => compare(&format!("{name} (since {since})"), "none", "works"),
                (false, _) => {}
            }
        }
        for promise in &seen.promises {
            let what = format!("{}: {}", promise.backend, promise.name);
            match (self.broken.contains(&promise.name.as_str()), promise.outcome.as_str()) {
                (false, "broken") => {
                    compare(&what, "kept", &format!("broken: {}", promise.why.lines().next().unwrap_or_default()))
                }
                (true, "kept") => compare(&what, "broken", "kept"),
                (_, "begun") => compare(&what, "an end", "none: it hangs, or takes the witness with it"),
                _ => {}
            }
        }
        for robbery in &seen.robberies {
            let [read, written, taken] = robbery.had;
            let had = format!("{read} reads, {written} writes, {taken} descriptors");
            compare(&format!("a hostile user: {}", robbery.name), "0 reads, 0 writes, 0 descriptors", &had);
        }
        if let Some(time) = seen.killed_after {
            differences.push(format!("killed after {time:?}"));
        }
        match &seen.belongings {
            None => differences.push("the witness did not come to its end".into()),
            Some((before, after)) if before != after => {
                differences.push(format!("descriptors, threads, children: expected {before} as before, seen {after}"));
            }
            Some(_) => {}
        }
        differences
    }
}

/// Of a version or of a package's name, to be compared.
pub(crate) fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
