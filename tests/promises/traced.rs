//! An exit is an exit: neither a stop of a child that this program traces, nor a pidfd that somebody has made non-blocking, is taken for
//! one, through whatever way to wait; and the tracer still hears of the stop.

use crate::Test;
use crate::leaks::{children, each_backend, until};
use crate::stage::{Outcome, row};
use crate::tasks::runtime;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::ptrace;
use nix::sys::signal::Signal as Number;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};
use seccompiler::SeccompAction;
use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;
use steadfast::{Capture, Child, Command, ErrorKind, ExitStatus, Process, Stdio, System, WaitSet, wait_any};
use steadfast_tests::filter::Call;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = WAYS
        .iter()
        .map(|(name, wait)| Test::that_may_skip(format!("traced: a stop is no exit, by {name}"), || stopped_on_each(*wait)))
        .collect();
    tests.push(Test::new("traced: a stop that nobody has asked for yet is the tracer's", || each_backend(looked_at)));
    tests.push(Test::new("traced: dropped in a stop, and reaped after its exit", || each_backend(dropped)));
    tests.push(Test::new("traced: killed in a stop", || each_backend(killed)));
    tests.push(Test::new("traced: a stranger that this program lets go is not over", || each_backend(let_go_stranger)));
    tests.push(Test::that_may_skip("traced: without waitid(2)", without_waitid));
    tests
        .extend(WAYS.iter().map(|(name, wait)| {
            Test::that_may_skip(format!("non-blocking pidfd: waited for by {name}"), || non_blocking(*wait))
        }));
    tests.push(Test::that_may_skip("non-blocking pidfd: dropped without a descriptor left, and reaped", dropped_non_blocking));
    tests
}

/// A way to wait for the exit of a child, however long that takes.
type Way = fn(&System, Child) -> ExitStatus;

const LONG: Duration = Duration::from_secs(600);

const WAYS: &[(&str, Way)] = &[
    ("wait", |_, child| child.wait().unwrap()),
    ("try_wait", |_, child| {
        until("it exits", || child.try_wait().unwrap().is_some());
        child.wait().unwrap()
    }),
    ("wait_timeout", |_, child| child.wait_timeout(LONG).unwrap().unwrap()),
    ("wait_any", |_, child| wait_any(&[child.process()], None).unwrap().unwrap().status.unwrap()),
    ("a set", |_, child| {
        let set = WaitSet::new();
        set.add((), child.process().clone()).unwrap();
        set.wait().unwrap().status.unwrap()
    }),
    ("capture", |_, child| child.capture(&Capture::new().timeout(LONG)).unwrap().status.unwrap()),
    ("a task", |_, child| runtime().block_on(async { steadfast::tokio::Child::from(child).wait().await.unwrap() })),
];

/// Its first stop is at its exec; it ends with code 3.
fn traced(system: &System) -> Child {
    let child = system.spawn(Command::new("sh").args(["-c", "exit 3"]).stdout(Stdio::piped()).trace_me(true)).unwrap();
    until("it stops", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        stat.rsplit_once(')').unwrap().1.starts_with(" t ")
    });
    child
}

/// As its tracer, which is this thread: hears of the stop, and lets it go.
fn let_go(pid: steadfast::Pid) {
    let pid = Pid::from_raw(pid.as_raw());
    assert_eq!(waitpid(pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Stopped(pid, Number::SIGTRAP)));
    ptrace::cont(pid, None).unwrap();
}

fn stopped_on_each(wait: Way) -> Outcome {
    let systems = [System::pidfd().ok(), Some(System::pid_legacy())];
    systems.iter().flatten().for_each(|system| stopped(system, wait));
    Outcome::Passed
}

fn stopped(system: &System, wait: Way) {
    let child = traced(system);
    let pid = child.pid();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(system, child));
        // It has looked, or will.
        while !waiter.is_finished() && !is_waiting() {
            std::thread::yield_now();
        }
        let_go(pid);
        assert_eq!(waiter.join().unwrap().code(), Some(3));
    });
    assert_eq!(children(), Vec::<String>::new());
}

/// Whether some thread of this process but the first sleeps.
pub(crate) fn is_waiting() -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let own = gettid().to_string();
    let others = tasks.filter(|task| task.file_name().to_str() != Some(&own));
    others.filter_map(|task| task.file_name().to_str()?.parse().ok()).any(|task| sleeps(Pid::from_raw(task)))
}

/// Runs it in another thread, and says which.
pub(crate) fn beside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> (ScopedJoinHandle<'scope, T>, Pid) {
    let (says, said) = std::sync::mpsc::channel();
    let worker = scope.spawn(move || {
        says.send(gettid()).unwrap();
        work()
    });
    (worker, said.recv().unwrap())
}

/// Whether this thread of ours sleeps.
pub(crate) fn sleeps(thread: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S "))
}

fn looked_at(system: &System) {
    let child = traced(system);
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    let set = WaitSet::new();
    set.add((), child.process().clone()).unwrap();
    assert!(set.try_wait().is_none());
    assert!(set.wait_timeout(Duration::from_millis(1)).is_none());
    drop(set);
    assert_eq!(child.exit(), None);
    let_go(child.pid());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// While this program traces it, it is waited for as a child is; then it is none again, and lives. Who waits for it at that moment is told of
/// its exit all the same.
fn let_go_stranger(system: &System) {
    detached(system, |pid, let_go| {
        ptrace::seize(pid, ptrace::Options::empty()).unwrap();
        let_go.recv().unwrap();
        ptrace::interrupt(pid).unwrap();
        waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
        ptrace::detach(pid, None).unwrap();
    });
    // A tracer that ends lets all go, without a stop that would wake who sleeps in the kernel.
    detached(system, |pid, let_go| {
        ptrace::seize(pid, ptrace::Options::empty()).unwrap();
        let_go.recv().unwrap();
    });
}

fn detached(system: &System, trace: fn(Pid, Receiver<()>)) {
    let said = std::process::Command::new("sh").args(["-c", "sleep 600 >&- 2>&- & echo $!"]).output().unwrap().stdout;
    let number: i32 = String::from_utf8(said).unwrap().trim().parse().unwrap();
    let pid = Pid::from_raw(number);
    let find = || system.find(steadfast::Pid::new(number).unwrap()).unwrap();
    let found = find();
    let (lets_go, let_go) = channel();
    let (set, exits) = (WaitSet::new(), WaitSet::new());
    let ways: [fn(&Process) -> ErrorKind; 3] = [
        |found| found.wait().unwrap_err().kind(),
        |found| found.wait_timeout(LONG).unwrap_err().kind(),
        |found| {
            found.wait_exited().unwrap();
            ErrorKind::NoChild
        },
    ];
    std::thread::scope(|scope| {
        let tracer = scope.spawn(move || trace(pid, let_go));
        let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        until("it is traced", || !status().contains("TracerPid:\t0\n"));
        set.add((), found.clone()).unwrap();
        exits.add((), steadfast::Member::exit_of(find())).unwrap();
        let waiters = ways.map(|way| {
            let found = find();
            beside(scope, move || way(&found))
        });
        until("all sleep", || waiters.iter().all(|(_, thread)| sleeps(*thread)));
        lets_go.send(()).unwrap();
        tracer.join().unwrap();
        until("it is traced no more", || status().contains("TracerPid:\t0\n"));
        assert!(set.wait_timeout(Duration::from_millis(50)).is_none());
        assert!(exits.wait_timeout(Duration::from_millis(50)).is_none());
        assert_eq!(found.wait_gone_timeout(Duration::from_millis(1)).unwrap(), None);
        found.kill().unwrap();
        exits.wait().unwrap();
        set.wait().unwrap();
        for (waiter, _) in waiters {
            assert_eq!(waiter.join().unwrap(), ErrorKind::NoChild);
        }
    });
}

fn dropped(system: &System) {
    let child = traced(system);
    let pid = child.pid();
    drop(child);
    let_go(pid);
    until("it is reaped", || children().is_empty());
}

fn killed(system: &System) {
    use std::os::unix::process::ExitStatusExt;
    let child = traced(system);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    drop(traced(system).kill());
    until("a dropped one is reaped", || children().is_empty());
}

fn without_waitid() -> Outcome {
    let [.., call, _, _] = Call::all();
    assert_eq!(call.title(), "waitid in every form");
    call.answer(SeccompAction::Errno(Errno::EPERM as u32));
    let system = System::pid_legacy();
    for (name, wait) in WAYS {
        let _row = row(name);
        stopped(&system, *wait);
    }
    looked_at(&system);
    dropped(&system);
    killed(&system);
    Outcome::Passed
}

/// As a reactor does with what it is given.
fn make_non_blocking(child: &Child) {
    child.with_handle(|fd| fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).unwrap()).unwrap();
}

fn non_blocking(wait: Way) -> Outcome {
    let Ok(system) = System::pidfd() else { return Outcome::Skipped("there are no pidfds here".into()) };
    let mut command = Command::new("sh");
    let mut child = system.spawn(command.args(["-c", "read line; exit 3"]).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    make_non_blocking(&child);
    let input = child.stdin.take();
    assert_eq!(child.try_wait().unwrap(), None);
    let status = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&system, child));
        while !waiter.is_finished() && !is_waiting() {
            std::thread::yield_now();
        }
        drop(input);
        waiter.join().unwrap()
    });
    assert_eq!(status.code(), Some(3));
    assert_eq!(children(), Vec::<String>::new());
    Outcome::Passed
}

fn dropped_non_blocking() -> Outcome {
    let Ok(system) = System::pidfd() else { return Outcome::Skipped("there are no pidfds here".into()) };
    let mut child = system.spawn(Command::new("cat").stdin(Stdio::piped())).unwrap();
    make_non_blocking(&child);
    let input = child.stdin.take();
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    drop(child);
    taken.clear();
    drop(input);
    until("it is reaped", || children().is_empty());
    Outcome::Passed
}
