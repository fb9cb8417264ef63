//! What the simulated kernel says of the queue, and of the ones that one writes first.

use crate::queue::{Outcome, Queue};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use steadfast::mock::{Call, Fault, Kernel, Run, Script, Sim, Simulated};
use steadfast::sync::{self, Condvar, Mutex};
use steadfast::{Child, Command, Errno, Error, ErrorKind, Pid, Process, Stdio, System};

const LIMIT: usize = 3;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Takes up to 20 seconds and says which it was; one in four leaves a daemon behind that has its stdout and runs for ever.
fn job(run: &Run) -> Script {
    let daemon = Script::new().new_session().run_forever();
    let life = if run.random(0..4) == 0 { Script::new().spawn(daemon) } else { Script::new() };
    let name = run.args[0].to_string_lossy().into_owned();
    life.sleep(run.random_time(seconds(20))).write_stdout(name).exit(0)
}

/// Few PIDs, so that they are recycled soon.
fn kernel() -> Kernel {
    Kernel::builder().pid_max(40).program_with("job", job).build()
}

fn command(number: usize) -> Command {
    let mut command = Command::new("job");
    command.arg(number.to_string());
    command
}

/// Jobs that come one by one; each is done or killed in time, with its own output, and never are there too many.
fn a_day_of_jobs(sim: &Sim) {
    let queue = Queue::start(LIMIT, seconds(15)).unwrap();
    let tickets: Vec<_> = (0..12)
        .map(|number| {
            sim.system().sleep(sim.random_time(seconds(4)));
            let running = sim.processes().into_iter().filter_map(|pid| sim.process(pid));
            assert!(running.filter(|process| process.parent.is_none()).count() <= LIMIT);
            queue.submit(command(number))
        })
        .collect();
    for (number, ticket) in tickets.into_iter().enumerate() {
        match ticket.wait() {
            Ok(Outcome::Ended { status, stdout }) => {
                assert!(status.success());
                assert_eq!(stdout, number.to_string().as_bytes());
            }
            Ok(Outcome::TimedOut) => {}
            // A fault, or too many daemons.
            Err(error) => assert_eq!(error.errno(), Some(Errno::AGAIN)),
        }
    }
    queue.finish();
    // Twelve jobs of up to 15 s, three at a time, and the time in which they came.
    assert!(sim.now() < seconds(12 * 15 / LIMIT as u64 + 12 * 4 + 15));
}

#[test]
fn each_job_is_done_or_killed_in_time_in_10_000_orders() {
    let kernel = Kernel::builder()
        .pid_max(40)
        .program_with("job", job)
        .fault(Fault::on(Call::Spawn).probability(0.05).errno(Errno::AGAIN))
        .build();
    kernel.explore(1..=10_000, a_day_of_jobs);
}

#[test]
fn a_program_that_is_not_there_is_the_jobs_error_and_not_the_queues() {
    Kernel::builder().program("job", Script::new()).build().explore(1..=100, |_| {
        let queue = Queue::start(1, seconds(1)).unwrap();
        let (missing, there) = (queue.submit(Command::new("jbo")), queue.submit(Command::new("job")));
        assert_eq!(missing.wait().unwrap_err().errno(), Some(Errno::NOENT));
        assert!(matches!(there.wait(), Ok(Outcome::Ended { .. })));
        queue.finish();
    });
}

/// A real queue of real processes.
#[test]
fn on_this_machine_too() {
    let queue = Queue::start(2, seconds(60)).unwrap();
    let tickets: Vec<_> = (0..5)
        .map(|number| {
            let mut echo = Command::new("echo");
            echo.arg(number.to_string());
            queue.submit(echo)
        })
        .collect();
    for (number, ticket) in tickets.into_iter().enumerate() {
        let outcome = ticket.wait().unwrap();
        assert!(matches!(outcome, Outcome::Ended { stdout, .. } if stdout == format!("{number}\n").as_bytes()));
    }
    queue.finish();
}

/// The queue that one writes first, with one way to run a job or another.
struct Classic {
    waiting: Mutex<VecDeque<Command>>,
    is_finished: Mutex<bool>,
    changed: Condvar,
    run: fn(&Command) -> Result<(), Error>,
}

impl Classic {
    fn of(jobs: usize, run: fn(&Command) -> Result<(), Error>) -> Arc<Classic> {
        let waiting = Mutex::new((0..jobs).map(command).collect());
        Arc::new(Classic { waiting, is_finished: Mutex::new(false), changed: Condvar::new(), run })
    }

    /// What is waited for is looked at, and then the lock is taken again to wait: a notification that comes between is lost.
    fn work(&self) {
        loop {
            let job = self.waiting.lock().pop_front();
            match job {
                Some(job) => (self.run)(&job).unwrap(),
                None if *self.is_finished.lock() => return,
                None => drop(self.changed.wait(self.waiting.lock())),
            }
        }
    }

    fn finish(&self) {
        *self.is_finished.lock() = true;
        self.changed.notify_all();
    }
}

fn run_to_the_end(sim: &Sim, queue: &Arc<Classic>) {
    let worker = || {
        let queue = Arc::clone(queue);
        sim.spawn(move || queue.work())
    };
    let workers: Vec<_> = (0..LIMIT).map(|_| worker()).collect();
    queue.finish();
    for worker in workers {
        worker.join();
    }
}

/// The kind of the verdict on a test, which must be found within 1,000 seeds.
fn verdict(kernel: &Kernel, test: impl Fn(&Sim) + Send + Sync) -> (&'static str, String) {
    let failure = kernel.exploration().run(1..=1000, test).unwrap_err();
    (failure.verdict.kind(), failure.to_string())
}

#[test]
fn the_classic_one_loses_a_wake_up() {
    let kernel = Kernel::builder().program("job", Script::new()).build();
    let (kind, report) = verdict(&kernel, |sim| run_to_the_end(sim, &Classic::of(2, |job| job.status().map(drop))));
    assert_eq!(kind, "deadlock", "{report}");
    assert!(report.contains("waits for a lock or a condition"), "{report}");
}

fn piped(job: &Command) -> Result<Child, Error> {
    let mut job = job.clone();
    job.stdout(Stdio::piped()).spawn()
}

#[test]
fn the_classic_one_waits_for_a_forgotten_grandchild() {
    // Its stdout ends when nobody has it open any more, and the job is long gone by then.
    let (kind, report) = verdict(&kernel(), |sim| {
        let queue = Classic::of(4, |job| {
            let mut child = piped(job)?;
            let mut written = Vec::new();
            child.stdout.take().expect("piped").read_to_end(&mut written).expect("a pipe can be read");
            child.wait().map(drop)
        });
        run_to_the_end(sim, &queue);
    });
    assert_eq!(kind, "deadlock", "{report}");
    assert!(report.contains("waits for a pipe that is open in"), "{report}");
}

/// `waitpid` by the number, as in C: reaps whoever has it.
fn waitpid(pid: Pid) -> Result<(), Error> {
    let found = System::current()?.backend().find(pid)?;
    found.wait_exited(None)?;
    found.reap().map(drop)
}

/// A job, and somebody who kills it when its time is up: by its number.
fn with_watcher(job: &Command, end: fn(Pid) -> Result<(), Error>) -> Result<(), Error> {
    let child = job.spawn()?;
    let pid = child.pid();
    let watcher = sync::spawn(move || {
        System::current()?.sleep(seconds(15));
        end(pid)
    });
    let status = child.wait()?;
    // A job that was not there long enough to be killed, and was.
    let ended = System::current()?.now();
    match watcher.join().expect("it does not panic") {
        Err(error) if error.kind() == ErrorKind::ProcessDone || error.errno() == Some(Errno::CHILD) => {}
        watched => watched?,
    }
    let waited = System::current()?.now() - ended;
    assert!(status.success() || waited.is_zero(), "{status}, although its time was not up for {waited:?}");
    Ok(())
}

/// Jobs that are done before their time is up, with four PIDs.
fn short_jobs() -> Kernel {
    let short = |run: &Run| Script::new().sleep(run.random_time(seconds(14))).exit(0);
    Kernel::builder().pid_max(6).program_with("job", short).build()
}

#[test]
fn the_classic_one_kills_the_wrong_job() {
    let (kind, report) = verdict(&short_jobs(), |sim| {
        run_to_the_end(sim, &Classic::of(12, |job| with_watcher(job, |pid| Process::find(pid)?.kill())));
    });
    assert_eq!(kind, "panic", "{report}");
    assert!(report.contains("although its time was not up"), "{report}");
}

#[test]
fn the_classic_one_waits_twice_and_takes_a_strangers_status() {
    let (kind, report) = verdict(&short_jobs(), |sim| {
        // When the time is up, whoever is left is collected: the job, somebody else's job that has its number, or nobody.
        let queue = Classic::of(12, |job| with_watcher(job, waitpid));
        run_to_the_end(sim, &queue);
    });
    assert_eq!(kind, "panic", "{report}");
    assert!(report.contains("No child processes"), "{report}");
}
