//! Reading a child's stdout and stderr, both at once, on one thread: whichever has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB). Reading to
//! the end of the streams blocks as long as any process has them open, a grandchild too; so who must return in time watches the
//! child besides.

mod watch;

use crate::pipe::{End, ROOM};
use crate::{ExitStatus, Output, Process, System};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::time::{Duration, Instant};
use steadfast_core::{Errno, Error, Result};
use watch::{LOOK, Watch, has_exited};

/// How to read what a child writes: how long, how much, and what then.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Capture, Command};
/// let options = Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true).limit(1000);
/// let captured = Command::new("seq").arg("100000").capture(&options)?;
/// assert!(captured.status.expect("in time").success());
/// assert!(captured.stdout.head().starts_with(b"1\n2\n"));
/// assert!(captured.stdout.tail().ends_with(b"99999\n100000\n"));
/// assert_eq!(captured.stdout.total(), 588_895);
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Capture {
    pub(crate) timeout: Option<Duration>,
    pub(crate) kill_on_timeout: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) kill_on_limit: bool,
    /// After the exit; `None`: to the end of the streams.
    pub(crate) wait_delay: Option<Duration>,
}

/// Whoever passes on a child's words (`exec > >(cat)`) is done soon after it, and a daemon that has kept them open never is.
const WAIT_DELAY: Duration = Duration::from_millis(250);

/// How long a process that was killed may take to be gone. In state D, frozen, or before a debugger it takes as long as that lasts.
pub(crate) const KILL_DELAY: Duration = Duration::from_millis(250);

impl Default for Capture {
    fn default() -> Capture {
        Capture::new()
    }
}

impl Capture {
    /// No timeout, no limit, and a [`wait_delay`](Self::wait_delay) of a quarter of a second.
    pub fn new() -> Capture {
        Capture { timeout: None, kill_on_timeout: false, limit: None, kill_on_limit: false, wait_delay: Some(WAIT_DELAY) }
    }

    /// Returns after this time, with what was read so far. It counts from the call on, also while another thread reads the same child.
    pub fn timeout(mut self, timeout: Duration) -> Capture {
        self.timeout = Some(timeout);
        self
    }

    /// Whether the child is killed and waited for when the timeout has passed. Otherwise it goes on, and can be captured again.
    ///
    /// A process that is frozen, held by a debugger, or in an uninterruptible call does not end by that yet. It is waited for a quarter of
    /// a second more; then the status is `None`.
    pub fn kill_on_timeout(mut self, kill: bool) -> Capture {
        self.kill_on_timeout = kill;
        self
    }

    /// Keeps this many bytes of each stream at the most, the first half and the last half, and counts the rest: the memory that
    /// is used does not grow with what the child writes. It reads on as long as the child writes; see
    /// [`kill_on_limit`](Self::kill_on_limit).
    pub fn limit(mut self, bytes: usize) -> Capture {
        self.limit = Some(bytes);
        self
    }

    /// Whether the child is killed and waited for as soon as one of its streams has more than the [`limit`](Self::limit), instead of reading
    /// on; [`Captured::over_limit`] says so. Without a limit it has no effect.
    ///
    /// ```
    /// use steadfast::{Capture, Command};
    /// let captured = Command::new("yes").capture(&Capture::new().limit(1 << 20).kill_on_limit(true))?;
    /// assert!(captured.over_limit && captured.stdout.head().starts_with(b"y\ny\n"));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn kill_on_limit(mut self, kill: bool) -> Capture {
        self.kill_on_limit = kill;
        self
    }

    /// How long to go on reading, within the timeout, when the child has exited and somebody else, a grandchild, still has its streams
    /// open. What the child itself has written is read in any case; what the other writes later is not, and the stream is not
    /// [complete](CapturedStream::is_complete) then. Otherwise: a quarter of a second.
    pub fn wait_delay(mut self, delay: Duration) -> Capture {
        self.wait_delay = Some(delay);
        self
    }

    /// Reads to the end of both streams, whoever has them open, as `output` does; the timeout still counts.
    pub fn to_the_end(mut self) -> Capture {
        self.wait_delay = None;
        self
    }
}

/// What a child wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// How it ended; `None`: it runs on, the timeout has passed.
    pub status: Option<ExitStatus>,
    /// Whether the timeout passed before it exited. (If it was killed for that, there is a status.)
    pub timed_out: bool,
    /// Whether it was killed because it wrote more than the limit ([`Capture::kill_on_limit`]).
    pub over_limit: bool,
    /// Its stdout, if that is piped.
    pub stdout: CapturedStream,
    /// Its stderr, if that is piped.
    pub stderr: CapturedStream,
}

impl Captured {
    /// Whether both streams were read to their ends, or are not piped.
    pub fn is_complete(&self) -> bool {
        self.stdout.is_complete() && self.stderr.is_complete()
    }

    /// As std's type, if it has ended and both streams were read to their ends. What a [`limit`](Capture::limit) left out is missing without
    /// a sign.
    pub fn into_output(self) -> Option<Output> {
        if !self.is_complete() {
            return None;
        }
        Some(Output { status: self.status?, stdout: self.stdout.into_vec(), stderr: self.stderr.into_vec() })
    }
}

/// What was read of a stream: all of it or, with a limit, its first and its last part.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CapturedStream {
    head: Vec<u8>,
    /// At most twice as long as it shall be, so that it is moved once in a while and not at each byte.
    tail: Vec<u8>,
    total: u64,
    limits: Option<(usize, usize)>,
    pub(crate) complete: bool,
}

impl CapturedStream {
    /// Applies a limit, also to what is there.
    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.limits = limit.map(|limit| (limit - limit / 2, limit / 2));
        self.settle();
        self.trim();
    }

    /// Where the next bytes go.
    fn room(&mut self) -> &mut Vec<u8> {
        match self.limits {
            Some((head, _)) if self.head.len() >= head => &mut self.tail,
            _ => &mut self.head,
        }
    }

    /// After bytes were added: what is too much for the first part belongs to the last one, which is cut once in a while.
    fn settle(&mut self) {
        let Some((head, tail)) = self.limits else { return };
        if self.head.len() > head {
            let mut surplus = self.head.split_off(head);
            surplus.append(&mut self.tail);
            self.tail = surplus;
        }
        if self.tail.len() >= tail.max(ROOM) * 2 {
            self.trim();
        }
    }

    pub(crate) fn trim(&mut self) {
        if let Some((_, limit)) = self.limits {
            let surplus = self.tail.len().saturating_sub(limit);
            self.tail.drain(..surplus);
        }
    }

    /// Everything that was read and kept: the first part, and the last one behind it.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head(), self.tail()].concat()
    }

    /// As [`to_vec`](Self::to_vec), without a copy if nothing was left out.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.trim();
        self.head.append(&mut self.tail);
        self.head
    }

    /// The first part; all of it, if nothing was left out.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The last part, behind what was left out.
    pub fn tail(&self) -> &[u8] {
        let keep = self.limits.map_or(self.tail.len(), |(_, limit)| limit.min(self.tail.len()));
        &self.tail[self.tail.len() - keep..]
    }

    /// How many bytes were read.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes between the first and the last part were read and not kept.
    pub fn omitted(&self) -> u64 {
        self.total - (self.head.len() + self.tail().len()) as u64
    }

    /// Whether it was read to its end. If not, the time was up, or somebody else had it open.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

/// As text, with a word for what was left out, and for an end that was not reached.
impl fmt::Display for CapturedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.head))?;
        if self.omitted() > 0 {
            write!(f, "\n[… {} bytes left out …]\n", self.omitted())?;
        }
        f.write_str(&String::from_utf8_lossy(self.tail()))?;
        if !self.complete { f.write_str("\n[… not read to its end …]\n") } else { Ok(()) }
    }
}

impl fmt::Debug for CapturedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// A stream being read: its name, our end if it is piped, and what was read so far.
pub(crate) struct Reading<'a> {
    name: &'static str,
    end: Option<&'a End>,
    pub(crate) kept: &'a mut CapturedStream,
    enlarged: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(name: &'static str, end: Option<&'a End>, kept: &'a mut CapturedStream) -> Reading<'a> {
        kept.complete |= end.is_none();
        Reading { name, end, kept, enlarged: false }
    }

    pub(crate) fn open_end(&self) -> Option<&'a End> {
        self.end.filter(|_| !self.kept.complete)
    }

    /// Reads once; whether there was anything before `deadline` (which only a simulated pipe can keep).
    pub(crate) fn read_some(&mut self, deadline: Option<Instant>) -> Result<bool> {
        let Some(end) = self.open_end() else { return Ok(false) };
        let read = end.read_some(self.kept.room(), deadline);
        let read = read.map_err(|error| failed("read", self.name, Errno::from_raw(error.raw_os_error().unwrap_or(5))))?;
        self.kept.complete |= read == Some(0);
        self.kept.total += read.unwrap_or(0) as u64;
        self.kept.settle();
        if read >= Some(ROOM) && !self.enlarged {
            self.enlarged = true;
            end.enlarge();
        }
        Ok(read.is_some_and(|read| read > 0))
    }

    /// Reads what is in the pipe at this moment, and no more: a grandchild might fill it for ever.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let Some(fd) = self.open_end().and_then(End::fd) else { return Ok(()) };
        let there = rustix::io::ioctl_fionread(fd).map_err(|errno| failed("ioctl(FIONREAD)", self.name, errno_of(errno)))?;
        let mut left = there as usize;
        while left > 0 {
            let before = self.kept.total;
            if !self.read_some(None)? {
                break;
            }
            left = left.saturating_sub((self.kept.total - before) as usize);
        }
        // At its end already? A pipe that hung up with nothing in it is.
        if self.hung_up(fd)? {
            self.kept.complete = true;
        }
        Ok(())
    }

    /// As [`drain`](Self::drain) for a simulated pipe; whether there was anything, or the end.
    pub(crate) fn drain_simulated(&mut self, system: &System) -> Result<bool> {
        let was_open = self.open_end().is_some();
        let mut moved = false;
        while self.read_some(Some(system.now()))? {
            moved = true;
        }
        Ok(moved || (was_open && self.kept.complete))
    }

    fn hung_up(&self, fd: std::os::fd::BorrowedFd<'_>) -> Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        poll_until(&mut fds, Some(Duration::ZERO))?;
        let [fd] = fds;
        Ok(fd.revents().contains(PollFlags::HUP) && !fd.revents().contains(PollFlags::IN))
    }
}

/// Why reading has come to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// All was read, or what the child wrote until it exited.
    Complete,
    TimeIsUp,
    /// More than the limit, of a child that is to be killed for that.
    OverLimit,
}

/// Whether one of the streams has more than the limit, and that is to end it.
pub(crate) fn is_over_limit(streams: &[Reading<'_>; 2], options: &Capture) -> bool {
    options.kill_on_limit && streams.iter().any(|stream| stream.kept.omitted() > 0)
}

/// Reads both as the options say, until the deadline. Returns how the process ended, if it did, and why there is no more.
pub(crate) fn capture(
    process: &Process,
    system: &System,
    mut streams: [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<(Option<ExitStatus>, Stop)> {
    for stream in &mut streams {
        stream.kept.set_limit(options.limit);
    }
    let is_real = streams.iter().filter_map(Reading::open_end).all(|end| end.fd().is_some());
    let stop = match is_real {
        true => read_real(process, system, &mut streams, options, deadline)?,
        false => read_simulated(process, system, &mut streams, options, deadline)?,
    };
    // Everything is read, or was given up; the process may still run.
    let status = match (stop, deadline) {
        (Stop::Complete, None) => Some(process.wait()?),
        (Stop::Complete, Some(deadline)) => process.wait_deadline(deadline)?,
        (Stop::OverLimit, _) => {
            let status = kill(process)?;
            streams.iter_mut().for_each(|stream| stream.kept.trim());
            return Ok((status, Stop::OverLimit));
        }
        (Stop::TimeIsUp, _) => None,
    };
    if status.is_some() {
        return Ok((status, Stop::Complete));
    }
    let status = if options.kill_on_timeout { kill(process)? } else { process.try_wait()? };
    for stream in &mut streams {
        match is_real {
            true => stream.drain()?,
            false => drop(stream.drain_simulated(system)?),
        }
    }
    for stream in &mut streams {
        stream.kept.trim();
    }
    // It may have ended by itself at the last moment.
    let all_is_there = streams.iter().all(|stream| stream.kept.complete);
    let timed_out = options.kill_on_timeout || status.is_none() || !all_is_there;
    Ok((status, if timed_out { Stop::TimeIsUp } else { Stop::Complete }))
}

/// The status of a process that is killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does not end in time.
pub(crate) fn kill(process: &Process) -> Result<Option<ExitStatus>> {
    match process.kill() {
        Ok(()) | Err(Error::ProcessDone { .. }) => process.wait_timeout(KILL_DELAY),
        Err(error) if error.errno() == Some(Errno::PERM) => process.try_wait(),
        Err(error) => Err(error),
    }
}

/// Whether it came to an end before the deadline.
fn read_real(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    // Until the process has exited.
    let mut watch = options.wait_delay.map(|_| Watch::new(process)).transpose()?;
    let mut cut: Option<Instant> = None;
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let open: Vec<usize> = (0..2).filter(|index| streams[*index].open_end().is_some()).collect();
        if open.is_empty() {
            return Ok(Stop::Complete);
        }
        let until = earliest(deadline, cut);
        if let ([only], None, None) = (&open[..], until, &watch) {
            // Nothing else to look at: the read itself may block. If it does not, the poll does.
            if streams[*only].read_some(None)? || streams[*only].kept.complete {
                continue;
            }
        }
        let left = until.map(|until| until.saturating_duration_since(system.now()));
        let Seen { readable, exited } = look(streams, &open, watch.as_ref(), left)?;
        for index in &readable {
            streams[*index].read_some(None)?;
        }
        if exited {
            let delay = options.wait_delay.unwrap_or_default();
            if delay.is_zero() {
                streams.iter_mut().try_for_each(Reading::drain)?;
                return Ok(Stop::Complete);
            }
            watch = None;
            // Later than the clock can say is as good as never.
            cut = system.now().checked_add(delay);
        }
        let now = system.now();
        if cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(Reading::drain)?;
            return Ok(Stop::Complete);
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Stop::TimeIsUp);
        }
    }
}

struct Seen {
    readable: Vec<usize>,
    exited: bool,
}

/// Waits for bytes, an end, the exit, or until the time is up.
fn look(streams: &[Reading<'_>; 2], open: &[usize], watch: Option<&Watch<'_>>, left: Option<Duration>) -> Result<Seen> {
    if let Some(Watch::Over) = watch {
        return Ok(Seen { readable: Vec::new(), exited: true });
    }
    let pipes = open.iter().filter_map(|index| streams[*index].open_end().and_then(End::fd));
    let all = pipes.chain(watch.and_then(Watch::fd));
    let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let looks = matches!(watch, Some(Watch::Looks(_)));
    poll_until(&mut fds, if looks { Some(left.unwrap_or(LOOK).min(LOOK)) } else { left })?;
    let readable = open.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| *index).collect();
    let exited = match watch {
        Some(watch) if looks => watch.exited()?,
        Some(watch) if fds.last().is_some_and(|fd| !fd.revents().is_empty()) => watch.exited()?,
        _ => false,
    };
    Ok(Seen { readable, exited })
}

/// As [`read_real`]: one thread waits for both pipes and the exit, in the simulation's way.
fn read_simulated(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    let mut cut: Option<Instant> = None;
    let mut is_over = options.wait_delay.is_none();
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let Some(End::Reader(pipe)) = streams.iter().find_map(Reading::open_end) else { return Ok(Stop::Complete) };
        let (mut exited, mut failed) = (false, None);
        pipe.block_until(earliest(deadline, cut), &mut || {
            let moved = streams.iter_mut().try_fold(false, |moved, stream| Ok(stream.drain_simulated(system)? || moved));
            let looked = moved.and_then(|moved| {
                if !is_over {
                    exited = has_exited(process)?;
                }
                Ok(moved || exited)
            });
            looked.unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let now = system.now();
        if exited {
            is_over = true;
            cut = now.checked_add(options.wait_delay.unwrap_or_default());
        }
        if cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(|stream| stream.drain_simulated(system).map(drop))?;
            return Ok(Stop::Complete);
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            let all_is_there = streams.iter().all(|stream| stream.kept.complete);
            return Ok(if all_is_there { Stop::Complete } else { Stop::TimeIsUp });
        }
    }
}

pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Waits for any of them; without a time, for ever.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<()> {
    // The kernel takes no more seconds than fit; after a year the caller looks again.
    let left = left.map(|left| left.min(Duration::from_secs(365 * 24 * 3600)));
    let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(failed("poll", "its pipes", errno_of(errno))),
    }
}

fn errno_of(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

pub(crate) fn failed(call: &'static str, what: &str, source: Errno) -> Error {
    Error::System { call, subject: format!("{what} of a child"), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> CapturedStream {
        let mut kept = CapturedStream { complete: true, ..CapturedStream::default() };
        kept.set_limit(Some(limit));
        for piece in pieces {
            kept.room().extend(piece);
            kept.total += piece.len() as u64;
            kept.settle();
        }
        kept
    }

    #[test]
    fn the_first_and_the_last_part_are_kept_and_the_rest_is_counted() {
        let all: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        for limit in [0, 1, 2, 5, 1000, 400_000] {
            let kept = kept(limit, [&all[..7]].into_iter().chain(all[7..].chunks(ROOM)));
            let (head, tail) = (limit - limit / 2, limit / 2);
            assert_eq!((kept.head(), kept.tail()), (&all[..head], &all[all.len() - tail..]), "{limit}");
            assert_eq!((kept.total(), kept.omitted()), (1_000_000, 1_000_000 - limit as u64));
            assert!(kept.tail.capacity() < 1_000_000);
        }
        let short = kept(10, [&b"12345678"[..]]);
        assert_eq!((short.to_vec(), short.omitted(), short.to_string()), (b"12345678".to_vec(), 0, "12345678".into()));
        assert_eq!(kept(2, [&b"abc"[..]]).to_string(), "a\n[… 1 bytes left out …]\nc");
        let cut_off = CapturedStream { complete: false, ..short };
        assert_eq!(cut_off.to_string(), "12345678\n[… not read to its end …]\n");
    }

    #[test]
    fn a_limit_that_comes_later_counts_for_what_is_there() {
        let mut kept = CapturedStream { head: b"0123456789".to_vec(), total: 10, ..CapturedStream::default() };
        kept.set_limit(Some(4));
        assert_eq!((kept.head(), kept.tail(), kept.omitted()), (&b"01"[..], &b"89"[..], 6));
    }
}
