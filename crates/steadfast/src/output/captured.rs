//! [`Captured`]: what a child wrote, and how it ended.

use super::Outcome;
use crate::pipe::ROOM;
use crate::teardown::Stopped;
use crate::{ExitStatus, Output};
use std::fmt;

/// What a child wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// How it ended; `None` if the timeout has passed and it is still running, or it was not [started](Self::started).
    pub status: Option<ExitStatus>,
    /// Whether the timeout passed before it exited. (If it was killed for that, there is a status.)
    pub timed_out: bool,
    /// Whether it ran its program. `false`: the timeout passed before, and the child was killed.
    pub started: bool,
    /// Whether it wrote more than the limit and was to be killed for that
    /// ([`Capture::kill_on_limit`](super::Capture::kill_on_limit)). The status says whether it was; it may have ended by itself just before.
    pub over_limit: bool,
    /// What [`Capture::on_timeout`](super::Capture::on_timeout) has come to; `None`: that was not asked for, or not needed.
    pub stopped: Option<Stopped>,
    /// Its stdout, if that is piped.
    pub stdout: CapturedStream,
    /// Its stderr, if that is piped.
    pub stderr: CapturedStream,
}

impl Captured {
    /// Of a child whose time was up before it ran its program.
    pub(crate) fn not_started() -> Captured {
        let outcome = Outcome { timed_out: true, ..Outcome::default() };
        Captured { started: false, ..Captured::new(outcome, Default::default()) }
    }

    pub(crate) fn new(outcome: Outcome, [stdout, stderr]: [CapturedStream; 2]) -> Captured {
        let Outcome { status, timed_out, over_limit, stopped } = outcome;
        Captured { status, timed_out, started: true, over_limit, stopped, stdout, stderr }
    }

    /// Whether both streams were read to their ends, or are not piped.
    pub fn is_complete(&self) -> bool {
        self.stdout.is_complete() && self.stderr.is_complete()
    }

    /// As std's type, if it has ended and both streams were read to their ends. What a [`limit`](super::Capture::limit) left out is missing there;
    /// std's type cannot say so.
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
    pub(super) total: u64,
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

    /// What is there is handed out, and not kept.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(&mut self.head);
        taken.append(&mut self.tail);
        taken
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> CapturedStream {
        CapturedStream { head: bytes.to_vec(), ..CapturedStream::default() }
    }

    /// Where the next bytes go.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        match self.limits {
            Some((head, _)) if self.head.len() >= head => &mut self.tail,
            _ => &mut self.head,
        }
    }

    /// After bytes were added: what is too much for the first part belongs to the last one, which is cut once in a while.
    pub(super) fn settle(&mut self) {
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

    /// All bytes that were kept: the first part, followed by the last part.
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

    /// Whether it was read to its end. If not, the timeout had passed, or another process still had it open.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

/// As text, with a note where bytes were left out, and where the end was not reached.
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
