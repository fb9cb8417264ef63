//! What the death of the program under test does to what it has started.
#![forbid(unsafe_code)]

use std::time::Duration;
use steadfast_core::{Attributes, Containment, Error, Job, JobPlan, Plan, Process, Signal};
use steadfast_mock::{Kernel, Script, Sim};

fn kernel() -> Kernel {
    let daemon = Script::new().new_session().run_forever();
    Kernel::builder().program("server", Script::new().spawn(daemon).sleep(Duration::from_millis(1)).run_forever()).build()
}

fn plan() -> Plan {
    Plan::builder("server").build().unwrap()
}

fn job(kernel: &Kernel, plan: &JobPlan) -> Job {
    Job::new(&kernel.backend(), plan).unwrap()
}

fn start(kernel: &Kernel, plan: &Plan) -> Process {
    let process = Process::spawn(&kernel.backend(), plan).unwrap().0;
    kernel.settle();
    process
}

#[test]
fn a_job_by_cgroup_dies_with_it_and_says_so() {
    let kernel = kernel();
    let job = job(&kernel, &JobPlan::new(Containment::Cgroup));
    assert!(job.lives_on().is_none());
    start(&kernel, &plan().in_job(job.membership()));
    assert_eq!(kernel.processes().len(), 2);
    kernel.kill_owner();
    assert_eq!(kernel.processes(), []);
    assert!(job.wait_empty(None).unwrap());
}

#[test]
fn one_by_group_lives_on_and_says_so() {
    let kernel = kernel();
    let job = job(&kernel, &JobPlan::new(Containment::Group));
    assert!(matches!(job.lives_on(), Some(Error::JobLivesOn { containment: Containment::Group, .. })));
    let server = start(&kernel, &plan().in_job(job.membership()));
    kernel.kill_owner();
    assert_eq!(kernel.processes().len(), 2);
    // It is init's child, and nobody's who could wait for it here.
    assert!(matches!(server.wait(), Err(Error::NoChild { .. })));
}

#[test]
fn detached_or_asked_to_live_on_it_does() {
    for asked in [false, true] {
        let kernel = kernel();
        let job = job(&kernel, &JobPlan::new(Containment::Cgroup).dies_with_us(!asked));
        assert_eq!(job.lives_on().is_some(), asked);
        start(&kernel, &plan().in_job(job.membership()));
        if !asked {
            job.detach().unwrap();
        }
        kernel.kill_owner();
        assert_eq!(kernel.processes().len(), 2);
    }
}

#[test]
fn a_child_that_dies_with_it_dies_alone() {
    let kernel = kernel();
    let attributes = Attributes { dies_with_us: true, ..Attributes::default() };
    let child = start(&kernel, &plan().with_attributes(attributes).unwrap());
    let other = start(&kernel, &plan());
    kernel.kill_owner();
    assert!(kernel.process(child.pid()).is_none());
    assert!(kernel.process(other.pid()).is_some());
    assert_eq!(kernel.processes().len(), 3, "both daemons and the other one");
}

#[test]
fn what_ought_to_have_died_is_found_at_the_end_of_a_run() {
    let run = |containment| {
        kernel().exploration().run(1..=20, move |sim: &Sim| {
            let job = job(sim, &JobPlan::new(containment));
            start(sim, &plan().in_job(job.membership()));
            sim.kill_owner();
        })
    };
    assert_eq!(run(Containment::Group).unwrap_err().verdict.kind(), "outlived");
    assert!(run(Containment::Cgroup).is_ok());
}

#[test]
fn a_child_that_has_ended_is_gone_with_it() {
    let kernel = kernel();
    let child = start(&kernel, &plan());
    child.signal(Signal::KILL).unwrap();
    kernel.settle();
    kernel.kill_owner();
    assert!(kernel.process(child.pid()).is_none());
}
