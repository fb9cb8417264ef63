//! The start of a process whose file cannot be opened yet: limits, tasks, signals, other starts.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::forking::in_child;
use crate::input::{PATIENCE, runtime};
use crate::leaks::{children, descriptors, until};
use crate::stage::Outcome;
use crate::starts::{SHORT, spawn_within, timed_out};
use crate::storm::noop;
use nix::sys::fanotify::{EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response};
use signal_hook::consts::SIGUSR1;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use steadfast::tokio::AsyncCommand;
use steadfast::{Capture, Command, Errno, ErrorKind, Pipeline, System, spawn_many};
use steadfast_linux::bare;

pub(crate) fn tests() -> Vec<Test> {
    type Check = fn(&System, &Gate, &Path);
    let gated: [(&str, Check); 7] = [
        ("spawn_timeout returns, and nothing is left", limited),
        ("every call with a limit returns", all_limited),
        ("in a task: timers are on time, and a future that is dropped ends the child", in_a_task),
        ("in a task: spawned, once its file can be opened", in_a_task_in_the_end),
        ("other starts are not held up", others),
        ("a signal handler runs meanwhile", handled),
        ("dropped or polled in the child of a fork(2), it goes on in its parent", forked),
    ];
    let test = |(name, check): (&str, Check)| {
        Test::that_may_skip(format!("start: held at its exec: {name}"), move || match Gate::check() {
            Err(why) => Outcome::Skipped(why),
            Ok(()) => {
                each_system(|system| {
                    let (_dir, program) = noop();
                    // Its reactor stays, and so does what tokio keeps for ever from its first runtime on, if it handles signals.
                    drop(runtime());
                    async_io::block_on(async_io::Timer::after(Duration::from_millis(1)));
                    let before = descriptors();
                    let gate = Gate::on(&program);
                    let _here = system.enter();
                    check(system, &gate, &program);
                    drop(gate);
                    until("no child is left", || children().is_empty());
                    until("no descriptor is left", || descriptors() == before);
                });
                Outcome::Passed
            }
        })
    };
    gated.into_iter().map(test).collect()
}

/// Holds whoever executes a file, until it is opened (fanotify(7)).
pub(crate) struct Gate {
    fanotify: Fanotify,
}

impl Gate {
    pub(crate) fn check() -> Result<(), String> {
        match Fanotify::init(InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC, EventFFlags::O_RDONLY) {
            Ok(_) => Ok(()),
            Err(errno) => Err(format!("fanotify_init: {errno}: nobody can be held at an exec")),
        }
    }

    pub(crate) fn on(path: &Path) -> Gate {
        let fanotify =
            Fanotify::init(InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC)
                .unwrap();
        fanotify.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_EXEC_PERM, nix::fcntl::AT_FDCWD, Some(path)).unwrap();
        Gate { fanotify }
    }

    /// Waits until somebody is held.
    fn holds(&self) -> Vec<FanotifyEvent> {
        self.fanotify.read_events().unwrap()
    }

    fn lets_through(&self, held: &[FanotifyEvent]) {
        for event in held {
            self.fanotify.write_response(FanotifyResponse::new(event.fd().unwrap(), Response::FAN_ALLOW)).unwrap();
        }
    }
}

fn limited(system: &System, gate: &Gate, program: &Path) {
    for _ in 0..3 {
        timed_out(Command::new(program).spawn_timeout(SHORT), SHORT);
        // Nobody has let it through: it was killed.
        until("the child goes", || children().is_empty());
    }
    // In time.
    std::thread::scope(|scope| {
        let spawned = scope.spawn(|| spawn_within(system, program, PATIENCE).unwrap().wait().unwrap());
        let held = gate.holds();
        gate.lets_through(&held);
        assert!(spawned.join().unwrap().success());
    });
}

fn all_limited(_: &System, _: &Gate, program: &Path) {
    let mut command = Command::new(program);
    let options = Capture::new().timeout(SHORT);
    for captured in [command.output_timeout(SHORT), command.capture(&options), command.input("x").output_timeout(SHORT)] {
        let captured = captured.unwrap();
        assert!(captured.timed_out && !captured.started && captured.status.is_none() && captured.stdout.total() == 0);
    }
    timed_out(command.lines(&options).map(drop), SHORT);
    let checked = command.checked(true).capture(&options).unwrap_err();
    assert_eq!(checked.kind(), ErrorKind::Unsuccessful);
    let mut before = Command::new(ACTOR);
    before.arg("forever");
    let pipeline = Pipeline::new([before, Command::new(program)]).output_timeout(SHORT).unwrap();
    assert!(pipeline.timed_out && !pipeline.started && pipeline.statuses == [None, None]);
    runtime().block_on(async {
        let captured = Command::new(program).output_timeout_async(SHORT).await.unwrap();
        assert!(captured.timed_out && !captured.started && captured.status.is_none());
        timed_out(Command::new(program).spawn_timeout_async(SHORT).await.map(drop), SHORT);
        timed_out(Command::new(program).lines_async(Capture::new().timeout(SHORT)).await.map(drop), SHORT);
    });
    async_io::block_on(async {
        use steadfast::async_io::AsyncCommand;
        timed_out(AsyncCommand::spawn_timeout_async(&Command::new(program), SHORT).await.map(drop), SHORT);
    });
}

fn in_a_task(_: &System, _: &Gate, program: &Path) {
    // One thread: whoever blocked it would keep the timer from going off.
    runtime().block_on(async {
        let mut spawn = std::pin::pin!(Command::new(program).spawn_async());
        let timer = tokio::time::sleep(Duration::from_millis(100));
        tokio::select! {
            _ = &mut spawn => panic!("it is held"),
            () = timer => {}
        }
    });
    until("the child goes with its future", || children().is_empty());
    // Not polled at all.
    drop(Command::new(program).spawn_async());
    drop(of_a_function(program));
}

/// It does not borrow the command.
fn of_a_function(program: &Path) -> impl Future<Output = steadfast::Result<steadfast::Output>> + use<> {
    Command::new(program).output_async()
}

fn in_a_task_in_the_end(_: &System, gate: &Gate, program: &Path) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = gate.holds();
            gate.lets_through(&held);
        });
        let status = runtime().block_on(async { Command::new(program).spawn_async().await.unwrap().wait().await.unwrap() });
        assert!(status.success());
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = gate.holds();
            gate.lets_through(&held);
        });
        let output = async_io::block_on(async {
            use steadfast::async_io::AsyncCommand;
            AsyncCommand::output_async(&Command::new(program)).await.unwrap()
        });
        assert!(output.status.success());
    });
}

fn others(system: &System, gate: &Gate, program: &Path) {
    // Those before it have taught how an exec is heard of.
    let mut quick = Command::new(ACTOR);
    quick.args(["exit", "3"]);
    for _ in 0..3 {
        assert_eq!(quick.status().unwrap().code(), Some(3));
    }
    std::thread::scope(|scope| {
        let held = scope.spawn(|| system.spawn(&Command::new(program)).unwrap().wait().unwrap());
        let events = gate.holds();
        assert_eq!(quick.status().unwrap().code(), Some(3));
        assert!(
            spawn_many(&[quick.clone(), quick.clone()]).into_iter().all(|child| child.unwrap().wait().unwrap().code() == Some(3))
        );
        runtime().block_on(async { assert_eq!(quick.spawn_async().await.unwrap().wait().await.unwrap().code(), Some(3)) });
        assert_eq!(quick.output_timeout(PATIENCE).unwrap().status.unwrap().code(), Some(3));
        gate.lets_through(&events);
        assert!(held.join().unwrap().success());
    });
}

fn forked(_: &System, gate: &Gate, program: &Path) {
    use std::task::{Context, Waker};
    type Held = steadfast::tokio::CommandFuture<steadfast::tokio::Child>;
    let mut spawn: Option<Held> = Some(Command::new(program).spawn_async());
    let events = gate.holds();
    assert!(spawn.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    in_child(|| drop(spawn.take()));
    // It is no child there, and no handle of one.
    in_child(|| {
        let polled = spawn.take().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, std::task::Poll::Ready(Err(error)) if error.errno() == Some(Errno::CHILD)));
    });
    gate.lets_through(&events);
    let status = runtime().block_on(async { spawn.take().unwrap().await.unwrap().wait().await.unwrap() });
    assert!(status.success());
}

fn handled(system: &System, gate: &Gate, program: &Path) {
    let count = Arc::new(AtomicUsize::new(0));
    let id = signal_hook::flag::register_usize(SIGUSR1, Arc::clone(&count), 1).unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let spawner = scope.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            system.spawn(&Command::new(program)).unwrap().wait().unwrap()
        });
        let thread = told.recv().unwrap();
        let events = gate.holds();
        bare::signal_thread(thread.as_raw_nonzero().get(), steadfast::Signal::USR1).unwrap();
        until("the handler runs while the spawner waits", || count.load(Ordering::SeqCst) == 1);
        gate.lets_through(&events);
        assert!(spawner.join().unwrap().success());
    });
    signal_hook::low_level::unregister(id);
}
