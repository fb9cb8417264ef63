//! [`Pipeline`]: the processes of one line, in one process group, and how each of them stands.

use crate::line::Line;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use steadfast::{Change, Child, Command, Containment, Error, ExitStatus, Job, Signal, SignalSet, Stdio};

pub(crate) struct Pipeline {
    pub(crate) number: usize,
    pub(crate) text: String,
    /// Their group: its number is the job's until it is dropped, whoever has ended. What has been started by the members is in it too.
    group: Job,
    members: Vec<Member>,
    /// What the user was last told.
    pub(crate) told: Stands,
}

struct Member {
    child: Child,
    stands: Stands,
}

/// How a process or a whole pipeline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    Runs,
    Stopped(Signal),
    Ended(ExitStatus),
}

impl Pipeline {
    /// Starts all its commands; in the foreground of the terminal, if there is one.
    pub(crate) fn start(number: usize, line: &Line, terminal: Option<File>) -> Result<(Pipeline, Foreground), Error> {
        let group = Job::builder().containment(Containment::Group).build()?;
        let mut pipeline = Pipeline { number, text: line.text.clone(), group, members: Vec::new(), told: Stands::Runs };
        // Before the first of them is born, or it could read from the terminal too early, and be stopped for it.
        let foreground = terminal.map(|terminal| pipeline.group.continue_in_foreground(terminal)).transpose()?;
        let last = line.commands.len() - 1;
        let mut stdin = Stdio::inherit();
        for (index, words) in line.commands.iter().enumerate() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).stdin(stdin).signal_mask(SignalSet::EMPTY);
            if index < last {
                command.stdout(Stdio::piped());
            }
            // If it fails, those before it end with their group.
            let mut child = command.spawn_in(&pipeline.group)?;
            stdin = child.stdout.take().map_or_else(Stdio::inherit, Stdio::from);
            pipeline.members.push(Member { child, stands: Stands::Runs });
        }
        Ok((pipeline, foreground))
    }

    /// Lets all of them go on that have stopped; in the foreground of the terminal, if there is one.
    pub(crate) fn go_on(&mut self, terminal: Option<File>) -> Result<Foreground, Error> {
        let foreground = match terminal {
            Some(terminal) => Some(self.group.continue_in_foreground(terminal)?),
            None => {
                self.group.signal(Signal::CONT)?;
                None
            }
        };
        for member in &mut self.members {
            if let Stands::Stopped(_) = member.stands {
                // What it is told of that comes with the next look.
                member.stands = Stands::Runs;
            }
        }
        Ok(foreground)
    }

    /// Waits until none of them runs: all have ended, or the rest of them has stopped.
    pub(crate) fn wait(&mut self) -> Result<Stands, Error> {
        loop {
            // One after the other, in any order: each is waited for.
            while let Some(member) = self.members.iter_mut().find(|member| member.stands == Stands::Runs) {
                let change = member.child.wait_change()?;
                member.see(change);
            }
            // While one was waited for, another may have been continued.
            let stands = self.look()?;
            if stands != Stands::Runs {
                return Ok(stands);
            }
        }
    }

    /// How it stands now.
    pub(crate) fn look(&mut self) -> Result<Stands, Error> {
        for member in &mut self.members {
            while let (false, Some(change)) = (member.has_ended(), member.child.try_wait_change()?) {
                member.see(change);
            }
        }
        let all = || self.members.iter().map(|member| member.stands);
        let stopped = all().find(|stands| matches!(stands, Stands::Stopped(_)));
        let last = all().next_back().unwrap_or(Stands::Runs);
        Ok(if all().any(|stands| stands == Stands::Runs) { Stands::Runs } else { stopped.unwrap_or(last) })
    }
}

/// The terminal is the pipeline's as long as this is there.
pub(crate) type Foreground = Option<steadfast::Foreground>;

impl Member {
    fn see(&mut self, change: Change) {
        self.stands = match change {
            Change::Stopped(signal) => Stands::Stopped(signal),
            Change::Continued => Stands::Runs,
            Change::Exited(status) => Stands::Ended(status),
        };
    }

    fn has_ended(&self) -> bool {
        matches!(self.stands, Stands::Ended(_))
    }
}

impl Stands {
    /// As a shell counts it: the code, or 128 and the signal.
    pub(crate) fn code(self) -> i32 {
        match self {
            Stands::Runs => 0,
            Stands::Stopped(signal) => 128 + signal.as_raw(),
            Stands::Ended(status) => status.code().unwrap_or(128 + status.signal().unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for Stands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stands::Runs => f.write_str("Running"),
            Stands::Stopped(signal) => write!(f, "Stopped ({signal})"),
            Stands::Ended(status) if status.success() => f.write_str("Done"),
            Stands::Ended(status) => write!(f, "Ended ({status})"),
        }
    }
}
