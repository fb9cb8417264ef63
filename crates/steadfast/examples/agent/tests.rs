//! What the simulated kernel says of the agent, and of the ones that one writes first.

use crate::agent::{Ended, GRACE, Task};
use std::sync::Arc;
use std::time::Duration;
use steadfast::mock::{Call, Failure, Fault, Kernel, Run, Script, Sim, Simulated};
use steadfast::sync::{self, Mutex};
use steadfast::{Child, Command, Containment, Error, Job, JobBuilder, Signal, System};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A build tool: takes up to 20 seconds; one in three leaves a daemon behind, in a session of its own, that does not care for `SIGTERM`; another one
/// has a worker that is just being started when the tool ends.
fn tool(run: &Run) -> Script {
    let daemon = Script::new().new_session().ignore(Signal::TERM).run_forever();
    let worker = Script::new().sleep(run.random_time(seconds(30)));
    let life = match run.random(0..3) {
        0 => Script::new().spawn(daemon),
        1 => Script::new().spawn(worker),
        _ => Script::new(),
    };
    life.sleep(run.random_time(seconds(20))).exit(0)
}

/// Few PIDs, so that they are recycled soon; and exits that take their time.
fn kernel() -> Kernel {
    Kernel::builder()
        .pid_max(30)
        .program_with("tool", tool)
        .fault(Fault::on(Call::Exit).probability(0.2).delay(Duration::from_millis(300)))
        .build()
}

/// What is wrong with this, found in at most 1,000 orders.
fn found(kernel: &Kernel, test: impl Fn(&Sim) + Send + Sync) -> Box<Failure> {
    kernel.exploration().run(1..=1000, test).expect_err("it is found")
}

/// One tool after the other, none beside what the one before has left.
fn a_session(sim: &Sim, job: &JobBuilder) {
    for _ in 0..4 {
        assert_eq!(sim.processes(), [], "something is left of the tool before");
        let task = Task::new(&sim.system(), job, seconds(15)).unwrap();
        let begun = sim.now();
        let report = task.run(&Command::new("tool")).unwrap();
        assert_ne!(report.ended, Ended::Cancelled);
        assert!(sim.now() - begun < seconds(15) + GRACE + seconds(1));
    }
}

/// The agent is killed while a tool runs, at a moment of its own in each order.
fn a_killed_agent(sim: &Sim, job: &JobBuilder) {
    let killer = sim.clone();
    let moment = sim.random_time(seconds(10));
    let task = Task::new(&sim.system(), job, seconds(15)).unwrap();
    let killer = sim.spawn(move || {
        killer.system().sleep(moment);
        killer.kill_owner();
    });
    // What it says then is said to nobody.
    drop(task.run(&Command::new("tool")));
    killer.join();
    // Exits that take their time are over by then.
    sim.system().sleep(seconds(1));
}

#[test]
fn killed_it_leaves_nothing_either() {
    kernel().explore(1..=1000, |sim| {
        a_killed_agent(sim, &Job::builder());
        assert_eq!(sim.processes(), []);
    });
    let by_group = Job::builder().containment(Containment::Group);
    let failure = found(&kernel(), |sim| a_killed_agent(sim, &by_group));
    assert_eq!(failure.verdict.kind(), "outlived");
}

#[test]
fn nothing_is_left_in_10_000_orders() {
    kernel().explore(1..=10_000, |sim| a_session(sim, &Job::builder()));
}

/// A process group is what most programs kill: the daemon has left it.
#[test]
fn with_a_process_group_the_daemon_is_found() {
    let failure = found(&kernel(), |sim| a_session(sim, &Job::builder().containment(Containment::Group)));
    assert!(failure.to_string().contains("something is left"));
    // And if nobody looks at the processes, the verdict is the simulation's own.
    let failure = found(&kernel(), |sim| {
        let job = Job::builder().containment(Containment::Group);
        Task::new(&sim.system(), &job, seconds(15)).unwrap().run(&Command::new("tool")).unwrap();
    });
    assert_eq!(failure.verdict.kind(), "outlived");
}

/// A machine without cgroups: the job says what it is, and a program that insists gets the reason.
#[test]
fn what_cannot_be_had_is_said() {
    let kernel = Kernel::builder().without_containment(Containment::Cgroup).program("tool", Script::new()).build();
    let _here = kernel.system().enter();
    let job = Job::new().unwrap();
    assert_eq!((job.containment(), job.why_not_more().len()), (Containment::Group, 2));
    let insisted = Job::builder().containment(Containment::Cgroup).build().unwrap_err();
    assert!(matches!(insisted, Error::NoContainment { containment: Containment::Cgroup, .. }));
}

/// It kills, and goes on at once: what was killed may take a moment to be gone.
#[test]
fn killed_is_not_gone() {
    let hasty = |sim: &Sim| {
        for _ in 0..4 {
            assert_eq!(sim.processes(), [], "something is left of the tool before");
            let job = sim.system().job(&Job::builder()).unwrap();
            let child = sim.system().spawn(Command::new("tool").in_job(&job)).unwrap();
            child.wait_timeout(seconds(15)).unwrap();
            job.kill().unwrap();
            child.wait().unwrap();
        }
    };
    let failure = found(&kernel(), hasty);
    assert!(failure.to_string().contains("something is left"), "{failure}");
}

/// Runs a tool and cancels it from another thread, at some moment: soon after, nothing runs.
fn cancelled(sim: &Sim, run: impl FnOnce(&System) + Send + 'static, cancel: impl FnOnce()) {
    let system = sim.system();
    let runs = sync::spawn(move || run(&system));
    if sim.random(0..2) == 1 {
        sim.system().sleep(sim.random_time(seconds(2)));
    }
    let asked = sim.now();
    cancel();
    runs.join().unwrap();
    assert!(sim.now() - asked < seconds(1), "the tool has run on for {:?}", sim.now() - asked);
}

fn slow() -> Kernel {
    Kernel::builder().program("tool", Script::new().exec_takes(Duration::from_millis(5)).run_forever()).build()
}

#[test]
fn a_task_can_be_cancelled_at_any_moment() {
    slow().explore(1..=10_000, |sim| {
        let task = Arc::new(Task::new(&sim.system(), &Job::builder(), seconds(60)).unwrap());
        let other = Arc::clone(&task);
        cancelled(
            sim,
            move |_| assert_eq!(other.run(&Command::new("tool")).unwrap().ended, Ended::Cancelled),
            || task.job().kill().unwrap(),
        );
    });
}

/// It keeps the child where the other thread can find it: once it has been started, and not before.
#[test]
fn a_cancel_before_the_child_is_kept_is_lost() {
    let failure = found(&slow(), |sim| {
        let kept: Arc<Mutex<Option<Arc<Child>>>> = Arc::default();
        let keeper = Arc::clone(&kept);
        let run = move |system: &System| {
            let child = Arc::new(system.spawn(&Command::new("tool")).unwrap());
            *keeper.lock() = Some(Arc::clone(&child));
            if child.wait_timeout(seconds(60)).unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        };
        cancelled(sim, run, || {
            if let Some(child) = &*kept.lock() {
                // It may have ended by itself.
                drop(child.kill());
            }
        });
    });
    assert!(failure.to_string().contains("the tool has run on"));
}

/// Real processes: a shell that leaves one behind, in a session of its own if there is a program for that.
#[test]
fn on_this_machine_too() {
    let system = System::current().unwrap();
    let task = Task::new(&system, &Job::builder(), seconds(60)).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 1000 & (setsid sleep 1000 2>/dev/null &); exit 3"]);
    let report = task.run(&shell).unwrap();
    assert!(matches!(report.ended, Ended::ByItself(status) if status.code() == Some(3)));
    assert!(task.job().is_empty().unwrap());
}
