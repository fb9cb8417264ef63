//! Waiting, reading and writing in tasks: on every backend, in both runtimes, and whatever becomes of futures and runtimes.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::contract::ACTOR;
use crate::leaks::{children, descriptors, until};
use crate::scene::{Promise, Scene, on_every_backend};
use std::future::{Future, poll_fn};
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::tokio::{AsyncCommand, AsyncProcess, Child};
use steadfast::{Capture, Command, ErrorKind, Signal, Stdio, System};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

const PROMISES: &[Promise] = &[
    ("wait and exited give the status, to any number of tasks", many_tasks),
    ("a future that is dropped loses nothing", dropped_futures),
    ("a child outlives its runtime, and is waited for in another", many_runtimes),
    ("a future goes on in another runtime, when its own is gone", moved_future),
    ("many exit at once, and one is not looked at: the others' descriptors go", many_at_once),
    ("handles that are done, released, or waited for by a thread", other_ways),
    ("who is not our child: exited when it is gone, wait fails at once", foreign),
    ("pipes are read and written, much and to the end", pipes),
    ("output with a timeout and a limit; what was read is kept", captures),
    ("kill_on_drop kills, and nothing is left", killed_on_drop),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("tasks", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    });
    tests.push(Test::new("tasks: on a runtime with several threads", several_threads));
    tests.push(Test::new("tasks: async-io: children, pipes, output", in_async_io));
    tests.push(Test::new("tasks: async-io: a simulated kernel goes by the time of day", simulated_in_async_io));
    tests.push(Test::new("tasks: virtual time: a supervisor, timers and processes", supervised));
    tests.push(Test::new("tasks: virtual time: what happens while nobody waits has happened", unwatched));
    tests.push(Test::new("tasks: outside of a runtime: an error, and no panic", no_runtime));
    tests.push(Test::new("tasks: nothing is left: descriptors, threads, zombies", nothing_left));
    tests
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Whose clock stands still while there is something to do.
pub(crate) fn paused() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn child(scene: &Scene, code: u8) -> Child {
    Child::from(scene.child(code))
}

fn many_tasks(scene: &Scene) {
    runtime().block_on(async {
        let child = child(scene, 3);
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let process = child.process().clone();
                tokio::spawn(async move {
                    if n % 2 == 0 {
                        process.wait_async().await.unwrap()
                    } else {
                        process.exited().await.unwrap().status().unwrap()
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // Closes its stdin.
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        for task in tasks {
            assert_eq!(task.await.unwrap().code(), Some(3));
        }
        assert_eq!(child.exited().await.unwrap().status().unwrap().code(), Some(3));
    });
}

fn dropped_futures(scene: &Scene) {
    runtime().block_on(async {
        for round in 0..20 {
            let child = child(scene, 4);
            let process = child.process().clone();
            for _ in 0..3 {
                // Polled once, and given up.
                let mut future = pin!(process.exited());
                let once = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
                assert!(once, "{process:?}");
            }
            if round % 2 == 0 {
                let mut future = pin!(process.wait_async());
                assert!(std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await);
                drop(child);
                assert_eq!(future.await.unwrap().code(), Some(4));
            } else {
                drop(child);
            }
            assert_eq!(process.wait_async().await.unwrap().code(), Some(4));
        }
    });
}

fn many_runtimes(scene: &Scene) {
    let [first, second] = [runtime(), runtime()];
    let mut command = Command::new(scene.actor());
    command.args(["until-eof", "5"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = first.block_on(command.spawn_async()).unwrap();
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0; 1];
    first.block_on(stdout.read_exact(&mut byte)).unwrap();
    assert_eq!(&byte, b"r");
    // Both live, and are polled in turns.
    for (runtime, expected) in [(&second, b"e"), (&first, b"a"), (&second, b"d")] {
        runtime.block_on(stdout.read_exact(&mut byte)).unwrap();
        assert_eq!(&byte, expected);
    }
    drop(first);
    second.block_on(stdout.read_exact(&mut byte)).unwrap();
    assert_eq!(&byte, b"y");
    let process = child.process().clone();
    second.block_on(async { assert!(timeout(Duration::from_millis(2), process.exited()).await.is_err()) });
    drop(second);
    assert_eq!(runtime().block_on(child.wait()).unwrap().code(), Some(5));
    // And without any.
    assert_eq!(process.wait().unwrap().code(), Some(5));
}

fn other_ways(scene: &Scene) {
    runtime().block_on(async {
        let [done, released, meanwhile] = [6, 7, 8].map(|code| child(scene, code));
        assert_eq!(done.wait().await.unwrap().code(), Some(6));
        assert_eq!(done.process().exited().await.unwrap().status().unwrap().code(), Some(6));
        released.process().release().unwrap();
        assert_eq!(released.wait().await.unwrap_err().kind(), ErrorKind::Released);
        assert_eq!(released.exited().await.unwrap_err().kind(), ErrorKind::Released);
        // While a task waits.
        let process = meanwhile.process().clone();
        let task = tokio::spawn(async move { process.exited().await });
        tokio::task::yield_now().await;
        meanwhile.process().release().unwrap();
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Released);
        // By another handle's synchronous wait.
        let mut other = scene.child(9);
        let process = other.process().clone();
        let task = tokio::spawn(async move { process.wait_async().await });
        tokio::task::yield_now().await;
        other.stdin = None;
        assert_eq!(other.wait().unwrap().code(), Some(9));
        assert_eq!(task.await.unwrap().unwrap().code(), Some(9));
    });
}

fn foreign(scene: &Scene) {
    runtime().block_on(async {
        let process = scene.foreigner();
        assert_eq!(process.wait_async().await.unwrap_err().kind(), ErrorKind::NoChild);
        assert!(timeout(Duration::from_millis(3), process.gone()).await.is_err());
        assert!(timeout(Duration::from_millis(3), process.exited()).await.is_err());
        let other = process.clone();
        let task = tokio::spawn(async move { other.gone().await });
        tokio::task::yield_now().await;
        process.kill().unwrap();
        let gone = task.await.unwrap().unwrap();
        assert_eq!(gone.status().map(|status| status.signal()), scene.tells_lost_status().then_some(Some(9)));
        assert_eq!(process.gone().await.unwrap(), gone);
        assert_eq!(process.exited().await.unwrap(), gone);
        let (mut parent, process) = scene.neglected();
        let other = process.clone();
        let task = tokio::spawn(async move { other.exited().await });
        tokio::task::yield_now().await;
        process.kill().unwrap();
        assert_eq!(task.await.unwrap().unwrap().status(), None);
        assert_eq!(process.exited().await.unwrap().status(), None);
        assert!(timeout(Duration::from_millis(3), process.gone()).await.is_err());
        parent.stdin = None;
        process.gone().await.unwrap();
        parent.wait().unwrap();
    });
}

/// Polls it once.
async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

fn moved_future(scene: &Scene) {
    let (first, second) = (runtime(), runtime());
    let mut command = Command::new(scene.actor());
    command.arg("forever").stdout(Stdio::null()).kill_on_drop(true);
    let children: Vec<Child> = (0..10).map(|_| command.spawn().unwrap().into()).collect();
    let mut moved: Vec<_> = children.iter().map(|child| Box::pin(child.wait())).collect();
    first.block_on(async {
        for future in &mut moved {
            assert!(is_pending(future.as_mut()).await);
        }
    });
    second.block_on(async {
        // Some only go there when nobody tells them to.
        for future in moved.iter_mut().step_by(2) {
            assert!(is_pending(future.as_mut()).await);
        }
    });
    drop(first);
    for (child, future) in children.iter().zip(moved) {
        child.kill().unwrap();
        let ended = second.block_on(async { timeout(Duration::from_secs(60), future).await.expect("told") });
        assert_eq!(ended.unwrap().signal(), Some(9));
    }
}

fn many_at_once(scene: &Scene) {
    let runtime = runtime();
    let before = descriptors().len();
    let mut command = Command::new(scene.actor());
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut children: Vec<Child> = (0..100).map(|_| command.spawn().unwrap().into()).collect();
    let stdins: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
    let processes: Vec<_> = children.iter().map(|child| child.process().clone()).collect();
    let mut futures: Vec<_> = processes.iter().map(|process| Box::pin(process.wait_async())).collect();
    runtime.block_on(async {
        for future in &mut futures {
            assert!(is_pending(future.as_mut()).await);
        }
        drop(stdins);
        let unpolled = futures.pop().unwrap();
        for future in futures {
            assert_eq!(future.await.unwrap().code(), Some(3));
        }
        // Its pidfd and the runtime's hub are left, and what the runtime keeps itself.
        if scene.system.info().real {
            until("descriptors go", || descriptors().len() <= before + 2);
        }
        assert_eq!(unpolled.await.unwrap().code(), Some(3));
    });
    drop(runtime);
}

fn pipes(scene: &Scene) {
    let copy = |scene: &Scene| match scene.system.info().real {
        true => Command::new("cat"),
        false => Command::new("copy"),
    };
    runtime().block_on(async {
        let mut child = copy(scene).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async().await.unwrap();
        // More than the pipes hold: both sides have to go on in turns.
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| if n % 60 == 59 { b'\n' } else { b'a' + (n % 23) as u8 }).collect();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let expected = bytes.clone();
        let writer = tokio::spawn(async move {
            stdin.write_all(&bytes).await.unwrap();
            stdin.shutdown().await.unwrap();
            assert_eq!(stdin.write_all(b"more").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        });
        let mut read = Vec::new();
        stdout.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert!(read == expected, "{} bytes", read.len());
        assert!(child.wait().await.unwrap().success());
        // Back to threads, and to another process.
        let mut first = copy(scene).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async().await.unwrap();
        let stdout = first.stdout.take().unwrap().into_blocking();
        let output = copy(scene).stdin(stdout).output_async();
        first.stdin.as_mut().unwrap().write_all(b"through two\n").await.unwrap();
        assert!(first.wait().await.unwrap().success());
        assert_eq!(output.await.unwrap().stdout, b"through two\n");
    });
}

fn captures(scene: &Scene) {
    let talker = |scene: &Scene| match scene.system.info().real {
        true => {
            let mut command = Command::new("sh");
            command.args(["-c", "seq 100000; echo oops >&2; read line; echo late"]).stdin(Stdio::piped());
            command
        }
        false => {
            let mut command = Command::new("talker");
            command.stdin(Stdio::piped());
            command
        }
    };
    runtime().block_on(async {
        let limited = Capture::new().limit(100);
        let mut command = talker(scene);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn_async().await.unwrap();
        // Its stdin is not ours to close for the moment.
        let stdin = child.stdin.take();
        let some = child.capture(&limited.clone().timeout(Duration::from_millis(700))).await.unwrap();
        assert!(some.timed_out && some.status.is_none());
        assert_eq!(some.stderr.to_vec(), b"oops\n");
        assert!(some.stdout.head().starts_with(b"1\n2\n"));
        // Given up in the middle of it: what was read is still there.
        assert!(timeout(Duration::from_millis(1), child.capture(&limited)).await.is_err());
        drop(stdin);
        let all = child.capture(&limited.clone().to_the_end()).await.unwrap();
        assert_eq!((all.timed_out, all.status.unwrap().code()), (false, Some(0)));
        assert_eq!(all.stderr.to_vec(), b"oops\n");
        assert_eq!((all.stdout.head().len(), all.stdout.tail().len()), (50, 50));
        assert!(all.stdout.tail().ends_with(b"100000\nlate\n"), "{}", all.stdout);
        assert_eq!(all.stdout.total(), 588_895 + 5);
        // Killed, as it does not end.
        let mut endless = Command::new(scene.actor());
        endless.arg("forever");
        let captured = endless.output_timeout_async(Duration::from_millis(200)).await.unwrap();
        assert_eq!((captured.timed_out, captured.status.unwrap().signal()), (true, Some(9)));
        assert_eq!(captured.stdout.to_vec(), b"ready\n");
    });
}

fn killed_on_drop(scene: &Scene) {
    runtime().block_on(async {
        let mut command = Command::new(scene.actor());
        let child = command.arg("forever").stdout(Stdio::null()).kill_on_drop(true).spawn_async().await.unwrap();
        let process = child.process().clone();
        // The future that has it is dropped, and with it the child.
        let waiting = async move { child.wait().await };
        assert!(timeout(Duration::from_millis(2), waiting).await.is_err());
        assert_eq!(process.wait_async().await.unwrap().signal(), Some(9));
    });
}

fn several_threads() {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let started: Vec<_> = {
            let _here = system.enter();
            let mut command = Command::new(ACTOR);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let start =
                |code: u8| runtime.block_on(command.clone().args(["until-eof", &code.to_string()]).spawn_async()).unwrap();
            (0..100).map(start).collect()
        };
        let tasks: Vec<_> = (0..)
            .zip(started)
            .map(|(code, mut child)| {
                runtime.spawn(async move {
                    let mut said = String::new();
                    if code % 2 == 0 {
                        drop(child.stdin.take());
                        child.stdout.as_mut().unwrap().read_to_string(&mut said).await.unwrap();
                        assert_eq!(said, "ready\n");
                    }
                    let other = child.process().clone();
                    let beside = tokio::spawn(async move { other.exited().await.unwrap().status().unwrap().code() });
                    assert_eq!(child.wait().await.unwrap().code(), Some(code));
                    assert_eq!(beside.await.unwrap(), Some(code));
                })
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

fn in_async_io() {
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    use steadfast::async_io::{AsyncCommand, AsyncProcess};
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let _here = system.enter();
        async_io::block_on(async {
            let mut command = Command::new("cat");
            let mut child = AsyncCommand::spawn_async(command.stdin(Stdio::piped()).stdout(Stdio::piped())).await.unwrap();
            let process = child.process().clone();
            child.stdin.as_mut().unwrap().write_all(b"one\n").await.unwrap();
            let mut four = [0; 4];
            child.stdout.as_mut().unwrap().read_exact(&mut four).await.unwrap();
            assert_eq!(&four, b"one\n");
            let (one, other) = futures_util::join!(AsyncProcess::exited(&process), async { child.wait().await });
            assert_eq!((one.unwrap().status(), other.unwrap().code()), (process.status(), Some(0)));
            // The threads that wait by the pidfd are not told to come again.
            let sleeper = Command::new(ACTOR).arg("forever").stdout(Stdio::null()).spawn().unwrap();
            let mut waiting = pin!(AsyncProcess::exited(sleeper.process()));
            assert!(std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
            let blocked = sleeper.process().clone();
            let thread = std::thread::spawn(move || blocked.wait());
            sleeper.kill().unwrap();
            assert_eq!(waiting.await.unwrap().status().unwrap().signal(), Some(9));
            assert_eq!(thread.join().unwrap().unwrap().signal(), Some(9));
            let mut talks = Command::new("sh");
            talks.args(["-c", "echo begun; exec sleep 600"]);
            let captured = AsyncCommand::output_timeout_async(&talks, Duration::from_millis(300)).await.unwrap();
            assert_eq!((captured.stdout.to_vec(), captured.status.unwrap().signal()), (b"begun\n".to_vec(), Some(9)));
            assert_eq!(AsyncCommand::output_async(Command::new("echo").arg("x")).await.unwrap().stdout, b"x\n");
        });
    }
}

fn simulated_in_async_io() {
    use steadfast::async_io::AsyncCommand;
    let kernel = Kernel::builder().program("nap", Script::new().sleep(Duration::from_millis(20)).exit(2)).build();
    let _here = kernel.system().enter();
    let status = async_io::block_on(AsyncCommand::status_async(&Command::new("nap"))).unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(kernel.now() >= Duration::from_millis(20));
}

/// Starts it again when it ends, after a pause that grows; stops it with patience when told to.
async fn supervise(command: Command, mut stop: tokio::sync::oneshot::Receiver<()>) -> u32 {
    let (mut restarts, mut pause) = (0, Duration::from_secs(1));
    loop {
        let child = command.spawn_async().await.unwrap();
        tokio::select! {
            status = child.exited() => drop(status.unwrap()),
            _ = &mut stop => {
                child.signal(Signal::TERM).unwrap();
                if timeout(Duration::from_secs(10), child.wait()).await.is_err() {
                    child.kill().unwrap();
                    child.wait().await.unwrap();
                }
                return restarts;
            }
        }
        restarts += 1;
        sleep(pause).await;
        pause *= 2;
    }
}

fn supervised() {
    let minute = Duration::from_secs(60);
    for stubborn in [false, true] {
        let kernel = Kernel::builder()
            .program_with("server", move |run| match run.number {
                0..3 => Script::new().sleep(minute).exit(1),
                _ if stubborn => Script::new().ignore(Signal::TERM).run_forever(),
                _ => Script::new().on(Signal::TERM, Script::new().sleep(Duration::from_secs(4)).exit(0)).run_forever(),
            })
            .build();
        let _here = kernel.system().enter();
        let began = std::time::Instant::now();
        paused().block_on(async {
            let start = tokio::time::Instant::now();
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let task = tokio::spawn(supervise(Command::new("server"), stopped));
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(kernel.now(), Duration::from_secs(3600));
            stop.send(()).unwrap();
            assert_eq!(task.await.unwrap(), 3);
            let took = start.elapsed();
            assert_eq!(kernel.now(), took);
            // Tokio's timers have whole milliseconds.
            let expected = Duration::from_secs(3600 + if stubborn { 10 } else { 4 });
            assert!(took >= expected && took < expected + Duration::from_millis(5), "{took:?}");
        });
        assert_eq!(kernel.processes(), []);
        assert!(began.elapsed() < minute, "an hour of virtual time took {:?}", began.elapsed());
    }
}

fn unwatched() {
    let kernel = Kernel::builder()
        .program("nap", Script::new().sleep(Duration::from_secs(5)).exit(2))
        .program("talker", Script::new().sleep(Duration::from_secs(1)).write_stdout("hello\n").sleep(Duration::from_secs(1)))
        .build();
    let _here = kernel.system().enter();
    paused().block_on(async {
        let nap = Command::new("nap").spawn_async().await.unwrap();
        let mut talker = Command::new("talker").stdout(Stdio::piped()).spawn_async().await.unwrap();
        assert_eq!(nap.try_wait().unwrap(), None);
        // Nobody awaits a process: only the runtime's time goes on.
        sleep(Duration::from_secs(4)).await;
        assert_eq!((nap.try_wait().unwrap(), talker.try_wait().unwrap().unwrap().code()), (None, Some(0)));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(nap.try_wait().unwrap().unwrap().code(), Some(2));
        let mut said = String::new();
        talker.stdout.as_mut().unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!((said.as_str(), kernel.now().as_secs()), ("hello\n", 6));
        // A signal is an event that a task waits for without a timer.
        let long = Command::new("nap").spawn_async().await.unwrap();
        let process = long.process().clone();
        let task = tokio::spawn(async move { process.exited().await.unwrap() });
        tokio::task::yield_now().await;
        long.kill().unwrap();
        assert_eq!(task.await.unwrap().status().unwrap().signal(), Some(9));
        assert_eq!(kernel.now().as_secs(), 6);
    });
}

struct Nobody;
impl Wake for Nobody {
    fn wake(self: Arc<Nobody>) {}
}

fn no_runtime() {
    let systems = [System::pidfd().ok(), Some(System::pid_legacy())];
    for system in systems.into_iter().flatten() {
        let _here = system.enter();
        let mut command = Command::new(ACTOR);
        let child = command.arg("forever").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut child = Child::from(child);
        let waker = Waker::from(Arc::new(Nobody));
        let mut cx = Context::from_waker(&waker);
        if system.backend_name() == "pidfd" {
            let Poll::Ready(Err(error)) = pin!(child.exited()).poll(&mut cx) else { panic!("there is no runtime") };
            assert!(error.to_string().contains("no reactor running"), "{error}");
        }
        let mut stdout = child.stdout.take().unwrap();
        let mut buffer = [0; 1];
        let Poll::Ready(Err(error)) = pin!(stdout.read(&mut buffer)).poll(&mut cx) else { panic!("there is no runtime") };
        assert!(error.to_string().contains("no reactor running"), "{error}");
    }
}

fn nothing_left() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    // What tokio keeps for ever from its first runtime on, if it handles signals.
    drop(runtime());
    let before = (descriptors(), threads());
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let _here = system.enter();
        runtime().block_on(async {
            for _ in 0..30 {
                let mut command = Command::new(ACTOR);
                command.args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::piped());
                let child = command.spawn_async().await.unwrap();
                assert!(timeout(Duration::from_micros(1), child.exited()).await.is_err());
                // Some are waited for, some dropped while a future was, some as they are.
                assert!(command.output_async().await.unwrap().status.success());
                drop(command.status_async());
            }
        });
    }
    until("all children are reaped", || children().is_empty());
    until("descriptors go", || descriptors() == before.0);
    until("threads go", || threads() == before.1);
}
