//! The whole contract in narrow places: limits, a file system that gives nothing, namespaces, other people's ideas of `SIGCHLD`.

use crate::Test;
use crate::contract::{ACTOR, REAL, foreigner_of, on};
use crate::leaks::{children, descriptors, until};
use crate::stage::Outcome;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use steadfast::{Command, Errno, ErrorKind, Namespaces, Pid, Stdio, System};
use steadfast_conformance::run;
use steadfast_tests::{real, tells_lost_status};

type Strait = (&'static str, fn() -> Result<(), String>);

/// Where all of the contract holds on both backends. The process that goes there does not come back.
const STRAITS: &[Strait] = &[
    ("64 open files", || limit(Resource::RLIMIT_NOFILE, 64)),
    ("a root that cannot be written", read_only_root),
    ("SIGCHLD blocked", || {
        let mut set = SigSet::empty();
        set.add(nix::sys::signal::SIGCHLD);
        said("sigprocmask", sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None))
    }),
    ("SIGCHLD handled", || said("sigaction", signal_hook::flag::register(nix::libc::SIGCHLD, Arc::default()).map(drop))),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (place, go) in STRAITS {
        for backend in ["pidfd", "pid-legacy"] {
            let check = move || contract(backend, *go);
            tests.push(Test::that_may_skip(format!("straits: {place}: {backend} keeps the contract"), check).in_namespace());
        }
    }
    tests.push(
        Test::that_may_skip("straits: hidepid=2, as a plain user: pidfd keeps the contract", || contract("pidfd", hidden))
            .in_namespace(),
    );
    let name = "straits: hidepid=2, as a plain user: pid-legacy says what it cannot tell, and does the rest";
    tests.push(Test::that_may_skip(name, || there(hidden, || hidden_child(&System::pid_legacy()))).in_namespace());
    tests.push(
        Test::that_may_skip("straits: without /proc: pidfd keeps the contract", || contract("pidfd", no_proc)).in_namespace(),
    );
    let name = "straits: without /proc: pid-legacy says that it cannot find, and does the rest";
    tests.push(Test::that_may_skip(name, || there(no_proc, || without_proc(&System::pid_legacy()))).in_namespace());
    tests.push(Test::that_may_skip("straits: valgrind's memcheck: the contract is kept without a report", memcheck));
    for (backend, system) in REAL {
        let none_left = format!("straits: no PID is left: {backend}");
        tests.push(Test::that_may_skip(none_left, || on(*system, full_namespace)).in_namespace());
        let inside = format!("straits: a child in a PID namespace of its own: {backend}");
        tests.push(Test::that_may_skip(inside, || on(*system, child_in_namespace)));
        let hardly_any = format!("straits: hardly any address space: a child that works, or an error: {backend}");
        tests.push(Test::that_may_skip(hardly_any, || on(*system, little_memory)));
    }
    tests
}

/// Checks something in a place.
fn there(go: fn() -> Result<(), String>, check: impl FnOnce() -> Outcome) -> Outcome {
    match go() {
        Ok(()) => check(),
        Err(reason) => Outcome::Skipped(reason),
    }
}

fn said<E: std::fmt::Display>(call: &str, answer: Result<(), E>) -> Result<(), String> {
    answer.map_err(|error| format!("{call}: {error}"))
}

fn limit(resource: Resource, to: u64) -> Result<(), String> {
    let (_, hard) = getrlimit(resource).map_err(|errno| errno.to_string())?;
    said("setrlimit", setrlimit(resource, to, hard))
}

/// The spawn engine, the state machine and whatever backend works there, with all their children.
fn memcheck() -> Outcome {
    let args =
        ["--tool=memcheck", "--fair-sched=yes", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
    let witness = env!("CARGO_BIN_EXE_witness");
    let ended = Command::new("valgrind").args(args).arg(witness).output_timeout(std::time::Duration::from_secs(200));
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Outcome::Skipped(format!("package valgrind is not installed ({error})")),
    };
    let (said, reports) = (ended.stdout.to_string(), ended.stderr.to_string());
    assert!(!ended.timed_out && ended.status.unwrap().success(), "{said}\n{reports}");
    // Each of its processes has its own account.
    let summaries: Vec<&str> = reports.lines().filter(|line| line.contains("ERROR SUMMARY: ")).collect();
    assert!(summaries.len() > 1 && summaries.iter().all(|line| line.contains("ERROR SUMMARY: 0 errors")), "{reports}");
    let kept = said.lines().filter(|line| line.contains("\"kept\"")).count();
    assert!(kept >= 40 && !said.contains("\"broken\""), "{said}");
    Outcome::Passed
}

/// Holds a backend to all of the contract, in a place.
fn contract(backend: &str, go: fn() -> Result<(), String>) -> Outcome {
    let (_, system) = REAL.iter().find(|(name, _)| *name == backend).expect("one of two");
    on(*system, |system| keeps_the_contract(backend, system, go))
}

fn keeps_the_contract(backend: &str, system: &System, go: fn() -> Result<(), String>) -> Outcome {
    // Where any user can execute it.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let actor = dir.path().join("actor");
    fs::copy(ACTOR, &actor).unwrap();
    let tells = backend == "pidfd" && tells_lost_status();
    there(go, || {
        let path = actor.to_str().unwrap().to_owned();
        let report = run(&real(system, &actor, move || {
            // Whose parent, a shell, wants to hear of its end.
            let mask = SigSet::thread_get_mask().unwrap();
            SigSet::empty().thread_set_mask().unwrap();
            let foreigner = foreigner_of(&path);
            mask.thread_set_mask().unwrap();
            foreigner
        })
        .tells_lost_status(tells));
        assert!(report.failed().is_empty(), "{report}");
        // The most that is skipped elsewhere (where stops are told, the promise of those who cannot tell them too), and what takes the right to choose PIDs; and without `/proc` there are no jobs, no names and no looks.
        let is_excused = |name: &str| {
            let is_of_a_name = ["identity:", "reopen:", "look:", "list:"].iter().any(|head| name.starts_with(head));
            name.starts_with("job:") || is_of_a_name && !std::path::Path::new("/proc/self").exists()
        };
        let others = report.skipped().into_iter().filter(|name| !is_excused(name)).count();
        assert!(others <= 12, "{report}");
        Outcome::Passed
    })
}

fn read_only_root() -> Result<(), String> {
    // Not the root itself: there are files of it open for writing, such as what this test says.
    let none: Option<&OsStr> = None;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
    said("mount", mount(Some("/"), &dir, none, MsFlags::MS_BIND | MsFlags::MS_REC, none))?;
    said("remount", mount(none, &dir, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none))?;
    said("chroot", nix::unistd::chroot(&dir))?;
    said("chdir", std::env::set_current_dir("/"))?;
    match fs::write("/steadfast-test", "") {
        Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        answer => Err(format!("the root can be written: {answer:?}")),
    }
}

fn no_proc() -> Result<(), String> {
    said("umount /proc", umount2("/proc", MntFlags::MNT_DETACH))?;
    // There may be another one beneath.
    let none: Option<&OsStr> = None;
    said("mount over /proc", mount(none, "/proc", Some("tmpfs"), MsFlags::MS_RDONLY, none))
}

/// Other users' processes are not to be seen; process 1, which this is, stays root's.
fn hidden() -> Result<(), String> {
    let none: Option<&OsStr> = None;
    said("mount /proc", mount(none, "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2")))?;
    said("setgroups", setgroups(&[]))?;
    let (user, group) = (Uid::from_raw(1234), Gid::from_raw(1234));
    said("setresgid", setresgid(group, group, group))?;
    said("setresuid", setresuid(user, user, user))
}

/// A child is hidden even from its parent while it executes, if the parent has changed its user: until then it is of the parent's kind, which
/// may not be looked into (`PR_SET_DUMPABLE`). It is not taken for gone.
fn hidden_child(system: &System) -> Outcome {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    for _ in 0..200 {
        let child = system.spawn(&command).unwrap();
        let found = system.find(child.pid());
        if let Err(error) = &found {
            assert!(error.kind() == ErrorKind::System && error.to_string().contains("hidepid"), "{error}");
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(found.is_err() || found.unwrap().kill().unwrap_err().kind() == ErrorKind::ProcessDone);
        assert_eq!(system.find(child.pid()).unwrap_err().kind(), ErrorKind::ProcessDone);
    }
    Outcome::Passed
}

fn without_proc(system: &System) -> Outcome {
    let before = children();
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = system.spawn(&command).unwrap();
    let error = system.find(child.pid()).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(Errno::NOENT)), "{error}");
    assert!(error.to_string().contains("mount /proc"), "{error}");
    assert_eq!(child.process().try_wait().unwrap(), None);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    let killed = system.spawn(&command).unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().signal(), Some(9));
    assert_eq!(children(), before);
    Outcome::Passed
}

fn full_namespace(system: &System) -> Outcome {
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    let before = fs::read_to_string(PID_MAX).unwrap();
    // A namespace's own since 6.14; before that, the whole machine's.
    if !kernel_is_at_least(6, 14) {
        return Outcome::Skipped("pid_max is the whole machine's before Linux 6.14".into());
    }
    if let Err(error) = fs::write(PID_MAX, "400") {
        return Outcome::Skipped(format!("{PID_MAX}: {error}"));
    }
    let descriptors_before = descriptors();
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = Vec::new();
    let error = loop {
        match system.spawn(&command) {
            Ok(child) => running.push(child),
            Err(error) => break error,
        }
        assert!(running.len() < 400, "it has a limit");
    };
    assert_eq!(error.errno(), Some(Errno::AGAIN), "{error}");
    assert!(error.to_string().contains("kernel.pid_max"), "{error}");
    assert!(running.len() > 50, "{}", running.len());
    // All that run can be signalled and waited for; and a number that is free is free.
    // The last: the first three hundred numbers are not given away twice.
    let first = running.pop().unwrap();
    first.kill().unwrap();
    assert_eq!(first.wait().unwrap().signal(), Some(9));
    running.push(system.spawn(&command).unwrap());
    assert_eq!(system.spawn(&command).unwrap_err().errno(), Some(Errno::AGAIN));
    for child in running.drain(..) {
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
    fs::write(PID_MAX, before.trim()).unwrap();
    until("nothing is left", || descriptors() == descriptors_before && children().is_empty());
    Outcome::Passed
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map_while(|part| part.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// It is process 1 there, and another number here, by which it is held.
fn child_in_namespace(system: &System) -> Outcome {
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null()).namespaces(Namespaces::PID).process_group(0);
    let child = match system.spawn(&command) {
        Ok(child) => child,
        Err(error) => return Outcome::Skipped(error.to_string()),
    };
    assert_ne!(child.pid(), Pid::new(1).unwrap());
    let found = system.find(child.pid()).unwrap();
    assert_eq!(child.process().try_wait().unwrap(), None);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(found.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    for kill in [steadfast::backend::Process::kill, steadfast::backend::Process::kill_group] {
        let child = system.spawn(&command).unwrap();
        kill(child.process()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
    Outcome::Passed
}

fn little_memory(system: &System) -> Outcome {
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let used = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
    let (before, mut ended, mut ran) = (descriptors(), 0, 0);
    // From next to nothing, past what is in use, where this process can get no more either, to an eighth more.
    for part in 1..=72 {
        setrlimit(Resource::RLIMIT_AS, used / 64 * part, hard).unwrap();
        let spawned = system.spawn(Command::new(ACTOR).args(["exit", "3"]).stdin(Stdio::piped()).stdout(Stdio::piped()));
        setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
        match spawned.map(|child| child.wait().unwrap()) {
            Ok(status) if status.code() == Some(3) => ran += 1,
            // The program itself had too little: its loader says 127, or the kernel kills it half way.
            Ok(status) => {
                assert!(status.code() == Some(127) || status.signal().is_some(), "{status}");
                ended += 1;
            }
            Err(error) => {
                assert!(matches!(error.errno(), Some(Errno::NOMEM | Errno::AGAIN)), "{error}");
                ended += 1;
            }
        }
        assert_eq!((descriptors(), children()), (before.clone(), vec![]));
    }
    assert!(ended > 0 && ran > 0, "{ended} failed, {ran} ran");
    Outcome::Passed
}
