//! A job in a process group, whose number stays taken by a zombie of ours.
//!
//! A group's number is not given away while the group has a member, and so a kill of an *empty* group is what hits strangers. The leader is a child
//! that ends as soon as it leads the group, and is not waited for until the job is dropped: a zombie is a member. It has no exit signal, so
//! that neither a `waitpid(-1)` elsewhere in the program takes it, nor an ignored `SIGCHLD`; whoever asks with `__WALL` does, and then the job
//! says so before it signals anybody: a file in `/proc` is read that belongs to the child that it has made.

use super::looks;
use crate::clock::SystemClock;
use crate::file::errno_of;
use crate::fork::generation;
use crate::kill::kill_group;
use crate::look::all_pids;
use crate::quiet;
use crate::raw;
use crate::stack::Stack;
use crate::stat::lives;
use crate::wait::wait4_all;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{Attributes, BackendJob, Clock, Containment, Errno, Error, JobUsage, OnExit, Pid, Result, Signal};

pub(super) struct GroupJob {
    leader: Pid,
    /// Its file in `/proc`, which is that process's alone: it can be read until the process is reaped, and needs no further descriptor then.
    /// (waitid(2) would tell too, and a filter may make that fatal.) `None`: hidden (hidepid, proc(5)), and then its group is looked at by number.
    stat: Option<File>,
    generation: u32,
}

impl GroupJob {
    pub(super) fn new() -> Result<GroupJob> {
        // Or else nobody could say whether it is empty.
        let unreadable = |error: std::io::Error| {
            let errno = Errno::of(&error);
            let why = format!("open /proc: {error}: without it nobody can tell whether a group is empty");
            Error::NoContainment { containment: Containment::Group, why, errno }
        };
        std::fs::metadata("/proc/self").map_err(unreadable)?;
        let leader =
            make_leader().map_err(|source| Error::System { call: "clone", subject: "the leader of a group".into(), source })?;
        let stat = match File::open(format!("/proc/{leader}/stat")) {
            Err(error) if errno_of(&error).is_of_the_moment() => {
                _ = wait4_all(leader.as_raw());
                let subject = format!("process {leader}, the leader of a group");
                return Err(Error::System { call: "open /proc/PID/stat", subject, source: errno_of(&error) });
            }
            stat => stat.ok(),
        };
        Ok(GroupJob { leader, stat, generation: generation() })
    }

    /// Whether the number is the group's still: its leader is the zombie that we have made.
    fn is_taken(&self) -> bool {
        // In the child of a fork(2) it is the parent's child.
        self.generation == generation()
            && match &self.stat {
                // After the reap it is refused; gVisor goes on to answer, for a process 0.
                Some(stat) => {
                    let (mut text, begin) = ([0; 16], format!("{} (", self.leader));
                    stat.read_at(&mut text, 0).is_ok() && text.starts_with(begin.as_bytes())
                }
                None => leads(self.leader),
            }
    }

    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let subject = format!("process group {}", self.leader);
        move |source| Error::System { call, subject: subject.clone(), source }
    }

    fn living(&self) -> Result<Vec<Pid>> {
        living(self.leader).map_err(self.failed("read /proc for the members"))
    }
}

impl BackendJob for GroupJob {
    fn containment(&self) -> Containment {
        Containment::Group
    }

    fn lives_on(&self) -> Option<Error> {
        Some(Error::group_lives_on())
    }

    fn detach(&self) -> Result<()> {
        Ok(())
    }

    fn join(&self, attributes: &mut Attributes) -> Result<(), String> {
        attributes.join_group(self.leader.as_raw())
    }

    /// It does the same by itself, among its first steps; a kill that comes before that would miss it.
    fn born(&self, pid: Pid) {
        // Fails if it has executed its program (EACCES) or has ended, and then it has taken that step.
        _ = raw::call(libc::SYS_setpgid, [pid.as_raw().into(), self.leader.as_raw().into(), 0]);
    }

    fn adopt(&self, _: Pid) -> Result<()> {
        Err(Error::cannot_adopt(Containment::Group))
    }

    fn signal(&self, signal: Signal) -> Result<bool> {
        if !self.is_taken() {
            // Somebody has waited for what is ours, and the number may be a stranger's.
            return Err(self.failed("kill")(Errno::CHILD));
        }
        kill_group(self.leader, signal).map_err(self.failed("kill"))?;
        Ok(true)
    }

    fn freeze(&self, _: Option<Instant>) -> Result<bool> {
        Err(Error::cannot_freeze(Containment::Group))
    }

    fn thaw(&self) -> Result<()> {
        Err(Error::cannot_freeze(Containment::Group))
    }

    fn members(&self) -> Result<Vec<Pid>> {
        self.living()
    }

    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        // Twice: a list of processes is no picture of one moment. Who is started while it is read by one who ends before it is reached is on the
        // next.
        let is_empty = || Ok(self.living()?.is_empty() && self.living()?.is_empty());
        looks::wait_empty(is_empty, |time| SystemClock.sleep_until(SystemClock.now() + time), deadline)
    }

    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        looks::on_empty(Arc::clone(&self) as Arc<dyn BackendJob>, "steadfast-group", self.failed("a thread for"), tell)
    }

    fn usage(&self) -> Result<JobUsage> {
        // Nobody counts for a group.
        Ok(JobUsage::default())
    }
}

impl Drop for GroupJob {
    fn drop(&mut self) {
        if self.is_taken() {
            // It has ended, or is about to: this does not take long.
            _ = wait4_all(self.leader.as_raw());
        }
    }
}

/// A zombie that leads a group; or one that is about to be, which is as good.
fn make_leader() -> Result<Pid, Errno> {
    let stack = Stack::take()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    // SAFETY: the stack is ours alone and large enough; `lead` makes two calls and ends, and we go on when it has.
    let made = unsafe { quiet::child(flags, stack.top(), lead, std::ptr::null_mut()) };
    raw::set_signal_mask(mask);
    stack.keep();
    let leader = Pid::new(made?).map_err(|_| Errno::NOSYS)?;
    // Where the kernel does not suspend us (QEMU's user mode), it may not lead yet: whoever comes first, it does.
    _ = raw::call(libc::SYS_setpgid, [leader.as_raw().into(), leader.as_raw().into(), 0]);
    if leads(leader) {
        return Ok(leader);
    }
    // Some kernels tell nothing of a zombie.
    wait4_all(leader.as_raw()).and(Err(Errno::OPNOTSUPP))
}

/// Whether there is a process of this number, and it leads its group.
fn leads(pid: Pid) -> bool {
    raw::call(libc::SYS_getpgid, [pid.as_raw().into(), 0, 0]) == Ok(pid.as_raw().into())
}

extern "C" fn lead(_: *mut c_void) -> c_int {
    let led = raw::call(libc::SYS_setpgid, [0; 3]);
    raw::exit_now(c_int::from(led.is_err()))
}

/// Who is in a group and lives.
fn living(group: Pid) -> Result<Vec<Pid>, Errno> {
    // Cheaper than the file: it is asked of every process of the machine.
    let is_in = |pid: &Pid| raw::call(libc::SYS_getpgid, [pid.as_raw().into(), 0, 0]) == Ok(group.as_raw().into());
    // Its leader has ended, or is just about to.
    Ok(all_pids()?.into_iter().filter(|pid| *pid != group && is_in(pid) && lives(*pid)).collect())
}
