//! Who was stopped goes on in the foreground of the terminal: a child, or a job for as long as its [`Foreground`] is kept.

use crate::terminal::Lent;
use crate::{Child, Job, System};
use std::os::fd::{AsFd, OwnedFd};
use steadfast_core::{Errno, Error, Pid, Plan, Result, Signal};
use steadfast_linux::{foreground_group, generation};

impl Child {
    /// Brings the group that it leads to the foreground of this terminal, and lets all that are stopped in it go on (`SIGCONT`), as a shell's `fg`. The
    /// terminal comes back when a wait through this `Child` has seen its exit or its next stop ([`wait_change`](Self::wait_change)), as after
    /// [`Command::foreground`](crate::Command::foreground).
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use steadfast::{Change, Command};
    /// let tty = File::options().read(true).write(true).open("/dev/tty")?;
    /// let mut editor = Command::new("vi").foreground(tty.try_clone()?).spawn()?;
    /// while let Change::Stopped(_) = editor.wait_change()? {              // Ctrl-Z
    ///     println!("really?");                                          // the terminal is this program's
    ///     editor.continue_in_foreground(tty.try_clone()?)?;
    /// #   break;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// For several processes in one group, a pipeline for example, use [`Job::continue_in_foreground`].
    ///
    /// # Errors
    /// [`Error::ProcessDone`], [`Error::Released`]; [`Error::NoGroup`] if it leads no group. [`Error::System`] of `tcsetpgrp`: `ENOTTY` if that is not
    /// the terminal of this session, `EPERM` if neither this process nor the child is in its foreground. [`Error::Unsupported`] in a simulation, which has
    /// no terminals. Then nothing is continued, and the terminal stays whose it is.
    pub fn continue_in_foreground(&mut self, terminal: impl Into<OwnedFd>) -> Result<()> {
        self.refuse_simulated()?;
        // Released, or Done: before the terminal is touched. A child that ends after this is a zombie, and its number its own.
        self.process().may_signal()?;
        let (terminal, pid) = (terminal.into(), self.pid());
        // It was stopped, and nobody has waited for that yet: it has the terminal still.
        let has_it = self.terminal().is_some() && foreground_group(terminal.as_fd()) == Ok(pid);
        if !has_it {
            let given = Lent::give(terminal, pid).map_err(|error| match error.errno() {
                // There is no group of this number in this session.
                Some(Errno::SRCH) => Error::NoGroup { pid },
                _ => error,
            })?;
            self.set_terminal(given);
        }
        let continued = self.process().signal_group(Signal::CONT);
        if continued.is_err() {
            self.bring_back();
        }
        continued
    }

    fn refuse_simulated(&self) -> Result<()> {
        refuse_simulated(&self.system())
    }
}

fn refuse_simulated(system: &System) -> Result<()> {
    if system.info().real {
        return Ok(());
    }
    let what = "a simulated process has no terminal: continue it by SIGCONT".into();
    Err(Error::Unsupported { backend: system.backend_name(), what })
}

impl Job {
    /// Brings its process group to the foreground of this terminal, and lets all members that are stopped go on (`SIGCONT`), as a shell's `fg`. The
    /// terminal comes back when what is returned is dropped.
    ///
    /// Call it before the first process is started in the job, and none of them is ever in the background; or for a job whose members have stopped.
    /// That they have stopped or ended, each tells by [`wait_change`](Child::wait_change). The example `shell` does it all.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use steadfast::{Change, Command, Containment, Job};
    /// let tty = File::options().read(true).write(true).open("/dev/tty")?;
    /// let job = Job::builder().containment(Containment::Group).build()?;
    /// let foreground = job.continue_in_foreground(tty.try_clone()?)?;
    /// let pager = Command::new("less").arg("README.md").spawn_in(&job)?;
    /// if let Change::Stopped(_) = pager.wait_change()? {                  // Ctrl-Z
    ///     drop(foreground);                                               // the terminal is this program's
    ///     let _foreground = job.continue_in_foreground(tty)?;
    ///     pager.wait()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is held together by something else than a process group, or simulated; [`Error::JobOver`] if it was killed.
    /// [`Error::System`] of `tcsetpgrp`: `ENOTTY` if that is not the terminal of this session, `EPERM` if this process is not in its foreground. What
    /// [`signal`](Job::signal) says. Then the terminal stays whose it is.
    pub fn continue_in_foreground(&self, terminal: impl Into<OwnedFd>) -> Result<Foreground> {
        refuse_simulated(&self.system())?;
        let lent = Lent::give(terminal.into(), self.group()?)?;
        let foreground = Foreground { lent, generation: generation() };
        self.signal(Signal::CONT)?;
        Ok(foreground)
    }

    /// The number of the group that its members join.
    fn group(&self) -> Result<Pid> {
        let nobody = Plan::builder("nobody").build()?;
        let (plan, on_birth) = self.as_core().membership().admit(&nobody)?;
        // Nobody is born of this.
        on_birth(None);
        let group = plan.attributes().process_group.and_then(|group| Pid::new(group).ok());
        group.ok_or_else(|| Error::Unsupported {
            backend: self.system().backend_name(),
            what: format!(
                "a foreground is a process group's, and this job is held together by {}: ask for Containment::Group",
                self.containment()
            ),
        })
    }
}

/// The foreground of a terminal, which a job has until this is dropped ([`Job::continue_in_foreground`]). Then this process has it again, if the job still
/// had it; in the child of a fork(2) nothing is done. It keeps the terminal open, and does not keep the job.
#[derive(Debug)]
#[must_use = "the terminal comes back at once when this is dropped"]
pub struct Foreground {
    lent: Lent,
    generation: u32,
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if self.generation == generation() {
            self.lent.bring_back();
        }
    }
}
