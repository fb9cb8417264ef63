//! The contract's table, row by row.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::promise::{Promise, Skip, promise, promise_if};
use crate::{Act, Subject};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast_core::{BackendProcess, Errno, Error, ErrorKind, Exit, Pid, Plan, PlanStdio, Process, Result, Signal, Stage};

pub(crate) const PROMISES: &[Promise] = &[
    promise("signal: running: it is delivered", signal_running),
    promise("signal: running: to a handler, and nothing else happens", signal_handled),
    promise("signal: running: an ignored one leaves it running", signal_ignored),
    promise("signal: zombie: it is taken", signal_zombie),
    promise("signal: done: ProcessDone", |s| each_signal(&done(s), ErrorKind::ProcessDone)),
    promise("signal: released: Released", |s| each_signal(&released(s), ErrorKind::Released)),
    promise_if("signal: gone behind our back: ProcessDone, and it stays so", can_reap_behind, signal_gone),
    promise("wait: running: blocks, collects status and PID, becomes done", wait_running),
    promise("wait: running: a stop does not end it", wait_stopped),
    promise("wait: done: the same status again", wait_done),
    promise("wait: released: Released", |s| each_wait(&released(s), ErrorKind::Released)),
    promise_if("wait: somebody else reaped it: NoChild, and it stays so", loses_status, wait_lost),
    promise_if("wait: somebody else reaped it, and the kernel tells: the true status", keeps_status, wait_told),
    promise_if("wait: not our child: NoChild at once, and it can still be signalled", has_foreigner, wait_foreign),
    promise("wait_gone: our child: the status, as often as one asks", gone_child),
    promise_if("wait_gone: not our child: when it is gone, with the status if the kernel tells", has_foreigner, gone_foreign),
    promise("wait_gone, wait_exited: done and released", gone_over),
    promise("wait_exited: our child: the status, and it is reaped", exited_child),
    promise_if("wait_exited: not our child: when it has exited, and not before", has_foreigner, exited_foreign),
    promise("try_wait: running: None", try_wait_running),
    promise("wait_timeout: it looks at least once, and no timeout is too long", wait_timeout),
    promise_if("with_handle: running: lends the pidfd", lends_handle, with_handle_running),
    promise_if("with_handle: running, without pidfds: NoHandle", lends_none, with_handle_none),
    promise("with_handle: done: ProcessDone", |s| with_handle(&done(s), ErrorKind::ProcessDone)),
    promise("with_handle: released: Released", |s| with_handle(&released(s), ErrorKind::Released)),
    promise("release: running: becomes released; again: Ok", release_running),
    promise("release: done: stays done", release_done),
    promise("find: no such process: ProcessDone", find_missing),
    promise("find: our child: can be signalled and waited for", find_own),
    promise("find: a zombie: is found", find_zombie),
    promise("spawn: a missing program: ENOENT, with its name and stage", spawn_missing),
    promise("run: spawned and waited for in one: status and PID, and nothing is left", run),
    promise("backend: a second reap gives ECHILD", reap_twice),
];

pub(crate) fn can_reap_behind(subject: &Subject) -> Skip {
    Skip::unless(subject.reap_behind.is_some(), "nobody else can be made to reap its children")
}

fn loses_status(subject: &Subject) -> Skip {
    can_reap_behind(subject)
        .or(|| Skip::unless(!subject.tells_lost_status, "the kernel tells a status that somebody else has collected"))
}

fn keeps_status(subject: &Subject) -> Skip {
    can_reap_behind(subject)
        .or(|| Skip::unless(subject.tells_lost_status, "the kernel does not tell a status that somebody else has collected"))
}

pub(crate) fn has_foreigner(subject: &Subject) -> Skip {
    Skip::unless(subject.foreigner.is_some(), "no process of somebody else's can be had")
}

fn lends_handle(subject: &Subject) -> Skip {
    Skip::unable_unless(subject.backend.info().lends_handle, "the backend has no descriptor to lend")
}

fn lends_none(subject: &Subject) -> Skip {
    Skip::unable_unless(!subject.backend.info().lends_handle, "the backend lends a descriptor")
}

/// A handle that is done, of a process that exited with 7.
pub(crate) fn done(subject: &Subject) -> Process {
    let actor = subject.act(Act::Exit(7));
    assert_eq!(actor.wait().unwrap().code(), Some(7));
    actor.process.clone()
}

/// A handle that was released, of a process that has ended.
pub(crate) fn released(subject: &Subject) -> Process {
    let actor = subject.act(Act::Forever);
    let other = subject.find(&actor);
    actor.release().unwrap();
    other.kill().unwrap();
    actor.process.clone()
}

pub(crate) fn kind<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.expect_err("it must fail").kind()
}

fn each_signal(process: &Process, expected: ErrorKind) {
    assert_eq!(kind(process.signal(Signal::TERM)), expected);
    assert_eq!(kind(process.kill()), expected);
}

fn each_wait(process: &Process, expected: ErrorKind) {
    assert_eq!(kind(process.wait()), expected);
    assert_eq!(kind(process.try_wait()), expected);
    assert_eq!(kind(process.wait_timeout(Duration::from_secs(1))), expected);
}

fn signal_running(subject: &Subject) {
    for signal in [Signal::TERM, Signal::KILL, Signal::USR1, Signal::RTMIN] {
        let actor = subject.act(Act::Forever);
        actor.signal(signal).unwrap();
        assert_eq!(actor.wait().unwrap().signal(), Some(signal.as_raw()));
    }
}

fn signal_handled(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::USR2, 9));
    actor.signal(Signal::USR2).unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(9));
}

fn signal_ignored(subject: &Subject) {
    let actor = subject.act(Act::Shrug(Signal::TERM));
    actor.signal(Signal::TERM).unwrap();
    assert_eq!(actor.try_wait().unwrap(), None);
    actor.kill().unwrap();
    assert_eq!(actor.wait().unwrap().signal(), Some(9));
}

/// The backend's own object, which looks without reaping, tells when it is a zombie.
pub(crate) fn until_zombie(subject: &Subject, pid: Pid) {
    until_exited(&*subject.backend.find(pid).unwrap());
}

/// `EINTR` is the caller's to deal with, if the program handles signals.
fn until_exited(process: &dyn BackendProcess) -> Exit {
    loop {
        match process.wait_exited(None) {
            Err(error) if error.errno() == Some(Errno::INTR) => {}
            answer => return answer.unwrap().unwrap(),
        }
    }
}

fn signal_zombie(subject: &Subject) {
    let actor = subject.act(Act::Exit(3));
    until_zombie(subject, actor.pid());
    actor.signal(Signal::TERM).unwrap();
    actor.kill().unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(3));
}

fn reap_behind(subject: &Subject, process: &Process) {
    (subject.reap_behind.as_ref().unwrap())(process.pid());
}

/// Each wait of a handle whose status somebody else has collected.
pub(crate) fn each_wait_is_lost(subject: &Subject, process: &Process, code: i32) {
    if !subject.tells_lost_status {
        return each_wait(process, ErrorKind::NoChild);
    }
    assert_eq!(process.wait().unwrap().code(), Some(code));
    assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(code));
    assert_eq!(process.wait_timeout(Duration::from_secs(1)).unwrap().unwrap().code(), Some(code));
}

fn signal_gone(subject: &Subject) {
    let actor = subject.act(Act::Exit(5));
    let found = subject.find(&actor);
    reap_behind(subject, &actor);
    each_signal(&actor, ErrorKind::ProcessDone);
    each_wait_is_lost(subject, &actor, 5);
    each_signal(&actor, ErrorKind::ProcessDone);
    each_signal(&found, ErrorKind::ProcessDone);
    each_wait_is_lost(subject, &found, 5);
}

fn wait_told(subject: &Subject) {
    let actor = subject.act(Act::Exit(6));
    let found = subject.find(&actor);
    reap_behind(subject, &actor);
    for process in [&actor.process, &found] {
        each_wait_is_lost(subject, process, 6);
        assert_eq!(process.status().unwrap().code(), Some(6));
        assert_eq!(process.exit().unwrap().pid, actor.pid());
        each_signal(process, ErrorKind::ProcessDone);
        process.release().unwrap();
        each_wait_is_lost(subject, process, 6);
    }
}

fn gone_child(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(21));
    assert_eq!(actor.wait_gone_timeout(Duration::from_millis(2)).unwrap(), None);
    actor.close_stdin();
    let gone = actor.wait_gone().unwrap();
    assert_eq!(gone.status().expect("told, or else NoChild").code(), Some(21));
    assert_eq!(actor.wait_gone_timeout(Duration::ZERO).unwrap(), Some(gone));
    assert_eq!(actor.wait().unwrap().code(), Some(21));
    assert_eq!(gone.to_string(), actor.wait().unwrap().to_string());
}

fn gone_foreign(subject: &Subject) {
    let pid = (subject.foreigner.as_ref().unwrap())(());
    let process = Process::find(&subject.backend, pid).unwrap();
    assert_eq!(process.wait_gone_timeout(Duration::from_millis(2)).unwrap(), None);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| process.wait_gone().unwrap());
        process.kill().unwrap();
        let gone = waiter.join().unwrap();
        match gone.status() {
            Some(status) => assert_eq!(status.signal(), Some(9)),
            None => assert_eq!(gone.to_string(), "ended, status unknown"),
        }
        assert_eq!(gone.status().is_some(), subject.tells_lost_status);
        assert_eq!(process.wait_gone().unwrap(), gone);
    });
    each_signal(&process, ErrorKind::ProcessDone);
}

fn gone_over(subject: &Subject) {
    assert_eq!(done(subject).wait_gone().unwrap().status().unwrap().code(), Some(7));
    assert_eq!(kind(released(subject).wait_gone()), ErrorKind::Released);
    assert_eq!(done(subject).wait_exited().unwrap().status().unwrap().code(), Some(7));
    assert_eq!(kind(released(subject).wait_exited()), ErrorKind::Released);
}

fn exited_child(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(22));
    assert_eq!(actor.wait_exited_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(actor.wait_exited_timeout(Duration::from_millis(2)).unwrap(), None);
    actor.close_stdin();
    assert_eq!(actor.wait_exited().unwrap().status().expect("told, or else NoChild").code(), Some(22));
    assert_eq!(actor.exit().unwrap().status.code(), Some(22));
}

fn exited_foreign(subject: &Subject) {
    let pid = (subject.foreigner.as_ref().unwrap())(());
    let process = Process::find(&subject.backend, pid).unwrap();
    assert_eq!(process.wait_exited_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(process.wait_exited_timeout(Duration::from_millis(2)).unwrap(), None);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| process.wait_exited().unwrap());
        process.kill().unwrap();
        // Known, if its parent was quick.
        assert!(waiter.join().unwrap().status().is_none_or(|status| status.signal() == Some(9)));
    });
    assert!(process.wait_exited_timeout(Duration::ZERO).unwrap().is_some());
    process.wait_gone().unwrap();
}

fn wait_running(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::TERM, 42));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| actor.wait().unwrap());
        actor.signal(Signal::TERM).unwrap();
        assert_eq!(waiter.join().unwrap().code(), Some(42));
    });
    let exit = actor.exit().unwrap();
    assert_eq!((exit.pid, exit.status.code()), (actor.pid(), Some(42)));
    assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
}

fn wait_stopped(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    actor.signal(Signal::STOP).unwrap();
    assert_eq!(actor.wait_timeout(Duration::from_millis(20)).unwrap(), None);
    actor.signal(Signal::CONT).unwrap();
    assert_eq!(actor.try_wait().unwrap(), None);
    actor.kill().unwrap();
    assert_eq!(actor.wait().unwrap().signal(), Some(9));
}

fn wait_done(subject: &Subject) {
    let process = done(subject);
    for _ in 0..3 {
        assert_eq!(process.wait().unwrap().code(), Some(7));
        assert_eq!(process.try_wait().unwrap().unwrap().code(), Some(7));
        assert_eq!(process.clone().wait_timeout(Duration::ZERO).unwrap().unwrap().code(), Some(7));
        assert_eq!(process.status().unwrap().code(), Some(7));
    }
}

fn wait_lost(subject: &Subject) {
    let actor = subject.act(Act::Exit(0));
    reap_behind(subject, &actor);
    each_wait(&actor, ErrorKind::NoChild);
    assert_eq!(actor.wait().unwrap_err().errno(), Some(Errno::CHILD));
    assert_eq!(actor.status(), None);
    // Its number may be anybody's by now.
    each_signal(&actor, ErrorKind::ProcessDone);
    actor.release().unwrap();
    each_wait(&actor, ErrorKind::NoChild);
}

fn wait_foreign(subject: &Subject) {
    let pid = (subject.foreigner.as_ref().unwrap())(());
    let process = Process::find(&subject.backend, pid).unwrap();
    each_wait(&process, ErrorKind::NoChild);
    process.signal(Signal::CONT).unwrap();
    process.kill().unwrap();
    subject.wait_until_gone(pid);
    each_signal(&process, ErrorKind::ProcessDone);
    if !subject.tells_lost_status {
        each_wait(&process, ErrorKind::NoChild);
    }
}

fn try_wait_running(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(5));
    assert_eq!(actor.try_wait().unwrap(), None);
    assert_eq!((actor.status(), actor.exit()), (None, None));
    actor.close_stdin();
    assert_eq!(actor.wait().unwrap().code(), Some(5));
}

fn wait_timeout(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(6));
    assert_eq!(actor.wait_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(actor.wait_timeout(Duration::from_nanos(1)).unwrap(), None);
    assert_eq!(actor.wait_timeout(Duration::from_millis(3)).unwrap(), None);
    actor.close_stdin();
    assert_eq!(actor.wait_timeout(Duration::MAX).unwrap().unwrap().code(), Some(6));
    let zombie = subject.act(Act::Exit(1));
    until_zombie(subject, zombie.pid());
    assert_eq!(zombie.wait_timeout(Duration::ZERO).unwrap().unwrap().code(), Some(1));
}

fn with_handle_running(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let duplicate = actor.with_handle(|fd| fd.try_clone_to_owned()).unwrap().unwrap();
    // What is lent outlives a release by another thread, until the closure returns.
    actor
        .with_handle(|fd| {
            let other = subject.find(&actor);
            actor.release().unwrap();
            other.kill().unwrap();
            fd.try_clone_to_owned().unwrap()
        })
        .unwrap();
    assert!(duplicate.as_fd().try_clone_to_owned().is_ok());
}

fn with_handle_none(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    with_handle(&actor, ErrorKind::NoHandle);
}

fn with_handle(process: &Process, expected: ErrorKind) {
    let mut called = false;
    assert_eq!(kind(process.with_handle(|_| called = true)), expected);
    assert!(!called);
}

fn release_running(subject: &Subject) {
    let process = released(subject);
    process.release().unwrap();
    each_signal(&process, ErrorKind::Released);
    each_wait(&process, ErrorKind::Released);
    assert_eq!((process.status(), process.exit()), (None, None));
    // A child of ours all the same: it must not stay a zombie.
    subject.wait_until_gone(process.pid());
}

fn release_done(subject: &Subject) {
    let process = done(subject);
    process.release().unwrap();
    process.release().unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(7));
    each_signal(&process, ErrorKind::ProcessDone);
}

fn find_missing(subject: &Subject) {
    // No system lets it be reached: it is one below the largest `pid_max` that can be set.
    let error = Process::find(&subject.backend, Pid::MAX).unwrap_err();
    assert!(matches!(error, Error::ProcessDone { pid } if pid == Pid::MAX), "{error:?}");
    assert!(error.to_string().contains("4194303"), "{error}");
}

fn find_own(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::TERM, 8));
    let found = subject.find(&actor);
    assert_eq!(found.pid(), actor.pid());
    found.signal(Signal::TERM).unwrap();
    assert_eq!(found.wait().unwrap().code(), Some(8));
    assert_eq!(found.wait().unwrap().code(), Some(8));
    // The two handles share no state: to the other one, somebody else has taken the status.
    each_wait_is_lost(subject, &actor, 8);
}

fn find_zombie(subject: &Subject) {
    let actor = subject.act(Act::Exit(2));
    until_zombie(subject, actor.pid());
    let found = subject.find(&actor);
    found.kill().unwrap();
    assert_eq!(found.try_wait().unwrap().unwrap().code(), Some(2));
}

fn spawn_missing(subject: &Subject) {
    for program in ["/no/such/program", "no-such-program-anywhere"] {
        // Not whatever PATH there is: a directory in it that may not be searched gives EACCES, as execvp(3) has it.
        let plan = Plan::builder(program).env(vec![("PATH".into(), "/bin:/usr/bin".into())]).build().unwrap();
        let error = Process::spawn(&subject.backend, &plan).map(|(process, ..)| process).unwrap_err();
        assert!(matches!(&error, Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }), "{error:?}");
        assert!(error.to_string().contains(program), "{error}");
    }
}

fn run(subject: &Subject) {
    for code in [0, 7, 255] {
        let plan = Plan::builder(&subject.actor).args(Act::Exit(code).to_args()).build().unwrap();
        let exit = Process::run(&subject.backend, &plan).unwrap();
        assert_eq!(exit.status.code(), Some(code.into()));
        assert_eq!(kind(Process::find(&subject.backend, exit.pid)), ErrorKind::ProcessDone);
    }
    // Its stdin is closed first, so it ends.
    let plan = Plan::builder(&subject.actor).args(Act::UntilEof(3).to_args()).stdin(PlanStdio::Piped).stdout(PlanStdio::Piped);
    assert_eq!(Process::run(&subject.backend, &plan.build().unwrap()).unwrap().status.code(), Some(3));
}

fn reap_twice(subject: &Subject) {
    let actor = subject.act(Act::Exit(4));
    let found = subject.backend.find(actor.pid()).unwrap();
    assert_eq!(until_exited(&*found).status.code(), Some(4));
    assert_eq!(until_exited(&*found).status.code(), Some(4));
    assert_eq!(found.reap().unwrap().unwrap().status.code(), Some(4));
    assert_eq!(found.reap().unwrap_err().errno(), Some(Errno::CHILD));
}
