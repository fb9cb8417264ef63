//! What is promised of a start: between the birth of a process and its program.

use crate::promise::{Promise, promise};
use crate::{Act, Subject};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use steadfast_core::{Errno, Error, Plan, PlanStdio, Process, Stage, Starting};

pub(crate) const PROMISES: &[Promise] = &[
    promise("start: waited for, it is as spawned", waited_for),
    promise("start: several at once, each has its own", several),
    promise("start: a look does not wait, and on_ready calls once there is something to see", looked_at),
    promise("start: a missing program: ENOENT with its stage, and nothing is left", missing),
    promise("start: given up at any moment, the process is killed and goes", given_up),
];

fn start(subject: &Subject, act: Act) -> Starting {
    let plan = Plan::builder(&subject.actor).args(act.to_args()).stdin(PlanStdio::Piped).stdout(PlanStdio::Piped);
    Process::start(&subject.backend, &plan.build().unwrap()).expect("the actor can be started")
}

fn waited_for(subject: &Subject) {
    let starting = start(subject, Act::Exit(7));
    let pid = starting.pid();
    // What is handed out is not given up with the start, which ends here.
    let (process, [stdin, stdout, stderr], pidfd) = starting.finish().unwrap();
    assert!(stdin.is_some() && stdout.is_some() && stderr.is_none() && pidfd.is_none());
    assert_eq!((process.pid(), process.wait().unwrap().code()), (pid, Some(7)));
}

fn several(subject: &Subject) {
    let starting: Vec<Starting> = (0..5).map(|code| start(subject, Act::Exit(code))).collect();
    // The last first.
    for (code, starting) in starting.into_iter().enumerate().rev() {
        let (process, ..) = starting.finish().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(code as i32));
    }
}

fn looked_at(subject: &Subject) {
    let clock = subject.backend.clock();
    let mut starting = start(subject, Act::Exit(3));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    starting.on_ready(move || _ = counted.fetch_add(1, Ordering::SeqCst)).unwrap();
    let begun = clock.now();
    while calls.load(Ordering::SeqCst) == 0 {
        assert!(clock.now() - begun < Duration::from_secs(60), "nobody has called");
        clock.sleep_until(clock.now() + Duration::from_micros(100));
    }
    let (process, ..) = starting.wait(Some(begun)).unwrap().expect("there is something to see");
    assert_eq!((process.wait().unwrap().code(), calls.load(Ordering::SeqCst)), (Some(3), 1));
}

fn missing(subject: &Subject) {
    let plan = Plan::builder("/no/such/program").build().unwrap();
    for looks in [false, true] {
        let now = subject.backend.clock().now();
        let started = Process::start(&subject.backend, &plan).and_then(|mut starting| {
            if looks {
                if let Some(started) = starting.wait(Some(now))? {
                    return Ok(started);
                }
            }
            starting.finish()
        });
        let error = started.map(|(process, ..)| process).unwrap_err();
        assert!(matches!(&error, Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }), "{error:?}");
    }
}

fn given_up(subject: &Subject) {
    let clock = subject.backend.clock();
    // No pipe: one without a reader would end it as well.
    let plan = Plan::builder(&subject.actor).args(Act::Forever.to_args()).stdout(PlanStdio::Null).build().unwrap();
    for round in 0..20 {
        let mut starting = Process::start(&subject.backend, &plan).expect("the actor can be started");
        let pid = starting.pid();
        match starting.wait(Some(clock.now() + Duration::from_micros(round * 30))).unwrap() {
            // It was quicker.
            Some((process, ..)) => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            None => drop(starting),
        }
        subject.wait_until_gone(pid);
    }
}
