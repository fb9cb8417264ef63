//! What is promised of walls: each that is asked for is had, refused by name, or reported; and what can never be is refused before anything is started.

use crate::promise::{Promise, promise};
use crate::{Act, Subject};
use std::sync::Arc;
use steadfast_core::{
    Attributes, Capability, Error, ErrorKind, IoPriority, Plan, PlanStdio, Process, Result, SeccompFilter, Wall,
};

pub(crate) const PROMISES: &[Promise] = &[
    promise("walls: what is insisted on is had, or refused by name, and then nothing was started", insisted),
    promise("walls: what is asked for if possible is had, or reported with its reason", if_possible),
    promise("walls: what contradicts itself is refused before anything is started", contradictions),
];

/// Of this wall alone, such that nothing is shut in by it.
fn with(wall: Wall) -> Option<Attributes> {
    let base = Attributes { no_new_privileges: true, ..Attributes::default() };
    Some(match wall {
        Wall::Seccomp => Attributes { seccomp: vec![SeccompFilter::new([(0x06, 0, 0, 0x7fff_0000)])], ..base },
        Wall::IoPriority => Attributes { io_priority: Some(IoPriority::Idle), ..base },
        Wall::ResetOnFork => Attributes { reset_on_fork: true, ..base },
        // Its rules are made by another crate, on a real kernel.
        _ => return None,
    })
}

/// The process, and what it goes without.
fn start(subject: &Subject, attributes: Attributes) -> Result<(Process, Vec<(Wall, Error)>)> {
    let plan = Plan::builder(&subject.actor).args(Act::Exit(7).to_args()).stdin(PlanStdio::Piped).stdout(PlanStdio::Piped);
    let mut starting = Process::start(&subject.backend, &plan.attributes(Arc::new(attributes)).build()?)?;
    loop {
        if let Some((process, ..)) = starting.wait(None)? {
            return Ok((process, starting.take_missing_walls()));
        }
    }
}

fn names(error: &Error, wall: Wall) -> bool {
    let text = error.to_string();
    let is_named = matches!(error, Error::NoWall { wall: named, .. } if *named == wall);
    is_named && error.kind() == ErrorKind::Unsupported && error.errno().is_some() && text.contains(wall.since())
}

fn insisted(subject: &Subject) {
    for (wall, attributes) in Wall::ALL.into_iter().filter_map(|wall| Some((wall, with(wall)?))) {
        match start(subject, attributes) {
            Ok((process, missing)) => {
                assert!(missing.is_empty(), "{wall}: {missing:?}");
                assert_eq!(process.wait().unwrap().code(), Some(7));
            }
            Err(error) => assert!(names(&error, wall), "{error:#?}"),
        }
    }
}

fn if_possible(subject: &Subject) {
    for (wall, attributes) in Wall::ALL.into_iter().filter_map(|wall| Some((wall, with(wall)?))) {
        let is_there = start(subject, attributes.clone()).map(|(process, _)| process.wait()).is_ok();
        let (process, missing) = start(subject, Attributes { walls_if_possible: true, ..attributes }).unwrap();
        assert_eq!(missing.is_empty(), is_there, "{wall}: {missing:?}");
        assert!(missing.iter().all(|(named, error)| *named == wall && names(error, wall)), "{missing:?}");
        assert_eq!(process.wait().unwrap().code(), Some(7));
    }
}

fn contradictions(subject: &Subject) {
    let base = Attributes::default;
    let one = vec![Capability::KILL];
    for attributes in [
        Attributes { seccomp: vec![SeccompFilter::new([(0, 0, 0, 0); 0])], walls_if_possible: true, ..base() },
        Attributes { io_priority: Some(IoPriority::BestEffort(8)), walls_if_possible: true, ..base() },
        Attributes { keep_capabilities: true, ambient: one.clone(), ..base() },
        Attributes { inheritable: Some(vec![]), ambient: one, ..base() },
        Attributes { detached: true, dies_with_us: true, ..base() },
    ] {
        let error = start(subject, attributes).map(|(process, _)| process).unwrap_err();
        assert!(matches!(error, Error::InvalidPlan { .. }), "{error:#?}");
    }
}
