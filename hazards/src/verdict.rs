//! [`Verdict`]: what an answer is worth.

use crate::subject::{Answer, Refusal};
use serde::{Deserialize, Serialize};
use std::process::ExitStatus;
use std::time::Duration;

/// Whoever has not answered by then does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What a library made of a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The truth, and nobody else was touched.
    Safe,
    /// It says that it cannot tell or do it, and nobody else was touched.
    Error,
    /// It says what is not so; it never returns; it panics; it cannot go on after it; what it was to end lives on, and no call says so.
    WrongAnswer,
    /// A process was touched that it was not asked about.
    StrangerHit,
    /// Somebody else had what is this program's.
    Robbed,
    NotOffered,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    /// In a few words.
    pub(crate) note: String,
}

impl Seen {
    pub(crate) fn new(verdict: Verdict, note: impl Into<String>) -> Seen {
        Seen { verdict, note: note.into() }
    }
}

pub(crate) fn judge_status(answer: Answer<ExitStatus>, code: i32) -> Answer<Seen> {
    Ok(match answer {
        Ok(status) if status.code() == Some(code) => Seen::new(Verdict::Safe, "the true status"),
        Ok(status) => Seen::new(Verdict::WrongAnswer, status.to_string()),
        Err(Refusal::Error(error)) => Seen::new(Verdict::Error, error),
        Err(refusal) => return Err(refusal),
    })
}
