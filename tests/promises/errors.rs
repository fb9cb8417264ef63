//! Bad input: each a clear error that names what is wrong.

use crate::Test;
use crate::contract::ACTOR;
use crate::leaks::each_backend;
use crate::probing::answer_with;
use crate::stage::row;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::channel;
use steadfast::{Command, Errno, Error, ErrorKind, Pid, Stage, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("errors: PID 0, a negative and a huge one are refused before any call", pids),
        Test::new("errors: a thread's ID is no process", || each_system(thread_id)),
        Test::new("errors: a thread's ID is no process, as pidfd_open(2) has it before Linux 6.16", thread_id_before_6_16),
        Test::new("errors: an empty program name, and a NUL byte", || each_system(names)),
        Test::new("errors: a missing program says where it was looked for", || each_system(missing)),
        Test::new("errors: what is no program: empty, of another machine, a page", || each_system(no_program)),
        Test::new("errors: a text without an interpreter is the shell's", || each_system(plain_script)),
        Test::new("errors: a program that was just written, in eight threads", || each_backend(just_written)),
        Test::new("errors: a program that somebody writes to", || each_system(busy)),
        Test::new("errors: a directory as program", || each_system(directory)),
        Test::new(
            "errors: a program that is there, and its interpreter or loader is not: which one, and a carriage return",
            || {
                each_system(missing_interpreter);
            },
        ),
        Test::new("errors: a missing working directory, a file as one", || each_system(working_directory)),
        Test::new("errors: a closed descriptor as stdin", || each_system(closed_stdin)),
        Test::new("errors: STEADFAST_BACKEND that names no backend", unknown_backend),
        Test::new("errors: a pidfd from a backend that has none", no_pidfd),
    ]
}

/// Runs a check on both real backends through every door that is open.
pub(crate) fn each_system(check: impl Fn(&System)) {
    for door in steadfast::Probe::once().expect("this machine can be probed").doors() {
        let check = |system: &System| {
            let _row = row(format!("{}, {door:?}", system.backend_name()));
            check(system);
        };
        check(&System::pid_legacy_through(*door));
        match System::pidfd_through(*door) {
            Ok(system) => check(&system),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
    }
}

fn pids() {
    for raw in [0, -1, -42, i32::MIN, 1 << 22, i32::MAX] {
        let _row = row(raw);
        let error = Pid::new(raw).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("{raw} is no process ID")), "{error}");
    }
}

fn thread_id(system: &System) {
    let (tell, told) = channel();
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        // Until the other end is dropped.
        assert!(stopped.recv().is_err());
    });
    let tid = Pid::new(told.recv().unwrap()).unwrap();
    let error = system.find(tid).unwrap_err();
    assert!(matches!(error, Error::ThreadId { tid: t } if t == tid), "{error:?}");
    drop(stop);
    thread.join().unwrap();
}

fn failure(system: &System, command: &mut Command) -> Error {
    system.spawn(command).map(|child| child.pid()).unwrap_err()
}

/// There it says `EINVAL` for a thread, and for a process that is just being reaped too (systemd#36982).
fn thread_id_before_6_16() {
    let Ok(system) = System::pidfd() else { return };
    answer_with(nix::libc::SYS_pidfd_open, Errno::INVAL);
    thread_id(&system);
    for gone in [Pid::try_from(std::process::id()).unwrap(), Pid::MAX] {
        assert_eq!(system.find(gone).unwrap_err().kind(), ErrorKind::ProcessDone);
    }
}

fn names(system: &System) {
    let error = failure(system, &mut Command::new(""));
    assert!(error.to_string().contains("name is empty"), "{error}");
    for command in [&mut Command::new("a\0b"), Command::new("true").arg("x\0"), Command::new("true").env("A", "\0")] {
        let _row = row(format!("{command:?}"));
        let error = failure(system, command);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("NUL byte"), "{error}");
    }
}

fn missing(system: &System) {
    let error = failure(system, Command::new("no-such-program").env("PATH", "/nowhere:/usr/bin"));
    let expected = "spawn `no-such-program`: exec: not found in PATH (/nowhere:/usr/bin): \
                    No such file or directory (os error 2)";
    assert_eq!(error.to_string(), expected);
    let error = failure(system, &mut Command::new("/no/such"));
    assert_eq!(error.to_string(), "spawn `/no/such`: exec `/no/such`: No such file or directory (os error 2)");
    let io = std::io::Error::from(error);
    assert_eq!((io.kind(), Errno::of(&io)), (std::io::ErrorKind::NotFound, Some(Errno::NOENT)));
    assert!(io.to_string().contains("spawn `"), "{io}");
}

/// A directory, and an executable file in it.
fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    let mut file = File::options().write(true).create_new(true).mode(0o755).open(&path).unwrap();
    file.write_all(bytes).unwrap();
    (dir, path)
}

fn no_program(system: &System) {
    let elsewhere = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\xfe\x01\0\0\0";
    // Its interpreter is there, and the kernel reads no line so long.
    let long = [b"#!/", "./".repeat(130).as_bytes(), b"bin/sh\nexit 3\n"].concat();
    for bytes in [
        &b""[..],
        elsewhere,
        b"<html>404</html>\n",
        b"<!DOCTYPE html>",
        b"\n\n  <!DOCTYPE html>",
        b"\xef\xbb\xbf<html>",
        b"\0\0\0",
        b"text, and then \0",
        b"#!\nexit 3\n",
        &long,
    ] {
        let _row = row(format!("{:?}", String::from_utf8_lossy(bytes)));
        let (_dir, path) = file(bytes);
        let error = failure(system, &mut Command::new(&path));
        assert_eq!(error.errno(), Some(Errno::NOEXEC), "{error}");
        assert!(error.to_string().contains("no program for this machine"), "{error}");
    }
}

fn plain_script(system: &System) {
    for text in ["exit 3", "\n# f\u{fc}r alle\nexit 3\n", ":\nexit 3"] {
        let _row = row(format!("{text:?}"));
        let (_dir, path) = file(text.as_bytes());
        assert_eq!(system.spawn(&Command::new(&path)).unwrap().wait().unwrap().code(), Some(3), "{text}");
    }
}

fn missing_interpreter(system: &System) {
    let truth = std::fs::read("/bin/true").unwrap();
    let at = truth.windows(4).position(|bytes| bytes == b"/ld-").expect("a dynamic program");
    let elsewhere = [&truth[..at], b"/no-", &truth[at + 4..]].concat();
    let nobodys = "its interpreter `/opt/none/python9`, named in its first line, does not exist";
    for (bytes, said) in [
        (&b"#!/opt/none/python9\n"[..], nobodys),
        (b"#! \t/opt/none/python9 -u\nprint()\n", nobodys),
        (
            b"#!/bin/sh\r\nexit 0\r\n",
            "its interpreter `/bin/sh`, named in its first line, does not exist: that line ends in a carriage return, as on Windows",
        ),
        (&elsewhere, "does not exist: it was built for another system"),
    ] {
        let _row = row(said);
        let (dir, path) = file(bytes);
        let error = failure(system, &mut Command::new(&path));
        let begin = format!("spawn `{0}`: exec `{0}`: ", path.display());
        let end = ": No such file or directory (os error 2)";
        let text = error.to_string();
        assert!(text.starts_with(&begin) && text.contains(said) && text.ends_with(end), "{text}");
        assert_eq!(error.errno(), Some(Errno::NOENT));
        // Found in the PATH, relative to a directory, and by a script.
        let error = failure(system, Command::new("program").env("PATH", format!("/nowhere:{}", dir.path().display())));
        assert!(error.to_string().contains(said), "{error}");
        let error = failure(system, Command::new("./program").current_dir(dir.path()));
        assert!(error.to_string().contains(said), "{error}");
        let (_second_dir, second) = file(format!("#!{}\n", path.display()).as_bytes());
        let error = failure(system, &mut Command::new(&second));
        assert!(error.to_string().contains(said), "{error}");
    }
    // What is simply not there, or is elsewhere, has no such words.
    let (dir, _) = file(b"#!/bin/sh\n");
    let error = failure(system, &mut Command::new(dir.path().join("other")));
    assert!(!error.to_string().contains("interpreter"), "{error}");
}

/// While one thread writes its program, another one's child has a copy of the descriptor until it executes.
fn just_written(system: &System) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let (_dir, path) = file(b"#!/bin/true\n");
                    assert!(system.spawn(&Command::new(&path)).unwrap().wait().unwrap().success());
                }
            });
        }
    });
}

fn busy(system: &System) {
    let (_dir, path) = file(b"#!/bin/true\n");
    let writer = File::options().append(true).open(&path).unwrap();
    let error = failure(system, &mut Command::new(&path));
    assert_eq!(error.errno(), Some(Errno::TXTBSY));
    assert!(error.to_string().contains("open for writing: close it before it is executed"), "{error}");
    drop(writer);
    assert!(system.spawn(&Command::new(&path)).unwrap().wait().unwrap().success());
}

fn directory(system: &System) {
    let error = failure(system, &mut Command::new("/usr"));
    assert_eq!(error.to_string(), "spawn `/usr`: exec `/usr`: Permission denied (os error 13)");
}

fn working_directory(system: &System) {
    let error = failure(system, Command::new("true").current_dir("/nope"));
    assert_eq!(error.to_string(), "spawn `true`: chdir to `/nope`: No such file or directory (os error 2)");
    let error = failure(system, Command::new("true").current_dir("/etc/passwd"));
    assert!(matches!(error, Error::Spawn { stage: Stage::Chdir { .. }, source: Errno::NOTDIR, .. }), "{error:?}");
}

fn closed_stdin(system: &System) {
    // A high number, which nothing that is opened on the way takes.
    let file = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), 700).unwrap();
    let number = file.as_raw_fd();
    let mut command = Command::new(ACTOR);
    command.args(["exit", "0"]).stdin(file);
    nix::unistd::close(number).unwrap();
    let error = failure(system, &mut command);
    // It holds a descriptor that is not open any more.
    std::mem::forget(command);
    assert!(error.to_string().ends_with("set up stdin: Bad file descriptor (os error 9)"), "{error}");
}

fn unknown_backend() {
    // Safe for a test in a process of its own would be `set_var`, which is unsafe: a child is told instead.
    let own = std::env::current_exe().unwrap();
    let system = System::pid_legacy();
    for (value, expected) in [("foo", "STEADFAST_BACKEND=foo: no such backend"), ("", "STEADFAST_BACKEND=: no such")] {
        let _row = row(format!("STEADFAST_BACKEND={value}"));
        let mut command = Command::new(&own);
        command.env("STEADFAST_TEST", "errors: (detects)").env("STEADFAST_BACKEND", value);
        command.stderr(steadfast::Stdio::piped()).stdout(steadfast::Stdio::null());
        let output = system.spawn(&command).unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains(expected), "{said}");
    }
}

fn no_pidfd() {
    let error = failure(&System::pid_legacy(), Command::new("true").create_pidfd(true));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("pid-legacy"), "{error}");
}
