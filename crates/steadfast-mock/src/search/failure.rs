//! [`Failure`]: a run that went wrong, as it is reported and kept; [`ReplayError`]: what comes of running it again.

use super::replay::Replay;
use crate::order::verdict::Verdict;
use crate::play::setup::Setup;
use std::fmt;
use std::path::{Path, PathBuf};

/// A run that failed: the one with the lowest seed, in the shortest form that was found.
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What went wrong.
    pub verdict: Verdict,
    /// What happened, with the virtual time.
    pub timeline: String,
    /// The file with the run, for [`Kernel::replay`](crate::Kernel::replay), if it could be written.
    pub file: Option<PathBuf>,
    /// How many runs were tried to shorten it, and the number of deviations from the default order before and after.
    pub(crate) tried: (usize, usize, usize),
    pub(crate) replay: Replay,
}

/// Why a replay failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The run still fails.
    Failed(Box<Failure>),
    /// The file cannot be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a replay, or is incomplete.
    Damaged {
        /// Which.
        file: PathBuf,
        /// In which line, and what is wrong there.
        what: String,
    },
    /// The kernel was built with other programs, faults or sizes.
    OtherKernel {
        /// Which.
        file: PathBuf,
        /// What the file was written with.
        then: String,
        /// What this kernel was built with.
        now: String,
    },
    /// The test has made a decision that is not in the file: it has changed since.
    Departs {
        /// Which.
        file: PathBuf,
        /// At which decision, counted from 0.
        decision: usize,
        /// How many alternatives there were.
        expected: u16,
        /// How many there are.
        seen: u16,
    },
}

impl ReplayError {
    /// Reads a run that is to be performed on a kernel that is built like this one.
    pub(crate) fn read(file: &Path, kernel: &Setup) -> Result<Replay, ReplayError> {
        let text = std::fs::read_to_string(file).map_err(|source| ReplayError::Unreadable { file: file.into(), source })?;
        let replay = Replay::parse(&text).map_err(|what| ReplayError::Damaged { file: file.into(), what })?;
        match replay.misfit(kernel) {
            None => Ok(replay),
            Some((then, now)) => Err(ReplayError::OtherKernel { file: file.into(), then, now }),
        }
    }
}

impl Failure {
    /// The run as text, as it is in the file.
    pub fn replay(&self) -> String {
        self.replay.to_string()
    }
}

/// The report.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}\n\n{}", self.seed, self.verdict, self.timeline)?;
        let (tried, before, after) = self.tried;
        if tried > 0 {
            writeln!(f, "(the smallest of {} runs: {after} departures from the calm order, at first {before})", tried + 1)?;
        }
        match &self.file {
            Some(file) => {
                write!(f, "again: kernel.replay({:?}, test), or explore([{}], test)", file.display().to_string(), self.seed)
            }
            None => write!(f, "again: explore([{}], test); the file for a replay could not be written", self.seed),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Failed(failure) => write!(f, "{failure}"),
            ReplayError::Unreadable { file, source } => write!(f, "replay {}: {source}", file.display()),
            ReplayError::Damaged { file, what } => {
                write!(f, "replay {}: {what}; explore the seed again to write it anew", file.display())
            }
            ReplayError::OtherKernel { file, then, now } => write!(
                f,
                "replay {}: does not fit this kernel; explore again\n  written with: {then}\n  this one has: {now}",
                file.display()
            ),
            ReplayError::Departs { file, decision, expected, seen } => write!(
                f,
                "replay {}: does not fit this test: at decision {decision} there were {expected} alternatives, and are {seen} now; it \
                 has changed, so explore again",
                file.display()
            ),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReplayError::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}
