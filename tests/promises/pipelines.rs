//! Commands that must succeed, and pipelines within limits.

use crate::Test;
use crate::errors::each_system;
use crate::input::{PATIENCE, end, much, runtime, sh, text};
use crate::leaks::{children, descriptors, is_over, until};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Capture, Command, Error, Pid, Pipeline, PipelineCaptured, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("checked: an end without success is an error that says why", || each_system(checked)),
        Test::new("checked: in a simulation and in tasks", checked_elsewhere),
        Test::new("pipeline: an input for the first, limits for all, what each says to stderr", || each_system(pipeline)),
        Test::new("pipeline: one group, which is killed as one", || each_system(group)),
        Test::new("pipeline: in a simulation, in its time", simulated_pipeline),
    ]
}

fn checked(system: &System) {
    let _here = system.enter();
    let mut fails = sh("echo one; echo two >&2; exit 3");
    assert_eq!(fails.output().unwrap().status.code(), Some(3));
    fails.checked(true).env("SECRET", "no word of it");
    let words = r#"`"sh" "-c" "echo one; echo two >&2; exit 3"`: exit status: 3"#;
    assert_eq!(text(fails.output()), format!("{words}: two"));
    assert_eq!(text(fails.capture(&Capture::new())), format!("{words}: two"));
    assert_eq!(text(fails.output_timeout(PATIENCE)), format!("{words}: two"));
    assert_eq!(text(fails.stdout(Stdio::null()).stderr(Stdio::null()).status()), words);
    assert_eq!(text(fails.input("x").status()), words);
    assert!(sh("true").checked(true).output().is_ok() && sh("true").checked(true).status().is_ok());
    let slow = |script: &str| sh(script).checked(true).output_timeout(Duration::from_millis(100));
    assert_eq!(text(slow("exec sleep 1000")), r#"`"sh" "-c" "exec sleep 1000"`: signal: 9 (SIGKILL): its time was up"#);
    let still = sh("sleep 0.3").checked(true).capture(&Capture::new().timeout(Duration::ZERO));
    assert_eq!(text(still), r#"`"sh" "-c" "sleep 0.3"`: it still runs: its time was up"#);
    let limit = Capture::new().limit(10).kill_on_limit(true);
    assert_eq!(
        text(Command::new("yes").checked(true).capture(&limit)),
        r#"`"yes"`: signal: 9 (SIGKILL): it wrote more than its limit"#
    );
    // The last lines, if there are many.
    let many = text(sh("seq 1 30 >&2; false").checked(true).output());
    assert!(many.contains(": exit status: 1:\n21\n22\n") && many.ends_with("\n30"), "{many}");
    // Who spawns looks for himself.
    assert_eq!(sh("exit 4").checked(true).spawn().unwrap().wait().unwrap().code(), Some(4));
    assert!(
        matches!(sh("exit 5").checked(true).status(), Err(Error::Unsuccessful { status: Some(status), .. }) if status.code() == Some(5))
    );
    let pipeline = || Pipeline::new([sh("echo a >&2; exit 1"), sh("echo b >&2; exit 2"), sh("cat")]);
    assert!(pipeline().output().is_ok());
    assert_eq!(text(pipeline().checked(true).capture(&Capture::new())), r#"`"sh" "-c" "echo b >&2; exit 2"`: exit status: 2: b"#);
    assert_eq!(text(pipeline().checked(true).status()), r#"`"sh" "-c" "echo b >&2; exit 2"`: exit status: 2"#);
    let mut first = sh("exit 1");
    first.checked(true);
    assert_eq!(text(Pipeline::new([first, sh("exit 2")]).output()), r#"`"sh" "-c" "exit 1"`: exit status: 1"#);
    until("the one that went on ends", || children().is_empty());
}

fn checked_elsewhere() {
    use steadfast::tokio::AsyncCommand;
    let kernel = Kernel::builder().program("fails", Script::new().write_stderr("why\n").exit(3)).build();
    let _here = kernel.system().enter();
    let mut fails = Command::new("fails");
    fails.checked(true);
    assert_eq!(text(fails.output()), r#"`"fails"`: exit status: 3: why"#);
    assert_eq!(text(fails.status()), r#"`"fails"`: exit status: 3"#);
    assert_eq!(text(runtime().block_on(fails.output_async())), r#"`"fails"`: exit status: 3: why"#);
    drop(_here);
    each_system(|system| {
        let _here = system.enter();
        let mut fails = sh("echo why >&2; exit 3");
        fails.checked(true);
        runtime().block_on(async {
            let words = r#"`"sh" "-c" "echo why >&2; exit 3"`: exit status: 3"#;
            assert_eq!(text(fails.output_async().await), format!("{words}: why"));
            assert_eq!(text(fails.capture_async(Capture::new()).await), format!("{words}: why"));
            assert_eq!(text(fails.output_timeout_async(PATIENCE).await), format!("{words}: why"));
            assert_eq!(text(fails.stderr(Stdio::null()).status_async().await), words);
            assert_eq!(text(fails.input("x").status_async().await), words);
        });
    });
}

fn pipeline(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    let mut first = sh("echo first >&2; exec cat");
    first.input(much());
    let second = sh("echo second >&2; exec cat");
    let all = Pipeline::new([first.clone(), second.clone()]);
    let captured = all.capture(&Capture::new().timeout(PATIENCE)).unwrap();
    assert!(captured.success() && !captured.timed_out && captured.stdout.to_vec() == much());
    assert_eq!(captured.stderr.iter().map(ToString::to_string).collect::<Vec<_>>(), ["first\n", "second\n"]);
    assert!(all.output().unwrap().stdout == much());
    let mut count = sh("exec wc -c");
    count.stdout(Stdio::null());
    assert!(Pipeline::new([first, count]).status().unwrap().iter().all(|status| status.success()));
    // At the time limit all go; the statuses and what they said are there.
    let slow = || Pipeline::new([sh("echo a >&2; exec sleep 1000"), sh("exec sleep 1000"), sh("exec cat")]);
    let late = until_it_has(has_spoken, |options| slow().capture(options).unwrap());
    assert!(late.timed_out && !late.success() && late.stderr[0].to_string() == "a\n");
    assert_eq!(late.statuses.iter().map(|status| status.unwrap().signal()).collect::<Vec<_>>(), [Some(9); 3]);
    // The last has ended, and with it the output; another goes on until its time is up.
    let last_is_done = |captured: &PipelineCaptured| captured.statuses[1].is_some_and(|status| status.success());
    let pipeline = Pipeline::new([sh("exec sleep 1000"), sh("echo b")]);
    let late = until_it_has(last_is_done, |options| pipeline.capture(options).unwrap());
    assert_eq!((late.timed_out, late.stdout.to_vec(), late.statuses[0].unwrap().signal()), (true, b"b\n".to_vec(), Some(9)));
    let at_once = Capture::new().timeout(Duration::ZERO).kill_on_timeout(true);
    let late = Pipeline::new([sh("exec sleep 1000"), sh("echo b")]).capture(&at_once).unwrap();
    // They may run before anybody looks at the time.
    assert!(late.timed_out && !late.success() && (late.started || late.statuses == [None, None]));
    let limit = Capture::new().limit(1000).kill_on_limit(true);
    let over = Pipeline::new([sh("exec yes"), sh("exec cat")]).capture(&limit).unwrap();
    assert!(over.over_limit && over.stdout.head().len() == 500);
    let over = Pipeline::new([sh("exec yes >&2"), sh("exec cat")]).capture(&limit).unwrap();
    assert!(over.over_limit && over.stderr[0].omitted() > 0 && over.statuses.iter().all(Option::is_some));
    let whole = Pipeline::new([sh("pwd >&2"), sh("pwd")]).current_dir("/usr").capture(&Capture::new()).unwrap();
    assert_eq!((whole.stderr[0].to_string(), whole.stdout.to_string()), ("/usr\n".into(), "/usr\n".into()));
    let mut own = sh("pwd");
    own.current_dir("/");
    assert_eq!(Pipeline::new([own]).current_dir("/usr").output().unwrap().stdout, b"/\n");
    until("all are reaped", || children().is_empty());
    assert_eq!(descriptors(), before);
}

/// With longer and longer limits, until what was captured is enough.
fn until_it_has(enough: impl Fn(&PipelineCaptured) -> bool, capture: impl Fn(&Capture) -> PipelineCaptured) -> PipelineCaptured {
    let mut limit = Duration::from_millis(20);
    loop {
        let captured = capture(&Capture::new().timeout(limit).kill_on_timeout(true));
        if enough(&captured) {
            return captured;
        }
        limit *= 2;
    }
}

fn has_spoken(captured: &PipelineCaptured) -> bool {
    captured.stderr[0].total() > 0
}

fn group(system: &System) {
    let _here = system.enter();
    let show = |more: &str| sh(&format!("cut -d' ' -f5 /proc/$$/stat >&2{more}"));
    let captured = Pipeline::new([show(""), show("; exec cat")]).process_group(true).capture(&Capture::new()).unwrap();
    assert_eq!(captured.stderr[0].to_string(), captured.stderr[1].to_string());
    assert_ne!(captured.stderr[0].to_string().trim(), std::process::id().to_string());
    // What one of them has started in the group goes with it, and without a group it stays.
    let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >&2; exec sleep 1000";
    let pipeline = Pipeline::new([sh(script), sh("exec cat")]);
    let with = until_it_has(has_spoken, |options| pipeline.clone().process_group(true).capture(options).unwrap());
    let pid: Pid = String::from_utf8(with.stderr[0].to_vec()).unwrap().trim().parse().unwrap();
    until("the grandchild is gone", || is_over(pid));
    let without = until_it_has(has_spoken, |options| pipeline.capture(options).unwrap());
    end(&without.stderr[0].to_vec());
    let running = Pipeline::new([sh("exec sleep 1000"), sh("exec sleep 1000")]).process_group(true).spawn().unwrap();
    running.kill().unwrap();
    assert!(running.wait().unwrap().iter().all(|status| status.signal() == Some(9)));
    running.kill().unwrap();
}

fn simulated_pipeline() {
    let second = Duration::from_secs(1);
    let copies = || Script::new().read_stdin_to_end().write_stderr("read").write_stdout("written");
    let kernel = Kernel::builder()
        .program("first", copies())
        .program("last", copies())
        .program("slow", Script::new().write_stderr("here").sleep(second * 10))
        .build();
    let _here = kernel.system().enter();
    let mut first = Command::new("first");
    first.input(much());
    let captured = Pipeline::new([first, Command::new("last")]).capture(&Capture::new()).unwrap();
    assert!(captured.success() && captured.stdout.to_vec() == b"written");
    assert_eq!(captured.stderr.iter().map(ToString::to_string).collect::<Vec<_>>(), ["read", "read"]);
    let before = kernel.now();
    let late = Pipeline::new([Command::new("slow"), Command::new("last")]).output_timeout(second).unwrap();
    assert_eq!((late.timed_out, kernel.now() - before, late.stderr[0].to_vec()), (true, second, b"here".to_vec()));
    assert!(late.statuses.iter().all(Option::is_some));
    drop(_here);
    // In whatever order: the last is killed before it sees the end of what the first one wrote, and has not taken that for the whole.
    kernel.explore(1..=500, |_| {
        let late = Pipeline::new([Command::new("slow"), Command::new("last")]).output_timeout(second).unwrap();
        assert_eq!((late.stderr[1].to_vec(), late.stdout.to_vec()), (vec![], vec![]));
    });
}
