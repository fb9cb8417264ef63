//! [`ProcStat`]: what `/proc/PID/stat` says (proc_pid_stat(5)).

use std::str::SplitAsciiWhitespace;
use steadfast_core::{Errno, Pid};

/// What is asked of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat {
    state: char,
    parent: u32,
    threads: u64,
    start_time: u64,
}

impl ProcStat {
    /// Of a process that is there.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` if it is not, or is hidden; `EMFILE` and similar; `EIO` if the file has not the fields that it should have.
    pub fn of(pid: Pid) -> Result<ProcStat, Errno> {
        ProcStat::read(&format!("/proc/{pid}/stat"))
    }

    /// Of this one, also in the `/proc` of a PID namespace in which it has another number.
    pub(crate) fn of_this_process() -> Result<ProcStat, Errno> {
        ProcStat::read("/proc/self/stat")
    }

    fn read(path: &str) -> Result<ProcStat, Errno> {
        let text = std::fs::read(path).map_err(|error| Errno::of(&error).unwrap_or(Errno::IO))?;
        ProcStat::parse(&text).ok_or(Errno::IO)
    }

    /// From the file's text; `None` if it has not the fields that it should have.
    pub fn parse(text: &[u8]) -> Option<ProcStat> {
        let mut fields = behind_name(text)?;
        let state = fields.next()?.chars().next()?;
        // Fields 4, 20 and 22.
        let parent = fields.next()?.parse().ok()?;
        let threads = fields.nth(15)?.parse().ok()?;
        let start_time = fields.nth(1)?.parse().ok()?;
        Some(ProcStat { state, parent, threads, start_time })
    }

    /// Its state's letter, which is the first thread's alone.
    pub fn state(self) -> char {
        self.state
    }

    /// A zombie. The state is the first thread's alone, which may have ended before the others; they are counted with it. None are counted
    /// where that thread was just released, by another one that executes a program (execve(2)): then the process lives.
    pub fn has_exited(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads == 1
    }

    /// The PID of its parent.
    pub fn parent(self) -> u32 {
        self.parent
    }

    /// How many threads it has.
    pub fn threads(self) -> u64 {
        self.threads
    }

    /// When it was started, in ticks since the boot: 100 a second.
    pub fn start_time(self) -> u64 {
        self.start_time
    }
}

/// Whether a process lives that is not hidden.
pub(crate) fn lives(pid: Pid) -> bool {
    !ProcStat::of(pid).map_or_else(is_gone, ProcStat::has_exited)
}

/// Whether `/proc` says of a process that it is not there; or hides it (hidepid, proc(5)).
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}

/// The fields behind the second, the program's name in parentheses, which may have spaces, parentheses and any bytes of its own. The first of them
/// is the third.
pub(crate) fn behind_name(text: &[u8]) -> Option<SplitAsciiWhitespace<'_>> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_named_like_the_end_of_the_field() {
        let stat = b"42 (a) b) \xff R) S 1 42 42 0 -1 4194560 91 0 0 0 0 0 0 0 20 0 3 0 777 2703360 236 18446744073709551615";
        assert_eq!(ProcStat::parse(stat), Some(ProcStat { state: 'S', parent: 1, threads: 3, start_time: 777 }));
        assert_eq!(ProcStat::parse(b"42 (sh) S 1"), None);
        assert_eq!(ProcStat::parse(b""), None);
    }

    #[test]
    fn a_first_thread_that_has_ended_is_no_exit() {
        let stat = |state, threads| ProcStat { state, parent: 1, threads, start_time: 0 };
        assert!(stat('Z', 1).has_exited());
        assert!(!stat('Z', 2).has_exited() && !stat('S', 1).has_exited());
        // Released by the thread that executes a program in its place.
        assert!(!stat('X', 0).has_exited() && !stat('Z', 0).has_exited());
    }
}
