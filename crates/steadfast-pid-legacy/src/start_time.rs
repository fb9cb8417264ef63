//! [`StartTime`], and what else `/proc/PID/stat` says. With the PID, a start time names a process until the next boot.

use std::fs;
use std::io;
use steadfast_core::{Errno, Error, Pid, Result};
use steadfast_linux::ProcStat;

/// When a process was started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Not wall-clock time,
/// which can be set. 100 ticks a second: two processes of one number within 10 ms look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct StartTime(u64);

impl StartTime {
    pub(crate) fn from_ticks(ticks: u64) -> StartTime {
        StartTime(ticks)
    }

    pub(crate) fn ticks(self) -> u64 {
        self.0
    }

    pub(crate) fn read(pid: Pid) -> Result<StartTime> {
        parse(&read(pid, "stat")?, pid).map(StartTime::of)
    }

    pub(crate) fn of(stat: ProcStat) -> StartTime {
        StartTime(stat.start_time())
    }
}

/// The text of the file, read.
pub(crate) fn parse(text: &[u8], pid: Pid) -> Result<ProcStat> {
    let strange = || Error::System {
        call: "read",
        subject: format!("/proc/{pid}/stat, which has not the fields of proc_pid_stat(5)"),
        source: Errno::INVAL,
    };
    ProcStat::parse(text).ok_or_else(strange)
}

/// Makes sure that the number is a process's and not a thread's.
pub(crate) fn check_leads(pid: Pid) -> Result<()> {
    let status = read(pid, "status")?;
    let status = String::from_utf8_lossy(&status);
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")).map(str::trim);
    if tgid.is_some_and(|tgid| tgid != pid.to_string()) { Err(Error::ThreadId { tid: pid }) } else { Ok(()) }
}

/// Whether it is stopped for its tracer (state `t`). If that cannot be read, it is not.
pub(crate) fn is_traced(pid: Pid) -> bool {
    read(pid, "stat").is_ok_and(|text| ProcStat::parse(&text).is_some_and(|stat| stat.state() == 't'))
}

/// Whether whoever has the number has run to the end, all of its threads. If that cannot be read, not.
pub(crate) fn has_exited(pid: Pid) -> bool {
    read(pid, "stat").is_ok_and(|text| ProcStat::parse(&text).is_some_and(ProcStat::has_exited))
}

fn read(pid: Pid, file: &str) -> Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/{file}")).map_err(|error| unreadable(pid, file, &error))
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
pub(crate) fn is_taken(pid: Pid) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.as_raw());
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
