//! Stops and continuations of a child, and how they are told.

use crate::contract::{can_reap_behind, done, has_foreigner, kind, released};
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::{Act, Subject};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use steadfast_core::sync::Bell;
use steadfast_core::{Attributes, Change, Errno, ErrorKind, Process, Result, Signal, Watcher};

pub(crate) const PROMISES: &[Promise] = &[
    promise_if(
        "wait_change: a stop, a continuation and the exit, each when it comes; the handle is done then",
        tells,
        each_change,
    ),
    promise_if("wait_change: by each signal that stops, of a process in a group of its own", tells, each_signal),
    promise("wait_change: done: the exit again; released: Released", over),
    promise_if("wait_change: of many who wait one is told of a stop, and all are of the exit", tells, one_is_told),
    promise_if("wait_change: only the last change is told, and an exit before it", tells, last_alone),
    promise_if("wait_change: found by its PID: the same", tells, found),
    promise_if("wait_change: a wait takes no report, and a stop does not end it", tells, beside_wait),
    promise_if("wait_change: not our child: NoChild at once", tells_and_has_foreigner, foreign),
    promise_if(
        "wait_change: reaped behind our back: the exit or NoChild, and no wait is for ever",
        tells_and_can_reap,
        reaped_behind,
    ),
    promise_if("wait_change: a storm of stops: none that was not, and the last is right", tells, storm),
    promise_if("try_wait_change: running: None; each change once", tells, each_try),
    promise_if("wait_change_timeout: it looks at least once, and no timeout is too long", tells, timeouts),
    promise_if("watch_change: told when there is news, at once if there is, and nothing is taken", tells, watched),
    promise_if("watch_change: each of many is told; unwatched or dropped, nobody is", tells, watched_by_many),
    promise_if("wait_change: where it cannot be heard of: Unsupported, and the exit is not touched", tells_none, unsupported),
];

fn tells(subject: &Subject) -> Skip {
    Skip::unable_unless(subject.backend.info().tells_changes, "the backend does not hear of stops")
}

fn tells_none(subject: &Subject) -> Skip {
    Skip::unable_unless(!subject.backend.info().tells_changes, "the backend hears of stops")
}

fn tells_and_has_foreigner(subject: &Subject) -> Skip {
    has_foreigner(subject).or(|| tells(subject))
}

fn tells_and_can_reap(subject: &Subject) -> Skip {
    can_reap_behind(subject).or(|| tells(subject))
}

const STOPPED: Change = Change::Stopped(Signal::STOP);
const LONG: Duration = Duration::from_secs(60);

fn killed(change: Change) -> bool {
    change.status().and_then(|status| status.signal()) == Some(Signal::KILL.as_raw())
}

/// The ways to wait for a change that comes.
const WAYS: [fn(&Process) -> Change; 2] =
    [|process| process.wait_change().unwrap(), |process| process.wait_change_timeout(LONG).unwrap().expect("it comes")];

fn each_change(subject: &Subject) {
    for wait in WAYS {
        let actor = subject.act(Act::Forever);
        for _ in 0..3 {
            actor.signal(Signal::STOP).unwrap();
            assert_eq!(wait(&actor), STOPPED);
            actor.signal(Signal::CONT).unwrap();
            assert_eq!(wait(&actor), Change::Continued);
        }
        assert!(actor.is_running());
        actor.kill().unwrap();
        assert!(killed(wait(&actor)));
        assert_eq!(actor.status(), wait(&actor).status());
        assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
    }
}

fn each_signal(subject: &Subject) {
    // Alone in a group whose parent is outside of it, so that it is not orphaned, and the keyboard's signals stop it.
    let attributes = Attributes { process_group: Some(0), ..Attributes::default() };
    let actor = subject.act_with(Act::Forever, attributes);
    for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        actor.signal(signal).unwrap();
        assert_eq!(actor.wait_change().unwrap(), Change::Stopped(signal));
        // Another stop of who is stopped is none.
        actor.signal(signal).unwrap();
        assert_eq!(actor.try_wait_change().unwrap(), None);
        actor.signal_group(Signal::CONT).unwrap();
        assert_eq!(actor.wait_change().unwrap(), Change::Continued);
        // Nor is it news that one goes on that runs.
        actor.signal(Signal::CONT).unwrap();
        assert_eq!(actor.try_wait_change().unwrap(), None);
    }
}

fn each(process: &Process) -> [Result<Change>; 3] {
    let some = |change: Option<Change>| change.expect("it is over");
    [process.wait_change(), process.try_wait_change().map(some), process.wait_change_timeout(LONG).map(some)]
}

fn over(subject: &Subject) {
    for answer in each(&done(subject)) {
        assert_eq!(answer.unwrap().status().unwrap().code(), Some(7));
    }
    for answer in each(&released(subject)) {
        assert_eq!(kind(answer), ErrorKind::Released);
    }
}

fn one_is_told(subject: &Subject) {
    // In a simulation that nobody orders, a limit is up as soon as nothing else happens there.
    let ways = if subject.backend.clock().scheduler().is_some() { &WAYS[..1] } else { &WAYS[..] };
    for &wait in ways {
        let actor = subject.act(Act::Forever);
        let (sender, told) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (process, sender) = (actor.process.clone(), sender.clone());
                scope.spawn(move || sender.send(wait(&process)).unwrap());
            }
            // If they fail, nobody is left who could send.
            drop(sender);
            actor.signal(Signal::STOP).unwrap();
            assert_eq!(told.recv().unwrap(), STOPPED);
            actor.signal(Signal::CONT).unwrap();
            assert_eq!(told.recv().unwrap(), Change::Continued);
            actor.kill().unwrap();
            assert!(killed(told.recv().unwrap()));
            assert!(killed(told.recv().unwrap()));
        });
    }
}

fn last_alone(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let until_stopped = |process: &Process| {
        let (ear, watcher) = Ear::new(subject);
        process.watch_change(&watcher, 0).unwrap();
        ear.until(1);
    };
    actor.signal(Signal::STOP).unwrap();
    until_stopped(&actor);
    actor.signal(Signal::CONT).unwrap();
    assert_eq!(actor.try_wait_change().unwrap(), Some(Change::Continued));
    assert_eq!(actor.try_wait_change().unwrap(), None);
    actor.signal(Signal::STOP).unwrap();
    until_stopped(&actor);
    actor.kill().unwrap();
    assert!(killed(actor.wait_change().unwrap()));
}

fn found(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let found = subject.find(&actor);
    for wait in WAYS {
        actor.signal(Signal::STOP).unwrap();
        assert_eq!(wait(&found), STOPPED);
        // By whichever handle: told once.
        assert_eq!(actor.try_wait_change().unwrap(), None);
        actor.signal(Signal::CONT).unwrap();
        assert_eq!(wait(&actor), Change::Continued);
        assert_eq!(found.try_wait_change().unwrap(), None);
    }
    actor.kill().unwrap();
    assert!(killed(found.wait_change().unwrap()));
}

fn beside_wait(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(5));
    // Before another thread waits, for which a failure of this one would come too late.
    assert_eq!(actor.try_wait_change().unwrap(), None);
    thread::scope(|scope| {
        let waits = scope.spawn(|| actor.process.clone().wait());
        for _ in 0..3 {
            actor.signal(Signal::STOP).unwrap();
            assert_eq!(actor.wait_change().unwrap(), STOPPED);
            assert_eq!(actor.try_wait().unwrap(), None);
            assert_eq!(actor.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            actor.signal(Signal::CONT).unwrap();
            assert_eq!(actor.wait_change().unwrap(), Change::Continued);
        }
        actor.kill().unwrap();
        assert!(killed(Change::Exited(waits.join().unwrap().unwrap())));
    });
    actor.close_stdin();
    assert!(killed(actor.wait_change().unwrap()));
}

fn foreign(subject: &Subject) {
    let foreigner = subject.foreigner.as_ref().expect("asked for")(());
    let process = Process::find(&subject.backend, foreigner).unwrap();
    for answer in [process.wait_change().map(Some), process.try_wait_change(), process.wait_change_timeout(LONG)] {
        assert_eq!(kind(answer), ErrorKind::NoChild);
    }
    let (ear, watcher) = Ear::new(subject);
    process.watch_change(&watcher, 0).unwrap();
    ear.until(1);
    process.may_signal().unwrap();
}

fn reaped_behind(subject: &Subject) {
    let is_right = |answer: Result<Change>| match answer {
        Ok(change) => assert!(killed(change), "{change}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NoChild),
    };
    for _ in 0..10 {
        let actor = subject.act(Act::Forever);
        // As a backend's object: it looks, and does not reap.
        let waiting = subject.backend.find(actor.pid()).unwrap();
        thread::scope(|scope| {
            // It may say that a signal came in between, and has to be asked again.
            let waits = scope.spawn(move || {
                let answers = std::iter::repeat_with(|| waiting.wait_change());
                answers.filter_map(|answer| (errno(&answer) != Some(Errno::INTR)).then_some(answer)).next().expect("endless")
            });
            actor.kill().unwrap();
            subject.reap_behind.as_ref().expect("asked for")(actor.pid());
            match waits.join().unwrap() {
                Ok(change) => assert!(killed(change), "{change}"),
                Err(error) => assert_eq!(error.errno(), Some(Errno::CHILD)),
            }
        });
        each(&actor).into_iter().for_each(is_right);
    }
}

fn errno<T>(answer: &Result<T>) -> Option<Errno> {
    answer.as_ref().err().and_then(|error| error.errno())
}

fn storm(subject: &Subject) {
    const ROUNDS: usize = 500;
    let actor = subject.act(Act::Forever);
    let is_over = AtomicBool::new(false);
    let mut told = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                actor.signal(Signal::STOP).unwrap();
                actor.signal(Signal::CONT).unwrap();
            }
            is_over.store(true, Ordering::SeqCst);
        });
        while !is_over.load(Ordering::SeqCst) {
            told.extend(actor.wait_change_timeout(Duration::from_micros(200)).unwrap());
        }
    });
    // It runs, and no stop is pending: a continuation is all that there can be.
    let rest: Vec<Change> = std::iter::from_fn(|| actor.try_wait_change().unwrap()).collect();
    assert!(rest.is_empty() || rest == [Change::Continued], "{rest:?}");
    let stops = told.iter().filter(|change| **change == STOPPED).count();
    let continuations = told.iter().chain(&rest).filter(|change| **change == Change::Continued).count();
    assert_eq!(stops + continuations, told.len() + rest.len(), "something else was told");
    assert!(stops <= ROUNDS && continuations <= ROUNDS, "{stops} stops, {continuations} continuations");
    actor.signal(Signal::STOP).unwrap();
    assert_eq!(actor.wait_change().unwrap(), STOPPED);
    actor.signal(Signal::CONT).unwrap();
    assert_eq!(actor.wait_change().unwrap(), Change::Continued);
    assert_eq!(actor.try_wait_change().unwrap(), None);
}

fn each_try(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    assert_eq!(actor.try_wait_change().unwrap(), None);
    for (signal, change) in [(Signal::STOP, STOPPED), (Signal::CONT, Change::Continued)] {
        let (ear, watcher) = Ear::new(subject);
        actor.signal(signal).unwrap();
        actor.watch_change(&watcher, 0).unwrap();
        ear.until(1);
        assert_eq!(actor.try_wait_change().unwrap(), Some(change));
        assert_eq!(actor.try_wait_change().unwrap(), None);
    }
}

fn timeouts(subject: &Subject) {
    let actor = subject.act(Act::Forever);
    let (ear, watcher) = Ear::new(subject);
    for timeout in [Duration::ZERO, Duration::from_millis(2)] {
        assert_eq!(actor.wait_change_timeout(timeout).unwrap(), None);
    }
    actor.signal(Signal::STOP).unwrap();
    actor.watch_change(&watcher, 0).unwrap();
    ear.until(1);
    assert_eq!(actor.wait_change_timeout(Duration::ZERO).unwrap(), Some(STOPPED));
    actor.signal(Signal::CONT).unwrap();
    assert_eq!(actor.wait_change_timeout(Duration::MAX).unwrap(), Some(Change::Continued));
    assert_eq!(actor.wait_change_deadline(subject.backend.clock().now()).unwrap(), None);
}

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
        assert!(self.bell.wait(times - 1, Some(LONG)), "told of {:?} only", self.heard());
    }
}

fn watched(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let actor = subject.act(Act::Forever);
    actor.watch_change(&watcher, 1).unwrap();
    assert_eq!(ear.heard(), []);
    actor.signal(Signal::STOP).unwrap();
    ear.until(1);
    // At once: it is there still.
    actor.watch_change(&watcher, 2).unwrap();
    ear.until(2);
    assert_eq!(actor.try_wait_change().unwrap(), Some(STOPPED));
    actor.watch_change(&watcher, 3).unwrap();
    assert_eq!(ear.heard(), [1, 2]);
    actor.kill().unwrap();
    ear.until(3);
    assert!(actor.is_running(), "being told changes nothing");
    assert!(killed(actor.try_wait_change().unwrap().expect("it has exited")));
    actor.watch_change(&watcher, 4).unwrap();
    assert_eq!(ear.heard(), [1, 2, 3, 4]);
}

fn watched_by_many(subject: &Subject) {
    let (ear, watcher) = Ear::new(subject);
    let actor = subject.act(Act::Forever);
    for token in 0..20 {
        actor.watch_change(&watcher, token).unwrap();
    }
    actor.unwatch(&watcher, 19);
    actor.signal(Signal::STOP).unwrap();
    ear.until(19);
    assert_eq!(ear.heard(), (0..19).collect::<Vec<_>>());
    assert_eq!(actor.wait_change().unwrap(), STOPPED);
    // Whoever waits for the handle tells those who watch it.
    actor.watch_change(&watcher, 20).unwrap();
    actor.kill().unwrap();
    actor.wait().unwrap();
    ear.until(20);
    let actor = subject.act(Act::Forever);
    let other = subject.find(&actor);
    actor.watch_change(&watcher, 21).unwrap();
    actor.release().unwrap();
    ear.until(21);
    let found = Process::find(&subject.backend, other.pid()).unwrap();
    found.watch_change(&watcher, 22).unwrap();
    drop(found);
    other.kill().unwrap();
    subject.wait_until_gone(other.pid());
    assert_eq!(ear.heard().last(), Some(&21));
}

fn unsupported(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(9));
    // At first what does not block, where it can be heard of after all.
    assert_eq!(kind(actor.try_wait_change()), ErrorKind::Unsupported);
    assert_eq!(kind(actor.wait_change_timeout(LONG)), ErrorKind::Unsupported);
    assert_eq!(kind(actor.wait_change()), ErrorKind::Unsupported);
    actor.close_stdin();
    assert_eq!(actor.wait().unwrap().code(), Some(9));
    assert_eq!(actor.wait_change().unwrap().status().unwrap().code(), Some(9));
}
