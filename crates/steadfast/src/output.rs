//! Reading a child's stdout and stderr to the end, both at once, on one thread: whichever has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB).

use crate::pipe::{ChildStderr, ChildStdout, End};
use rustix::event::{PollFd, PollFlags, poll};
use steadfast_core::{Errno, Error, Result};

/// One of the streams: its name, our end while it lasts, and what was read.
struct Stream {
    name: &'static str,
    end: Option<End>,
    bytes: Vec<u8>,
}

impl Stream {
    fn read_some(&mut self) -> Result<()> {
        let Some(end) = &self.end else { return Ok(()) };
        let read = end.read_some(&mut self.bytes).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::IO.as_raw()));
            failed("read", self.name, errno)
        })?;
        if read == 0 {
            self.end = None;
        }
        Ok(())
    }
}

pub(crate) fn read_both(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Result<(Vec<u8>, Vec<u8>)> {
    let stream = |name, end| Stream { name, end, bytes: Vec::new() };
    let mut streams = [stream("stdout", stdout.map(ChildStdout::into_end)), stream("stderr", stderr.map(ChildStderr::into_end))];
    loop {
        match streams.each_mut() {
            [Stream { end: None, .. }, Stream { end: None, .. }] => break,
            [a, b] => match (a.end.as_ref().and_then(End::fd), b.end.as_ref().and_then(End::fd)) {
                (Some(_), Some(_)) => {
                    for index in readable(&streams)? {
                        streams[index].read_some()?;
                    }
                }
                // Only one is left, or they are simulated, whose buffers have no limit: read to its end.
                _ if a.end.is_some() => a.read_some()?,
                _ => b.read_some()?,
            },
        }
    }
    let [stdout, stderr] = streams;
    Ok((stdout.bytes, stderr.bytes))
}

/// Waits until one of the two, which both have descriptors, has bytes or has ended; which.
fn readable(streams: &[Stream; 2]) -> Result<Vec<usize>> {
    let fds = streams.iter().filter_map(|stream| stream.end.as_ref().and_then(End::fd));
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut fds, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed("poll", "its pipes", Errno::from_raw(errno.raw_os_error()))),
        }
    }
    Ok((0..fds.len()).filter(|index| !fds[*index].revents().is_empty()).collect())
}

fn failed(call: &'static str, what: &str, source: Errno) -> Error {
    Error::System { call, subject: format!("{what} of a child"), source }
}
