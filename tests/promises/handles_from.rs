//! Handles from what others hand over: a pidfd, a child of std's.

use crate::Test;
use crate::contract::{ACTOR, tells_lost_status};
use crate::leaks::{children, descriptors};
use crate::probing::answer_with;
use crate::stage::{Outcome, given, row};
use crate::surroundings::role;
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::PidfdFlags;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use steadfast::{Child, Command, Errno, Error, ErrorKind, FdIs, Namespaces, Pid, Process, Stdio, System};
use xtask::namespace::set_next_pid;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("handles: from a descriptor that is no pidfd: what it is, and it is closed", || pidfds(no_pidfd)),
        Test::that_may_skip("handles: from the pidfd of a thread: refused, of the first one too", || pidfds(thread)),
        Test::that_may_skip(
            "handles: from a pidfd of an outer PID namespace: refused; with the outer /proc: our own number",
            outer,
        ),
        Test::that_may_skip("handles: from a pidfd before PIDFD_GET_INFO: the number by /proc", before_get_info),
        Test::that_may_skip("handles: from a pidfd: close-on-exec, whatever it was; and one that does not block", || {
            pidfds(flags)
        }),
        Test::that_may_skip("handles: from a pidfd: 1,000 PIDs recycled between receipt and use, no stranger hit", recycled)
            .in_namespace(),
        Test::new("handles: from a socket or a pidfd, without pidfds: Unsupported, and never by the PID", without_pidfds),
        Test::new("handles: from a child of std's, which stays std's", || crate::leaks::each_backend(of_std)),
    ]
}

pub(crate) const ROLES: &[(&str, fn())] = &[("(is handed a pidfd)", is_handed_a_pidfd)];

/// On the backend that has them. What is left over is looked for at the end.
pub(crate) fn pidfds(check: fn(&System) -> Outcome) -> Outcome {
    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    let before = descriptors();
    let outcome = check(&system);
    assert_eq!((descriptors(), children()), (before, Vec::new()));
    outcome
}

fn forever(system: &System) -> Child {
    system.spawn(Command::new(ACTOR).arg("forever").stdin(Stdio::null()).stdout(Stdio::null())).unwrap()
}

pub(crate) fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn pidfd(process: &Process) -> OwnedFd {
    process.with_handle(|pidfd| pidfd.try_clone_to_owned()).unwrap().unwrap()
}

fn refusal(system: &System, fd: impl Into<OwnedFd>) -> (FdIs, String) {
    let error = system.find_by_fd(fd).unwrap_err();
    let text = error.to_string();
    match error {
        Error::NotAProcess { found, .. } => (found, text),
        error => panic!("{error}"),
    }
}

fn no_pidfd(system: &System) -> Outcome {
    let own = format!("/proc/{}", std::process::id());
    let path = |path: &str, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let memfd = rustix::fs::memfd_create("a name", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    for (what, fd) in [
        ("a regular file (`/memfd:a name (deleted)`)", memfd),
        ("a regular file (`/etc/passwd`)", path("/etc/passwd", OFlags::RDONLY)),
        // It takes signals, and it is no pidfd to anything else.
        (&*format!("a directory (`{own}`)"), path(&own, OFlags::DIRECTORY)),
        ("a character device (`/dev/null`)", path("/dev/null", OFlags::PATH)),
        ("something else (`anon_inode:[eventfd]`)", eventfd),
        ("a socket (`socket:[", UnixDatagram::unbound().unwrap().into()),
        ("a pipe (`pipe:[", std::io::pipe().unwrap().0.into()),
    ] {
        let number = fd.as_raw_fd();
        let (found, text) = refusal(system, fd);
        assert!(matches!(&found, FdIs::Other { what: seen } if seen.starts_with(what)), "{found:?}, not {what}");
        assert!(text.starts_with(&format!("descriptor {number}: it is {what}")) && text.ends_with("and no pidfd"), "{text}");
    }
    Outcome::Passed
}

fn thread(system: &System) -> Outcome {
    let own = rustix::process::getpid();
    let flag = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
    let first = match rustix::process::pidfd_open(own, flag) {
        Err(errno) => return Outcome::Skipped(format!("PIDFD_THREAD (Linux 6.9): {errno}")),
        Ok(pidfd) => pidfd,
    };
    let another = std::thread::spawn(move || rustix::process::pidfd_open(rustix::thread::gettid(), flag).unwrap());
    for pidfd in [first, another.join().unwrap()] {
        let (found, text) = refusal(system, pidfd);
        assert_eq!(found, FdIs::Thread, "{text}");
        assert!(text.contains("PIDFD_THREAD"), "{text}");
    }
    // The same process without that flag.
    let found = system.find_by_fd(rustix::process::pidfd_open(own, PidfdFlags::empty()).unwrap()).unwrap();
    assert_eq!(found.pid().as_raw() as u32, std::process::id());
    Outcome::Passed
}

/// Process 1 of a namespace, which sees the outer `/proc`, where its own children have other numbers than here.
fn is_handed_a_pidfd() {
    let system = System::pidfd().unwrap();
    assert_eq!(std::process::id(), 1);
    let child = forever(&system);
    for has_get_info in [true, false] {
        let _row = row(format!("PIDFD_GET_INFO: {has_get_info}"));
        if !has_get_info {
            answer_with(nix::libc::SYS_ioctl, Errno::NOTTY);
        }
        let (found, text) = refusal(&system, std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        assert_eq!(found, FdIs::Elsewhere, "{text}");
        assert!(text.contains("PID namespace"), "{text}");
        assert_eq!(system.find_by_fd(pidfd(&child)).unwrap().pid(), child.pid());
    }
    end(&child);
}

fn outer() -> Outcome {
    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    let outside = forever(&system);
    let mut command = role(&system, "(is handed a pidfd)");
    let is_root = crate::hostile::is_root();
    command.namespaces(if is_root { Namespaces::PID } else { Namespaces::PID | Namespaces::USER }).stdin(pidfd(&outside));
    let status = system.spawn(&command).map(|child| child.wait().unwrap());
    end(&outside);
    match status {
        Err(error) => Outcome::Skipped(format!("no PID namespace can be had: {error}")),
        Ok(status) => {
            assert!(status.success(), "{status}");
            Outcome::Passed
        }
    }
}

fn before_get_info() -> Outcome {
    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    answer_with(nix::libc::SYS_ioctl, Errno::NOTTY);
    let child = forever(&system);
    let (one, other) = (pidfd(&child), pidfd(&child));
    let found = system.find_by_fd(one).unwrap();
    assert_eq!(found.pid(), child.pid());
    found.kill().unwrap();
    child.wait().unwrap();
    // And no kernel that tells how it has ended.
    let over = system.find_by_fd(other).unwrap();
    assert_eq!((over.pid(), over.wait().unwrap_err().kind()), (Pid::UNKNOWN, ErrorKind::NoChild));
    assert_eq!(over.kill().unwrap_err().to_string(), "process unknown: it has already finished");
    Outcome::Passed
}

fn flags(system: &System) -> Outcome {
    let child = forever(system);
    let pidfd = pidfd(&child);
    rustix::io::fcntl_setfd(&pidfd, rustix::io::FdFlags::empty()).unwrap();
    // Of the open file, which others share: it is left as it is.
    rustix::fs::fcntl_setfl(&pidfd, OFlags::NONBLOCK).unwrap();
    let found = system.find_by_fd(pidfd).unwrap();
    let is_close_on_exec = found.with_handle(|pidfd| rustix::io::fcntl_getfd(pidfd).unwrap()).unwrap();
    assert_eq!(is_close_on_exec, rustix::io::FdFlags::CLOEXEC);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| found.wait().unwrap());
        child.kill().unwrap();
        assert_eq!(waits.join().unwrap().signal(), Some(9));
    });
    child.wait().unwrap();
    Outcome::Passed
}

/// Sends descriptors, with a byte that they travel with.
pub(crate) fn hand_over(socket: &impl AsFd, fds: &[BorrowedFd<'_>]) {
    let mut room = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut buffer = SendAncillaryBuffer::new(&mut room);
    assert!(buffer.push(SendAncillaryMessage::ScmRights(fds)));
    assert_eq!(sendmsg(socket, &[IoSlice::new(b"!")], &mut buffer, SendFlags::empty()).unwrap(), 1);
}

/// Half of the handles are made before their process is gone and its number another's, and half after that.
fn recycled() -> Outcome {
    let system = given!(System::pidfd().map_err(|error| Outcome::Skipped(error.to_string())));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let senders = given!(system.senders(&ours).map_err(|error| Outcome::Skipped(error.to_string())));
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut recycled = 0;
    for round in 0..1000 {
        let first = system.spawn(&cat).unwrap();
        hand_over(&theirs, &[pidfd(&first).as_fd()]);
        let received = senders.receive(&mut [0]).unwrap().fds.pop().unwrap();
        let (early, late) =
            if round % 2 == 0 { (Some(system.find_by_fd(received).unwrap()), None) } else { (None, Some(received)) };
        first.kill().unwrap();
        first.wait().unwrap();
        set_next_pid(first.pid().as_raw()).unwrap();
        let mut stranger = system.spawn(&cat).unwrap();
        recycled += u32::from(stranger.pid() == first.pid());
        let is_early = early.is_some();
        let process = early.unwrap_or_else(|| system.find_by_fd(late.unwrap()).unwrap());
        assert_eq!(process.pid(), if is_early { first.pid() } else { Pid::UNKNOWN });
        assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(process.may_signal().unwrap_err().kind(), ErrorKind::ProcessDone);
        if tells_lost_status() {
            assert_eq!(process.wait().unwrap().signal(), Some(9));
        }
        drop(stranger.stdin.take());
        assert!(stranger.wait().unwrap().success(), "a stranger was hit");
    }
    assert!(recycled > 500, "only {recycled} PIDs could be recycled");
    Outcome::Passed
}

fn without_pidfds() {
    let system = System::pid_legacy();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let by_fd = system.find_by_fd(own.unwrap_or_else(|_| theirs.into()));
    for error in [by_fd.unwrap_err(), system.peer_of(&ours).unwrap_err(), system.senders(&ours).unwrap_err()] {
        assert!(matches!(&error, Error::Unsupported { backend: "pid-legacy", .. }), "{error}");
        assert!(error.to_string().contains("it has no pidfds"), "{error}");
    }
}

fn of_std(system: &System) {
    let spawn = |args: &[&str]| {
        let mut actor = std::process::Command::new(ACTOR);
        actor.args(args).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut child = spawn(&["until-eof", "5"]);
    let handle = system.find_child(&mut child).unwrap();
    assert_eq!((handle.pid().as_raw() as u32, handle.may_signal().unwrap()), (child.id(), true));
    drop(handle);
    // Dropped, it has done nothing to the child, which is std's to wait for.
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let over = system.find_child(&mut child).unwrap();
    assert_eq!((over.wait().unwrap().code(), over.kill().unwrap_err().kind()), (Some(5), ErrorKind::ProcessDone));

    let mut exits = spawn(&["exit", "6"]);
    let handle = system.find_child(&mut exits).unwrap();
    assert_eq!(handle.wait().unwrap().code(), Some(6));
    // Whoever was first has the status; if std has seen it when it was asked, both have.
    assert!(exits.wait().map_or_else(|error| error.raw_os_error() == Some(10), |status| status.code() == Some(6)));

    let mut stolen = spawn(&["exit", "7"]);
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stolen.id() as i32), None).unwrap();
    assert_eq!(system.find_child(&mut stolen).unwrap_err().kind(), ErrorKind::NoChild);
    assert_eq!(children(), Vec::<String>::new());
}
