//! One seed, one trace: byte for byte, however busy the machine is, however the code was compiled, on any machine.
#![forbid(unsafe_code)]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use steadfast_core::{Errno, Plan, PlanStdio, Process, Signal, sync};
use steadfast_mock::{Call, Fault, Kernel, Script, Sim};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A bit of everything: programs that decide, spawn, write and are stopped; calls that fail; few PIDs; threads with locks.
fn kernel() -> Kernel {
    let worker = |run: &steadfast_mock::Run| {
        let talks = Script::new().write_stdout("x".repeat(run.random(1..20) as usize)).compute(run.random_time(ms(30)));
        match run.random(0..4) {
            0 => talks.exit(run.number as i32),
            1 => talks.abort(),
            2 => talks.spawn(Script::new().sleep(ms(5))).wait_for_children(),
            _ => talks.new_group().raise(Signal::KILL),
        }
    };
    Kernel::builder()
        .pid_max(12)
        .pipe_capacity(8)
        .program_with("worker", worker)
        .program("server", Script::new().on(Signal::TERM, Script::new().sleep(ms(40)).exit(0)).run_forever())
        .fault(Fault::on(Call::Spawn).probability(0.2).errno(Errno::AGAIN))
        .fault(Fault::on(Call::Exit).probability(0.2).delay(ms(7)))
        .build()
}

fn scenario(sim: &Sim) {
    let backend = sim.backend();
    let server = loop {
        if let Ok((server, ..)) = Process::spawn(&backend, &Plan::builder("server").build().unwrap()) {
            break server;
        }
    };
    let done = Arc::new(sync::Mutex::new(0));
    let threads: Vec<_> = (0..3)
        .map(|index| {
            let (backend, done, server, sim) = (Arc::clone(&backend), Arc::clone(&done), server.clone(), sim.clone());
            sync::spawn(move || {
                for _ in 0..5 {
                    let plan = Plan::builder("worker").stdout(PlanStdio::Piped).build().unwrap();
                    let Ok((worker, _pipes, _)) = Process::spawn(&backend, &plan) else { continue };
                    if worker.wait_timeout(ms(sim.random(1..40))).unwrap().is_none() {
                        server.signal(if index == 0 { Signal::STOP } else { Signal::CONT }).unwrap();
                        worker.kill().ok();
                        worker.wait().unwrap();
                    }
                    *done.lock() += 1;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    server.signal(Signal::CONT).unwrap();
    server.signal(Signal::TERM).unwrap();
    server.wait().unwrap();
}

fn trace(seed: u64) -> String {
    let trace = Mutex::new(String::new());
    let explored = kernel().exploration().run([seed], |sim| {
        scenario(sim);
        *trace.lock().unwrap() = sim.trace();
    });
    explored.unwrap_or_else(|failure| panic!("{failure}"));
    trace.into_inner().unwrap()
}

/// Written once, and to be changed when the simulation changes; `STEADFAST_BLESS=1` writes it anew.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seed-4711.trace");

#[test]
fn the_trace_is_the_one_of_every_machine() {
    let now = trace(4711);
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(GOLDEN, &now).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(now, golden);
}

#[test]
fn a_hundred_runs_give_one_trace_on_an_idle_machine_and_on_a_busy_one() {
    let expected = trace(4711);
    for busy in [0, 1, 2] {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..busy {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        spin_loop();
                    }
                });
            }
            for run in 0..100 {
                let seen = trace(4711);
                if seen != expected {
                    is_over.store(true, Ordering::Relaxed);
                }
                assert_eq!(seen, expected, "run {run} with {busy} cores busy");
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn other_seeds_give_other_traces() {
    let traces: std::collections::HashSet<String> = (0..20).map(trace).collect();
    assert_eq!(traces.len(), 20);
}
