//! Jobs in tasks, on every backend and in both runtimes.

use crate::Test;
use crate::jobs::{each_job, own_cgroups};
use crate::leaks::{children, descriptors, until};
use crate::scene::{Promise, Scene, on_every_backend};
use crate::tasks::{paused, runtime};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::tokio::{AsyncCommand, AsyncJob};
use steadfast::{Child, Command, Error, Job, Signal, Stdio, Teardown};

const PROMISES: &[Promise] = &[
    ("wait_empty_async is ready when nothing lives in it, and a future that is dropped loses nothing", waited_for),
    ("stop_async takes the steps of a teardown", stopped),
    ("Child::stop takes the steps of a teardown, on the whole tree if it has a job of its own", child_stopped),
    ("calls with a limit end all of it", limits),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("jobs in tasks", PROMISES, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    });
    tests.push(Test::new("jobs in tasks: nothing is left: descriptors, zombies", nothing_left).under_init());
    tests
}

fn command(scene: &Scene, job: &Job) -> Command {
    let mut command = Command::new(scene.actor());
    command.arg("forever").stdin(Stdio::null()).stdout(Stdio::null()).in_job(job);
    command
}

fn member(scene: &Scene, job: &Job) -> Child {
    scene.system.spawn(&command(scene, job)).unwrap()
}

fn waited_for(scene: &Scene) {
    each_job(&scene.system, |job| {
        runtime().block_on(async {
            job.wait_empty_async().await.unwrap();
            let child = member(scene, &job);
            let before = descriptors().len();
            for _ in 0..20 {
                let soon = tokio::time::timeout(Duration::from_millis(2), job.wait_empty_async());
                assert!(soon.await.is_err(), "it has a member");
            }
            // The epoll, and the file that tells.
            assert!(descriptors().len() <= before + 2, "each wait keeps something");
            let (_, empty) = tokio::join!(async { child.kill().unwrap() }, job.wait_empty_async());
            empty.unwrap();
        });
    });
    if !scene.system.info().real {
        // A simulation goes by the clock of one runtime.
        return;
    }
    each_job(&scene.system, |job| {
        async_io::block_on(async {
            let child = member(scene, &job);
            job.kill().unwrap();
            steadfast::async_io::AsyncJob::wait_empty_async(&job).await.unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        });
    });
}

fn stopped(scene: &Scene) {
    each_job(&scene.system, |job| {
        runtime().block_on(async {
            let child = member(scene, &job);
            let how =
                Teardown::signal(Signal::WINCH, Duration::from_millis(20)).then(Signal::TERM, Duration::from_secs(60)).kill();
            let stopped = job.stop_async(&how).await.unwrap();
            assert_eq!((stopped.is_over(), stopped.signal()), (true, Some(Signal::TERM)), "{stopped}");
            assert_eq!(child.wait().unwrap().signal(), Some(15));
            let again = job.stop_async(&how).await.unwrap();
            assert_eq!((again.is_over(), again.signal()), (true, None));
        });
    });
}

fn child_stopped(scene: &Scene) {
    let how = Teardown::signal(Signal::WINCH, Duration::from_millis(20)).then(Signal::TERM, Duration::from_secs(60)).kill();
    let is_real = scene.system.info().real;
    // Whose time goes on by itself, for a simulation that has come further than the machine.
    let runtime = || if is_real { runtime() } else { paused() };
    runtime().block_on(async {
        let child = Command::new(scene.actor()).arg("forever").stdout(Stdio::null()).spawn_async().await.unwrap();
        let stopped = child.stop(&how).await.unwrap();
        assert_eq!((stopped.is_over(), stopped.signal()), (true, Some(Signal::TERM)), "{stopped}");
        assert_eq!(stopped.status().unwrap().signal(), Some(15));
        let again = child.stop(&how).await.unwrap();
        assert_eq!((again.is_over(), again.signal(), again.status()), (true, None, stopped.status()), "{again}");
        // One that goes on: not in time, and it was told so.
        let mut deaf = Command::new(scene.actor());
        let mut deaf = deaf.args(["shrug", "SIGTERM"]).stdout(Stdio::piped()).kill_on_drop(true).spawn_async().await.unwrap();
        until_ready(&mut deaf).await;
        let stopped = deaf.stop(&Teardown::signal(Signal::TERM, Duration::from_millis(5))).await.unwrap();
        assert_eq!((stopped.is_over(), stopped.signal(), stopped.status()), (false, Some(Signal::TERM), None), "{stopped}");
        // Given up in the middle, it takes no further step.
        let minute = Duration::from_secs(60);
        let slow = Teardown::signal(Signal::TERM, minute).kill();
        assert!(tokio::time::timeout(Duration::from_millis(1), deaf.stop(&slow)).await.is_err());
        if !is_real {
            tokio::time::sleep(2 * minute).await;
        }
        assert!(deaf.try_wait().unwrap().is_none());
    });
    each_job(&scene.system, |job| {
        runtime().block_on(async {
            let own = Job::builder().containment(job.containment());
            let mut tree = Command::new(scene.actor());
            let tree = tree.args(["beget", "child"]).stdin(Stdio::piped()).stdout(Stdio::piped()).own_job(own);
            let mut child = tree.spawn_async().await.unwrap();
            until_ready(&mut child).await;
            assert_eq!(child.job().expect("it has one").members().unwrap().len(), 2);
            let stopped = child.stop(&how).await.unwrap();
            assert_eq!((stopped.is_over(), stopped.signal()), (true, Some(Signal::TERM)), "{stopped}");
            assert_eq!(stopped.status().unwrap().signal(), Some(15));
            assert!(child.job().unwrap().is_empty().unwrap());
            // A job of others too is left alone.
            let (other, in_it) = (member(scene, &job), command(scene, &job).spawn_async().await.unwrap());
            assert!(in_it.stop(&how).await.unwrap().is_over());
            assert_eq!(other.try_wait().unwrap(), None);
        });
    });
    if !is_real {
        return;
    }
    async_io::block_on(async {
        let child = scene.system.spawn(Command::new(scene.actor()).arg("forever").stdout(Stdio::null())).unwrap();
        let stopped = steadfast::async_io::Child::from(child).stop(&how).await.unwrap();
        assert_eq!((stopped.signal(), stopped.status().unwrap().signal()), (Some(Signal::TERM), Some(15)), "{stopped}");
    });
}

async fn until_ready(child: &mut steadfast::tokio::Child) {
    let stdout = child.stdout.as_mut().expect("piped");
    tokio::io::AsyncReadExt::read_exact(stdout, &mut [0; 6]).await.unwrap();
}

fn limits(scene: &Scene) {
    each_job(&scene.system, |job| {
        runtime().block_on(async {
            let other = member(scene, &job);
            let mut command = command(scene, &job);
            command.stdout(Stdio::piped());
            let captured = command.output_timeout_async(Duration::from_millis(50)).await.unwrap();
            assert!(captured.timed_out);
            assert_eq!(other.wait().unwrap().signal(), Some(9));
            let over = command.output_timeout_async(Duration::from_millis(50)).await.unwrap_err();
            assert!(matches!(over, Error::JobOver { .. }), "{over:?}");
        });
    });
}

fn nothing_left() {
    let rounds = |count: usize| {
        for _ in 0..count {
            let job = Job::new().unwrap();
            let mut command = Command::new(crate::contract::ACTOR);
            command.arg("forever").stdin(Stdio::null()).stdout(Stdio::null());
            runtime().block_on(async {
                let _child = command.in_job(&job).spawn_async().await.unwrap();
                drop(tokio::time::timeout(Duration::from_millis(1), job.wait_empty_async()).await);
            });
        }
        until("no child is left", || children().is_empty());
        until("no cgroup is left", || own_cgroups().is_empty());
    };
    rounds(1);
    // A thread of ours may just be closing its own.
    let before = descriptors().len();
    rounds(20);
    until("no descriptor is left", || descriptors().len() <= before);
}
