//! Being told of an exit, and of what other threads do with a handle.

use crate::contract::{has_foreigner, kind, until_zombie};
use crate::jobs::{each, has_jobs, job_by};
use crate::promise::{Promise, promise, promise_if};
use crate::{Act, Subject};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steadfast_core::sync::Bell;
use steadfast_core::{ErrorKind, Process, Signal, Until, Watcher};

pub(crate) const PROMISES: &[Promise] = &[
    promise("watch_end: told when it can be waited for, and not before", told_of_exit),
    promise("watch_end: a zombie, a handle that is done or released: told at once", told_at_once),
    promise("watch_end: each of many watchers is told once", told_once_each),
    promise("watch_end: dropped handles are told nothing, and nothing is left", told_nothing),
    promise("watch: told when another thread has waited or released", told_of_others),
    promise("unwatch: not told", not_told),
    promise_if("watch_end: not our child: told when it has exited, and when it is gone", has_foreigner, told_of_foreign),
    promise_if(
        "job: its end is told to who does not own it: dropped, it is killed; detached, it lives on",
        has_jobs,
        told_of_job,
    ),
];

/// Keeps what it is told.
struct Ear {
    heard: Mutex<Vec<u64>>,
    bell: Bell,
}

impl Watcher for Ear {
    fn notify(&self, token: u64) {
        self.heard.lock().unwrap().push(token);
        self.bell.ring();
    }
}

impl Ear {
    fn new(subject: &Subject) -> (Arc<Ear>, Arc<dyn Watcher>) {
        let ear = Arc::new(Ear { heard: Mutex::default(), bell: Bell::new(subject.backend.clock().scheduler()) });
        (Arc::clone(&ear), ear)
    }

    fn heard(&self) -> Vec<u64> {
        let mut heard = self.heard.lock().unwrap().clone();
        heard.sort_unstable();
        heard
    }

    /// Waits until it was told so often.
    fn until(&self, times: u64) {
        assert!(self.bell.wait(times - 1, Some(Duration::from_secs(60))), "told of {:?} only", self.heard());
    }
}

fn told_of_exit(subject: &Subject) {
    for _ in 0..20 {
        let (ear, watcher) = Ear::new(subject);
        let mut actor = subject.act(Act::UntilEof(3));
        actor.watch_end(Until::Gone, &watcher, 7).unwrap();
        assert_eq!(ear.heard(), []);
        assert_eq!(actor.try_wait().unwrap(), None);
        actor.close_stdin();
        ear.until(1);
        assert!(actor.is_running(), "being told changes nothing");
        assert_eq!(actor.try_wait().unwrap().unwrap().code(), Some(3));
        assert_eq!(ear.heard(), [7]);
    }
}

fn told_at_once(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let zombie = subject.act(Act::Exit(0));
    until_zombie(subject, zombie.pid());
    zombie.watch_end(Until::Gone, &watcher, 1).unwrap();
    ear.until(1);
    // The backend is asked once; this one core knows.
    zombie.watch_end(Until::Gone, &watcher, 2).unwrap();
    assert_eq!(ear.heard(), [1, 2]);
    zombie.wait().unwrap();
    zombie.watch_end(Until::Gone, &watcher, 3).unwrap();
    zombie.watch(&watcher, 4);
    let released = subject.act(Act::Forever);
    let other = subject.find(&released);
    released.release().unwrap();
    released.watch_end(Until::Gone, &watcher, 5).unwrap();
    released.watch(&watcher, 6);
    assert_eq!(ear.heard(), [1, 2, 3, 4, 5, 6]);
    other.kill().unwrap();
}

fn told_once_each(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let mut actor = subject.act(Act::UntilEof(0));
    let found = subject.find(&actor);
    for token in 0..20 {
        let process: &Process = if token % 2 == 0 { &actor } else { &found };
        process.watch_end(Until::Gone, &watcher, token).unwrap();
    }
    actor.close_stdin();
    ear.until(20);
    actor.wait().unwrap();
    assert_eq!(ear.heard(), (0..20).collect::<Vec<_>>());
}

fn told_nothing(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let mut actor = subject.act(Act::UntilEof(0));
    let done = subject.act(Act::Exit(0));
    done.wait().unwrap();
    let pid = actor.pid();
    let found = subject.find(&actor);
    found.watch_end(Until::Gone, &watcher, 1).unwrap();
    drop(found);
    actor.watch_end(Until::Gone, &watcher, 2).unwrap();
    // Not through `Actor`, which waits.
    drop(std::mem::replace(&mut actor.process, done.process.clone()));
    actor.close_stdin();
    subject.wait_until_gone(pid);
    assert_eq!(ear.heard(), []);
}

fn told_of_others(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let mut actor = subject.act(Act::UntilEof(0));
    actor.watch(&watcher, 1);
    actor.close_stdin();
    actor.wait().unwrap();
    ear.until(1);
    let actor = subject.act(Act::Forever);
    let other = subject.find(&actor);
    actor.watch(&watcher, 2);
    actor.watch_end(Until::Gone, &watcher, 3).unwrap();
    actor.release().unwrap();
    ear.until(3);
    assert_eq!(ear.heard(), [1, 2, 3]);
    other.kill().unwrap();
}

fn not_told(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let (other_ear, other_watcher) = Ear::new(subject);
    let mut actor = subject.act(Act::UntilEof(0));
    for token in [1, 2] {
        actor.watch_end(Until::Gone, &watcher, token).unwrap();
        actor.watch_end(Until::Gone, &other_watcher, token).unwrap();
    }
    actor.unwatch(&watcher, 1);
    actor.unwatch(&other_watcher, 2);
    actor.unwatch(&watcher, 3);
    actor.close_stdin();
    ear.until(1);
    other_ear.until(1);
    actor.wait().unwrap();
    assert_eq!((ear.heard(), other_ear.heard()), (vec![2], vec![1]));
}

fn told_of_foreign(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let pid = (subject.foreigner.as_ref().unwrap())(());
    let process = Process::find(&subject.backend, pid).unwrap();
    process.watch_end(Until::Gone, &watcher, 1).unwrap();
    process.watch_end(Until::Exited, &watcher, 2).unwrap();
    assert_eq!(ear.heard(), []);
    assert!(!process.was_told_of(Until::Exited) && !process.was_told_of(Until::Gone));
    process.kill().unwrap();
    ear.until(2);
    assert_eq!(ear.heard(), [1, 2]);
    assert!(process.was_told_of(Until::Exited) && process.was_told_of(Until::Gone));
    assert_eq!(process.wait_gone().unwrap().status().is_some(), subject.tells_lost_status);
    assert!(!process.is_running());
}

fn told_of_job(subject: &Subject) {
    each(subject, |job| {
        let (ear, watcher) = Ear::new(subject);
        let containment = job.containment();
        let (actor, end, link) = (subject.act_in(&job, Act::Forever), job.end(), job.link());
        end.watch(&watcher, 1).unwrap();
        end.watch(&watcher, 2).unwrap();
        end.unwatch(&watcher, 2);
        assert!(!end.is_empty().unwrap() && link.end().is_some_and(|other| other.is_same(&end)));
        assert_eq!(ear.heard(), []);
        drop(job);
        ear.until(1);
        assert!(end.wait(None).unwrap() && link.end().is_none());
        assert!(actor.wait().unwrap().code().is_none());

        let job = job_by(subject, containment).unwrap();
        let (mut actor, end, link) = (subject.act_in(&job, Act::UntilEof(0)), job.end(), job.link());
        end.watch(&watcher, 3).unwrap();
        job.detach().unwrap();
        // Who only waits for its end has not kept it.
        link.kill().unwrap();
        link.membership().kill().unwrap();
        link.signal(Signal::KILL).unwrap();
        let plan = subject.plan(Act::Forever).in_job(link.membership());
        assert_eq!(kind(Process::spawn(&subject.backend, &plan).map(|(process, ..)| process)), ErrorKind::JobOver);
        assert!(!end.is_empty().unwrap());
        actor.close_stdin();
        ear.until(2);
        assert!(end.is_empty().unwrap());
        assert_eq!((actor.wait().unwrap().code(), ear.heard()), (Some(0), vec![1, 3]));
    });
}
