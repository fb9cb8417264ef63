//! Walls in the simulation: noted, and missing where the kernel was told so.

use std::sync::{Arc, Mutex};
use steadfast_core::{
    Attributes, Capability, Errno, Error, IoPriority, Plan, Process, Result, SeccompFilter, SecureBits, Stage, Wall,
};
use steadfast_mock::{Kernel, Run, Script};

fn all() -> Attributes {
    Attributes {
        bounding: Some(vec![Capability::KILL]),
        inheritable: Some(vec![]),
        keep_capabilities: false,
        securebits: SecureBits::NOROOT,
        io_priority: Some(IoPriority::Idle),
        reset_on_fork: true,
        no_new_privileges: true,
        landlock: vec![Arc::new(std::fs::File::open("/dev/null").unwrap().into())],
        seccomp: vec![SeccompFilter::new([(0x06, 0, 0, 0x7fff_0000)]).log(true)],
        detached: true,
        setsid: true,
        ..Attributes::default()
    }
}

fn start(kernel: &Kernel, attributes: Attributes) -> Result<(Process, Vec<(Wall, Error)>)> {
    let plan = Plan::builder("tool").attributes(attributes).build()?;
    let mut starting = Process::start(&kernel.backend(), &plan)?;
    let (process, ..) = starting.wait(None)?.expect("there is no limit");
    Ok((process, starting.take_missing_walls()))
}

#[test]
fn they_are_noted_in_the_run() {
    let seen = Arc::new(Mutex::new(None));
    let sees = Arc::clone(&seen);
    let kernel = Kernel::builder().program_with("tool", move |run: &Run| {
        *sees.lock().unwrap() = Some(run.attributes.clone());
        Script::new()
    });
    let (process, missing) = start(&kernel.build(), all()).unwrap();
    assert!(process.wait().unwrap().success() && missing.is_empty());
    let noted = seen.lock().unwrap().take().unwrap();
    assert_eq!((noted.bounding, noted.inheritable), (Some(vec![Capability::KILL]), Some(vec![])));
    assert_eq!((noted.securebits, noted.io_priority), (SecureBits::NOROOT, Some(IoPriority::Idle)));
    assert!(noted.reset_on_fork && noted.detached && noted.landlock.len() == 1);
    assert!(noted.seccomp[0].logs() && noted.seccomp[0].instructions().len() == 1);
}

#[test]
fn a_kernel_without_one_refuses_or_reports() {
    for wall in Wall::ALL {
        let kernel = Kernel::builder().without_wall(wall).program("tool", Script::new()).build();
        let error = start(&kernel, all()).map(|(process, _)| process).unwrap_err();
        assert!(matches!(error, Error::NoWall { wall: named, source: Errno::NOSYS, .. } if named == wall), "{error:?}");
        let (process, missing) = start(&kernel, Attributes { walls_if_possible: true, ..all() }).unwrap();
        assert!(matches!(&missing[..], [(named, Error::NoWall { .. })] if *named == wall), "{missing:?}");
        assert!(process.wait().unwrap().success());
        // Who does not ask for it lacks nothing.
        assert!(start(&kernel, Attributes::default()).unwrap().1.is_empty());
    }
    // All of them, in their order.
    let none = Wall::ALL.into_iter().fold(Kernel::builder(), |builder, wall| builder.without_wall(wall));
    let kernel = none.program("tool", Script::new()).build();
    let (_, missing) = start(&kernel, Attributes { walls_if_possible: true, ..all() }).unwrap();
    assert_eq!(missing.into_iter().map(|(wall, _)| wall).collect::<Vec<_>>(), Wall::ALL);
    // A missing program is told as ever.
    let plan = Plan::builder("no").attributes(Attributes { walls_if_possible: true, ..all() }).build().unwrap();
    let error = Process::spawn(&kernel.backend(), &plan).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }), "{error:?}");
}

#[test]
fn a_listener_would_never_be_asked() {
    let kernel = Kernel::builder().program("tool", Script::new()).build();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let seccomp = vec![SeccompFilter::new([(0x06, 0, 0, 0x7fc0_0000)]).listener(theirs)];
    let error = start(&kernel, Attributes { seccomp, ..Attributes::default() }).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("listener"), "{error:?}");
    drop(ours);
}
