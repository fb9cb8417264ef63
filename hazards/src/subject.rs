//! What the hazards ask of a library: to start, find, signal and wait for a process; to start a tree of them and to end it.

use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// What is to be started. Its stdout and stderr go nowhere.
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<&'static str>,
    pub(crate) stdin: Stdin,
    /// As the leader of a process group of its own.
    pub(crate) leads_group: bool,
    /// As this user, and the group of the same number.
    pub(crate) user: Option<u32>,
}

pub(crate) enum Stdin {
    Null,
    /// This one.
    Given(OwnedFd),
    /// A pipe that the library makes and keeps.
    Piped,
}

impl From<Stdin> for Stdio {
    fn from(stdin: Stdin) -> Stdio {
        match stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Given(fd) => Stdio::from(fd),
            Stdin::Piped => Stdio::piped(),
        }
    }
}

impl Order {
    pub(crate) fn new(program: impl AsRef<Path>) -> Order {
        Order { program: program.as_ref().to_owned(), args: Vec::new(), stdin: Stdin::Null, leads_group: false, user: None }
    }

    pub(crate) fn for_std(self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(self.stdin).stdout(Stdio::null()).stderr(Stdio::null());
        if self.leads_group {
            command.process_group(0);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// A process, as a library holds it.
pub(crate) trait Subject {
    fn pid(&self) -> i32;
    fn kill(&mut self) -> Answer<()>;
    fn kill_group(&mut self) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn wait(&mut self) -> Answer<ExitStatus>;
    /// For the end of its code, be it reaped or not; `None` where its status is not known.
    fn wait_exited(&mut self) -> Answer<Option<ExitStatus>> {
        self.wait().map(Some)
    }
    /// In bytes, of a process that was waited for.
    fn peak_memory(&self) -> Answer<steadfast::MaxRss> {
        Err(Refusal::NotOffered)
    }
    fn wait_timeout(&mut self, _: Duration) -> Answer<Option<ExitStatus>> {
        Err(Refusal::NotOffered)
    }
}

/// A process and all that it starts, as a library holds them.
pub(crate) trait Tree {
    /// Of the process that was started.
    fn pid(&self) -> i32;
    /// For that process, and for so long: whether it has ended.
    fn wait_timeout(&mut self, timeout: Duration) -> Answer<bool>;
    /// Kills all, in the strongest way that is offered.
    fn kill(&mut self) -> Answer<()>;
    fn bond(&self) -> Bond;
}

/// What a tree is held together by, and what the library tells the program of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Bond {
    pub(crate) by: String,
    /// In its own words: that members can leave.
    pub(crate) leaks: Option<String>,
    /// In its own words: that members outlive their owner.
    pub(crate) outlives: Option<String>,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

#[derive(Debug)]
pub(crate) enum Refusal {
    NotOffered,
    Error(String),
    /// Nothing was asked.
    Stage(String),
}

impl<E: Display> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Error(error.to_string())
    }
}

pub(crate) fn boxed(subject: impl Subject + 'static) -> Answer<Box<dyn Subject>> {
    Ok(Box::new(subject))
}
