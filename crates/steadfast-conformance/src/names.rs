//! Names: an identity that was stored leads to the process that was named, or says why not, and never to another one.

use crate::contract::{can_reap_behind, has_foreigner, kind, until_zombie};
use crate::promise::{Promise, Skip, promise_if};
use crate::races::can_recycle;
use crate::{Act, Subject};
use std::os::unix::process::ExitStatusExt;
use steadfast_core::{BootId, Errno, Error, ErrorKind, Identity, Process, Reopened, Signal};

pub(crate) const PROMISES: &[Promise] = &[
    promise_if("identity: its text comes back the same, and no other process has it", has_names, text),
    promise_if("identity: two handles of one process name one life", has_names, two_handles),
    promise_if("identity: done and released", has_names, identity_over),
    promise_if("identity: a zombie has one", has_names, identity_of_zombie),
    promise_if("identity: gone behind our back: ProcessDone", has_names_and_reaper, identity_gone),
    promise_if("reopen: running: Same, and its handle acts on it", has_names, running),
    promise_if("reopen: named at once after its start: Same", has_names, new_born),
    promise_if("reopen: a zombie: Same, and it has exited", has_names, zombie),
    promise_if("reopen: reaped: Gone", has_names, reaped),
    promise_if("reopen: a recycled PID: Gone, and no stranger is hit", has_names_and_recycles, recycled),
    promise_if("reopen: not our child: Same, and it can be signalled", has_names_and_foreigner, foreign),
    promise_if("reopen: another boot: OtherBoot, whoever has the PID", has_names, other_boot),
    promise_if("reopen: another PID namespace: OtherNamespace", has_names, other_namespace),
];

/// Whether processes can be named at all: without `/proc`, not on Linux.
fn has_names(subject: &Subject) -> Skip {
    let actor = subject.act(Act::Forever);
    match actor.identity() {
        Err(error) if error.kind() == ErrorKind::UnknownIdentity || is_hidden(error.errno()) => {
            Skip::Because("no process can be named here")
        }
        // A failure of any other kind is the promises' to find.
        _ => Skip::No,
    }
}

/// As `/proc` says it where it is not mounted, or is closed.
fn is_hidden(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::NOENT | Errno::ACCES | Errno::PERM))
}

fn has_names_and_reaper(subject: &Subject) -> Skip {
    has_names(subject).or(|| can_reap_behind(subject))
}

fn has_names_and_recycles(subject: &Subject) -> Skip {
    has_names(subject).or(|| can_recycle(subject))
}

fn has_names_and_foreigner(subject: &Subject) -> Skip {
    has_names(subject).or(|| has_foreigner(subject))
}

/// What a name means now, to somebody who has read it.
fn reopen(subject: &Subject, identity: &Identity) -> Reopened<Process> {
    let stored = identity.to_string();
    Process::reopen(&subject.backend, &stored.parse().expect("its own text"))
}

fn same(subject: &Subject, identity: &Identity) -> (Process, bool) {
    match reopen(subject, identity) {
        Reopened::Same { process, has_exited } => (process, has_exited),
        // Beside code that reaps it may be so.
        Reopened::Gone => panic!("{identity}: {}", Error::ProcessDone { pid: identity.pid() }),
        other => panic!("{identity}: {other:?}"),
    }
}

/// Where a look at the number can only be a wait4(2), that has collected a zombie, and it is gone.
fn is_collected(subject: &Subject, zombie: &Process) -> bool {
    let is_gone = || zombie.inspect().is_err_and(|error| error.kind() == ErrorKind::ProcessDone);
    !subject.backend.info().lends_handle && is_gone()
}

fn is_gone(subject: &Subject, identity: &Identity) {
    let answer = reopen(subject, identity);
    assert!(matches!(answer, Reopened::Gone), "{identity}: {answer:?}");
}

fn text(subject: &Subject) {
    let (one, two) = (subject.act(Act::Forever), subject.act(Act::Forever));
    let (one_name, two_name) = (one.identity().unwrap(), two.identity().unwrap());
    for (actor, identity) in [(&one, &one_name), (&two, &two_name)] {
        let text = identity.to_string();
        assert_eq!(text.parse::<Identity>().unwrap(), *identity);
        assert_eq!(identity.pid(), actor.pid());
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') && text.len() <= 113, "{text}");
    }
    assert_ne!(one_name, two_name);
    assert_eq!(one_name.is_same_life(&two_name), Some(false));
}

fn two_handles(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let found = subject.find(&actor);
    // The first one may have been made in the tick of the start, so that its start time is not exact yet.
    let (one, two) = (actor.identity().unwrap(), found.identity().unwrap());
    assert_eq!(one.is_same_life(&two), Some(true), "{one} {two}");
}

fn identity_over(subject: &Subject) {
    let done = subject.act(Act::Exit(0));
    done.wait().unwrap();
    assert_eq!(kind(done.identity()), ErrorKind::ProcessDone);
    let released = subject.act(Act::Forever);
    released.release().unwrap();
    assert_eq!(kind(released.identity()), ErrorKind::Released);
}

fn identity_of_zombie(subject: &Subject) {
    let actor = subject.act(Act::Exit(5));
    until_zombie(subject, actor.pid());
    match actor.identity() {
        Ok(identity) => assert_eq!(identity.pid(), actor.pid()),
        // Where a look at the number can only be a wait4(2), that has collected it, and its start time with it.
        Err(error) => {
            assert!(error.kind() == ErrorKind::UnknownIdentity && is_collected(subject, &actor), "{error:?}");
        }
    }
    assert_eq!(actor.wait().unwrap().code(), Some(5));
}

fn identity_gone(subject: &Subject) {
    let actor = subject.act(Act::Exit(0));
    subject.reap_behind.as_ref().expect("the promise needs it")(actor.pid());
    assert_eq!(kind(actor.identity()), ErrorKind::ProcessDone);
}

fn running(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::USR2, 9));
    let (process, has_exited) = same(subject, &actor.identity().unwrap());
    assert!(!has_exited);
    assert_eq!(process.pid(), actor.pid());
    process.signal(Signal::USR2).unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(9));
    assert_eq!(kind(process.kill()), ErrorKind::ProcessDone);
}

fn new_born(subject: &Subject) {
    for _ in 0..20 {
        let (process, _pipes, _) = Process::spawn(&subject.backend, &subject.plan(Act::Forever)).unwrap();
        let identity = process.identity().unwrap();
        let (again, has_exited) = same(subject, &identity);
        assert!(!has_exited);
        again.kill().unwrap();
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        is_gone(subject, &identity);
    }
}

fn zombie(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(4));
    let identity = actor.identity().unwrap();
    actor.close_stdin();
    until_zombie(subject, actor.pid());
    if !is_collected(subject, &actor) {
        let (process, has_exited) = same(subject, &identity);
        assert!(has_exited);
        process.kill().unwrap();
    }
    assert_eq!(actor.wait().unwrap().code(), Some(4));
    is_gone(subject, &identity);
}

fn reaped(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let identity = actor.identity().unwrap();
    // One handle that is still there changes nothing.
    let found = subject.find(&actor);
    actor.kill().unwrap();
    actor.wait().unwrap();
    is_gone(subject, &identity);
    drop(found);
    is_gone(subject, &identity);
}

fn recycled(subject: &Subject) {
    for _ in 0..30 {
        let (process, _pipes, _) = Process::spawn(&subject.backend, &subject.plan(Act::Forever)).unwrap();
        let identity = process.identity().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        let stranger = subject.act_as(identity.pid(), Act::Forever);
        is_gone(subject, &identity);
        assert_eq!(stranger.try_wait().unwrap(), None, "a stranger was hit");
    }
}

fn foreign(subject: &Subject) {
    let pid = subject.foreigner.as_ref().expect("the promise needs it")(());
    let found = Process::find(&subject.backend, pid).unwrap();
    let identity = found.identity().unwrap();
    let (process, has_exited) = same(subject, &identity);
    assert!(!has_exited);
    assert_eq!(kind(process.wait()), ErrorKind::NoChild);
    process.kill().unwrap();
    found.wait_gone().unwrap();
    is_gone(subject, &identity);
}

fn other_boot(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let identity = actor.identity().unwrap();
    let before = Identity::new(BootId::from_bytes([0xa5; 16]), identity.namespace(), identity.pid(), identity.evidence());
    let answer = reopen(subject, &before);
    assert!(matches!(answer, Reopened::OtherBoot), "{answer:?}");
    assert_eq!(identity.is_same_life(&before), Some(false));
}

fn other_namespace(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let identity = actor.identity().unwrap();
    let apart = Identity::new(identity.boot(), identity.namespace() + 1, identity.pid(), identity.evidence());
    let answer = reopen(subject, &apart);
    assert!(matches!(answer, Reopened::OtherNamespace), "{answer:?}");
}
