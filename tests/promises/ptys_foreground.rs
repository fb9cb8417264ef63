//! Whoever gives its terminal away by `Command::foreground` has it again when that child has ended, on every way to hear of that.

use crate::Test;
use crate::errors::each_system;
use crate::input::{runtime, sh};
use crate::leaks::{children, descriptors, until};
use crate::stage::row;
use crate::starts_held::Gate;
use crate::storm::noop;
use crate::surroundings::role;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as RawSignal, pthread_sigmask};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid as RawPid, getpgrp, tcgetpgrp, tcsetpgrp};
use std::fs::File;
use std::time::Duration;
use steadfast::tokio::AsyncCommand;
use steadfast::{Capture, Child, Command, Containment, Errno, Error, Job, Pty, System, Teardown};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("terminal: it comes back when the child has ended, on every way to hear of it", || each_system(comes_back)),
        Test::new("terminal: it comes back when a start fails, or its time is up", || each_system(fails)),
        Test::new("terminal: it comes back from the group that got it, and from no other", || each_system(of_others)),
    ]
}

/// What a program started again by [`role`] does, as the leader of a session with a terminal.
pub(crate) const ROLES: &[(&str, fn())] =
    &[("(gets it back)", each_way), ("(cannot start)", no_start), ("(gave it to others)", others)];

fn comes_back(system: &System) {
    in_terminal(system, "(gets it back)");
}

fn fails(system: &System) {
    in_terminal(system, "(cannot start)");
}

fn of_others(system: &System) {
    in_terminal(system, "(gave it to others)");
}

pub(crate) fn in_terminal(system: &System, name: &str) {
    let before = descriptors();
    let pty = Pty::open().unwrap();
    let child = system.spawn(role(system, name).pty(&pty)).unwrap();
    let captured = pty.capture(&child, &Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true)).unwrap();
    // Who is stopped by SIGTTOU is still there after a minute.
    assert!(captured.status.unwrap().success() && !captured.timed_out, "{:?}: {}", captured.status, captured.stdout);
    drop((child, pty));
    assert_eq!((descriptors(), children()), (before, vec![]));
}

pub(crate) fn tty() -> File {
    File::options().read(true).write(true).open("/dev/tty").unwrap()
}

pub(crate) fn foreground() -> RawPid {
    tcgetpgrp(tty()).unwrap()
}

/// In the foreground, with all signals as they were; and the kernel thinks so too, or this stops.
pub(crate) fn is_ours() {
    assert_eq!(foreground(), getpgrp());
    let mut mask = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask)).unwrap();
    assert!(!mask.contains(RawSignal::SIGTTOU));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for set in ["SigIgn:", "SigCgt:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
        assert_eq!(u64::from_str_radix(line.trim(), 16).unwrap() >> (RawSignal::SIGTTOU as i32 - 1) & 1, 0, "{set}");
    }
    let modes = tcgetattr(tty()).unwrap();
    tcsetattr(tty(), SetArg::TCSANOW, &modes).unwrap();
}

fn given_to(mut command: Command) -> Command {
    command.foreground(tty());
    command
}

/// Who ends when the test says so.
pub(crate) fn holder() -> Child {
    let child = given_to({
        let mut command = Command::new("sleep");
        command.arg("1000");
        command
    });
    let child = child.spawn().unwrap();
    assert_eq!(foreground().as_raw(), child.pid().as_raw());
    child
}

fn ended() -> Child {
    let child = holder();
    // By the process, which knows of no terminal.
    child.process().kill().unwrap();
    child
}

fn each_way() {
    let system = System::detect().unwrap();
    let _here = system.enter();
    is_ours();
    let long = Duration::from_secs(60);
    type Wait = fn(Child, Duration);
    let waits: &[(&str, Wait)] = &[
        ("wait", |child, _| _ = child.wait().unwrap()),
        ("wait_timeout", |child, long| _ = child.wait_timeout(long).unwrap().unwrap()),
        ("wait_deadline", |child, long| _ = child.wait_deadline(System::current().unwrap().now() + long).unwrap().unwrap()),
        ("try_wait", |child, _| until("it ends", || child.try_wait().unwrap().is_some())),
        ("wait_exited", |child, _| _ = child.wait_exited().unwrap()),
        ("wait_exited_timeout", |child, long| _ = child.wait_exited_timeout(long).unwrap().unwrap()),
        ("wait_gone", |child, _| _ = child.wait_gone().unwrap()),
        ("wait_gone_timeout", |child, long| _ = child.wait_gone_timeout(long).unwrap().unwrap()),
        ("capture", |child, _| _ = child.capture(&Capture::new()).unwrap()),
        ("wait_with_output", |child, _| _ = child.wait_with_output().unwrap()),
        ("stop", |child, _| _ = child.stop(&Teardown::graceful(Duration::from_secs(5))).unwrap()),
        ("drop, waited for by another handle", |child, _| _ = child.process().wait().unwrap()),
    ];
    for (name, wait) in waits {
        let _row = row(name);
        wait(ended(), long);
        is_ours();
    }
    for is_lost in [false, true] {
        let _row = row(format!("not before it has ended; lost: {is_lost}"));
        let child = holder();
        assert_eq!(child.wait_timeout(Duration::from_millis(5)).unwrap(), None);
        assert_eq!(foreground().as_raw(), child.pid().as_raw());
        child.process().kill().unwrap();
        if is_lost {
            // Other code has taken the status, which some kernels tell all the same.
            nix::sys::wait::waitpid(RawPid::from_raw(child.pid().as_raw()), None).unwrap();
        }
        assert!(is_lost || child.wait().is_ok());
        drop(child.wait());
        is_ours();
    }
    type Run = fn(&mut Command);
    let commands: &[(&str, Run)] = &[
        ("status", |command| _ = command.status().unwrap()),
        ("status with input", |command| _ = command.input("x").status().unwrap()),
        ("output", |command| drop(command.output().unwrap())),
        ("output_timeout", |command| drop(command.output_timeout(Duration::from_secs(60)).unwrap())),
        ("lines", |command| _ = command.lines(&Capture::new()).unwrap().finish().unwrap()),
        ("kill_on_drop", |command| drop(command.arg("; sleep 1000").kill_on_drop(true).spawn().unwrap())),
        ("spawn_timeout", |command| _ = command.spawn_timeout(Duration::from_secs(60)).unwrap().wait().unwrap()),
    ];
    for (name, run) in commands {
        let _row = row(name);
        run(&mut given_to(sh("true")));
        is_ours();
    }
    let _row = row("tasks");
    runtime().block_on(async {
        given_to(sh("true")).status_async().await.unwrap();
        is_ours();
        given_to(sh("true")).output_async().await.unwrap();
        is_ours();
        let child = given_to(sh("true")).spawn_async().await.unwrap();
        child.wait_timeout(long).await.unwrap().unwrap();
        is_ours();
    });
    until("the killed one is reaped", || children().is_empty());
}

fn no_start() {
    let system = System::detect().unwrap();
    let _here = system.enter();
    for _ in 0..100 {
        let error = given_to(Command::new("/no/such/program")).spawn().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        is_ours();
    }
    if Gate::check().is_err() {
        return;
    }
    // Held at its exec: it has the terminal, and is killed there.
    let (_dir, program) = noop();
    let gate = Gate::on(&program);
    let error = given_to(Command::new(&program)).spawn_timeout(Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, Error::SpawnTimedOut { .. }), "{error}");
    is_ours();
    drop(gate);
    until("it is reaped", || children().is_empty());
}

fn others() {
    let system = System::detect().unwrap();
    let _here = system.enter();
    // Somebody else has it by now: it is not taken away.
    let (first, second) = (holder(), Command::new("sleep").arg("1000").process_group(0).spawn().unwrap());
    let group = RawPid::from_raw(second.pid().as_raw());
    give(group);
    first.process().kill().unwrap();
    first.wait().unwrap();
    assert_eq!(foreground(), group);
    // Nor does it come back from one that has it by then, through a child of which that is known.
    give(RawPid::from_raw(first.pid().as_raw()));
    // (There is no such group.)
    assert_eq!(foreground(), group);
    // Who has not had it when the child was started does not get it.
    let third = given_to(sh("true")).spawn().unwrap();
    third.wait().unwrap();
    assert_eq!(foreground().as_raw(), third.pid().as_raw());
    give(getpgrp());
    is_ours();
    second.kill().unwrap();
    second.wait().unwrap();
    // Into a group that there is.
    let leader = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    let mut member = sh("true");
    member.process_group(leader.pid().as_raw());
    given_to(member).status().unwrap();
    is_ours();
    leader.kill().unwrap();
    leader.wait().unwrap();
    // Into the group of a job.
    let job = Job::builder().containment(Containment::Group).build().unwrap();
    given_to(sh("true")).in_job(&job).status().unwrap();
    is_ours();
    assert!(given_to(Command::new("/no/such/program")).in_job(&job).spawn().is_err());
    is_ours();
    assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
    drop(job);
    // A child that is dropped while it runs keeps it.
    let child = holder();
    let process = child.process().clone();
    drop(child);
    assert_eq!(foreground().as_raw(), process.pid().as_raw());
    process.kill().unwrap();
    process.wait().unwrap();
    give(getpgrp());
    is_ours();
}

/// As a shell does.
pub(crate) fn give(group: RawPid) {
    let mut stop = SigSet::empty();
    stop.add(RawSignal::SIGTTOU);
    let before = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
    _ = tcsetpgrp(tty(), group);
    before.thread_set_mask().unwrap();
}
