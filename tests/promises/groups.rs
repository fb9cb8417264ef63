//! Process groups, on every backend: a signal reaches all of one, and never another's.

use crate::Test;
use crate::scene::{Promise, Scene, on_every_backend};
use seccompiler::{SeccompAction, SeccompCmpOp};
use std::os::unix::process::ExitStatusExt;
use steadfast::{Child, Command, Errno, ErrorKind, Pid, Signal, Stdio};
use steadfast_tests::filter::Call;

const PROMISES: &[Promise] = &[
    ("a signal reaches every member", every_member),
    ("it reaches them while the leader is a zombie, and nobody after its wait", zombie_leader),
    ("whoever leads none is told so, and nothing is signalled", leads_none),
    ("a handle that was released signals no group", released),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = on_every_backend("groups", PROMISES, |scene, check| check(scene));
    let by_number = on_every_backend("groups before Linux 6.9, of which the calls know nothing", PROMISES, |scene, check| {
        let flagged = Some((3, SeccompCmpOp::Ne, 0));
        let number = nix::libc::SYS_pidfd_send_signal;
        Call { name: "pidfd_send_signal with flags", number, only: flagged }
            .answer(SeccompAction::Errno(Errno::INVAL.as_raw() as u32));
        check(scene);
    });
    tests.extend(by_number.into_iter().filter(|test| test.name.contains(": pidfd: ")));
    tests
}

/// In this group; 0: in one of its own.
fn member(scene: &Scene, group: i32) -> Child {
    let mut command = Command::new(scene.actor());
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(group);
    scene.system.spawn(&command).unwrap()
}

fn number(pid: Pid) -> i32 {
    pid.as_raw()
}

fn every_member(scene: &Scene) {
    let leader = member(scene, 0);
    let members = [member(scene, number(leader.pid())), member(scene, number(leader.pid()))];
    let outsider = member(scene, 0);
    leader.signal_group(Signal::TERM).unwrap();
    for one in members.iter().chain([&leader]) {
        assert_eq!(one.process().wait().unwrap().signal(), Some(15));
    }
    assert_eq!(leader.kill_group().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(outsider.process().try_wait().unwrap(), None);
    assert_eq!(outsider.wait().unwrap().code(), Some(3));
}

fn zombie_leader(scene: &Scene) {
    let mut leader = member(scene, 0);
    let members = [member(scene, number(leader.pid())), member(scene, number(leader.pid()))];
    drop(leader.stdin.take());
    scene.until_zombie(leader.process());
    leader.signal_group(Signal::STOP).unwrap();
    leader.signal_group(Signal::CONT).unwrap();
    let [first, second] = members;
    first.kill().unwrap();
    assert_eq!(first.process().wait().unwrap().signal(), Some(9));
    assert_eq!(leader.process().wait().unwrap().code(), Some(3));
    assert_eq!(leader.signal_group(Signal::KILL).unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(second.wait().unwrap().code(), Some(3));
}

fn leads_none(scene: &Scene) {
    let leader = member(scene, 0);
    let other = member(scene, number(leader.pid()));
    let error = other.signal_group(Signal::KILL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoGroup);
    assert!(error.to_string().ends_with("start it with process_group(0), or signal it alone"), "{error}");
    // It is as it was, and so is the group that it is in.
    other.kill().unwrap();
    assert_eq!(other.process().wait().unwrap().signal(), Some(9));
    assert_eq!(leader.wait().unwrap().code(), Some(3));
}

fn released(scene: &Scene) {
    let leader = member(scene, 0);
    let keeper = scene.system.find(leader.pid()).unwrap();
    leader.process().release().unwrap();
    assert_eq!(leader.kill_group().unwrap_err().kind(), ErrorKind::Released);
    keeper.kill_group().unwrap();
    // Whoever reaps it: the one that was released, in the background, or this one.
    keeper.wait_gone().unwrap();
}
