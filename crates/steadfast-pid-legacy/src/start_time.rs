//! [`StartTime`]: with the PID, it names a process until the next boot.

use std::fs;
use steadfast_core::{Errno, Error, Pid, Result};

/// When a process was started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Not wall-clock time,
/// which can be set. 100 ticks a second: two processes of one number within 10 ms look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct StartTime(u64);

impl StartTime {
    /// Reads it, and makes sure that the number is a process's and not a thread's.
    pub(crate) fn of(pid: Pid) -> Result<StartTime> {
        let status = read(pid, "status")?;
        let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")).map(str::trim);
        if tgid.is_some_and(|tgid| tgid != pid.to_string()) {
            return Err(Error::ThreadId { tid: pid });
        }
        StartTime::read(pid)
    }

    /// Whether the number still is that process's, a zombie's included.
    pub(crate) fn is_still_of(self, pid: Pid) -> Result<bool> {
        match StartTime::read(pid) {
            Ok(now) => Ok(now == self),
            Err(Error::ProcessDone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn from_ticks(ticks: u64) -> StartTime {
        StartTime(ticks)
    }

    pub(crate) fn read(pid: Pid) -> Result<StartTime> {
        let stat = read(pid, "stat")?;
        let unreadable = || Error::System {
            call: "read",
            subject: format!("/proc/{pid}/stat, whose 22nd field is no start time"),
            source: Errno::INVAL,
        };
        StartTime::parse(&stat).ok_or_else(unreadable)
    }

    /// The second field, the program's name in parentheses, may have spaces and parentheses of its own: count from the last one.
    fn parse(stat: &str) -> Option<StartTime> {
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(19)?.parse().ok().map(StartTime)
    }
}

/// Whether it is stopped for its tracer (state `t`). If that cannot be read, it is not.
pub(crate) fn is_traced(pid: Pid) -> bool {
    let stat = read(pid, "stat").unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('t'))
}

fn read(pid: Pid, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    let error = match fs::read(&path) {
        Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => error,
    };
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    match errno {
        // ESRCH: it was reaped between the open and the read.
        Errno::SRCH => Err(Error::ProcessDone { pid }),
        // Whatever kept it from being read (no descriptors): nobody has the number.
        _ if !is_taken(pid) => Err(Error::ProcessDone { pid }),
        _ => Err(Error::System {
            call: "open",
            subject: format!("{path}, which tells a found process from a later one of its number (mount /proc, without hidepid)"),
            source: errno,
        }),
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
        let stat = "42 (a) b) R) S 1 42 42 0 -1 4194560 91 0 0 0 0 0 0 0 20 0 1 0 777 2703360 236 18446744073709551615";
        assert_eq!(StartTime::parse(stat), Some(StartTime(777)));
        assert_eq!(StartTime::parse("42 (sh) S 1"), None);
        assert_eq!(StartTime::parse(""), None);
    }
}
