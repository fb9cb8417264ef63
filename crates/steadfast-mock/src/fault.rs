//! [`Fault`]: a call that fails although the kernel could do it.

use std::ffi::OsString;
use steadfast_core::Errno;

/// A call to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Making a process.
    Spawn,
    /// Taking hold of one.
    Find,
    /// Sending a signal.
    Signal,
    /// Waiting for an exit, or looking for one.
    Wait,
    /// Reaping.
    Reap,
}

/// Makes calls fail. Without [`nth`](Fault::nth) and [`probability`](Fault::probability): every one.
///
/// ```
/// use steadfast_core::Errno;
/// use steadfast_mock::{Call, Fault};
/// let fault = Fault::on(Call::Spawn).nth(2).program("server").errno(Errno::AGAIN);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    call: Call,
    nth: Option<u64>,
    probability: f64,
    program: Option<OsString>,
    errno: Errno,
    seen: u64,
}

impl Fault {
    /// Begins: calls of this kind fail with `EIO`.
    pub fn on(call: Call) -> Fault {
        Fault { call, nth: None, probability: 1.0, program: None, errno: Errno::IO, seen: 0 }
    }

    /// Only the `n`th of them, counted from 1.
    pub fn nth(self, n: u64) -> Fault {
        Fault { nth: Some(n), ..self }
    }

    /// Each of them with this probability, between 0 and 1, as the seed has it.
    pub fn probability(self, probability: f64) -> Fault {
        Fault { probability, ..self }
    }

    /// Only calls about processes of this program.
    pub fn program(self, program: impl Into<OsString>) -> Fault {
        Fault { program: Some(program.into()), ..self }
    }

    /// Fails with this errno.
    pub fn errno(self, errno: Errno) -> Fault {
        Fault { errno, ..self }
    }

    /// Whether this call fails now.
    pub(crate) fn strikes(&mut self, call: Call, program: &OsString, rng: &mut fastrand::Rng) -> Option<Errno> {
        if self.call != call || self.program.as_ref().is_some_and(|only| only != program) {
            return None;
        }
        self.seen += 1;
        let chosen = self.nth.is_none_or(|n| n == self.seen);
        (chosen && (self.probability >= 1.0 || rng.f64() < self.probability)).then_some(self.errno)
    }
}
