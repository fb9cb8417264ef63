//! [`Expect`]: which commands a test expects, how often, and what they do.

use super::run::Run;
use super::script::Script;
use regex_lite::Regex;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

/// A command that the test expects. By default it is expected at least once, and exits with 0.
///
/// Once a kernel has an expectation, a command of the program under test that matches none, and is not an installed program, fails the test with a
/// list of what was expected. If several match, the first one that may still be run gets the command.
///
/// ```
/// # mod steadfast { pub use steadfast_core::*; pub mod mock { pub use steadfast_mock::*; } }
/// use steadfast::mock::{Expect, Kernel, Script};
/// let kernel = Kernel::builder()
///     .expect(Expect::exact(["git", "status", "--short"]).times(1).does(Script::new().write_stdout(" M a.rs\n")))
///     .expect(Expect::prefix(["git", "push"]).at_most(3).does(Script::new().exit(1)))
///     .expect(Expect::pattern("^cargo (build|test)").any_times())
///     .expect(Expect::matching("rm with a path in /tmp", |run| run.program == "rm" && run.args.iter().all(|a| a == "/tmp")).never())
///     .build();
/// ```
#[derive(Clone)]
pub struct Expect {
    fits: Arc<dyn Fn(&Run) -> bool + Send + Sync>,
    words: String,
    at_least: u64,
    at_most: u64,
    script: Arc<dyn Fn(&Run) -> Script + Send + Sync>,
}

impl Expect {
    /// Matches by a closure. `words` describes the expectation in reports.
    pub fn matching(words: impl Into<String>, fits: impl Fn(&Run) -> bool + Send + Sync + 'static) -> Expect {
        let script = Arc::new(|_: &Run| Script::new());
        Expect { fits: Arc::new(fits), words: words.into(), at_least: 1, at_most: u64::MAX, script }
    }

    /// Matches this program with exactly these arguments.
    pub fn exact(words: impl IntoIterator<Item = impl Into<OsString>>) -> Expect {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        Expect::matching(format!("`{}`", line(&words)), move |run| run.words().eq(&words))
    }

    /// Matches this program with arguments that begin with these.
    pub fn prefix(words: impl IntoIterator<Item = impl Into<OsString>>) -> Expect {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        Expect::matching(format!("`{} …`", line(&words)), move |run| run.words().take(words.len()).eq(&words))
    }

    /// Matches a command line, its words joined by spaces, in which this regular expression is found.
    ///
    /// # Panics
    /// If it is not a valid regular expression.
    pub fn pattern(pattern: &str) -> Expect {
        let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("Expect::pattern({pattern:?}): {error}"));
        Expect::matching(format!("/{pattern}/"), move |run| regex.is_match(&run.command_line()))
    }

    /// Expects exactly this many runs.
    pub fn times(self, times: u64) -> Expect {
        Expect { at_least: times, at_most: times, ..self }
    }

    /// Expects at least this many runs.
    pub fn at_least(self, times: u64) -> Expect {
        Expect { at_least: times, at_most: u64::MAX, ..self }
    }

    /// Expects at most this many runs.
    pub fn at_most(self, times: u64) -> Expect {
        Expect { at_least: 0, at_most: times, ..self }
    }

    /// Expects any number of runs, including none.
    pub fn any_times(self) -> Expect {
        Expect { at_least: 0, at_most: u64::MAX, ..self }
    }

    /// Expects no run: a command that matches fails the test.
    pub fn never(self) -> Expect {
        self.times(0)
    }

    /// Sets what the command does.
    pub fn does(self, script: Script) -> Expect {
        self.does_with(move |_| script.clone())
    }

    /// Decides in each run what the command does; [`Run::number`] counts the runs of this expectation.
    pub fn does_with(self, script: impl Fn(&Run) -> Script + Send + Sync + 'static) -> Expect {
        Expect { script: Arc::new(script), ..self }
    }

    fn often(&self) -> String {
        match (self.at_least, self.at_most) {
            (0, 0) => "never".into(),
            (0, u64::MAX) => "any number of times".into(),
            (least, u64::MAX) => format!("at least {}", times(least)),
            (0, most) => format!("at most {}", times(most)),
            (least, most) if least == most => times(least),
            (least, most) => format!("{least} to {}", times(most)),
        }
    }
}

fn times(n: u64) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
}

fn line(words: &[OsString]) -> String {
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What is expected, and how often.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.words, self.often())
    }
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expect({self})")
    }
}

/// The expectations of a kernel, and how often each was met.
pub(crate) struct Expectations {
    list: Vec<(Expect, u64)>,
}

pub(crate) enum Answer {
    Does(Script),
    /// With the report.
    Unexpected(String),
}

impl Expectations {
    pub(crate) fn new(list: &[Expect]) -> Expectations {
        Expectations { list: list.iter().map(|expect| (expect.clone(), 0)).collect() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn answer(&mut self, run: &mut Run) -> Answer {
        let open = self.list.iter_mut().find(|(expect, met)| *met < expect.at_most && (expect.fits)(run));
        if let Some((expect, met)) = open {
            run.number = *met;
            *met += 1;
            return Answer::Does((expect.script)(run));
        }
        let used_up = self.list.iter().any(|(expect, _)| expect.at_most > 0 && (expect.fits)(run));
        let why = if used_up { "once more than expected" } else { "unexpected command" };
        let expected = self.list.iter().map(|(expect, met)| format!("\n  {expect}; so far {}", counted(*met)));
        Answer::Unexpected(format!("{why}: `{}`; expected were:{}", run.command_line(), expected.collect::<String>()))
    }

    /// Those that were not met.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let unmet = self.list.iter().filter(|(expect, met)| *met < expect.at_least);
        unmet.map(|(expect, met)| format!("{expect}; it was run {}", counted(*met))).collect()
    }
}

fn counted(n: u64) -> String {
    if n == 0 { "not at all".into() } else { times(n) }
}
