//! [`Fault`]: a call that fails although the kernel could do it, or an exec or exit that takes its time.

use crate::model::host::{Call, Struck};
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use steadfast_core::Errno;

/// Makes calls fail. Without [`nth`](Fault::nth) and [`probability`](Fault::probability): every one.
///
/// ```
/// use std::time::Duration;
/// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
/// use steadfast::Errno;
/// use steadfast::mock::{Call, Fault};
/// let fault = Fault::on(Call::Spawn).nth(2).program("server").errno(Errno::AGAIN);
/// let slow_to_die = Fault::on(Call::Exit).probability(0.1).delay(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    call: Call,
    nth: Option<u64>,
    probability: f64,
    program: Option<OsString>,
    errno: Errno,
    delay: Duration,
    seen: u64,
}

impl Fault {
    /// Begins: calls of this kind fail with `EIO`.
    pub fn on(call: Call) -> Fault {
        Fault { call, nth: None, probability: 1.0, program: None, errno: Errno::IO, delay: Duration::ZERO, seen: 0 }
    }

    /// Only the `n`th of them, counted from 1.
    pub fn nth(self, n: u64) -> Fault {
        Fault { nth: Some(n), ..self }
    }

    /// Each of them with this probability, as the seed has it.
    ///
    /// # Panics
    /// If it is not between 0 and 1.
    pub fn probability(self, probability: f64) -> Fault {
        assert!((0.0..=1.0).contains(&probability), "probability({probability}): give a number between 0 and 1");
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

    /// For [`Call::Exit`]: how long a process that ends goes on to exist, and hears no signal. For [`Call::Exec`]: how long it takes until the
    /// program runs, in place of a failure.
    pub fn delay(self, delay: Duration) -> Fault {
        Fault { delay, ..self }
    }

    /// Whether this call fails now; `chance` decides.
    pub(crate) fn strikes(&mut self, call: Call, program: &OsStr, chance: impl FnOnce(f64) -> bool) -> Option<Struck> {
        if self.call != call || self.program.as_ref().is_some_and(|only| only != program) {
            return None;
        }
        self.seen += 1;
        let chosen = self.nth.is_none_or(|n| n == self.seen);
        let struck = chosen && (self.probability >= 1.0 || chance(self.probability));
        struck.then_some(Struck { errno: self.errno, delay: self.delay })
    }
}
