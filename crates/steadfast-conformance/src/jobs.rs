//! Jobs: who is a member, what ends with it, and what it answers in each state. Each promise is tested with each containment that the backend has.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::contract::kind;
use crate::looks::end_children;
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::subject::Actor;
use crate::{Act, Kin, Subject};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use steadfast_core::{Containment, Errno, Error, ErrorKind, Job, JobPlan, Plan, PlanStdio, Process, Result, Signal, sync};

pub(crate) const PROMISES: &[Promise] = &[
    promise("job: what cannot be had is refused by name, with the reason", refused),
    promise_if("job: who is started in it is a member from its birth on, and nobody else is", has_jobs, membership),
    promise_if("job: killed, it takes its members and all that stay in it, and nothing else", has_jobs, kill),
    promise_if("job: who can leave a containment that leaks does, and nobody leaves another", has_jobs, leaks),
    promise_if("job: that its first process ends does not end it", has_jobs, leader_ends),
    promise_if("job: open, it is empty when its orphans have ended", has_jobs, orphans_end),
    promise_if("job: killed: nothing is started in it: JobOver", has_jobs, over),
    promise_if("job: killed or empty: kill, signal and wait_empty are Ok", has_jobs, over_and_again),
    promise_if("job: wait_empty: of one without members at once, and it stays open", has_jobs, stays_open),
    promise_if("job: wait_empty: of one with members: not in time; all that wait are told", has_jobs, wait_empty),
    promise_if("job: a signal goes to each member", has_jobs, signal),
    promise_if("job: on_empty calls once nothing lives in it, and at once if that is so", has_jobs, on_empty),
    promise_if("job: dropped, it is killed; detached, it is not", has_jobs, dropped),
    promise_if("job: whether it dies with its owner is said; asked to live on, it does not", has_jobs, owner),
    promise_if("job: handles of its members stay what they are", has_jobs, handles),
    promise_if("job: a plan that contradicts its containment is refused, and nothing is started", has_jobs, contradiction),
    promise_if("job: whoever is born while it is killed is killed too", has_jobs, births),
    promise_if("job: a child that runs becomes a member where that can be had, and nobody else does", has_jobs, adopted),
    promise_if("job: frozen, nobody runs; thawed, all go on; frozen, it can be killed", has_cgroups, frozen),
];

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn has_jobs(subject: &Subject) -> Skip {
    Skip::unless(!containments(subject).is_empty(), "the backend has no containment for a job here")
}

fn has_cgroups(subject: &Subject) -> Skip {
    Skip::unless(
        containments(subject).contains(&Containment::Cgroup),
        "there is no cgroup of version 2 here in which one can be made",
    )
}

pub(crate) fn job_by(subject: &Subject, containment: Containment) -> Result<Job> {
    Job::new(&subject.backend, &JobPlan::new(containment))
}

fn containments(subject: &Subject) -> Vec<Containment> {
    Containment::ALL.into_iter().filter(|containment| job_by(subject, *containment).is_ok()).collect()
}

/// With each that can be had.
pub(crate) fn each(subject: &Subject, check: impl Fn(Job)) {
    for containment in containments(subject) {
        check(job_by(subject, containment).expect("it could be had just now"));
    }
}

fn now(subject: &Subject) -> Instant {
    subject.backend.clock().now()
}

fn is_empty(subject: &Subject, job: &Job) -> bool {
    job.wait_empty(Some(now(subject))).unwrap()
}

pub(crate) fn until_empty(subject: &Subject, job: &Job) {
    assert!(job.wait_empty(Some(now(subject) + LONG)).unwrap(), "{job:?} has members still: {:?}", job.members());
}

fn refused(subject: &Subject) {
    for containment in Containment::ALL {
        match job_by(subject, containment) {
            Ok(job) => assert_eq!(job.containment(), containment),
            Err(error @ Error::NoContainment { containment: named, .. }) if named == containment => {
                let text = error.to_string();
                assert!(text.contains(containment.name()) && text.len() > 40, "{text}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            }
            Err(error) => panic!("{error:#?}"),
        }
    }
}

fn membership(subject: &Subject) {
    each(subject, |job| {
        let outside = subject.act(Act::Forever);
        let [one, other] = [Act::Forever, Act::Beget(Kin::Child)].map(|act| subject.act_in(&job, act));
        let members: Vec<_> = job.members().unwrap().iter().map(Process::pid).collect();
        assert!(members.contains(&one.pid()) && members.contains(&other.pid()), "{members:?}");
        assert!(!members.contains(&outside.pid()), "{members:?}");
        assert_eq!(members.len(), 3, "and the child: {members:?}");
        assert!(!is_empty(subject, &job));
    });
}

fn kill(subject: &Subject) {
    each(subject, |job| {
        let outside = subject.act(Act::Forever);
        let other = job_by(subject, job.containment()).unwrap();
        let of_other = subject.act_in(&other, Act::Forever);
        let kin = Kin::ALL.into_iter().filter(|kin| !job.containment().leaks() || kin.stays_in_group());
        let actors: Vec<Actor> =
            kin.flat_map(|kin| [Act::Beget(kin), Act::BegetAndExit(kin)]).map(|act| subject.act_in(&job, act)).collect();
        job.kill().unwrap();
        until_empty(subject, &job);
        assert_eq!(job.members().unwrap().len(), 0);
        for actor in &actors {
            let status = actor.wait().unwrap();
            assert!(status.code() == Some(0) || status.code().is_none(), "{status}");
        }
        assert_eq!((outside.try_wait().unwrap(), of_other.try_wait().unwrap()), (None, None));
        assert!(!is_empty(subject, &other));
    });
}

fn leaks(subject: &Subject) {
    each(subject, |job| {
        for kin in Kin::ALL {
            let job = job_by(subject, job.containment()).unwrap();
            let actor = subject.act_in(&job, Act::Beget(kin));
            let members = job.members().unwrap();
            let leaves = job.containment().leaks() && !kin.stays_in_group();
            assert_eq!(members.len(), if leaves { 1 } else { 2 }, "{kin:?}: {members:?}");
            if leaves {
                // Nobody can name it any more; it ends with its input.
                continue;
            }
            job.kill().unwrap();
            until_empty(subject, &job);
            actor.wait().unwrap();
        }
    });
}

fn leader_ends(subject: &Subject) {
    each(subject, |job| {
        let actor = subject.act_in(&job, Act::BegetAndExit(Kin::Orphan));
        assert_eq!(actor.wait().unwrap().code(), Some(0));
        assert!(!is_empty(subject, &job), "the orphan lives");
        assert_eq!(job.members().unwrap().len(), 1);
        let next = subject.act_in(&job, Act::Forever);
        assert_eq!(job.members().unwrap().len(), 2);
        job.kill().unwrap();
        until_empty(subject, &job);
        next.wait().unwrap();
    });
}

fn orphans_end(subject: &Subject) {
    each(subject, |job| {
        let mut actor = subject.act_in(&job, Act::BegetAndExit(Kin::Orphan));
        assert_eq!(actor.wait().unwrap().code(), Some(0));
        assert!(!is_empty(subject, &job), "the orphan lives");
        actor.close_stdin();
        until_empty(subject, &job);
        assert_eq!(job.members().unwrap().len(), 0);
    });
}

fn over(subject: &Subject) {
    each(subject, |job| {
        let plan = subject.plan(Act::Forever).in_job(job.membership());
        for empty in [false, true] {
            job.kill().unwrap();
            if empty {
                until_empty(subject, &job);
            }
            let error = Process::spawn(&subject.backend, &plan).map(|(process, ..)| process).unwrap_err();
            assert!(matches!(error, Error::JobOver { .. }), "{error:?}");
            assert_eq!(kind(job.freeze(None)), ErrorKind::JobOver);
            assert_eq!(kind(job.thaw()), ErrorKind::JobOver);
        }
        drop(job);
        assert_eq!(kind(Process::spawn(&subject.backend, &plan).map(|(process, ..)| process)), ErrorKind::JobOver);
    });
}

fn over_and_again(subject: &Subject) {
    each(subject, |job| {
        let actor = subject.act_in(&job, Act::Forever);
        for _ in 0..2 {
            job.kill().unwrap();
            job.signal(Signal::TERM).unwrap();
            job.signal(Signal::KILL).unwrap();
            until_empty(subject, &job);
            assert!(is_empty(subject, &job));
            job.usage().unwrap();
        }
        assert!(actor.wait().unwrap().code().is_none());
    });
}

fn stays_open(subject: &Subject) {
    each(subject, |job| {
        job.signal(Signal::TERM).unwrap();
        for _ in 0..2 {
            assert!(is_empty(subject, &job));
            assert!(job.wait_empty(None).unwrap());
            let actor = subject.act_in(&job, Act::Exit(3));
            assert_eq!(actor.wait().unwrap().code(), Some(3));
            until_empty(subject, &job);
        }
    });
}

fn wait_empty(subject: &Subject) {
    each(subject, |job| {
        let mut actor = subject.act_in(&job, Act::UntilEof(0));
        assert!(!is_empty(subject, &job));
        assert!(!job.wait_empty(Some(now(subject) + Duration::from_millis(5))).unwrap());
        let job = Arc::new(job);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let job = Arc::clone(&job);
                sync::spawn(move || job.wait_empty(None).unwrap())
            })
            .collect();
        actor.close_stdin();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
}

fn signal(subject: &Subject) {
    each(subject, |job| {
        let actors: Vec<Actor> = (1..=9).map(|code| subject.act_in(&job, Act::ExitOn(Signal::USR1, code))).collect();
        let shrugs = subject.act_in(&job, Act::Shrug(Signal::USR1));
        job.signal(Signal::USR1).unwrap();
        for (code, actor) in (1..).zip(&actors) {
            assert_eq!(actor.wait().unwrap().code(), Some(code));
        }
        assert_eq!(shrugs.try_wait().unwrap(), None);
    });
}

fn on_empty(subject: &Subject) {
    each(subject, |job| {
        let calls = Arc::new(AtomicU32::new(0));
        let count = || {
            let calls = Arc::clone(&calls);
            Box::new(move || _ = calls.fetch_add(1, Ordering::SeqCst))
        };
        let until = |number: u32| {
            let begun = now(subject);
            while calls.load(Ordering::SeqCst) < number {
                assert!(now(subject) - begun < LONG, "nobody has called");
                subject.backend.clock().sleep_until(now(subject) + Duration::from_micros(100));
            }
            assert_eq!(calls.load(Ordering::SeqCst), number);
        };
        job.on_empty(count()).unwrap();
        until(1);
        let actor = subject.act_in(&job, Act::Forever);
        job.on_empty(count()).unwrap();
        job.on_empty(count()).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        actor.kill().unwrap();
        until(3);
        job.on_empty(count()).unwrap();
        until(4);
    });
}

fn dropped(subject: &Subject) {
    each(subject, |job| {
        let containment = job.containment();
        let actor = subject.act_in(&job, Act::Forever);
        drop(job);
        assert!(actor.wait().unwrap().code().is_none());
        let job = job_by(subject, containment).unwrap();
        let actor = subject.act_in(&job, Act::Forever);
        job.detach().unwrap();
        assert_eq!(actor.wait_timeout(Duration::from_millis(5)).unwrap(), None);
    });
}

fn owner(subject: &Subject) {
    for containment in containments(subject) {
        for dies in [true, false] {
            let job = Job::new(&subject.backend, &JobPlan::new(containment).dies_with_us(dies)).unwrap();
            match job.lives_on() {
                None => assert!(dies && !containment.leaks(), "{job:?}"),
                Some(error @ Error::JobLivesOn { containment: named, .. }) if named == containment => {
                    assert!(error.to_string().contains("lives on when its owner is gone: "), "{error}");
                }
                Some(error) => panic!("{error:#?}"),
            }
            // It does not change what it is as long as the owner lives.
            let actor = subject.act_in(&job, Act::Beget(Kin::Child));
            assert_eq!(job.members().unwrap().len(), 2);
            job.kill().unwrap();
            until_empty(subject, &job);
            assert!(actor.wait().unwrap().code().is_none());
            job.detach().unwrap();
        }
    }
}

fn adopted(subject: &Subject) {
    each(subject, |job| {
        let mut actor = subject.act(Act::Beget(Kin::Child));
        let outside = subject.act(Act::Forever);
        match job.adopt(&actor) {
            Ok(()) => assert_eq!(job.containment(), Containment::Cgroup),
            Err(error) => {
                assert!(matches!(error, Error::Unsupported { .. }) && job.containment() != Containment::Cgroup, "{error:#?}");
                assert!(is_empty(subject, &job));
                return end_children(subject, &mut actor);
            }
        }
        let members: Vec<_> = job.members().unwrap().iter().map(Process::pid).collect();
        assert_eq!(members, [actor.pid()], "and not the child that it had");
        let found = Process::find(&subject.backend, outside.pid()).unwrap();
        assert_eq!(kind(job.adopt(&found)), ErrorKind::NotPinned);
        // Once more, and into another one.
        job.adopt(&actor).unwrap();
        let other = job_by(subject, job.containment()).unwrap();
        other.adopt(&actor).unwrap();
        assert_eq!((is_empty(subject, &job), other.members().unwrap().len()), (true, 1));
        job.adopt(&actor).unwrap();

        end_children(subject, &mut actor);
        let ended = subject.act(Act::Exit(3));
        job.kill().unwrap();
        until_empty(subject, &job);
        assert!(actor.wait().unwrap().code().is_none());
        assert_eq!(kind(job.adopt(&outside)), ErrorKind::JobOver);
        assert_eq!(outside.try_wait().unwrap(), None);
        // A zombie is nobody's member, and who was waited for is nobody.
        other.adopt(&ended).unwrap();
        assert_eq!(ended.wait().unwrap().code(), Some(3));
        assert_eq!(kind(other.adopt(&ended)), ErrorKind::ProcessDone);
        assert!(is_empty(subject, &other));
    });
}

fn handles(subject: &Subject) {
    each(subject, |job| {
        let actor = subject.act_in(&job, Act::Forever);
        let found = job.members().unwrap().pop().expect("there is one");
        assert_eq!(found.pid(), actor.pid());
        drop(job);
        actor.wait().unwrap();
        assert_eq!(kind(found.kill()), ErrorKind::ProcessDone);
        assert_eq!(kind(actor.kill()), ErrorKind::ProcessDone);
    });
}

fn contradiction(subject: &Subject) {
    each(subject, |job| {
        if job.containment() != Containment::Group {
            return;
        }
        for (setsid, process_group) in [(true, None), (false, Some(0))] {
            let mut attributes = subject.plan(Act::Forever).attributes().clone();
            (attributes.setsid, attributes.process_group) = (setsid, process_group);
            let plan = subject.plan(Act::Forever).with_attributes(attributes).unwrap().in_job(job.membership());
            let error = Process::spawn(&subject.backend, &plan).map(|(process, ..)| process).unwrap_err();
            assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains("group"), "{error}");
        }
        assert!(is_empty(subject, &job));
        // And the job is not waiting for somebody who was never born.
        job.kill().unwrap();
        until_empty(subject, &job);
    });
}

fn births(subject: &Subject) {
    for round in 0..20 {
        each(subject, |job| {
            let job = Arc::new(job);
            let parents: Vec<_> = (0..3)
                .map(|_| {
                    let plan =
                        Plan::builder(&subject.actor).args(Act::Forever.to_args()).stdout(PlanStdio::Null).build().unwrap();
                    let (backend, plan) = (Arc::clone(&subject.backend), plan.in_job(job.membership()));
                    sync::spawn(move || {
                        let mut born = Vec::new();
                        loop {
                            match Process::spawn(&backend, &plan) {
                                Ok((process, ..)) => born.push(process),
                                Err(Error::JobOver { .. }) => return born,
                                // Killed in the middle of its start.
                                Err(Error::Spawn { source: Errno::SRCH, .. }) => {}
                                // Whoever is to kill it is held up, and there are as many by now as there may be.
                                Err(Error::Spawn { source: Errno::AGAIN, .. }) => {
                                    backend.clock().sleep_until(backend.clock().now() + Duration::from_micros(100));
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            let clock = subject.backend.clock();
            clock.sleep_until(clock.now() + Duration::from_micros(300 * round));
            job.kill().unwrap();
            // Without a deadline: in a simulation whose threads run as they like, time would come to it at once.
            assert!(job.wait_empty(None).unwrap());
            for parent in parents {
                for process in parent.join().unwrap() {
                    // It lives no more, and can be waited for a moment later.
                    let status = process.wait_timeout(LONG).unwrap();
                    assert!(status.is_some_and(|status| status.code().is_none()), "{process:?} has outlived its job: {status:?}");
                }
            }
        });
    }
}

fn frozen(subject: &Subject) {
    let job = job_by(subject, Containment::Cgroup).unwrap();
    let mut actor = subject.act_in(&job, Act::UntilEof(4));
    assert!(job.freeze(Some(now(subject) + LONG)).unwrap());
    actor.close_stdin();
    assert_eq!(actor.wait_timeout(Duration::from_millis(20)).unwrap(), None);
    job.thaw().unwrap();
    assert_eq!(actor.wait().unwrap().code(), Some(4));
    let other = subject.act_in(&job, Act::Beget(Kin::Daemon));
    assert!(job.freeze(Some(now(subject) + LONG)).unwrap());
    assert!(job.freeze(Some(now(subject))).unwrap(), "it is frozen already");
    job.kill().unwrap();
    until_empty(subject, &job);
    assert!(other.wait().unwrap().code().is_none());
}
