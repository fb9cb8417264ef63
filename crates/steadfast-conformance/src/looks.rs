//! Looks at a process: what it is, and never what another one is.

use crate::contract::{done, kind, released, until_zombie};
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::races::can_recycle;
use crate::subject::Actor;
use crate::{Act, Kin, Subject};
use std::time::Duration;
use steadfast_core::{BackendLook, ErrorKind, Pid, Process, RunState};

pub(crate) const PROMISES: &[Promise] = &[
    promise_if(
        "look: what it is called, what it was told, whose child it is, and whose children are its own",
        has_looks,
        running,
    ),
    promise_if("look: zombie: it is seen, as one", has_looks, zombie),
    promise("look: done: ProcessDone", |s| assert_eq!(kind(done(s).inspect().map(drop)), ErrorKind::ProcessDone)),
    promise("look: released: Released", |s| assert_eq!(kind(released(s).inspect().map(drop)), ErrorKind::Released)),
    promise_if("look: begun before the reap: nothing is seen any more", has_looks, reaped),
    promise_if("look: begun before the reap: nobody is seen who has the number", has_looks_and_recycles, recycled),
    promise_if("list: who lives is on it, who was waited for is not", has_looks, listed),
];

fn has_looks(subject: &Subject) -> Skip {
    let has_files = !subject.backend.info().real || std::path::Path::new("/proc/self").exists();
    match subject.backend.list() {
        Err(error) if error.kind() == ErrorKind::Unsupported => Skip::Because("the backend has no looks at processes"),
        _ => Skip::unless(has_files, "there is no /proc here, through which processes are looked at"),
    }
}

fn has_looks_and_recycles(subject: &Subject) -> Skip {
    has_looks(subject).or(|| can_recycle(subject))
}

/// Every field fails, for the reason that it is gone.
fn sees_nothing(look: &dyn BackendLook) {
    for error in [look.facts().unwrap_err(), look.arguments().unwrap_err(), look.children().unwrap_err()] {
        let is_gone = error.errno() == Some(steadfast_core::Errno::SRCH) || error.kind() == ErrorKind::ProcessDone;
        assert!(is_gone, "{error:?}");
    }
}

/// Its child ends with its input, and is seen to have ended: so it is no orphan that lives when the actor is gone.
pub(crate) fn end_children(subject: &Subject, actor: &mut Actor) {
    let children = actor.inspect().unwrap().children().unwrap();
    actor.close_stdin();
    let clock = subject.backend.clock();
    for child in children {
        let look = Process::find(&subject.backend, child).and_then(|child| child.inspect());
        while look.as_ref().is_ok_and(|look| look.facts().is_ok_and(|facts| facts.state != RunState::Zombie)) {
            clock.sleep_until(clock.now() + Duration::from_micros(100));
        }
    }
}

fn running(subject: &Subject) {
    let mut actor = subject.act(Act::Beget(Kin::Child));
    for process in [subject.find(&actor), actor.clone()] {
        let look = process.inspect().unwrap();
        let facts = look.facts().unwrap();
        // 15 bytes of it.
        let name = facts.name.to_str().unwrap();
        let program = subject.actor.to_str().and_then(|path| path.rsplit('/').next()).unwrap();
        assert!(!name.is_empty() && program.starts_with(name), "{name} is not {program}");
        assert!(matches!(facts.state, RunState::Sleeping | RunState::Running), "{facts:?}");
        assert_eq!((facts.threads, look.facts().unwrap().started), (1, facts.started));
        let own = subject.backend.info().real.then(|| Pid::new(std::process::id() as i32).unwrap());
        assert_eq!(facts.parent, own);
        let words = look.arguments().unwrap();
        assert_eq!(words[1..], Act::Beget(Kin::Child).to_args());
        let children = look.children().unwrap();
        assert_eq!(children.len(), 1, "{children:?}");
        let child = Process::find(&subject.backend, children[0]).unwrap().inspect().unwrap();
        assert_eq!(child.facts().unwrap().parent, Some(actor.pid()));
        assert_eq!(child.facts().unwrap().group, facts.group);
        assert_eq!(look.directory().is_some(), subject.backend.info().real);
    }
    end_children(subject, &mut actor);
}

fn zombie(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(3));
    let look = actor.inspect().unwrap();
    let started = look.facts().unwrap().started;
    actor.close_stdin();
    until_zombie(subject, actor.pid());
    match actor.inspect() {
        Ok(later) => {
            for look in [&look, &later] {
                let facts = look.facts().unwrap();
                assert_eq!((facts.state, facts.started), (RunState::Zombie, started));
                assert_eq!(look.arguments().unwrap().len(), 0);
            }
        }
        // Where a look at the number can only be a wait4(2), that has collected it: then there is nobody to be seen.
        Err(error) => {
            assert!(error.kind() == ErrorKind::ProcessDone && !subject.backend.info().lends_handle, "{error:?}");
            sees_nothing(&*look);
        }
    }
    assert_eq!(actor.wait().unwrap().code(), Some(3));
}

fn reaped(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let found = subject.find(&actor);
    let looks = [actor.inspect().unwrap(), found.inspect().unwrap()];
    actor.kill().unwrap();
    actor.wait().unwrap();
    looks.iter().for_each(|look| sees_nothing(&**look));
    assert_eq!(kind(found.inspect().map(drop)), ErrorKind::ProcessDone);
}

fn recycled(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let look = actor.inspect().unwrap();
    actor.kill().unwrap();
    actor.wait().unwrap();
    let mut stranger = subject.act_as(actor.pid(), Act::Beget(Kin::Child));
    sees_nothing(&*look);
    assert_eq!(stranger.inspect().unwrap().children().unwrap().len(), 1);
    end_children(subject, &mut stranger);
}

fn listed(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let list = subject.backend.list().unwrap();
    assert!(list.contains(&actor.pid()) && list.is_sorted(), "{list:?}");
    actor.kill().unwrap();
    actor.wait().unwrap();
    // Nobody else takes the number in a simulation, and here hardly.
    if !subject.backend.info().real {
        assert!(!subject.backend.list().unwrap().contains(&actor.pid()));
    }
}
