//! The PID backend, for kernels and sandboxes without pidfds: plain PIDs, with the races closed by order.
//!
//! **For a child of ours** the number cannot be recycled before it is reaped, and `steadfast_core::Process` reaps only when no
//! call with it is in progress. So a handle is as safe here as with a pidfd, unless other code in the program reaps our children
//! (`waitpid(-1)`, `SIGCHLD` ignored): then the number is free while we believe it ours. So it is asked before each call whether the
//! number still is a child's (`waitid`), and whether that is the one that was born.
//!
//! **What tells one life of a number from the next** is a file of `/proc/PID`, opened when a child is born or a process is found: it belongs to
//! that process and to no later one, and all says `ProcessDone` when it does. It takes a descriptor for each handle, or two for one that was found.
//! A child for which there is none left is told from a later one by its start time, which has steps of 10 ms.
//!
//! One window stays open, for a child only if other code reaps it: between the look and the `kill(2)` behind it, some
//! microseconds, the process may end, be reaped, and its number be handed out again. Where `pidfd_send_signal` works on a directory
//! of `/proc` (since Linux 5.1; it may be that only `pidfd_open` is missing, or filtered) a found process has no such window: the
//! kernel itself knows whom the directory means.
//!
//! | file | holds |
//! | --- | --- |
//! | `lib.rs` | [`PidLegacyBackend`]: spawn and find |
//! | `start.rs` | one on its way to its program |
//! | `process.rs` | one process: signal, wait, reap |
//! | `change.rs` | the same: stops and continuations |
//! | `watch.rs` | waiting with a timeout: a thread per waited process |
//! | `collect.rs`, `siblings.rs` | waiting where `waitid` is filtered; what handles of one process share there |
//! | `life.rs` | one life of a number, as `/proc` holds it |
//! | `start_time.rs`, `birth.rs` | what `/proc` says of a number; whether it can be the child that was born |
//! | `naming.rs` | its name, and coming back to it |
//! | `orphans.rs` | children whose handles were dropped |
//! | `calls.rs` | which calls it waits and signals by |
//! | `os.rs` | what a model of the system can be put in place of |
#![forbid(unsafe_code)]

mod birth;
mod calls;
mod collect;
mod life;
mod naming;
mod orphans;
mod os;
mod process;
mod siblings;
mod start;
mod start_time;
mod watch;

pub use calls::{SignalCall, WaitCall};

use life::Life;
use process::{LegacyProcess, Mark};
use siblings::Sibling;
use start::LegacyStart;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use steadfast_core::{
    BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, Errno, Error, FoundByFd, Identity, JobPlan, Pid, Plan,
    ProcessBackend, Reopened, Result, once_more,
};
use steadfast_linux::{Door, SystemClock, WantPidfd, all_pids};

/// Processes by PID: works on every Linux.
#[derive(Debug)]
pub struct PidLegacyBackend {
    door: Door,
    wait_call: WaitCall,
    signal_call: SignalCall,
}

impl PidLegacyBackend {
    /// A backend that makes children through `door`, waits by `wait_call` and signals by `signal_call`; the probe knows which of them work.
    pub fn new(door: Door, wait_call: WaitCall, signal_call: SignalCall) -> PidLegacyBackend {
        PidLegacyBackend { door, wait_call, signal_call }
    }
}

impl PidLegacyBackend {
    /// Whom a handle is known of, where all handles of one process share what one has seen.
    fn known(&self, pid: Pid) -> Option<Arc<dyn Sibling>> {
        match self.wait_call {
            WaitCall::Waitid => None,
            WaitCall::Wait4 => siblings::find(pid),
        }
    }

    fn found(&self, pid: Pid, life: Life) -> Arc<dyn BackendProcess> {
        LegacyProcess::held(pid, Mark::Found(life), self.wait_call)
    }
}

impl ProcessBackend for PidLegacyBackend {
    fn info(&self) -> BackendInfo {
        let info = BackendInfo::new("pid-legacy").real();
        match self.wait_call {
            WaitCall::Waitid => info.tells_changes(),
            WaitCall::Wait4 => info,
        }
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn generation(&self) -> u32 {
        steadfast_linux::generation()
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        if plan.create_pidfd() {
            let what = "a pidfd was asked for, and it has none: take the pidfd backend, or drop the wish".into();
            return Err(Error::Unsupported { backend: self.info().name, what });
        }
        let earliest = birth::now();
        let start = || steadfast_linux::start(plan, WantPidfd::No, self.door);
        let start = once_more(Errno::AGAIN, orphans::reap_stranded, start)?;
        Ok(Box::new(LegacyStart::new(start, earliest, self.wait_call)))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        match self.known(pid) {
            Some(known) => Ok(known.into_backend()),
            None => Ok(self.found(pid, Life::of(pid, self.signal_call)?)),
        }
    }

    fn list(&self) -> Result<Vec<Pid>> {
        all_pids().map_err(|source| Error::System { call: "read", subject: "/proc".into(), source })
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        let what = "it has no pidfds, and what it would find by the PID of one may be another process: take the pidfd backend";
        Err(Error::Unsupported { backend: self.info().name, what: what.into() })
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        let pid = identity.pid();
        naming::reopen(identity, self.signal_call).map(|life| match self.known(pid) {
            // If the number is still its own, whoever was known by it is the same one.
            Some(known) if matches!(life.goes_on(pid), Ok(true)) => known.into_backend(),
            _ => self.found(pid, life),
        })
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        steadfast_linux::job(plan, WantPidfd::No)
    }
}
