//! [`StartTime`] and [`Stat`]: what `/proc/PID/stat` says. With the PID, a start time names a process until the next boot.

use std::fs;
use std::io;
use steadfast_core::{Errno, Error, Pid, Result};

/// When a process was started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Not wall-clock time,
/// which can be set. 100 ticks a second: two processes of one number within 10 ms look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct StartTime(u64);

/// What is asked of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: char,
    parent: u32,
    threads: u64,
    start_time: StartTime,
}

impl StartTime {
    pub(crate) fn from_ticks(ticks: u64) -> StartTime {
        StartTime(ticks)
    }

    pub(crate) fn read(pid: Pid) -> Result<StartTime> {
        Stat::parse(&read(pid, "stat")?, pid).map(Stat::start_time)
    }
}

impl Stat {
    pub(crate) fn parse(text: &str, pid: Pid) -> Result<Stat> {
        let strange = || Error::System {
            call: "read",
            subject: format!("/proc/{pid}/stat, which has not the fields of proc_pid_stat(5)"),
            source: Errno::INVAL,
        };
        Stat::fields(text).ok_or_else(strange)
    }

    /// The second field, the program's name in parentheses, may have spaces and parentheses of its own: count from the last one.
    fn fields(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // Fields 4, 20 and 22.
        let parent = fields.next()?.parse().ok()?;
        let threads = fields.nth(15)?.parse().ok()?;
        let start_time = StartTime(fields.nth(1)?.parse().ok()?);
        Some(Stat { state, parent, threads, start_time })
    }

    pub(crate) fn start_time(self) -> StartTime {
        self.start_time
    }

    /// A zombie. The state is the first thread's alone, which may have ended before the others; they are counted with it. None are counted
    /// where that thread was just released, by another one that executes a program (execve(2)): then the process lives.
    pub(crate) fn has_exited(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads == 1
    }

    pub(crate) fn parent(self) -> u32 {
        self.parent
    }
}

/// Makes sure that the number is a process's and not a thread's.
pub(crate) fn check_leads(pid: Pid) -> Result<()> {
    let status = read(pid, "status")?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")).map(str::trim);
    if tgid.is_some_and(|tgid| tgid != pid.to_string()) { Err(Error::ThreadId { tid: pid }) } else { Ok(()) }
}

/// Whether it is stopped for its tracer (state `t`). If that cannot be read, it is not.
pub(crate) fn is_traced(pid: Pid) -> bool {
    read(pid, "stat").is_ok_and(|text| Stat::fields(&text).is_some_and(|stat| stat.state == 't'))
}

/// Whether whoever has the number has run to the end, all of its threads. If that cannot be read, not.
pub(crate) fn has_exited(pid: Pid) -> bool {
    read(pid, "stat").is_ok_and(|text| Stat::fields(&text).is_some_and(Stat::has_exited))
}

fn read(pid: Pid, file: &str) -> Result<String> {
    match fs::read(format!("/proc/{pid}/{file}")) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(unreadable(pid, file, &error)),
    }
}

/// What it means that a file of `/proc/PID` cannot be opened or read.
pub(crate) fn unreadable(pid: Pid, file: &str, error: &io::Error) -> Error {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    match errno {
        // ESRCH: it was reaped between the open and the read.
        Errno::SRCH => Error::ProcessDone { pid },
        // Whatever kept it from being read (no descriptors): nobody has the number.
        _ if !is_taken(pid) => Error::ProcessDone { pid },
        _ => Error::System {
            call: "open",
            subject: format!(
                "/proc/{pid}/{file}, which tells a process from a later one of its number (mount /proc, without hidepid)"
            ),
            source: errno,
        },
    }
}

/// Whether anybody has this number. Without `/proc`, or with one that hides processes (`hidepid`), a missing entry does not say.
fn is_taken(pid: Pid) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.as_raw());
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_named_like_the_end_of_the_field() {
        let stat = "42 (a) b) R) S 1 42 42 0 -1 4194560 91 0 0 0 0 0 0 0 20 0 3 0 777 2703360 236 18446744073709551615";
        assert_eq!(Stat::fields(stat), Some(Stat { state: 'S', parent: 1, threads: 3, start_time: StartTime(777) }));
        assert_eq!(Stat::fields("42 (sh) S 1"), None);
        assert_eq!(Stat::fields(""), None);
    }

    #[test]
    fn a_first_thread_that_has_ended_is_no_exit() {
        let stat = |state, threads| Stat { state, parent: 1, threads, start_time: StartTime(0) };
        assert!(stat('Z', 1).has_exited());
        assert!(!stat('Z', 2).has_exited() && !stat('S', 1).has_exited());
        // Released by the thread that executes a program in its place.
        assert!(!stat('X', 0).has_exited() && !stat('Z', 0).has_exited());
    }
}
