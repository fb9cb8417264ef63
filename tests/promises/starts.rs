//! The start of a process: interrupted, limited, awaited, overlapped.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::input::{PATIENCE, runtime};
use crate::leaks::{children, descriptors, each_backend, until};
use crate::probing::answer_with;
use crate::stage::Outcome;
use crate::storm::noop;
use nix::sys::signal::{Signal as Number, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid as Raw, setpgid};
use signal_hook::consts::{SIGALRM, SIGTSTP, SIGUSR1};
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use steadfast::tokio::AsyncCommand;
use steadfast::{Command, Errno, Error, ErrorKind, Stdio, System, spawn_many};
use steadfast_linux::{SpawnWait, bare, spawn_wait};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("start: Ctrl-Z while processes are being started, 400 times through each door", || each_system(ctrl_z)),
        Test::new("start: it is learnt how the spawner hears of an exec", learnt),
        Test::that_may_skip("start: a filter that refuses futex(2) is no end of it", without_futex),
        Test::new("start: the score for the OOM killer is the child's alone", || each_system(oom_score)),
        Test::new("start: limits that pass at random, from 8 threads, among signals", storm),
        Test::new("start: a child that stops between its birth and its program is within the limit", || each_system(stopped)),
        Test::new("start: forks that do not execute have the other end of its pipe, and do not hold it up", || {
            each_system(pipe_held);
        }),
        Test::new("start: in a task: a program that is missing, 1,000 times", || each_system(missing_in_a_task)),
        Test::new("spawn_many: in order, and one that fails spoils no other, in tasks too", || each_system(many)),
        Test::new("spawn_many: more than there is room for", || each_backend(more_than_room)),
        Test::that_may_skip(
            "start: in a frozen cgroup, where no signal ends it: the limit holds, and what is lent comes back",
            frozen,
        ),
    ]
}

pub(crate) const SHORT: Duration = Duration::from_millis(30);

pub(crate) fn timed_out<T>(answer: steadfast::Result<T>, limit: Duration) {
    let Err(error) = answer else { panic!("it cannot have started") };
    assert!(matches!(&error, Error::SpawnTimedOut { limit: told, .. } if *told == limit), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::SpawnTimedOut);
    assert!(error.to_string().contains("30ms"), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), IoErrorKind::TimedOut);
}

/// Of a program in the foreground that starts others all the time.
fn ctrl_z(system: &System) {
    let (_dir, noop) = noop();
    // In a group of its own, which is not orphaned: we are its parent, and of the same session.
    let program = bare::fork(|| {
        setpgid(Raw::from_raw(0), Raw::from_raw(0)).unwrap();
        loop {
            // One that the SIGCONT finds between its stop and its wait is waited for again.
            assert!(system.spawn(&Command::new(&noop)).unwrap().wait().unwrap().success());
        }
    });
    let program = Raw::from_raw(program.unwrap().as_raw());
    _ = setpgid(program, program);
    let look = |flags| waitpid(program, Some(flags | WaitPidFlag::WNOHANG)).unwrap();
    for round in 0..400_u64 {
        system.sleep(Duration::from_micros(round * 37 % 1000));
        killpg(program, Number::SIGTSTP).unwrap();
        until("it stops", || match look(WaitPidFlag::WUNTRACED) {
            WaitStatus::Stopped(_, Number::SIGTSTP) => true,
            WaitStatus::StillAlive => false,
            other => panic!("{other:?}"),
        });
        killpg(program, Number::SIGCONT).unwrap();
    }
    killpg(program, Number::SIGKILL).unwrap();
    assert!(matches!(waitpid(program, None).unwrap(), WaitStatus::Signaled(_, Number::SIGKILL, _)));
}

fn learnt() {
    let doors = steadfast::Probe::once().unwrap().doors();
    let shares = doors.iter().any(|door| *door != steadfast::Door::Fork);
    let systems = [System::pidfd().ok(), Some(System::pid_legacy())];
    until("what there is to learn is learnt", || {
        for system in systems.iter().flatten() {
            assert_eq!(system.spawn(Command::new(ACTOR).args(["exit", "3"])).unwrap().wait().unwrap().code(), Some(3));
        }
        !shares || spawn_wait() != SpawnWait::Unknown
    });
    // Linux clears the word; who does not has another way.
    println!("{:?}", spawn_wait());
}

/// Whoever may not sleep on the word looks for the pipe's end from then on, and is not awake all the time.
fn without_futex() -> Outcome {
    learnt();
    if spawn_wait() != SpawnWait::Word {
        return Outcome::Skipped("the spawner does not wait by futex(2) here".into());
    }
    let system = System::pid_legacy();
    answer_with(nix::libc::SYS_futex, Errno::PERM);
    until("it is learnt that the word is not to be waited for", || {
        assert_eq!(system.spawn(Command::new(ACTOR).args(["exit", "3"])).unwrap().wait().unwrap().code(), Some(3));
        spawn_wait() == SpawnWait::Pipe
    });
    assert_eq!(system.spawn(Command::new(ACTOR).args(["exit", "3"])).unwrap().wait().unwrap().code(), Some(3));
    Outcome::Passed
}

fn oom_score(system: &System) {
    let ours = || fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let before = ours();
    for _ in 0..20 {
        let output = system.spawn(Command::new("cat").arg("/proc/self/oom_score_adj").stdout(Stdio::piped()).oom_score_adj(555));
        assert_eq!(output.unwrap().wait_with_output().unwrap().stdout, b"555\n");
        assert_eq!(ours(), before);
    }
}

/// In whose group SIGTSTP stops nobody but those who have no handler: children of ours, before they run their programs.
fn stopped(system: &System) {
    let (_dir, noop) = noop();
    let group = bare::fork(|| {
        setpgid(Raw::from_raw(0), Raw::from_raw(0)).unwrap();
        let own = Raw::this();
        let _handler = signal_hook::flag::register(SIGTSTP, Arc::default()).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    killpg(own, Number::SIGTSTP).unwrap();
                    system.sleep(Duration::from_micros(100));
                }
            });
            let mut late = 0;
            while late < 3 {
                match spawn_within(system, &noop, SHORT) {
                    Err(Error::SpawnTimedOut { .. }) => late += 1,
                    Ok(child) => {
                        child.kill().unwrap();
                        child.wait().unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        until("no child is left", || children().is_empty());
        0
    });
    let group = Raw::from_raw(group.unwrap().as_raw());
    assert_eq!(waitpid(group, None).unwrap(), WaitStatus::Exited(group, 0));
}

pub(crate) fn spawn_within(system: &System, program: &Path, limit: Duration) -> steadfast::Result<steadfast::Child> {
    let _here = system.enter();
    Command::new(program).spawn_timeout(limit)
}

fn storm() {
    let before = descriptors();
    let (_dir, noop) = noop();
    let handled = Arc::new(AtomicUsize::new(0));
    for signal in [SIGUSR1, SIGALRM] {
        signal_hook::flag::register_usize(signal, Arc::clone(&handled), 1).unwrap();
    }
    let doors = steadfast::Probe::once().unwrap().doors().iter();
    let systems: Vec<System> =
        doors.flat_map(|door| [Some(System::pid_legacy_through(*door)), System::pidfd_through(*door).ok()]).flatten().collect();
    let (done, late, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                kill(Raw::this(), Number::SIGUSR1).unwrap();
                System::pid_legacy().sleep(Duration::from_micros(300));
            }
        });
        let spawners: Vec<_> = (0..8)
            .map(|number| {
                let (systems, done, late, noop) = (&systems, &done, &late, &noop);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    while done.fetch_add(1, Ordering::Relaxed) < 20_000 {
                        let system = &systems[random.usize(..systems.len())];
                        let limit = Duration::from_micros(random.u64(0..1500));
                        match spawn_within(system, noop, limit) {
                            Ok(child) if random.bool() => assert!(child.wait().unwrap().success()),
                            Ok(child) => drop(child),
                            Err(Error::SpawnTimedOut { .. }) => _ = late.fetch_add(1, Ordering::Relaxed),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    let late = late.into_inner();
    assert!((100..20_000).contains(&late), "{late} were too late");
    until("all are reaped", || children().is_empty());
    until("all descriptors are closed", || descriptors().len() == before.len());
    until("no thread waits for a word", || threads_named("steadfast-start") == 0);
}

/// A fork(2) between the making of the pipe and the closing of our copy has it too, and here it never closes it.
fn pipe_held(system: &System) {
    // Whose child has a copy of our memory, through every door, and so tells by a pipe.
    let mut command = Command::new(ACTOR);
    command.arg("forever").oom_score_adj(500).stdout(Stdio::null());
    let _here = system.enter();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            let forks = scope.spawn(|| {
                let fork = || {
                    bare::fork(|| {
                        loop {
                            nix::unistd::pause();
                        }
                    })
                };
                (0..64).map(|_| Raw::from_raw(fork().unwrap().as_raw())).collect::<Vec<_>>()
            });
            // The forks live on until all of these have started; the limit is for the fault.
            let mut outcomes = vec![];
            while !forks.is_finished() && !matches!(outcomes.last(), Some(Err(_))) {
                outcomes.push(command.spawn_timeout(PATIENCE));
            }
            for fork in forks.join().unwrap() {
                kill(fork, Number::SIGKILL).unwrap();
                waitpid(fork, None).unwrap();
            }
            for child in outcomes {
                let child = child.unwrap();
                child.kill().unwrap();
                assert_eq!(child.wait().unwrap().signal(), Some(9));
            }
        });
    }
}

/// Whoever has failed leaves our memory a moment before it can be reaped.
fn missing_in_a_task(system: &System) {
    let _here = system.enter();
    runtime().block_on(async {
        for _ in 0..1000 {
            let error = Command::new("/no/such/program").spawn_async().await.map(drop).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
        }
    });
    assert_eq!(children(), Vec::<String>::new());
}

fn threads_named(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)).count()
}

fn many(system: &System) {
    let exit = |code: u8| {
        let mut command = Command::new(ACTOR);
        command.args(["exit", &code.to_string()]);
        command
    };
    let mut commands: Vec<Command> = (0..100).map(exit).collect();
    commands[17] = Command::new("/no/such/program");
    commands[99].current_dir("/no/such/directory");
    let in_order = |index: usize, code: steadfast::Result<Option<i32>>| match code {
        Ok(code) => assert_eq!(code, Some(index as i32)),
        Err(error) => {
            assert!([17, 99].contains(&index), "{index}: {error}");
            assert_eq!(error.errno(), Some(Errno::NOENT));
        }
    };
    for (index, child) in system.spawn_many(&commands).into_iter().enumerate() {
        in_order(index, child.map(|child| child.wait().unwrap().code()));
    }
    assert!(system.spawn_many(&[]).is_empty());
    let _here = system.enter();
    runtime().block_on(async {
        for (index, child) in steadfast::tokio::spawn_many(&commands).await.into_iter().enumerate() {
            in_order(index, async { Ok(child?.wait().await.unwrap().code()) }.await);
        }
        assert!(steadfast::tokio::spawn_many(&[]).await.is_empty());
    });
    async_io::block_on(async {
        for (index, child) in steadfast::async_io::spawn_many(&commands).await.into_iter().enumerate() {
            in_order(index, async { Ok(child?.wait().await.unwrap().code()) }.await);
        }
    });
}

fn more_than_room(system: &System) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let _here = system.enter();
    let mut command = Command::new(ACTOR);
    command.args(["exit", "3"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    assert_eq!(command.status().unwrap().code(), Some(3));
    let before = descriptors();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // On their way they take more than those that are there.
    setrlimit(Resource::RLIMIT_NOFILE, 40, hard).unwrap();
    let children: Vec<_> = spawn_many(&vec![command.clone(); 30]);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let started = children.iter().flatten().count();
    assert!((3..30).contains(&started), "{started} of 30 had room");
    for child in &children {
        match child {
            Ok(child) => assert_eq!(child.wait().unwrap().code(), Some(3)),
            Err(error) => assert_eq!(error.errno(), Some(Errno::MFILE), "{error}"),
        }
    }
    drop(children);
    until("no descriptor is left", || descriptors() == before);
    runtime().block_on(async {
        setrlimit(Resource::RLIMIT_NOFILE, 40, hard).unwrap();
        let children = steadfast::tokio::spawn_many(&vec![command; 30]).await;
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        let started = children.iter().flatten().count();
        assert!((3..30).contains(&started), "{started} of 30 had room");
        for child in &children {
            match child {
                Ok(child) => assert_eq!(child.wait().await.unwrap().code(), Some(3)),
                Err(error) => assert_eq!(error.errno(), Some(Errno::MFILE), "{error}"),
            }
        }
    });
}

/// The freezer of cgroups version 1, where a `SIGKILL` does not end anybody.
fn frozen() -> Outcome {
    let root = Path::new("/sys/fs/cgroup/freezer");
    let dir = root.join(format!("steadfast-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&dir) {
        return Outcome::Skipped(format!("{}: {error}", dir.display()));
    }
    let _gone = Removed(dir.clone());
    // What tokio keeps for ever from its first runtime on, if it handles signals.
    drop(runtime());
    let state = dir.join("freezer.state");
    each_system(|system| {
        let before = descriptors();
        let cgroup: OwnedFd = fs::File::open(&dir).unwrap().into();
        fs::write(&state, "FROZEN").unwrap();
        let mut command = Command::new(ACTOR);
        command.args(["exit", "0"]).cgroup(cgroup);
        {
            let _here = system.enter();
            timed_out(command.spawn_timeout(SHORT), SHORT);
            runtime().block_on(async { timed_out(command.spawn_timeout_async(SHORT).await.map(drop), SHORT) });
        }
        // They are there, killed, and cannot end.
        assert_eq!(fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count(), 2);
        // Others start and end meanwhile.
        let mut other = Command::new(ACTOR);
        other.args(["exit", "3"]);
        assert_eq!(system.spawn(&other).unwrap().wait().unwrap().code(), Some(3));
        fs::write(&state, "THAWED").unwrap();
        drop(command);
        until("both are reaped", || children().is_empty());
        until("no descriptor is left", || descriptors() == before);
        until("no thread waits for a word", || threads_named("steadfast-start") == 0);
    });
    Outcome::Passed
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        _ = fs::write(self.0.join("freezer.state"), "THAWED");
        until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}
