//! What is done through a handle beside `signal` and `wait`: values, whether it may be signalled, its descriptors, limits and CPUs.

use crate::Test;
use crate::contract::{ACTOR, Real};
use crate::hostile::{is_root, needs_root};
use crate::leaks::{children, descriptors, each_backend};
use crate::probing::answer_with_enosys;
use crate::stage::{Outcome, given, row};
use nix::unistd::{Uid, setresuid};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use steadfast::{ByNumber, Child, Command, Errno, Error, ErrorKind, Limit, Process, Resource, Signal, Stdio, System};
use xtask::namespace::set_next_pid;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("handles: signal_value: the program reads each value, in order", || each_backend(values)),
        Test::new("handles: signal_value: the queue is full: EAGAIN, and what to do", || each_backend(full)),
        Test::new("handles: signal_value: by the number alone: pid-legacy without pidfd_send_signal", || {
            answer_with_enosys(nix::libc::SYS_pidfd_send_signal);
            values(&System::pid_legacy());
        }),
        Test::that_may_skip("handles: may_signal: false for another user's", another_users),
        Test::that_may_skip("handles: take_fd: a duplicate; none there, a zombie, gone", taken),
        Test::that_may_skip("handles: take_fd: what is needed is said", may_not_take),
        Test::new("handles: rlimit, cpu_affinity: set and read while it runs", || each_backend(limits)),
        Test::new("handles: rlimit: a zombie, one that is gone, what is refused", || each_backend(limits_of_a_zombie)),
        Test::that_may_skip("handles: rlimit: where a look is a reap, a collected child has no number", collected),
    ];
    for (backend, system) in crate::contract::REAL {
        let name = format!("handles: rlimit: a recycled PID: the stranger is neither read nor changed: {backend}");
        tests.push(Test::that_may_skip(name, move || recycled(*system)).in_namespace());
    }
    tests
}

fn actor(system: &System, set: impl FnOnce(&mut Command) -> &mut Command) -> Child {
    let mut command = Command::new(ACTOR);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = system.spawn(set(&mut command)).unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    child
}

fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn values(system: &System) {
    let mut child = actor(system, |command| command.args(["values", "5"]));
    let found = system.find(child.pid()).unwrap();
    // A real-time signal with each of its values, of another the first one. The lower number comes first.
    for (process, value) in [(child.process(), 7), (&found, -1), (child.process(), i32::MIN)] {
        process.signal_value(Signal::RTMIN, value).unwrap();
    }
    found.signal_value(Signal::USR1, 40).unwrap();
    child.signal_value(Signal::USR1, 41).unwrap();
    child.signal(Signal::RTMAX).unwrap();
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let (queue, user, us) = (nix::libc::SI_QUEUE, nix::libc::SI_USER, std::process::id());
    let expected = [(10, 40, queue), (34, 7, queue), (34, -1, queue), (34, i32::MIN, queue), (64, 0, user)];
    let expected: String = expected.map(|(signal, value, code)| format!("{signal} {value} {code} {us}\n")).concat();
    assert_eq!(said, expected);
    assert!(child.wait().unwrap().success());
}

fn full(system: &System) {
    let child = actor(system, |command| command.args(["values", "1"]).rlimit(Resource::SIGPENDING, 3));
    let refused = (0..10_000).find_map(|value| child.signal_value(Signal::RTMIN, value).err());
    let error = refused.expect("there is a limit");
    assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(Errno::AGAIN)), "{error}");
    assert!(error.is_of_the_moment() && error.to_string().contains("RLIMIT_SIGPENDING"), "{error}");
    // It is alive, and so is its handle.
    end(&child);
}

/// As another user from here on.
fn become_another() {
    let user = Uid::from_raw(61_234);
    setresuid(user, user, user).unwrap();
}

fn another_users() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let systems: Vec<System> = [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten().collect();
    let children: Vec<Child> = systems.iter().map(|system| actor(system, |command| command.args(["until-eof", "3"]))).collect();
    let found: Vec<Process> = children.iter().zip(&systems).map(|(child, system)| system.find(child.pid()).unwrap()).collect();
    become_another();
    for process in children.iter().map(|child| child.process()).chain(&found) {
        assert!(!process.may_signal().unwrap());
        assert_eq!(process.signal(Signal::TERM).unwrap_err().errno(), Some(Errno::PERM));
        assert_eq!(process.signal_value(Signal::TERM, 1).unwrap_err().errno(), Some(Errno::PERM));
    }
    for mut child in children {
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_eq!(child.may_signal().unwrap_err().kind(), ErrorKind::ProcessDone);
    }
    Outcome::Passed
}

fn taken() -> Outcome {
    let legacy = System::pid_legacy();
    let child = actor(&legacy, |command| command.arg("forever"));
    assert!(matches!(child.take_fd(0), Err(Error::Unsupported { backend: "pid-legacy", .. })));
    end(&child);

    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    let before = descriptors();
    let mut child = actor(&system, |command| command.args(["until-eof", "9"]));
    let mut its_input = match child.take_fd(0) {
        Err(error) if error.errno() == Some(Errno::PERM) => return Outcome::Skipped(error.to_string()),
        taken => File::from(taken.unwrap()),
    };
    assert_eq!(rustix::io::fcntl_getfd(&its_input).unwrap(), rustix::io::FdFlags::CLOEXEC);
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"x").unwrap();
    // Whoever reads first has it, and it reads nothing but its end.
    let same =
        rustix::fs::fstat(its_input.as_fd()).unwrap().st_ino == rustix::fs::fstat(child.take_fd(0).unwrap()).unwrap().st_ino;
    assert!(same);
    for number in [-1, 999] {
        let error = child.take_fd(number).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(Errno::BADF)), "{error}");
        assert!(
            error.to_string().starts_with(&format!("pidfd_getfd on descriptor {number} of process {}", child.pid())),
            "{error}"
        );
    }
    drop(child.stdin.take());
    let found = system.find(child.pid()).unwrap();
    assert!(system.backend().find(child.pid()).unwrap().wait_exited(None).unwrap().is_some());
    for process in [child.process(), &found] {
        assert_eq!(process.take_fd(0).unwrap_err().errno(), Some(Errno::BADF), "a zombie");
        assert!(process.is_running());
    }
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(child.take_fd(0).unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(found.take_fd(0).unwrap_err().kind(), ErrorKind::ProcessDone);
    found.release().unwrap();
    _ = its_input.read(&mut [0; 8]).unwrap();
    drop((child, found, its_input));
    assert_eq!((descriptors(), children()), (before, Vec::new()));
    Outcome::Passed
}

fn may_not_take() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    let mut child = actor(&system, |command| command.args(["until-eof", "3"]));
    become_another();
    let error = child.take_fd(0).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(Errno::PERM)), "{error}");
    for words in ["CAP_SYS_PTRACE", "ptrace_scope"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    Outcome::Passed
}

/// As the kernel shows it.
fn shown(child: &Child, file: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/{file}", child.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn limits(system: &System) {
    let child = actor(system, |command| command.arg("forever").rlimit(Resource::NOFILE, (100, 200)));
    let found = system.find(child.pid()).unwrap();
    for process in [child.process(), &found] {
        assert_eq!(process.rlimit(Resource::NOFILE).unwrap(), Limit::new(100, 200));
    }
    child.set_rlimit(Resource::NOFILE, (90, 150), ByNumber::IfPinned).unwrap();
    assert_eq!(
        (shown(&child, "limits", "Max open files"), found.rlimit(Resource::NOFILE).unwrap()),
        ("90 150".into(), (90, 150).into())
    );
    let refused = found.set_rlimit(Resource::NOFILE, 50, ByNumber::IfPinned).unwrap_err();
    assert!(matches!(refused, Error::NotPinned { call: "prlimit", .. }), "{refused}");
    assert!(refused.to_string().contains("ByNumber::EvenIfReaped"), "{refused}");
    assert_eq!(child.rlimit(Resource::NOFILE).unwrap(), Limit::new(90, 150));
    found.set_rlimit(Resource::NOFILE, 50, ByNumber::EvenIfReaped).unwrap();
    assert_eq!(shown(&child, "limits", "Max open files"), "50 50");

    let all = child.cpu_affinity().unwrap();
    assert_eq!(all.len(), std::thread::available_parallelism().unwrap().get());
    let last = *all.last().unwrap();
    child.set_cpu_affinity([last], ByNumber::IfPinned).unwrap();
    assert_eq!((shown(&child, "status", "Cpus_allowed_list:"), found.cpu_affinity().unwrap()), (last.to_string(), vec![last]));
    assert_eq!(found.set_cpu_affinity(all.clone(), ByNumber::IfPinned).unwrap_err().kind(), ErrorKind::NotPinned);
    found.set_cpu_affinity(all.clone(), ByNumber::EvenIfReaped).unwrap();
    assert_eq!(child.cpu_affinity().unwrap(), all);
    let nowhere = child.set_cpu_affinity([], ByNumber::IfPinned).unwrap_err();
    assert_eq!((nowhere.kind(), nowhere.errno()), (ErrorKind::System, Some(Errno::INVAL)), "{nowhere}");
    end(&child);
}

fn limits_of_a_zombie(system: &System) {
    let mut child = actor(system, |command| command.args(["until-eof", "4"]).rlimit(Resource::NOFILE, (100, 200)));
    let found = system.find(child.pid()).unwrap();
    let error = child.set_rlimit(Resource::NOFILE, (5, 4), ByNumber::IfPinned).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL), "{error}");
    assert!(error.to_string().starts_with("prlimit on process"), "{error}");
    drop(child.stdin.take());
    assert!(system.backend().find(child.pid()).unwrap().wait_exited(None).unwrap().is_some());
    for process in [child.process(), &found] {
        assert_eq!(process.rlimit(Resource::NOFILE).unwrap(), Limit::new(100, 200));
    }
    assert_eq!(child.wait().unwrap().code(), Some(4));
    for process in [child.process(), &found] {
        assert_eq!(process.rlimit(Resource::NOFILE).unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(process.set_rlimit(Resource::NOFILE, 9, ByNumber::EvenIfReaped).unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(process.cpu_affinity().unwrap_err().kind(), ErrorKind::ProcessDone);
    }
    child.release().unwrap();
}

/// Where `waitid` is filtered, `wait4` reaps what it sees, and the status is kept for the handle.
fn collected() -> Outcome {
    answer_with_enosys(nix::libc::SYS_waitid);
    let system = System::pid_legacy();
    let mut child = actor(&system, |command| command.args(["until-eof", "4"]));
    let limit = child.rlimit(Resource::NOFILE).unwrap();
    child.set_rlimit(Resource::NOFILE, limit, ByNumber::IfPinned).unwrap();
    drop(child.stdin.take());
    // Another handle sees the end: to this one it is a zombie, whose number is nobody's.
    let looked = system.backend().find(child.pid()).unwrap();
    assert!(looked.wait_exited(None).unwrap().is_some());
    assert!(child.may_signal().unwrap() && child.is_running());
    assert_eq!(child.rlimit(Resource::NOFILE).unwrap_err().kind(), ErrorKind::ProcessDone);
    let never = |_| -> steadfast::Result<()> { panic!("no call is made with a number that is nobody's") };
    assert_eq!(child.read_by_number(never).unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    Outcome::Passed
}

/// The child is taken away by other code, or waited for through another handle, and a stranger has its number at once.
fn recycled(system: Real) -> Outcome {
    let system = given!(system().map_err(|error| Outcome::Skipped(error.to_string())));
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null()).rlimit(Resource::NOFILE, (60, 70));
    let mut recycled = 0;
    for round in 0..200 {
        let _row = row(format!("round {round}"));
        let first = system.spawn(&cat).unwrap();
        let found = system.find(first.pid()).unwrap();
        first.kill().unwrap();
        if round % 2 == 0 {
            assert_eq!(first.wait().unwrap().signal(), Some(9));
        } else {
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(first.pid().as_raw()), None).unwrap();
        }
        set_next_pid(first.pid().as_raw()).unwrap();
        let mut stranger = system.spawn(&cat).unwrap();
        recycled += u32::from(stranger.pid() == first.pid());
        for process in [first.process(), &found] {
            assert_eq!(process.rlimit(Resource::NOFILE).unwrap_err().kind(), ErrorKind::ProcessDone);
            let changed = process.set_rlimit(Resource::NOFILE, 10, ByNumber::EvenIfReaped);
            assert_eq!(changed.unwrap_err().kind(), ErrorKind::ProcessDone);
        }
        assert_eq!(stranger.rlimit(Resource::NOFILE).unwrap(), Limit::new(60, 70), "a stranger was hit");
        drop(stranger.stdin.take());
        assert!(stranger.wait().unwrap().success());
    }
    assert!(recycled > 100, "only {recycled} PIDs could be recycled");
    Outcome::Passed
}
