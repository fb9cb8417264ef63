//! [`Command::pty`]: a terminal for the child.

use super::Command;
use crate::pty::no_simulated_terminal;
use crate::{Pty, System};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use steadfast_core::{Attributes, Error, PlanStdio, Result, Stage};

impl Command {
    /// Gives it this terminal: it leads a new session (as with [`setsid`](Self::setsid)), whose controlling terminal it is, and it is its stdin, stdout and
    /// stderr where these would be this program's or `/dev/null`. A stream that was set stays as it was set; and the calls that read the output
    /// by pipes ([`output`](Self::output), [`capture`](Self::capture), [`lines`](Self::lines)) do that here too: [`Pty::capture`] reads the
    /// terminal.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::Duration;
    /// use steadfast::{Capture, Command, Pty};
    /// let pty = Pty::open()?;
    /// pty.echo(false)?;
    /// let child = Command::new("sh").args(["-c", "read name; echo hello, $name"]).pty(&pty).spawn()?;
    /// (&pty).write_all(b"world\n")?;
    /// let captured = pty.capture(&child, &Capture::new().timeout(Duration::from_secs(60)))?;
    /// assert_eq!(captured.stdout.to_vec(), b"hello, world\r\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The command can be started many times; a terminal has one session at a time (`EPERM` of `TIOCSCTTY` as long as another one has it). The
    /// child's end is opened for each start (`TIOCGPTPEER`, Linux 4.13; before, by its path in `/dev/pts`), and is closed here when the child
    /// runs its program, or has failed. The command does not keep the [`Pty`] open.
    ///
    /// [`Error::InvalidPlan`] once the [`Pty`] was dropped, and together with `setsid(false)`, [`process_group`](Self::process_group),
    /// [`controlling_terminal`](Self::controlling_terminal), [`foreground`](Self::foreground), [`detach_terminal`](Self::detach_terminal), a job by
    /// [`Group`](crate::Containment::Group), and for [`exec`](Self::exec); [`Error::Unsupported`] in a simulation.
    pub fn pty(&mut self, pty: &Pty) -> &mut Command {
        self.pty = Some(pty.link());
        self
    }

    /// The child's end of its terminal, if it is to have one.
    pub(super) fn open_terminal(&self, system: &System) -> Result<Option<Arc<OwnedFd>>> {
        let Some(pty) = &self.pty else { return Ok(None) };
        if let Some(why) = self.contradiction() {
            return Err(Error::InvalidPlan { program: self.program.clone(), why });
        }
        if !system.info().real {
            return Err(no_simulated_terminal(system.backend_name()));
        }
        let stage = Stage::Open { stream: "its terminal" };
        let Some(opened) = pty.open_other_end() else {
            let why = "pty: it was dropped, and has hung up: keep it for as long as the command is started".into();
            return Err(Error::InvalidPlan { program: self.program.clone(), why });
        };
        let opened = opened.map_err(|source| Error::Spawn { program: self.program.clone(), stage, source })?;
        Ok(Some(Arc::new(opened)))
    }

    /// What cannot be together with a terminal of its own. (Said here, where it has its name.)
    fn contradiction(&self) -> Option<String> {
        let none = Attributes::none();
        let a = self.attributes.as_deref().unwrap_or(none);
        [
            (self.declines_session, "setsid(false)", "only the leader of a new session gets a terminal"),
            (a.process_group.is_some(), "process_group", "a new session is led by a process that leads its own group"),
            (a.controlling_terminal.is_some(), "controlling_terminal", "a session has one terminal"),
            (a.foreground.is_some(), "foreground", "a new session is not in the foreground of another terminal"),
            (a.detach_terminal, "detach_terminal", "a new session has no terminal to give up"),
        ]
        .into_iter()
        .find(|(both, ..)| *both)
        .map(|(_, other, why)| format!("pty and {other}: {why}: drop one"))
    }

    /// The terminal in place of what would be this program's, or nothing.
    pub(super) fn or_terminal(stdio: PlanStdio, terminal: Option<&Arc<OwnedFd>>) -> PlanStdio {
        match (stdio, terminal) {
            (PlanStdio::Inherit | PlanStdio::Null, Some(terminal)) => PlanStdio::Fd(Arc::clone(terminal)),
            (stdio, _) => stdio,
        }
    }

    /// What it is to be, with its terminal, or detached.
    pub(super) fn attributes_with(&self, terminal: Option<Arc<OwnedFd>>) -> Option<Arc<Attributes>> {
        if terminal.is_none() && !self.is_detached() {
            return self.attributes.clone();
        }
        let own = self.attributes.as_deref().cloned().unwrap_or_default();
        let controlling_terminal = terminal.or_else(|| own.controlling_terminal.clone());
        Some(Arc::new(Attributes { setsid: true, close_fds: own.close_fds || own.detached, controlling_terminal, ..own }))
    }
}
