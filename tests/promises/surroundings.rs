//! What takes a stage of its own: terminals, a parent that dies, a program that replaces this one, bad input that only a kernel
//! can tell.

use crate::Test;
use crate::attributes::said;
use crate::errors::each_system;
use crate::leaks::{children, descriptors, is_over, until};
use crate::stage::{Outcome, row};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use steadfast::{Command, ErrorKind, Namespaces, Pid, Process, Signal, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("terminal: a new session gets it; foreground; given up", || each_system(terminal)),
        Test::new("terminal: what is none is refused before the clone", || each_system(no_terminal)),
        Test::new("refused before the clone: settings that contradict each other, both named", || each_system(contradictions)),
        Test::new("parent_death_signal: when the parent dies; kept through a change of user", || each_system(parent_dies)),
        Test::that_may_skip("parent_death_signal: the parent is dead before it is asked for", parent_is_dead),
        Test::new("subreaper: a process that was found becomes this one's child, and is waited for", || {
            crate::leaks::each_backend(becomes_ours);
        }),
        Test::new("exec: this process becomes the program, attributes and all", || each_system(exec)),
        Test::new("listen_fds: sockets, their names, and the child's own PID", || each_system(listen_fds)),
        Test::new("environment: as it is now, not as it was inherited", || each_system(changed_environment)),
    ]
}

/// What a program started again by [`role`] does.
pub(crate) const ROLES: &[(&str, fn())] = &[
    ("(terminal)", in_own_session),
    ("(parent)", a_parent),
    ("(exec)", execs),
    ("(exec fails)", exec_fails),
    ("(changes its environment)", changes_environment),
];

/// This program, in one of its roles.
pub(crate) fn role(system: &System, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", name).env("STEADFAST_BACKEND", system.backend_name());
    command
}

/// A pseudo-terminal: the program's side, and ours, to be kept open.
fn pty() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    (rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap(), ours)
}

fn terminal(system: &System) {
    let (theirs, _ours) = pty();
    let mut command = role(system, "(terminal)");
    command.setsid(true).controlling_terminal(theirs.try_clone().unwrap()).stdin(theirs).stdout(Stdio::null());
    assert!(system.spawn(&command).unwrap().wait().unwrap().success());
}

/// Of a shell: its own PID, then terminal and foreground group of `/proc/PID/stat`.
fn terminal_of(system: &System, set: impl FnOnce(&mut Command) -> &mut Command) -> [i32; 3] {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ $(cut -d')' -f2 /proc/$$/stat | cut -d' ' -f6,7)"]);
    let text = said(system, set(&mut command));
    let numbers: Vec<i32> = text.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Leads a session with a terminal.
fn in_own_session() {
    let system = System::detect().unwrap();
    let own = std::process::id() as i32;
    let tty = || File::options().read(true).write(true).open("/dev/tty").unwrap();
    let [_, terminal, foreground] = terminal_of(&system, |command| command);
    assert!(terminal != 0 && foreground == own, "{terminal} {foreground}");
    let [pid, same, foreground] = terminal_of(&system, |command| command.foreground(tty()));
    assert_eq!((same, foreground), (terminal, pid));
    let [_, none, _] = terminal_of(&system, |command| command.detach_terminal(true));
    assert_eq!(none, 0);
    // It has one; another session cannot take it.
    let error = system.spawn(Command::new("true").setsid(true).controlling_terminal(tty())).unwrap_err();
    assert_eq!(error.to_string(), "spawn `true`: TIOCSCTTY: Operation not permitted (os error 1)");
}

fn no_terminal(system: &System) {
    let null = || File::open("/dev/null").unwrap();
    for (name, command) in [
        ("controlling_terminal", Command::new("/no/such").setsid(true).controlling_terminal(null())),
        ("foreground", Command::new("/no/such").foreground(null())),
    ] {
        let _row = row(name);
        let error = system.spawn(command).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("is no terminal (Inappropriate ioctl for device"), "{text}");
    }
}

fn contradictions(system: &System) {
    let null = || File::open("/dev/null").unwrap();
    type Setting = fn(&mut Command, File) -> &mut Command;
    let cases: [(Setting, [&str; 2]); 9] = [
        (|c, _| c.setsid(true).process_group(7), ["setsid", "process_group"]),
        (|c, f| c.controlling_terminal(f), ["controlling_terminal", "setsid"]),
        (|c, f| c.fd(5, f.try_clone().unwrap()).fd(5, f), ["fd 5", "fd 5 again"]),
        (|c, f| c.fd(0, f).stdin(Stdio::null()), ["stdin (null)", "fd 0"]),
        (|c, _| c.groups(&[1]).keep_groups(true), ["groups", "keep_groups"]),
        (|c, f| c.chroot("/usr").current_dir_fd(f), ["current_dir_fd", "chroot"]),
        (|c, _| c.env("A", "1").env_exact([("B", "2")]), ["env_exact", "env or env_remove"]),
        (|c, _| c.uid_map([steadfast::IdMap { inside: 0, outside: 0, count: 1 }]), ["uid_map", "namespaces(Namespaces::USER)"]),
        (|c, _| c.namespaces(Namespaces::NET).unshare(Namespaces::NET), ["namespaces", "unshare"]),
    ];
    for (set, names) in cases {
        let _row = row(format!("{names:?}"));
        // A program that is missing would be seen after the clone.
        let mut command = Command::new("/no/such");
        let error = system.spawn(set(&mut command, null())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
}

/// Starts a child that is to die with it, says its PID, and waits to be killed.
fn a_parent() {
    let system = System::detect().unwrap();
    // Not the actor: the build may lie where another user cannot look.
    let mut command = Command::new("sleep");
    if std::env::var_os("STEADFAST_CHANGE_USER").is_some() {
        command.uid(1234);
    }
    let child = system.spawn(command.arg("1000").stdout(Stdio::null()).parent_death_signal(Signal::KILL)).unwrap();
    println!("{}", child.pid());
    system.sleep(std::time::Duration::from_secs(1000));
}

fn parent_dies(system: &System) {
    for change_user in [false, nix::unistd::Uid::current().is_root()] {
        let mut command = role(system, "(parent)");
        if change_user {
            command.env("STEADFAST_CHANGE_USER", "1");
        }
        let mut parent = system.spawn(command.stdout(Stdio::piped())).unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let child = Process::find(line.trim().parse::<Pid>().unwrap()).unwrap();
        // It lives.
        child.signal(Signal::CONT).unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the child dies with its parent", || is_over(child.pid()));
    }
}

/// strace(1) holds the child up before it asks for the signal, and its parent is killed meanwhile.
fn parent_is_dead() -> Outcome {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return Outcome::Skipped("strace is not installed".into());
    }
    // One door of each backend: what is asked for is the same behind all.
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten() {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=prctl", "-e", "inject=prctl:delay_enter=500ms"]);
        command
            .arg(std::env::current_exe().unwrap())
            .env("STEADFAST_TEST", "(parent)")
            .env("STEADFAST_BACKEND", system.backend_name());
        let strace = system.spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
        // strace's child, and then that one's child, which is held up.
        let only_child = |parent: Pid| {
            let path = format!("/proc/{parent}/task");
            let tasks = std::fs::read_dir(path).into_iter().flatten().flatten();
            let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
            children.collect::<String>().split_ascii_whitespace().last().and_then(|pid| pid.parse::<Pid>().ok())
        };
        // Held up means: in that call (proc_pid_syscall(5)), whose first argument is PR_SET_PDEATHSIG.
        let call = format!("{} 0x1 ", nix::libc::SYS_prctl);
        let is_held_up =
            |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|now| now.starts_with(&call));
        let mut found = None;
        until("the child is held up", || {
            let parent = only_child(strace.pid());
            found = parent.and_then(|parent| Some((parent, only_child(parent).filter(is_held_up)?)));
            found.is_some()
        });
        let (parent, child) = found.unwrap();
        Process::find(parent).unwrap().kill().unwrap();
        until("the child notices that its parent is dead", || is_over(child));
        strace.wait().unwrap();
    }
    Outcome::Passed
}

fn execs() {
    let error = Command::new("sh")
        .args(["-c", "echo $0 $$ $X; umask; ulimit -n; cat <&7"])
        .arg0("sh")
        .env("X", "y")
        .umask(0o27)
        .rlimit(steadfast::Resource::NOFILE, 77)
        .fd(7, File::open("/etc/hostname").unwrap())
        .current_dir("/")
        .exec();
    panic!("{error}");
}

fn exec_fails() {
    let system = System::detect().unwrap();
    let before = descriptors();
    let error = Command::new("/no/such").exec();
    assert_eq!(error.to_string(), "spawn `/no/such`: exec `/no/such`: No such file or directory (os error 2)");
    let error = Command::new("true").namespaces(Namespaces::PID).exec();
    assert!(error.to_string().contains("Namespaces::PID) and exec"), "{error}");
    assert_eq!(descriptors(), before);
    // This process is as it was.
    assert!(system.spawn(&Command::new("true")).unwrap().wait().unwrap().success());
    assert_eq!(children(), Vec::<String>::new());
}

fn exec(system: &System) {
    let child = system.spawn(role(system, "(exec)").stdout(Stdio::piped())).unwrap();
    let pid = child.pid();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    assert_eq!(text, format!("sh {pid} y\n0027\n77\n{hostname}"));
    assert!(system.spawn(&role(system, "(exec fails)")).unwrap().wait().unwrap().success());
}

/// Changing the environment takes `unsafe`, which there is none of here: env(1) and a shell do it before.
fn changes_environment() {
    let system = System::detect().unwrap();
    let theirs = said(&system, &mut Command::new("/usr/bin/env"));
    let ours: String = std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
    assert_eq!(theirs, ours);
}

fn changed_environment(system: &System) {
    let mut command = role(system, "(changes its environment)");
    command.env("NEW", "1").env_remove("HOME");
    assert!(system.spawn(&command).unwrap().wait().unwrap().success());
}

/// A subreaper's: its parent has ended, and then it is waited for as a child is.
fn becomes_ours(system: &System) {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    type Way = fn(&Process) -> Option<steadfast::ExitStatus>;
    let ways: [(&str, Way); 2] = [
        ("wait_gone", |found| found.wait_gone().unwrap().status()),
        ("a set", |found| {
            let set = steadfast::WaitSet::new();
            set.add((), found.clone()).unwrap();
            set.wait().unwrap().status.ok()
        }),
    ];
    for (name, wait) in ways {
        let _row = row(name);
        let mut parent = std::process::Command::new("sh");
        parent.args(["-c", "sleep 600 & echo $!; read line"]);
        let mut parent = parent.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let found = system.find(line.trim().parse().unwrap()).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&found));
            assert_eq!(found.wait_gone_timeout(std::time::Duration::from_millis(5)).unwrap(), None);
            drop(parent.stdin.take());
            parent.wait().unwrap();
            found.kill().unwrap();
            let status = waiter.join().unwrap().expect("it is told");
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        });
    }
    nix::sys::prctl::set_child_subreaper(false).unwrap();
    assert_eq!(children(), Vec::<String>::new());
}

fn listen_fds(system: &System) {
    let _here = system.enter();
    let null = || File::open("/dev/null").unwrap();
    let listening = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "echo $LISTEN_PID $$ $LISTEN_FDS $LISTEN_FDNAMES; a=$(readlink /proc/$$/fd/3 /proc/$$/fd/4); echo $a";
    let mut command = Command::new("sh");
    command.args(["-c", script]).close_fds(true).listen_fds([("http", OwnedFd::from(listening())), ("null", null().into())]);
    // As often as it is started, it is another's number.
    for _ in 0..3 {
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let pid = child.pid();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], format!("{pid} {pid} 2 http:null"));
        assert!(lines[1].starts_with("socket:[") && lines[1].ends_with(" /dev/null"), "{said}");
    }
    // With an environment of its own, a hook's door, and another PID namespace.
    let own = |command: &mut Command| {
        command.args(["-c", "echo $LISTEN_PID $$ $LISTEN_FDS $A"]).env_clear().env("A", "b").listen_fds([("x", null())]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = own(&mut Command::new("/bin/sh"));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.len() == 4 && words[0] == words[1] && words[2..] == ["1", "b"], "{said}");
    let mut alone = Command::new("/bin/sh");
    alone.namespaces(Namespaces::PID);
    if system.spawn(Command::new("true").namespaces(Namespaces::PID)).is_ok() {
        assert_eq!(own(&mut alone), "1 1 1 b\n");
    }
    let mut none = Command::new("sh");
    none.args(["-c", "echo $LISTEN_PID-$LISTEN_FDS-$LISTEN_FDNAMES"]).env("LISTEN_FDS", "7").listen_fds([] as [(&str, File); 0]);
    assert_eq!(none.output().unwrap().stdout, b"--\n");
    let error = Command::new("true").listen_fds([("x", null())]).fd(3, null()).spawn().unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("fd 3"), "{error}");
}
