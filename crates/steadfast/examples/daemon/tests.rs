//! What the simulated kernel says of the controller, and of the one that one writes first.

use crate::controller::{Controller, Failure};
use std::fs;
use std::path::Path;
use std::time::Duration;
use steadfast::mock::{Kernel, Run, Script, Sim, Simulated};
use steadfast::{Command, Error, Pid, Signal, System};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Crashes within two minutes. Asked to stop, it may take longer than the grace.
fn daemon(run: &Run) -> Script {
    let stops = Script::new().sleep(run.random_time(seconds(8))).exit(0);
    Script::new().on(Signal::TERM, stops).sleep(run.random_time(seconds(120))).abort()
}

/// PIDs are few, so that the daemon's is soon somebody else's.
fn kernel() -> Kernel {
    Kernel::builder().pid_max(8).program_with("daemon", daemon).program("other", Script::new().sleep(seconds(50))).build()
}

/// Others come and go while somebody does this again and again.
fn among_others(sim: &Sim, mut operate: impl FnMut(&Path)) {
    // In memory, if that can be had: a file that is emptied and written again goes to the disk at once on ext4.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let machine = sim.clone();
    let others = sim.named("the rest", move || {
        for _ in 0..40 {
            // The table may be full.
            machine.spawn_stranger("other").ok();
            machine.system().sleep(machine.random_time(seconds(20)));
        }
    });
    for _ in 0..5 {
        operate(&place.path().join("daemon.pid"));
        sim.system().sleep(sim.random_time(seconds(100)));
    }
    others.join();
}

fn operate(sim: &Sim, system: System) {
    let _here = system.enter();
    among_others(sim, |pidfile| {
        let controller = Controller::new(pidfile.to_owned()).unwrap();
        let started = match controller.start(&Command::new("daemon")) {
            Ok(pid) => pid,
            Err(Failure::Ended(_)) => return,
            // The table is full.
            Err(Failure::Steadfast(error)) if error.errno().is_some_and(|errno| errno.is_transient()) => return,
            Err(failure) => panic!("{failure}"),
        };
        sim.system().sleep(sim.random_time(seconds(150)));
        if let Some(running) = controller.status().unwrap() {
            assert_eq!(running, started);
        }
        controller.stop(seconds(5)).unwrap();
        assert_eq!(controller.status().unwrap(), None);
        let is_there = |pid: &Pid| sim.process(*pid).is_some_and(|process| process.program == "daemon");
        assert_eq!(sim.processes().into_iter().find(is_there), None, "it was stopped");
    });
}

#[test]
fn it_stops_its_daemon_and_nobody_else_in_10_000_orders() {
    kernel().explore(1..=10_000, |sim| operate(sim, sim.system()));
}

#[test]
fn without_pidfds_too() {
    kernel().explore(1..=10_000, |sim| operate(sim, sim.system_pid_legacy()));
}

/// The controller that one writes first: the pidfile has a number, and the number is signalled.
fn classic_start(pidfile: &Path) -> Result<(), Error> {
    let daemon = Command::new("daemon").spawn()?;
    fs::write(pidfile, daemon.pid().to_string()).unwrap();
    Ok(())
}

fn classic_stop(pidfile: &Path, grace: Duration) -> Result<(), Error> {
    let system = System::current()?;
    let pid: Pid = fs::read_to_string(pidfile).unwrap().parse()?;
    for signal in [Signal::TERM, Signal::KILL] {
        // kill(2) by the number, and `kill -0` until it is gone or the grace is over.
        system.find(pid)?.signal(signal)?;
        let start = system.now();
        while system.now() - start < grace {
            system.find(pid)?;
            system.sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

#[test]
fn the_classic_one_kills_whoever_has_the_number_now() {
    let failure = kernel().exploration().run(1..=1000, |sim| {
        among_others(sim, |pidfile| {
            if classic_start(pidfile).is_err() {
                return;
            }
            sim.system().sleep(sim.random_time(seconds(150)));
            // Often it is gone by itself.
            match classic_stop(pidfile, seconds(5)) {
                Ok(()) | Err(Error::ProcessDone { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
    });
    let failure = failure.unwrap_err();
    assert_eq!(failure.verdict.kind(), "stranger", "{failure}");
}

/// A controller of real processes, and where its pidfile is.
fn real() -> (Controller, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    (Controller::new(place.path().join("daemon.pid")).unwrap(), place)
}

#[test]
fn on_this_machine_too() {
    let (controller, _place) = real();
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    assert_eq!(controller.status().unwrap(), None);
    let pid = controller.start(&sleep).unwrap();
    assert_eq!(controller.status().unwrap(), Some(pid));
    assert!(matches!(controller.start(&sleep), Err(Failure::Running(running)) if running == pid));
    assert!(controller.stop(seconds(60)).unwrap());
    assert!(!controller.stop(seconds(60)).unwrap());
    assert!(matches!(controller.start(&Command::new("false")), Err(Failure::Ended(status)) if status.code() == Some(1)));
    assert_eq!(controller.status().unwrap(), None);
}

#[test]
fn a_number_that_may_be_anybodys_is_not_signalled() {
    let (controller, place) = real();
    let pidfile = place.path().join("daemon.pid");
    // This very process.
    fs::write(&pidfile, format!("{}\n", std::process::id())).unwrap();
    let failure = controller.stop(seconds(1)).unwrap_err().to_string();
    assert!(failure.contains("daemon.pid") && failure.contains(&std::process::id().to_string()), "{failure}");
    assert!(controller.start(&Command::new("true")).is_err() && pidfile.exists());
    let nowhere = Controller::new(place.path().join("missing/daemon.pid")).unwrap();
    assert!(nowhere.status().unwrap_err().to_string().contains("missing/daemon.pid"));
}
