//! Pidfiles and identities in the simulated kernel: the file is real, the processes are not. The program is killed and started again, the machine is booted
//! anew, and numbers are given away; in many orders.

use crate::Test;
use crate::pidfiles::place;
use crate::stage::row;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Sim, Simulated};
use steadfast::{
    Command, Error, ErrorKind, Identity, Pidfile, PidfileIs, PidfileStatus, Process, Reopened, Result, Signal, Stale, System,
    Teardown,
};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("pidfiles: simulated: a restart finds the daemon, a boot does not, and the next one takes over", restarted),
        Test::new("pidfiles: simulated: two controllers start and stop it among strangers, in 2,000 orders", controlled),
        Test::new("names: simulated: an agent is killed and takes its children over, none lost, no stranger hit", taken_over),
        Test::new("names: simulated: an agent that stores numbers hits a stranger, or loses a child", by_number),
    ]
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn restarted() {
    for (name, system) in [("pidfd", Kernel::system as fn(&Kernel) -> System), ("pid-legacy", Kernel::system_pid_legacy)] {
        let _row = row(name);
        let (_dir, path) = place();
        let kernel = Kernel::builder().program("daemon", Script::new().run_forever()).build();
        let daemon = system(&kernel).spawn(&Command::new("daemon")).unwrap();
        Pidfile::create(&path, &daemon).unwrap().keep();
        drop(daemon);
        kernel.kill_owner();
        // The program is started again, with pidfds or without.
        for system in [kernel.system(), kernel.system_pid_legacy()] {
            let _here = system.enter();
            assert_eq!(Pidfile::start(&path).unwrap_err().kind(), ErrorKind::Unsupported);
            let other = system.find(kernel.spawn_foreign("daemon").unwrap()).unwrap();
            assert_eq!(Pidfile::create(&path, &other).unwrap_err().kind(), ErrorKind::PidfileTaken);
            other.kill().unwrap();
            kernel.settle();
        }
        let _here = system(&kernel).enter();
        let stopped = Pidfile::stop(&path, &Teardown::graceful(seconds(5))).unwrap();
        assert_eq!((stopped.signal(), stopped.is_over(), path.exists()), (Some(Signal::TERM), true, false));
        let daemon = Command::new("daemon").spawn().unwrap();
        Pidfile::create(&path, &daemon).unwrap().keep();
        drop(daemon);
        kernel.reboot();
        assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Stale(Stale::OtherBoot)));
        let daemon = Command::new("daemon").spawn().unwrap();
        let pidfile = Pidfile::create(&path, &daemon).unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Stale(Stale::Gone)));
        drop(pidfile);
        assert!(!path.exists());
    }
}

/// Ends by itself within two minutes; asked to, it may take longer than it is given.
fn kernel() -> Kernel {
    Kernel::builder()
        .pid_max(12)
        .program_with("daemon", |run| {
            let stops = Script::new().sleep(run.random_time(seconds(8))).exit(0);
            Script::new().on(Signal::TERM, stops).sleep(run.random_time(seconds(120))).abort()
        })
        .program("other", Script::new().sleep(seconds(30)))
        .build()
}

fn strangers(sim: &Sim) {
    // The table may be full.
    for _ in 0..20 {
        sim.spawn_stranger("other").ok();
        sim.system().sleep(sim.random_time(seconds(20)));
    }
}

/// What a controller of a daemon does: the daemon is its own only if the file is.
fn start(path: &Path) -> Result<()> {
    let daemon = Command::new("daemon").spawn()?;
    match Pidfile::create(path, &daemon) {
        Ok(pidfile) => {
            pidfile.keep();
            Ok(())
        }
        Err(error) => {
            drop(daemon.kill());
            drop(daemon.wait());
            Err(error)
        }
    }
}

fn controlled() {
    for system in [Kernel::system as fn(&Kernel) -> System, Kernel::system_pid_legacy] {
        kernel().explore(1..=1000, |sim| {
            let (_dir, path) = place();
            let machine = sim.clone();
            let others = sim.named("strangers", move || strangers(&machine));
            let controllers = [1, 2].map(|number| {
                let (sim_, path, system) = (sim.clone(), path.clone(), system(sim));
                sim.named(format!("controller {number}"), move || {
                    let _here = system.enter();
                    for _ in 0..3 {
                        match start(&path) {
                            Ok(()) | Err(Error::Pidfile { is: PidfileIs::Taken { .. }, .. } | Error::ProcessDone { .. }) => {}
                            Err(error) if error.errno().is_some_and(|errno| errno.is_transient()) => {}
                            Err(error) => panic!("{error}"),
                        }
                        let running = sim_.processes().into_iter().filter(|pid| is_daemon(&sim_, *pid)).count();
                        assert!(running <= 2, "the one, and one that was started too and is about to be killed");
                        system.sleep(sim_.random_time(seconds(100)));
                        assert!(Pidfile::stop(&path, &Teardown::graceful(seconds(5))).unwrap().is_over());
                    }
                })
            });
            for controller in controllers {
                controller.join();
            }
            others.join();
            assert!(!path.exists());
            let left = sim.processes().into_iter().find(|pid| is_daemon(sim, *pid));
            assert_eq!(left, None, "it was stopped");
        });
    }
}

fn is_daemon(sim: &Kernel, pid: steadfast::Pid) -> bool {
    use steadfast::mock::ProcessState;
    sim.process(pid).is_some_and(|process| process.program == "daemon" && process.state != ProcessState::Zombie)
}

/// What an agent keeps of its children: a line for each.
struct Book(PathBuf);

impl Book {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn add(&self, line: &str) {
        let mut lines = self.lines();
        lines.push(line.to_owned());
        fs::write(&self.0, lines.join("\n")).unwrap();
    }
}

/// The worker's number is written down as soon as it is started, so that the agent is killed before or after, and not between.
fn worker_kernel() -> Kernel {
    Kernel::builder()
        .pid_max(14)
        .program_with("worker", |run| match run.random(0..2) {
            0 => Script::new().sleep(run.random_time(seconds(60))),
            _ => Script::new().run_forever(),
        })
        .program("other", Script::new().sleep(seconds(30)))
        .build()
}

/// An agent's life until it is killed: starts workers, and notes them. Then strangers come and go, and the agent is started again.
fn killed_agent(sim: &Sim, system: &System, book: &Book, note: impl Fn(&Process) -> Option<String>) {
    for _ in 0..4 {
        let Ok(worker) = system.spawn(&Command::new("worker")) else { continue };
        if let Some(line) = note(&worker) {
            book.add(&line);
        }
        system.sleep(sim.random_time(seconds(10)));
    }
    sim.kill_owner();
    for _ in 0..12 {
        sim.spawn_stranger("other").ok();
        system.sleep(sim.random_time(seconds(15)));
    }
}

fn workers(sim: &Sim) -> Vec<steadfast::Pid> {
    sim.processes().into_iter().filter(|pid| sim.process(*pid).is_some_and(|process| process.program == "worker")).collect()
}

fn taken_over() {
    for system in [Kernel::system as fn(&Kernel) -> System, Kernel::system_pid_legacy] {
        let all = AtomicUsize::new(0);
        worker_kernel().explore(1..=1000, |sim| {
            let system = system(sim);
            let (_dir, path) = place();
            let book = Book(path);
            // One that has ended before it could be named has nobody to be taken over.
            killed_agent(sim, &system, &book, |worker| worker.identity().ok().map(|identity| identity.to_string()));
            let living = workers(sim);
            let taken: Vec<Process> = book
                .lines()
                .iter()
                .filter_map(|line| match system.reopen(&line.parse::<Identity>().unwrap()) {
                    Reopened::Same { process, has_exited: false } => Some(process),
                    Reopened::Same { .. } | Reopened::Gone => None,
                    answer => panic!("{line}: {answer:?}"),
                })
                .collect();
            all.fetch_add(taken.len(), Ordering::Relaxed);
            let mut pids: Vec<_> = taken.iter().map(|process| process.pid()).collect();
            pids.sort_unstable();
            // Between the two looks one may have ended, and none has come.
            assert!(pids.iter().all(|pid| living.contains(pid)), "{pids:?} of {living:?}");
            for process in &taken {
                match process.kill() {
                    Ok(()) | Err(Error::ProcessDone { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            for process in &taken {
                process.wait_gone().unwrap();
            }
            assert_eq!(workers(sim), [], "nobody is lost");
        });
        // Of 4,000, half run for ever.
        assert!(all.into_inner() > 1500);
    }
}

fn by_number() {
    let failure = worker_kernel().exploration().run(1..=1000, |sim| {
        let system = sim.system();
        let (_dir, path) = place();
        let book = Book(path);
        killed_agent(sim, &system, &book, |worker| Some(worker.pid().to_string()));
        for line in book.lines() {
            if let Ok(process) = system.find(line.parse().unwrap()) {
                drop(process.kill());
            }
        }
    });
    assert_eq!(failure.unwrap_err().verdict.kind(), "stranger");
}
