//! Handles that come through a Unix socket: of its peer, and of whoever has sent a message.

use crate::{Process, System};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use steadfast_core::{Errno, Error, Result};
use steadfast_linux::{Message, Sender, peer_pidfd, receive_message, tell_senders};

impl Process {
    /// Takes hold of the process at the other end of a connected Unix socket, on the current system.
    ///
    /// # Errors
    /// As [`System::peer_of`].
    pub fn peer_of(socket: impl AsFd) -> Result<Process> {
        System::current()?.peer_of(socket)
    }
}

impl System {
    /// Takes hold of the process at the other end of a connected Unix socket: `SO_PEERPIDFD` (unix(7), Linux 6.5). For a server that is who has
    /// called connect(2), for a client who has called listen(2), for a pair who has made it. That process may have ended, or have
    /// handed the socket on, before or since: who sends a message now is told by [`Senders`].
    ///
    /// If the peer has been reaped, the handle is Done, and its PID is [`Pid::UNKNOWN`](crate::Pid::UNKNOWN). There is no way by the peer's PID
    /// (`SO_PEERCRED`): the number may be another's.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use steadfast::{ErrorKind, Process};
    /// let (ours, _theirs) = UnixStream::pair().unwrap();
    /// match Process::peer_of(&ours) {
    ///     Ok(peer) => assert_eq!(peer.pid().as_raw() as u32, std::process::id()),
    ///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),    // before Linux 6.5, or without pidfds
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a backend without pidfds, and before Linux 6.5 (`ENOPROTOOPT`). [`Error::NotAProcess`] if the peer has no PID
    /// here. [`Error::System`] with `ENODATA` if the socket has no peer: it is not connected, or no Unix socket; with `ENOTSOCK`; with `EMFILE`.
    pub fn peer_of(&self, socket: impl AsFd) -> Result<Process> {
        self.insist_on_pidfds()?;
        let socket = socket.as_fd();
        match peer_pidfd(socket) {
            Ok(Some(pidfd)) => self.find_by_fd(pidfd),
            Ok(None) => Ok(steadfast_core::Process::gone(self.backend(), None).into()),
            Err(errno) => Err(self.refused("getsockopt(SO_PEERPIDFD)", socket, errno)),
        }
    }

    /// As [`Senders::of`], with handles of this system.
    ///
    /// # Errors
    /// As [`Senders::of`].
    pub fn senders<'a>(&self, socket: &'a impl AsFd) -> Result<Senders<'a>> {
        self.insist_on_pidfds()?;
        let socket = socket.as_fd();
        tell_senders(socket).map_err(|errno| self.refused("setsockopt(SO_PASSPIDFD)", socket, errno))?;
        Ok(Senders { system: self.clone(), socket })
    }

    fn insist_on_pidfds(&self) -> Result<()> {
        if self.info().lends_handle {
            return Ok(());
        }
        let what = "it has no pidfds, and a socket tells of a process by nothing else that stays its own".into();
        Err(Error::Unsupported { backend: self.backend_name(), what })
    }

    fn refused(&self, call: &'static str, socket: BorrowedFd<'_>, errno: Errno) -> Error {
        if errno == Errno::NOPROTOOPT {
            let what = format!("{call}: {errno}: a socket tells of a process by its pidfd since Linux 6.5");
            return Error::Unsupported { backend: self.backend_name(), what };
        }
        Error::System { call, subject: format!("descriptor {}", socket.as_raw_fd()), source: errno }
    }
}

/// A Unix socket whose messages tell who has sent them, each by a handle: `SO_PASSPIDFD` and `SCM_PIDFD` (unix(7), Linux 6.5). The socket may be
/// of any type, and stays the caller's; the option stays set when this is dropped.
///
/// It receives the messages itself, with their descriptors. Parts of a message that somebody else has received would not do: what libraries
/// know as ancillary data has no entry for a pidfd, and theirs is left open for ever where it is skipped.
///
/// ```
/// use std::os::unix::net::UnixDatagram;
/// use steadfast::Senders;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = UnixDatagram::pair()?;
/// # if steadfast::Process::peer_of(&ours).is_err() { return Ok(()) }
/// let senders = Senders::of(&ours)?;
/// theirs.send(b"hello")?;
/// let mut buffer = [0; 64];
/// let received = senders.receive(&mut buffer)?;
/// assert_eq!(&buffer[..received.length], b"hello");
/// assert_eq!(received.sender?.pid().as_raw() as u32, std::process::id());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Senders<'a> {
    system: System,
    socket: BorrowedFd<'a>,
}

/// A message, and who has sent it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes of the buffer it has filled; 0 also at the end of a stream.
    pub length: usize,
    /// Whether it was longer than the buffer, and the rest is lost: of a datagram.
    pub is_truncated: bool,
    /// The descriptors that came with it (`SCM_RIGHTS`), close-on-exec, in order.
    pub fds: Vec<OwnedFd>,
    /// The process that has sent it. It may have ended meanwhile: then the handle is Done, and its PID is [`Pid::UNKNOWN`](crate::Pid::UNKNOWN) if
    /// it was reaped before the message was received.
    ///
    /// [`Error::System`] with `ENODATA` if the kernel does not tell: at the end of a stream, or of a message that was sent before the socket was
    /// asked for its senders. With `EMFILE` if there was no descriptor left for the pidfd, and with `ENOBUFS` if there was no room for it. The message
    /// itself is there in each case. [`Error::NotAProcess`] if the sender has no PID here.
    pub sender: Result<Process>,
}

impl<'a> Senders<'a> {
    /// Asks for the senders of all messages that are sent to this socket from now on, on the current system.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a backend without pidfds, and before Linux 6.5 (`ENOPROTOOPT`). [`Error::System`] with `EOPNOTSUPP` if it is no Unix
    /// socket, with `ENOTSOCK` if it is none at all.
    pub fn of(socket: &'a impl AsFd) -> Result<Senders<'a>> {
        System::current()?.senders(socket)
    }

    /// Receives the next message. It blocks, or not, as the socket does.
    ///
    /// # Errors
    /// [`Error::System`] as recvmsg(2) says, but for `EINTR`: `EAGAIN` if there is no message and the socket does not block, `ECONNRESET`,
    /// `ENOTCONN`.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Received> {
        let Message { length, is_truncated, fds, sender, .. } =
            receive_message(self.socket, buffer).map_err(|errno| self.failed("recvmsg", errno))?;
        let sender = match sender {
            Sender::Told(pidfd) => self.system.find_by_fd(pidfd),
            Sender::Reaped => Ok(steadfast_core::Process::gone(self.system.backend(), None).into()),
            Sender::Refused(errno) => Err(self.failed("recvmsg with SCM_PIDFD", errno)),
            Sender::Untold => Err(self.failed("recvmsg with SCM_PIDFD", Errno::NODATA)),
        };
        Ok(Received { length, is_truncated, fds, sender })
    }

    fn failed(&self, call: &'static str, errno: Errno) -> Error {
        self.system.refused(call, self.socket, errno)
    }
}
