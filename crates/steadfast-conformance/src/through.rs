//! What a handle is made from beside a PID, and what is done through it beside `signal` and `wait`.

use crate::contract::{can_reap_behind, done, kind, released, until_zombie};
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::{Act, Subject};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use steadfast_core::{ByNumber, Error, ErrorKind, FdIs, Pid, Process, Result, Signal};

pub(crate) const PROMISES: &[Promise] = &[
    promise("signal_value: running: it is delivered", value_running),
    promise("signal_value: zombie: it is taken", value_zombie),
    promise("signal_value: done: ProcessDone", |s| assert_eq!(kind(value(&done(s))), ErrorKind::ProcessDone)),
    promise("signal_value: released: Released", |s| assert_eq!(kind(value(&released(s))), ErrorKind::Released)),
    promise("may_signal: running and zombie: true, and nothing is sent", may_running),
    promise("may_signal: done: ProcessDone", |s| assert_eq!(kind(done(s).may_signal()), ErrorKind::ProcessDone)),
    promise("may_signal: released: Released", |s| assert_eq!(kind(released(s).may_signal()), ErrorKind::Released)),
    promise_if("signal_value, may_signal: gone behind our back: ProcessDone", can_reap_behind, gone_behind),
    promise_if("find_by_fd: the pidfd of a process: the same process", has_pidfds, by_pidfd),
    promise_if("find_by_fd: the pidfd of a process that was reaped: done, and no PID", has_pidfds, by_pidfd_reaped),
    promise_if("find_by_fd: no pidfd: NotAProcess, with what it is", has_pidfds, by_no_pidfd),
    promise_if("find_by_fd: without pidfds: Unsupported", has_no_pidfds, by_nothing),
    promise_if("by number: read: the number is its own; done, released", is_real, reads),
    promise_if("by number: change: a child's at once, a found one's by choice", is_real, changes),
    promise_if("by number: simulated: Unsupported, and no call is made", is_simulated, no_number),
];

fn has_pidfds(subject: &Subject) -> Skip {
    Skip::unable_unless(subject.backend.info().lends_handle, "the backend has no pidfds")
}

fn has_no_pidfds(subject: &Subject) -> Skip {
    Skip::unable_unless(!subject.backend.info().lends_handle, "the backend has pidfds")
}

fn is_real(subject: &Subject) -> Skip {
    Skip::unable_unless(subject.backend.info().real, "the numbers of its processes are none of the kernel's")
}

fn is_simulated(subject: &Subject) -> Skip {
    Skip::unable_unless(!subject.backend.info().real, "its processes are real ones")
}

fn value(process: &Process) -> Result<()> {
    process.signal_value(Signal::TERM, 7)
}

fn value_running(subject: &Subject) {
    for signal in [Signal::TERM, Signal::KILL, Signal::RTMIN] {
        let actor = subject.act(Act::Forever);
        actor.signal_value(signal, -1).unwrap();
        assert_eq!(actor.wait().unwrap().signal(), Some(signal.as_raw()));
    }
    let actor = subject.act(Act::ExitOn(Signal::USR2, 9));
    subject.find(&actor).signal_value(Signal::USR2, i32::MAX).unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(9));
}

fn value_zombie(subject: &Subject) {
    let actor = subject.act(Act::Exit(3));
    until_zombie(subject, actor.pid());
    value(&actor).unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(3));
}

fn may_running(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    assert!(actor.may_signal().unwrap() && subject.find(&actor).may_signal().unwrap());
    assert_eq!(actor.try_wait().unwrap(), None);
    let exits = subject.act(Act::Exit(4));
    until_zombie(subject, exits.pid());
    assert!(exits.may_signal().unwrap());
    assert_eq!(exits.wait().unwrap().code(), Some(4));
}

fn gone_behind(subject: &Subject) {
    let (one, other) = (subject.act(Act::Exit(5)), subject.act(Act::Exit(5)));
    let found = [subject.find(&one), subject.find(&other)];
    let reap = subject.reap_behind.as_ref().unwrap();
    reap(one.pid());
    reap(other.pid());
    for process in [&one.process, &found[0]] {
        assert_eq!(kind(value(process)), ErrorKind::ProcessDone);
        assert_eq!(kind(process.may_signal()), ErrorKind::ProcessDone);
    }
    for process in [&other.process, &found[1]] {
        assert_eq!(kind(process.may_signal()), ErrorKind::ProcessDone);
        assert_eq!(kind(value(process)), ErrorKind::ProcessDone);
    }
}

/// The pidfd of a process, as somebody else would get it.
fn pidfd(process: &Process) -> OwnedFd {
    process.with_handle(|pidfd| pidfd.try_clone_to_owned()).unwrap().unwrap()
}

fn by_fd(subject: &Subject, fd: impl Into<OwnedFd>) -> Result<Process> {
    Process::find_by_fd(&subject.backend, fd.into())
}

fn not_a_process() -> OwnedFd {
    UnixStream::pair().expect("a pair of sockets").0.into()
}

fn by_pidfd(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let found = by_fd(subject, pidfd(&actor)).unwrap();
    assert_eq!((found.pid(), found.is_running(), found.try_wait().unwrap()), (actor.pid(), true, None));
    found.signal(Signal::USR1).unwrap();
    assert_eq!(actor.wait().unwrap().signal(), Some(Signal::USR1.as_raw()));
    assert_eq!(kind(found.kill()), ErrorKind::ProcessDone);
    // A zombie is there; and who waits by such a handle reaps, if it is a child.
    let exits = subject.act(Act::Exit(6));
    until_zombie(subject, exits.pid());
    let found = by_fd(subject, pidfd(&exits)).unwrap();
    assert_eq!((found.pid(), found.may_signal().unwrap()), (exits.pid(), true));
    assert_eq!(found.wait().unwrap().code(), Some(6));
}

fn by_pidfd_reaped(subject: &Subject) {
    let actor = subject.act(Act::Exit(7));
    let pidfd = pidfd(&actor);
    actor.wait().unwrap();
    let found = by_fd(subject, pidfd).unwrap();
    assert_eq!((found.pid(), found.is_running()), (Pid::UNKNOWN, false));
    assert_eq!(kind(found.kill()), ErrorKind::ProcessDone);
    assert_eq!(kind(found.with_handle(|_| ())), ErrorKind::ProcessDone);
    match found.wait() {
        Ok(status) if subject.tells_lost_status => assert_eq!(status.code(), Some(7)),
        answer => assert_eq!((kind(answer), subject.tells_lost_status), (ErrorKind::NoChild, false)),
    }
}

fn by_no_pidfd(subject: &Subject) {
    let reads = not_a_process();
    let number = reads.as_raw_fd();
    match by_fd(subject, reads) {
        Err(error @ Error::NotAProcess { fd, found: FdIs::Other { .. } }) if fd == number => {
            assert_eq!(error.kind(), ErrorKind::NotAProcess);
            assert!(error.to_string().contains("a socket"), "{error}");
        }
        answer => panic!("{answer:?}"),
    }
}

fn by_nothing(subject: &Subject) {
    let reads = not_a_process();
    assert_eq!(kind(by_fd(subject, reads)), ErrorKind::Unsupported);
}

fn reads(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    for process in [&actor.process, &subject.find(&actor)] {
        assert_eq!(process.read_by_number(Ok).unwrap(), actor.pid());
        let refused = || Error::InvalidPid { given: "of the act".into() };
        assert_eq!(kind(process.read_by_number(|_| Err::<(), _>(refused()))), ErrorKind::InvalidInput);
    }
    let never = |_| -> Result<()> { panic!("no call is made with its number") };
    assert_eq!(kind(done(subject).read_by_number(never)), ErrorKind::ProcessDone);
    assert_eq!(kind(released(subject).read_by_number(never)), ErrorKind::Released);
}

fn changes(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let mut numbers = Vec::new();
    let mut change = |process: &Process, by| {
        process.change_by_number("a call", by, |pid| {
            numbers.push(pid);
            Ok(())
        })
    };
    change(&actor, ByNumber::IfPinned).unwrap();
    let found = subject.find(&actor);
    let error = change(&found, ByNumber::IfPinned).unwrap_err();
    assert!(matches!(error, Error::NotPinned { call: "a call", pid } if pid == actor.pid()), "{error}");
    change(&found, ByNumber::EvenIfReaped).unwrap();
    assert_eq!(kind(change(&done(subject), ByNumber::EvenIfReaped)), ErrorKind::ProcessDone);
    assert_eq!(kind(change(&released(subject), ByNumber::EvenIfReaped)), ErrorKind::Released);
    assert_eq!(numbers, [actor.pid(); 2]);
}

fn no_number(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let never = |_| -> Result<()> { panic!("no call is made with its number") };
    assert_eq!(kind(actor.read_by_number(never)), ErrorKind::Unsupported);
    assert_eq!(kind(actor.change_by_number("a call", ByNumber::EvenIfReaped, never)), ErrorKind::Unsupported);
}
