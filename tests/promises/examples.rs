//! The examples that are programs, run as programs.

use crate::Test;
use crate::leaks::children;
use crate::stage::Outcome;
use std::path::PathBuf;
use std::time::Duration;
use steadfast::{Capture, Captured, Command, Signal, Stdio};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("examples: waitset waits for a thousand children", waitset),
        Test::that_may_skip("examples: supervise restarts, passes output on, and stops when asked", supervise),
        Test::that_may_skip("examples: hand_over: one program hands a process on to another", hand_over),
        Test::that_may_skip("examples: sandbox: no network, one writable directory, limits; nothing is left", sandbox),
        Test::that_may_skip("examples: steps shows lines as they come, and answers Ctrl-C", steps),
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
pub(crate) fn with_example(name: &str, check: impl FnOnce(&PathBuf)) -> Outcome {
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

fn hand_over() -> Outcome {
    if steadfast::Process::peer_of(std::os::unix::net::UnixStream::pair().unwrap().0).is_err() {
        return Outcome::Skipped("no sender of a message can be had here".into());
    }
    with_example("hand_over", |program| {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let mut watch = Command::new(program);
        let mut watch = watch.arg("watch").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
        assert_eq!(lines.next().unwrap().unwrap(), "listening");
        let mut give = Command::new(program);
        let give = give.arg("give").arg(&socket).args(["sh", "-c", "exit 7"]).spawn().unwrap();
        assert!(lines.next().unwrap().unwrap().ends_with(&format!("from process {}", give.pid())));
        let end = if crate::contract::tells_lost_status() { "exit status: 7" } else { "ended, status unknown" };
        assert_eq!(lines.next().unwrap().unwrap(), end);
        assert!(give.wait().unwrap().success() && watch.wait().unwrap().success());
        assert_eq!(children(), Vec::<String>::new());
    })
}

fn sandbox() -> Outcome {
    if !crate::walls::has_landlock() {
        return Outcome::Skipped("this kernel has no Landlock".into());
    }
    with_example("sandbox", |sandbox| {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        let run_in = |script: &str, more: &[&str]| {
            let fixed = ["--if-possible", "--writable", inside.to_str().unwrap()];
            let line = format!("cd {}; {script}", inside.display());
            let captured = run(sandbox, &[&fixed[..], more, &["--", "sh", "-c", &line]].concat());
            (captured.status.unwrap().code(), captured.stdout.to_string(), captured.stderr.to_string())
        };
        let (code, said, told) = run_in(
            "cut -s -d: -f1 /proc/net/dev | tr -d ' '; grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status; exit 5",
            &[],
        );
        assert_eq!(code, Some(5), "{told}");
        // The loopback device alone.
        let expected = "lo\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n";
        assert_eq!(said, expected);
        let (code, ..) = run_in("echo x >file && { echo x >../outside; } 2>/dev/null || exit 7", &[]);
        assert_eq!((code, inside.join("file").exists(), outside.exists()), (Some(7), true, false));
        let (code, _, told) = run_in("(setsid sleep 1000 &); sleep 1000", &["--time", "0.3"]);
        assert!(code == Some(124) && told.contains("its time was up"), "{told}");
        assert_eq!(children(), Vec::<String>::new());
    })
}

fn steps() -> Outcome {
    with_example("steps", |steps| {
        let good = run(steps, &["echo one; echo two >&2", "echo three"]);
        assert_eq!(good.status.unwrap().code(), Some(0), "{}", good.stderr);
        let mut lines: Vec<String> = good.stdout.to_string().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!((lines, good.stderr.to_string()), (vec!["0  one".into(), "1  three".into()], "0! two\n".into()));
        let bad = run(steps, &["true", "echo why >&2; exit 3"]);
        assert_eq!(bad.status.unwrap().code(), Some(1));
        assert!(bad.stderr.to_string().ends_with("exit status: 3: why\n"), "{}", bad.stderr);
        let late = run(steps, &["--limit", "0.05", "exec sleep 1000"]);
        assert!(late.status.unwrap().code() == Some(1) && late.stderr.to_string().contains("its time was up"), "{}", late.stderr);
        // One that ends when it is asked to, and one that does not: that takes two, which may come so soon that they are one.
        for (script, insists) in
            [("echo runs; exec sleep 1000", false), ("trap '' TERM; echo runs; sleep 1000; sleep 1000", true)]
        {
            let mut lines = Command::new(steps).arg(script).lines(&Capture::new()).unwrap();
            let process = lines.process().clone();
            assert_eq!(lines.next().unwrap().unwrap().text(), "0  runs");
            process.signal(Signal::INT).unwrap();
            while insists && process.wait_timeout(Duration::from_millis(20)).unwrap().is_none() {
                process.signal(Signal::INT).unwrap();
            }
            assert_eq!(lines.finish().unwrap().status.unwrap().code(), Some(130));
        }
    })
}
