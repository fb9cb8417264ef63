//! How a child that fork(3) made hands its pidfd to its parent: over a pair of sockets (unix(7), `SCM_RIGHTS`).
//!
//! To open it here by the child's number would be to trust that nobody has reaped the child and given the number away, which other code
//! of the program may do (`waitpid(-1)`). The child itself cannot be mistaken about who it is, not even in a PID namespace.

use crate::raw::{self, call as syscall};
use std::ffi::{c_int, c_void};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use steadfast_core::Errno;

/// A control message with one descriptor: a header of two words and an int, filled up to a whole word (cmsg(3)).
#[repr(C)]
struct Message {
    header: libc::cmsghdr,
    fd: c_int,
    rest: c_int,
}

/// The length of the message, without what fills it up.
const LENGTH: usize = mem::offset_of!(Message, rest);

/// Our end and the child's, both close-on-exec.
pub(super) fn line() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: room for two descriptors.
    let answer = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    raw::check(answer.into())?;
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    let ours = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let theirs = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((ours, theirs))
}

/// In the child: hands it over, and waits until it has arrived; `ECANCELED` if it cannot.
pub(super) fn send_own_pidfd(line: &OwnedFd) -> Result<(), Errno> {
    // Not `getpid` of the C library, which may know the parent's.
    let own = syscall(libc::SYS_getpid, [0; 3])?;
    let fd = syscall(libc::SYS_pidfd_open, [own, 0, 0])? as c_int;
    let mut message = Message { header: empty_header(), fd, rest: 0 };
    let mut byte = 0_u8;
    with_header(&mut message, &mut byte, |header| {
        // SAFETY: a header whose pointers are to what lives in our caller.
        raw::check(unsafe { libc::sendmsg(line.as_raw_fd(), header, libc::MSG_NOSIGNAL) } as _)
    })?;
    syscall(libc::SYS_close, [fd.into(), 0, 0])?;
    loop {
        // SAFETY: room for one byte.
        match raw::check(unsafe { libc::recv(line.as_raw_fd(), (&raw mut byte).cast(), 1, 0) } as _) {
            Ok(1) => return Ok(()),
            Err(Errno::INTR) => {}
            _ => return Err(Errno::CANCELED),
        }
    }
}

/// In the child: sends a descriptor, and does not wait. By a raw call: the child may be in our memory.
pub(super) fn send(socket: c_int, fd: c_int) -> Result<(), Errno> {
    let mut message = Message { header: empty_header(), fd, rest: 0 };
    let mut byte = 0_u8;
    with_header(&mut message, &mut byte, |header| {
        // SAFETY: a header whose pointers are to what lives in our caller.
        unsafe { raw::syscall!(libc::SYS_sendmsg, socket, header, libc::MSG_NOSIGNAL) }
    })
    .map(drop)
}

/// In the parent: takes it, and lets the child go on. `Ok(None)`: the child is gone, or could not send it, and says why elsewhere.
///
/// # Errors
/// `EMFILE` if there is no room for it. The child ends by itself then, when `line` is closed.
pub(super) fn receive(line: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let mut message = Message { header: empty_header(), fd: -1, rest: 0 };
    let mut byte = 0_u8;
    loop {
        let received = with_header(&mut message, &mut byte, |header| {
            // SAFETY: as above; the kernel writes no more than the lengths say.
            raw::check(unsafe { libc::recvmsg(line.as_raw_fd(), header, libc::MSG_CMSG_CLOEXEC) } as _)
        });
        match received {
            Err(Errno::INTR) => {}
            Ok(1) if message.fd >= 0 => {
                // SAFETY: the kernel has just opened it for us, and nobody else has been told.
                let pidfd = unsafe { OwnedFd::from_raw_fd(message.fd) };
                // EPIPE: it has been killed meanwhile, as the pidfd will tell.
                // SAFETY: one byte.
                unsafe { libc::send(line.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL) };
                return Ok(Some(pidfd));
            }
            Ok(1) => return Err(Errno::MFILE),
            _ => return Ok(None),
        }
    }
}

fn empty_header() -> libc::cmsghdr {
    // SAFETY: integers, for which all zero is a value.
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = LENGTH as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    header
}

fn with_header<T>(message: &mut Message, byte: &mut u8, call: impl FnOnce(*mut libc::msghdr) -> T) -> T {
    let mut one = libc::iovec { iov_base: ptr::from_mut(byte).cast::<c_void>(), iov_len: 1 };
    // SAFETY: integers and pointers, for which all zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut one;
    header.msg_iovlen = 1;
    header.msg_control = ptr::from_mut(message).cast::<c_void>();
    header.msg_controllen = mem::size_of::<Message>() as _;
    call(&raw mut header)
}
