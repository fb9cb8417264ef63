//! `no_process_left`: each kind of what a test can leave behind is named, and nothing else.

use crate::Test;
use crate::input::{runtime, sh};
use crate::leaks::{children, each_backend, until};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::testing::no_process_left;
use steadfast::tokio::AsyncCommand;
use steadfast::{Command, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("no_process_left: whoever cleans up passes, and gets his answer", || each_backend(clean)),
        Test::new("no_process_left: processes, zombies, descriptors: each is named, and processes are ended", || {
            each_backend(left)
        }),
        Test::new("no_process_left: what others start at the same time does not count", || each_backend(others)),
        Test::new("no_process_left: a panic of the test is passed on", || each_backend(panics)),
        Test::new("no_process_left: in a simulation, in its time", simulated),
    ]
}

fn clean(system: &System) {
    let _here = system.enter();
    let answer = no_process_left(|| {
        Command::new("true").status().unwrap();
        // Reaped in the background.
        drop(Command::new("true").spawn().unwrap());
        drop(Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap());
        let output = runtime().block_on(Command::new("echo").arg("x").output_async()).unwrap();
        assert!(Command::new("/no/such").spawn().is_err());
        no_process_left(|| Command::new("cat").input("y").output().unwrap().stdout.len() + output.stdout.len())
    });
    assert_eq!(answer, 3);
    // What was there before it does not count.
    let before = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
    no_process_left(|| assert!(before.try_wait().unwrap().is_none()));
}

/// What it says of a test that leaves something.
fn says<T>(test: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| no_process_left(test))).err().expect("it sees that something is left");
    panic.downcast_ref::<String>().expect("it says what").clone()
}

fn left(system: &System) {
    let _here = system.enter();
    let (mut zombie, mut pipe, mut pidfd) = (None, None, None);
    let said = says(|| {
        drop(Command::new("sleep").arg("1000").spawn().unwrap());
        zombie = Some(Command::new("true").spawn().unwrap());
        assert!(sh("setsid tail -f /dev/null >/dev/null 2>&1 & exit 0").status().unwrap().success());
        let mut child = Command::new("echo").stdout(Stdio::piped()).spawn().unwrap();
        pipe = child.stdout.take();
        child.wait().unwrap();
        if system.info().lends_handle {
            let mut child = Command::new("false").create_pidfd(true).spawn().unwrap();
            pidfd = child.take_pidfd();
            child.wait().unwrap();
        }
        // This one cleans up.
        assert!(Command::new("cat").input("x").output().unwrap().status.success());
    });
    let lines: Vec<&str> = said.lines().skip(1).collect();
    // An inode for each pidfd: Linux 6.9.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').take(2).map(|part| part.parse().unwrap_or(0)).collect();
    let pidfd_line = pidfd.is_some() && version >= vec![6, 9];
    let kinds: [(&str, bool); 5] = [
        (" (sleep) still runs", true),
        (" (true) is a zombie: nobody has waited for it", true),
        (" (tail), started by a child, still runs", true),
        (" is a pipe of process ", true),
        (" is a pidfd of process ", pidfd_line),
    ];
    for (words, is_there) in kinds {
        assert_eq!(lines.iter().filter(|line| line.contains(words)).count(), usize::from(is_there), "{words}: {said}");
    }
    assert_eq!(lines.len(), kinds.iter().filter(|kind| kind.1).count(), "{said}");
    assert!(zombie.unwrap().wait().unwrap().success());
    drop((pipe, pidfd));
    until("those that ran were killed", || children().is_empty());
}

fn others(system: &System) {
    let _here = system.enter();
    std::thread::scope(|scope| {
        let other = system.clone();
        let (says, said) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let child = other.spawn(&sh("exec sleep 1000")).unwrap();
            says.send(()).unwrap();
            drop(says);
            child
        });
        no_process_left(|| said.recv().unwrap());
        // On a thread of the test's that has entered its system it does.
        let said = super::testing::says(|| {
            let system = System::current().unwrap();
            scope.spawn(move || drop(system.spawn(&sh("exec sleep 1000")).unwrap())).join().unwrap();
        });
        assert!(said.contains("(sh) still runs"), "{said}");
    });
    // One runs, and the other was killed: it may be reaped just now.
    for pid in children() {
        drop(steadfast::Process::find(pid.parse().unwrap()).and_then(|process| process.kill()));
    }
    until("it is reaped", || children().is_empty());
}

fn panics(system: &System) {
    let _here = system.enter();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        no_process_left(|| {
            let _left = Command::new("sleep").arg("1000").spawn().unwrap();
            panic!("of its own");
        })
    }));
    assert_eq!(*panic.unwrap_err().downcast_ref::<&str>().unwrap(), "of its own");
    until("and what it left is ended", || children().is_empty());
}

fn simulated() {
    let second = Duration::from_secs(1);
    let kernel = Kernel::builder()
        .program("server", Script::new().run_forever())
        .program("job", Script::new().sleep(second / 2).exit(0))
        .build();
    let _here = kernel.system().enter();
    no_process_left(|| drop(Command::new("job").spawn().unwrap()));
    assert!(kernel.now() <= second);
    let before = kernel.now();
    let said = says(|| drop(Command::new("server").spawn().unwrap()));
    assert!(said.contains("(server) still runs"), "{said}");
    assert_eq!(kernel.now() - before, second);
    let mut kept = None;
    let said = says(|| kept = Some(Command::new("job").spawn().unwrap()));
    assert!(said.contains("(job) is a zombie"), "{said}");
}
