//! What a new process has from the one that started it: ignored and blocked signals (execve(2), signal(7)).
#![forbid(unsafe_code)]

use std::panic::catch_unwind;
use steadfast_core::{Attributes, Disposition, Plan, Process, Signal};
use steadfast_mock::{Builder, Kernel, Script};

/// Which signals the process ignores and which it blocks, in order.
fn ignored_and_blocked(kernel: &Kernel, process: &Process) -> [Vec<Signal>; 2] {
    kernel.settle();
    let process = kernel.process(process.pid()).unwrap();
    [process.ignored, process.blocked].map(|set| Signal::all().filter(|signal| set >> (signal.as_raw() - 1) & 1 == 1).collect())
}

fn start(kernel: &Kernel, program: &str, attributes: Attributes) -> Process {
    let plan = Plan::builder(program).attributes(attributes).build().unwrap();
    Process::spawn(&kernel.backend(), &plan).unwrap().0
}

fn kernel() -> Builder {
    Kernel::builder().program("p", Script::new().run_forever())
}

#[test]
fn what_the_program_under_test_ignores_and_blocks_its_children_do_too() {
    let kernel = kernel().ignore_signal(Signal::HUP, true).block_signal(Signal::USR1, true).ignore_sigchld(true).build();
    let plain = || start(&kernel, "p", Attributes::default());
    assert_eq!(ignored_and_blocked(&kernel, &plain()), [vec![Signal::HUP, Signal::CHLD], vec![Signal::USR1]]);
    kernel.ignore_sigchld(false);
    kernel.ignore_signal(Signal::USR2, true);
    kernel.block_signal(Signal::USR1, false);
    kernel.block_signal(Signal::TERM, true);
    assert_eq!(ignored_and_blocked(&kernel, &plain()), [vec![Signal::HUP, Signal::USR2], vec![Signal::TERM]]);
    let told = Attributes {
        dispositions: vec![(Signal::HUP, Disposition::Default), (Signal::INT, Disposition::Ignore)],
        signal_mask: Some([Signal::QUIT].into_iter().collect()),
        ..Attributes::default()
    };
    assert_eq!(ignored_and_blocked(&kernel, &start(&kernel, "p", told)), [vec![Signal::INT, Signal::USR2], vec![Signal::QUIT]]);
    // Init's children have nothing of ours.
    let foreign = kernel.spawn_foreign("p").unwrap();
    assert_eq!(kernel.process(foreign).map(|process| (process.ignored, process.blocked)), Some((0, 0)));
}

#[test]
fn sigpipe_is_not_inherited_from_the_program_under_test_but_from_a_script() {
    let parent = Script::new().ignore(Signal::PIPE).spawn("p").run_forever();
    let kernel = kernel().program("parent", parent).ignore_signal(Signal::PIPE, true).build();
    assert_eq!(ignored_and_blocked(&kernel, &start(&kernel, "p", Attributes::default())), [vec![], vec![]]);
    let told = Attributes { dispositions: vec![(Signal::PIPE, Disposition::Ignore)], ..Attributes::default() };
    assert_eq!(ignored_and_blocked(&kernel, &start(&kernel, "p", told)), [vec![Signal::PIPE], vec![]]);
    start(&kernel, "parent", Attributes::default());
    kernel.settle();
    let child = kernel.runs_of("p").pop().unwrap().pid;
    assert_eq!(kernel.process(child).unwrap().ignored, 1 << (Signal::PIPE.as_raw() - 1));
}

#[test]
fn what_a_handler_keeps_away_stays_blocked_in_what_it_spawns_and_executes() {
    let executes = Script::new().on(Signal::USR1, Script::new().exec("p")).run_forever();
    let spawns = Script::new().on(Signal::USR1, Script::new().spawn("p")).on(Signal::USR2, Script::new()).run_forever();
    let kernel = kernel().program("executes", executes).program("spawns", spawns).build();
    for program in ["executes", "spawns"] {
        let process = start(&kernel, program, Attributes::default());
        kernel.settle();
        process.signal(Signal::USR1).unwrap();
        kernel.settle();
        let pid = kernel.runs_of("p").pop().unwrap().pid;
        let info = kernel.process(pid).unwrap();
        assert_eq!((info.blocked, info.handled), (1 << (Signal::USR1.as_raw() - 1), 0), "{program}");
    }
}

#[test]
fn sigkill_and_sigstop_are_neither_ignored_nor_blocked() {
    for signal in [Signal::KILL, Signal::STOP] {
        assert!(catch_unwind(|| drop(kernel().ignore_signal(signal, true))).is_err());
        assert!(catch_unwind(|| drop(kernel().block_signal(signal, true))).is_err());
    }
}
