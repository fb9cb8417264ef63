//! [`Input`]: all that a child reads from its stdin, given in one call.

use crate::pipe::{ROOM, errno};
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use steadfast_core::{Error, Result};

/// What a child reads from its stdin, for [`Command::input`](crate::Command::input): bytes, or all that a reader gives.
///
/// ```
/// use steadfast::{Command, Input};
/// let output = Command::new("sort").input("b\na\n").output()?;
/// assert_eq!(output.stdout, b"a\nb\n");
/// let page = std::io::Cursor::new("one\ntwo\n");
/// assert_eq!(Command::new("wc").arg("-l").input(Input::reader(page)).output()?.stdout, b"2\n");
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone)]
pub struct Input(Source);

#[derive(Clone)]
enum Source {
    Bytes(Arc<[u8]>),
    Reader(Arc<Mutex<dyn Read + Send>>),
}

impl Input {
    /// All that this reader gives, up to its end.
    ///
    /// It is read on the thread that makes the call, up to 64 KiB at once, whenever the child's stdin has room. So a reader that blocks holds up
    /// the call, past its time limit too, and in a task the thread of the runtime. To let a child read a file, a pipe or a socket, give it the
    /// descriptor: [`Command::stdin`](crate::Command::stdin).
    ///
    /// Clones share the reader: a second run of the command gets what the first one has left.
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input(Source::Reader(Arc::new(Mutex::new(reader))))
    }
}

macro_rules! from_bytes {
    ($($bytes:ty),*) => {$(
        impl From<$bytes> for Input {
            fn from(bytes: $bytes) -> Input {
                Input(Source::Bytes(Arc::from(AsRef::<[u8]>::as_ref(&bytes))))
            }
        }
    )*};
}

from_bytes!(&[u8], &str, &String, &Vec<u8>, String, Vec<u8>);

impl<const N: usize> From<&[u8; N]> for Input {
    fn from(bytes: &[u8; N]) -> Input {
        Input::from(&bytes[..])
    }
}

/// Not the bytes themselves: they may be a secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes(bytes) => write!(f, "Input({} bytes)", bytes.len()),
            Source::Reader(_) => f.write_str("Input(reader)"),
        }
    }
}

/// An input on its way into a child's stdin.
pub(crate) struct Feed {
    input: Input,
    /// What the reader gave last.
    piece: Vec<u8>,
    /// How much of the bytes, or of the piece, was written.
    written: usize,
}

impl Feed {
    pub(crate) fn new(input: &Input) -> Feed {
        Feed { input: input.clone(), piece: Vec::new(), written: 0 }
    }

    /// Whether it is known to be more than a pipe holds.
    pub(crate) fn is_large(&self) -> bool {
        matches!(&self.input.0, Source::Bytes(bytes) if bytes.len() > ROOM)
    }

    /// What is to be written next; nothing at the end.
    ///
    /// # Errors
    /// The reader's.
    pub(crate) fn next(&mut self) -> Result<&[u8]> {
        match &self.input.0 {
            Source::Bytes(bytes) => Ok(&bytes[self.written..]),
            Source::Reader(reader) => {
                if self.written == self.piece.len() {
                    self.written = 0;
                    // Out of its place until it is filled: if the reader panics, there is nothing in it.
                    let mut piece = std::mem::take(&mut self.piece);
                    piece.resize(ROOM, 0);
                    let read = read_some(&mut *reader.lock().unwrap_or_else(PoisonError::into_inner), &mut piece);
                    piece.truncate(*read.as_ref().unwrap_or(&0));
                    self.piece = piece;
                    read.map_err(|error| Error::System {
                        call: "read",
                        subject: format!("the input for a child ({error})"),
                        source: errno(&error),
                    })?;
                }
                Ok(&self.piece[self.written..])
            }
        }
    }

    /// So much of it was written.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
    }
}

fn read_some(reader: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, and is interrupted before each.
    struct Slow(Vec<u8>, bool);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let Some(byte) = self.0.pop() else { return Ok(0) };
            into[0] = byte;
            Ok(1)
        }
    }

    #[test]
    fn a_reader_is_read_to_its_end_and_its_clone_goes_on() {
        let input = Input::reader(Slow(b"fedcba".to_vec(), false));
        let mut taken = Vec::new();
        for mut feed in [Feed::new(&input), Feed::new(&input.clone())] {
            for _ in 0..3 {
                let next = feed.next().unwrap().to_vec();
                feed.wrote(next.len());
                taken.extend(next);
            }
        }
        assert_eq!(taken, b"abcdef");
        assert_eq!(Feed::new(&input).next().unwrap(), b"");
    }

    #[test]
    fn what_it_shows_is_not_what_it_holds() {
        let texts = [Input::from("secret"), Input::from(b"secret"), Input::reader(io::empty())].map(|input| format!("{input:?}"));
        assert_eq!(texts, ["Input(6 bytes)", "Input(6 bytes)", "Input(reader)"]);
    }
}
