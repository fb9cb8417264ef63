//! Naming a process without a pidfd, and coming back to it by its name.
//!
//! A name outlives the files that are open, so all that it can hold is the start time, in ticks of 10 ms. Within one tick a number can be given away
//! twice; but who is seen alive when his tick is over is the last who can have started in it with his number. So naming waits for that moment, which
//! is 10 ms away at the most, and only from a new-born: after it a name is as exact as one with a pidfd. A name that was made otherwise, by a program
//! with pidfds that did not wait, is *Unknown* if the start times are the same, and *Gone* if they are not.
//!
//! Coming back, the file of `/proc/PID` is opened first, which belongs to one process and to no later one. What it says is compared, and the handle
//! goes by this file. No look is needed afterwards.

use crate::calls::SignalCall;
use crate::life::Life;
use crate::os::SystemClock;
use crate::start_time::{self, StartTime};
use std::time::Duration;
use steadfast_core::{Clock, Errno, Error, Evidence, Identity, Pid, Reopened, Result};
use steadfast_linux::{boot_time, here, start_times_are_not_told, tick_now};

const TICK: Duration = steadfast_core::StartTime::TICK;

/// Of a process that can be looked at by its file, or else by its number; `is_there` says whether it has not been reaped, and is asked last.
pub(crate) fn name(pid: Pid, life: Option<&Life>, is_there: impl Fn() -> Result<bool>) -> Result<Identity> {
    let here = here()?;
    may_tell(pid)?;
    let gone = || Error::on_process("read of /proc/PID/stat", pid, Errno::SRCH);
    let ticks = match life {
        Some(life) => life.start_time(pid)?.ok_or_else(gone)?,
        None => StartTime::read(pid)?,
    }
    .ticks();
    let now = when_over(pid, ticks)?;
    if !is_there()? {
        return Err(gone());
    }
    let evidence = Evidence::StartTime(steadfast_core::StartTime::seen(ticks, now));
    Ok(Identity::new(here.boot, here.namespace, pid, evidence))
}

/// A tick by which that one is over: waits for its end.
fn when_over(pid: Pid, ticks: u64) -> Result<u64> {
    let end = TICK * u32::try_from(ticks.saturating_add(1)).unwrap_or(u32::MAX);
    if end > boot_time() + TICK {
        // An emulator's, or one that counts otherwise.
        return Err(unknown(pid, "the one in /proc is in the future, so that it is of another clock"));
    }
    while tick_now() <= ticks {
        SystemClock.sleep_until(SystemClock.now() + end.saturating_sub(boot_time()));
    }
    Ok(tick_now())
}

fn may_tell(pid: Pid) -> Result<()> {
    start_times_are_not_told().map_or(Ok(()), |why| Err(unknown(pid, why)))
}

fn unknown(pid: Pid, why: &str) -> Error {
    Error::UnknownIdentity { pid, why: format!("there is no pidfd, and no start time: {why}") }
}

/// Of one that was reaped by the look that has seen its exit, and not waited for yet.
pub(crate) fn too_late(pid: Pid) -> Error {
    unknown(pid, "it has exited, and without waitid(2) a look at the exit takes it out of /proc: ask before it has exited")
}

/// The one that was named, held by its file.
pub(crate) fn reopen(identity: &Identity, signal_call: SignalCall) -> Reopened<Life> {
    let here = match here() {
        Ok(here) => here,
        Err(error) => return Reopened::Unknown(error),
    };
    if let Some(elsewhere) = identity.elsewhere(here.boot, here.namespace) {
        return elsewhere;
    }
    match compared(identity, signal_call) {
        Ok(reopened) => reopened,
        // The number is nobody's, or a thread's by now.
        Err(Error::ProcessDone { .. } | Error::ThreadId { .. }) => Reopened::Gone,
        Err(error) => Reopened::Unknown(error),
    }
}

fn compared(identity: &Identity, signal_call: SignalCall) -> Result<Reopened<Life>> {
    let pid = identity.pid();
    if !start_time::is_taken(pid) {
        return Ok(Reopened::Gone);
    }
    may_tell(pid)?;
    let life = Life::of(pid, signal_call)?;
    let Some(named) = identity.evidence().start_time() else {
        return Ok(
            identity.unknown("it has no start time, and without pidfds nothing else can be compared: take the pidfd backend")
        );
    };
    let Some(ticks) = life.start_time(pid)?.map(StartTime::ticks) else { return Ok(Reopened::Gone) };
    Ok(match named.is_same(steadfast_core::StartTime::seen(ticks, tick_now())) {
        Some(false) => Reopened::Gone,
        Some(true) => Reopened::Same { has_exited: life.has_exited(pid)?, process: life },
        None => identity.unknown(
            "it was named within 10 ms of its start, and the process that has its PID was started in the same 10 ms: \
             name it later, or take the pidfd backend",
        ),
    })
}
