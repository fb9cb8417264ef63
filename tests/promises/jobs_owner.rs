//! The owner's death: what ends with it, whatever has ended it, and what was told before.
//!
//! Longer than other files: one list of promises about one stage, the program that owns a tree and comes to its end.

use crate::Test;
use crate::contract::ACTOR;
use crate::jobs::{Mark, actor, cgroup_of, has_thread, keepers, rounds};
use crate::leaks::until;
use crate::stage::{Outcome, given, row};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{Child, Command, Containment, Error, Job, Pid, Process, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::that_may_skip("jobs' owner: its keeper is killed first: the next job brings another", keeper_killed),
        Test::that_may_skip("jobs' owner: detached, or asked to live on: its members do", lives_on),
        Test::that_may_skip(
            "jobs' owner: detached while others are started in it: whoever was started lives on",
            detached_in_a_race,
        ),
        Test::that_may_skip("jobs' owner: it forks: its exec is noticed when the fork has ended, its death at once", forks),
        Test::that_may_skip("jobs' owner: a keeper is nobody's child, and in nobody's way", keeper_is_apart),
        Test::that_may_skip("jobs' owner: who insists on what a group cannot do is refused", insists),
        Test::that_may_skip("dies_with_us: not with the thread that spawns, but with the process", dies_with_process),
    ];
    for end in END {
        tests.push(Test::that_may_skip(format!("jobs' owner: {}: the tree is gone", end.name()), || tree_is_gone(*end)));
        tests.push(Test::that_may_skip(format!("dies_with_us: {}: the child is gone", end.name()), || child_is_gone(*end)));
    }
    tests
}

/// What this program does when it is started again.
pub(crate) const ROLES: &[(&str, fn())] = &[("(owns a tree)", owns_a_tree), ("(has a child)", has_a_child)];

/// How an owner ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    Crashes,
    Exits,
    Execs,
    OutOfMemory,
}

/// So many processes has a tree.
const TREE: usize = 10;

const END: &[End] = &[End::Killed, End::Crashes, End::Exits, End::Execs, End::OutOfMemory];

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Killed => "killed",
            End::Crashes => "crashes",
            End::Exits => "exits without a word",
            End::Execs => "executes another program",
            End::OutOfMemory => "out of memory",
        }
    }

    /// In the owner.
    fn come(self) {
        match self {
            End::Killed => loop {
                std::thread::park();
            },
            End::Crashes => std::process::abort(),
            End::Exits => std::process::exit(0),
            End::Execs => {
                let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(ACTOR).args(["until-eof", "0"]));
                panic!("{error}");
            }
            End::OutOfMemory => {
                let mut all = Vec::new();
                loop {
                    // Written to, or it is none.
                    all.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&all);
                }
            }
        }
    }
}

/// The words of an owner, line by line.
struct Owner {
    child: Child,
    says: BufReader<steadfast::ChildStdout>,
}

impl Owner {
    fn new(role: &str, system: &System, set: impl FnOnce(&mut Command)) -> Owner {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("STEADFAST_TEST", role).env("STEADFAST_BACKEND", system.backend_name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        set(&mut command);
        let mut child = system.spawn(&command).unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Owner { child, says }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// It comes to its end, and what is to be gone then is.
    fn ends(mut self, end: End, is_gone: impl FnOnce()) {
        self.tell("end");
        match end {
            End::Execs => {
                // It has become another program, which lives.
                assert_eq!(self.line(), "ready");
                assert_eq!(self.child.try_wait().unwrap(), None);
            }
            End::Killed => self.child.kill().unwrap(),
            _ => {}
        }
        if end == End::Execs {
            // While the process lives, of which only the program is gone.
            is_gone();
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            return;
        }
        let status = self.child.wait().unwrap();
        match end {
            End::Exits => assert_eq!(status.code(), Some(0)),
            End::Crashes => assert_eq!(status.signal(), Some(6)),
            _ => assert_eq!(status.signal(), Some(9)),
        }
        is_gone();
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn end() -> End {
    *END.iter().find(|end| Some(end.name()) == variable("STEADFAST_END").as_deref()).unwrap_or(&End::Killed)
}

/// Owns a job with a tree in it, says how it is held together and why it lives on, and does what it is told.
fn owns_a_tree() {
    let mark = Mark(variable("STEADFAST_TREE_MARK").unwrap());
    let make = |dies| {
        let builder = match variable("STEADFAST_CONTAINMENT") {
            None => Job::builder(),
            Some(name) => Job::builder().containment(*Containment::ALL.iter().find(|all| all.name() == name).unwrap()),
        };
        builder.dies_with_us(dies).build()
    };
    let grow = |job: &Job| {
        let start = |words: &[&str]| mark.on(actor(words).in_job(job)).spawn().unwrap().pid();
        match variable("STEADFAST_SWARMS") {
            Some(_) => ["11", "23"].map(|seed| start(&["swarm", seed, "5"]))[0],
            None => [(); TREE].map(|()| start(&["forever"]))[0],
        }
    };
    let job = match make(variable("STEADFAST_ASKS_TO_LIVE").is_none()) {
        Ok(job) => job,
        Err(error) => return println!("{error}"),
    };
    let place = job.lives_on().map_or("dies".to_owned(), |error| error.to_string());
    grow(&job);
    println!("{place}");
    let mut jobs = vec![job];
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "one more" => {
                let job = make(true).unwrap();
                println!("{}", grow(&job));
                jobs.push(job);
                continue;
            }
            "detach" => jobs.pop().unwrap().detach().unwrap(),
            "detach in a race" => {
                let job = jobs.pop().unwrap();
                let mut command = actor(&["forever"]);
                mark.on(&mut command).in_job(&job);
                // Until the job is over for who starts.
                let starts = std::thread::spawn(move || {
                    (0..200)
                        .map_while(|_| command.spawn().ok())
                        .map(|child| child.pid().to_string())
                        .collect::<Vec<_>>()
                        .join(" ")
                });
                System::current().unwrap().sleep(Duration::from_micros(700));
                job.detach().unwrap();
                println!("{}", starts.join().unwrap());
                continue;
            }
            "fork" => {
                // It does not execute, and has what we have.
                let fork = steadfast_linux::bare::fork(|| {
                    loop {
                        std::thread::park();
                    }
                });
                println!("{}", fork.unwrap());
                continue;
            }
            _ => end().come(),
        }
        println!("done");
    }
}

/// Starts a child that is to die with it, from a thread that ends, and says its PID.
fn has_a_child() {
    let start = || Command::new(ACTOR).arg("forever").stdin(Stdio::null()).stdout(Stdio::null()).dies_with_us(true).spawn();
    let child = std::thread::spawn(start).join().unwrap().unwrap();
    println!("{}", child.pid());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    end().come();
}

/// Whether it does, by and by.
fn ends(process: &Process) -> bool {
    process.wait_exited_timeout(Duration::from_secs(60)).unwrap().is_some()
}

/// The systems that are chosen by name.
pub(crate) fn systems() -> Vec<System> {
    System::pidfd().into_iter().chain([System::pid_legacy()]).collect()
}

/// Containments whose jobs die with their owner here.
fn dying(system: &System) -> Vec<Containment> {
    let dies = |containment: &Containment| system.job(&Job::builder().containment(*containment).dies_with_us(true)).is_ok();
    Containment::ALL.into_iter().filter(dies).collect()
}

/// A place of 64 MiB, in which whoever wants more is killed.
struct Narrow(PathBuf);

impl Narrow {
    fn new() -> Option<Narrow> {
        let name = format!("steadfast-test-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let (place, file) = match first.join("memory.limit_in_bytes").exists() {
            true => (first.join(name), "memory.limit_in_bytes"),
            false => (xtask::cgroups::mounts().pop()?.join(name), "memory.max"),
        };
        fs::create_dir(&place).ok()?;
        let narrow = Narrow(place);
        fs::write(narrow.0.join(file), (64 << 20).to_string()).ok()?;
        // Or else it is slow, where there is any.
        _ = fs::write(narrow.0.join("memory.swap.max"), "0");
        Some(narrow)
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        until("the narrow place is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// For an owner that is to end like that.
fn prepare(end: End) -> Result<Option<Narrow>, Outcome> {
    if end != End::OutOfMemory {
        return Ok(None);
    }
    let no_place = || Outcome::Skipped("there is no cgroup here whose memory could be limited".into());
    Narrow::new().map(Some).ok_or_else(no_place)
}

fn settle(command: &mut Command, end: End, narrow: Option<&Narrow>) {
    command.env("STEADFAST_END", end.name());
    if let Some(Narrow(place)) = narrow {
        command.cgroup(fs::File::open(place).unwrap());
    }
}

fn tree_is_gone(end: End) -> Outcome {
    let narrow = match prepare(end) {
        Ok(narrow) => narrow,
        Err(skipped) => return skipped,
    };
    let mut tried = 0;
    for system in systems() {
        for containment in dying(&system) {
            let _row = row(format!("{} {containment}", system.backend_name()));
            for _ in 0..rounds(5) {
                let mark = Mark::new();
                let mut owner = Owner::new("(owns a tree)", &system, |command| {
                    command.env("STEADFAST_TREE_MARK", &mark.0).env("STEADFAST_CONTAINMENT", containment.name());
                    command.env("STEADFAST_SWARMS", "1");
                    settle(command, end, narrow.as_ref());
                });
                assert_eq!(owner.line(), "dies");
                until("the tree has grown", || mark.carriers().len() >= TREE);
                owner.ends(end, || until("the tree is gone", || mark.carriers().is_empty()));
                tried += 1;
            }
        }
    }
    match tried {
        0 => Outcome::Skipped("no containment here dies with its owner".into()),
        _ => Outcome::Passed,
    }
}

fn child_is_gone(end: End) -> Outcome {
    let narrow = match prepare(end) {
        Ok(narrow) => narrow,
        Err(skipped) => return skipped,
    };
    for system in systems() {
        let _row = row(system.backend_name());
        for _ in 0..rounds(5) {
            let mut owner = Owner::new("(has a child)", &system, |command| settle(command, end, narrow.as_ref()));
            let child = Process::find(owner.line().parse::<Pid>().unwrap()).unwrap();
            owner.ends(end, || assert!(ends(&child), "it lives on"));
        }
    }
    Outcome::Passed
}

fn dies_with_process() -> Outcome {
    for system in systems() {
        let _row = row(system.backend_name());
        let spawn = || {
            let mut command = actor(&["forever"]);
            system.spawn(command.dies_with_us(true)).unwrap()
        };
        let children: Vec<Child> = (0..8).map(|_| std::thread::scope(|scope| scope.spawn(spawn).join().unwrap())).collect();
        for child in &children {
            // Their threads are gone. A signal that had been sent for that would be there.
            assert_eq!(child.try_wait().unwrap(), None);
            let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
            assert!(status.contains("ShdPnd:\t0000000000000000") && status.contains("SigBlk:\t0000000000000000"), "{status}");
        }
        for child in &children {
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        until("their parents' threads are gone", || !has_thread("steadfast-paren"));
        let error = system.spawn(Command::new("/no/such").dies_with_us(true)).unwrap_err();
        assert!(matches!(error, Error::Spawn { .. }) && error.to_string().contains("/no/such"), "{error}");
        until("that of a start that has failed is gone", || !has_thread("steadfast-paren"));
        let error = Command::new(ACTOR).dies_with_us(true).exec();
        assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains("dies_with_us and exec"), "{error}");
    }
    Outcome::Passed
}

/// An owner of a job by cgroup, with its tree.
fn by_cgroup(system: &System, set: impl FnOnce(&mut Command)) -> Result<(Owner, Mark), Outcome> {
    if !dying(system).contains(&Containment::Cgroup) {
        return Err(Outcome::Skipped("no cgroup here dies with its owner".into()));
    }
    let mark = Mark::new();
    let mut owner = Owner::new("(owns a tree)", system, |command| {
        command.env("STEADFAST_TREE_MARK", &mark.0).env("STEADFAST_CONTAINMENT", "cgroup");
        set(command);
    });
    let word = owner.line();
    assert!(word == "dies" || word.contains("that was asked for"), "{word}");
    until("the tree has grown", || mark.carriers().len() >= TREE);
    Ok((owner, mark))
}

/// The one whose cgroup has the owner's number in its name.
fn keeper_of(owner: &Child) -> Option<Process> {
    let number = format!("-{}-", owner.pid());
    let (pid, _) = keepers().into_iter().find(|(_, cgroup)| cgroup.to_string_lossy().contains(&number))?;
    Process::find(pid).ok()
}

fn keeper_killed() -> Outcome {
    for system in systems() {
        let (mut owner, mark) = given!(by_cgroup(&system, |_| {}));
        let first = keeper_of(&owner.child).expect("it has one");
        first.kill().unwrap();
        assert!(ends(&first));
        assert!(keeper_of(&owner.child).is_none());
        assert_eq!(mark.carriers().len(), TREE, "nobody has died of that");
        owner.tell("one more");
        owner.line();
        assert!(keeper_of(&owner.child).is_some());
        owner.ends(End::Killed, || until("both trees are gone", || mark.carriers().is_empty()));
    }
    Outcome::Passed
}

fn lives_on() -> Outcome {
    for system in systems() {
        for asks in [false, true] {
            let (mut owner, mark) = given!(by_cgroup(&system, |command| {
                if asks {
                    command.env("STEADFAST_ASKS_TO_LIVE", "1");
                }
            }));
            if !asks {
                owner.tell("detach");
                assert_eq!(owner.line(), "done");
            }
            let before = mark.carriers();
            let places: Vec<PathBuf> = before.iter().map(|pid| cgroup_of(*pid)).collect();
            // One more, that does not live on, shows when the keeper has done its work.
            owner.tell("one more");
            let dies = Process::find(owner.line().parse::<Pid>().unwrap()).unwrap();
            owner.ends(End::Killed, || assert!(ends(&dies)));
            until("only those are left that live on", || mark.carriers() == before);
            assert_eq!(mark.sweep(), TREE);
            // The next program finds nothing alive in it.
            until("it is empty", || places.iter().all(|place| !place.exists() || has_nobody(place)));
            let (next, next_mark) = given!(by_cgroup(&system, |_| {}));
            assert!(places.iter().all(|place| !place.exists()), "{places:?}");
            next.ends(End::Killed, || until("the next tree is gone", || next_mark.carriers().is_empty()));
        }
    }
    Outcome::Passed
}

fn detached_in_a_race() -> Outcome {
    for system in systems() {
        for _ in 0..rounds(8) {
            let (mut owner, mark) = given!(by_cgroup(&system, |_| {}));
            owner.tell("detach in a race");
            let started: Vec<Pid> = owner.line().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
            owner.tell("one more");
            let dies = Process::find(owner.line().parse::<Pid>().unwrap()).unwrap();
            owner.ends(End::Killed, || assert!(ends(&dies)));
            let left = mark.carriers();
            let lost: Vec<&Pid> = started.iter().filter(|pid| !left.contains(pid)).collect();
            assert!(lost.is_empty(), "{lost:?} of {started:?}");
            mark.sweep();
        }
    }
    Outcome::Passed
}

fn has_nobody(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|events| events.contains("populated 0"))
}

fn forks() -> Outcome {
    for system in systems() {
        for end in [End::Killed, End::Execs] {
            let (mut owner, mark) = given!(by_cgroup(&system, |command| {
                command.env("STEADFAST_END", end.name());
            }));
            owner.tell("fork");
            let fork = Process::find(owner.line().parse::<Pid>().unwrap()).unwrap();
            owner.ends(end, || {
                if end == End::Execs {
                    fork.kill().unwrap();
                }
                until("the tree is gone", || mark.carriers().is_empty());
            });
            // Or it is its parent's death that has ended it.
            drop(fork.kill());
        }
    }
    Outcome::Passed
}

fn keeper_is_apart() -> Outcome {
    for system in systems() {
        let (owner, mark) = given!(by_cgroup(&system, |_| {}));
        let keeper = keeper_of(&owner.child).expect("it has one");
        let of = |file: &str| fs::read(format!("/proc/{}/{file}", keeper.pid())).unwrap();
        let stat = String::from_utf8(of("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        let pid = keeper.pid().to_string();
        assert_ne!(fields[1], owner.child.pid().to_string(), "its parent");
        assert_eq!((fields[2], fields[3]), (&*pid, &*pid), "its group and session");
        assert!(of("environ").is_empty());
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        assert!(descriptors <= 4, "{descriptors}");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
        let status = String::from_utf8(of("status")).unwrap();
        assert!(status.starts_with("Name:\tsteadfast-keep\n"), "{status}");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).map(|size| size.trim().trim_end_matches(" kB"));
        assert!(size.and_then(|size| size.parse::<u32>().ok()).is_some_and(|size| size < 1024), "{size:?}");
        // What a terminal, or a script that ends what it has started, may send.
        for signal in [1, 2, 3, 13, 15, 18, 20] {
            keeper.signal(steadfast::Signal::new(signal).unwrap()).unwrap();
        }
        owner.ends(End::Killed, || until("the tree is gone", || mark.carriers().is_empty()));
        assert!(ends(&keeper));
    }
    Outcome::Passed
}

fn insists() -> Outcome {
    for system in systems() {
        let builder = Job::builder().containment(Containment::Group);
        let error = system.job(&builder.clone().dies_with_us(true)).unwrap_err();
        assert!(matches!(error, Error::JobLivesOn { containment: Containment::Group, .. }), "{error:?}");
        assert!(error.to_string().contains("lives on when its owner is gone"), "{error}");
        let job = system.job(&builder).unwrap();
        assert_eq!(job.lives_on().map(|error| error.to_string()), Some(error.to_string()));
    }
    Outcome::Passed
}
