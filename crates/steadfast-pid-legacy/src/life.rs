//! [`Life`]: one life of a number, held by open files of `/proc/PID`.
//!
//! Such a file belongs to the process for which it was opened. Once that has been reaped, every read says `ESRCH`, whoever has the number by
//! then; and a read asks nobody for permission, so that `hidepid` and a change of user hide nothing from who has it open.
//! So it tells two lives of a number apart for certain, which start times, of 10 ms, do not.

use crate::os::{SignalCall, pidfd_may_signal, pidfd_send_signal, pidfd_send_value, pidfd_signal_group};
use crate::start_time::{self, StartTime};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use steadfast_core::{Errno, Error, Pid, Result, Signal};
use steadfast_linux::ProcStat;
use steadfast_linux::leaves_room;

#[derive(Debug)]
pub(crate) struct Life {
    stat: File,
    /// The directory, which `pidfd_send_signal` takes for a pidfd, where that call works: then a signal cannot hit anybody else.
    dir: Option<File>,
}

impl Life {
    /// Of the process that has this number now; makes sure that it is a process's and not a thread's.
    pub(crate) fn of(pid: Pid, signal_call: SignalCall) -> Result<Life> {
        let open = |file: &str| File::open(format!("/proc/{pid}{file}"));
        let stat = open("/stat").map_err(|error| start_time::unreadable(pid, "stat", &error))?;
        start_time::check_leads(pid)?;
        let dir = match signal_call {
            SignalCall::Kill => None,
            SignalCall::PidfdSendSignal => Some(open("").map_err(|error| start_time::unreadable(pid, "", &error))?),
        };
        let life = Life { stat, dir };
        // As long as this one lives all the rest was its own too.
        if life.goes_on(pid)? { Ok(life) } else { Err(Error::ProcessDone { pid }) }
    }

    /// Of a child that has just been born; `None` if it cannot be held: no descriptor, no `/proc`, or somebody else has reaped it.
    pub(crate) fn of_child(pid: Pid) -> Option<Life> {
        File::open(format!("/proc/{pid}/stat")).ok().map(|stat| Life { stat, dir: None })
    }

    /// Whether it may be kept for as long as a child lives, or the program needs its descriptor more.
    pub(crate) fn may_stay(&self) -> bool {
        leaves_room(self.stat.as_fd())
    }

    /// What it says of itself, if it is there.
    pub(crate) fn stat(&self, pid: Pid) -> Option<ProcStat> {
        self.read(pid).ok().flatten()
    }

    /// When it was started; `None` once it has been reaped.
    pub(crate) fn start_time(&self, pid: Pid) -> Result<Option<StartTime>> {
        self.read(pid).map(|stat| stat.map(StartTime::of))
    }

    /// Whether this program is its parent, and not just its tracer (ptrace(2)), to whom it counts as a child as well. In doubt not.
    pub(crate) fn is_child_of_ours(&self, pid: Pid) -> bool {
        self.stat(pid).is_some_and(|stat| stat.parent() == std::process::id())
    }

    /// Whether it has not been reaped.
    pub(crate) fn goes_on(&self, pid: Pid) -> Result<bool> {
        self.read(pid).map(|stat| stat.is_some())
    }

    /// Whether it has run to its end, all of its threads, or is gone.
    pub(crate) fn has_exited(&self, pid: Pid) -> Result<bool> {
        self.read(pid).map(|stat| stat.is_none_or(|stat| stat.has_exited()))
    }

    /// As `kill(2)`, but to this one or nobody; `None`: only by its number.
    pub(crate) fn signal(&self, signal: Signal) -> Option<Result<(), Errno>> {
        self.dir.as_ref().map(|dir| pidfd_send_signal(dir.as_fd(), signal))
    }

    /// The same with a value.
    pub(crate) fn signal_value(&self, signal: Signal, value: i32) -> Option<Result<(), Errno>> {
        self.dir.as_ref().map(|dir| pidfd_send_value(dir.as_fd(), signal, value))
    }

    /// The same with signal 0.
    pub(crate) fn may_signal(&self) -> Option<Result<bool, Errno>> {
        self.dir.as_ref().map(|dir| pidfd_may_signal(dir.as_fd()))
    }

    /// The same to the group that it leads, where the kernel can (Linux 6.9).
    pub(crate) fn signal_group(&self, signal: Signal) -> Option<Result<(), Errno>> {
        let answer = pidfd_signal_group(self.dir.as_ref()?.as_fd(), signal);
        (answer != Err(Errno::INVAL)).then_some(answer)
    }

    fn read(&self, pid: Pid) -> Result<Option<ProcStat>> {
        // It is longer, but the fields that count are not so far back.
        let mut text = [0; 512];
        match self.stat.read_at(&mut text, 0) {
            // gVisor goes on to answer, for a process that is nobody's any more.
            Ok(_) if text.starts_with(b"0 (") => Ok(None),
            Ok(length) => start_time::parse(text.get(..length).unwrap_or_default(), pid).map(Some),
            Err(error) if errno(&error) == Errno::SRCH => Ok(None),
            Err(error) => Err(start_time::unreadable(pid, "stat", &error)),
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
