//! Pidfds that come through a Unix socket: its peer's, and that of whoever has sent a message (unix(7), Linux 6.5).

use crate::pidfd::checked_pidfd;
use crate::raw;
use std::ffi::{c_int, c_void};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use steadfast_core::Errno;

// Those of parisc and sparc have other numbers, and their signals have too.
const SO_PASSPIDFD: c_int = 76;
const SO_PEERPIDFD: c_int = 77;
const SCM_PIDFD: c_int = 4;

/// How many descriptors a message carries at most (`SCM_MAX_FD`).
const MOST_FDS: usize = 253;
/// Room for the ancillary data: those, the pidfd, credentials, timestamps and a security label, if the socket is to be told these too.
const ROOM: usize = 4096;

/// The pidfd of the process that has connected the other end of a Unix socket, or listens there; of a pair, who has made it. `None` if it has been
/// reaped (before Linux 6.16; since then the pidfd is handed out all the same).
///
/// # Errors
/// `ENOPROTOOPT` before Linux 6.5, `ENODATA` if the socket has no such peer, `ENOTSOCK`, `EMFILE`.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut pidfd: c_int = -1;
    let mut size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: room for one int, as `size` says.
    let answer = raw::check(unsafe {
        libc::syscall(libc::SYS_getsockopt, socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, &raw mut pidfd, &raw mut size)
    });
    match answer {
        Ok(0) => checked_pidfd(pidfd).map(Some),
        Ok(_) => Err(Errno::NOSYS),
        Err(Errno::INVAL | Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// From now on each message that this Unix socket receives tells its sender.
///
/// # Errors
/// `ENOPROTOOPT` before Linux 6.5, `EOPNOTSUPP` for a socket of another family, `ENOTSOCK`.
pub fn tell_senders(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let yes: c_int = 1;
    let size = size_of::<c_int>();
    // SAFETY: one int, as `size` says.
    let answer =
        unsafe { libc::syscall(libc::SYS_setsockopt, socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, &raw const yes, size) };
    raw::check(answer).map(drop)
}

/// A message that was received.
#[derive(Debug)]
#[non_exhaustive]
pub struct Message {
    /// How many bytes of the buffer it has filled.
    pub length: usize,
    /// Whether it was longer than the buffer, and the rest is lost (a datagram).
    pub is_truncated: bool,
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Who has sent it.
    pub sender: Sender,
}

/// What the kernel says of a message's sender.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "what the kernel says")]
pub enum Sender {
    /// Its pidfd.
    Told(OwnedFd),
    /// It had been reaped, and this kernel has no pidfd of it then (before 6.16).
    Reaped,
    /// There was no room for a pidfd, or none was left.
    Refused(Errno),
    /// Nothing.
    Untold,
}

/// Receives a message, with its sender if that was asked for before it was sent.
///
/// # Errors
/// Those of recvmsg(2), but for `EINTR`.
pub fn receive_message(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Message, Errno> {
    let mut control = [0_u64; ROOM / 8];
    let mut part = IoSliceMut::new(buffer);
    // SAFETY: msghdr is integers and pointers, for which all zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // As it is laid out in memory: std promises that it is an iovec.
    header.msg_iov = (&raw mut part).cast::<libc::iovec>();
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = ROOM as _;
    let length = loop {
        // SAFETY: one part and the room for ancillary data, each as long as the header says; both live through the call.
        let answer = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match raw::check(answer as _) {
            Err(Errno::INTR) => {}
            answer => break answer? as usize,
        }
    };
    let filled = (header.msg_controllen as usize).min(ROOM);
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).take(filled).collect();
    let (fds, sender) = told(&bytes, header.msg_flags & libc::MSG_CTRUNC != 0);
    Ok(Message { length, is_truncated: header.msg_flags & libc::MSG_TRUNC != 0, fds, sender })
}

/// The descriptors in the ancillary data, which are ours now, and the sender's pidfd.
fn told(bytes: &[u8], is_cut: bool) -> (Vec<OwnedFd>, Sender) {
    let mut fds = Vec::with_capacity(MOST_FDS.min(bytes.len() / size_of::<c_int>()));
    let mut sender = if is_cut { Sender::Refused(Errno::NOBUFS) } else { Sender::Untold };
    for (level, kind, data) in entries(bytes) {
        let mut numbers = data.chunks_exact(size_of::<c_int>()).filter_map(|data| data.try_into().ok()).map(c_int::from_ne_bytes);
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                // SAFETY: the kernel has just opened these descriptors for us, and nobody else has been told of them.
                fds.extend(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
            }
            (libc::SOL_SOCKET, SCM_PIDFD) => sender = numbers.next().map_or(Sender::Untold, sender_of),
            _ => {}
        }
    }
    (fds, sender)
}

/// Where there is no pidfd, the kernel puts the error in its place.
fn sender_of(number: c_int) -> Sender {
    match number {
        0.. => checked_pidfd(number).map_or_else(Sender::Refused, Sender::Told),
        _ => match Errno::from_raw(-number) {
            Errno::INVAL | Errno::SRCH => Sender::Reaped,
            errno => Sender::Refused(errno),
        },
    }
}

/// Level, type and data of each entry (cmsg(3)): a word with the length, head included, two ints, and the data, filled up to whole words.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
    const WORD: usize = size_of::<usize>();
    const HEAD: usize = WORD + 2 * size_of::<c_int>();
    std::iter::from_fn(move || {
        let length = usize::from_ne_bytes(bytes.get(..WORD)?.try_into().ok()?);
        let level = c_int::from_ne_bytes(bytes.get(WORD..WORD + 4)?.try_into().ok()?);
        let kind = c_int::from_ne_bytes(bytes.get(WORD + 4..HEAD)?.try_into().ok()?);
        let data = bytes.get(HEAD..length)?;
        bytes = bytes.get(length.next_multiple_of(WORD)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
        let head = size_of::<usize>() + 8;
        let mut bytes = (head + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn entries_are_read_one_after_the_other_and_no_further() {
        let mut bytes = entry(1, 2, &[7; 12]);
        bytes.extend(entry(1, SCM_PIDFD, &(-22_i32).to_ne_bytes()));
        assert_eq!(entries(&bytes).collect::<Vec<_>>(), [(1, 2, &[7; 12][..]), (1, 4, &(-22_i32).to_ne_bytes()[..])]);
        assert!(matches!(told(&bytes[size_of::<usize>() + 8 + 12 + 4..], false), (fds, Sender::Reaped) if fds.is_empty()));
        // A length that is too long, too short, or nothing at all.
        for length in [0, 3, 10_000, usize::MAX] {
            bytes[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(entries(&bytes).count(), 0, "{length}");
        }
        assert_eq!(entries(&[]).count(), 0);
    }

    #[test]
    fn an_error_in_the_place_of_a_pidfd_is_none() {
        let of = |number: i32, is_cut| told(&entry(libc::SOL_SOCKET, SCM_PIDFD, &number.to_ne_bytes()), is_cut).1;
        assert!(matches!(of(-3, false), Sender::Reaped));
        assert!(matches!(of(-24, false), Sender::Refused(Errno::MFILE)));
        assert!(matches!(told(&[], true).1, Sender::Refused(Errno::NOBUFS)));
        assert!(matches!(told(&[], false).1, Sender::Untold));
    }
}
