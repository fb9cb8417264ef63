//! What the sandbox asks for, and what is left of a command, on simulated kernels.

use crate::rules;
use crate::sandbox::{Ended, Sandbox};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steadfast::mock::{Builder, Kernel, Script, Simulated};
use steadfast::{Error, ErrorKind, JobLimit, Namespaces, System, Wall};

/// Any descriptor will do in a simulation, which opens nothing.
fn sandbox(if_possible: bool) -> Sandbox {
    let rules = Some(File::open("/dev/null").unwrap().into());
    Sandbox { rules, memory: 64 << 20, processes: 4, time: Duration::from_secs(30), if_possible }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A tool that leaves a daemon behind, in a session of its own; and one that does not end.
fn kernel() -> Builder {
    let daemon = Script::new().new_session().run_forever();
    Kernel::builder().program("tool", Script::new().spawn(daemon).exit(3)).program("endless", Script::new().run_forever())
}

#[test]
fn all_walls_are_asked_for() {
    let seen = Arc::new(Mutex::new(None));
    let sees = Arc::clone(&seen);
    let tool = move |run: &steadfast::mock::Run| {
        *sees.lock().unwrap() = Some(run.attributes.clone());
        Script::new()
    };
    let kernel = Kernel::builder().program_with("tool", tool).build();
    let report = sandbox(false).run(&kernel.system(), &words(&["tool", "--quick"])).unwrap();
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    let asked = seen.lock().unwrap().take().unwrap();
    assert!(asked.no_new_privileges && asked.close_fds && asked.namespaces.contains(Namespaces::NET));
    assert_eq!((asked.landlock.len(), asked.bounding, asked.inheritable), (1, Some(vec![]), Some(vec![])));
}

#[test]
fn nothing_is_left_whatever_ends_it() {
    kernel().build().explore(1..=500, |sim| {
        let report = sandbox(false).run(&sim.system(), &words(&["tool"])).unwrap();
        assert!(matches!(report.ended, Ended::ByItself(status) if status.code() == Some(3)));
        assert_eq!(sim.processes(), []);
        let begun = sim.now();
        let report = sandbox(false).run(&sim.system(), &words(&["endless"])).unwrap();
        assert_eq!((report.ended, sim.processes()), (Ended::OutOfTime, vec![]));
        assert!(sim.now() - begun < Duration::from_secs(31));
    });
}

/// Who insists gets an error that names what is missing, and nothing runs; who does not is told.
#[test]
fn on_an_old_kernel_it_says_what_is_missing() {
    let kernel = || kernel().without_wall(Wall::Landlock).without_limit(JobLimit::Memory).build();
    let insisted = sandbox(false).run(&kernel().system(), &words(&["tool"])).unwrap_err();
    assert_eq!(insisted.kind(), ErrorKind::Unsupported);
    let report = sandbox(true).run(&kernel().system(), &words(&["tool"])).unwrap();
    assert!(
        matches!(
            &report.missing[..],
            [Error::NoWall { wall: Wall::Landlock, .. }, Error::NoLimit { limit: JobLimit::Memory, .. }]
        ),
        "{:?}",
        report.missing
    );
    let only_landlock = Kernel::builder().without_wall(Wall::Landlock).program("tool", Script::new()).build();
    let error = sandbox(false).run(&only_landlock.system(), &words(&["tool"])).unwrap_err();
    assert!(error.to_string().contains("Landlock cannot be had here: landlock_restrict_self"), "{error}");
    assert!(error.to_string().contains("5.13"), "{error}");
}

/// A real one, where this machine has all of it.
#[test]
fn on_this_machine_too() {
    let system = System::current().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rules = rules::one_writable(dir.path(), true).unwrap();
    let has_landlock = rules.is_some();
    let script = "echo x >inside && { echo x >../outside.$$ && rm ../outside.$$ && exit 1; exit 7; } 2>/dev/null";
    let line = format!("cd {} && {script}", dir.path().display());
    let sandbox = Sandbox { rules, ..sandbox(true) };
    match sandbox.run(&system, &words(&["sh", "-c", &line])) {
        Ok(report) => {
            let code = if has_landlock { 7 } else { 1 };
            assert!(matches!(report.ended, Ended::ByItself(status) if status.code() == Some(code)), "{report:?}");
            assert!(Path::new(dir.path()).join("inside").exists());
        }
        // Where a plain user may make no namespaces.
        Err(error) => assert!(error.to_string().contains("namespaces"), "{error}"),
    }
}
