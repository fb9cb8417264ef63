//! [`Member`]: a process of a cell, found by a mark in its environment and held by a pidfd.
//!
//! Whoever a cell starts inherits the mark, whatever its group, its session, its parent or its cgroup. A number is opened first and looked at then;
//! so nobody else is ever touched.

use crate::stage::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The variable whose value tells the cell.
pub(crate) const MARK: &str = "STEADFAST_HAZARDS_CELL";

pub(crate) struct Member {
    /// The name of its program.
    pub(crate) role: String,
    pidfd: OwnedFd,
}

impl Member {
    fn has_ended(&self) -> bool {
        wait(&[self], Duration::ZERO)
    }
}

/// All that live, but for this process.
pub(crate) fn members(mark: &str) -> Result<Vec<Member>> {
    let sought = format!("{MARK}={mark}");
    let this = std::process::id().to_string();
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().filter(|name| *name != this).and_then(|name| name.parse().ok()) else { continue };
        let Some(pidfd) = Pid::from_raw(number).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { continue };
        // A zombie has neither.
        let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
        let program = fs::read_link(format!("/proc/{number}/exe")).unwrap_or_default();
        let role = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let member = Member { role, pidfd };
        // If it lives now, what was read was its own.
        if environment.split(|byte| *byte == 0).any(|word| word == sought.as_bytes()) && !member.has_ended() {
            members.push(member);
        }
    }
    Ok(members)
}

/// The roles of those that have not ended when the time is over; all may end sooner.
pub(crate) fn that_live_on(members: &[Member], patience: Duration) -> Vec<String> {
    let all: Vec<&Member> = members.iter().collect();
    wait(&all, patience);
    let mut roles: Vec<String> = all.iter().filter(|member| !member.has_ended()).map(|member| member.role.clone()).collect();
    roles.sort();
    roles
}

/// Kills all until there are none.
pub(crate) fn sweep(mark: &str) -> Result<()> {
    // Whoever starts others all the time is not among them; those that are just being started are found the next time.
    for _ in 0..100 {
        let found = members(mark)?;
        if found.is_empty() {
            return Ok(());
        }
        for member in &found {
            // It may have ended meanwhile.
            _ = pidfd_send_signal(&member.pidfd, Signal::KILL);
        }
        that_live_on(&found, Duration::from_secs(10));
    }
    Err(format!("what {mark} has started cannot be ended").into())
}

/// Until all have ended, for so long; whether they have.
fn wait(members: &[&Member], timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    let mut left = members.to_vec();
    loop {
        let mut fds: Vec<PollFd<'_>> = left.iter().map(|member| PollFd::new(&member.pidfd, PollFlags::IN)).collect();
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() };
        // Interrupted: once more.
        let ready = poll(&mut fds, Some(&rest));
        let has_ended: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ended = has_ended.iter();
        left.retain(|_| ready.is_err() || !ended.next().copied().unwrap_or_default());
        if left.is_empty() {
            return true;
        }
        if ready == Ok(0) {
            return false;
        }
    }
}
