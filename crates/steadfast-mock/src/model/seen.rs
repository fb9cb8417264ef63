//! [`Seen`]: what happened in a machine, in small records that are still right when the processes are long gone.

use super::step::Stream;
use steadfast_core::{Errno, Signal};

/// A process as the records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) pid: i32,
    /// Of its program: an index into the host's names.
    pub(crate) name: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The program under test, by whoever makes the call.
    Caller,
    Process(Who),
    Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Spawns(Who),
    CannotSpawn(u32, Errno),
    Executes(Who),
    Signals(Signal, Who),
    KillsForMemory(Who),
    Handles(Signal),
    Stops(Signal),
    Continues,
    /// By a wait status.
    Ends(i32),
    /// All processes end at once.
    Reboots,
    HangsInExit,
    Reaps(Who),
    /// Reaped without anybody's wait, for the reason.
    GoesUnseen(&'static str),
    Adopts(Who),
    Group(i32),
    Session(i32),
    Writes(Stream, u32),
    Reads(u32),
    BrokenPipe,
}
