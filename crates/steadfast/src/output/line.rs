//! [`Line`]: a line of what a child writes, and how lines are cut from what is read.

use super::captured::CapturedStream;
use super::options::Capture;
use crate::ExitStatus;
use crate::teardown::Stopped;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

/// A line that a child has written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Where it was written to.
    pub stream: OutputStream,
    /// Without its end, `\n` or `\r\n`. Of one that is longer than the [limit](Capture::line_limit), the beginning.
    pub bytes: Vec<u8>,
    /// How many bytes of it are above the limit.
    pub omitted: u64,
    /// Whether it has an end. The last line may have none; nor has one that the time limit has cut off.
    pub is_complete: bool,
}

/// One of a child's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "there will never be more")]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// `stdout` or `stderr`.
impl fmt::Display for OutputStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        })
    }
}

impl Line {
    /// As text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// As text, with a note if it is cut off.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())?;
        if self.omitted > 0 { write!(f, "[… {} bytes left out]", self.omitted) } else { Ok(()) }
    }
}

/// How a child has ended whose lines were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinesEnd {
    /// How it ended; `None` if the timeout has passed and it is still running.
    pub status: Option<ExitStatus>,
    /// Whether the timeout passed before it exited. (If it was killed for that, there is a status.)
    pub timed_out: bool,
    /// Whether it wrote more than the limit and was to be killed for that.
    pub over_limit: bool,
    /// What [`Capture::on_timeout`] has come to; `None`: that was not asked for, or not needed. The lines that it wrote meanwhile came as ever.
    pub stopped: Option<Stopped>,
}

/// Cuts lines out of what is read of both streams.
pub(crate) struct Cutter {
    partial: [Partial; 2],
    limit: Option<usize>,
    lines: VecDeque<Line>,
    /// The end of what it said on stderr, for an error.
    last_words: Vec<u8>,
    speaks_on: OutputStream,
}

/// A line whose end was not read yet.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    omitted: u64,
    /// Whether the last byte, which is not in `bytes`, may be a part of the end.
    has_return: bool,
}

const STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

/// As many of the last words as an error shows.
const WORDS: usize = 4000;

impl Cutter {
    pub(crate) fn new(options: &Capture, speaks_on: OutputStream) -> Cutter {
        let partial = Default::default();
        Cutter { partial, limit: options.line_limit, lines: VecDeque::new(), last_words: Vec::new(), speaks_on }
    }

    /// The next line, if there is a whole one.
    pub(crate) fn next(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn has_line(&self) -> bool {
        !self.lines.is_empty()
    }

    pub(crate) fn last_words(&self) -> &[u8] {
        &self.last_words
    }

    /// Takes out of both what was read since the last time.
    pub(crate) fn cut(&mut self, kept: &mut [CapturedStream; 2]) {
        for (stream, kept) in STREAMS.into_iter().zip(kept) {
            let bytes = kept.take();
            if stream == self.speaks_on {
                let surplus = (self.last_words.len() + bytes.len()).saturating_sub(WORDS);
                self.last_words.drain(..surplus.min(self.last_words.len()));
                self.last_words.extend_from_slice(&bytes[bytes.len().saturating_sub(WORDS)..]);
            }
            let mut rest = &bytes[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.add(stream, &rest[..end]);
                self.end(stream, true);
                rest = &rest[end + 1..];
            }
            self.add(stream, rest);
            if kept.is_complete() {
                self.flush(stream);
            }
        }
    }

    /// There is no more: what is left is a line too.
    pub(crate) fn finish(&mut self) {
        STREAMS.into_iter().for_each(|stream| self.flush(stream));
    }

    fn flush(&mut self, stream: OutputStream) {
        let Partial { bytes, omitted, has_return } = &self.partial[stream as usize];
        if !bytes.is_empty() || *omitted > 0 || *has_return {
            self.end(stream, false);
        }
    }

    fn add(&mut self, stream: OutputStream, bytes: &[u8]) {
        let limit = self.limit;
        let partial = &mut self.partial[stream as usize];
        let Some((last, others)) = bytes.split_last() else { return };
        if std::mem::take(&mut partial.has_return) {
            partial.add(b"\r", limit);
        }
        partial.add(others, limit);
        // It belongs to the line unless the line ends behind it.
        partial.has_return = *last == b'\r';
        if !partial.has_return {
            partial.add(&[*last], limit);
        }
    }

    fn end(&mut self, stream: OutputStream, is_complete: bool) {
        let limit = self.limit;
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        if partial.has_return && !is_complete {
            partial.add(b"\r", limit);
        }
        self.lines.push_back(Line { stream, bytes: partial.bytes, omitted: partial.omitted, is_complete });
    }
}

impl Partial {
    fn add(&mut self, bytes: &[u8], limit: Option<usize>) {
        let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.bytes.len()));
        let kept = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.omitted += (bytes.len() - kept) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str], options: &Capture) -> Vec<(String, u64, bool)> {
        let mut cutter = Cutter::new(options, OutputStream::Stderr);
        for piece in pieces {
            let mut kept = [CapturedStream::of(piece.as_bytes()), CapturedStream::default()];
            cutter.cut(&mut kept);
        }
        cutter.finish();
        std::iter::from_fn(|| cutter.next())
            .map(|line| (String::from_utf8(line.bytes).unwrap(), line.omitted, line.is_complete))
            .collect()
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = "one\n\ntwo\r\nth\rree\r\r\n\r\nlast\r";
        let expected = [("one", true), ("", true), ("two", true), ("th\rree\r", true), ("", true), ("last\r", false)];
        for size in 1..=text.len() {
            let pieces: Vec<&str> = text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            let seen = cut(&pieces, &Capture::new());
            assert_eq!(seen, expected.map(|(text, is_complete)| (text.to_owned(), 0, is_complete)), "by {size}");
        }
        assert!(cut(&[], &Capture::new()).is_empty() && cut(&[""], &Capture::new()).is_empty());
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept_and_the_rest_counted() {
        for size in 1..=10 {
            let text = "abcdefgh\r\nxy\nabc";
            let pieces: Vec<&str> = text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            let seen = cut(&pieces, &Capture::new().line_limit(3));
            assert_eq!(seen, [("abc".into(), 5, true), ("xy".into(), 0, true), ("abc".into(), 0, false)], "by {size}");
        }
        assert_eq!(cut(&["ab\n"], &Capture::new().line_limit(0)), [(String::new(), 2, true)]);
        let line = Line { stream: OutputStream::Stderr, bytes: b"ab".to_vec(), omitted: 7, is_complete: true };
        assert_eq!((line.to_string(), line.stream.to_string()), ("ab[… 7 bytes left out]".into(), "stderr".into()));
    }

    #[test]
    fn the_last_words_are_those_of_one_stream() {
        let mut cutter = Cutter::new(&Capture::new(), OutputStream::Stderr);
        for n in 0..3000 {
            cutter.cut(&mut [CapturedStream::of(b"no"), CapturedStream::of(format!("{n} ").as_bytes())]);
        }
        let words = std::str::from_utf8(cutter.last_words()).unwrap();
        assert!(words.ends_with("2998 2999 ") && words.len() == WORDS);
        cutter.cut(&mut [CapturedStream::default(), CapturedStream::of(&[b'x'; 9000])]);
        assert_eq!(cutter.last_words(), [b'x'; WORDS]);
    }
}
