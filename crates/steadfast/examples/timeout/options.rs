//! The command line, as getopt_long(3) reads it: options end at the first word that is none, so that the command's own are left to it.

use crate::duration;
use crate::say::quote;
use crate::signals;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;
use steadfast::Signal;

pub(crate) const HELP: &str = "\
Start COMMAND, and end it if it still runs after DURATION.

  -f, --foreground           leave it in the foreground, where it can read from the terminal; its children are not ended then
  -k, --kill-after=DURATION  send KILL too, if it still runs this long after the first signal
  -p, --preserve-status      exit with the command's own status, even if the time was up
  -s, --signal=SIGNAL        the signal that ends it: a name like HUP, or a number; TERM if nothing is said
  -v, --verbose              say on stderr which signal is sent
      --help                 say this, and no more
      --version              say which version this is, and no more

DURATION is a number, and s (seconds, if nothing is said), m, h or d behind it; 0 is for ever.

The exit status is the command's own; 124 if the time was up; 125 if timeout itself fails; 126 if the command cannot be executed, 127 if
there is none; 137 if it took KILL.
";

/// What was asked for.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) foreground: bool,
    pub(crate) kill_after: Duration,
    pub(crate) preserve_status: bool,
    /// `None`: signal 0, which only asks whether somebody is there.
    pub(crate) signal: Option<Signal>,
    pub(crate) verbose: bool,
    pub(crate) duration: Duration,
    pub(crate) command: OsString,
    pub(crate) args: Vec<OsString>,
}

/// What there is to do.
pub(crate) enum Order {
    Run(Options),
    Help,
    Version,
    /// The command line is none of ours: why, where there is anything to say.
    Refuse(Option<String>),
}

const FLAGS: &[(&str, char)] = &[
    ("foreground", 'f'),
    ("kill-after", 'k'),
    ("preserve-status", 'p'),
    ("signal", 's'),
    ("verbose", 'v'),
    ("help", 'H'),
    ("version", 'V'),
];

/// Whether the option has a value.
fn takes_value(flag: char) -> bool {
    matches!(flag, 'k' | 's')
}

/// Reads the words behind the program's name.
pub(crate) fn read(words: impl Iterator<Item = OsString>) -> Order {
    let mut words = words;
    let mut options = Options { signal: Some(Signal::TERM), ..Options::default() };
    let first = loop {
        let Some(word) = words.next() else { return Order::Refuse(None) };
        let taken = match word.as_bytes() {
            b"--" => break words.next(),
            [b'-', b'-', long @ ..] => options.take_long(long, &mut words),
            [b'-', short @ ..] if !short.is_empty() => options.take_short(short, &mut words),
            _ => break Some(word),
        };
        match taken {
            Ok(None) => {}
            Ok(Some(order)) => return order,
            Err(why) => return Order::Refuse(Some(why)),
        }
    };
    let (Some(duration), Some(command)) = (first, words.next()) else { return Order::Refuse(None) };
    match time(duration.as_bytes()) {
        Ok(duration) => Order::Run(Options { duration, command, args: words.collect(), ..options }),
        Err(why) => Order::Refuse(Some(why)),
    }
}

fn time(text: &[u8]) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("invalid time interval {}", quote(OsStr::from_bytes(text))))
}

/// Text of the command line in the middle of ours.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Options {
    /// `--name`, `--name=value` or `--name value`; of the name, as much as is no other's.
    fn take_long(&mut self, word: &[u8], words: &mut impl Iterator<Item = OsString>) -> Result<Option<Order>, String> {
        let (name, value) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (&word[..at], Some(word[at + 1..].to_vec())),
            None => (word, None),
        };
        let begin_so: Vec<_> = FLAGS.iter().filter(|(full, _)| full.as_bytes().starts_with(name)).collect();
        let (name, flag) = match *begin_so {
            [] => return Err(format!("unrecognized option '--{}'", shown(name))),
            [(full, flag)] => (full, *flag),
            _ => {
                let possible: String = begin_so.iter().map(|(full, _)| format!(" '--{full}'")).collect();
                return Err(format!("option '--{}' is ambiguous; possibilities:{possible}", shown(word)));
            }
        };
        match (takes_value(flag), value) {
            (false, Some(_)) => Err(format!("option '--{name}' doesn't allow an argument")),
            (true, None) => match words.next() {
                Some(value) => self.set(flag, &value.into_vec()),
                None => Err(format!("option '--{name}' requires an argument")),
            },
            (_, value) => self.set(flag, &value.unwrap_or_default()),
        }
    }

    /// `-f`, `-fv`, `-kvalue`, `-k value` or `-fvkvalue`.
    fn take_short(&mut self, word: &[u8], words: &mut impl Iterator<Item = OsString>) -> Result<Option<Order>, String> {
        for (at, letter) in word.iter().enumerate() {
            let flag = char::from(*letter);
            if !"fkpsv".contains(flag) {
                return Err(format!("invalid option -- '{}'", shown(&[*letter])));
            }
            if takes_value(flag) {
                let value = match &word[at + 1..] {
                    [] => words.next().ok_or_else(|| format!("option requires an argument -- '{flag}'"))?.into_vec(),
                    attached => attached.to_vec(),
                };
                return self.set(flag, &value);
            }
            self.set(flag, &[])?;
        }
        Ok(None)
    }

    fn set(&mut self, flag: char, value: &[u8]) -> Result<Option<Order>, String> {
        match flag {
            'f' => self.foreground = true,
            'k' => self.kill_after = time(value)?,
            'p' => self.preserve_status = true,
            's' => {
                let refused = || format!("{}: invalid signal", quote(OsStr::from_bytes(value)));
                self.signal = signals::parse(value).ok_or_else(refused)?;
            }
            'v' => self.verbose = true,
            'H' => return Ok(Some(Order::Help)),
            _ => return Ok(Some(Order::Version)),
        }
        Ok(None)
    }
}
