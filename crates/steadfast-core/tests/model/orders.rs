//! Three threads on one handle, in every order: what each may do, and what it may be told.
//!
//! With `MODEL_INTERRUPTIONS=N`, orders in which threads that could go on are interrupted more than N times are left out (`all`: none
//! is, where it would take too long otherwise); `MODEL_VERBOSE` says how many orders each three threads have.

use crate::checker;
use crate::process::{ByNumber, Process};
use libtest_mimic::{Arguments, Trial};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{
    BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, Error, ErrorKind, FoundByFd, JobPlan, Pid, Plan,
    ProcessBackend, Result, Spawned,
};

/// A kernel with one process. It gives a number to a stranger in the moment in which it is free, and panics when one is hit.
pub(crate) trait Machine: Copy + Debug + Send + Sync + 'static {
    fn info(self) -> BackendInfo {
        BackendInfo::new("model")
    }
    fn clock(&self) -> &dyn Clock;
    /// What a handle of the process has.
    fn process(self) -> Arc<dyn BackendProcess>;
    /// Makes it as new.
    fn begin(self);
    /// It exits by itself, with code 7, unless it has ended already.
    fn exit(self);
    /// How many interruptions are tried, if it would take too long to try all.
    fn interruptions(self, acts: &[Act]) -> Option<usize>;
    /// Nobody has a handle any more, and it has ended: it was reaped, once.
    fn is_left_clean(self);
}

/// The backend of a machine.
struct Backend<M>(M);

impl<M: Machine> ProcessBackend for Backend<M> {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    fn clock(&self) -> &dyn Clock {
        self.0.clock()
    }

    fn generation(&self) -> u32 {
        0
    }

    fn start(&self, _: &Plan) -> Result<Box<dyn BackendStart>> {
        let process = self.0.process();
        Ok(Spawned { pid: Pid::MAX, spawner_peak: 0, process, pipes: [None, None, None], pidfd: None, missing_walls: Vec::new() }
            .at_once())
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Err(Error::ProcessDone { pid })
    }

    fn list(&self) -> Result<Vec<Pid>> {
        unreachable!("nobody lists")
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        Err(Error::Unsupported { backend: self.info().name, what: "no descriptors".into() })
    }

    fn reopen(&self, _: &steadfast_core::Identity) -> steadfast_core::Reopened<Arc<dyn BackendProcess>> {
        unreachable!("nobody is named here")
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        Err(Error::no_jobs(self.info().name, plan.containment))
    }
}

/// Its process, spawned.
pub(crate) fn spawn<M: Machine>(machine: M) -> Process {
    let backend: Arc<dyn ProcessBackend> = Arc::new(Backend(machine));
    let plan = Plan::builder("program").build().expect("it is in order");
    let (process, ..) = Process::spawn(&backend, &plan).expect("it always works");
    process
}

/// A timeout that does not pass.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// What a thread does with its clone of the handle, before it drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Signal,
    /// A call with the number, where a child's is its own.
    ByNumber,
    Wait,
    /// With a timeout that does not pass: where that is another way to wait.
    #[allow(dead_code, reason = "not everywhere it is")]
    WaitLong,
    /// With one that passes whenever the machine likes.
    WaitShort,
    TryWait,
    Release,
    Drop,
}

/// Each three of these acts, on each machine: a test of its own. And others.
pub(crate) fn run<M: Machine>(machines: &[M], acts: &[Act], others: Vec<Trial>) {
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
    let trials = each.map(trial).chain(others).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Panics in the first order that breaks a promise.
fn in_every_order<M: Machine>(machine: M, acts: [Act; 3]) {
    let interruptions = checker::interruptions_or(machine.interruptions(&acts));
    let orders = checker::in_every_order(interruptions, move || in_one_order(machine, acts));
    if std::env::var_os("MODEL_VERBOSE").is_some() {
        println!("{machine:?} {acts:?}: {orders} orders");
    }
}

fn in_one_order<M: Machine>(machine: M, acts: [Act; 3]) {
    machine.begin();
    let process = spawn(machine);
    HANDLES.set(acts.len() + 1);
    let threads = acts.map(|act| {
        let process = process.clone();
        shuttle::thread::spawn(move || {
            checker::remember_only(&act);
            let told = perform(act, &process);
            checker::remember_only(&told);
            part_with(process);
            checker::remember_only(&told);
            told
        })
    });
    part_with(process);
    machine.exit();
    let statuses: Vec<i32> = threads.into_iter().filter_map(|thread| thread.join().expect("it does not panic")).collect();
    // Whoever was told a status was told the same: of its own end, or of the signal.
    assert!(statuses.windows(2).all(|pair| pair[0] == pair[1]), "{statuses:?}");
    assert!(statuses.iter().all(|status| [7 << 8, 9].contains(status)), "{statuses:?}");
    machine.is_left_clean();
}

/// It matters who is the last.
fn part_with(process: Process) {
    checker::share(&HANDLES, |handles| *handles -= 1);
    drop(process);
}

thread_local! {
    /// How many there are.
    static HANDLES: RefCell<usize> = const { RefCell::new(0) };
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
        Act::ByNumber => {
            if let Err(error) = process.change_by_number("a call", ByNumber::IfPinned, |_| Ok(())) {
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
