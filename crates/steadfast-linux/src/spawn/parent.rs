//! A thread that is the parent of one child, and lives as long: for a child that is to die with this process.
//!
//! The kernel sends a parent-death signal (`PR_SET_PDEATHSIG`) when the *thread* ends that has made the child. So each such child has a thread of its
//! own, which sleeps until the child has ended. It is made by the thread that spawns, and has from it what the child is to have: user, groups,
//! capabilities, filters, namespaces, CPUs. Only the signal mask is its own, for no handler of the program's is to run there, and is handed to
//! the child beside it. At an exec of this process all threads but one end, and so it is sent then too.

use super::start::Start;
use super::{Door, WantPidfd, start_here};
use crate::clock::SystemClock;
use crate::kill::is_free;
use crate::raw;
use crate::thread::{spawn_large_thread, spawn_quiet_thread};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use steadfast_core::{Errno, Error, Pauses, Plan, Stage};

/// Between two looks, where there is no pidfd to wait for.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// As [`start`](super::start), on a thread of its own.
pub(super) fn start(plan: &Plan, want: WantPidfd, door: Door) -> Result<Start, Error> {
    let failed = |errno| Error::Spawn { program: plan.program().to_owned(), stage: Stage::Clone, source: errno };
    let mask = raw::signal_mask();
    let (tell, told) = sync_channel(1);
    let own = plan.clone();
    let has_hooks = !plan.attributes().hooks.is_empty();
    let work = move || {
        let started = start_here(&own, want, door, Some(mask));
        drop(own);
        let child = started.as_ref().map(|start| (start.pid(), start.watched())).ok();
        // Whoever has asked waits for it.
        _ = tell.send(started);
        match child {
            Some((_, Some(pidfd))) => wait_for(&pidfd),
            Some((pid, None)) => {
                let mut pauses = Pauses::new(SHORTEST, LONGEST);
                // If the number is another's by then, this thread sleeps a little longer, and does nothing to it.
                while !is_free(pid.as_raw()) {
                    pauses.sleep(&SystemClock, None);
                }
            }
            None => {}
        }
    };
    let name = "steadfast-parent";
    let begun = if has_hooks { spawn_large_thread(name, work) } else { spawn_quiet_thread(name, work) };
    begun.map_err(|error| failed(Errno::of(&error).unwrap_or(Errno::AGAIN)))?;
    // It is sent in any case, but if the thread panics.
    told.recv().unwrap_or_else(|_| Err(failed(Errno::IO)))
}

/// Until it is readable: the child has ended.
fn wait_for(pidfd: &OwnedFd) {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    while raw::poll(&mut poll, -1) != 1 {}
}
