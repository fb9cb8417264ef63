//! [`Exploration`]: a test, run once per seed, over all cores; and of a run that goes wrong, the smallest that does.

use super::failure::{Failure, ReplayError};
use super::outcome::Outcome;
use super::replay::Replay;
use super::shrink::{Shrink, departures, without_calm_end};
use crate::face::shared::Kernel;
use crate::face::sim::{Sim, perform};
use crate::order::chance::{Choice, Mode};
use crate::order::threads::Threads;
use crate::order::verdict::Verdict;
use crate::play::setup::Setup;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How to explore; begin with [`Kernel::exploration`].
#[derive(Clone)]
#[must_use = "nothing is explored before `run`"]
pub struct Exploration {
    kernel: Arc<Setup>,
    jobs: Option<usize>,
    max_calls: u64,
    shrink: usize,
    file: Option<PathBuf>,
    on_progress: Option<Arc<dyn Fn(u64, u64) + Send + Sync>>,
}

/// The result of an exploration without a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// How many seeds.
    pub seeds: u64,
    /// How many calls were made to the kernel.
    pub calls: u64,
    /// How much virtual time has passed in all of them.
    pub time: Duration,
}

impl Kernel {
    /// Runs the test once per seed, each time on a fresh kernel that was built like this one, on all cores. Threads that
    /// [`Sim::spawn`] starts take turns; the seed decides the order.
    ///
    /// ```
    /// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
    /// use steadfast_core::{Plan, Process, Signal};
    /// use steadfast::mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().run_forever()).build();
    /// kernel.explore(1..=100, |sim| {
    ///     let (server, ..) = Process::spawn(&sim.backend(), &Plan::builder("server").build().unwrap()).unwrap();
    ///     let other = server.clone();
    ///     let killer = sim.spawn(move || other.kill());
    ///     assert!(!server.wait().unwrap().success());
    ///     killer.join().ok();
    /// });
    /// ```
    ///
    /// # Panics
    /// If a run ends with a [`Verdict`]. The message has the seed, the verdict, the timeline, and the name of a file for [`replay`](Kernel::replay).
    /// Also if there is no seed.
    #[track_caller]
    pub fn explore(&self, seeds: impl IntoIterator<Item = u64>, test: impl Fn(&Sim) + Send + Sync) {
        if let Err(failure) = self.exploration().run(seeds, test) {
            panic!("{failure}");
        }
    }

    /// Begins an exploration with other options, or one that returns the failure.
    pub fn exploration(&self) -> Exploration {
        let kernel = Arc::clone(&self.shared.setup);
        Exploration { kernel, jobs: None, max_calls: 1_000_000, shrink: 1_000, file: None, on_progress: None }
    }

    /// Repeats the run that a failed exploration has written to this file. `Err` if it still fails.
    ///
    /// # Errors
    /// [`ReplayError::Failed`] if it ends with a verdict, as it did before; the others if the file cannot be read, is cut off or
    /// damaged, or does not fit this kernel and test.
    pub fn replay(&self, file: impl AsRef<Path>, test: impl Fn(&Sim) + Send + Sync) -> Result<(), ReplayError> {
        let file = file.as_ref();
        let replay = ReplayError::read(file, &self.shared.setup)?;
        let exploration = self.exploration();
        let outcome = exploration.run_once(replay.seed, exploration.scripted(replay.choices.clone()), &test);
        if let Some((at, seen)) = outcome.misfit {
            return Err(ReplayError::Departs { file: file.into(), decision: at, expected: replay.choices[at].of, seen: seen.of });
        }
        match outcome.verdict {
            None => Ok(()),
            Some(verdict) => Err(ReplayError::Failed(Box::new(Failure {
                seed: replay.seed,
                verdict,
                timeline: outcome.kernel.trace(),
                file: Some(file.into()),
                tried: (0, 0, 0),
                replay,
            }))),
        }
    }
}

impl Exploration {
    /// The number of threads to use. By default: one per core.
    ///
    /// # Panics
    /// If it is 0.
    pub fn jobs(self, jobs: usize) -> Exploration {
        assert!(jobs > 0, "jobs(0): nothing would be run");
        Exploration { jobs: Some(jobs), ..self }
    }

    /// A run with more calls to the kernel than this is *endless*. By default: 1,000,000.
    pub fn max_calls(self, calls: u64) -> Exploration {
        Exploration { max_calls: calls, ..self }
    }

    /// How many runs to use for finding a shorter one that fails. By default: 1,000.
    pub fn shrink(self, runs: usize) -> Exploration {
        Exploration { shrink: runs, ..self }
    }

    /// Where to write a run that fails; a file that is there is written over. By default: a new file in the directory for temporary files, which
    /// only this user can read, and whose name nobody can guess. The [`Failure`] has it.
    pub fn file(self, file: impl Into<PathBuf>) -> Exploration {
        Exploration { file: Some(file.into()), ..self }
    }

    /// Calls this after each run, on the thread that has made it: with how many were made, and how many there are to be. Nothing is shown by
    /// itself.
    ///
    /// ```
    /// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
    /// use steadfast::mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().exit(0)).build();
    /// let explored = kernel.exploration().on_progress(|done, of| print!("\r{done} of {of}")).run(1..=100, |_| ());
    /// assert_eq!(explored?.seeds, 100);
    /// # Ok::<(), Box<steadfast_mock::Failure>>(())
    /// ```
    pub fn on_progress(self, call: impl Fn(u64, u64) + Send + Sync + 'static) -> Exploration {
        Exploration { on_progress: Some(Arc::new(call)), ..self }
    }

    /// Runs the test once per seed.
    ///
    /// # Errors
    /// The [`Failure`] of the first seed, in their order, that fails.
    ///
    /// # Panics
    /// If there is no seed.
    pub fn run(&self, seeds: impl IntoIterator<Item = u64>, test: impl Fn(&Sim) + Send + Sync) -> Result<Explored, Box<Failure>> {
        let seeds: Vec<u64> = seeds.into_iter().collect();
        assert!(!seeds.is_empty(), "the range of seeds is empty, so that nothing would be tested: give one such as 1..=1000");
        // The first that failed; what lies behind it need not be run.
        let (next, first_bad) = (AtomicUsize::new(0), AtomicUsize::new(seeds.len()));
        let worst: Mutex<Option<(usize, Verdict)>> = Mutex::default();
        let explored = Mutex::new(Explored::default());
        let jobs = self.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).min(seeds.len());
        let (say, hear) = mpsc::channel();
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= first_bad.load(Ordering::Acquire) {
                    return;
                }
                let outcome = self.run_once(seeds[index], Mode::Recorded, &test);
                if let Some(verdict) = outcome.verdict {
                    first_bad.fetch_min(index, Ordering::AcqRel);
                    let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
                    if worst.as_ref().is_none_or(|(before, _)| index < *before) {
                        *worst = Some((index, verdict));
                    }
                }
                let done = {
                    let mut explored = explored.lock().unwrap_or_else(PoisonError::into_inner);
                    explored.seeds += 1;
                    explored.calls += outcome.calls;
                    explored.time += outcome.kernel.now();
                    explored.seeds
                };
                if let Some(call) = &self.on_progress {
                    call(done, seeds.len() as u64);
                }
            }
        };
        if jobs == 1 {
            work();
        } else {
            thread::scope(|scope| {
                for _ in 0..jobs {
                    let say = say.clone();
                    scope.spawn(move || {
                        work();
                        // Heard by nobody if the others hang, which has been said then.
                        drop(say);
                    });
                }
                drop(say);
                watch(&hear, &explored);
            });
        }
        match worst.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((bad, verdict)) => Err(Box::new(self.failure(seeds[bad], verdict, &test))),
            None => Ok(explored.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn scripted(&self, script: Vec<Choice>) -> Mode {
        Mode::Scripted { script, misfit: None }
    }

    /// One run of the test, on a kernel of its own.
    fn run_once(&self, seed: u64, mode: Mode, test: &(impl Fn(&Sim) + Send + Sync)) -> Outcome {
        let kernel = Kernel::boot(&self.kernel, seed, mode, Threads::in_turn(self.max_calls));
        kernel.begin_thread(0);
        let sim = Sim::new(&kernel, seed);
        perform(&kernel, || {
            test(&sim);
            kernel.end_main();
        });
        kernel.leave();
        // Those that the verdict has woken, on their way out.
        let started = std::mem::take(&mut *kernel.shared.started.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in started {
            // What it panicked with is the verdict.
            drop(thread.join());
        }
        let mut world = kernel.lock();
        let verdict = world.host.threads.take_verdict().or_else(|| world.last_judgement());
        let (choices, misfit) = (world.host.chance.take_choices(), world.host.chance.misfit());
        let (lines, calls) = (world.host.trace.len(), world.host.threads.calls());
        drop(world);
        Outcome { verdict, choices, misfit, kernel, lines, calls }
    }

    /// Runs the seed again, and then smaller and smaller runs of it, as long as the same kind of thing goes wrong.
    fn failure(&self, seed: u64, seen: Verdict, test: &(impl Fn(&Sim) + Send + Sync)) -> Failure {
        let first = self.run_once(seed, Mode::Recorded, test);
        let before = departures(&first.choices);
        let run = |choices| self.run_once(seed, self.scripted(choices), test);
        let mut shrink = Shrink::new(first, self.shrink, run);
        if shrink.best.verdict.is_some() {
            shrink.search();
        }
        let Shrink { best, tried, .. } = shrink;
        let after = departures(&best.choices);
        let verdict = best.verdict.unwrap_or(Verdict::Unsteady { seen: seen.to_string() });
        let replay = Replay::new(seed, &self.kernel, verdict.kind(), without_calm_end(best.choices));
        let file = match &self.file {
            Some(file) => replay.write(file).map(|()| file.clone()),
            None => replay.write_new(&default_file(seed)),
        };
        let file = file.ok();
        Failure { seed, verdict, timeline: best.kernel.trace(), file, tried: (tried, before, after), replay }
    }
}

/// Its last part is of the system's randomness, with which std keys its hash tables.
fn default_file(seed: u64) -> PathBuf {
    let current = thread::current();
    let test: String = current.name().unwrap_or("test").replace(|c: char| !c.is_alphanumeric(), "-");
    std::env::temp_dir().join(format!("steadfast-{test}-{seed}-{:016x}.replay", RandomState::new().hash_one(seed)))
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exploration { kernel: _, jobs, max_calls, shrink, file, on_progress: _ } = self;
        let mut shown = f.debug_struct("Exploration");
        shown
            .field("jobs", jobs)
            .field("max_calls", max_calls)
            .field("shrink", shrink)
            .field("file", file)
            .finish_non_exhaustive()
    }
}

/// Waits for the workers. When none has come to an end of a run for a while, a thread hangs where the simulation cannot see it.
fn watch(hear: &mpsc::Receiver<()>, explored: &Mutex<Explored>) {
    let seeds = || explored.lock().unwrap_or_else(PoisonError::into_inner).seeds;
    let mut before = seeds();
    while let Err(RecvTimeoutError::Timeout) = hear.recv_timeout(Duration::from_secs(60)) {
        if seeds() == before {
            eprintln!(
                "exploring: no run has ended for a minute: does a thread wait outside of the simulation, for a lock of std's that is \
                 held across a call, a channel, std::thread::sleep or a real process?"
            );
        }
        before = seeds();
    }
}
