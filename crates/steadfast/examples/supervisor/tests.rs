//! What the simulated kernel says of the supervisor, and of the ones that one writes first.

use crate::scenario::{an_hour, kernel, policy};
use crate::supervisor::{Ended, Policy, Supervisor};
use std::sync::Arc;
use std::time::Duration;
use steadfast::mock::{Call, Fault, Kernel, Script, Sim, Simulated};
use steadfast::sync::Mutex;
use steadfast::{Command, Errno, Error, Pid, Signal, System};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_hour_of_crashes_in_10_000_orders() {
    let explored = kernel().exploration().run(1..=10_000, an_hour).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(explored.seeds, 10_000);
    assert!(explored.time > seconds(3600) * 10_000);
}

/// Stopped at any moment: while it runs, crashes, pauses, or is just being started.
fn stopped_at_any_moment(sim: &Sim) {
    let supervisor = Arc::new(Supervisor::new(Command::new("server"), policy(), || 1.0).unwrap());
    let runner = Arc::clone(&supervisor);
    let running = sim.named("supervisor", move || runner.run());
    sim.system().sleep(sim.random_time(Duration::from_millis(300)));
    supervisor.stop().unwrap();
    assert_eq!(running.join().unwrap(), Ended::Stopped);
}

fn crashing_soon() -> Kernel {
    let server = |run: &steadfast::mock::Run| Script::new().sleep(Duration::from_millis(run.random(0..100))).exit(1);
    // A spawn fails for a moment now and then, and an exit can take its time.
    let hanging = Fault::on(Call::Exit).probability(0.1).delay(seconds(20));
    Kernel::builder()
        .pid_max(6)
        .program_with("server", server)
        .fault(Fault::on(Call::Spawn).probability(0.1).errno(Errno::AGAIN))
        .fault(hanging)
        .build()
}

#[test]
fn it_can_be_stopped_at_any_moment() {
    crashing_soon().explore(1..=10_000, stopped_at_any_moment);
}

#[test]
fn it_gives_up_after_too_many_failures_and_forgets_old_ones() {
    let kernel = Kernel::builder().program("server", Script::new().exit(3)).build();
    let _here = kernel.system().enter();
    let policy = Policy { max_restarts: 4, ..Policy::default() };
    let ended = Supervisor::new(Command::new("server"), policy.clone(), || 1.0).unwrap().run().unwrap();
    assert!(matches!(ended, Ended::GaveUp(Some(status)) if status.code() == Some(3)));
    assert_eq!(kernel.runs_of("server").len(), 5);
    // Pauses of 0.1, 0.2, 0.4 and 0.8 s.
    assert_eq!(kernel.now(), Duration::from_millis(1500));

    // One failure in each two minutes is never too many.
    let life =
        |run: &steadfast::mock::Run| if run.number < 50 { Script::new().sleep(seconds(120)).exit(1) } else { Script::new() };
    let kernel = Kernel::builder().program_with("server", life).build();
    let _here = kernel.system().enter();
    Supervisor::new(Command::new("server"), policy, || 1.0).unwrap().run().unwrap();
    assert!(kernel.runs_of("server").len() > 50);
}

#[test]
fn it_asks_before_it_kills() {
    for (stops_in, expected) in [(2, vec![Signal::TERM]), (20, vec![Signal::TERM, Signal::KILL])] {
        let server = Script::new().on(Signal::TERM, Script::new().sleep(seconds(stops_in)).exit(0)).run_forever();
        Kernel::builder().program("server", server).build().explore(1..=100, |sim| {
            let supervisor = Arc::new(Supervisor::new(Command::new("server"), policy(), || 1.0).unwrap());
            let runner = Arc::clone(&supervisor);
            let running = sim.spawn(move || runner.run());
            sim.system().sleep(seconds(60));
            supervisor.stop().unwrap();
            assert_eq!(running.join().unwrap(), Ended::Stopped);
            assert_eq!(sim.runs_of("server")[0].signals, expected);
        });
    }
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_once() {
    let kernel = Kernel::builder().build();
    let _here = kernel.system().enter();
    let error = Supervisor::new(Command::new("servre"), policy(), || 1.0).unwrap().run().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
}

/// The supervisor that one writes first: the flag is looked at before the spawn only, and who is stopped is a PID.
#[derive(Default)]
struct Classic {
    stopping: Mutex<bool>,
    current: Mutex<Option<Pid>>,
}

impl Classic {
    fn run(&self) -> Result<(), Error> {
        while !*self.stopping.lock() {
            let child = Command::new("server").spawn()?;
            *self.current.lock() = Some(child.pid());
            child.wait()?;
        }
        Ok(())
    }

    fn stop(&self, grace: Duration) -> Result<(), Error> {
        *self.stopping.lock() = true;
        let Some(pid) = *self.current.lock() else { return Ok(()) };
        let system = System::current()?;
        // kill(2) by the number, and again when the grace is over.
        for signal in [Signal::TERM, Signal::KILL] {
            match system.find(pid).and_then(|whoever| whoever.signal(signal)) {
                Err(Error::ProcessDone { .. }) => return Ok(()),
                sent => sent?,
            }
            system.sleep(grace);
        }
        Ok(())
    }
}

fn classic(sim: &Sim) {
    let supervisor = Arc::new(Classic::default());
    let runner = Arc::clone(&supervisor);
    let running = sim.named("supervisor", move || runner.run());
    sim.system().sleep(sim.random_time(seconds(300)));
    supervisor.stop(seconds(5)).unwrap();
    running.join().unwrap();
}

#[test]
fn the_classic_one_loses_a_stop() {
    // Told to stop between its look at the flag and the spawn, it starts one more, and waits for it for ever.
    let server = Script::new().on(Signal::TERM, Script::new().exit(0)).run_forever();
    let kernel = Kernel::builder().program("server", server).build();
    let failure = kernel.exploration().run(1..=1000, |sim| {
        let supervisor = Arc::new(Classic::default());
        let runner = Arc::clone(&supervisor);
        let running = sim.named("supervisor", move || runner.run());
        supervisor.stop(seconds(5)).unwrap();
        running.join().unwrap();
    });
    assert_eq!(failure.unwrap_err().verdict.kind(), "deadlock");
}

#[test]
fn the_classic_one_kills_a_stranger() {
    let failure = kernel().exploration().run(1..=1000, |sim| {
        let machine = sim.clone();
        let others = sim.named("the rest", move || {
            for _ in 0..40 {
                // The table may be full.
                machine.spawn_stranger("other").ok();
                machine.system().sleep(machine.random_time(seconds(20)));
            }
        });
        classic(sim);
        others.join();
    });
    let failure = failure.unwrap_err();
    assert_eq!(failure.verdict.kind(), "stranger", "{failure}");
}
