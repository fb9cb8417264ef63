//! [`Pty`]: a terminal for a child, and our end of it.

use crate::Child;
use crate::output::{self, Capture, Captured, CapturedStream, Reading, poll_until};
use crate::pipe::End;
use rustix::event::{PollFd, PollFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use steadfast_core::{Clock, Errno, Error, Result};
use steadfast_linux::SystemClock;

/// A pseudo-terminal (pty(7)): a terminal for a child, and this program at its screen and keyboard. What the child writes is read here, and what is
/// written here the child reads as typed: Ctrl-C, which is the byte 3, is `SIGINT` for the group in the foreground.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Capture, Command, Pty, PtySize};
/// let pty = Pty::open()?;
/// pty.resize(PtySize::new(24, 80))?;
/// let child = Command::new("sh").args(["-c", "tty -s && stty size"]).pty(&pty).spawn()?;
/// let captured = pty.capture(&child, &Capture::new().timeout(Duration::from_secs(60)))?;
/// assert!(captured.status.expect("in time").success());
/// assert_eq!(captured.stdout.to_vec(), b"24 80\r\n");                // a terminal makes "\r\n" of "\n"
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// Nothing is written here that the program has not written. All clones of a `Pty` are one. When the last is dropped, the terminal
/// hangs up: the leader of the session that has it gets `SIGHUP` and then `SIGCONT`, and when the leader has ended, so does the group in the
/// foreground (tty_io.c, tty_jobctrl.c). Reads there are at their end, and writes fail with `EIO`. A [`Command`](crate::Command) that was given the `Pty` does not keep it open.
///
/// # Where reading ends
///
/// Before the first child, a read waits. Afterwards it is at the end of the file, `Ok(0)`, when nobody has the other end open; the kernel says `EIO`
/// for that. With the next child there is more to read. A start that fails opens the other end and closes it, so that a read after it is at the end
/// as well. No byte is lost, whether it is read before the child has ended or later: the kernel keeps what was written until the last end is closed,
/// and a child that writes more than there is room for (8 KiB and some) waits for the reader. Measured on Linux 6.18, with 1,000 children that
/// write 1 MiB and exit, and 1,000 that are read when they are gone.
///
/// A daemon that keeps the terminal open keeps the reader from the end. [`capture`](Self::capture) reads until the *child* has ended.
///
/// # Not here
///
/// A simulated process has no terminal: there, a start is refused. For tasks, the descriptor can be registered with a runtime ([`AsFd`]).
#[derive(Clone)]
#[doc(alias = "openpty")]
#[doc(alias = "pseudoterminal")]
#[doc(alias = "forkpty")]
pub struct Pty {
    shared: Arc<Shared>,
}

struct Shared {
    controller: Arc<File>,
    /// As the kernel has made it.
    at_first: Termios,
}

/// What a command has of a [`Pty`]: not enough to keep it open.
#[derive(Clone)]
pub(crate) struct PtyLink(Weak<Shared>);

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "it is what the kernel keeps, struct winsize of ioctl_tty(2)")]
pub struct PtySize {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// In pixels; 0 if nobody knows.
    pub width: u16,
    /// In pixels; 0 if nobody knows.
    pub height: u16,
}

impl PtySize {
    /// Without a word of pixels.
    pub fn new(rows: u16, columns: u16) -> PtySize {
        PtySize { rows, columns, width: 0, height: 0 }
    }
}

/// `24x80`, as rows and columns.
impl fmt::Display for PtySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows, self.columns)
    }
}

impl Pty {
    /// Opens a new one (posix_openpt(3), unlockpt(3)): of size 0x0, echoing, and not raw. Its descriptor is close-on-exec from the beginning, and does
    /// not become this program's controlling terminal.
    ///
    /// # Errors
    /// [`Error::System`]: `EAGAIN` if there are as many as the sysctl `kernel.pty.max` allows, `EMFILE` or `ENFILE` without a descriptor, `ENOENT`
    /// without `/dev/ptmx`.
    pub fn open() -> Result<Pty> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).map_err(|e| failed("posix_openpt", e))?;
        // Who runs with a closed stderr must not write there as if it was typed.
        let controller = match controller.as_raw_fd() {
            0..=2 => fcntl_dupfd_cloexec(&controller, 3).map_err(|e| failed("fcntl(F_DUPFD_CLOEXEC)", e))?,
            _ => controller,
        };
        unlockpt(&controller).map_err(|e| failed("unlockpt", e))?;
        let at_first = tcgetattr(&controller).map_err(|e| failed("tcgetattr", e))?;
        Ok(Pty { shared: Arc::new(Shared { controller: Arc::new(controller.into()), at_first }) })
    }

    /// Its size (`TIOCGWINSZ`, ioctl_tty(2)).
    ///
    /// # Errors
    /// [`Error::System`], if a filter refuses the call.
    pub fn size(&self) -> Result<PtySize> {
        let size = tcgetwinsize(self).map_err(|e| failed("TIOCGWINSZ", e))?;
        Ok(PtySize { rows: size.ws_row, columns: size.ws_col, width: size.ws_xpixel, height: size.ws_ypixel })
    }

    /// Sets its size (`TIOCSWINSZ`). If it is another one, the group in the foreground gets `SIGWINCH`, once.
    ///
    /// # Errors
    /// [`Error::System`], if a filter refuses the call.
    pub fn resize(&self, size: PtySize) -> Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.width, ws_ypixel: size.height };
        tcsetwinsize(self, size).map_err(|e| failed("TIOCSWINSZ", e))
    }

    /// Whether bytes pass as they are (cfmakeraw(3)): no line editing, no echo, no `\r\n` for `\n`, no signals by keys. `false`: all is
    /// as at first. It can be set before a child runs, and the child may change it.
    ///
    /// ```
    /// use steadfast::{Capture, Command, Pty};
    /// let pty = Pty::open()?;
    /// pty.raw(true)?;
    /// let child = Command::new("printf").arg(r"one\ntwo\n").pty(&pty).spawn()?;
    /// assert_eq!(pty.capture(&child, &Capture::new())?.stdout.to_vec(), b"one\ntwo\n");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::System`], if a filter refuses the call.
    pub fn raw(&self, raw: bool) -> Result<()> {
        let mut modes = self.shared.at_first.clone();
        if raw {
            modes.make_raw();
        }
        self.set_modes(&modes)
    }

    /// Whether what is written here is also read here, as a person sees what he types (`ECHO`, termios(3)). It leaves all else as it is.
    ///
    /// # Errors
    /// [`Error::System`], if a filter refuses the call.
    pub fn echo(&self, echo: bool) -> Result<()> {
        let mut modes = tcgetattr(self).map_err(|e| failed("tcgetattr", e))?;
        modes.local_modes.set(LocalModes::ECHO, echo);
        self.set_modes(&modes)
    }

    fn set_modes(&self, modes: &Termios) -> Result<()> {
        // At our end, this is done to the other one.
        tcsetattr(self, OptionalActions::Now, modes).map_err(|e| failed("tcsetattr", e))
    }

    /// Reads what is there, or waits for something for at most `timeout`: `None` if nothing has come by then, `Some(0)` at the
    /// [end](Self#where-reading-ends).
    ///
    /// If another thread reads too, it may be the one to get the bytes, and then this one waits for the next.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Command, Pty};
    /// let pty = Pty::open()?;
    /// let cat = Command::new("cat").pty(&pty).kill_on_drop(true).spawn()?;
    /// assert_eq!(pty.read_timeout(&mut [0; 100], Duration::from_millis(5))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As read(2), but for `EIO`.
    pub fn read_timeout(&self, buffer: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
        // Later than the clock can say is as good as never.
        let deadline = SystemClock.now().checked_add(timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(SystemClock.now()));
            let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            poll_until(&mut fds, left)?;
            if !fds[0].revents().is_empty() {
                return (&*self).read(buffer).map(Some);
            }
            // It may have been a signal that woke it.
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    /// Reads what comes until the child has ended, as the options say, and waits for it: as [`Child::capture`], with the terminal for its stdout
    /// ([`Captured::stdout`]). A daemon that keeps the terminal open holds it up for no longer than the [`wait_delay`](Capture::wait_delay).
    /// The child's stdin is closed if that is a pipe; its own pipes are not read.
    ///
    /// What was read by a call that the timeout ends is in its answer; the next call has what came later.
    ///
    /// # Errors
    /// As [`Child::capture`], and then what was read is lost. [`Error::Unsupported`] for a simulated child.
    pub fn capture(&self, child: &Child, options: &Capture) -> Result<Captured> {
        let system = child.system();
        if !system.info().real {
            return Err(no_simulated_terminal(system.backend_name()));
        }
        let deadline = options.begin(&system).map(|within| within.deadline);
        child.close_stdin();
        let (mut terminal, mut none) = (CapturedStream::default(), CapturedStream::default());
        let end = self.end();
        let mut streams = [
            Reading::new("terminal", Some(&end), &mut terminal),
            // That there is nothing of it is complete.
            Reading::new("stderr", None, &mut none),
        ];
        let outcome = output::capture(child.together(&[child.process()]), &system, &mut streams, None, options, deadline)?;
        child.note(outcome.status);
        Ok(Captured::new(outcome, [terminal, none]))
    }

    fn end(&self) -> End {
        End::Terminal(Arc::clone(&self.shared.controller))
    }

    pub(crate) fn link(&self) -> PtyLink {
        PtyLink(Arc::downgrade(&self.shared))
    }
}

impl PtyLink {
    /// The other end, opened anew: close-on-exec, and nobody's controlling terminal. `None`: the terminal has hung up.
    pub(crate) fn open_other_end(&self) -> Option<std::result::Result<OwnedFd, Errno>> {
        let shared = self.0.upgrade()?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let answer = match ioctl_tiocgptpeer(&shared.controller, flags) {
            // Before Linux 4.13, and where a filter does not know it.
            Err(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                ptsname(&shared.controller, Vec::new())
                    .and_then(|path| rustix::fs::open(path, flags.into(), rustix::fs::Mode::empty()))
            }
            answer => answer,
        };
        Some(answer.map_err(|errno| Errno::from_raw(errno.raw_os_error())))
    }
}

fn failed(call: &'static str, errno: rustix::io::Errno) -> Error {
    Error::System { call, subject: "a pseudo-terminal".into(), source: Errno::from_raw(errno.raw_os_error()) }
}

pub(crate) fn no_simulated_terminal(backend: &'static str) -> Error {
    Error::Unsupported { backend, what: "pty: a simulated process has no terminal: run it on a real system".into() }
}

impl Read for &Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end().read(buffer)
    }
}

impl Read for Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

/// As typed. It waits for room if nobody reads at the other end.
impl Write for &Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our end, to be polled; a read of it has `EIO` for the end.
impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.controller.as_fd()
    }
}

impl fmt::Debug for Pty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pty")
    }
}
