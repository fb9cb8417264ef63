//! [`Queue`]: runs commands, so many at a time, each for at most that long.
//!
//! It is ordinary code. Its threads and locks are those of [`steadfast::sync`], so that the simulated kernel can run it in every order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use steadfast::sync::{self, Condvar, JoinHandle, Mutex};
use steadfast::{Capture, Command, Error, ExitStatus, Stdio, System};

/// What became of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has ended by itself.
    Ended {
        /// How.
        status: ExitStatus,
        /// What it has written; not what a grandchild may still write that has its stdout.
        stdout: Vec<u8>,
    },
    /// It was killed.
    TimedOut,
}

/// Takes commands until it is finished.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    system: System,
    timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Command, Arc<Slot>)>,
    is_finished: bool,
}

/// Where a job's outcome is left.
#[derive(Default)]
struct Slot {
    outcome: Mutex<Option<Result<Outcome, Error>>>,
    done: Condvar,
}

/// A job that was submitted.
pub(crate) struct Ticket(Arc<Slot>);

impl Queue {
    /// A queue that runs so many jobs at a time.
    pub(crate) fn start(limit: usize, timeout: Duration) -> Result<Queue, Error> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { system: System::current()?, timeout, state, changed });
        let worker = |_| {
            let shared = Arc::clone(&shared);
            sync::spawn(move || shared.work())
        };
        Ok(Queue { workers: (0..limit).map(worker).collect(), shared })
    }

    pub(crate) fn submit(&self, command: Command) -> Ticket {
        let slot = Arc::<Slot>::default();
        self.shared.state.lock().waiting.push_back((command, Arc::clone(&slot)));
        self.shared.changed.notify_one();
        Ticket(slot)
    }

    /// Returns when all that was submitted is done.
    pub(crate) fn finish(self) {
        self.shared.state.lock().is_finished = true;
        self.shared.changed.notify_all();
        for worker in self.workers {
            worker.join().expect("a worker does not panic");
        }
    }
}

impl Ticket {
    /// What became of it.
    pub(crate) fn wait(self) -> Result<Outcome, Error> {
        let mut outcome = self.0.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => outcome = self.0.done.wait(outcome),
            }
        }
    }
}

impl Shared {
    /// Runs one job after the other, until the queue is finished.
    fn work(&self) {
        let _here = self.system.enter();
        while let Some((mut command, slot)) = self.next() {
            let outcome = self.run(&mut command);
            *slot.outcome.lock() = Some(outcome);
            slot.done.notify_all();
        }
    }

    fn next(&self) -> Option<(Command, Arc<Slot>)> {
        let mut state = self.state.lock();
        loop {
            // Both are looked at under the lock that is given up by the wait: no notification comes between.
            match state.waiting.pop_front() {
                Some(job) => return Some(job),
                None if state.is_finished => return None,
                None => state = self.changed.wait(state),
            }
        }
    }

    fn run(&self, command: &mut Command) -> Result<Outcome, Error> {
        let options = Capture::new().timeout(self.timeout).kill_on_timeout(true);
        let captured = command.stdin(Stdio::null()).stderr(Stdio::inherit()).capture(&options)?;
        Ok(match captured.status {
            Some(status) if !captured.timed_out => Outcome::Ended { status, stdout: captured.stdout.into_vec() },
            _ => Outcome::TimedOut,
        })
    }
}
