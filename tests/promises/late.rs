//! Where code runs last: in the destructors of thread-locals, and while a panic unwinds. All that can be called works there too.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::leaks::{children, until};
use std::cell::RefCell;
use std::mem::forget;
use std::sync::mpsc::channel;
use std::time::Duration;
use steadfast::backend::{Until, Watcher};
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Capture, Command, Pid, Pipeline, Process, Signal, Stdio, System, WaitSet, wait_any};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("late: in a thread-local's destructor, which was there before us", || {
            each_system(|system| at_the_end(system, Order::TheirsFirst))
        }),
        Test::new("late: in a thread-local's destructor, which came after us", || {
            each_system(|system| at_the_end(system, Order::OursFirst))
        }),
        Test::new("late: while a panic unwinds", || each_system(unwinding)),
        Test::new("late: a simulation is entered, in a thread-local's destructor", simulated),
    ]
}

/// Whose thread-locals are made first, to be destroyed last.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    OursFirst,
    TheirsFirst,
}

/// Runs something when it is dropped.
struct Late(Option<Box<dyn FnOnce()>>);

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// In a thread, when that has ended as far as its own code goes.
fn in_destructor(before: impl FnOnce() + Send, order: Order, run: impl FnOnce() + Send + 'static) {
    let (said, heard) = channel();
    let run = move || {
        run();
        said.send(()).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let late = || LATE.set(Some(Late(Some(Box::new(run)))));
            match order {
                Order::OursFirst => {
                    before();
                    late();
                }
                Order::TheirsFirst => {
                    late();
                    before();
                }
            }
        });
    });
    heard.recv().expect("the destructor came to its end");
}

fn at_the_end(system: &System, order: Order) {
    let (here, there) = (system.clone(), system.clone());
    in_destructor(move || everything(&here), order, move || everything(&there));
    let there = system.clone();
    // Without a call of ours before.
    in_destructor(|| (), order, move || everything(&there));
    until("what was dropped is reaped", || children().is_empty());
}

fn unwinding(system: &System) {
    let (said, heard) = channel();
    let system = system.clone();
    let thread = std::thread::spawn(move || {
        let _late = Late(Some(Box::new(move || {
            everything(&system);
            said.send(()).unwrap();
        })));
        // Without the hook, which would print it.
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(thread.join().is_err());
    heard.recv().unwrap();
    until("what was dropped is reaped", || children().is_empty());
}

fn simulated() {
    for order in [Order::OursFirst, Order::TheirsFirst] {
        let kernel = Kernel::builder().program("only-simulated", Script::new().exit(4)).build();
        let run = move || {
            let here = kernel.system().enter();
            assert_eq!(Command::new("only-simulated").status().unwrap().code(), Some(4));
            drop(here);
            assert_ne!(System::current().unwrap().backend_name(), "mock");
        };
        in_destructor(run.clone(), order, run);
    }
}

/// Everything that is public and does something.
fn everything(system: &System) {
    struct Deaf;
    impl Watcher for Deaf {
        fn notify(&self, _: u64) {}
    }
    let _here = system.enter();
    assert_eq!(System::current().unwrap().backend_name(), system.backend_name());
    assert!(System::detect().is_ok() && System::pidfd().is_ok() == steadfast::Probe::once().unwrap().obstacle().is_none());
    let actor = |args: &[&str]| {
        let mut command = Command::new(ACTOR);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    let ends = || actor(&["exit", "3"]);
    assert_eq!(ends().status().unwrap().code(), Some(3));
    assert_eq!(ends().output().unwrap().status.code(), Some(3));
    assert_eq!(ends().output_timeout(Duration::from_secs(60)).unwrap().status.unwrap().code(), Some(3));
    assert_eq!(ends().capture(&Capture::new()).unwrap().status.unwrap().code(), Some(3));
    assert!(Pipeline::new([Command::new("true"), Command::new("true")]).output().unwrap().success());
    assert!(Command::new("/no/such").spawn().is_err());
    let child = actor(&["forever"]).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    let found = Process::find(child.pid()).unwrap();
    let watcher: std::sync::Arc<dyn Watcher> = std::sync::Arc::new(Deaf);
    found.watch_end(Until::Exited, &watcher, 1).unwrap();
    child.watch(&watcher, 2);
    let set = WaitSet::new();
    set.add((), found.clone()).unwrap();
    assert!(set.wait_timeout(Duration::from_millis(1)).is_none());
    assert!(wait_any(&[child.process()], Some(Duration::from_millis(1))).unwrap().is_none());
    child.signal(Signal::CONT).unwrap();
    child.kill().unwrap();
    assert!(wait_any(&[child.process()], None).unwrap().is_some());
    assert!(set.wait().is_some());
    assert!(found.wait_gone().is_ok() && found.wait_exited().is_ok());
    assert!(Process::find(Pid::MAX).is_err());
    let released = actor(&["until-eof", "0"]).spawn().unwrap();
    released.release().unwrap();
    drop(actor(&["until-eof", "0"]).spawn().unwrap());
    drop(actor(&["forever"]).kill_on_drop(true).spawn().unwrap());
    // A guard that is forgotten changes nothing for others.
    forget(system.enter());
}
