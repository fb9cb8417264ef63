//! [`Verdict`]: what was wrong with a run.

use std::fmt;

/// Why a run ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// A thread of the test has panicked.
    Panic {
        /// Which.
        thread: String,
        /// What it said, and where.
        message: String,
    },
    /// The test was over, and children of the program under test were there that nobody had waited for.
    Leak {
        /// Each of them, and what it does.
        children: Vec<String>,
    },
    /// The test was over, and processes lived whose job was killed: they had left it; or whose owner was, and nobody watched over the job.
    Outlived {
        /// Each of them, and what it does.
        processes: Vec<String>,
    },
    /// A signal has reached a process that it was not meant for.
    Stranger {
        /// Who was meant and who was hit.
        hit: String,
    },
    /// All threads wait, and nothing can ever happen again.
    Deadlock {
        /// Who waits for what.
        waiting: Vec<String>,
    },
    /// It made so many calls that it will hardly ever end.
    Endless {
        /// How many.
        calls: u64,
    },
    /// It went wrong, and not when the same seed was run again: it takes something from outside of the simulation.
    Unsteady {
        /// What was wrong the first time.
        seen: String,
    },
    /// A command that was expected was not run, or not often enough.
    Unmet {
        /// Which, and how often it was run.
        expectations: Vec<String>,
    },
}

impl Verdict {
    /// Whether both are of one kind: the same thing went wrong, if not in the same words.
    pub(crate) fn is_like(&self, other: &Verdict) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Its kind in one word: `panic`, `leak`, `outlived`, `stranger`, `deadlock`, `endless`, `unsteady` or `unmet`.
    pub fn kind(&self) -> &'static str {
        match self {
            Verdict::Panic { .. } => "panic",
            Verdict::Leak { .. } => "leak",
            Verdict::Outlived { .. } => "outlived",
            Verdict::Stranger { .. } => "stranger",
            Verdict::Deadlock { .. } => "deadlock",
            Verdict::Endless { .. } => "endless",
            Verdict::Unsteady { .. } => "unsteady",
            Verdict::Unmet { .. } => "unmet",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, lines: &[String]| lines.iter().try_for_each(|line| write!(f, "\n  {line}"));
        match self {
            Verdict::Panic { thread, message } => write!(f, "panic: {thread} says: {message}"),
            Verdict::Leak { children } => {
                f.write_str("leak: at the end nobody has waited for")?;
                list(f, children)
            }
            Verdict::Outlived { processes } => {
                f.write_str("outlived: their job was killed, or its owner, and they live on:")?;
                list(f, processes)
            }
            Verdict::Stranger { hit } => write!(f, "stranger: {hit}"),
            Verdict::Deadlock { waiting } => {
                f.write_str("deadlock: nothing can ever happen again:")?;
                list(f, waiting)
            }
            Verdict::Endless { calls } => {
                write!(
                    f,
                    "endless: {calls} calls, and no end in sight: does it poll without sleeping, or for something that never comes?"
                )
            }
            Verdict::Unsteady { seen } => write!(
                f,
                "unsteady: the same seed has ended well when it was run again, so the test takes something from outside of the \
                 simulation, such as real time, the order of a hash map, or a thread that `sim.spawn` has not started. At first: {seen}"
            ),
            Verdict::Unmet { expectations } => {
                f.write_str("unmet: commands were expected and not run:")?;
                list(f, expectations)
            }
        }
    }
}
