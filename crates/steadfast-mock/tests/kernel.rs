//! What the simulation promises beyond the contract: replay, virtual time, faults, and strangers that are seen.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Attributes, Errno, Error, Pid, PipeEnd, Plan, PlanStdio, Process, ProcessBackend, Signal, Stage};
use steadfast_mock::{Call, Fault, Kernel, Script};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn spawn(backend: &Arc<dyn ProcessBackend>, program: &str) -> Process {
    Process::spawn(backend, &Plan::builder(program).build().unwrap()).unwrap().0
}

/// Two processes that work and a supervisor that looks at them at the same moments, with calls that fail by chance.
fn run(seed: u64) -> String {
    let kernel = Kernel::builder()
        .seed(seed)
        .pid_max(6)
        .program("worker", Script::new().sleep(ms(10)).exit(1))
        .program("server", Script::new().on(Signal::TERM, Script::new().sleep(ms(5)).exit(0)).run_forever())
        .fault(Fault::on(Call::Wait).probability(0.2).errno(Errno::INTR))
        .build();
    let backend = kernel.backend();
    let server = spawn(&backend, "server");
    for _ in 0..10 {
        let worker = spawn(&backend, "worker");
        while worker.wait_timeout(ms(5)).unwrap().is_none() {
            server.signal(Signal::CONT).unwrap();
        }
    }
    server.signal(Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(kernel.zombies().is_empty());
    kernel.trace()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert!((1..20).any(|seed| run(seed) != run(0)), "the seed decides nothing");
}

#[test]
fn a_signal_that_reaches_a_stranger_ends_the_test_with_both_named() {
    let kernel =
        Kernel::builder().pid_max(4).program("first", Script::new()).program("second", Script::new().run_forever()).build();
    type Send = fn(&Process) -> steadfast_core::Result<()>;
    let scenario = |backend: Arc<dyn ProcessBackend>, send: Send| {
        kernel.set_last_pid(1);
        let first = spawn(&backend, "first");
        assert!(backend.find(first.pid()).unwrap().wait_exited(None).unwrap().is_some());
        // The classic bug: somebody else in the program collects all children.
        assert_eq!(kernel.reap_any(), Some(first.pid()));
        kernel.set_last_pid(first.pid().as_raw() - 1);
        let second = spawn(&backend, "second");
        assert_eq!(second.pid(), first.pid());
        let hit = catch_unwind(AssertUnwindSafe(|| send(&first)));
        if hit.is_ok() {
            second.kill().unwrap();
        }
        second.wait().unwrap();
        hit
    };
    let ways: [Send; 2] = [Process::kill, |process| process.signal_value(Signal::KILL, 7)];
    for send in ways {
        let panic = scenario(kernel.backend_pid_legacy(), send).unwrap_err();
        let report = panic.downcast_ref::<String>().unwrap();
        for part in ["SIGKILL", "\"first\"", "\"second\"", "a stranger", "waitpid(-1)"] {
            assert!(report.contains(part), "{report}");
        }
        assert!(scenario(kernel.backend(), send).unwrap().is_err(), "a pidfd reaches nobody");
    }
}

#[test]
fn pids_are_handed_out_in_turn_and_recycled_and_run_out() {
    let kernel = Kernel::builder().pid_max(5).program("p", Script::new().run_forever()).build();
    let backend = kernel.backend();
    let all: Vec<Process> = (0..3).map(|_| spawn(&backend, "p")).collect();
    assert_eq!(all.iter().map(|p| p.pid().as_raw()).collect::<Vec<_>>(), [2, 3, 4]);
    let full = Process::spawn(&backend, &Plan::builder("p").build().unwrap()).map(|(p, ..)| p).unwrap_err();
    assert_eq!(full.errno(), Some(Errno::AGAIN));
    all[1].kill().unwrap();
    // A zombie keeps its number.
    assert!(Process::spawn(&backend, &Plan::builder("p").build().unwrap()).is_err());
    all[1].wait().unwrap();
    assert_eq!(spawn(&backend, "p").pid(), Pid::new(3).unwrap());
}

#[test]
fn from_300_on_the_numbers_below_are_not_given_again_unless_there_are_no_others() {
    let next_after = |pid_max, last: &[i32]| {
        let kernel = Kernel::builder().pid_max(pid_max).program("p", Script::new().run_forever()).build();
        let backend = kernel.backend();
        let next = |last: &i32| {
            kernel.set_last_pid(*last);
            let plan = Plan::builder("p").build().unwrap();
            let (process, ..) = Process::spawn(&backend, &plan).ok()?;
            let pid = process.pid().as_raw();
            process.kill().unwrap();
            process.wait().unwrap();
            Some(pid)
        };
        last.iter().map(next).collect::<Vec<_>>()
    };
    // As Linux has it, whose least pid_max is 301.
    assert_eq!(next_after(4096, &[0, 298, 299, 4094, 4095, 4096]), [2, 299, 300, 4095, 300, 300].map(Some));
    assert_eq!(next_after(301, &[298, 299, 300, 301]), [299, 300, 300, 300].map(Some));
    assert_eq!(next_after(300, &[298, 299, 300]), [299, 2, 2].map(Some));
    assert_eq!(next_after(5, &[4, 5]), [2, 2].map(Some));
    for (pid_max, last) in [(5, 6), (300, 301), (4096, -1)] {
        let panic = catch_unwind(|| next_after(pid_max, &[last])).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().starts_with(&format!("set_last_pid({last}): give")));
    }
}

#[test]
fn a_child_that_cannot_become_its_program_has_had_a_number() {
    let kernel = Kernel::builder()
        .not_executable("notes.txt")
        .program("p", Script::new())
        .program("script", Script::new().spawn("missing").spawn("notes.txt").spawn("p"))
        .max_processes(2)
        .build();
    let backend = kernel.backend();
    let fails = |program: &str| Process::spawn(&backend, &Plan::builder(program).build().unwrap()).map(|(p, ..)| p).unwrap_err();
    assert_eq!(spawn(&backend, "p").pid().as_raw(), 2);
    assert_eq!(fails("missing").errno(), Some(Errno::NOENT));
    assert_eq!(fails("notes.txt").errno(), Some(Errno::ACCES));
    let others = [spawn(&backend, "p"), spawn(&backend, "p")];
    assert_eq!(others.each_ref().map(|p| p.pid().as_raw()), [5, 6]);
    // There was no child: the limit is asked before.
    assert_eq!(fails("p").errno(), Some(Errno::AGAIN));
    for process in others {
        process.wait().unwrap();
    }
    assert_eq!(spawn(&backend, "script").pid().as_raw(), 7);
    kernel.settle();
    let last = kernel.runs_of("p").pop().unwrap();
    assert_eq!((last.pid.as_raw(), last.parent.map(Pid::as_raw)), (10, Some(7)));
}

#[test]
fn a_process_joins_only_a_group_of_its_own_session() {
    let kernel = Kernel::builder().program("p", Script::new().run_forever()).build();
    let backend = kernel.backend();
    let start = |program: &str, attributes| {
        let plan = Plan::builder(program).attributes(attributes).build().unwrap();
        Process::spawn(&backend, &plan).map(|(process, ..)| process)
    };
    let into = |group: Option<i32>| Attributes { process_group: group, ..Attributes::default() };
    let refused = |group| match start("missing", into(Some(group))).unwrap_err() {
        Error::Spawn { stage: Stage::Attribute { call, value }, source, .. } => (call, value, source),
        error => panic!("{error}"),
    };
    let leader = start("p", into(Some(0))).unwrap();
    let member = start("p", into(Some(leader.pid().as_raw()))).unwrap();
    let abroad = start("p", Attributes { setsid: true, ..Attributes::default() }).unwrap();
    // No such group, init's, the one of another session, and a process that leads none.
    for group in [31_000, 1, abroad.pid().as_raw(), member.pid().as_raw()] {
        assert_eq!(refused(group), ("setpgid", group.to_string(), Errno::PERM));
    }
    leader.kill().unwrap();
    leader.wait().unwrap();
    // The group is there as long as one is in it.
    let late = start("p", into(Some(leader.pid().as_raw()))).unwrap();
    assert_eq!(kernel.process(late.pid()).unwrap().group, leader.pid().as_raw());
}

#[test]
fn blocked_signals_wait_stops_stop_and_nothing_stops_sigkill() {
    let stubborn = Script::new()
        .block(Signal::USR1)
        .sleep(ms(10))
        .on(Signal::USR1, Script::new().exit(5))
        .unblock(Signal::USR1)
        .run_forever();
    let kernel = Kernel::builder().program("stubborn", stubborn).build();
    let backend = kernel.backend();
    let clock = backend.clock();
    let waits = spawn(&backend, "stubborn");
    clock.sleep_until(clock.now() + ms(1));
    waits.signal(Signal::USR1).unwrap();
    assert_eq!(waits.wait().unwrap().code(), Some(5));
    assert_eq!(kernel.now(), ms(10));

    let stopped = spawn(&backend, "stubborn");
    clock.sleep_until(clock.now() + ms(1));
    stopped.signal(Signal::STOP).unwrap();
    stopped.signal(Signal::USR1).unwrap();
    assert_eq!(stopped.wait_timeout(ms(1000)).unwrap(), None);
    stopped.kill().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&stopped.wait().unwrap()), Some(9));
}

#[test]
fn pipes_carry_bytes_and_end() {
    let talker = Script::new().write_stdout("one ").sleep(ms(5)).write_stdout("two").read_stdin_to_end().abort();
    let kernel = Kernel::builder().program("talker", talker).build();
    let plan = Plan::builder("talker").stdin(PlanStdio::Piped).stdout(PlanStdio::Piped).build().unwrap();
    let (process, [stdin, stdout, _], _) = Process::spawn(&kernel.backend(), &plan).unwrap();
    let (Some(PipeEnd::Writer(mut stdin)), Some(PipeEnd::Reader(mut stdout))) = (stdin, stdout) else { panic!("pipes") };
    stdin.write_all(b"ignored").unwrap();
    let mut seven = [0; 7];
    stdout.read_exact(&mut seven).unwrap();
    assert_eq!(&seven, b"one two");
    assert_eq!(process.try_wait().unwrap(), None);
    drop(stdin);
    assert_eq!(stdout.read(&mut seven).unwrap(), 0);
    let status = process.wait().unwrap();
    assert!(std::os::unix::process::ExitStatusExt::core_dumped(&status), "{status}");
}

#[test]
fn ignored_sigchld_leaves_no_zombie_and_no_status() {
    let kernel = Kernel::builder().program("p", Script::new().sleep(ms(1)).exit(0)).build();
    kernel.ignore_sigchld(true);
    let process = spawn(&kernel.backend(), "p");
    assert_eq!(process.wait().unwrap_err().errno(), Some(Errno::CHILD));
    assert!(kernel.processes().is_empty());
}

#[test]
fn values_are_told_and_who_may_not_signal_is_a_fault() {
    let kernel = Kernel::builder()
        .program("server", Script::new().on(Signal::RTMIN, Script::new().exit(0)).run_forever())
        .fault(Fault::on(Call::Signal).nth(3).errno(Errno::PERM))
        .build();
    let server = spawn(&kernel.backend(), "server");
    server.signal(Signal::CONT).unwrap();
    assert!(server.may_signal().unwrap());
    assert!(!server.may_signal().unwrap(), "the third call");
    server.signal_value(Signal::RTMIN, -7).unwrap();
    assert!(server.wait().unwrap().success());
    let ran = kernel.runs_of("server").pop().unwrap();
    // To look is to send nothing.
    assert_eq!((ran.signals, ran.values), (vec![Signal::CONT, Signal::RTMIN], vec![(Signal::RTMIN, -7)]));
}
