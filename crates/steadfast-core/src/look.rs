//! [`BackendLook`]: a look at one process that never shows another one; [`Facts`], what it sees.

use crate::{Pid, Result};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What is known of a process at one moment, all of it from one read (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is filled by backends; a new field is a new version of the boundary")]
pub struct Facts {
    /// The program's name: 15 bytes of its file's, or what the program has made of it (`PR_SET_NAME`).
    pub name: OsString,
    /// What it does.
    pub state: RunState,
    /// Its parent; `None`: a process that is not to be seen from here, or none.
    pub parent: Option<Pid>,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// How many threads it has.
    pub threads: u64,
    /// Its nice value, -20 to 19.
    pub nice: i64,
    /// When it was started, as time since the boot; in hundredths of a second.
    pub started: Duration,
    /// CPU time in user mode, of all its threads.
    pub user_time: Duration,
    /// CPU time in the kernel, of all its threads.
    pub system_time: Duration,
    /// Address space, in bytes.
    pub address_space: u64,
    /// Memory that is resident, in bytes; the kernel counts it in batches.
    pub resident: u64,
    /// Which of the programs that it has executed: it changes with each execve(2), and is 0 while it has none, as a zombie. `None`: this caller may not
    /// know.
    pub image: Option<u64>,
}

/// What a process does, by the letter that ps(1) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunState {
    /// `R`: it runs, or could.
    Running,
    /// `S`, `I`: it waits for something, and a signal would wake it.
    Sleeping,
    /// `D`: it waits for something that no signal interrupts.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by its tracer.
    Traced,
    /// `Z`: it has exited, and was not waited for.
    Zombie,
    /// `X`: it is about to be gone.
    Dead,
    /// Another letter.
    Other(char),
}

impl RunState {
    /// That of this letter.
    pub const fn from_letter(letter: char) -> RunState {
        match letter {
            'R' => RunState::Running,
            'S' | 'I' => RunState::Sleeping,
            'D' => RunState::Uninterruptible,
            'T' => RunState::Stopped,
            't' => RunState::Traced,
            'Z' => RunState::Zombie,
            'X' | 'x' => RunState::Dead,
            other => RunState::Other(other),
        }
    }
}

/// `running`, `sleeping`, `uninterruptible`, `stopped`, `traced`, `zombie`, `dead`, or the letter
impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunState::Running => f.pad("running"),
            RunState::Sleeping => f.pad("sleeping"),
            RunState::Uninterruptible => f.pad("uninterruptible"),
            RunState::Stopped => f.pad("stopped"),
            RunState::Traced => f.pad("traced"),
            RunState::Zombie => f.pad("zombie"),
            RunState::Dead => f.pad("dead"),
            RunState::Other(letter) => write!(f, "{letter}"),
        }
    }
}

/// A look at one process, as a backend has it.
///
/// # For users
/// This is what stands behind an `Inspection`.
///
/// # For authors
/// It is bound to one life of one process. When that has been reaped, every call fails with `ESRCH` ([`Error::System`](crate::Error::System)) or
/// [`Error::ProcessDone`](crate::Error::ProcessDone), whoever has the number then.
pub trait BackendLook: Send + Sync {
    /// What is known now.
    ///
    /// # Errors
    /// What the system says.
    fn facts(&self) -> Result<Facts>;

    /// The program's arguments, its name first; none of a zombie.
    ///
    /// # Errors
    /// What the system says.
    fn arguments(&self) -> Result<Vec<OsString>>;

    /// The PIDs of its children, zombies included, as far as this process sees them. Each may be another's by the time that it is used.
    ///
    /// # Errors
    /// What the system says.
    fn children(&self) -> Result<Vec<Pid>>;

    /// Its directory in `/proc`, if it has one.
    fn directory(&self) -> Option<BorrowedFd<'_>>;
}
