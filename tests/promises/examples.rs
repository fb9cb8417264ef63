//! The examples that are programs, run as programs.

use crate::Test;
use crate::leaks::children;
use crate::stage::{Outcome, row};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;
use steadfast::{Capture, Captured, Command, Signal, Stdio};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("examples: timeout ends as coreutils' does, in each documented case", timeout),
        Test::that_may_skip("examples: waitset waits for a thousand children", waitset),
        Test::that_may_skip("examples: supervise restarts, passes output on, and stops when asked", supervise),
    ]
}

/// A program among the examples, which `cargo xtask test` builds.
fn example(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().expect("a program knows where it is");
    let path = own.ancestors().nth(2).map(|dir| dir.join("examples").join(name)).unwrap_or_default();
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("the example {name} was not built: `cargo build --examples --all-features`"))
    }
}

/// With the program, or skipped.
fn with_example(name: &str, check: impl FnOnce(&PathBuf)) -> Outcome {
    match example(name) {
        Err(reason) => Outcome::Skipped(reason),
        Ok(path) => {
            check(&path);
            Outcome::Passed
        }
    }
}

fn run(program: &PathBuf, args: &[&str]) -> Captured {
    let options = Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true);
    let captured = Command::new(program).args(args).stdin(Stdio::null()).capture(&options).unwrap();
    assert!(!captured.timed_out, "{args:?} hangs");
    captured
}

/// A shell's words that wait until its parent sleeps. The `timeout` of coreutils (9.1) takes a signal that comes before its `fork` has
/// returned for its own end: 129 instead of what the command says.
macro_rules! parent_waits {
    () => {
        "until grep -q 'State:.S' /proc/$PPID/status; do :; done; "
    };
}

/// The arguments, and how it ends: by an exit code, or by a signal.
const CASES: &[(&[&str], Result<i32, i32>)] = &[
    (&["5", "true"], Ok(0)),
    (&["5", "sh", "-c", "exit 3"], Ok(3)),
    (&["5", "sh", "-c", "exit 124"], Ok(124)),
    (&["0", "true"], Ok(0)),
    (&["0s", "sh", "-c", "exit 4"], Ok(4)),
    (&["1d", "true"], Ok(0)),
    (&["inf", "true"], Ok(0)),
    (&["1e300", "true"], Ok(0)),
    (&["0.1", "sleep", "20"], Ok(124)),
    (&["0.1s", "sleep", "20"], Ok(124)),
    (&["0.002m", "sleep", "20"], Ok(124)),
    (&["0.00003h", "sleep", "20"], Ok(124)),
    (&["0.000002d", "sleep", "20"], Ok(124)),
    (&["-s", "INT", "0.1", "sleep", "20"], Ok(124)),
    (&["-s", "2", "0.1", "sleep", "20"], Ok(124)),
    (&["--signal=USR1", "0.1", "sleep", "20"], Ok(124)),
    (&["--preserve-status", "0.1", "sleep", "20"], Ok(143)),
    (&["--preserve-status", "0.1", "sh", "-c", "trap 'exit 9' TERM; sleep 20 & wait"], Ok(9)),
    (&["--foreground", "0.1", "sleep", "20"], Ok(124)),
    (&["--foreground", "-s", "KILL", "0.1", "sleep", "20"], Ok(137)),
    (&["--foreground", "-k", "0.1", "0.1", "sh", "-c", "trap '' TERM; exec sleep 20"], Ok(137)),
    // In the background it is in the group that it kills.
    (&["-s", "KILL", "0.1", "sleep", "20"], Err(9)),
    (&["-k", "0.1", "0.1", "sh", "-c", "trap '' TERM; exec sleep 20"], Err(9)),
    (&["-k", "20", "0.1", "sh", "-c", "trap 'exit 5' TERM; sleep 20 & wait"], Ok(124)),
    (&["5", "sh", "-c", "kill -USR1 $$"], Err(10)),
    (&["5", "sh", "-c", "kill -KILL $$"], Err(9)),
    // A signal that it gets itself is passed on.
    (&["5", "sh", "-c", concat!("trap 'exit 7' TERM; ", parent_waits!(), "kill -TERM $PPID; sleep 20 & wait")], Ok(7)),
    (
        &[
            "--foreground",
            "5",
            "sh",
            "-c",
            concat!("trap 'exit 8' HUP; ", parent_waits!(), "kill -HUP $PPID; while :; do sleep 0.1; done"),
        ],
        Ok(8),
    ),
    (&["5", "/etc/passwd"], Ok(126)),
    (&["5", "/"], Ok(126)),
    (&["5", "no-such-command"], Ok(127)),
    (&["5", "/no/such/command"], Ok(127)),
    (&["x", "true"], Ok(125)),
    (&["5x", "true"], Ok(125)),
    (&["-k", "x", "5", "true"], Ok(125)),
    (&["-s", "NOPE", "5", "true"], Ok(125)),
    (&["--nope", "5", "true"], Ok(125)),
    (&["5"], Ok(125)),
    (&[], Ok(125)),
    (&["--help"], Ok(0)),
    (&["--version"], Ok(0)),
];

fn timeout() -> Outcome {
    with_example("timeout", |ours| {
        let theirs = PathBuf::from("timeout");
        let is_there = Command::new(&theirs)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU coreutils"));
        for (args, expected) in CASES {
            let _row = row(format!("timeout {args:?}"));
            let end = |program| {
                let status = run(program, args).status.unwrap();
                status.signal().map_or_else(|| Ok(status.code().unwrap()), Err)
            };
            assert_eq!(end(ours), *expected, "timeout {args:?}");
            if is_there {
                assert_eq!(end(&theirs), *expected, "timeout {args:?}: coreutils");
            }
        }
        let said = run(ours, &["-v", "0.1", "sleep", "20"]).stderr.to_string();
        assert!(said.contains("sending signal TERM to command \"sleep\""), "{said}");
    })
}

fn waitset() -> Outcome {
    with_example("waitset", |waitset| {
        let captured = run(waitset, &["--children", "1000", "--longest", "0.5"]);
        assert!(captured.status.unwrap().success(), "{}", captured.stderr);
        let said = captured.stdout.to_string();
        assert_eq!(said, "900 × exit status: 0\n100 × exit status: 1\n");
    })
}

fn supervise() -> Outcome {
    with_example("supervise", |supervise| {
        let captured = run(supervise, &["--restarts", "2", "--pause", "0.01", "--", "sh", "-c", "echo up; echo no >&2; exit 3"]);
        assert_eq!(captured.status.unwrap().code(), Some(3));
        let said = captured.stdout.to_string();
        for (words, times) in [("] started", 3), ("] up", 3), ("] no", 3), ("] exit status: 3", 3)] {
            assert_eq!(said.matches(words).count(), times, "{said}");
        }
        // Asked to stop: politely first, and then not.
        for (patience, script, expected) in
            [("20", "trap 'exit 6' TERM; echo up; sleep 5 & wait", 6), ("0.1", "trap '' TERM; echo up; exec sleep 5", 1)]
        {
            let args = ["--patience", patience, "--", "sh", "-c", script];
            let mut child = Command::new(supervise).args(args).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
            assert!(lines.by_ref().any(|line| line.unwrap().ends_with("] up")));
            child.signal(Signal::TERM).unwrap();
            assert!(lines.any(|line| line.unwrap().contains("] stopped: ")));
            assert_eq!(child.wait_timeout(Duration::from_secs(60)).unwrap().unwrap().code(), Some(expected));
        }
        assert_eq!(children(), Vec::<String>::new());
    })
}
