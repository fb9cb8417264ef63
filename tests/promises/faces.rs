//! One list, both faces: what a child offers to a thread it offers to a task, with the same answers in each state.

use crate::Test;
use crate::scene::{Promise, Scene, on_every_backend};
use crate::tasks::runtime;
use std::fmt::Debug;
use std::time::Duration;
use steadfast::{Capture, Pid, Signal};

pub(crate) fn tests() -> Vec<Test> {
    let promises: &[Promise] = &[("running, done, released: a thread's child and a task's give the same answers", same_answers)];
    on_every_backend("faces", promises, |scene, check| {
        let _here = scene.system.enter();
        check(scene);
    })
}

/// What each method says in the state that the child is in, with `$later!` around those that a task awaits.
macro_rules! answers {
    ($scene:ident, $child:ident, $later:ident) => {{
        let pid = $child.pid();
        let moment = Duration::from_millis(1);
        let say = |method: &'static str, answer: &dyn Debug| (method, without_pid(&format!("{answer:?}"), pid));
        vec![
            say("id", &(i64::from($child.id()) == i64::from(pid.as_raw()))),
            say("process", &($child.process().pid() == pid)),
            say("status", &$child.status()),
            say("exit", &$child.exit().map(|exit| exit.status)),
            say("signal", &$child.signal(Signal::CONT)),
            say("send_signal", &$child.send_signal(Signal::CONT.as_raw())),
            say("send_signal 99", &$child.send_signal(99)),
            say("signal_group", &$child.signal_group(Signal::CONT)),
            say("kill_group", &$child.kill_group()),
            say("with_handle", &$child.with_handle(|_| ())),
            say("take_pidfd", &$child.take_pidfd()),
            say("try_wait", &$child.try_wait()),
            say("wait_timeout", &$later!($child.wait_timeout(moment))),
            say("wait_deadline", &$later!($child.wait_deadline($scene.system.now() + moment))),
            say("capture", &$later!($child.capture(&Capture::new().timeout(moment)))),
            say("wait_with_output_timeout", &$later!($child.wait_with_output_timeout(moment))),
        ]
    }};
}

/// Those that come back when it has ended.
macro_rules! ends {
    ($child:ident, $later:ident, $exited:ident, $gone:ident) => {{
        let pid = $child.pid();
        let say = |method: &'static str, answer: &dyn Debug| (method, without_pid(&format!("{answer:?}"), pid));
        vec![
            say("wait", &$later!($child.wait())),
            say("exited", &$later!($child.$exited())),
            say("gone", &$later!($child.$gone())),
            say("release", &$child.release()),
        ]
    }};
}

macro_rules! now {
    ($answer:expr) => {
        $answer
    };
}

macro_rules! awaited {
    ($answer:expr) => {
        $answer.await
    };
}

fn without_pid(text: &str, pid: Pid) -> String {
    text.replace(&format!("process {pid}"), "process PID")
}

fn same_answers(scene: &Scene) {
    let threads = {
        let mut child = scene.child(3);
        let stdin = child.stdin.take();
        let running = answers!(scene, child, now);
        drop(stdin);
        let ends = ends!(child, now, wait_exited, wait_gone);
        let done = answers!(scene, child, now);
        let mut other = scene.child(3);
        other.release().unwrap();
        let over = (answers!(scene, other, now), ends!(other, now, wait_exited, wait_gone));
        let output = scene.child(4).wait_with_output().unwrap();
        (running, ends, done, over, output)
    };
    let tasks = runtime().block_on(async {
        let mut child = steadfast::tokio::Child::from(scene.child(3));
        let stdin = child.stdin.take();
        let running = answers!(scene, child, awaited);
        drop(stdin);
        let ends = ends!(child, awaited, exited, gone);
        let done = answers!(scene, child, awaited);
        let mut other = steadfast::tokio::Child::from(scene.child(3));
        other.release().unwrap();
        let over = (answers!(scene, other, awaited), ends!(other, awaited, exited, gone));
        let output = steadfast::tokio::Child::from(scene.child(4)).wait_with_output().await.unwrap();
        (running, ends, done, over, output)
    });
    assert_eq!(threads, tasks);
    // They have something to say.
    let [running, done, released] = [&threads.0, &threads.2, &threads.3.0].map(|answers| &answers[4].1);
    assert!(running == "Ok(())" && done != running && released != done, "{running} {done} {released}");
}
