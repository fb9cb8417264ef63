//! An hour in the life of a supervised server, for the tests and for `cargo xtask bench mock`.

use crate::supervisor::{Ended, Policy, Supervisor};
use std::sync::Arc;
use std::time::Duration;
use steadfast::mock::{Kernel, Run, Script, Sim, Simulated};
use steadfast::{Command, Signal};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Runs for up to two minutes, then ends in one of the ways in which servers end. Asked to stop, it may take longer than the grace.
fn server(run: &Run) -> Script {
    let life = Script::new().on(Signal::TERM, Script::new().sleep(run.random_time(seconds(6))).exit(0));
    let life = life.sleep(run.random_time(seconds(120)));
    match run.random(0..3) {
        0 => life.exit(1),
        1 => life.abort(),
        _ => life.raise(Signal::SEGV),
    }
}

/// PIDs are few, so that they are recycled all the time.
pub(crate) fn kernel() -> Kernel {
    Kernel::builder().pid_max(8).program_with("server", server).program("other", Script::new().sleep(seconds(50))).build()
}

pub(crate) fn policy() -> Policy {
    Policy { max_restarts: 1000, ..Policy::default() }
}

/// It runs, crashes and is restarted for an hour; then it is stopped, and nothing is left.
pub(crate) fn an_hour(sim: &Sim) {
    let (system, jitter) = (sim.system(), sim.clone());
    let jitter = move || jitter.random(0..1000) as f64 / 1000.0;
    let supervisor = Arc::new(Supervisor::new(Command::new("server"), policy(), jitter).unwrap());
    let runner = Arc::clone(&supervisor);
    let running = sim.named("supervisor", move || runner.run());
    system.sleep(seconds(3600));
    supervisor.stop().unwrap();
    assert_eq!(running.join().unwrap(), Ended::Stopped);
    assert_eq!(sim.processes(), []);
    assert!(sim.runs_of("server").len() > 10);
}
