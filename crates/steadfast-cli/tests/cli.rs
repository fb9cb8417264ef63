//! The program as a user meets it: what it prints, its exit codes, and what is left.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use steadfast::{Child, Command, Containment, Job, Pid, Process, Stdio};

const STEADFAST: &str = env!("CARGO_BIN_EXE_steadfast");

fn steadfast(args: &[&str]) -> Output {
    Command::new(STEADFAST).args(args).output().expect("it starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it ended by signal {:?}", output.status.signal()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends when its stdin does, or when the test panics; says `ready` first.
fn lasting(script: &str) -> (Child, String) {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("sh starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it says something");
    (child, line.trim().to_owned())
}

fn forever() -> Child {
    lasting("echo ready; exec cat >/dev/null").0
}

fn holds_all() -> bool {
    Job::new().expect("there is always a group").containment() != Containment::Group
}

#[test]
fn run_has_the_exit_codes_of_timeout() {
    let cases: [(&[&str], i32); 8] = [
        (&["run", "true"], 0),
        (&["run", "--", "sh", "-c", "exit 7"], 7),
        (&["run", "sh", "-c", "kill -9 $$"], 137),
        (&["run", "/no/such/program"], 127),
        (&["run", "/etc/passwd"], 126),
        (&["run", "--time-limit", "100ms", "sleep", "1000"], 124),
        (&["run", "--time-limit", "100ms", "--grace", "100ms", "sh", "-c", "trap '' TERM; while :; do sleep 1000; done"], 137),
        (&["run", "--no-such-option", "true"], 125),
    ];
    for (args, expected) in cases {
        let output = steadfast(args);
        assert_eq!(code(&output), expected, "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn nothing_of_a_run_is_left() {
    if !holds_all() {
        return;
    }
    // A daemon, whose parent has ended: it says its number, and has the pipe open as long as it lives.
    let daemon = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.2";
    let output = steadfast(&["run", "sh", "-c", daemon]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let pid: i32 = text(&output.stdout).trim().parse().expect("the daemon's number");
    // Its new parent may not have waited for it yet.
    let over = |it: Process| it.wait_exited_timeout(Duration::ZERO).unwrap().is_some();
    assert!(Process::find(Pid::new(pid).unwrap()).map_or(true, over), "it lives on");
}

#[test]
fn run_waits_for_all_if_it_is_told_to() {
    let output = steadfast(&["run", "--wait-for-all", "sh", "-c", "(sleep 0.3; echo late) & echo early"]);
    assert_eq!((code(&output), text(&output.stdout)), (0, "early\nlate\n".into()));
}

#[test]
fn a_signal_to_run_ends_the_command_and_all_of_its() {
    let mut run =
        Command::new(STEADFAST).args(["run", "sh", "-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let sleeper = Process::find(Pid::new(line.trim().parse().unwrap()).unwrap()).unwrap();
    run.signal(steadfast::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(128 + 15));
    sleeper.wait_gone().unwrap();
    // Nobody has the pipe any more.
    stdout.read_to_string(&mut line).unwrap();
}

#[test]
fn run_writes_its_output_into_files_and_its_report_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let output = steadfast(&[
        "run",
        "--format",
        "json",
        "--stdout",
        &path("out"),
        "--stderr",
        &path("err"),
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!(code(&output), 3);
    assert_eq!(std::fs::read_to_string(path("out")).unwrap(), "out\n");
    assert_eq!(std::fs::read_to_string(path("err")).unwrap(), "err\n");
    let report: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&report["code"], &report["timed_out"], &report["command"][0]), (&3.into(), &false.into(), &"sh".into()));
    let both = steadfast(&["run", "--stdout", &path("both"), "--stderr", "-", "sh", "-c", "echo 1; echo 2 >&2; echo 3"]);
    assert_eq!((code(&both), std::fs::read_to_string(path("both")).unwrap()), (0, "1\n2\n3\n".into()));
}

#[test]
fn a_limit_that_cannot_be_had_is_an_error_or_said() {
    let no_such = steadfast(&["run", "--containment", "group", "--memory", "64M", "true"]);
    assert_eq!(code(&no_such), 125, "{}", text(&no_such.stderr));
    let without = steadfast(&["run", "--containment", "group", "--memory", "64M", "--limits-if-possible", "true"]);
    assert_eq!(code(&without), 0, "{}", text(&without.stderr));
    assert!(text(&without.stderr).contains("without a limit of memory"), "{}", text(&without.stderr));
}

#[test]
fn one_at_a_time_by_a_pidfile() {
    let dir = tempfile::tempdir().unwrap();
    let pidfile = dir.path().join("it.pid");
    let shown = pidfile.display().to_string();
    let mut first = Command::new(STEADFAST)
        .args(["run", "--pidfile", &shown, "sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(first.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    while !pidfile.exists() {
        std::thread::yield_now();
    }
    let second = steadfast(&["run", "--pidfile", &shown, "true"]);
    assert_eq!(code(&second), 125, "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("it.pid"), "{}", text(&second.stderr));
    // By the file, the one that it names is ended.
    let kill = steadfast(&["kill", "--grace", "10s", &shown]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(128 + 15));
    assert!(!Path::new(&pidfile).exists());
    assert_eq!(code(&steadfast(&["kill", &shown])), 125);
}

#[test]
fn an_identity_finds_the_process_and_nobody_when_that_is_gone() {
    let child = forever();
    let pid = child.pid().to_string();
    let id = steadfast(&["id", &pid]);
    assert_eq!(code(&id), 0, "{}", text(&id.stderr));
    let id = text(&id.stdout).trim().to_owned();
    assert_eq!(id, child.identity().unwrap().to_string());
    let kill = steadfast(&["kill", &id]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    for order in ["kill", "wait"] {
        let over = steadfast(&[order, &id]);
        assert_eq!((code(&over), text(&over.stdout)), (0, format!("{id}: it is gone\n")));
    }
    assert_eq!(code(&steadfast(&["id", &pid])), 125);
}

#[test]
fn wait_has_a_limit_and_tells_of_an_end() {
    let mut child = forever();
    let pid = child.pid().to_string();
    let late = steadfast(&["wait", "--timeout", "50ms", &pid]);
    assert_eq!(code(&late), 124, "{}", text(&late.stderr));
    let mut waits = Command::new(STEADFAST).args(["wait", "--format", "json", &pid]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    let mut said = String::new();
    waits.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said[0]["ended"], &said[0]["process"]), (&true.into(), &pid.as_str().into()));
    assert_eq!(waits.wait().unwrap().code(), Some(0));
    child.wait().unwrap();
}

#[test]
fn kill_with_the_tree_ends_all_that_descend() {
    let (child, grandchild) = lasting("sh -c 'sleep 1000 & echo $!; wait' & wait");
    let grandchild = Process::find(Pid::new(grandchild.parse().unwrap()).unwrap()).unwrap();
    let kill = steadfast(&["kill", "--tree", "--grace", "10s", "--format", "json", &child.pid().to_string()]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    let said: Value = serde_json::from_slice(&kill.stdout).unwrap();
    assert_eq!((&said[0]["signalled"], &said[0]["left"]), (&3.into(), &0.into()), "{said}");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    grandchild.wait_gone().unwrap();
}

#[test]
fn kill_insists_on_who_is_deaf() {
    let (child, _) = lasting("trap '' TERM; echo ready; while :; do read line || sleep 1000; done");
    let kill = steadfast(&["kill", "--grace", "50ms", &child.pid().to_string()]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    assert!(text(&kill.stdout).contains("SIGKILL"), "{}", text(&kill.stdout));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn ps_shows_a_tree_from_a_process_on() {
    let (child, grandchild) = lasting("sleep 1000 & echo $!; wait");
    let ps = steadfast(&["ps", "--format", "json", "--id", &child.pid().to_string()]);
    assert_eq!(code(&ps), 0, "{}", text(&ps.stderr));
    let lines: Value = serde_json::from_slice(&ps.stdout).unwrap();
    assert_eq!((&lines[0]["pid"], &lines[0]["depth"]), (&child.pid().as_raw().into(), &0.into()), "{lines}");
    assert_eq!(lines[1]["pid"].to_string(), grandchild);
    assert_eq!((&lines[1]["depth"], &lines[1]["command"][0]), (&1.into(), &"sleep".into()));
    assert_eq!(lines[0]["identity"], child.identity().unwrap().to_string().as_str());
    let plain = text(&steadfast(&["ps", &child.pid().to_string()]).stdout);
    assert!(plain.contains("  sleep 1000"), "{plain}");
    Process::find(Pid::new(grandchild.parse().unwrap()).unwrap()).unwrap().kill().unwrap();
}

#[test]
fn ps_shows_jobs() {
    let job = Job::new().unwrap();
    if job.containment() != Containment::Cgroup {
        return;
    }
    let child = Command::new("sleep").arg("1000").in_job(&job).spawn().unwrap();
    let lines: Value = serde_json::from_slice(&steadfast(&["ps", "--jobs", "--format", "json"]).stdout).unwrap();
    let is_it = |line: &&Value| line["pid"] == child.pid().as_raw();
    let line = lines.as_array().unwrap().iter().find(is_it).expect("it is listed");
    assert!(line["job"].as_str().is_some_and(|job| job.contains("/steadfast-")), "{line}");
    job.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn probe_tells_the_backend() {
    let probe: Value = serde_json::from_slice(&steadfast(&["probe", "--format", "json"]).stdout).unwrap();
    assert_eq!(probe["backend"], steadfast::System::current().unwrap().backend_name());
    assert!(text(&steadfast(&["probe"]).stdout).starts_with("backend: "));
}

#[test]
fn manual_pages_and_completions_are_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&steadfast(&["man", &dir.path().display().to_string()])), 0);
    let page = std::fs::read_to_string(dir.path().join("steadfast-run.1")).unwrap();
    assert!(page.contains("time\\-limit"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&steadfast(&["completions", shell]).stdout).contains("steadfast"));
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    for (args, word) in [
        (["kill", "no-such-thing"], "no-such-thing"),
        (["kill", "/no/such/pidfile"], "/no/such/pidfile"),
        (["id", "0"], "0"),
        (["wait", "2147483647"], "2147483647"),
    ] {
        let output = steadfast(&args);
        assert_eq!(code(&output), 125, "{args:?}");
        assert!(text(&output.stderr).contains(word), "{args:?}: {}", text(&output.stderr));
    }
}

/// What `sh` says of this script, in which `$0` is the program.
fn script(text: &str) -> Output {
    let child = Command::new("timeout").args(["-k", "1", "60", "sh", "-c", text, STEADFAST]).output();
    child.expect("sh starts")
}

#[test]
fn a_stderr_that_is_full_changes_no_exit_code() {
    for format in ["text", "json"] {
        let run = script(&format!("\"$0\" --format {format} run --time-limit 50ms sleep 1000 2>/dev/full"));
        assert_eq!(code(&run), 124, "{format}");
    }
    assert_eq!(code(&script("\"$0\" run /no/such/program 2>/dev/full")), 127);
    assert_eq!(code(&script("\"$0\" kill 0 2>/dev/full")), 125);
}

#[test]
fn what_is_ignored_stays_ignored_and_ends_nothing() {
    // SIGINT is ignored by whatever a shell starts with `&`.
    let run = script("trap '' HUP; \"$0\" run sh -c 'kill -HUP $PPID; kill -INT $PPID; kill -HUP $$; exit 3' & wait $!");
    assert_eq!((code(&run), text(&run.stderr)), (3, String::new()));
}

/// dash(1) does not ignore SIGCHLD, env(1) does.
#[test]
fn the_exit_code_is_there_where_sigchld_is_ignored() {
    for backend in ["", "STEADFAST_BACKEND=pid-legacy "] {
        let run = script(&format!("{backend}exec env --ignore-signal=CHLD \"$0\" run sh -c 'exit 3'"));
        assert_eq!((code(&run), text(&run.stderr)), (3, String::new()), "{backend}");
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_the_reader_of_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let run = Command::new(STEADFAST).arg("run").arg("--stdout").arg(&fifo).arg("true").kill_on_drop(true).spawn().unwrap();
    // It sleeps in the open.
    while run.inspect().unwrap().first_facts().state != steadfast::RunState::Sleeping {
        std::thread::yield_now();
    }
    run.signal(steadfast::Signal::TERM).unwrap();
    let status = run.wait_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(status.map(|status| status.signal()), Some(Some(15)));
}

#[test]
fn a_tree_that_is_told_to_stop_stays_stopped() {
    let child = forever();
    let kill = steadfast(&["kill", "--tree", "--signal", "STOP", &child.pid().to_string()]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    assert_eq!(child.inspect().unwrap().first_facts().state, steadfast::RunState::Stopped);
    let kill = steadfast(&["kill", "--tree", "--grace", "10s", &child.pid().to_string()]);
    assert_eq!(code(&kill), 0, "{}", text(&kill.stderr));
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_tree_that_this_program_is_in_is_ended_without_it() {
    let child = Command::new("sh").args(["-c", "\"$0\" kill --tree $$ >/dev/null; exit 5", STEADFAST]).kill_on_drop(true).spawn();
    let status = child.unwrap().wait_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(status.map(|status| status.signal()), Some(Some(15)));
}

#[test]
fn ps_shows_each_in_one_line_and_nothing_that_a_terminal_obeys() {
    let mut odd = Command::new("sh");
    odd.args(["-c", "read line", "an\u{1b}[31m\nodd\u{7}name"]).stdin(Stdio::piped()).kill_on_drop(true);
    let odd = odd.spawn().unwrap();
    let ps = text(&steadfast(&["ps", &odd.pid().to_string()]).stdout);
    assert_eq!(ps.lines().count(), 2, "{ps}");
    assert!(ps.contains("an\\u{1b}[31m\\nodd\\u{7}name"), "{ps}");
}

#[test]
fn cpus_that_are_none_are_refused() {
    for cpus in ["0", "-1", "nan", "inf", "x"] {
        let run = steadfast(&["run", &format!("--cpus={cpus}"), "true"]);
        assert_eq!(code(&run), 125, "{cpus}");
        assert!(text(&run.stderr).contains("--cpus"), "{}", text(&run.stderr));
    }
}
