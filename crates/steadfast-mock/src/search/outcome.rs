//! [`Outcome`]: one run, and how it ended.

use crate::face::shared::Kernel;
use crate::order::chance::Choice;
use crate::order::verdict::Verdict;

/// One run, and how it ended.
pub(crate) struct Outcome {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) misfit: Option<(usize, Choice)>,
    pub(crate) kernel: Kernel,
    /// Of the trace.
    pub(crate) lines: u64,
    pub(crate) calls: u64,
}
