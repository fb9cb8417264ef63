//! [`Host`]: who surrounds a machine: knows programs, decides what is left to chance, and is told what happened.

use super::ids::{Id, JobId, PipeId};
use super::seen::{Actor, Seen};
use super::step::Code;
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use steadfast_core::{Errno, Plan, Signal};

/// A call to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Making a process; a script's `spawn` too.
    Spawn,
    /// Taking hold of one, by its number or by its name.
    Find,
    /// Asking for its name, to be stored.
    Name,
    /// Sending a signal.
    Signal,
    /// Waiting for an exit, or looking for one.
    Wait,
    /// Reaping.
    Reap,
    /// Making a job; the program is the containment's name.
    Job,
    /// Reading what a process has written.
    Read,
    /// Writing what a process shall read.
    Write,
    /// The execution of what was spawned: it fails, or with [`delay`](crate::Fault::delay) it takes its time, and then the spawn takes as long.
    Exec,
    /// No call, but the end of a process: with [`delay`](crate::Fault::delay), it hangs in its exit before it becomes a zombie.
    Exit,
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck {
    pub(crate) errno: Errno,
    pub(crate) delay: Duration,
}

/// A process that is about to be gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub(crate) pid: i32,
    /// Its wait status.
    pub(crate) status: i32,
    /// How many pidfds the program under test has of it.
    pub(crate) handles: u32,
}

/// A run that begins.
pub(crate) struct Begins<'a> {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: u32,
    pub(crate) args: &'a [OsString],
    /// If the program under test has started it.
    pub(crate) plan: Option<&'a Plan>,
}

pub(crate) trait Host {
    /// This happened, at this time.
    fn see(&mut self, now: u64, actor: Actor, seen: Seen);
    /// Which of the events of one moment comes first: the one with the lowest.
    fn rank(&mut self) -> u8;
    /// Whether a call about a process of this program fails, or its exit takes its time.
    fn fails(&mut self, call: Call, name: u32) -> Option<Struck>;
    /// The number of a program's name, and the name of a number.
    fn intern(&mut self, program: &OsStr) -> u32;
    fn name(&self, name: u32) -> &OsStr;
    /// What a program does that the program under test starts, or why it cannot be executed.
    fn start(&mut self, name: u32, plan: &Plan) -> Result<Code, Errno>;
    /// The same of one that a simulated process starts.
    fn load(&mut self, name: u32, args: &[OsString]) -> Result<Code, Errno>;
    /// A program begins to run: the number of the run.
    fn begins(&mut self, run: Begins<'_>) -> u64;
    /// The process of this run is sent a signal, whatever comes of it; has ended, with this wait status.
    fn is_signalled(&mut self, run: u64, signal: Signal);
    fn has_ended(&mut self, run: u64, status: i32);
    /// Something has changed about a pipe.
    fn pipe_changed(&mut self, pipe: PipeId);
    /// What was spawned runs its program.
    fn has_executed(&mut self, id: Id);
    /// It has stopped, or goes on.
    fn has_changed(&mut self, id: Id);
    /// It has become a zombie: a child of the program under test's, or somebody else's.
    fn has_exited(&mut self, id: Id, is_child: bool);
    /// Nothing lives in the job any more.
    fn job_is_empty(&mut self, job: JobId);
    /// It is gone.
    fn is_gone(&mut self, id: Id, remains: Remains);
}
