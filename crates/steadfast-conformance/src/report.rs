//! Running the promises, and the [`Report`].

use crate::{Subject, contract, races, sequences, watching};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One promise of the contract, with its name.
#[derive(Clone, Copy)]
pub struct Promise {
    /// What is promised; also the test's name.
    pub name: &'static str,
    skip: fn(&Subject) -> Skip,
    check: fn(&Subject),
}

/// Whether a promise is asked of a subject.
pub(crate) enum Skip {
    No,
    /// It cannot be arranged.
    Because(&'static str),
    /// The backend declares that it cannot keep it. It is asked all the same: if it is kept, the declaration is wrong.
    Unable(&'static str),
}

impl Skip {
    pub(crate) fn unless(able: bool, reason: &'static str) -> Skip {
        if able { Skip::No } else { Skip::Because(reason) }
    }

    pub(crate) fn unable_unless(able: bool, reason: &'static str) -> Skip {
        if able { Skip::No } else { Skip::Unable(reason) }
    }
}

pub(crate) const fn promise(name: &'static str, check: fn(&Subject)) -> Promise {
    Promise { name, skip: |_| Skip::No, check }
}

pub(crate) const fn promise_if(name: &'static str, skip: fn(&Subject) -> Skip, check: fn(&Subject)) -> Promise {
    Promise { name, skip, check }
}

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Outcome {
    /// Kept.
    Passed,
    /// Not asked, with the reason.
    Skipped(&'static str),
    /// Broken, with what was seen.
    Failed(String),
}

impl Promise {
    /// Holds the subject to it.
    pub fn check(&self, subject: &Subject) -> Outcome {
        let skip = (self.skip)(subject);
        if let Skip::Because(reason) = skip {
            return Outcome::Skipped(reason);
        }
        match (catch_unwind(AssertUnwindSafe(|| (self.check)(subject))), skip) {
            (Ok(()), Skip::Unable(reason)) => Outcome::Failed(format!("kept, although declared impossible: {reason}")),
            (Err(_), Skip::Unable(reason)) => Outcome::Skipped(reason),
            (Ok(()), _) => Outcome::Passed,
            (Err(panic), _) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Outcome::Failed(text.unwrap_or("a panic without words").to_owned())
            }
        }
    }
}

/// The whole list, in the order of the contract.
pub fn promises() -> Vec<Promise> {
    [contract::PROMISES, races::PROMISES, watching::PROMISES, sequences::PROMISES].concat()
}

/// Holds the subject to the whole list.
pub fn run(subject: &Subject) -> Report {
    let outcomes = promises().iter().map(|promise| (promise.name, promise.check(subject))).collect();
    Report { backend: subject.name(), outcomes }
}

/// What became of the whole list. `Display` prints a line for each that was not kept, and a summary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The backend's name.
    pub backend: &'static str,
    /// Each promise's name and what became of it.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// The names of those that were broken.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The names of those that were not asked.
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
