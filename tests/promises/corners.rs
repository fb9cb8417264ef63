//! Corners of input, lines, pipelines and sets where an attacker has found a fault: each a kind, on every way to it.

use crate::Test;
use crate::errors::each_system;
use crate::input::{Fails, much, runtime, sh, text};
use crate::leaks::{children, each_backend, until};
use crate::limits::assert_asleep;
use crate::traced::beside;
use std::future::Future;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use steadfast::tokio::AsyncCommand;
use steadfast::{Capture, Command, Input, Next, Pipeline, Process, Stdio, System, WaitSet};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("corners: a pipeline is read and fed until its last command has exited, whichever that is", || {
            each_system(to_the_last)
        }),
        Test::new("corners: a part is not taken for the whole: dropped futures, panics, commands behind", || {
            each_system(no_part)
        }),
        Test::new("corners: a set that is empty wakes nobody", || each_backend(silent)),
        Test::new("corners: an interrupt and an exit at the same moment: both are told", || each_backend(both_at_once)),
        Test::new("corners: lines that were read do not wait for what has to be waited for", || each_system(at_once)),
        Test::new("corners: limits of tasks hold wherever they begin", || each_system(limits_of_tasks)),
        Test::new("corners: what a command must do, its twin and its pipeline do", || each_system(twins)),
        Test::new("corners: few descriptors: status, tasks that wait, a test that leaves something", || {
            each_backend(few_descriptors)
        }),
    ]
}

fn to_the_last(system: &System) {
    let _here = system.enter();
    // More than a pipe holds, when nobody else is there any more.
    let loud = || sh("sleep 0.05; head -c 300000 /dev/zero >&2; echo why >&2; exit 3");
    let captured = Pipeline::new([loud(), sh("exit 0")]).capture(&Capture::new()).unwrap();
    assert_eq!((captured.stderr[0].total(), captured.statuses[0].unwrap().code()), (300_004, Some(3)));
    let said = text(Pipeline::new([sh("sleep 0.05; echo why >&2; exit 3"), sh("exit 0")]).checked(true).capture(&Capture::new()));
    assert!(said.ends_with("exit status: 3: why"), "{said}");
    // All of the input, though the last has ended before it is read.
    let mut first = sh("sleep 0.05; exec wc -c >&2");
    first.input(much());
    let pipeline = Pipeline::new([first, sh("exit 0")]);
    let captured = pipeline.capture(&Capture::new()).unwrap();
    assert_eq!(captured.stderr[0].to_string().trim(), much().len().to_string());
    assert!(pipeline.output().unwrap().success());
    // Who has closed its streams is waited for all the same.
    let quiet = Pipeline::new([sh("exec >&- 2>&-; sleep 0.05; exit 3"), sh("exit 4")]).output().unwrap();
    assert_eq!(quiet.statuses.iter().map(|status| status.code().unwrap()).collect::<Vec<_>>(), [3, 4]);
    // With an input, what is piped and nobody's is closed; otherwise it would wait for ever.
    let mut fed = Command::new("cat");
    fed.input("x");
    let mut piped = Command::new("yes");
    piped.stdout(Stdio::piped());
    assert_eq!(Pipeline::new([fed, piped]).status().unwrap()[1].signal(), Some(13));
}

/// A file that a command writes when it has read all, as it believes.
struct Mark(PathBuf);

impl Mark {
    fn new(system: &System) -> Mark {
        Mark(std::env::temp_dir().join(format!("steadfast-whole-{}-{}", std::process::id(), system.backend_name())))
    }

    fn command(&self) -> Command {
        let mut command = sh("cat >/dev/null && echo whole >\"$0\"");
        command.arg(&self.0);
        command
    }

    fn assert_none(&self) {
        until("all have ended", || children().is_empty());
        assert!(!self.0.exists(), "a part was taken for the whole");
    }
}

/// Some bytes, and then a panic.
struct Panics(u32);

impl Read for Panics {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0 += 1;
        assert!(self.0 < 3, "of the reader's own");
        into[..5].fill(b'x');
        Ok(5)
    }
}

/// A byte at a time, without an end.
struct Drips;

impl Read for Drips {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        into[0] = b'x';
        Ok(1)
    }
}

fn no_part(system: &System) {
    let _here = system.enter();
    let mark = Mark::new(system);
    let with = |input: Input| {
        let mut command = mark.command();
        command.input(input);
        command
    };
    for round in 0..10 {
        runtime().block_on(async {
            let mut command = with(Input::reader(Drips));
            command.kill_on_drop(round % 2 == 0);
            let short = Duration::from_millis(2);
            assert!(tokio::time::timeout(short, command.output_async()).await.is_err());
            assert!(tokio::time::timeout(short, command.status_async()).await.is_err());
            // Not polled at all.
            drop(command.output_async());
            drop(command.lines_async(Capture::new()));
            drop(command.lines_async(Capture::new()).await.unwrap());
        });
        drop(with(Input::reader(Drips)).lines(&Capture::new()).unwrap());
        mark.assert_none();
    }
    // No reactor: an error, and not half of it.
    let mut homeless = std::pin::pin!(with("x".into()).output_async());
    let polled = homeless.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(polled, std::task::Poll::Ready(Err(_))));
    mark.assert_none();
    let panics = || with(Input::reader(Panics(0)));
    assert!(catch_unwind(AssertUnwindSafe(|| panics().output())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| panics().status())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| runtime().block_on(panics().output_async()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| Pipeline::new([panics(), mark.command()]).output())).is_err());
    mark.assert_none();
    // Whoever reads what another writes, which is killed.
    let mut copy = Command::new("cat");
    copy.input(Input::reader(Panics(0)));
    assert!(catch_unwind(AssertUnwindSafe(|| Pipeline::new([copy, mark.command()]).output())).is_err());
    let late = Pipeline::new([Command::new("yes"), mark.command()]).output_timeout(Duration::from_millis(5)).unwrap();
    assert!(late.timed_out);
    Pipeline::new([Command::new("yes"), mark.command()]).spawn().unwrap().kill().unwrap();
    mark.assert_none();
}

fn silent(system: &System) {
    let _here = system.enter();
    let set = WaitSet::new();
    set.add(1, Command::new("true").spawn().unwrap()).unwrap();
    let mut exits = 0;
    // Whoever polls its descriptor finds nothing, after one more look at the most.
    let readable = |set: &WaitSet<u8>| {
        set.with_handle(|fd| {
            let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        })
        .unwrap()
    };
    until("it has exited", || {
        // Lent from here on.
        readable(&set);
        exits += set.ready().count();
        exits == 1
    });
    exits += set.ready().count();
    assert_eq!((exits, readable(&set)), (1, false));
    assert_eq!((set.ready().count(), readable(&set)), (0, false));
    // Nor is who waits for the next process woken by those who look.
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (next, thread) = beside(scope, || matches!(set.wait_next(None).unwrap(), Next::Interrupted));
        let looks = scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                assert!(set.wait_timeout(Duration::from_micros(50)).is_none());
            }
        });
        assert_asleep(thread);
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        looks.join().unwrap();
        set.interrupter().unwrap().interrupt();
        assert!(next.join().unwrap());
    });
}

fn both_at_once(system: &System) {
    let _here = system.enter();
    for round in 0..400_u32 {
        let set = WaitSet::new();
        let stop = set.interrupter().unwrap();
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        set.add((), Process::clone(&child)).unwrap();
        std::thread::scope(|scope| {
            let waiters = [0, 1].map(|_| scope.spawn(|| matches!(set.wait_next(None).unwrap(), Next::Interrupted)));
            child.kill().unwrap();
            (0..(round % 100) * 50).for_each(|_| std::hint::spin_loop());
            stop.interrupt();
            let mut seen = waiters.map(|waiter| waiter.join().unwrap());
            seen.sort_unstable();
            assert_eq!(seen, [false, true]);
        });
    }
}

fn at_once(system: &System) {
    let _here = system.enter();
    // Both streams end, and the child goes on until it is told to.
    for script in ["echo ready; exec >&- 2>&-; read x <&3", "printf ready; exec >&- 2>&-; read x <&3"] {
        let told = || {
            let (reader, writer) = io::pipe().unwrap();
            let mut command = sh(script);
            command.fd(3, reader);
            (command, writer)
        };
        let (command, writer) = told();
        let mut lines = command.lines(&Capture::new()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap().text(), "ready");
        drop((writer, command));
        assert!(lines.next().is_none());
        let (command, writer) = told();
        runtime().block_on(async {
            let mut lines = command.lines_async(Capture::new()).await.unwrap();
            // All of it is there before it is looked at.
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(lines.next().await.unwrap().unwrap().text(), "ready");
            drop((writer, command));
            assert!(lines.next().await.is_none());
        });
    }
    // After an error nothing is told of an end.
    let mut lines = Command::new("cat").input(Input::reader(Fails(b""))).lines(&Capture::new()).unwrap();
    assert!(lines.next().unwrap().is_err() && lines.next().is_none());
    assert_eq!(lines.finish().unwrap_err().errno(), Some(steadfast::Errno::IO));
}

fn limits_of_tasks(system: &System) {
    let _here = system.enter();
    let runtime = runtime();
    let late = Capture::new().timeout(Duration::from_millis(20)).kill_on_timeout(true);
    // Begun outside of the runtime that runs it.
    let lines = Command::new("sleep").arg("1000").lines_async(late);
    assert!(runtime.block_on(async { lines.await.unwrap().finish().await }).unwrap().timed_out);
    // Its outputs have ended, and so has the child; who keeps its stdin and does not read is nobody to wait for.
    let mut keeper = sh("exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $!; exec >&- 2>&-");
    keeper.input(much());
    let endless = Capture::new().wait_delay(Duration::MAX);
    let captured = runtime.block_on(keeper.capture_async(endless.clone())).unwrap();
    crate::input::end(&captured.stdout.to_vec());
    crate::input::end(&keeper.capture(&endless).unwrap().stdout.to_vec());
}

fn twins(system: &System) {
    let _here = system.enter();
    let mut cat = Command::new("cat");
    cat.input("abc").checked(true);
    let mut no = Command::new("false");
    no.checked(true);
    assert_eq!(steadfast::process::Command::from(cat.clone()).output().unwrap().stdout, b"abc");
    assert!(steadfast::process::Command::from(no.clone()).status().is_err());
    async_io::block_on(async {
        use steadfast::async_process::Command;
        assert_eq!(Command::from(cat.clone()).output().await.unwrap().stdout, b"abc");
        assert!(Command::from(cat.clone()).status().await.is_ok());
        assert!(Command::from(no.clone()).status().await.is_err() && Command::from(no.clone()).output().await.is_err());
    });
    runtime().block_on(async {
        use steadfast::tokio::process::Command;
        assert_eq!(Command::from(cat.clone()).output().await.unwrap().stdout, b"abc");
        assert!(Command::from(cat.clone()).status().await.is_ok());
        assert!(Command::from(no.clone()).status().await.is_err() && Command::from(no.clone()).output().await.is_err());
    });
    // Ended for its limit, or its time, though each of them has succeeded.
    let over = Capture::new().limit(10).kill_on_limit(true);
    let pipeline = |script: &str| Pipeline::new([sh("exit 0"), sh(script)]).checked(true);
    let said = text(pipeline("(sleep 0.02; head -c 1000 /dev/zero) & exit 0").capture(&over));
    assert!(said.ends_with("it wrote more than its limit"), "{said}");
    let late = Capture::new().to_the_end().timeout(Duration::from_millis(50)).kill_on_timeout(true);
    let said = text(pipeline("sleep 0.3 & exit 0").capture(&late));
    assert!(said.ends_with("its time was up"), "{said}");
    // Words of which nothing was left out are shown whole.
    let said = text(sh("printf '%050d' 7 >&2; exit 1").checked(true).capture(&Capture::new().limit(60)));
    assert!(said.ends_with(&format!(": {:050}", 7)), "{said}");
}

fn few_descriptors(system: &System) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let _here = system.enter();
    assert!(steadfast::process::Command::new("true").status().unwrap().success());
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = |number| setrlimit(Resource::RLIMIT_NOFILE, number, hard).unwrap();
    limit(40);
    let fill = || std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>();
    let full = fill();
    let mut twin = steadfast::process::Command::new("true");
    let answer = twin.status();
    drop(full);
    assert!(answer.unwrap().success());
    // More tasks wait than there are descriptors for a reactor of their own.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = tokio.block_on(async {
        let child = || steadfast::tokio::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        let children: Vec<_> = (0..60).map(|_| child()).collect();
        let tasks: Vec<_> = children.into_iter().map(|mut child| tokio::spawn(async move { child.wait().await })).collect();
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await.unwrap());
        }
        ended
    });
    drop(tokio);
    // A child that is held by its number is left too.
    let said = catch_unwind(AssertUnwindSafe(|| {
        steadfast::testing::no_process_left(|| {
            let full = fill();
            let left = steadfast::process::Command::new("sleep").arg("1000").spawn().unwrap();
            drop((full, left));
        });
    }));
    limit(before);
    assert!(ended.into_iter().all(|status| status.unwrap().success()));
    let said = said.unwrap_err().downcast_ref::<String>().unwrap().clone();
    assert!(said.contains("(sleep) still runs"), "{said}");
    until("it was killed", || children().is_empty());
}
