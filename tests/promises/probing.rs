//! The probe and the choice: in every sandbox that can be made here, and on a kernel that only pretends.

use crate::Test;
use crate::contract::ACTOR;
use crate::leaks::{children, descriptors};
use crate::stage::Outcome;
use seccompiler::SeccompAction;
use signal_hook::consts::{SIGCHLD, SIGSYS};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steadfast::{Command, Door, Errno, ErrorKind, Probe, Signal, Stdio, System};
use steadfast_tests::filter::{Call, Reply};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("probe: once, whatever the number of threads, and leaves nothing", leaves_nothing),
        Test::new("probe: a refusal of the moment is an error, and is not remembered", not_remembered),
        Test::new("probe: a handler for SIGSYS that returns does not deceive it", deceptive_handler),
        Test::new("probe: a call that is filtered later fails with its name", filtered_later),
        Test::that_may_skip("probe: after leaving the PID namespace, it does not take the new one down", left_namespace),
        Test::that_may_skip("probe: qemu-x86_64 7.2 gets pid-legacy, and the proof passes", qemu),
        Test::new(
            "probe: printed, it is the table that the xtask shows: a line for each call and feature, with its mark",
            printed,
        ),
        Test::new("choice: STEADFAST_BACKEND forces a backend", forced),
    ];
    for reply in Reply::all() {
        let name = format!("probe: seccomp: clone3: {}: children by clone, with what else there is", reply.name);
        tests.push(Test::that_may_skip(name, move || {
            without_clone3(reply.action.clone());
            Outcome::Passed
        }));
    }
    for call in Call::all() {
        for reply in Reply::all() {
            let name = format!("probe: seccomp: {}: {}", call.title(), reply.name);
            let call = call.clone();
            tests.push(Test::that_may_skip(name, move || {
                sandboxed(&call, &reply);
                Outcome::Passed
            }));
        }
    }
    tests
}

/// As in sandboxes that are older than the call (Docker's of before 2021: `EPERM`), and in emulators. The C library may be newer than they are
/// and unable to start a thread then; so there are none here.
fn without_clone3(answer: SeccompAction) {
    Call { name: "clone3", number: nix::libc::SYS_clone3, only: None }.answer(answer);
    let probe = Probe::once().unwrap();
    let doors = probe.doors();
    assert!(!doors.contains(&Door::Clone3) && doors.contains(&Door::Clone), "{doors:?}");
    let system = System::detect().unwrap();
    assert_eq!(system.backend_name() == "pidfd", probe.obstacle().is_none());
    let child = system.spawn(Command::new(ACTOR).args(["exit", "3"]).process_group(0)).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let error = system.spawn(&Command::new("/no/such")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    assert_eq!(children(), Vec::<String>::new());
}

/// From now on, as if the kernel did not have this call.
pub(crate) fn answer_with_enosys(number: i64) {
    answer_with(number, Errno::NOSYS);
}

/// From now on it always fails like this.
pub(crate) fn answer_with(number: i64, errno: Errno) {
    Call { name: "", number, only: None }.answer(SeccompAction::Errno(errno.as_raw() as u32));
}

/// A program with handlers of its own, which must see nothing of the probe.
struct Watch {
    sigchld: Arc<AtomicBool>,
    sigsys: Arc<AtomicBool>,
    dispositions: String,
    before: std::collections::BTreeSet<String>,
}

fn dispositions() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().filter(|line| (line.starts_with("Sig") && !line.starts_with("SigQ")) || line.starts_with("ShdPnd")).collect()
}

impl Watch {
    fn set() -> Watch {
        let flag = || Arc::new(AtomicBool::new(false));
        let (sigchld, sigsys) = (flag(), flag());
        signal_hook::flag::register(SIGCHLD, Arc::clone(&sigchld)).unwrap();
        signal_hook::flag::register(SIGSYS, Arc::clone(&sigsys)).unwrap();
        Watch { sigchld, sigsys, dispositions: dispositions(), before: descriptors() }
    }

    fn saw_nothing(&self) {
        assert!(!self.sigchld.load(Ordering::Relaxed), "the program's SIGCHLD handler ran");
        assert!(!self.sigsys.load(Ordering::Relaxed), "the program's SIGSYS handler ran");
        assert_eq!(dispositions(), self.dispositions);
        assert_eq!(descriptors(), self.before);
        assert_eq!(children(), Vec::<String>::new());
    }
}

fn leaves_nothing() {
    // The C library installs handlers of its own at the first thread.
    std::thread::spawn(|| ()).join().unwrap();
    let watch = Watch::set();
    let probes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| std::ptr::from_ref(Probe::once().unwrap()).addr())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(probes.windows(2).all(|pair| pair[0] == pair[1]));
    Probe::features().unwrap();
    watch.saw_nothing();
}

fn printed() {
    let probe = Probe::once().unwrap();
    let text = probe.to_string();
    let checks = probe.checks.iter().map(|check| (check.name, check.since, check.answer, None));
    let features = Probe::features().unwrap().iter();
    let features = features.map(|feature| (feature.name, feature.since, feature.answer, feature.version));
    for (name, since, answer, version) in checks.chain(features) {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        let mark = if answer.works() { "✓" } else { "–" };
        // Landlock's, and nobody else's.
        assert_eq!(version.is_some(), name == "landlock" && answer.works(), "{name}");
        let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
        let end = format!(" {mark} {answer}{version}");
        assert!(line.contains(&format!(" {since} ")) && line.ends_with(&end), "{line}");
    }
    assert_eq!(text.lines().count(), 2 + probe.checks.len() + Probe::features().unwrap().len(), "{text}");
    let works = probe.obstacle().is_none();
    assert_eq!(probe.reason() == "all that pidfd needs works here", works, "{}", probe.reason());
}

fn not_remembered() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let error = System::detect().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
    assert!(error.to_string().contains("raise the limit"), "{error}");
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let expected = if Probe::once().unwrap().obstacle().is_none() { "pidfd" } else { "pid-legacy" };
    assert_eq!(System::detect().unwrap().backend_name(), expected);
}

/// Under the filter, with the program's own handlers in place, the backend is `pid-legacy`, and all of it works.
fn sandboxed(call: &Call, reply: &Reply) {
    let watch = Watch::set();
    call.answer(reply.action.clone());
    let probe = Probe::once().unwrap();
    watch.saw_nothing();
    let check = probe.checks.iter().find(|check| check.name == call.name).unwrap();
    assert_eq!(check.answer, reply.expected);
    let others: Vec<_> = probe.checks.iter().filter(|check| check.name != call.name && !check.answer.works()).collect();
    assert!(others.is_empty(), "{others:?}");
    let system = System::detect().unwrap();
    assert_eq!(system.backend_name(), "pid-legacy");
    let error = System::pidfd().unwrap_err();
    assert!(error.to_string().contains(call.name), "{error}");

    let _here = system.enter();
    let child = Command::new(ACTOR).args(["exit", "4"]).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let child = Command::new(ACTOR).arg("forever").stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    child.signal(Signal::TERM).unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(3600)).unwrap().unwrap().signal(), Some(15));
    assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert_eq!(Command::new("/no/such").spawn().unwrap_err().errno(), Some(Errno::NOENT));
    assert_eq!(Command::new("echo").arg("hi").output().unwrap().stdout, b"hi\n");
    assert_eq!(children(), Vec::<String>::new());
}

/// The handler is there, and a trapped call "returns" its own number: 434 for `pidfd_open`, as if that was a descriptor.
fn deceptive_handler() {
    let sigsys = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGSYS, Arc::clone(&sigsys)).unwrap();
    // Probed before the filter, so that the calls themselves are made.
    let Ok(system) = System::pidfd() else { return };
    let child = system.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null())).unwrap();
    // Somebody else's descriptors at the numbers that the calls have.
    let null = std::fs::File::open("/dev/null").unwrap();
    let strangers: Vec<_> = [434, 435, 56].map(|n| rustix::io::fcntl_dupfd_cloexec(&null, n).unwrap()).into();
    let before = descriptors();
    for number in [nix::libc::SYS_pidfd_open, nix::libc::SYS_pidfd_send_signal, nix::libc::SYS_clone, nix::libc::SYS_clone3] {
        Call { name: "", number, only: None }.answer(SeccompAction::Trap);
    }
    for error in [
        system.find(child.pid()).map(drop).unwrap_err(),
        child.signal(Signal::TERM).unwrap_err(),
        system.spawn(&Command::new("true")).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.errno(), Some(Errno::NOSYS), "{error}");
    }
    assert!(sigsys.load(Ordering::Relaxed));
    assert_eq!(descriptors(), before);
    assert!(strangers.iter().all(|fd| rustix::io::fcntl_getfd(fd).is_ok()));
    // End it by number: its handle has been made unable to.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.pid().as_raw()), nix::sys::signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn filtered_later() {
    let Ok(system) = System::pidfd() else { return };
    let child = system.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null()).kill_on_drop(false)).unwrap();
    Call { name: "", number: nix::libc::SYS_pidfd_open, only: None }.answer(SeccompAction::Errno(1));
    let error = system.find(child.pid()).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(Errno::PERM)));
    assert!(error.to_string().starts_with("pidfd_open on process"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// `unshare(CLONE_NEWPID)` first, the first use of the library after it: the probe's child must not become the namespace's init.
fn left_namespace() -> Outcome {
    if let Err(reason) = xtask::namespace::unshare_pids() {
        return Outcome::Skipped(reason);
    }
    let error = System::detect().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert!(error.to_string().contains("before unshare(2)"), "{error}");
    // The namespace is unharmed: it can still have its init, and after that the probe has no objection.
    let init = System::pid_legacy_through(steadfast::Door::Clone);
    let init = init.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null())).unwrap();
    let system = System::detect().unwrap();
    assert!(system.spawn(Command::new(ACTOR).args(["exit", "0"])).unwrap().wait().unwrap().success());
    init.kill().unwrap();
    init.wait().unwrap();
    Outcome::Passed
}

fn forced() {
    let own = std::env::current_exe().unwrap();
    let chosen = |value: &str| {
        let mut command = Command::new(&own);
        command.env("STEADFAST_TEST", "errors: (detects)").env("STEADFAST_BACKEND", value);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(chosen("pid-legacy"), "pid-legacy\n");
    match System::pidfd() {
        Ok(_) => assert_eq!(chosen("pidfd"), "pidfd\n"),
        Err(_) => assert_eq!(chosen("pidfd"), ""),
    }
}

/// Beside this program's directory, where cargo puts the programs of the workspace.
pub(crate) fn xtask() -> Result<PathBuf, Outcome> {
    let xtask = PathBuf::from(ACTOR).with_file_name("xtask");
    if xtask.exists() { Ok(xtask) } else { Err(Outcome::Skipped("the xtask binary is not built: run `cargo xtask test`".into())) }
}

fn qemu() -> Outcome {
    let qemu = Command::new("qemu-x86_64").arg("--version").output();
    let version = match qemu {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned(),
        Err(error) => return Outcome::Skipped(format!("package qemu-user is not installed ({error})")),
    };
    if !version.contains("version 7.2") {
        return Outcome::Skipped(format!("qemu-user is not 7.2 but {version}"));
    }
    let xtask = match xtask() {
        Ok(xtask) => xtask,
        Err(skipped) => return skipped,
    };
    let output = Command::new("qemu-x86_64").arg(xtask).args(["probe", "--format", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["backend"], "pid-legacy");
    let clone_pidfd = &seen["checks"][3];
    assert_eq!((&clone_pidfd["name"], &clone_pidfd["errno"]), (&"clone_pidfd".into(), &"EINVAL".into()));
    assert_eq!(clone_pidfd["works"], false);
    assert!((0..3).all(|n| seen["checks"][n]["works"] == true), "{seen}");
    assert_eq!(seen["proof"]["stranger_hit_by_handle"], 0);
    Outcome::Passed
}
