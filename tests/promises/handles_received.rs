//! Handles that come through a Unix socket: of its peer, and of whoever has sent a message.

use crate::Test;
use crate::contract::ACTOR;
use crate::handles_from::{end, hand_over, pidfds};
use crate::probing::answer_with;
use crate::stage::{Outcome, given};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use steadfast::{Child, Command, Errno, Error, ErrorKind, Pid, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("handles: from a socket: its peer, alive, a zombie, and gone", || pidfds(peers)),
        Test::that_may_skip("handles: from a socket without a peer: ENODATA, ENOTSOCK; and before 6.5", || pidfds(no_peer)),
        Test::that_may_skip("handles: from messages: who has sent them, with descriptors, cut, too late", || pidfds(senders)),
        Test::that_may_skip("handles: from messages of a stream: none at its end, none that was sent before", || pidfds(stream)),
        Test::that_may_skip("handles: from a message, with no descriptor left: the message is there", || pidfds(no_room)),
    ]
}

/// An actor that is given a socket's path, and is ready.
fn actor(system: &System, args: &[&str]) -> Child {
    let mut child = system.spawn(Command::new(ACTOR).args(args).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    child
}

fn of_a_socket<T>(answer: Result<T, Error>) -> Result<T, Outcome> {
    answer.map_err(|error| match error.kind() {
        ErrorKind::Unsupported => Outcome::Skipped(error.to_string()),
        _ => panic!("{error}"),
    })
}

fn peers(system: &System) -> Outcome {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let own = given!(of_a_socket(system.peer_of(&ours)));
    assert_eq!(own.pid().as_raw() as u32, std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let connected = || {
        let child = actor(system, &["connect", path.to_str().unwrap()]);
        (child, listener.accept().unwrap().0)
    };
    let (child, socket) = connected();
    let peer = system.peer_of(&socket).unwrap();
    assert_eq!((peer.pid(), peer.may_signal().unwrap()), (child.pid(), true));
    peer.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(peer.kill().unwrap_err().kind(), ErrorKind::ProcessDone);

    let (mut child, socket) = connected();
    drop(child.stdin.take());
    assert!(system.backend().find(child.pid()).unwrap().wait_exited(None).unwrap().is_some());
    assert_eq!(system.peer_of(&socket).unwrap().pid(), child.pid(), "a zombie");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let gone = system.peer_of(&socket).unwrap();
    assert_eq!((gone.pid(), gone.kill().unwrap_err().kind()), (Pid::UNKNOWN, ErrorKind::ProcessDone));
    // Since 6.16 it comes with a pidfd all the same.
    if let Some(status) = gone.status() {
        assert_eq!(status.code(), Some(7));
    }
    Outcome::Passed
}

fn no_peer(system: &System) -> Outcome {
    given!(of_a_socket(system.peer_of(UnixStream::pair().unwrap().0)));
    let file = File::open("/dev/null").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unbound = UnixDatagram::unbound().unwrap();
    for (fd, errno) in [(unbound.as_fd(), Errno::NODATA), (tcp.as_fd(), Errno::NODATA), (file.as_fd(), Errno::NOTSOCK)] {
        let error = system.peer_of(fd).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(errno)), "{error}");
        let expected = format!("getsockopt(SO_PEERPIDFD) on descriptor {}: ", fd.as_raw_fd());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    assert_eq!(system.senders(&tcp).unwrap_err().errno(), Some(Errno::OPNOTSUPP));
    assert_eq!(system.senders(&file).unwrap_err().errno(), Some(Errno::NOTSOCK));
    // As a kernel before 6.5 says it.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    answer_with(nix::libc::SYS_getsockopt, Errno::NOPROTOOPT);
    answer_with(nix::libc::SYS_setsockopt, Errno::NOPROTOOPT);
    for error in [system.peer_of(&ours).unwrap_err(), system.senders(&ours).unwrap_err()] {
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("since Linux 6.5"), "{error}");
    }
    Outcome::Passed
}

fn senders(system: &System) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let senders = given!(of_a_socket(system.senders(&socket)));
    let mut buffer = [0; 8];
    let send = |words: &[&str]| actor(system, &[&["send", path.to_str().unwrap()], words].concat());

    let (one, other) = (send(&["one"]), send(&["another one", "two"]));
    for (child, words, is_truncated) in [(&one, "one", false), (&other, "another ", true), (&other, "two", false)] {
        let received = senders.receive(&mut buffer).unwrap();
        assert_eq!((&buffer[..received.length], received.is_truncated), (words.as_bytes(), is_truncated));
        let sender = received.sender.unwrap();
        assert_eq!((sender.pid(), sender.may_signal().unwrap(), received.fds.len()), (child.pid(), true, 0));
    }
    end(&one);
    end(&other);

    let late = send(&["late"]);
    end(&late);
    let received = senders.receive(&mut buffer).unwrap();
    let sender = received.sender.unwrap();
    assert_eq!((&buffer[..received.length], sender.pid()), (&b"late"[..], Pid::UNKNOWN));
    assert_eq!(sender.kill().unwrap_err().kind(), ErrorKind::ProcessDone);

    let ours = UnixDatagram::unbound().unwrap();
    ours.connect(&path).unwrap();
    let (mut reads, writes) = std::io::pipe().unwrap();
    hand_over(&ours, &[writes.as_fd(), reads.as_fd()]);
    drop(writes);
    let received = senders.receive(&mut buffer).unwrap();
    assert_eq!(received.sender.unwrap().pid().as_raw() as u32, std::process::id());
    let [writes, _] = <[OwnedFd; 2]>::try_from(received.fds).unwrap();
    assert_eq!(rustix::io::fcntl_getfd(&writes).unwrap(), rustix::io::FdFlags::CLOEXEC);
    File::from(writes).write_all(b"x").unwrap();
    reads.read_exact(&mut [0]).unwrap();

    socket.set_nonblocking(true).unwrap();
    let error = senders.receive(&mut buffer).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::AGAIN), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::WouldBlock);
    Outcome::Passed
}

fn stream(system: &System) -> Outcome {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut buffer = [0; 64];
    theirs.write_all(b"early").unwrap();
    let senders = given!(of_a_socket(system.senders(&ours)));
    let early = senders.receive(&mut buffer).unwrap();
    assert_eq!(&buffer[..early.length], b"early");
    // Some kernels note the sender of each message, others when somebody has asked for it.
    match early.sender {
        Ok(sender) => assert_eq!(sender.pid().as_raw() as u32, std::process::id()),
        Err(error) => assert_eq!(error.errno(), Some(Errno::NODATA), "{error}"),
    }
    theirs.write_all(b"now").unwrap();
    let now = senders.receive(&mut buffer).unwrap();
    assert_eq!((&buffer[..now.length], now.sender.unwrap().pid().as_raw() as u32), (&b"now"[..], std::process::id()));
    drop(theirs);
    let end = senders.receive(&mut buffer).unwrap();
    let error = end.sender.unwrap_err();
    assert_eq!((end.length, error.errno()), (0, Some(Errno::NODATA)));
    assert!(error.to_string().contains("nobody is told"), "{error}");
    Outcome::Passed
}

fn no_room(system: &System) -> Outcome {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let senders = given!(of_a_socket(system.senders(&ours)));
    theirs.send(b"hello").unwrap();
    let none = std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect::<Vec<_>>();
    let mut buffer = [0; 64];
    let received = senders.receive(&mut buffer);
    drop(none);
    let received = received.unwrap();
    assert_eq!(&buffer[..received.length], b"hello");
    let error = received.sender.unwrap_err();
    assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
    Outcome::Passed
}
