//! [`Act`]: what the actor can be told to do. It is the child program of all tests.

use std::ffi::OsString;
use steadfast_core::{Result, Signal};

/// What the actor does. It prints `ready` to stdout when it is set up, so that no test has to guess when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "every actor must know all of them")]
pub enum Act {
    /// Exits with this code and prints nothing.
    Exit(u8),
    /// Prints `ready`, then waits for ever, with every signal at its default.
    Forever,
    /// Prints `ready`, then exits with the code when the signal comes; otherwise as `Forever`.
    ExitOn(Signal, u8),
    /// Prints `ready`, then waits for ever, and ignores the signal.
    Shrug(Signal),
    /// Starts a process that is related to it like this, has every signal at its default, and reads the same stdin to its end; prints `ready` when
    /// that is set up, then waits for ever itself.
    Beget(Kin),
    /// The same, and exits with 0 when it has printed `ready`.
    BegetAndExit(Kin),
    /// Uses so many mebibytes of memory, prints `ready`, then waits for ever.
    Allocate(u32),
    /// Starts so many children, or as many of them as can be made, each of which reads the same stdin to its end; prints `ready` when they are set up,
    /// then waits for ever itself.
    Multiply(u32),
    /// Prints `ready`, reads stdin to its end, then exits with the code.
    UntilEof(u8),
}

/// How a process is related to the actor that has started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "every actor must know all of them")]
pub enum Kin {
    /// A child, in its group and session.
    Child,
    /// A child in a process group of its own (setpgid(2)).
    Group,
    /// A child in a session of its own (setsid(2)).
    Session,
    /// A child's child in its group, whose parent has ended.
    Orphan,
    /// A child's child in a session of its own, whose parent has ended: a daemon.
    Daemon,
}

impl Kin {
    /// All of them.
    pub const ALL: [Kin; 5] = [Kin::Child, Kin::Group, Kin::Session, Kin::Orphan, Kin::Daemon];

    /// Whether it is in the group of the actor.
    pub fn stays_in_group(self) -> bool {
        matches!(self, Kin::Child | Kin::Orphan)
    }

    fn word(self) -> &'static str {
        match self {
            Kin::Child => "child",
            Kin::Group => "group",
            Kin::Session => "session",
            Kin::Orphan => "orphan",
            Kin::Daemon => "daemon",
        }
    }

    fn of_word(word: &str) -> Option<Kin> {
        Kin::ALL.into_iter().find(|kin| kin.word() == word)
    }
}

impl Act {
    /// The actor's arguments for this act.
    pub fn to_args(self) -> Vec<OsString> {
        let words = match self {
            Act::Exit(code) => vec!["exit".into(), code.to_string()],
            Act::Forever => vec!["forever".into()],
            Act::ExitOn(signal, code) => vec!["exit-on".into(), signal.to_string(), code.to_string()],
            Act::Shrug(signal) => vec!["shrug".into(), signal.to_string()],
            Act::Beget(kin) => vec!["beget".into(), kin.word().to_owned()],
            Act::BegetAndExit(kin) => vec!["beget-and-exit".into(), kin.word().to_owned()],
            Act::Allocate(mebibytes) => vec!["allocate".into(), mebibytes.to_string()],
            Act::Multiply(children) => vec!["multiply".into(), children.to_string()],
            Act::UntilEof(code) => vec!["until-eof".into(), code.to_string()],
        };
        words.into_iter().map(OsString::from).collect()
    }

    /// The act that these arguments mean; `None` if they mean none.
    pub fn from_args(args: &[OsString]) -> Option<Act> {
        let words: Vec<&str> = args.iter().map(|arg| arg.to_str()).collect::<Option<_>>()?;
        let signal = |word: &str| -> Result<Signal> { word.parse() };
        match words[..] {
            ["exit", code] => Some(Act::Exit(code.parse().ok()?)),
            ["forever"] => Some(Act::Forever),
            ["exit-on", name, code] => Some(Act::ExitOn(signal(name).ok()?, code.parse().ok()?)),
            ["shrug", name] => Some(Act::Shrug(signal(name).ok()?)),
            ["beget", kin] => Some(Act::Beget(Kin::of_word(kin)?)),
            ["beget-and-exit", kin] => Some(Act::BegetAndExit(Kin::of_word(kin)?)),
            ["allocate", mebibytes] => Some(Act::Allocate(mebibytes.parse().ok()?)),
            ["multiply", children] => Some(Act::Multiply(children.parse().ok()?)),
            ["until-eof", code] => Some(Act::UntilEof(code.parse().ok()?)),
            _ => None,
        }
    }

    /// Whether it prints `ready`.
    pub(crate) fn says_ready(self) -> bool {
        !matches!(self, Act::Exit(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_actor_is_told_is_what_it_hears() {
        for act in [
            Act::Exit(7),
            Act::Forever,
            Act::ExitOn(Signal::USR1, 3),
            Act::Shrug(Signal::real_time(2).unwrap()),
            Act::UntilEof(255),
            Act::Beget(Kin::Daemon),
            Act::BegetAndExit(Kin::Group),
            Act::Allocate(64),
            Act::Multiply(9),
        ] {
            assert_eq!(Act::from_args(&act.to_args()), Some(act));
        }
        assert_eq!(Act::from_args(&["exit".into(), "256".into()]), None);
        assert_eq!(Act::from_args(&[]), None);
    }
}
