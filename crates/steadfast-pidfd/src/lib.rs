//! The pidfd backend: one descriptor per process, which the kernel never lets mean another one.
//!
//! | file | holds |
//! | --- | --- |
//! | `lib.rs` | [`PidfdBackend`]: spawn and find |
//! | `start.rs` | one on its way to its program |
//! | `process.rs` | one process: signal, wait, reap, all through its pidfd |
//! | `handle.rs` | the same as a backend's process |
//! | `change.rs` | stops and continuations |
//! | `naming.rs` | its name, and coming back to it |
//! | `reactor.rs` | exits that nobody waits for: children whose handles were dropped, and whoever wants to be called |
#![forbid(unsafe_code)]

mod change;
mod handle;
mod naming;
mod process;
mod reactor;
mod start;

use process::PidfdProcess;
use rustix::io::{FdFlags, fcntl_setfd};
use start::PidfdStart;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use steadfast_core::{
    BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, Errno, Error, FoundByFd, Identity, JobPlan, Pid, Plan,
    ProcessBackend, Reopened, Result, once_more,
};
use steadfast_linux::{Door, SystemClock, WantPidfd, Whose, all_pids, whose_pidfd};

/// Processes by pidfd: needs `pidfd_open` (Linux 5.3), `waitid(P_PIDFD)` (5.4), `pidfd_send_signal` (5.1) and
/// `clone(CLONE_PIDFD)` (5.2). The PID is for logs only; no call is made with it after the pidfd is there.
#[derive(Debug)]
pub struct PidfdBackend {
    door: Door,
}

impl PidfdBackend {
    /// A backend that makes children through `door`. Whether the kernel can do it is the probe's business.
    pub fn new(door: Door) -> PidfdBackend {
        PidfdBackend { door }
    }
}

impl ProcessBackend for PidfdBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo::new("pidfd").lends_handle().find_is_exact().tells_changes().real()
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn generation(&self) -> u32 {
        steadfast_linux::generation()
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        let start = || steadfast_linux::start(plan, WantPidfd::Yes, self.door);
        let start = once_more(Errno::AGAIN, reactor::reap_stranded, start)?;
        Ok(Box::new(PidfdStart { start, plan: plan.clone() }))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Ok(Arc::new(open(pid)?))
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        PidfdProcess::named(identity, open).map(|process| Arc::new(process) as Arc<dyn BackendProcess>)
    }

    fn list(&self) -> Result<Vec<Pid>> {
        all_pids().map_err(|source| Error::System { call: "read", subject: "/proc".into(), source })
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        match whose_pidfd(fd.as_fd())? {
            Whose::Gone(status) => Ok(FoundByFd::Gone { status }),
            Whose::Lives(pid) => {
                let failed =
                    |errno: rustix::io::Errno| Error::on_process("fcntl(F_SETFD)", pid, Errno::from_raw(errno.raw_os_error()));
                // As all of ours; whoever has received it may not have asked for that.
                fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(failed)?;
                Ok(FoundByFd::There { pid, process: Arc::new(PidfdProcess::found(pid, fd)) })
            }
        }
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        steadfast_linux::job(plan, WantPidfd::Yes)
    }
}

/// Takes hold of whoever has this number now.
fn open(pid: Pid) -> Result<PidfdProcess> {
    let pidfd: OwnedFd = steadfast_linux::pidfd_open(pid).map_err(|errno| match errno {
        Errno::SRCH => Error::ProcessDone { pid },
        // Since Linux 6.16.
        Errno::NOENT => Error::ThreadId { tid: pid },
        // Before that, both a thread and a process that is just being reaped (systemd#36982). The PID itself is valid, so
        // it can be nothing else.
        Errno::INVAL if leads_no_process(pid) => Error::ThreadId { tid: pid },
        Errno::INVAL => Error::ProcessDone { pid },
        errno => Error::on_process("pidfd_open", pid, errno),
    })?;
    Ok(PidfdProcess::found(pid, pidfd))
}

/// Whether `/proc` shows `tid` as a thread of another process (proc_pid_status(5), `Tgid`).
fn leads_no_process(tid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    tgid.is_some_and(|tgid| tgid.trim() != tid.to_string())
}
