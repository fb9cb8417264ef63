//! An identity as a line of text, and back.

use super::{BootId, Evidence, Identity, StartTime};
use crate::{Error, Pid, Result};
use std::fmt;
use std::str::FromStr;

const VERSION: &str = "life1";
/// Of a text that is none, so much is shown.
const SHOWN: usize = 120;

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { boot, namespace, pid, evidence } = self;
        // As one, so that a width and a fill apply to the whole.
        let mut text = format!("{VERSION}.{boot}.n{namespace}.p{pid}");
        if let Some(number) = evidence.pidfs() {
            text += &format!(".f{number}");
        }
        if let Some(start_time) = evidence.start_time() {
            let letter = if start_time.is_exact() { 't' } else { 'u' };
            text += &format!(".{letter}{}", start_time.ticks());
        }
        f.pad(&text)
    }
}

/// Reads the text that `Display` gives, and nothing else: no white space at its ends, no leading zeros.
///
/// # Errors
/// [`Error::InvalidIdentity`] with the place of what is wrong.
impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Identity> {
        let mut fields = Fields { text, at: 0, next: Some(0) };
        if fields.take("it must begin with `life1`: this is no identity, or a later version's")? != VERSION {
            return Err(fields.wrong("it must begin with `life1`: this is no identity, or a later version's"));
        }
        let boot = fields.take("the boot ID is missing")?;
        let boot = bytes_of(boot.as_bytes()).map(BootId);
        let boot = boot.ok_or_else(|| fields.wrong("a boot ID has 32 digits, 0 to 9 and a to f"))?;
        let namespace = fields.number('n', "the PID namespace is missing: `n` and its inode")?;
        let pid = fields.number('p', "the PID is missing: `p` and the number")?;
        let pid = i32::try_from(pid).ok().and_then(Pid::checked);
        let pid = pid.ok_or_else(|| fields.wrong("no process can have this PID"))?;
        let evidence = fields.evidence()?;
        match fields.next {
            None => Ok(Identity { boot, namespace, pid, evidence }),
            Some(at) => Err(Fields { at, ..fields }.wrong("nothing may follow")),
        }
    }
}

/// The parts between the dots.
struct Fields<'a> {
    text: &'a str,
    /// Where the one begins that was taken last.
    at: usize,
    /// Where the next one begins; `None` after the last one.
    next: Option<usize>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, missing: &'static str) -> Result<&'a str> {
        let Some(at) = self.next else {
            self.at = self.text.len();
            return Err(self.wrong(missing));
        };
        let rest = &self.text[at..];
        let end = rest.find('.');
        (self.at, self.next) = (at, end.map(|end| at + end + 1));
        Ok(&rest[..end.unwrap_or(rest.len())])
    }

    fn number(&mut self, letter: char, missing: &'static str) -> Result<u64> {
        let field = self.take(missing)?;
        let digits = field.strip_prefix(letter).ok_or_else(|| self.wrong(missing))?;
        number_of(digits).ok_or_else(|| self.wrong("behind the letter there must be a number, without leading zeros"))
    }

    fn evidence(&mut self) -> Result<Evidence> {
        const MISSING: &str = "the evidence is missing: `f` and a number of pidfs, or `t` or `u` and a start time";
        let pidfs = if self.begins_with("f") { Some(self.number('f', MISSING)?) } else { None };
        let start_time = match (self.begins_with("t"), self.begins_with("u")) {
            (true, _) => Some(StartTime::from_text(self.number('t', MISSING)?, true)),
            (_, true) => Some(StartTime::from_text(self.number('u', MISSING)?, false)),
            _ => None,
        };
        match Evidence::of(pidfs, start_time) {
            Some(evidence) => Ok(evidence),
            None => {
                self.take(MISSING)?;
                Err(self.wrong(MISSING))
            }
        }
    }

    fn begins_with(&self, letter: &str) -> bool {
        self.next.is_some_and(|at| self.text[at..].starts_with(letter))
    }

    fn wrong(&self, why: &'static str) -> Error {
        let shown: String = self.text.chars().take(SHOWN).collect();
        let dots = if shown.len() < self.text.len() { "…" } else { "" };
        Error::InvalidIdentity { given: format!("{shown:?}{dots}"), at: self.at, why }
    }
}

/// In the one way in which a number is written.
fn number_of(digits: &str) -> Option<u64> {
    let is_plain = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// Of 32 digits, small letters only.
pub(super) fn bytes_of(digits: &[u8]) -> Option<[u8; 16]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(feature = "serde")]
mod serde_text {
    use super::Identity;
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};
    use std::fmt;

    impl Serialize for Identity {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Identity {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Identity, D::Error> {
            deserializer.deserialize_str(Text)
        }
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Identity;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the identity of a process, as text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Identity, E> {
            text.parse().map_err(E::custom)
        }
    }
}
