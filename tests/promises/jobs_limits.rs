//! Limits of jobs with real processes: what the conformance list cannot ask for.

use crate::Test;
use crate::errors::each_system;
use crate::jobs::actor;
use crate::jobs_elsewhere::{is_root, mounts_of_our_own};
use crate::leaks::{each_backend, until};
use crate::stage::{Outcome, given};
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::{Capture, Command, Containment, Error, Job, JobBuilder, JobLimit, JobLimits, Stdio, System};
use xtask::cgroups;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("limits of jobs: all at once, through every door, and nothing is left of them", all_at_once),
        Test::that_may_skip("limits of jobs: what cannot be had is an error, or is said where that was wished", if_possible),
        Test::that_may_skip("limits of jobs: a fork bomb fills its job, and nothing else", bomb),
        Test::that_may_skip("limits of jobs: at want of memory a captured command is killed, and its job says so", captured),
        Test::that_may_skip(
            "limits of jobs: at want of memory during a start the child is killed, and not this program",
            starting,
        ),
        Test::that_may_skip("limits of jobs: detached, they hold on, and are removed with the last member", detached),
        Test::that_may_skip("limits of jobs: of an owner that was killed: removed by the next", killed_owner),
    ]
}

/// What this program does when it is started again.
pub(crate) const ROLES: &[(&str, fn())] = &[("(owns a limited job)", owns)];

/// Whoever shares the memory of who is killed is killed as well, and this test would be.
fn starting() -> Outcome {
    given!(can());
    each_system(|system| {
        let job = system.job(&Job::builder().memory_limit(0)).unwrap();
        for _ in 0..10 {
            match system.spawn(Command::new("true").in_job(&job)) {
                Ok(child) => assert_eq!(child.wait().unwrap().signal(), Some(9)),
                // There was no memory for its birth.
                Err(error) => assert!(error.to_string().contains("clone"), "{error}"),
            }
        }
        assert!(job.usage().unwrap().killed_for_memory > Some(0));
    });
    Outcome::Passed
}

fn limited() -> JobBuilder {
    Job::builder().memory_limit(64 << 20).processes_limit(40).cpu_limit(1.5)
}

fn can() -> Result<(), Outcome> {
    System::detect().unwrap();
    let missing = Job::available_limits().unwrap().into_iter().find_map(|(_, why)| why);
    missing.map_or(Ok(()), |error| Err(Outcome::Skipped(error.to_string())))
}

fn all_at_once() -> Outcome {
    given!(can());
    each_system(|system| {
        let job = system.job(&limited()).unwrap();
        assert_eq!(job.containment(), Containment::Cgroup);
        let asked = JobLimits { memory: Some(64 << 20), processes: Some(40), cpu_millis: Some(1500) };
        assert_eq!((job.limits(), job.missing_limits().len()), (asked, 0));
        let child = system.spawn(actor(&["beget", "daemon"]).stdin(Stdio::piped()).in_job(&job)).unwrap();
        until("both are there", || job.members().unwrap().len() == 2);
        let usage = job.usage().unwrap();
        assert_eq!((usage.killed_for_memory, usage.refused_forks), (Some(0), Some(0)), "{usage:?}");
        assert!(usage.throttled_time.is_some(), "{usage:?}");
        job.kill().unwrap();
        job.wait_empty().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
    until("no cgroup of version 1 is left", || cgroups::elder().is_empty());
    Outcome::Passed
}

fn if_possible() -> Outcome {
    given!(is_root());
    given!(can());
    given!(mounts_of_our_own());
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let memory = before.lines().find(|line| line.contains(" - cgroup ") && line.ends_with("memory"));
    let Some(point) = memory.and_then(|line| line.split(' ').nth(4)) else {
        return Outcome::Skipped(
            "the memory controller is not in cgroups of version 1, from where it could be taken away".into(),
        );
    };
    umount2(point, MntFlags::MNT_DETACH).unwrap();
    each_backend(|system| {
        let error = system.job(&limited()).unwrap_err();
        assert!(matches!(error, Error::NoLimit { limit: JobLimit::Memory, .. }), "{error:?}");
        assert!(error.to_string().contains("find the memory controller, which version 2 has not here, in /proc/self/mountinfo"));
        let job = system.job(&limited().limits_if_possible(true)).unwrap();
        assert_eq!(job.limits(), JobLimits { memory: None, processes: Some(40), cpu_millis: Some(1500) });
        assert!(matches!(job.missing_limits(), [(JobLimit::Memory, Error::NoLimit { .. })]), "{:?}", job.missing_limits());
        // What has no account of its own has none of them, and says so of each.
        let group = limited().limits_if_possible(true).containment(Containment::Group);
        assert_eq!(system.job(&group).unwrap().missing_limits().len(), 3);
        assert!(matches!(system.job(&limited().containment(Containment::Group)), Err(Error::NoLimit { .. })));
        let child = system.spawn(actor(&["exit", "3"]).in_job(&job)).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    });
    assert!(cgroups::elder().is_empty(), "{:?}", cgroups::elder());
    Outcome::Passed
}

fn bomb() -> Outcome {
    given!(can());
    each_backend(|system| {
        let job = system.job(&limited()).unwrap();
        let bomb = system.spawn(actor(&["bomb"]).in_job(&job)).unwrap();
        until("it is full", || job.usage().unwrap().refused_forks.is_some_and(|refused| refused > 100));
        assert!(job.members().unwrap().len() <= 40);
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        bomb.wait().unwrap();
        assert!(job.usage().unwrap().processes_peak.is_none_or(|peak| peak <= 40));
    });
    Outcome::Passed
}

fn captured() -> Outcome {
    given!(can());
    each_backend(|system| {
        let job = system.job(&limited()).unwrap();
        let child = system.spawn(actor(&["allocate", "256"]).in_job(&job)).unwrap();
        let captured = child.capture(&Capture::new()).unwrap();
        assert_eq!(captured.status.and_then(|status| status.signal()), Some(9));
        let usage = job.usage().unwrap();
        assert_eq!(usage.killed_for_memory, Some(1), "{usage:?}");
        assert!(usage.memory_peak.is_none_or(|peak| peak <= 64 << 20), "{usage:?}");
        // The job goes on.
        let child = system.spawn(actor(&["exit", "3"]).in_job(&job)).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    });
    Outcome::Passed
}

fn detached() -> Outcome {
    given!(can());
    each_backend(|system| {
        let job = system.job(&limited()).unwrap();
        let child = system.spawn(actor(&["forever"]).in_job(&job)).unwrap();
        let before = cgroups::elder();
        job.detach().unwrap();
        assert_eq!(cgroups::elder(), before);
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        until("no cgroup of version 1 is left", || cgroups::elder().is_empty());
    });
    Outcome::Passed
}

fn owns() {
    let job = limited().build().unwrap();
    let member = actor(&["forever"]).spawn_in(&job).unwrap();
    for path in cgroups::elder() {
        print!("{} ", path.display());
    }
    println!("{}", member.pid());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn killed_owner() -> Outcome {
    given!(can());
    let system = System::detect().unwrap();
    let mut command = steadfast::Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(owns a limited job)").stdin(Stdio::piped()).stdout(Stdio::piped());
    let owner = system.spawn(&command).unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(owner.stdout.as_ref().unwrap()), &mut line).unwrap();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let member: steadfast::Pid = words.pop().expect("a number").parse().unwrap();
    let member = system.find(member);
    owner.kill().unwrap();
    owner.wait().unwrap();
    // It dies with its owner; or it is gone by now.
    if let Ok(member) = member {
        member.wait_exited().unwrap();
    }
    let job = system.job(&limited()).unwrap();
    drop(job);
    assert!(words.iter().all(|path| !std::path::Path::new(path).exists()), "{words:?}");
    Outcome::Passed
}
