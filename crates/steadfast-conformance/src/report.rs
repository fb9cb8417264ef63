//! Running the promises, and the [`Report`].

use crate::promise::{Outcome, Promise};
use crate::{Subject, changes, contract, jobs, limits, looks, names, races, sequences, starts, through, walls, watching};
use std::fmt;

/// The whole list, in the order of the contract.
pub fn promises() -> Vec<Promise> {
    [
        contract::PROMISES,
        starts::PROMISES,
        races::PROMISES,
        watching::PROMISES,
        changes::PROMISES,
        through::PROMISES,
        sequences::PROMISES,
        jobs::PROMISES,
        limits::PROMISES,
        looks::PROMISES,
        names::PROMISES,
        walls::PROMISES,
    ]
    .concat()
}

/// Tests the subject for the whole list.
pub fn run(subject: &Subject) -> Report {
    let outcomes = promises().iter().map(|promise| (promise.name, promise.check(subject))).collect();
    Report { backend: subject.name(), outcomes }
}

/// The results for the whole list. `Display` prints a line for each promise that was not kept, and a summary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The backend's name.
    pub backend: &'static str,
    /// Each promise's name and its result.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// The names of those that were broken.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The names of those that were not tested.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    fn names(&self, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.outcomes.iter().filter(|(_, outcome)| which(outcome)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.outcomes {
            match outcome {
                Outcome::Passed => {}
                Outcome::Skipped(reason) => writeln!(f, "skipped: {name}: because {reason}")?,
                Outcome::Failed(seen) => writeln!(f, "FAILED: {name}: {seen}")?,
            }
        }
        let (failed, skipped) = (self.failed().len(), self.skipped().len());
        let passed = self.outcomes.len() - failed - skipped;
        write!(f, "{}: {passed} kept, {failed} broken, {skipped} skipped", self.backend)
    }
}
