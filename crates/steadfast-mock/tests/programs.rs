//! What simulated programs can be made to do, what calls can be made to fail, and what can be asked for afterwards.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use steadfast_core::{
    Attributes, Errno, Error, Limit, PipeEnd, PipeRead, PipeWrite, Plan, PlanBuilder, PlanStdio, Process, Resource, Signal, Stage,
};
use steadfast_mock::{Call, Expect, Fault, Kernel, Script};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn try_spawn(kernel: &Kernel, plan: PlanBuilder) -> Result<Process, Error> {
    Process::spawn(&kernel.backend(), &plan.build().unwrap()).map(|(process, ..)| process)
}

fn spawn(kernel: &Kernel, program: &str) -> Process {
    try_spawn(kernel, Plan::builder(program)).unwrap()
}

fn sleep(kernel: &Kernel, time: Duration) {
    let backend = kernel.backend();
    backend.clock().sleep_until(backend.clock().now() + time);
}

/// With the ends of its stdin and stdout.
fn piped(kernel: &Kernel, program: &str) -> (Process, Box<dyn PipeWrite>, Box<dyn PipeRead>) {
    let plan = Plan::builder(program).stdin(PlanStdio::Piped).stdout(PlanStdio::Piped).build().unwrap();
    match Process::spawn(&kernel.backend(), &plan).unwrap() {
        (process, [Some(PipeEnd::Writer(stdin)), Some(PipeEnd::Reader(stdout)), _], _) => (process, stdin, stdout),
        _ => panic!("both are piped"),
    }
}

fn all_of(mut stream: Box<dyn PipeRead>) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn commands_are_answered_as_expected_and_can_be_asked_for_afterwards() {
    let kernel = Kernel::builder()
        .expect(Expect::exact(["git", "status"]).times(1).does(Script::new().exit(1)))
        .expect(Expect::prefix(["git", "commit"]).at_most(2).does_with(|run| Script::new().exit(run.number as i32 + 10)))
        .expect(Expect::pattern("^cargo (build|test)").any_times())
        .expect(Expect::matching("anything with HOME=/root", |run| run.var("HOME").is_some_and(|home| home == "/root")))
        .program("installed", Script::new().exit(7))
        .build();
    let code = |words: &[&str]| {
        let plan = Plan::builder(words[0]).args(&words[1..]);
        try_spawn(&kernel, plan).unwrap().wait().unwrap().code()
    };
    assert_eq!(code(&["git", "status"]), Some(1));
    assert_eq!(code(&["git", "commit", "-m", "x"]), Some(10));
    assert_eq!(code(&["git", "commit"]), Some(11));
    assert_eq!(code(&["cargo", "test", "--all"]), Some(0));
    assert_eq!(code(&["installed"]), Some(7));
    let rest = Plan::builder("anything").env(vec![("HOME".into(), "/root".into())]).current_dir("/srv");
    let anything = try_spawn(&kernel, rest).unwrap();
    anything.signal(Signal::CONT).unwrap();
    anything.wait().unwrap();
    kernel.verify();

    let ran = &kernel.runs_of("git")[1];
    assert_eq!((ran.args.len(), ran.status.unwrap().code()), (3, Some(10)));
    let ran = &kernel.runs_of("anything")[0];
    assert_eq!(ran.signals, [Signal::CONT]);
    assert_eq!(ran.env.as_ref().unwrap()[0].1, "/root");
    assert_eq!(ran.current_dir.as_deref(), Some("/srv".as_ref()));
    assert_eq!(kernel.runs().len(), 6);
}

#[test]
fn an_unexpected_command_fails_the_test_with_what_was_expected() {
    let kernel =
        Kernel::builder().expect(Expect::exact(["git", "status"]).times(1)).expect(Expect::prefix(["rm"]).never()).build();
    let report = |words: [&'static str; 2]| {
        let failed = catch_unwind(AssertUnwindSafe(|| try_spawn(&kernel, Plan::builder(words[0]).arg(words[1])).map(drop)));
        failed.unwrap_err().downcast_ref::<String>().unwrap().clone()
    };
    let unexpected = report(["git", "push"]);
    for part in ["unexpected command: `git push`", "`git status`, once; so far not at all", "`rm …`, never"] {
        assert!(unexpected.contains(part), "{unexpected}");
    }
    assert!(report(["rm", "-r"]).contains("unexpected command: `rm -r`"));
    try_spawn(&kernel, Plan::builder("git").arg("status")).unwrap().wait().unwrap();
    assert!(report(["git", "status"]).contains("once more than expected: `git status`"));
}

#[test]
fn a_full_pipe_holds_its_writer_until_somebody_reads() {
    let kernel = Kernel::builder()
        .pipe_capacity(10)
        .program("talker", Script::new().write_stdout("0123456789").sleep(ms(1)).write_stdout("abc").exit(0))
        .build();
    let (talker, _stdin, mut stdout) = piped(&kernel, "talker");
    assert_eq!(talker.wait_timeout(ms(1000)).unwrap(), None);
    assert_eq!(kernel.process(talker.pid()).unwrap().occupation, "waits for somebody to read what it writes");
    let mut some = [0; 4];
    stdout.read_exact(&mut some).unwrap();
    // A page makes room when all of it was read.
    assert_eq!(talker.try_wait().unwrap(), None);
    stdout.read_exact(&mut [0; 6]).unwrap();
    assert!(talker.wait().unwrap().success());
    assert_eq!((&some, all_of(stdout).as_str()), (b"0123", "abc"));
    assert_eq!(kernel.now(), ms(1000));
}

#[test]
fn whoever_writes_to_nobody_gets_sigpipe_or_epipe() {
    let kernel = Kernel::builder()
        .program("talker", Script::new().sleep(ms(1)).write_stdout("x").exit(0))
        .program("stubborn", Script::new().ignore(Signal::PIPE).sleep(ms(1)).write_stdout("x").exit(5))
        .program("deaf", Script::new().close_stdin().run_forever())
        .build();
    for (program, end) in [("talker", (Some(13), None)), ("stubborn", (None, Some(5)))] {
        let (process, _stdin, stdout) = piped(&kernel, program);
        drop(stdout);
        let status = process.wait().unwrap();
        assert_eq!((status.signal(), status.code()), end);
    }
    let (deaf, mut stdin, _stdout) = piped(&kernel, "deaf");
    kernel.settle();
    assert_eq!(stdin.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    deaf.kill().unwrap();
    deaf.wait().unwrap();
}

#[test]
fn a_program_converses_line_by_line() {
    let shell = Script::new().loop_forever(Script::new().on_stdin_line(|line| match line {
        None | Some("exit") => Script::new().exit(4),
        Some(word) => Script::new().write_stdout(format!("{word}?\n")),
    }));
    let kernel = Kernel::builder().program("shell", shell).build();
    let (process, mut stdin, stdout) = piped(&kernel, "shell");
    stdin.write_all(b"one\ntw").unwrap();
    stdin.write_all(b"o\n").unwrap();
    drop(stdin);
    assert_eq!(process.wait().unwrap().code(), Some(4));
    assert_eq!(all_of(stdout), "one?\ntwo?\n");
}

#[test]
fn a_grandchild_holds_the_pipe_open_until_it_ends() {
    let daemon = Script::new().sleep(ms(50)).write_stdout(" and a daemon").exit(0);
    let kernel = Kernel::builder().program("job", Script::new().spawn(daemon).write_stdout("a job").exit(0)).build();
    let (job, _stdin, stdout) = piped(&kernel, "job");
    assert!(job.wait().unwrap().success());
    assert_eq!(kernel.now(), Duration::ZERO);
    assert_eq!(all_of(stdout), "a job and a daemon");
    assert_eq!(kernel.now(), ms(50));
}

#[test]
fn what_cannot_be_started_says_why() {
    let kernel =
        Kernel::builder().not_executable("notes.txt").program("server", Script::new().run_forever()).max_open_files(5).build();
    let errno = |plan: PlanBuilder| try_spawn(&kernel, plan).unwrap_err().errno();
    assert_eq!(errno(Plan::builder("missing")), Some(Errno::NOENT));
    assert_eq!(errno(Plan::builder("notes.txt")), Some(Errno::ACCES));
    // Its pidfd and two pipes, of which one end each stays.
    let _talker = piped(&kernel, "server");
    let stage = |plan: PlanBuilder| match try_spawn(&kernel, plan).unwrap_err() {
        Error::Spawn { stage, source: Errno::MFILE, .. } => stage,
        error => panic!("{error}"),
    };
    assert_eq!(stage(Plan::builder("server").stdout(PlanStdio::Piped)), Stage::Clone);
    assert_eq!(stage(Plan::builder("server").stdout(PlanStdio::Piped).stderr(PlanStdio::Null)), Stage::Open { stream: "stderr" });
    let _two = (spawn(&kernel, "server"), spawn(&kernel, "server"));
    assert_eq!(stage(Plan::builder("server")), Stage::Clone);
    assert_eq!(stage(Plan::builder("server").stdin(PlanStdio::Piped)), Stage::Open { stream: "stdin" });
    let without_pidfds = Process::spawn(&kernel.backend_pid_legacy(), &Plan::builder("server").build().unwrap());
    without_pidfds.unwrap();
    kernel.spawn_foreign("server").unwrap();

    let crowded = Kernel::builder().program("server", Script::new().run_forever()).max_processes(2).build();
    let _two = (spawn(&crowded, "server"), spawn(&crowded, "server"));
    assert_eq!(try_spawn(&crowded, Plan::builder("server")).unwrap_err().errno(), Some(Errno::AGAIN));
}

#[test]
fn a_limit_of_processes_is_inherited() {
    let forks = Script::new().spawn(Script::new().spawn("leaf").run_forever()).run_forever();
    let kernel = Kernel::builder().program("forks", forks).program("leaf", Script::new().run_forever()).build();
    let limits = vec![(Resource::NPROC, Limit { soft: 2, hard: 2 })];
    let plan = Plan::builder("forks").attributes(Attributes { limits, ..Attributes::default() });
    let _process = try_spawn(&kernel, plan).unwrap();
    kernel.settle();
    assert_eq!(kernel.processes().len(), 2);
    assert!(kernel.trace().contains("cannot spawn leaf: EAGAIN"), "{}", kernel.trace());
}

#[test]
fn the_nth_call_fails_and_only_for_the_program_that_is_named() {
    let kernel = Kernel::builder()
        .program("a", Script::new().run_forever())
        .program("b", Script::new().run_forever())
        .fault(Fault::on(Call::Spawn).nth(2).program("a").errno(Errno::NOMEM))
        .fault(Fault::on(Call::Signal).program("b").errno(Errno::PERM))
        .fault(Fault::on(Call::Find).program("b").errno(Errno::MFILE))
        .build();
    let (a, b) = (spawn(&kernel, "a"), spawn(&kernel, "b"));
    assert_eq!(try_spawn(&kernel, Plan::builder("a")).unwrap_err().errno(), Some(Errno::NOMEM));
    let again = spawn(&kernel, "a");
    assert_eq!(b.kill().unwrap_err().errno(), Some(Errno::PERM));
    assert_eq!(Process::find(&kernel.backend(), b.pid()).unwrap_err().errno(), Some(Errno::MFILE));
    for process in [a, again] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn a_probability_is_about_what_it_says() {
    let kernel =
        Kernel::builder().program("p", Script::new()).fault(Fault::on(Call::Spawn).probability(0.25).errno(Errno::AGAIN)).build();
    let failed = (0..10_000).filter(|_| try_spawn(&kernel, Plan::builder("p")).map(|process| process.wait()).is_err()).count();
    assert!((2_300..2_700).contains(&failed), "{failed}");
}

#[test]
fn interrupted_waits_go_on_and_failed_reads_and_writes_are_seen() {
    let kernel = Kernel::builder()
        .program("echo", Script::new().read_stdin_line().write_stdout("x").exit(0))
        .fault(Fault::on(Call::Wait).nth(1).errno(Errno::INTR))
        .fault(Fault::on(Call::Write).nth(1).errno(Errno::IO))
        .fault(Fault::on(Call::Read).nth(1).errno(Errno::IO))
        .build();
    let (process, mut stdin, mut stdout) = piped(&kernel, "echo");
    assert_eq!(stdin.write(b"\n").unwrap_err().raw_os_error(), Some(5));
    stdin.write_all(b"\n").unwrap();
    assert!(process.wait().unwrap().success());
    assert_eq!(stdout.read(&mut [0; 9]).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(all_of(stdout), "x");
}

#[test]
fn an_exit_may_take_its_time_and_hears_nothing_meanwhile() {
    let kernel =
        Kernel::builder().program("p", Script::new().run_forever()).fault(Fault::on(Call::Exit).nth(1).delay(ms(300))).build();
    let process = spawn(&kernel, "p");
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait_timeout(ms(200)).unwrap(), None);
    process.kill().unwrap();
    // The first signal has ended it; the second came too late to say so.
    assert_eq!(process.wait().unwrap().signal(), Some(15));
    assert_eq!(kernel.now(), ms(300));
}

#[test]
fn computing_uses_cpu_time_and_stopping_holds_it_up() {
    let child = Script::new().compute(ms(20)).exit(0);
    let kernel = Kernel::builder()
        .program("p", Script::new().compute(ms(30)).spawn(child).wait_for_children().sleep(ms(100)).exit(0))
        .build();
    let process = spawn(&kernel, "p");
    sleep(&kernel, ms(10));
    process.signal(Signal::STOP).unwrap();
    sleep(&kernel, ms(1000));
    process.signal(Signal::CONT).unwrap();
    process.wait().unwrap();
    assert_eq!(process.exit().unwrap().rusage.unwrap().user_time, ms(50));
    assert_eq!(kernel.now(), ms(1150));
}

#[test]
fn a_core_is_dumped_where_it_may_be() {
    let kernel = Kernel::builder().program("p", Script::new().abort()).build();
    let limits = vec![(Resource::CORE, Limit { soft: 0, hard: 0 })];
    let without = Plan::builder("p").attributes(Attributes { limits, ..Attributes::default() });
    assert!(spawn(&kernel, "p").wait().unwrap().core_dumped());
    assert!(!try_spawn(&kernel, without).unwrap().wait().unwrap().core_dumped());
    let kernel = Kernel::builder().program("p", Script::new().abort()).core_dumps(false).build();
    assert!(!spawn(&kernel, "p").wait().unwrap().core_dumped());
}

#[test]
fn abort_lets_the_handler_run_and_ends_all_the_same() {
    let says = |word: &str| Script::new().write_stdout(word);
    let kernel = Kernel::builder()
        .core_dumps(false)
        .program("handled", Script::new().block(Signal::ABRT).on(Signal::ABRT, says("handled")).abort())
        .program("exits", Script::new().on(Signal::ABRT, says("exits").exit(3)).abort())
        .program("ignored", Script::new().ignore(Signal::ABRT).abort())
        .program("in its handler", Script::new().on(Signal::ABRT, says("once").abort()).raise(Signal::ABRT).then(says("never")))
        .build();
    for (program, text, end) in [
        ("handled", "handled", (Some(6), None)),
        ("exits", "exits", (None, Some(3))),
        ("ignored", "", (Some(6), None)),
        ("in its handler", "once", (Some(6), None)),
    ] {
        let (process, _stdin, stdout) = piped(&kernel, program);
        let status = process.wait_timeout(ms(1000)).unwrap().expect(program);
        assert_eq!((all_of(stdout).as_str(), (status.signal(), status.code())), (text, end), "{program}");
    }
}

/// Found by a play against the real kernel.
#[test]
fn a_stopped_child_leaves_nothing_pending_with_a_parent_that_ignores_and_blocks_sigchld() {
    let parent = Script::new().block(Signal::CHLD).spawn(Script::new().stop().run_forever());
    let kernel = Kernel::builder()
        .program("blocks", parent.clone().run_forever())
        .program("ignores", Script::new().ignore(Signal::CHLD).then(parent).run_forever())
        .build();
    let pending = |program| {
        let process = spawn(&kernel, program);
        kernel.settle();
        kernel.process(process.pid()).unwrap().pending
    };
    assert_eq!((pending("blocks"), pending("ignores")), (1 << (Signal::CHLD.as_raw() - 1), 0));
}

#[test]
fn of_two_fatal_signals_the_first_decides_and_of_two_handled_ones_the_lower_is_taken_first() {
    let handlers = Script::new()
        .on(Signal::TERM, Script::new().write_stdout("TERM "))
        .on(Signal::HUP, Script::new().write_stdout("HUP "))
        .on(Signal::USR1, Script::new().exit(0));
    let kernel =
        Kernel::builder().program("plain", Script::new().run_forever()).program("handles", handlers.run_forever()).build();
    let both = |process: &Process| {
        kernel.settle();
        // Before it comes to run: nothing happens between these.
        kernel.signal(process.pid(), Signal::TERM).unwrap();
        kernel.signal(process.pid(), Signal::HUP).unwrap();
    };
    let plain = spawn(&kernel, "plain");
    both(&plain);
    // As complete_signal in the kernel has it, although 1 is lower than 15.
    assert_eq!(plain.wait().unwrap().signal(), Some(15));
    let (handles, _stdin, stdout) = piped(&kernel, "handles");
    both(&handles);
    kernel.settle();
    handles.signal(Signal::USR1).unwrap();
    handles.wait().unwrap();
    // The lower one is taken first, and interrupted at once by the other.
    assert_eq!(all_of(stdout), "TERM HUP ");
}

#[test]
fn real_time_signals_queue_up_and_others_do_not() {
    let counts = |signal| Script::new().block(signal).on(signal, Script::new().write_stdout("x")).sleep(ms(1)).unblock(signal);
    // 32 and 33 too, which C libraries keep to themselves; 31 is SIGSYS.
    for (number, expected) in [(10, "x"), (31, "x"), (32, "xxx"), (33, "xxx"), (34, "xxx"), (64, "xxx")] {
        let signal = Signal::new(number).unwrap();
        let kernel = Kernel::builder().program("p", counts(signal).exit(0)).build();
        let (process, _stdin, stdout) = piped(&kernel, "p");
        kernel.settle();
        for _ in 0..3 {
            process.signal(signal).unwrap();
        }
        process.wait().unwrap();
        assert_eq!(all_of(stdout), expected, "signal {number}");
    }
}
