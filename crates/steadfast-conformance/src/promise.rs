//! [`Promise`]: one line of the contract, and the result of testing it.

use crate::Subject;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One promise of the contract, with its name.
#[derive(Clone, Copy)]
pub struct Promise {
    /// What is promised; this is also the test's name.
    pub name: &'static str,
    skip: fn(&Subject) -> Skip,
    check: fn(&Subject),
}

/// Whether a subject is tested for a promise.
pub(crate) enum Skip {
    No,
    /// What the test needs cannot be arranged.
    Because(&'static str),
    /// The backend declares that it cannot keep it. It is tested all the same: if it is kept, the declaration is wrong.
    Unable(&'static str),
}

impl Skip {
    pub(crate) fn unless(able: bool, reason: &'static str) -> Skip {
        if able { Skip::No } else { Skip::Because(reason) }
    }

    /// The first of two reasons.
    pub(crate) fn or(self, other: impl FnOnce() -> Skip) -> Skip {
        match self {
            Skip::No => other(),
            skip => skip,
        }
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

/// The result for a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Outcome {
    /// Kept.
    Passed,
    /// Not tested, with the reason.
    Skipped(&'static str),
    /// Broken, with what was seen.
    Failed(String),
}

impl Promise {
    /// Tests the subject for it.
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
