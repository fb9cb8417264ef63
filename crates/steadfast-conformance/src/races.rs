//! Threads, recycled PIDs, and what drops and releases leave behind.

use crate::contract::{can_reap_behind, each_wait_is_lost, kind, until_zombie};
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::{Act, Subject};
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use steadfast_core::{ErrorKind, Process, Signal};

pub(crate) const PROMISES: &[Promise] = &[
    promise("64 threads wait on one handle: all get the status", many_waiters),
    promise("threads wait with and without timeouts: all get the status", mixed_waiters),
    promise("signals and waits race: a signal is delivered or ProcessDone", signals_against_wait),
    promise("release while others wait: they get the status", release_against_wait),
    promise("release races with everything: nobody gets anything else", release_against_all),
    promise("drop: a running child is reaped in the background", drop_running),
    promise("drop: an exited child is reaped", drop_exited),
    promise("drop: a found process is left alone", drop_found),
    promise_if("done: a recycled PID is neither signalled nor waited for", can_recycle, recycled_after_wait),
    promise_if("golang/go#67642: waiters never wait for a recycled PID", can_recycle, recycled_under_waiters),
    promise_if("a child reaped behind our back and recycled: no stranger is hit", can_recycle_behind, recycled_behind),
    promise_if("a child whose status was lost, and recycled: no stranger is hit", can_lose_and_recycle, recycled_after_loss),
    promise_if("find: a recycled PID: no stranger is hit", can_recycle, recycled_after_find),
];

pub(crate) fn can_recycle(subject: &Subject) -> Skip {
    Skip::unless(subject.next_pid.is_some(), "the next PID cannot be chosen here")
}

fn can_lose_and_recycle(subject: &Subject) -> Skip {
    can_recycle(subject).or(|| can_reap_behind(subject))
}

fn can_recycle_behind(subject: &Subject) -> Skip {
    const REASON: &str = "only a pidfd is safe from this at every moment: here a handle is a number";
    can_lose_and_recycle(subject).or(|| Skip::unless(subject.backend.info().find_is_exact, REASON))
}

fn many_waiters(subject: &Subject) {
    let mut actor = subject.act(Act::UntilEof(11));
    let started = Barrier::new(65);
    let process = actor.process.clone();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    started.wait();
                    process.wait()
                })
            })
            .collect();
        started.wait();
        actor.close_stdin();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap().code(), Some(11));
        }
    });
}

fn mixed_waiters(subject: &Subject) {
    for _ in 0..20 {
        let mut actor = subject.act(Act::UntilEof(12));
        let process = actor.process.clone();
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..6)
                .map(|n| {
                    let process = &process;
                    scope.spawn(move || match n % 3 {
                        0 => process.wait().unwrap(),
                        1 => process.wait_timeout(Duration::MAX).unwrap().unwrap(),
                        _ => loop {
                            if let Some(status) = process.wait_timeout(Duration::from_micros(200)).unwrap() {
                                break status;
                            }
                        },
                    })
                })
                .collect();
            actor.close_stdin();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().code(), Some(12));
            }
        });
    }
}

fn signals_against_wait(subject: &Subject) {
    for _ in 0..50 {
        let actor = subject.act(Act::Forever);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        match actor.signal(Signal::TERM) {
                            Ok(()) => {}
                            Err(error) if error.kind() == ErrorKind::ProcessDone => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            assert_eq!(actor.wait().unwrap().signal(), Some(15));
        });
        assert_eq!(actor.wait().unwrap().signal(), Some(15));
    }
}

fn release_against_wait(subject: &Subject) {
    for _ in 0..20 {
        let mut actor = subject.act(Act::UntilEof(13));
        let process = actor.process.clone();
        let other = subject.find(&actor);
        let started = Barrier::new(3);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        started.wait();
                        process.wait()
                    })
                })
                .collect();
            started.wait();
            process.release().unwrap();
            actor.close_stdin();
            for waiter in waiters {
                match waiter.join().unwrap() {
                    Ok(status) => assert_eq!(status.code(), Some(13)),
                    // It came too late to begin.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Released),
                }
            }
        });
        assert_eq!(kind(process.wait()), ErrorKind::Released);
        subject.wait_until_gone(other.pid());
    }
}

fn release_against_all(subject: &Subject) {
    for round in 0..30 {
        let actor = subject.act(Act::Forever);
        let process = &actor.process;
        thread::scope(|scope| {
            scope.spawn(|| match process.wait() {
                Ok(status) => assert_eq!(status.signal(), Some(9)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Released),
            });
            scope.spawn(|| match process.try_wait() {
                Ok(Some(status)) => assert_eq!(status.signal(), Some(9)),
                Ok(None) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Released),
            });
            scope.spawn(|| match process.with_handle(|fd| fd.try_clone_to_owned()) {
                Ok(duplicate) => drop(duplicate.unwrap()),
                Err(error) => {
                    let expected = [ErrorKind::Released, ErrorKind::ProcessDone, ErrorKind::NoHandle];
                    assert!(expected.contains(&error.kind()), "{error}");
                }
            });
            scope.spawn(|| {
                // Otherwise nobody would end it once it is released.
                let other = subject.find(&actor);
                if round % 2 == 0 {
                    process.release().unwrap();
                }
                other.kill().unwrap();
                process.release().unwrap();
            });
        });
        subject.wait_until_gone(process.pid());
    }
}

fn drop_running(subject: &Subject) {
    let mut actors: Vec<_> = (0..3).map(|_| subject.act(Act::UntilEof(0))).collect();
    let last = actors.pop().unwrap();
    let pids: Vec<_> = actors.iter().map(|actor| actor.pid()).collect();
    for mut actor in actors {
        let process = actor.process.clone();
        // Not through `Actor`, which waits.
        let done = subject.act(Act::Exit(0));
        done.wait().unwrap();
        actor.process = done.process.clone();
        drop(process);
        actor.close_stdin();
    }
    for pid in pids {
        subject.wait_until_gone(pid);
    }
    // One that was not dropped is not touched.
    assert_eq!(last.try_wait().unwrap(), None);
}

fn drop_exited(subject: &Subject) {
    let mut actor = subject.act(Act::Exit(0));
    let pid = actor.pid();
    until_zombie(subject, pid);
    let done = subject.act(Act::Exit(0));
    done.wait().unwrap();
    drop(std::mem::replace(&mut actor.process, done.process.clone()));
    subject.wait_until_gone(pid);
}

fn drop_found(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::TERM, 14));
    drop(subject.find(&actor));
    assert_eq!(actor.try_wait().unwrap(), None);
    actor.signal(Signal::TERM).unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(14));
}

/// The stranger must be untouched: it is still there, and ends as it is told.
fn is_untouched(stranger: &Process) {
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger was hit");
    stranger.signal(Signal::USR1).unwrap();
    assert_eq!(stranger.wait().unwrap().code(), Some(99));
}

fn recycled_after_wait(subject: &Subject) {
    let actor = subject.act(Act::Exit(15));
    actor.wait().unwrap();
    let stranger = subject.act_as(actor.pid(), Act::ExitOn(Signal::USR1, 99));
    assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
    assert_eq!(actor.wait().unwrap().code(), Some(15));
    assert_eq!(actor.try_wait().unwrap().unwrap().code(), Some(15));
    drop(actor);
    is_untouched(&stranger);
}

fn recycled_under_waiters(subject: &Subject) {
    for round in 0..10 {
        let mut actor = subject.act(Act::UntilEof(16));
        let process = actor.process.clone();
        let pid = process.pid();
        let started = Barrier::new(65);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..64)
                .map(|n| {
                    let (process, started) = (&process, &started);
                    scope.spawn(move || {
                        started.wait();
                        // Some are in the kernel when it exits, some on their way, some come when the number is another's.
                        for _ in 0..n % 8 {
                            thread::yield_now();
                        }
                        process.wait()
                    })
                })
                .collect();
            started.wait();
            if round % 2 == 0 {
                thread::yield_now();
            }
            actor.close_stdin();
            process.wait().unwrap();
            // As soon as the last call is back, the number is free; then it is recycled under whoever comes late.
            let stranger = subject.act_as(pid, Act::ExitOn(Signal::USR1, 99));
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap().code(), Some(16));
            }
            is_untouched(&stranger);
        });
    }
}

fn reap(subject: &Subject, process: &Process) {
    (subject.reap_behind.as_ref().unwrap())(process.pid());
}

fn recycled_behind(subject: &Subject) {
    let actor = subject.act(Act::Exit(0));
    reap(subject, &actor);
    let stranger = subject.act_as(actor.pid(), Act::ExitOn(Signal::USR1, 99));
    assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
    each_wait_is_lost(subject, &actor, 0);
    is_untouched(&stranger);
}

/// A wait that fails with `NoChild` has told the handle that the number is not its own any more.
fn recycled_after_loss(subject: &Subject) {
    let actor = subject.act(Act::Exit(0));
    reap(subject, &actor);
    each_wait_is_lost(subject, &actor, 0);
    let stranger = subject.act_as(actor.pid(), Act::ExitOn(Signal::USR1, 99));
    assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
    each_wait_is_lost(subject, &actor, 0);
    is_untouched(&stranger);
}

fn recycled_after_find(subject: &Subject) {
    let actor = subject.act(Act::ExitOn(Signal::TERM, 0));
    let found = subject.find(&actor);
    actor.signal(Signal::TERM).unwrap();
    actor.wait().unwrap();
    // Where processes are told apart by when they were started, two within one tick of 10 ms look alike.
    let clock = subject.backend.clock();
    clock.sleep_until(clock.now() + Duration::from_millis(30));
    let stranger = subject.act_as(actor.pid(), Act::ExitOn(Signal::USR1, 99));
    // Not `wait`, which would wait for the stranger if it was taken for the process.
    match found.try_wait() {
        Ok(status) => assert!(subject.tells_lost_status && status.unwrap().code() == Some(0)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NoChild),
    }
    assert_eq!(kind(found.kill()), ErrorKind::ProcessDone);
    is_untouched(&stranger);
}
