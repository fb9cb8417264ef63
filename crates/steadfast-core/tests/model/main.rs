//! Every order of three threads on one handle: the state machine of `src/process`, compiled with the locks of a model checker, on the most
//! hostile of kernels, which gives a number away at the moment in which it is free.
//!
//! Whoever signals, waits for or reaps a number that is another's by then has hit a stranger, and that order of events is printed. With
//! `MODEL_PREEMPTIONS=N`, orders in which a thread is interrupted more than N times are left out (2 by default; `all`: none is).
#![forbid(unsafe_code)]

/// What the state machine names, as the crate that it belongs to has it.
mod lock {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

#[path = "../../src/process/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, reason = "a copy, of which not everything is used")]
mod process;

mod machine;

use machine::{Identity, Machine};
use process::Process;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
// What the state machine takes from its crate's root.
use steadfast_core::{
    BackendProcess, Errno, Error, ErrorKind, Exit, Pid, PipeEnd, Plan, ProcessBackend, Result, Signal, Spawned, sync,
};

/// What a thread does with its clone of the handle, before it drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Signal,
    Wait,
    TryWait,
    Release,
    Drop,
}

const ACTS: [Act; 5] = [Act::Signal, Act::Wait, Act::TryWait, Act::Release, Act::Drop];

fn main() -> ExitCode {
    let bound = match std::env::var("MODEL_PREEMPTIONS") {
        Ok(text) if text == "all" => None,
        Ok(text) => Some(text.parse().expect("MODEL_PREEMPTIONS is a number, or `all`")),
        Err(_) => Some(2),
    };
    let triples: BTreeSet<[Act; 3]> = ACTS
        .iter()
        .flat_map(|a| ACTS.iter().flat_map(move |b| ACTS.iter().map(move |c| [*a, *b, *c])))
        .map(|mut triple| {
            triple.sort();
            triple
        })
        .collect();
    let mut all = 0;
    for identity in [Identity::Pidfd, Identity::Number] {
        for triple in &triples {
            all += check(identity, *triple, bound);
        }
    }
    println!(
        "{} triples of threads, by pidfd and by number: {all} orders, no stranger hit, each process reaped once",
        triples.len()
    );
    ExitCode::SUCCESS
}

/// How many orders there are; panics in the first that breaks a promise.
fn check(identity: Identity, acts: [Act; 3], bound: Option<usize>) -> usize {
    let orders = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&orders);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound;
    model.max_branches = 10_000;
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        in_one_order(identity, acts);
    });
    let orders = orders.load(Ordering::Relaxed);
    if std::env::var_os("MODEL_VERBOSE").is_some() {
        println!("{identity:?} {acts:?}: {orders}");
    }
    orders
}

fn in_one_order(identity: Identity, acts: [Act; 3]) {
    let machine = Machine::new(identity);
    let process = machine.spawn();
    let threads = acts.map(|act| {
        let process = process.clone();
        loom::thread::spawn(move || perform(act, &process))
    });
    drop(process);
    machine.exit(7);
    let statuses: Vec<i32> = threads.into_iter().filter_map(|thread| thread.join().expect("it does not panic")).collect();
    // Whoever was told a status was told the same: of its own end, or of the signal.
    assert!(statuses.windows(2).all(|pair| pair[0] == pair[1]), "{statuses:?}");
    assert!(statuses.iter().all(|status| [7 << 8, 9].contains(status)), "{statuses:?}");
    machine.is_left_clean();
}

/// The wait status that it is told.
fn perform(act: Act, process: &Process) -> Option<i32> {
    let allowed = |error: &Error, kinds: &[ErrorKind]| assert!(kinds.contains(&error.kind()), "{act:?}: {error}");
    match act {
        Act::Signal => {
            if let Err(error) = process.kill() {
                allowed(&error, &[ErrorKind::ProcessDone, ErrorKind::Released]);
            }
            None
        }
        Act::Wait | Act::TryWait => {
            let answer = if act == Act::Wait { process.wait().map(Some) } else { process.try_wait() };
            match answer {
                Ok(status) => status.map(|status| status.into_raw()),
                Err(error) => {
                    allowed(&error, &[ErrorKind::Released]);
                    None
                }
            }
        }
        Act::Release => {
            process.release().expect("it always works");
            None
        }
        Act::Drop => None,
    }
}
