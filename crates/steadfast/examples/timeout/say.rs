//! What is said, and what becomes of it where nobody can hear it.

use crate::begun;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use steadfast::Signal;

/// Speaks on stderr, under the name that the program was called by. Never panics: there is a command to look after.
pub(crate) struct Voice {
    name: OsString,
    /// Why the words did not arrive; nothing more is said then.
    failure: Option<io::ErrorKind>,
}

impl Voice {
    pub(crate) fn new(name: OsString) -> Voice {
        Voice { name, failure: None }
    }

    pub(crate) fn say(&mut self, words: &str) {
        self.write(&[self.name.as_bytes(), b": ", words.as_bytes(), b"\n"].concat());
    }

    /// Where there is more to read.
    pub(crate) fn hint(&mut self) {
        self.write(&[b"Try '", self.name.as_bytes(), b" --help' for more information.\n"].concat());
    }

    /// In one piece, so that it does not mix with what the command says.
    fn write(&mut self, line: &[u8]) {
        if !begun::has_stderr() {
            self.failure = Some(io::ErrorKind::NotFound);
        }
        if self.failure.is_none() {
            self.failure = io::stderr().write_all(line).err().map(|error| error.kind());
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether the failure is one that `SIGPIPE` comes with. Rust's runtime ignores that signal, which ends other programs, but for those
    /// whose caller ignores it too.
    pub(crate) fn is_pipe_broken(&self) -> bool {
        self.failure == Some(io::ErrorKind::BrokenPipe) && !begun::ignored().contains(Signal::PIPE)
    }

    /// Ends as a program does that writes into a pipe that nobody reads.
    pub(crate) fn end_if_pipe_is_broken(&self) {
        if self.is_pipe_broken() {
            end_by_broken_pipe();
        }
    }

    /// To stdout; whether it has arrived.
    pub(crate) fn answer(&mut self, text: &str) -> bool {
        let Err(error) = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) else { return true };
        if error.kind() == io::ErrorKind::BrokenPipe && !begun::ignored().contains(Signal::PIPE) {
            end_by_broken_pipe();
        }
        self.say(&format!("write error: {}", words_of(error.raw_os_error().unwrap_or(0))));
        false
    }
}

fn end_by_broken_pipe() {
    drop(signal_hook::low_level::emulate_default_handler(Signal::PIPE.as_raw()));
}

/// The system's words for an error, without its number.
pub(crate) fn words_of(errno: i32) -> String {
    let words = io::Error::from_raw_os_error(errno).to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

/// In quotes, as coreutils put a name into a message in the C locale: one line, and only ASCII.
pub(crate) fn quote(name: &OsStr) -> String {
    let mut quoted = String::from("'");
    for byte in name.as_bytes() {
        let escape = match byte {
            b'\x07' => 'a',
            b'\x08' => 'b',
            b'\t' => 't',
            b'\n' => 'n',
            b'\x0b' => 'v',
            b'\x0c' => 'f',
            b'\r' => 'r',
            b'\'' | b'\\' => char::from(*byte),
            b' '..=b'~' => {
                quoted.push(char::from(*byte));
                continue;
            }
            _ => {
                // Into a string: it does not fail.
                _ = write!(quoted, "\\{byte:03o}");
                continue;
            }
        };
        quoted.extend(['\\', escape]);
    }
    quoted.push('\'');
    quoted
}
