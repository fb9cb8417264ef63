//! [`spawn_many`]: the starts of several commands, overlapped.

use super::Command;
use super::start::Starting;
use crate::{Child, System};
use std::collections::VecDeque;
use steadfast_core::Result;

/// So many are on their way at a time: while one waits for the disk or for its turn, others make use of the CPUs. More than this gained nothing
/// on 2 CPUs, and each takes a stack.
pub(crate) const AT_ONCE: usize = 16;

/// Starts all of them on the current system, and returns once each runs its program or has failed: the results in the order of the commands. The
/// starts overlap, so that this takes less time than one after the other.
///
/// ```
/// use steadfast::{Command, spawn_many};
/// let commands = ["true", "no-such-program", "false"].map(Command::new);
/// let children = spawn_many(&commands);
/// assert!(children[0].as_ref().is_ok_and(|child| child.wait().is_ok_and(|status| status.success())));
/// assert!(children[1].is_err());                                       // and that spoils none of the others
/// assert!(children[2].is_ok());
/// ```
///
/// Which of them comes to its program first is not said: who needs one before the other starts it before. If the system has no room for
/// another one (`EAGAIN`, `EMFILE`, `ENOMEM`), those that are on their way are waited for, and then it is tried again.
///
/// Each result is as of [`Command::spawn`]. In a task: `spawn_many` of the runtime's module.
pub fn spawn_many<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Vec<Result<Child>> {
    let system = System::current();
    let on = |command: &Command| system.clone().and_then(|system| command.start_with(&system, Default::default()));
    start_all(commands, on)
}

impl System {
    /// As [`spawn_many`], here, whatever is current.
    pub fn spawn_many<'a>(&self, commands: impl IntoIterator<Item = &'a Command>) -> Vec<Result<Child>> {
        start_all(commands, |command| command.start_with(self, Default::default()))
    }
}

fn start_all<'a>(
    commands: impl IntoIterator<Item = &'a Command>,
    start: impl Fn(&Command) -> Result<Starting>,
) -> Vec<Result<Child>> {
    let mut outcomes = Vec::new();
    let mut on_their_way: VecDeque<Result<Starting>> = VecDeque::new();
    let finish_first = |on_their_way: &mut VecDeque<Result<Starting>>, outcomes: &mut Vec<Result<Child>>| {
        let first = on_their_way.pop_front();
        outcomes.extend(first.map(|starting| starting.and_then(Starting::finish)));
    };
    for command in commands {
        if on_their_way.len() >= AT_ONCE {
            finish_first(&mut on_their_way, &mut outcomes);
        }
        let mut starting = start(command);
        while starting.as_ref().is_err_and(|error| error.is_of_the_moment()) && !on_their_way.is_empty() {
            finish_first(&mut on_their_way, &mut outcomes);
            starting = start(command);
        }
        on_their_way.push_back(starting);
    }
    while !on_their_way.is_empty() {
        finish_first(&mut on_their_way, &mut outcomes);
    }
    outcomes
}
