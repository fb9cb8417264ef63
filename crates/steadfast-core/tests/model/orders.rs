//! Three threads on one handle, in every order: what each may do, and what it may be told.
//!
//! With `MODEL_PREEMPTIONS=N`, orders in which threads are interrupted more than N times are left out (2 by default; `all`: none is);
//! `MODEL_VERBOSE` says how many orders each three threads have.

use crate::process::Process;
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use steadfast_core::{Error, ErrorKind, Plan, ProcessBackend};

/// A kernel with one process. It gives a number to a stranger in the moment in which it is free, and panics when one is hit.
pub(crate) trait Machine: ProcessBackend + Copy + Debug + 'static {
    /// It exits by itself, with code 7, unless it has ended already.
    fn exit(self);
    /// Nobody has a handle any more, and it has ended: it was reaped, once.
    fn is_left_clean(self);
}

/// A timeout that does not pass.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// What a thread does with its clone of the handle, before it drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Signal,
    Wait,
    /// With a timeout that does not pass.
    WaitLong,
    /// With one that passes whenever the machine likes.
    WaitShort,
    TryWait,
    Release,
    Drop,
}

/// Each three of these acts, on each machine: a test of its own.
pub(crate) fn run<M: Machine>(machines: &[M], acts: &[Act]) {
    let pairs = acts.iter().flat_map(|a| acts.iter().map(move |b| [*a, *b]));
    let triples = pairs.flat_map(|[a, b]| acts.iter().map(move |c| [a, b, *c]));
    let triples: BTreeSet<[Act; 3]> = triples
        .map(|mut triple| {
            triple.sort();
            triple
        })
        .collect();
    let each = machines.iter().flat_map(|machine| triples.iter().map(move |triple| (*machine, *triple)));
    let trial = |(machine, triple): (M, [Act; 3])| {
        Trial::test(format!("every order: {machine:?}: {triple:?}"), move || {
            in_every_order(machine, triple);
            Ok(())
        })
    };
    let trials = each.map(trial).collect();
    let mut args = Arguments::from_args();
    // A world at a time.
    args.test_threads = Some(1);
    libtest_mimic::run(&args, trials).exit();
}

/// Panics in the first order that breaks a promise.
fn in_every_order<M: Machine>(machine: M, acts: [Act; 3]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = match std::env::var("MODEL_PREEMPTIONS") {
        Ok(text) if text == "all" => None,
        Ok(text) => Some(text.parse().expect("MODEL_PREEMPTIONS is a number, or `all`")),
        Err(_) => Some(2),
    };
    model.max_branches = 10_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&orders);
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        in_one_order(machine, acts);
    });
    if std::env::var_os("MODEL_VERBOSE").is_some() {
        println!("{machine:?} {acts:?}: {} orders", orders.load(Ordering::Relaxed));
    }
}

fn in_one_order<M: Machine>(machine: M, acts: [Act; 3]) {
    let backend: Arc<dyn ProcessBackend> = Arc::new(machine);
    let plan = Plan::builder("program").build().expect("it is in order");
    let (process, ..) = Process::spawn(&backend, &plan).expect("it always works");
    drop(backend);
    let threads = acts.map(|act| {
        let process = process.clone();
        loom::thread::spawn(move || perform(act, &process))
    });
    drop(process);
    machine.exit();
    let statuses: Vec<i32> = threads.into_iter().filter_map(|thread| thread.join().expect("it does not panic")).collect();
    // Whoever was told a status was told the same: of its own end, or of the signal.
    assert!(statuses.windows(2).all(|pair| pair[0] == pair[1]), "{statuses:?}");
    assert!(statuses.iter().all(|status| [7 << 8, 9].contains(status)), "{statuses:?}");
    machine.is_left_clean();
}

/// The wait status that it is told.
fn perform(act: Act, process: &Process) -> Option<i32> {
    let allowed = |error: &Error, kinds: &[ErrorKind]| assert!(kinds.contains(&error.kind()), "{act:?}: {error}");
    let told = match act {
        Act::Wait => process.wait().map(Some),
        Act::WaitLong => process.wait_timeout(LONG),
        Act::WaitShort => process.wait_timeout(Duration::from_secs(1)),
        Act::TryWait => process.try_wait(),
        Act::Signal => {
            if let Err(error) = process.kill() {
                allowed(&error, &[ErrorKind::ProcessDone, ErrorKind::Released]);
            }
            return None;
        }
        Act::Release => {
            process.release().expect("it always works");
            return None;
        }
        Act::Drop => return None,
    };
    match told {
        Ok(status) => {
            assert!(status.is_some() || [Act::TryWait, Act::WaitShort].contains(&act), "{act:?}: it runs on, without end");
            status.map(|status| status.into_raw())
        }
        Err(error) => {
            allowed(&error, &[ErrorKind::Released]);
            None
        }
    }
}
