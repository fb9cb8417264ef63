//! Jobs with real processes: whatever they do, nothing outlives a job that does not leak, and nothing is left of the job itself.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::beside::actor_for_all;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::leaks::{children, descriptors, each_backend, until};
use crate::stage::row;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use steadfast::{Capture, Child, Command, Containment, Error, Job, Pid, Pipeline, Process, Signal, Stdio, System, Teardown};
use xtask::{cgroups, tree};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("jobs: swarms that leave their groups and sessions: none survives, or it is counted", || each_system(swarms))
            .under_init(),
        Test::new("jobs: a fork bomb is killed", || each_system(bomb)).under_init(),
        Test::new("jobs: a thousand members are killed, signalled and listed", || each_backend(thousand)).under_init(),
        Test::new("jobs: nothing is left of them: no cgroup, no descriptor, no zombie, no process", || {
            each_system(nothing_is_left)
        })
        .under_init(),
        Test::new("jobs: one in another, and removed in any order", || each_system(nested)).under_init(),
        Test::new("jobs: a member that somebody moves out is none any more, and is not killed", || each_system(moved_out)),
        Test::new("jobs: at its limit a call ends all of it: output_timeout, capture, lines, pipelines", || each_backend(calls))
            .under_init(),
        Test::new("jobs: a child's own job ends with it, and outlives its process", || each_system(own_job)).under_init(),
        Test::new("jobs: a teardown takes its steps, and says which was needed", || each_system(teardown)).under_init(),
        Test::new("jobs: out of descriptors, at each step", || each_system(out_of_descriptors)).under_init(),
    ]
}

/// The containments that can be had here, and the system.
pub(crate) fn each_job(system: &System, check: impl Fn(Job)) {
    for containment in Containment::ALL {
        let _row = row(containment);
        match system.job(&Job::builder().containment(containment)) {
            Ok(job) => check(job),
            Err(error) => assert!(matches!(error, Error::NoContainment { .. }), "{error:?}"),
        }
    }
}

/// A variable by which those are found that have left their job.
pub(crate) const MARK: &str = "STEADFAST_JOB_MARK";

/// Its value, of one test.
pub(crate) struct Mark(pub(crate) String);

impl Mark {
    pub(crate) fn new() -> Mark {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Mark(format!(
            "{}.{number}.{}",
            std::process::id(),
            fs::metadata("/proc/self/ns/pid").map_or(0, |file| { std::os::unix::fs::MetadataExt::ino(&file) })
        ))
    }

    pub(crate) fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(MARK, &self.0)
    }

    /// All that live and carry it.
    pub(crate) fn carriers(&self) -> BTreeSet<Pid> {
        tree::carriers(MARK, &self.0)
    }

    /// Ends whoever has left its job; how many that were.
    pub(crate) fn sweep(&self) -> usize {
        let mut swept = BTreeSet::new();
        loop {
            let carriers = self.carriers();
            if carriers.is_empty() {
                return swept.len();
            }
            for pid in carriers {
                // Gone by now, or on its way.
                drop(Process::find(pid).and_then(|process| process.kill()));
                swept.insert(pid);
            }
        }
    }
}

/// How many rounds; more, if somebody wants to be sure.
pub(crate) fn rounds(usual: u64) -> u64 {
    std::env::var("STEADFAST_JOBS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// An actor that is told this.
pub(crate) fn actor(words: &[&str]) -> Command {
    let mut command = Command::new(ACTOR);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn swarms(system: &System) {
    for round in 0..rounds(8) {
        each_job(system, |job| {
            let (mark, size) = (Mark::new(), 8 + round * 7 % 57);
            let mut command = actor(&["swarm", &round.to_string(), &size.to_string()]);
            let swarm = system.spawn(mark.on(&mut command).in_job(&job)).unwrap();
            // At a moment of its own in each round.
            system.sleep(Duration::from_micros(500 * round));
            job.kill().unwrap();
            assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap(), "{:?}", job.members());
            swarm.wait().unwrap();
            let left = mark.sweep();
            assert!(left == 0 || job.containment().leaks(), "{left} have survived in {job:?}");
        });
    }
}

fn bomb(system: &System) {
    // Who is nobody else here, for the limit counts all of a user's.
    let is_root = nix::unistd::Uid::effective().is_root();
    each_job(system, |job| {
        if !is_root {
            return;
        }
        let (_dir, path) = actor_for_all();
        let mark = Mark::new();
        let mut command = Command::new(&path);
        command.arg("bomb").stdin(Stdio::null()).stdout(Stdio::null()).uid(61_236).gid(61_236);
        command.rlimit(steadfast::Resource::NPROC, 60);
        let bomb = system.spawn(mark.on(&mut command).in_job(&job)).unwrap();
        until("it has multiplied", || job.members().unwrap().len() > 20);
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        bomb.wait().unwrap();
        assert_eq!(mark.sweep(), 0);
    });
}

fn thousand(system: &System) {
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).unwrap();
    each_job(system, |job| {
        let number = 1000;
        let command = actor(&["forever"]);
        let members: Vec<Child> = (0..number).map(|_| system.spawn(command.clone().in_job(&job)).unwrap()).collect();
        assert_eq!(job.members().unwrap().len(), number);
        job.signal(Signal::CONT).unwrap();
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        for member in &members {
            assert_eq!(member.wait().unwrap().signal(), Some(9));
        }
        assert_eq!(job.members().unwrap().len(), 0);
    });
}

/// The keepers that there are, and the cgroup that each of them kills.
pub(crate) fn keepers() -> Vec<(Pid, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    let keeps = |pid: Pid| {
        let is_one = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.starts_with(b"steadfast-keeper"));
        let kills = fs::read_link(format!("/proc/{pid}/fd/2")).ok().filter(|_| is_one)?;
        Some((pid, kills.parent()?.to_owned()))
    };
    pids.filter_map(keeps).collect()
}

/// The cgroups of jobs that this process has made, wherever they can be seen. That in which all of them are is there as long as this process, or as
/// jobs are in it.
pub(crate) fn own_cgroups() -> Vec<PathBuf> {
    let kept: Vec<PathBuf> = keepers().into_iter().map(|(_, cgroup)| cgroup).collect();
    let own = format!("-{}-", std::process::id());
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/self/ns/pid").unwrap());
    let begin = format!("steadfast-{inode}-");
    let mut found = Vec::new();
    let mut next = cgroups::mounts();
    while let Some(dir) = next.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = entry.path();
                let is_own = name.starts_with(&begin) && name.contains(&own);
                let is_in_own =
                    path.parent().is_some_and(|dir| kept.iter().any(|kept| dir.ends_with(kept.file_name().unwrap_or_default())));
                if is_in_own || is_own && !kept.iter().any(|kept| path.file_name() == kept.file_name()) {
                    found.push(path.clone());
                }
                next.push(path);
            }
        }
    }
    found
}

/// Whether the library has a thread of this name, to whose 15 bytes it is cut.
pub(crate) fn has_thread(name: &str) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).any(|comm| comm.trim_end() == name)
}

/// The first process of a namespace that was told to end is let go of, with what shows its end, when the next job is made.
fn let_go(system: &System) {
    drop(system.job(&Job::builder().containment(Containment::Group)));
}

fn nothing_is_left(system: &System) {
    each_job(system, drop);
    until("the first are removed", || {
        let_go(system);
        let shows_a_process = |fd: &String| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to.starts_with("/proc"));
        own_cgroups().is_empty()
            && !["steadfast-reap", "steadfast-jobs"].into_iter().any(has_thread)
            && !descriptors().iter().any(shows_a_process)
    });
    let before = descriptors();
    for round in 0..rounds(60) {
        each_job(system, |job| {
            let command = actor(&["beget", "child"]);
            match round % 5 {
                // Dropped with members.
                0 => drop(system.spawn(command.clone().in_job(&job)).unwrap()),
                1 => {
                    let child = system.spawn(actor(&["exit", "0"]).in_job(&job)).unwrap();
                    assert!(child.wait().unwrap().success());
                }
                2 => assert!(system.spawn(Command::new("/no/such").in_job(&job)).is_err()),
                3 => {
                    let child = system.spawn(command.clone().in_job(&job)).unwrap();
                    job.kill().unwrap();
                    job.wait_empty().unwrap();
                    child.wait().unwrap();
                }
                _ => {
                    let unwound = catch_unwind(AssertUnwindSafe(|| {
                        let _child = system.spawn(command.clone().in_job(&job)).unwrap();
                        let _job = job;
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }));
                    assert!(unwound.is_err());
                }
            }
        });
    }
    until("no child is left", || children().is_empty());
    until("no cgroup is left", || own_cgroups().is_empty());
    until("no descriptor is left", || {
        let_go(system);
        descriptors() == before
    });
}

fn nested(system: &System) {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let Ok(outer) = system.job(&Job::builder().containment(Containment::Cgroup)) else { return };
        let member = system.spawn(actor(&["forever"]).in_job(&outer)).unwrap();
        let place = cgroup_of(member.pid());
        let inner = system.job(&Job::builder().parent(&place)).unwrap();
        let of_inner = system.spawn(actor(&["forever"]).in_job(&inner)).unwrap();
        assert_eq!(cgroup_of(of_inner.pid()).parent().and_then(std::path::Path::parent), Some(&*place));
        let beside = system.job(&Job::builder().parent(&place)).unwrap();
        assert_eq!(outer.members().unwrap().len(), 2);
        let mut jobs = [Some(outer), Some(inner), Some(beside)];
        for index in order {
            jobs[index].take();
        }
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        assert_eq!(of_inner.wait().unwrap().signal(), Some(9));
        until("no cgroup is left", || own_cgroups().is_empty());
    }
}

/// Of version 2.
pub(crate) fn cgroup_of(pid: Pid) -> PathBuf {
    cgroups::of(pid).expect("it is in one, and that is mounted")
}

fn moved_out(system: &System) {
    let Ok(job) = system.job(&Job::builder().containment(Containment::Cgroup)) else { return };
    let member = system.spawn(actor(&["forever"]).in_job(&job).kill_on_drop(true)).unwrap();
    let place = cgroup_of(member.pid());
    fs::write(place.parent().unwrap().parent().unwrap().join("cgroup.procs"), member.pid().to_string()).unwrap();
    assert!(job.is_empty().unwrap());
    assert_eq!(job.members().unwrap().len(), 0);
    job.kill().unwrap();
    job.wait_empty().unwrap();
    assert_eq!(member.try_wait().unwrap(), None);
}

/// Leaves a daemon behind and goes on.
fn untidy() -> Command {
    let mut command = Command::new(ACTOR);
    command.args(["beget", "orphan"]).stdin(Stdio::piped());
    command
}

fn calls(system: &System) {
    let _here = system.enter();
    let short = Duration::from_millis(200);
    for own in [false, true] {
        each_job(system, |job| {
            let mark = Mark::new();
            let mut command = Command::new(ACTOR);
            mark.on(command.args(["swarm", "7", "6"]));
            // Of a group it may leave some, who are counted elsewhere.
            match own {
                true => command.own_job(Job::builder().containment(job.containment())),
                false => command.in_job(&job),
            };
            let ends = |what: &str, may_leak: bool| {
                if may_leak && job.containment().leaks() {
                    mark.sweep();
                }
                until(what, || mark.carriers().is_empty());
            };
            // One that was killed takes nobody any more.
            let mut next = Vec::new();
            let mut again = |command: &Command| {
                let mut again = command.clone();
                if !own {
                    let error = again.output_timeout(short).unwrap_err();
                    assert!(matches!(error, Error::JobOver { .. }), "{error:?}");
                    let job = system.job(&Job::builder().containment(job.containment())).unwrap();
                    again.in_job(&job);
                    next.push(job);
                }
                again
            };
            assert!(command.output_timeout(short).unwrap().timed_out);
            ends("output_timeout", true);
            let command = again(&command);
            assert!(command.capture(&Capture::new().timeout(short).kill_on_timeout(true)).unwrap().timed_out);
            ends("capture", true);
            let command = again(&command);
            let lines = command.lines(&Capture::new().timeout(short).kill_on_timeout(true)).unwrap();
            assert!(lines.finish().unwrap().timed_out);
            ends("lines", true);
            let command = again(&command);
            let pipeline = Pipeline::new([command.clone(), command]);
            assert!(pipeline.output_timeout(short).unwrap().timed_out);
            ends("pipelines", true);
        });
    }
}

fn own_job(system: &System) {
    each_job(system, |job| {
        let mark = Mark::new();
        let builder = Job::builder().containment(job.containment());
        let child = system.spawn(mark.on(untidy().stdout(Stdio::null()).own_job(builder.clone()))).unwrap();
        let own = child.job().expect("it has one");
        assert_eq!(own.containment(), job.containment());
        until("its daemon is there", || own.members().unwrap().len() == 2);
        child.process().kill().unwrap();
        child.process().wait().unwrap();
        assert!(!own.is_empty().unwrap(), "the daemon lives");
        drop(child);
        until("all of it has ended", || mark.carriers().is_empty());
        let child = system.spawn(mark.on(untidy().stdout(Stdio::null()).own_job(builder))).unwrap();
        let stopped = child.stop(&Teardown::graceful(Duration::from_secs(60))).unwrap();
        assert!(stopped.is_over() && stopped.signal() == Some(Signal::TERM) && stopped.status().is_some(), "{stopped}");
        until("all of it has ended", || mark.carriers().is_empty());
        assert!(system.spawn(actor(&["forever"]).kill_on_drop(true)).unwrap().job().is_none());
        let error = actor(&["forever"]).in_job(&job).exec();
        assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains("job and exec"), "{error}");
    });
}

fn teardown(system: &System) {
    let second = Duration::from_secs(60);
    let soon = Duration::from_millis(50);
    let ready = |words: &[&str], job: Option<&Job>| {
        let mut command = Command::new(ACTOR);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(job) = job {
            command.in_job(job);
        }
        let mut child = system.spawn(&command).unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        child
    };
    let child = ready(&["exit-on", "TERM", "5"], None);
    let stopped = child.stop(&Teardown::signal(Signal::WINCH, soon).then(Signal::TERM, second).kill()).unwrap();
    assert_eq!((stopped.signal(), stopped.status().and_then(|status| status.code())), (Some(Signal::TERM), Some(5)), "{stopped}");
    assert_eq!(stopped.to_string(), "ended after SIGTERM");
    let again = child.stop(&Teardown::killing()).unwrap();
    assert_eq!((again.is_over(), again.signal(), again.status()), (true, None, stopped.status()));
    let stubborn = ready(&["shrug", "TERM"], None);
    let runs_on = stubborn.stop(&Teardown::signal(Signal::TERM, soon)).unwrap();
    assert!(!runs_on.is_over() && runs_on.to_string() == "has not ended after SIGTERM", "{runs_on}");
    let how = Teardown::graceful(soon);
    assert_eq!(how.to_string(), "SIGTERM, 50ms; SIGKILL, 1s");
    let killed = stubborn.stop(&how).unwrap();
    assert_eq!((killed.signal(), killed.status().and_then(|status| status.signal())), (Some(Signal::KILL), Some(9)));
    each_job(system, |job| {
        let children = [ready(&["exit-on", "TERM", "5"], Some(&job)), ready(&["shrug", "TERM"], Some(&job))];
        let stopped = job.stop(&Teardown::graceful(soon)).unwrap();
        assert_eq!((stopped.is_over(), stopped.signal(), stopped.status()), (true, Some(Signal::KILL), None));
        assert_eq!(children[0].wait().unwrap().code(), Some(5));
        assert_eq!(children[1].wait().unwrap().signal(), Some(9));
        let again = job.stop(&how).unwrap();
        assert_eq!((again.is_over(), again.signal()), (true, None));
    });
}

fn out_of_descriptors(system: &System) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The directory in which they are made stays open.
    each_job(system, drop);
    until("the first are removed", || {
        own_cgroups().is_empty() && !["steadfast-reap", "steadfast-jobs"].into_iter().any(has_thread)
    });
    let before = descriptors();
    for room in 0..8 {
        each_job(system, |job| {
            let child = system.spawn(actor(&["forever"]).in_job(&job)).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
            let mut filled: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
            filled.truncate(filled.len() - room);
            match system.job(&Job::builder().containment(job.containment())) {
                Ok(another) => match another.is_empty() {
                    Ok(is_empty) => assert!(is_empty),
                    Err(error) => assert!(error.is_of_the_moment(), "{error:?}"),
                },
                Err(error) => assert!(error.is_of_the_moment(), "{error:?}"),
            }
            // With no descriptor to be had, it is still killed, removed and waited for.
            let killed = job.kill();
            drop(filled);
            if let Err(error) = killed {
                assert!(error.is_of_the_moment(), "{error:?}");
                job.kill().unwrap();
            }
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
            assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        });
    }
    until("no cgroup is left", || own_cgroups().is_empty());
    until("no descriptor is left", || descriptors() == before);
}
