//! A read of a child's output, with a time limit.

use super::reading::poll_until;
use crate::pipe::End;
use crate::{ChildStderr, ChildStdout};
use rustix::event::{PollFd, PollFlags};
use std::io::{self, Read};
use std::time::Duration;
use steadfast_core::{Clock, ProcessBackend};
use steadfast_linux::SystemClock;

macro_rules! timed {
    ($name:ident, $field:literal) => {
        impl $name {
            /// Reads what is there, or waits for something for at most `timeout`: `None` if nothing has come by then, `Some(0)` at the end of the
            /// stream. A simulated process's time is virtual.
            ///
            /// ```
            /// use std::time::Duration;
            /// use steadfast::{Command, Stdio};
            #[doc = concat!("let child = Command::new(\"sleep\").arg(\"60\").kill_on_drop(true).", $field, "(Stdio::piped()).spawn()?;")]
            #[doc = concat!("let ", $field, " = child.", $field, ".as_ref().unwrap();")]
            #[doc = concat!("assert_eq!(", $field, ".read_timeout(&mut [0; 100], Duration::from_millis(5)).unwrap(), None);")]
            /// # Ok::<(), steadfast::Error>(())
            /// ```
            ///
            /// If another thread reads the same pipe, it may be the one to get the bytes, and then this one waits for the next.
            ///
            /// # Errors
            /// As read(2).
            pub fn read_timeout(&self, buffer: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
                read(self.end(), self.backend().map(|backend| &**backend), buffer, timeout)
            }
        }
    };
}

timed!(ChildStdout, "stdout");
timed!(ChildStderr, "stderr");

fn read(end: &End, backend: Option<&dyn ProcessBackend>, buffer: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
    let now = || backend.map_or_else(|| SystemClock.now(), |backend| backend.clock().now());
    // Later than the clock can say is as good as never.
    let deadline = now().checked_add(timeout);
    let file = match end {
        End::Reader(reader) => return reader.read_deadline(buffer, deadline),
        End::File(file) => file,
        End::Writer(_) | End::Terminal(_) | End::Unknown => return Err(io::ErrorKind::Unsupported.into()),
    };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let mut fds = [PollFd::new(file, PollFlags::IN)];
        poll_until(&mut fds, left)?;
        if !fds[0].revents().is_empty() {
            return (&*file).read(buffer).map(Some);
        }
        // It may have been a signal that woke it.
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
    }
}
