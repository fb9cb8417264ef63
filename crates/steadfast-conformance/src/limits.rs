//! Limits of jobs: what is asked for is had or refused by name, what is had holds, and the job says what came of it.

use crate::jobs::{LONG, until_empty};
use crate::promise::{Promise, Skip, promise, promise_if};
use crate::{Act, Subject};
use std::os::unix::process::ExitStatusExt;
use steadfast_core::{Containment, Error, ErrorKind, Job, JobLimit, JobLimits, JobPlan, Process, Result, Signal};

pub(crate) const PROMISES: &[Promise] = &[
    promise("job: a limit that cannot be had is refused by name, with the reason", refused),
    promise_if("job: who needs more memory than the job may use is killed, and that is told apart", has_memory, memory),
    promise_if("job: more processes than there may be are not made, and that is counted", has_processes, processes),
    promise_if("job: with a limit of CPU time it does all that another does", has_cpu, cpu),
];

/// Little enough for every machine, and enough for a program with its library.
const MEMORY: u64 = 32 << 20;

fn limits(limit: JobLimit) -> JobLimits {
    let mut limits = JobLimits::NONE;
    match limit {
        JobLimit::Memory => limits.memory = Some(MEMORY),
        JobLimit::Processes => limits.processes = Some(4),
        _ => limits.cpu_millis = Some(500),
    }
    limits
}

fn job(subject: &Subject, containment: Containment, limit: JobLimit) -> Result<Job> {
    Job::new(&subject.backend, &JobPlan::new(containment).limits(limits(limit)))
}

fn by_cgroup(subject: &Subject, limit: JobLimit) -> Job {
    job(subject, Containment::Cgroup, limit).expect("it could be had just now")
}

fn has(subject: &Subject, limit: JobLimit) -> bool {
    match job(subject, Containment::Cgroup, limit) {
        Ok(_) => true,
        Err(Error::NoLimit { .. } | Error::NoContainment { .. }) => false,
        Err(error) => panic!("{error:#?}"),
    }
}

fn has_memory(subject: &Subject) -> Skip {
    Skip::unless(has(subject, JobLimit::Memory), "there is no memory controller here that could be used")
}

fn has_processes(subject: &Subject) -> Skip {
    Skip::unless(has(subject, JobLimit::Processes), "there is no pids controller here that could be used")
}

fn has_cpu(subject: &Subject) -> Skip {
    Skip::unless(has(subject, JobLimit::Cpu), "there is no cpu controller here that could be used")
}

fn refused(subject: &Subject) {
    for containment in Containment::ALL {
        for limit in JobLimit::ALL {
            match job(subject, containment, limit) {
                Ok(job) => assert_eq!(job.containment(), Containment::Cgroup),
                Err(error @ (Error::NoLimit { .. } | Error::NoContainment { .. })) => {
                    let text = error.to_string();
                    let names_it = matches!(&error, Error::NoLimit { limit: named, .. } if *named == limit);
                    assert!(names_it || matches!(error, Error::NoContainment { .. }), "{text}");
                    assert!(text.len() > 50, "{text}");
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                }
                Err(error) => panic!("{error:#?}"),
            }
        }
    }
}

fn memory(subject: &Subject) {
    let job = by_cgroup(subject, JobLimit::Memory);
    let modest = subject.act_in(&job, Act::Allocate(8));
    let before = job.usage().unwrap();
    assert_eq!(before.killed_for_memory, Some(0));
    assert!(before.memory_peak.is_none_or(|peak| (8 << 20..=MEMORY).contains(&peak)), "{before:?}");

    let greedy = subject.plan(Act::Allocate(256)).in_job(job.membership());
    let (greedy, pipes, _) = Process::spawn(&subject.backend, &greedy).unwrap();
    let status = greedy.wait_timeout(LONG).unwrap().expect("it is killed");
    drop(pipes);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    let after = job.usage().unwrap();
    assert_eq!(after.killed_for_memory, Some(1), "{after:?}");
    assert_eq!(modest.try_wait().unwrap(), None, "who uses most is killed");

    // By somebody, which is told apart.
    job.kill().unwrap();
    until_empty(subject, &job);
    assert!(modest.wait().unwrap().code().is_none());
    assert_eq!(job.usage().unwrap().killed_for_memory, Some(1));
}

fn processes(subject: &Subject) {
    let job = by_cgroup(subject, JobLimit::Processes);
    let parent = subject.act_in(&job, Act::Multiply(9));
    assert_eq!(job.members().unwrap().len(), 4);
    assert!(job.usage().unwrap().refused_forks.is_some_and(|refused| refused > 0));
    job.kill().unwrap();
    until_empty(subject, &job);
    parent.wait().unwrap();
    // Those who have ended make room.
    let job = by_cgroup(subject, JobLimit::Processes);
    for _ in 0..9 {
        assert_eq!(subject.act_in(&job, Act::Exit(3)).wait().unwrap().code(), Some(3));
    }
}

fn cpu(subject: &Subject) {
    let job = by_cgroup(subject, JobLimit::Cpu);
    let daemon = subject.act_in(&job, Act::BegetAndExit(crate::Kin::Daemon));
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert_eq!(job.members().unwrap().len(), 1);
    job.kill().unwrap();
    until_empty(subject, &job);
    assert!(job.usage().unwrap().user_time.is_some());
}
