//! [`Signal`]: every signal of Linux, by name and by number.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A signal: 1 to 31 by their names, 32 to 64 the real-time ones.
///
/// The numbers are those of every Linux architecture but alpha, mips, parisc and sparc (signal(7)). Real-time
/// signals are named relative to [`Signal::RTMIN`], which is 34: the C libraries keep 32 and 33 to themselves.
///
/// Text in both directions: [`FromStr`] takes `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` and
/// `SIGRTMAX-1`; [`Display`](fmt::Display) prints `SIGTERM` and `SIGRTMIN+3`.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::Signal;
/// assert_eq!("term".parse::<Signal>()?, Signal::TERM);
/// assert_eq!(Signal::new(37)?.to_string(), "SIGRTMIN+3");
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// Its name, as `Display`.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! signals {
    ($($name:ident = $number:literal, $alias:literal, $meaning:literal;)*) => {
        impl Signal {
            $(#[doc = $meaning] #[doc(alias = $alias)] pub const $name: Signal = Signal($number);)*
        }
        const NAMES: &[(&str, u8)] = &[$((stringify!($name), $number)),*];
    };
}

signals! {
    HUP = 1, "SIGHUP", "The terminal hung up; to a daemon: read your configuration again.";
    INT = 2, "SIGINT", "Interrupted from the keyboard (Ctrl-C).";
    QUIT = 3, "SIGQUIT", "Quit from the keyboard, with a core dump.";
    ILL = 4, "SIGILL", "Illegal instruction.";
    TRAP = 5, "SIGTRAP", "Trace trap.";
    ABRT = 6, "SIGABRT", "`abort(3)`.";
    BUS = 7, "SIGBUS", "Bad memory access.";
    FPE = 8, "SIGFPE", "Arithmetic exception.";
    KILL = 9, "SIGKILL", "Ends the process; cannot be handled, blocked or ignored.";
    USR1 = 10, "SIGUSR1", "For the user's own purposes.";
    SEGV = 11, "SIGSEGV", "Invalid memory reference.";
    USR2 = 12, "SIGUSR2", "For the user's own purposes.";
    PIPE = 13, "SIGPIPE", "Wrote to a pipe that nobody reads.";
    ALRM = 14, "SIGALRM", "The timer of `alarm(2)`.";
    TERM = 15, "SIGTERM", "Asks the process to end.";
    STKFLT = 16, "SIGSTKFLT", "Unused.";
    CHLD = 17, "SIGCHLD", "A child has stopped or ended.";
    CONT = 18, "SIGCONT", "Goes on if stopped.";
    STOP = 19, "SIGSTOP", "Stops the process; cannot be handled, blocked or ignored.";
    TSTP = 20, "SIGTSTP", "Stop from the keyboard (Ctrl-Z).";
    TTIN = 21, "SIGTTIN", "A background process read from its terminal.";
    TTOU = 22, "SIGTTOU", "A background process wrote to its terminal.";
    URG = 23, "SIGURG", "Urgent data on a socket.";
    XCPU = 24, "SIGXCPU", "CPU time limit exceeded.";
    XFSZ = 25, "SIGXFSZ", "File size limit exceeded.";
    VTALRM = 26, "SIGVTALRM", "Virtual timer.";
    PROF = 27, "SIGPROF", "Profiling timer.";
    WINCH = 28, "SIGWINCH", "The terminal's size changed.";
    IO = 29, "SIGIO", "I/O is now possible.";
    PWR = 30, "SIGPWR", "Power failure.";
    SYS = 31, "SIGSYS", "Bad system call; what a seccomp filter raises.";
}

impl Signal {
    /// The first real-time signal that the C library leaves to programs.
    pub const RTMIN: Signal = Signal(34);
    /// The last real-time signal.
    pub const RTMAX: Signal = Signal(64);

    /// Checks a number.
    ///
    /// # Errors
    /// [`Error::InvalidSignal`] if it is not between 1 and 64.
    pub fn new(raw: i32) -> Result<Signal> {
        match u8::try_from(raw) {
            Ok(number @ 1..=64) => Ok(Signal(number)),
            _ => Err(Error::InvalidSignal { given: raw.to_string() }),
        }
    }

    /// The real-time signal `SIGRTMIN+offset`.
    ///
    /// # Errors
    /// [`Error::InvalidSignal`] if it lies beyond [`Signal::RTMAX`].
    pub fn real_time(offset: u8) -> Result<Signal> {
        match offset {
            0..=30 => Ok(Signal(Signal::RTMIN.0 + offset)),
            _ => Err(Error::InvalidSignal { given: format!("RTMIN+{offset}") }),
        }
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0 as i32
    }

    /// All 64, in order.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=64).map(Signal)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMES.iter().find(|(_, number)| *number == self.0) {
            return write!(f, "SIG{name}");
        }
        match self.0 {
            34 => f.write_str("SIGRTMIN"),
            64 => f.write_str("SIGRTMAX"),
            number @ 35.. => write!(f, "SIGRTMIN+{}", number - 34),
            number => write!(f, "signal {number}"),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signal> {
        let given = || Error::InvalidSignal { given: format!("{text:?}") };
        if let Ok(number) = text.parse::<i32>() {
            return Signal::new(number).map_err(|_| given());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let alias = match name {
            "IOT" => "ABRT",
            "CLD" => "CHLD",
            "POLL" => "IO",
            name => name,
        };
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == alias) {
            return Ok(Signal(*number));
        }
        let offset = |digits: &str| -> Option<i32> {
            (digits.is_empty() || digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| if digits.is_empty() { Some(0) } else { digits.parse().ok() })?
        };
        let raw = if let Some(rest) = name.strip_prefix("RTMIN") {
            rest.strip_prefix('+').map_or(rest.is_empty().then_some(0), offset).map(|n| 34 + n)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            rest.strip_prefix('-').map_or(rest.is_empty().then_some(0), offset).map(|n| 64 - n)
        } else {
            None
        };
        raw.filter(|raw| (34..=64).contains(raw)).ok_or_else(given).and_then(Signal::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_read_back_as_it_was_printed() {
        for signal in Signal::all().filter(|s| !(32..=33).contains(&s.as_raw())) {
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
            assert_eq!(signal.as_raw().to_string().parse::<Signal>().unwrap(), signal);
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_by_its_own_text() {
        for text in ["", "0", "65", "-9", "SIG", "SIGFOO", "RTMIN+31", "RTMAX-31", "RTMIN+x", "RTMIN-1", "15 "] {
            let error = text.parse::<Signal>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!("RTMAX-30".parse::<Signal>().unwrap(), Signal::RTMIN);
        assert_eq!(Signal::real_time(30).unwrap(), Signal::RTMAX);
        assert!(Signal::real_time(31).is_err());
    }
}
