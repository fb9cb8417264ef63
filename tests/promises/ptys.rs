//! A terminal for a child: what it sees of it, what is read at the other end, and that nothing of it is left.

use crate::Test;
use crate::errors::each_system;
use crate::input::{end, sh};
use crate::jobs::rounds;
use crate::leaks::{children, descriptors, until};
use crate::stage::{Outcome, row};
use crate::surroundings::role;
use nix::sys::signal::{SigSet, Signal as RawSignal};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use seccompiler::{SeccompAction, SeccompCmpOp};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Capture, Child, Command, Containment, Errno, Error, ErrorKind, Job, Pty, PtySize, Signal, Stage, Stdio, System};
use steadfast_tests::filter::Call;

pub(crate) fn tests() -> Vec<Test> {
    let each = |name: &str, check: fn(&System)| Test::that_may_skip(format!("ptys: {name}"), move || clean(check));
    vec![
        each("a child has it for its terminal, of the size that was set, and may be followed by others", sees_it),
        each("a resize is one SIGWINCH, and none if the size is the same", resized),
        each("what is typed: Ctrl-C is SIGINT, lines are lines, echo and raw as they were set", typed),
        each("an interactive shell has job control, and Ctrl-C ends what it runs and not the shell", job_control),
        each("it hangs up when the last of its clones is dropped; a command does not keep it open", hangs_up),
        each("no byte is lost of a child that writes 1 MiB and exits, nor of one that is read when it is gone", bytes),
        each("who keeps it open holds a capture up no longer than was said, and costs no byte", kept_open),
        each("streams that were set stay as they were set, and output() has its pipes", streams),
        each("a missing program is told, 1,000 of 1,000, and nothing is left open", missing),
        each("what contradicts it is named", contradictions),
        each("before Linux 4.13 the other end is opened by its path", by_path),
        each("read_timeout: nothing, something, and the end", timed_reads),
        Test::new("ptys: no child that is started beside has a descriptor of it", || each_system(beside)),
        Test::new("ptys: a simulated process is refused one", simulated),
    ]
}

/// What a program started again by [`role`] does.
pub(crate) const ROLES: &[(&str, fn())] = &[("(counts SIGWINCH)", counts_winch)];

fn clean(check: fn(&System)) -> Outcome {
    let before = descriptors();
    each_system(check);
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
    Outcome::Passed
}

/// All that it writes, of one that succeeds.
fn written(pty: &Pty, child: &Child) -> String {
    let captured = pty.capture(child, &Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true)).unwrap();
    assert!(captured.status.unwrap().success() && !captured.timed_out, "{captured:?}");
    assert!(captured.is_complete() && captured.stderr.total() == 0);
    String::from_utf8(captured.stdout.to_vec()).unwrap()
}

/// Reads until this was read.
fn read_until(mut pty: &Pty, wanted: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let read = pty.read(&mut buffer).unwrap();
        assert!(read > 0, "the end, behind {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    text
}

fn sees_it(system: &System) {
    let pty = Pty::open().unwrap();
    assert_eq!((pty.size().unwrap(), PtySize::new(24, 80).to_string()), (PtySize::default(), "24x80".into()));
    let size = PtySize { rows: 50, columns: 132, width: 7, height: 9 };
    pty.resize(size).unwrap();
    let before = descriptors();
    let mut command = sh("tty; stty size; test -t 0 && test -t 1 && test -t 2 && ps -o sid=,pgid=,tpgid= -p $$");
    command.pty(&pty);
    for _ in 0..20 {
        let child = system.spawn(&command).unwrap();
        let pid = child.pid().to_string();
        // The child's end was closed when the child was born.
        assert_eq!(descriptors().difference(&before).filter(|fd| is_terminal(fd)).count(), 0);
        let text = written(&pty, &child);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(lines[0].starts_with("/dev/pts/"), "{text}");
        assert_eq!(lines[1], "50 132");
        // It leads a session, and is in the foreground.
        assert_eq!(lines[2].split_ascii_whitespace().collect::<Vec<_>>(), [&*pid; 3]);
    }
    assert_eq!(pty.size().unwrap(), size);
    assert_eq!(format!("{pty:?}"), "Pty");
}

fn is_terminal(fd: &str) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path.starts_with("/dev/pts"))
}

/// Tells of each, and ends at `SIGPWR`, which is taken after a `SIGWINCH` that is there.
fn counts_winch() {
    let mut set = SigSet::empty();
    set.add(RawSignal::SIGWINCH);
    set.add(RawSignal::SIGPWR);
    set.thread_block().unwrap();
    println!("ready");
    while set.wait().unwrap() == RawSignal::SIGWINCH {
        println!("winch");
    }
    println!("end");
}

fn resized(system: &System) {
    let pty = Pty::open().unwrap();
    let child = system.spawn(role(system, "(counts SIGWINCH)").pty(&pty)).unwrap();
    read_until(&pty, "ready\r\n");
    for rows in 1..=20 {
        pty.resize(PtySize::new(rows, 80)).unwrap();
        assert_eq!(read_until(&pty, "\n"), "winch\r\n");
        pty.resize(PtySize::new(rows, 80)).unwrap();
    }
    child.signal(Signal::PWR).unwrap();
    assert_eq!(written(&pty, &child), "end\r\n");
}

fn typed(system: &System) {
    let pty = Pty::open().unwrap();
    let sleep = system.spawn(Command::new("sleep").arg("1000").pty(&pty)).unwrap();
    (&pty).write_all(b"\x03").unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&sleep.wait().unwrap()), Some(2));
    let mut command = Command::new("head");
    command.arg("-n1").pty(&pty);
    for (echo, expected) in [(true, "one\r\none\r\n"), (false, "one\r\n")] {
        let pty = Pty::open().unwrap();
        pty.echo(echo).unwrap();
        let child = system.spawn(command.pty(&pty)).unwrap();
        (&pty).write_all(b"onx\x7fe\n").unwrap();
        let text = written(&pty, &child).replace("x\x08 \x08", "");
        assert_eq!(text, expected);
    }
    let pty = Pty::open().unwrap();
    pty.raw(true).unwrap();
    let child = system.spawn(Command::new("head").arg("-c5").pty(&pty)).unwrap();
    (&pty).write_all(b"\x03\x04\x7f\r\n").unwrap();
    assert_eq!(written(&pty, &child), "\x03\x04\x7f\r\n");
    pty.raw(false).unwrap();
    let child = system.spawn(Command::new("echo").pty(&pty)).unwrap();
    assert_eq!(written(&pty, &child), "\r\n");
}

fn job_control(system: &System) {
    let pty = Pty::open().unwrap();
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "> ").env("TERM", "dumb").env_remove("HISTFILE");
    let shell = system.spawn(shell.pty(&pty)).unwrap();
    let foreground = || nix::unistd::tcgetpgrp(pty.as_fd()).unwrap().as_raw();
    (&pty).write_all(b"echo flags=$-\n").unwrap();
    let text = read_until(&pty, "\nflags=");
    assert!(!text.contains("no job control"), "{text}");
    (&pty).write_all(b"sleep 1000\n").unwrap();
    // And the program runs: the shell's child in front of it ignores the signal, or not.
    let comm = || std::fs::read_to_string(format!("/proc/{}/comm", foreground())).unwrap_or_default();
    until("the shell has given its terminal to the program", || comm() == "sleep\n");
    (&pty).write_all(b"\x03").unwrap();
    until("the shell has it again", || foreground() == shell.pid().as_raw());
    (&pty).write_all(b"echo ended=$?; exit 7\n").unwrap();
    read_until(&pty, "\nended=130");
    let rest = pty.capture(&shell, &Capture::new().timeout(Duration::from_secs(60))).unwrap();
    assert_eq!(rest.status.unwrap().code(), Some(7));
}

fn hangs_up(system: &System) {
    let pty = Pty::open().unwrap();
    let mut command = sh("cat; exit 3");
    let child = system.spawn(command.pty(&pty)).unwrap();
    let clone = pty.clone();
    drop(pty);
    (&clone).write_all(b"still there\n").unwrap();
    read_until(&clone, "still there\r\nstill there\r\n");
    drop(clone);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(1));
    let error = system.spawn(&command).unwrap_err();
    assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains("it was dropped"), "{error}");
}

fn bytes(system: &System) {
    let pty = Pty::open().unwrap();
    pty.raw(true).unwrap();
    let mut much = Command::new("head");
    much.args(["-c", "1048576", "/dev/zero"]).pty(&pty);
    let mut buffer = vec![0; 1 << 16];
    let mut to_the_end =
        || std::iter::from_fn(|| Some((&pty).read(&mut buffer).unwrap()).filter(|read| *read > 0)).sum::<usize>();
    for _ in 0..rounds(50) {
        let child = system.spawn(&much).unwrap();
        assert_eq!(to_the_end(), 1 << 20);
        assert!(child.wait().unwrap().success());
    }
    let mut some = Command::new("head");
    some.args(["-c", "8000", "/dev/zero"]).pty(&pty);
    for _ in 0..rounds(50) {
        assert!(system.spawn(&some).unwrap().wait().unwrap().success());
        assert_eq!(to_the_end(), 8000);
    }
}

fn kept_open(system: &System) {
    let pty = Pty::open().unwrap();
    pty.raw(true).unwrap();
    let mut command = sh("trap '' HUP; setsid sleep 1000 & echo $!; head -c 8000 /dev/zero");
    command.pty(&pty);
    for delay in [Duration::ZERO, Duration::from_millis(20)] {
        let child = system.spawn(&command).unwrap();
        let captured = pty.capture(&child, &Capture::new().wait_delay(delay)).unwrap();
        assert!(captured.status.unwrap().success() && !captured.timed_out && !captured.is_complete());
        let text = captured.stdout.to_vec();
        let line = text.iter().position(|byte| *byte == b'\n').unwrap();
        assert_eq!(text.len() - line - 1, 8000);
        end(&text[..line]);
        // Now nobody has it open.
        assert_eq!((&pty).read(&mut [0]).unwrap(), 0);
    }
    // All that was on its way, of one that is gone, and not only what has arrived.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keeper = ioctl_tiocgptpeer(&pty, flags).unwrap();
    let mut some = Command::new("head");
    some.args(["-c", "8000", "/dev/zero"]).pty(&pty);
    for _ in 0..rounds(100) {
        let child = system.spawn(&some).unwrap();
        child.wait().unwrap();
        let captured = pty.capture(&child, &Capture::new().wait_delay(Duration::ZERO)).unwrap();
        assert_eq!(captured.stdout.total(), 8000);
    }
    drop(keeper);
    // With a limit of time, what was said by then; and later the rest.
    let child = system.spawn(sh("echo one; read x; echo $x").pty(&pty)).unwrap();
    let some = pty.capture(&child, &Capture::new().timeout(Duration::from_millis(300))).unwrap();
    assert!(some.timed_out && some.status.is_none());
    (&pty).write_all(b"two\n").unwrap();
    let rest = written(&pty, &child);
    assert_eq!([some.stdout.to_vec(), rest.into_bytes()].concat(), b"one\ntwo\n");
}

fn streams(system: &System) {
    let pty = Pty::open().unwrap();
    let _here = system.enter();
    let which = "for n in 0 1 2; do test -t $n && printf $n >&3; done; true";
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = sh(which);
    command.pty(&pty).fd(3, writer.try_clone().unwrap());
    assert!(command.spawn().unwrap().wait().unwrap().success());
    assert!(command.status().unwrap().success());
    assert!(command.output().unwrap().stdout.is_empty());
    assert!(command.stderr(Stdio::null()).spawn().unwrap().wait().unwrap().success());
    command.fd(0, std::fs::File::open("/dev/null").unwrap());
    assert!(command.spawn().unwrap().wait().unwrap().success());
    drop((command, writer));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, ["012", "012", "0", "01", "1"].concat());
}

fn missing(system: &System) {
    let pty = Pty::open().unwrap();
    let before = descriptors();
    let mut command = Command::new("/no/such/program");
    command.pty(&pty);
    for _ in 0..1000 {
        let error = system.spawn(&command).unwrap_err();
        assert!(matches!(error, Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }), "{error}");
    }
    assert_eq!(descriptors(), before);
    assert_eq!((&pty).read(&mut [0]).unwrap(), 0);
}

fn contradictions(system: &System) {
    let pty = Pty::open().unwrap();
    let null = || std::fs::File::open("/dev/null").unwrap();
    type Setting = fn(&mut Command, std::fs::File) -> &mut Command;
    let cases: [(Setting, &str); 5] = [
        (|c, _| c.setsid(false), "pty and setsid(false)"),
        (|c, _| c.process_group(0), "pty and process_group"),
        (|c, f| c.setsid(true).controlling_terminal(f), "pty and controlling_terminal"),
        (|c, f| c.foreground(f), "pty and foreground"),
        (|c, _| c.detach_terminal(true), "pty and detach_terminal"),
    ];
    let refused = |error: Error, words: &str| {
        assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains(words), "{words}: {error}");
    };
    for (set, words) in cases {
        let mut command = Command::new("true");
        refused(system.spawn(set(command.pty(&pty), null())).unwrap_err(), words);
    }
    let _here = system.enter();
    let job = Job::builder().containment(Containment::Group).build().unwrap();
    refused(Command::new("true").pty(&pty).spawn_in(&job).unwrap_err(), "a job by group");
    refused(Command::new("true").pty(&pty).exec(), "pty and exec");
    // A wish that was taken back is none.
    assert!(Command::new("true").setsid(false).setsid(true).pty(&pty).status().unwrap().success());
}

fn by_path(system: &System) {
    // The filter stays with this process; the first to come installs it.
    const TIOCGPTPEER: u64 = 0x5441;
    static IS_FILTERED: AtomicBool = AtomicBool::new(false);
    if !IS_FILTERED.swap(true, Ordering::Relaxed) {
        let call = Call { name: "TIOCGPTPEER", number: nix::libc::SYS_ioctl, only: Some((1, SeccompCmpOp::Eq, TIOCGPTPEER)) };
        call.answer(SeccompAction::Errno(25));
        let refused = ioctl_tiocgptpeer(Pty::open().unwrap(), OpenptFlags::NOCTTY);
        assert_eq!(refused.unwrap_err(), rustix::io::Errno::NOTTY);
    }
    let pty = Pty::open().unwrap();
    let child = system.spawn(sh("tty -s && ls /proc/self/fd").close_fds(true).pty(&pty)).unwrap();
    // Of what `ls` has, the last is the directory.
    assert_eq!(written(&pty, &child).split_ascii_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

fn timed_reads(system: &System) {
    let pty = Pty::open().unwrap();
    let (mut buffer, short, long) = ([0; 100], Duration::from_millis(5), Duration::from_secs(60));
    // Nobody has had it yet.
    assert_eq!(pty.read_timeout(&mut buffer, short).unwrap(), None);
    let child = system.spawn(sh("read x; printf $x").pty(&pty)).unwrap();
    pty.echo(false).unwrap();
    assert_eq!(pty.read_timeout(&mut buffer, Duration::ZERO).unwrap(), None);
    (&pty).write_all(b"word\n").unwrap();
    assert_eq!(pty.read_timeout(&mut buffer, long).unwrap(), Some(4));
    assert!(child.wait().unwrap().success());
    assert_eq!(pty.read_timeout(&mut buffer, Duration::MAX).unwrap(), Some(0));
}

/// Terminals are opened and given away, while another thread starts children that look at their descriptors.
fn beside(system: &System) {
    let is_over = AtomicBool::new(false);
    let open: usize = std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            let mut started = 0;
            while !is_over.load(Ordering::Relaxed) {
                let pty = Pty::open().unwrap();
                assert!(system.spawn(Command::new("true").pty(&pty)).unwrap().wait().unwrap().success());
                started += 1;
            }
            started
        });
        let mut seen = BTreeSet::new();
        for round in 0..rounds(300) {
            let mut look = Command::new("ls");
            look.args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
            let text = match round % 2 {
                0 => system.spawn(&look).unwrap().wait_with_output().unwrap().stdout,
                _ => {
                    let mut look = std::process::Command::new("ls");
                    look.args(["-l", "/proc/self/fd"]).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                    look.output().unwrap().stdout
                }
            };
            let text = String::from_utf8(text).unwrap();
            seen.extend(text.lines().filter(|line| line.contains("pts") || line.contains("ptmx")).map(str::to_owned));
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(seen, BTreeSet::new());
        starter.join().unwrap()
    });
    let _row = row(format!("{open} terminals"));
    assert!(open > 0);
}

fn simulated() {
    let kernel = Kernel::builder().program("tool", Script::new()).build();
    let pty = Pty::open().unwrap();
    let error = kernel.system().spawn(Command::new("tool").pty(&pty)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("pty: a simulated process has no terminal"), "{error}");
    let child = kernel.system().spawn(&Command::new("tool")).unwrap();
    assert_eq!(pty.capture(&child, &Capture::new()).unwrap_err().kind(), ErrorKind::Unsupported);
}
