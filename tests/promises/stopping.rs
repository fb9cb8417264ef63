//! A teardown at the time limit of a capture: what is sent, what is read meanwhile, and what is told of it.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::jobs::each_job;
use crate::leaks::until;
use crate::scene::{Promise, Scene, on_every_backend};
use crate::tasks::runtime;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::tokio::AsyncCommand;
use steadfast::{
    Capture, Captured, Child, ChildStdin, Command, Containment, Job, Pid, Pipeline, Process, Signal, Stdio, Stopped, System,
    Teardown,
};

const PROMISES: &[Promise] = &[
    ("what it writes while it is stopped is read, and what was needed is told", last_words),
    ("the steps are taken until it is over, or there is none left", steps),
    ("with no limit, or switched off, it does nothing", switched_off),
    ("a job goes as a whole, its own or one of others too", whole_jobs),
    ("lines come while it is stopped", lines),
    ("a pipeline is stopped together", pipeline),
    ("in tasks", tasks),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("stopped at the limit", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    });
    type Check = fn();
    let real: [(&str, Check); 4] = [
        ("one that writes too much meanwhile is killed", too_much),
        ("its input is written on meanwhile", input),
        ("while another thread reads", read_elsewhere),
        ("what has ended by itself is not signalled, whoever keeps its pipes", grandchild),
    ];
    tests.extend(real.into_iter().map(|(name, check)| {
        Test::that_may_skip(format!("stopped at the limit: {name}"), move || {
            for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
                let _here = system.enter();
                check();
            }
            crate::stage::Outcome::Passed
        })
    }));
    tests.push(Test::new("stopped at the limit: in a simulation, in its time", simulated));
    tests
}

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

/// At once, and then like this.
fn now(how: Teardown) -> Capture {
    Capture::new().timeout(Duration::ZERO).on_timeout(how)
}

fn command(scene: &Scene, words: &[&str]) -> Command {
    let mut command = Command::new(scene.actor());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// Set up, and what it has said of that is read.
fn ready(command: &Command) -> Child {
    set_up(command.spawn().unwrap())
}

fn set_up(child: Child) -> Child {
    while child.wait_with_output_timeout(SHORT).unwrap().stdout.to_vec() != b"ready\n" {}
    child
}

/// A child in a job of its own by this containment, with a child that lives as long as the input that is returned too.
fn tree(scene: &Scene, containment: Containment) -> (Child, ChildStdin) {
    let mut tree = command(scene, &["beget", "child"]);
    tree.stdin(Stdio::piped()).own_job(Job::builder().containment(containment));
    let child = tree.spawn().unwrap();
    let input = child.take_stdin().expect("piped");
    (set_up(child), input)
}

/// With longer and longer limits, until it was set up by then.
fn until_ready<T>(attempt: impl Fn(Capture) -> Option<T>) -> T {
    let mut limit = Duration::from_millis(20);
    loop {
        if let Some(done) = attempt(Capture::new().timeout(limit).on_timeout(Teardown::graceful(LONG))) {
            return done;
        }
        limit *= 2;
    }
}

fn was_ready(captured: Captured) -> Option<Captured> {
    Some(captured).filter(|captured| captured.stdout.head().starts_with(b"ready\n"))
}

fn told(stopped: Option<Stopped>) -> String {
    stopped.expect("its time was up").to_string()
}

fn last_words(scene: &Scene) {
    let child = ready(&command(scene, &["last-words"]));
    let captured = child.capture(&now(Teardown::graceful(LONG))).unwrap();
    assert_eq!(captured.stdout.to_string(), "ready\nlast words\n");
    assert!(captured.timed_out && !captured.over_limit && captured.is_complete());
    let stopped = captured.stopped.unwrap();
    assert_eq!(
        (stopped.is_over(), stopped.signal(), stopped.to_string()),
        (true, Some(Signal::TERM), "ended after SIGTERM".into())
    );
    assert_eq!((captured.status.unwrap().code(), stopped.status()), (Some(3), captured.status));
    // The default stays: at once, and nothing is told of it.
    let child = ready(&command(scene, &["last-words"]));
    let captured = child.capture(&Capture::new().timeout(Duration::ZERO).kill_on_timeout(true)).unwrap();
    assert_eq!((captured.status.unwrap().signal(), captured.stopped), (Some(9), None));
    assert_eq!(captured.stdout.to_string(), "ready\n");
    // By the call that starts it, and may fail for it.
    let captured = until_ready(|options| was_ready(command(scene, &["last-words"]).capture(&options).unwrap()));
    assert_eq!(
        (captured.stdout.to_string(), told(captured.stopped)),
        ("ready\nlast words\n".into(), "ended after SIGTERM".into())
    );
    let error = until_ready(|options| {
        let error = command(scene, &["last-words"]).checked(true).capture(&options).unwrap_err();
        Some(error).filter(|error| error.to_string().contains("exit status: 3"))
    });
    assert!(error.to_string().contains("its time was up"), "{error}");
    let unborn = command(scene, &["last-words"]).capture(&now(Teardown::graceful(LONG))).unwrap();
    assert!(unborn.started || unborn.stopped.is_none() && unborn.timed_out);
}

fn steps(scene: &Scene) {
    let child = ready(&command(scene, &["shrug", "SIGTERM"]));
    let captured = child.capture(&now(Teardown::signal(Signal::TERM, SHORT).then(Signal::WINCH, SHORT).kill())).unwrap();
    assert_eq!((told(captured.stopped), captured.status.unwrap().signal()), ("ended after SIGKILL".into(), Some(9)));
    // No step is left, and it lives: it goes on.
    let child = ready(&command(scene, &["shrug", "SIGTERM"]));
    let captured = child.capture(&now(Teardown::signal(Signal::TERM, SHORT))).unwrap();
    assert_eq!((told(captured.stopped), captured.status), ("has not ended after SIGTERM".into(), None));
    assert!(captured.timed_out && child.try_wait().unwrap().is_none());
    let captured = child.capture(&now(Teardown::killing())).unwrap();
    assert_eq!((captured.stdout.to_string(), captured.status.unwrap().signal()), ("ready\n".into(), Some(9)));
    // Over already.
    let captured = child.capture(&now(Teardown::killing()).to_the_end()).unwrap();
    assert_eq!(captured.status.unwrap().signal(), Some(9));
    // What was read to its end, and lives on.
    let child = ready(&command(scene, &["forever"]));
    let mut mute = Command::new(scene.actor());
    mute.arg("forever").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let captured = mute.capture(&Capture::new().timeout(Duration::from_millis(50)).on_timeout(Teardown::graceful(LONG))).unwrap();
    assert!(captured.timed_out && (!captured.started || captured.status.unwrap().signal() == Some(15)), "{captured:?}");
    assert_eq!(child.capture(&now(Teardown::graceful(LONG))).unwrap().status.unwrap().signal(), Some(15));
}

fn switched_off(scene: &Scene) {
    let how = || Teardown::graceful(LONG);
    let child = ready(&command(scene, &["last-words"]));
    let captured = child.capture(&now(how()).kill_on_timeout(false)).unwrap();
    assert_eq!((captured.status, captured.stopped, captured.timed_out), (None, None, true));
    // The words of one who was told are there with the next call.
    let options = now(how()).kill_on_timeout(false).kill_on_timeout(true);
    assert_eq!(told(child.capture(&options).unwrap().stopped), "ended after SIGTERM");
    let child = ready(&command(scene, &["last-words"]));
    let options = Capture::new().timeout(Duration::ZERO).kill_on_timeout(true).on_timeout(how());
    assert_eq!(child.capture(&options).unwrap().status.unwrap().code(), Some(3));
    // No limit; and one that is not reached.
    for options in [Capture::new().on_timeout(how()), Capture::new().timeout(LONG).on_timeout(how())] {
        let captured = command(scene, &["exit", "4"]).capture(&options).unwrap();
        assert_eq!((captured.status.unwrap().code(), captured.stopped, captured.timed_out), (Some(4), None, false));
    }
}

fn whole_jobs(scene: &Scene) {
    each_job(&scene.system, |job| {
        let (child, _input) = tree(scene, job.containment());
        assert_eq!(child.job().unwrap().members().unwrap().len(), 2);
        let captured = child.capture(&now(Teardown::graceful(LONG))).unwrap();
        assert_eq!((told(captured.stopped), captured.status.unwrap().signal()), ("ended after SIGTERM".into(), Some(15)));
        assert!(child.job().unwrap().is_empty().unwrap());

        let mut deaf = command(scene, &["shrug", "SIGTERM"]);
        let other = ready(command(scene, &["shrug", "SIGTERM"]).in_job(&job));
        let talks = ready(command(scene, &["last-words"]).in_job(&job));
        let captured = talks.capture(&now(Teardown::signal(Signal::TERM, SHORT))).unwrap();
        assert_eq!(captured.stdout.to_string(), "ready\nlast words\n");
        // It has ended itself, and its job has not.
        assert_eq!((told(captured.stopped), captured.status.unwrap().code()), ("has not ended after SIGTERM".into(), Some(3)));
        assert!(other.try_wait().unwrap().is_none());
        let captured = ready(deaf.in_job(&job)).capture(&now(Teardown::signal(Signal::TERM, SHORT).kill())).unwrap();
        assert_eq!(told(captured.stopped), "ended after SIGKILL");
        assert_eq!((other.wait().unwrap().signal(), job.is_empty().unwrap()), (Some(9), true));
    });
}

fn lines(scene: &Scene) {
    let (said, end) = until_ready(|options| {
        let mut lines = command(scene, &["last-words"]).lines(&options).ok()?;
        let said: Vec<String> = lines.by_ref().map(|line| line.unwrap().to_string()).collect();
        Some((said, lines.finish().unwrap())).filter(|(said, _)| said.first().is_some_and(|line| line == "ready"))
    });
    assert_eq!((said, end.status.unwrap().code()), (vec!["ready".into(), "last words".into()], Some(3)));
    assert!(end.timed_out && told(end.stopped) == "ended after SIGTERM");
}

fn pipeline(scene: &Scene) {
    let captured = until_ready(|options| {
        let both = [0, 1].map(|_| {
            let mut command = Command::new(scene.actor());
            command.arg("last-words");
            command
        });
        let captured = Pipeline::new(both).capture(&options).unwrap();
        // The first is set up as well, if it was so when the second was: nobody tells.
        let status = captured.statuses[0].map(|status| (status.code(), status.signal()));
        let is_ready = captured.stdout.head().starts_with(b"ready\n") && status != Some((None, Some(15)));
        is_ready.then_some(captured)
    });
    assert_eq!(
        (captured.stdout.to_string(), told(captured.stopped)),
        ("ready\nlast words\n".into(), "ended after SIGTERM".into())
    );
    let [first, last] = captured.statuses[..] else { panic!("there are two") };
    assert_eq!(last.unwrap().code(), Some(3));
    // Who reads what the first one says may be gone by then.
    assert!(first.is_some_and(|first| first.code().is_some() || first.signal() == Some(13)), "{first:?}");
    assert_eq!(captured.stopped.unwrap().status(), last);
    // A group of their own gets each signal as one.
    let deaf = [0, 1].map(|_| {
        let mut command = Command::new(scene.actor());
        command.args(["shrug", "SIGTERM"]);
        command
    });
    let how = Teardown::signal(Signal::TERM, SHORT).kill();
    let options = Capture::new().timeout(Duration::from_millis(50)).on_timeout(how);
    let captured = Pipeline::new(deaf).process_group(true).capture(&options).unwrap();
    assert!(captured.timed_out);
    assert!(!captured.started || captured.stopped.unwrap().is_over() && !captured.success());
}

fn tasks(scene: &Scene) {
    let mut limit = Duration::from_millis(20);
    let options = |limit| Capture::new().timeout(limit).on_timeout(Teardown::graceful(LONG));
    let said = loop {
        limit *= 2;
        let captured = runtime().block_on(command(scene, &["last-words"]).capture_async(options(limit))).unwrap();
        let Some(captured) = was_ready(captured) else { continue };
        assert_eq!((told(captured.stopped), captured.status.unwrap().code()), ("ended after SIGTERM".into(), Some(3)));
        assert!(captured.timed_out && captured.is_complete());
        break captured.stdout.to_string();
    };
    assert_eq!(said, "ready\nlast words\n");
    loop {
        limit *= 2;
        let end = runtime().block_on(async {
            let mut lines = command(scene, &["last-words"]).lines_async(options(limit)).await.ok()?;
            let mut said = Vec::new();
            // Given up each time that it has to wait, it takes no step twice.
            loop {
                match tokio::time::timeout(Duration::from_millis(1), lines.next()).await {
                    Ok(Some(line)) => said.push(line.unwrap().to_string()),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
            Some((said, lines.finish().await.unwrap())).filter(|(said, _)| said.first().is_some_and(|line| line == "ready"))
        });
        let Some((said, end)) = end else { continue };
        assert_eq!((said, end.status.unwrap().code()), (vec!["ready".into(), "last words".into()], Some(3)));
        assert_eq!(told(end.stopped), "ended after SIGTERM");
        break;
    }
    runtime().block_on(async {
        let child = ready(&command(scene, &["shrug", "SIGTERM"]));
        let mut child = steadfast::tokio::Child::from(child);
        let captured = child.capture(&now(Teardown::signal(Signal::TERM, SHORT))).await.unwrap();
        assert_eq!((told(captured.stopped), captured.status), ("has not ended after SIGTERM".into(), None));
        let captured = child.capture(&now(Teardown::signal(Signal::TERM, SHORT).kill())).await.unwrap();
        assert_eq!((told(captured.stopped), captured.status.unwrap().signal()), ("ended after SIGKILL".into(), Some(9)));
        assert_eq!(captured.stdout.to_string(), "ready\n");
    });
    each_job(&scene.system, |job| {
        let (child, _input) = tree(scene, job.containment());
        runtime().block_on(async {
            let mut child = steadfast::tokio::Child::from(child);
            let captured = child.capture(&now(Teardown::graceful(LONG))).await.unwrap();
            assert!(captured.stopped.unwrap().is_over() && child.job().unwrap().is_empty().unwrap());
            assert_eq!(captured.status.unwrap().signal(), Some(15));
        });
    });
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn too_much() {
    let loud = sh("trap 'exec yes' TERM; echo ready; while :; do sleep 0.01; done");
    let is_ended = |captured: &Captured| {
        assert_eq!((captured.status.unwrap().signal(), told(captured.stopped)), (Some(9), "ended after SIGKILL".into()));
        assert!(captured.timed_out && captured.stdout.total() > 1000);
    };
    let with_limit = |options: Capture| options.limit(1000).kill_on_limit(true);
    let captured = until_ready(|options| was_ready(loud.capture(&with_limit(options)).unwrap()));
    assert!(captured.over_limit);
    is_ended(&captured);
    let captured = until_ready(|options| was_ready(runtime().block_on(loud.capture_async(with_limit(options))).unwrap()));
    assert!(captured.over_limit);
    is_ended(&captured);
}

fn input() {
    let mut counts = crate::input::sh("trap 'wc -c; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    counts.input(vec![7; 1 << 20]);
    let says = |captured: Captured| (captured.stdout.to_string(), captured.status.unwrap().code());
    let said = ("ready\n1048576\n".to_owned(), Some(3));
    assert_eq!(says(until_ready(|options| was_ready(counts.capture(&options).unwrap()))), said);
    let in_a_task = |options| was_ready(runtime().block_on(counts.capture_async(options)).unwrap());
    assert_eq!(says(until_ready(in_a_task)), said);
}

fn read_elsewhere() {
    let child = ready(&{
        let mut command = Command::new(crate::contract::ACTOR);
        command.arg("last-words").stdin(Stdio::null()).stdout(Stdio::piped());
        command
    });
    thread::scope(|scope| {
        let reader = scope.spawn(|| child.capture(&Capture::new()).unwrap());
        // One of the two reads; if it is this one, it comes again.
        let stopped = loop {
            let other = child.capture(&now(Teardown::graceful(LONG)));
            if let Some(stopped) = other.unwrap().stopped {
                break stopped;
            }
        };
        assert!(stopped.is_over() && stopped.status().unwrap().code() == Some(3), "{stopped}");
        assert_eq!(reader.join().unwrap().stdout.to_string(), "ready\nlast words\n");
    });
}

fn grandchild() {
    let left = sh("sleep 1000 & echo $!; echo done");
    let captured = until_ready(|options| {
        let captured = left.capture(&options.to_the_end()).unwrap();
        let pid: Option<Pid> = captured.stdout.to_string().lines().next().and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid {
            Process::find(pid).unwrap().kill().unwrap();
            until("it ends", || crate::leaks::is_over(pid));
        }
        // It has said all, and so it ends: in time, if not with this limit.
        Some(captured).filter(|captured| captured.stopped.is_some_and(|stopped| stopped.signal().is_none()))
    });
    assert_eq!((told(captured.stopped), captured.status.unwrap().code()), ("had ended before".into(), Some(0)));
    assert!(captured.timed_out && !captured.stdout.is_complete());
}

fn simulated() {
    let second = Duration::from_secs(1);
    let slow =
        Script::new().on(Signal::TERM, Script::new().write_stdout("saving").sleep(second * 3).write_stdout(", saved").exit(3));
    let kernel = Kernel::builder()
        .program("slow", slow.write_stdout("begun, ").run_forever())
        .program("deaf", Script::new().ignore(Signal::TERM).ignore(Signal::INT).write_stdout("deaf").run_forever())
        .program("counts", Script::new().on(Signal::TERM, Script::new().write_stdout("T")).write_stdout("begun, ").run_forever())
        .program(
            "quiet",
            Script::new().on(Signal::TERM, Script::new().sleep(second * 3).exit(0)).close_stdout().close_stderr().run_forever(),
        )
        .build();
    let _here = kernel.system().enter();
    let steps = |first, then| Teardown::signal(Signal::INT, first).then(Signal::TERM, then).kill();
    let ended = |program: &str, how: Teardown| {
        let begun = kernel.now();
        let captured = Command::new(program).capture(&Capture::new().timeout(second * 10).on_timeout(how)).unwrap();
        (captured.stdout.to_string(), told(captured.stopped), kernel.now() - begun)
    };
    // As long as it takes, and no longer than all steps.
    let graceful = Teardown::graceful(second * 5);
    assert_eq!(ended("slow", graceful.clone()), ("begun, saving, saved".into(), "ended after SIGTERM".into(), second * 13));
    assert_eq!(ended("deaf", steps(second * 2, second * 4)), ("deaf".into(), "ended after SIGKILL".into(), second * 16));
    let deaf = Teardown::signal(Signal::INT, second).then(Signal::TERM, second);
    assert_eq!(
        ended("deaf", deaf),
        ("deaf\n[… not read to its end …]\n".into(), "has not ended after SIGTERM".into(), second * 12)
    );
    assert_eq!(ended("quiet", graceful).2, second * 13);
    // However many of a pipeline are in a job, and in a group, each gets each signal once.
    let how = Teardown::signal(Signal::TERM, second).kill();
    let options = Capture::new().timeout(second * 10).on_timeout(how);
    let both = || Pipeline::new([Command::new("counts"), Command::new("counts")]);
    let job = Job::new().unwrap();
    for pipeline in [both().in_job(&job), both().process_group(true), both()] {
        let captured = pipeline.capture(&options).unwrap();
        assert_eq!((captured.stdout.to_string(), told(captured.stopped)), ("begun, T".into(), "ended after SIGKILL".into()));
    }
}
