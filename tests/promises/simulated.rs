//! The facade on the simulated kernel: what programs do with `Command`, `Child` and `Pipeline`, without a process.

use crate::Test;
use crate::stage::row;
use std::io::Read;
use std::time::Duration;
use steadfast::mock::{Kernel, ReplayError, Run, Script, Sim, Simulated};
use steadfast::{Command, ErrorKind, Pipeline, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("simulated: a pipeline, with a pipe that is soon full", pipeline),
        Test::new("simulated: one child's stdout is another's stdin", stdout_as_stdin),
        Test::new("simulated: a pipe is given to a process of its own simulation only, and the right way round", wrong_pipes),
        Test::new("simulated: a run of an exploration belongs to its own system, whatever its thread has entered", entered),
        Test::new("simulated: the last of a pipeline ends early, and those before it by SIGPIPE", ends_early),
    ]
}

/// `yes` writes for ever, `upper` answers each line, `count` says how many lines came.
fn kernel() -> Kernel {
    let answer = |line: Option<&str>| match line {
        None => Script::new().exit(0),
        Some(line) => Script::new().write_stdout(line.to_uppercase() + "\n"),
    };
    Kernel::builder()
        .pipe_capacity(4)
        .program("numbers", Script::new().write_stdout("one\ntwo\nthree\nfour\nfive\n").exit(0))
        .program("upper", Script::new().loop_forever(Script::new().on_stdin_line(answer)))
        .program("head", Script::new().on_stdin_line(|line| Script::new().write_stdout(line.unwrap_or("nothing"))))
        .program("yes", Script::new().loop_forever(Script::new().write_stdout("yes\n").sleep(Duration::from_millis(1))))
        .build()
}

fn pipeline() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let output = Pipeline::new(["numbers", "upper", "upper"].map(Command::new)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ONE\nTWO\nTHREE\nFOUR\nFIVE\n");
    assert!(output.success());
    assert_eq!(kernel.processes(), []);
}

fn ends_early() {
    let _here = kernel().system().enter();
    let output = Pipeline::new(["yes", "upper", "head"].map(Command::new)).output().unwrap();
    assert_eq!(output.stdout, b"YES");
    let ends = output.statuses.iter().map(|status| (status.code(), std::os::unix::process::ExitStatusExt::signal(status)));
    assert_eq!(ends.collect::<Vec<_>>(), [(None, Some(13)), (None, Some(13)), (Some(0), None)]);
}

fn stdout_as_stdin() {
    let _here = kernel().system().enter();
    let mut numbers = Command::new("numbers").stdout(Stdio::piped()).spawn().unwrap();
    let mut upper = Command::new("upper").stdin(numbers.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    upper.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "ONE\nTWO\nTHREE\nFOUR\nFIVE\n");
    assert!(numbers.wait().unwrap().success() && upper.wait().unwrap().success());
}

fn wrong_pipes() {
    let (kernel, other) = (kernel(), self::kernel());
    let pipe = || {
        let mut numbers = kernel.system().spawn(Command::new("numbers").stdout(Stdio::piped())).unwrap();
        numbers.stdout.take().unwrap()
    };
    for (system, command) in [
        (other.system(), Command::new("upper").stdin(pipe())),
        (kernel.system(), Command::new("upper").stdout(pipe())),
        (System::detect().unwrap(), Command::new("cat").stdin(pipe())),
    ] {
        let error = system.spawn(command).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

fn entered() {
    let kernel =
        Kernel::builder().program_with("true", |run: &Run| Script::new().exit(i32::from(run.random(0..10) == 0))).build();
    let other = Kernel::builder().program("true", Script::new().exit(0)).build();
    let dir = tempfile::tempdir().unwrap();
    let replay = dir.path().join("replay");
    let check = |system: Option<System>| {
        let _row = row(system.as_ref().map_or("nothing entered", System::backend_name));
        let _here = system.as_ref().map(System::enter);
        let current = System::current().unwrap().backend_name();
        let seeds = [1, 2].map(|jobs| {
            let test = |sim: &Sim| {
                assert_eq!(System::current().unwrap().backend_name(), "mock");
                assert!(Command::new("true").status().unwrap().success());
                // What is entered in the run counts, until it is left.
                let elsewhere = other.system().enter();
                assert!(Command::new("true").status().unwrap().success());
                drop(elsewhere);
                assert_eq!(sim.processes(), []);
            };
            let failure = kernel.exploration().file(&replay).jobs(jobs).run(1..=1000, test).unwrap_err();
            assert_eq!(failure.verdict.kind(), "panic", "{failure}");
            assert!(matches!(kernel.replay(&replay, test), Err(ReplayError::Failed(_))));
            failure.seed
        });
        assert_eq!(System::current().unwrap().backend_name(), current);
        seeds
    };
    let seeds = check(None);
    assert_eq!([check(Some(kernel.system())), check(Some(other.system())), check(Some(System::pid_legacy()))], [seeds; 3]);
}
