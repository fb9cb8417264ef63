//! [`Run`]: what a program learns of the run that it is asked for.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;
use steadfast_core::{Attributes, Plan};

/// What a program given as a closure learns about the run that it is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The program's name, as it was called.
    pub program: OsString,
    /// How many runs of this program there were before.
    pub number: u64,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its environment, if it was given one of its own.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// The directory that it is started in, if it was given one.
    pub current_dir: Option<PathBuf>,
    /// What else it was to be: user, limits and the like. The simulation acts upon session, process group, signals, `RLIMIT_NPROC`,
    /// `RLIMIT_CORE` and the parent-death signal, and notes the rest, the walls among it.
    pub attributes: Attributes,
    random: Cell<u64>,
}

impl Run {
    /// The `number`th run, with a number of its own for what it asks of chance.
    pub(crate) fn new(program: &OsStr, number: u64, args: &[OsString], plan: Option<&Plan>, random: u64) -> Run {
        Run {
            program: program.to_owned(),
            number,
            args: args.to_vec(),
            env: plan.and_then(|plan| plan.env().map(<[_]>::to_vec)),
            current_dir: plan.and_then(|plan| plan.current_dir().map(Into::into)),
            attributes: plan.map(|plan| plan.attributes().clone()).unwrap_or_default(),
            random: Cell::new(random),
        }
    }

    /// A number in this range, as the seed has it; another one at each call.
    ///
    /// # Panics
    /// If there is no number in the range.
    pub fn random(&self, range: std::ops::Range<u64>) -> u64 {
        assert!(!range.is_empty(), "random({range:?}): there is no number in this range");
        let mut rng = fastrand::Rng::with_seed(self.random.get());
        let number = rng.u64(range);
        self.random.set(rng.u64(..));
        number
    }

    /// A time from 0 to so much, to the nanosecond.
    pub fn random_time(&self, most: Duration) -> Duration {
        Duration::from_nanos(self.random(0..(most.as_nanos() as u64).saturating_add(1)))
    }

    /// The value of a variable in the environment that it was given.
    pub fn var(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let vars = self.env.iter().flatten();
        vars.filter(|(key, _)| key == name.as_ref()).map(|(_, value)| value.as_os_str()).next_back()
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &OsString> {
        [&self.program].into_iter().chain(&self.args)
    }

    /// Program and arguments, joined by spaces: for messages and patterns.
    pub fn command_line(&self) -> String {
        self.words().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}
