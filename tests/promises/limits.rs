//! A limit is a limit: a timeout bounds all that is inside of the call; what could not be finished is said, and is finished in the
//! background. And whoever has no thread or no descriptor to spare still gets what is due.

use crate::Test;
use crate::leaks::{children, each_backend, until};
use crate::stage::Outcome;
use crate::tasks::runtime;
use crate::traced::{beside, is_waiting, sleeps};
use nix::sys::wait::waitpid;
use nix::time::ClockId;
use nix::unistd::{Pid, gettid};
use seccompiler::{SeccompAction, SeccompCmpOp};
use std::time::Duration;
use steadfast::{Capture, Captured, Child, Command, Door, Probe, Stdio, System};
use steadfast_tests::filter::Call;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("limits: output_timeout, behind a SIGKILL that has no effect", || {
            killed_without_effect(|child| child.capture(&at_once()).unwrap())
        }),
        Test::that_may_skip("limits: in a task, behind a SIGKILL that has no effect", || {
            killed_without_effect(|child| {
                runtime().block_on(async { steadfast::tokio::Child::from(child).capture(&at_once()).await.unwrap() })
            })
        }),
        Test::new("limits: a timeout beside another reader of the same child", || each_backend(beside_another)),
        Test::new("limits: an endless wait_delay sleeps", || each_backend(endless_delay)),
        Test::new("limits: a non-blocking pipe of an adopted child is slept for", || each_backend(non_blocking_pipe)),
        Test::new("limits: what is passed on just after the exit is had, or the result says that it is not", || {
            each_backend(late)
        }),
        Test::new("limits: an exit that a debugger holds keeps no CPU busy", held_exit),
        Test::that_may_skip("limits: no thread can be started: timeouts, output, dropped children", no_thread),
    ]
}

fn at_once() -> Capture {
    Capture::new().timeout(Duration::from_millis(1)).kill_on_timeout(true)
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Somebody else's, which has a process seized and does nothing; killed at drop, which lets the process go.
struct Debugger(Pid);

impl Drop for Debugger {
    fn drop(&mut self) {
        nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL).unwrap();
        waitpid(self.0, None).unwrap();
    }
}

fn debugger(pid: steadfast::Pid) -> Debugger {
    let pid = Pid::from_raw(pid.as_raw());
    let (ours, theirs) = std::io::pipe().unwrap();
    let writer = theirs.try_clone().unwrap();
    let debugger = steadfast_linux::bare::fork(move || {
        let seized = nix::sys::ptrace::seize(pid, nix::sys::ptrace::Options::empty());
        drop((theirs, writer));
        if seized.is_err() {
            return 1;
        }
        loop {
            nix::unistd::pause();
        }
    });
    // At its end when all others have closed it.
    std::io::read_to_string(ours).unwrap();
    Debugger(Pid::from_raw(debugger.unwrap().as_raw()))
}

/// The child is a zombie that its debugger keeps: to the killer it is as one that is frozen.
fn killed_without_effect(wait: fn(Child) -> Captured) -> Outcome {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let child = system.spawn(&sh("exec sleep 600")).unwrap();
        let debugger = debugger(child.pid());
        let got = wait(child);
        drop(debugger);
        if got.status.is_some() {
            return Outcome::Skipped("nobody may be traced here".into());
        }
        assert!(got.timed_out);
        until("it is reaped in the background", || children().is_empty());
    }
    Outcome::Passed
}

/// A debugger of somebody else's has seized the child, and does not wait for it: it has exited, and cannot be waited for. What it has started
/// has its stdout.
fn held_exit() {
    let Ok(system) = System::pidfd() else { return };
    let mut child = system.spawn(&sh("exec 3<&0; read line; cat <&3 & exit 0")).unwrap();
    let (pid, mut input) = (child.pid(), child.stdin.take().unwrap());
    let debugger = debugger(pid);
    std::io::Write::write_all(&mut input, b"line\n").unwrap();
    until("it has exited", || crate::leaks::is_over(pid));
    let child = &child;
    std::thread::scope(|scope| {
        // Both go before the thread is waited for, if this panics.
        let (debugger, input) = (debugger, input);
        let (reader, thread) = beside(scope, || child.capture(&Capture::new().timeout(Duration::from_secs(600))).unwrap());
        assert_asleep(thread);
        drop((debugger, input));
        assert!(reader.join().unwrap().status.unwrap().success());
    });
}

fn beside_another(system: &System) {
    let mut child = system.spawn(&sh("echo one; read line; echo two")).unwrap();
    let input = child.stdin.take();
    let child = &child;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| child.capture(&Capture::new()).unwrap());
        until("the other one reads", is_waiting);
        let beside = child.wait_with_output_timeout(Duration::from_millis(1)).unwrap();
        assert!(beside.timed_out && beside.status.is_none() && !beside.is_complete(), "{beside:?}");
        drop(input);
        let all = reader.join().unwrap();
        assert_eq!(all.stdout.to_vec(), b"one\ntwo\n");
    });
}

/// It has gone to sleep, and uses next to nothing from then on; one that spins uses as much as the one that looks at it, however busy the
/// machine is.
pub(crate) fn assert_asleep(thread: Pid) {
    until("it waits", || sleeps(thread));
    let (its, own) = (used(thread), used(gettid()));
    while used(gettid()) - own < Duration::from_millis(50) {}
    let (its, own) = (used(thread) - its, used(gettid()) - own);
    assert!(its < own / 10, "it used {its:?} of the processor's time, and who looked at it {own:?}");
}

/// The processor's time that this thread of ours has had.
fn used(thread: Pid) -> Duration {
    // Its clock has a number that is made of its own (clock_getcpuclockid(3)); 6: one thread's, as it was scheduled.
    ClockId::from_raw((!thread.as_raw() << 3) | 6).now().unwrap().into()
}

fn endless_delay(system: &System) {
    let mut child = system.spawn(&sh("exec 3<&0; cat <&3 & echo of the child")).unwrap();
    let input = child.stdin.take();
    let child = &child;
    std::thread::scope(|scope| {
        let input = input;
        let (reader, thread) = beside(scope, || child.capture(&Capture::new().wait_delay(Duration::MAX)).unwrap());
        until("the exit is seen", || child.exit().is_some());
        assert_asleep(thread);
        drop(input);
        assert!(reader.join().unwrap().is_complete());
    });
}

fn non_blocking_pipe(system: &System) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let mut theirs = std::process::Command::new("cat");
    let mut theirs = theirs.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let input = theirs.stdin.take();
    fcntl(theirs.stdout.as_ref().unwrap(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let child = system.adopt(theirs).unwrap();
    std::thread::scope(|scope| {
        let mut input = input.unwrap();
        let (reader, thread) = beside(scope, || child.wait_with_output().unwrap());
        assert_asleep(thread);
        std::io::Write::write_all(&mut input, b"in the end").unwrap();
        drop(input);
        assert_eq!(reader.join().unwrap().stdout, b"in the end");
    });
}

/// A helper that has the child's words from it, and says them once it is gone.
fn late(system: &System) {
    let had = (0..20).filter(|_| {
        let script = "(while kill -0 $$ 2>/dev/null; do :; done; echo late) & echo early";
        let got = system.spawn(&sh(script)).unwrap().capture(&Capture::new()).unwrap();
        let text = got.stdout.to_string();
        assert!(got.status.unwrap().success() && text.starts_with("early\n"), "{got:?}");
        assert_eq!(got.is_complete(), !text.contains("not read to its end"), "{got:?}");
        // What is said to be all of it, is.
        assert!(!got.is_complete() || text == "early\nlate\n", "{got:?}");
        assert_eq!(got.is_complete(), got.clone().into_output().is_some());
        got.is_complete()
    });
    assert_ne!(had.count(), 0);
}

fn no_thread() -> Outcome {
    const CLONE_THREAD: u64 = 0x1_0000;
    // Asked before, all that a child needs is there.
    let doors = Probe::once().unwrap().doors();
    let call = |number, only| Call { name: "a thread's clone", number, only };
    call(nix::libc::SYS_clone3, None).answer(SeccompAction::Errno(nix::libc::ENOSYS as u32));
    let is_thread = Some((0, SeccompCmpOp::MaskedEq(CLONE_THREAD), CLONE_THREAD));
    call(nix::libc::SYS_clone, is_thread).answer(SeccompAction::Errno(nix::libc::EAGAIN as u32));
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    for door in doors.iter().filter(|door| **door != Door::Clone3) {
        for system in [System::pidfd_through(*door).ok(), Some(System::pid_legacy_through(*door))].into_iter().flatten() {
            without_threads(&system);
        }
    }
    Outcome::Passed
}

fn without_threads(system: &System) {
    let child = system.spawn(&sh("exit 7")).unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(600)).unwrap().unwrap().code(), Some(7));
    let child = system.spawn(&sh("exec sleep 600")).unwrap();
    let pid = child.pid().to_string();
    let got = child.capture(&at_once()).unwrap();
    assert!(got.timed_out && got.status.is_some(), "{got:?}");
    assert!(!children().contains(&pid));
    let mut child = system.spawn(&sh("read line")).unwrap();
    let (pid, input) = (child.pid().to_string(), child.stdin.take());
    drop(child);
    assert!(children().contains(&pid));
    drop(input);
    // Nobody is there to reap it but whoever comes next.
    until("a dropped child is reaped with the next one", || {
        drop(system.spawn(&sh("exit 0")).unwrap());
        !children().contains(&pid)
    });
}
