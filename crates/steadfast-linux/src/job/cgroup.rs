//! A job in a cgroup of version 2: its processes are born there, one write kills them, and one line says whether any lives.
//!
//! A cgroup that was killed is never used again: before Linux 7.3 whoever is born into it later is killed too (measured on 6.1 and 6.18; mended
//! upstream in 2026-08).

use super::dirs::{DIRECTORY, directories};
use super::events::{Line, says, value};
use super::place::Leaf;
use super::watch;
use crate::clock::{SystemClock, timespec};
use crate::file::{errno, open_at, read_at, write_at};
use crate::fork::generation;
use crate::spawn::{WantPidfd, may_run_out};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use steadfast_core::{
    Attributes, BackendJob, Clock, Containment, Errno, Error, JobLimit, JobPlan, JobUsage, OnExit, Pauses, Pid, Result, Signal,
    contain,
};

/// Between two looks, where there is no descriptor left to poll.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// For the freezer, while a job is detached.
const FREEZING: Duration = Duration::from_secs(1);
/// How often members are listed then: those that cannot be frozen may have children meanwhile.
const MOVES: usize = 64;

pub(super) struct CgroupJob {
    /// `None` once it is handed over to the background.
    leaf: Option<Leaf>,
    /// Where its members are, or are about to be, since it was detached.
    next: OnceLock<Leaf>,
    /// Whether there is `cgroup.kill`, since Linux 5.14.
    kills: bool,
    /// Whether members may be killed for want of memory while we are not.
    may_run_out: bool,
    generation: u32,
}

impl CgroupJob {
    pub(super) fn new(plan: &JobPlan, want: WantPidfd) -> Result<CgroupJob> {
        let leaf = Leaf::new(plan.parent.as_deref(), plan.dies_with_us.then_some(want), plan.limits)?;
        // What limits our own cgroup is ours to suffer. What limits one that was named need not be.
        let may_run_out = leaf.account.limits_memory() || (plan.parent.is_some() && may_run_out(leaf.dir.as_fd()));
        let kills = leaf.has("cgroup.kill");
        Ok(CgroupJob { kills, leaf: Some(leaf), next: OnceLock::new(), may_run_out, generation: generation() })
    }

    fn leaf(&self) -> &Leaf {
        match &self.leaf {
            Some(leaf) => leaf,
            None => unreachable!("it is taken at the drop alone"),
        }
    }

    fn failed(&self, call: &'static str, file: &str) -> impl Fn(Errno) -> Error {
        let subject = self.leaf().path().join(file).display().to_string();
        move |source| Error::System { call, subject: subject.clone(), source }
    }

    fn read(&self, file: &str) -> Result<String> {
        read_at(&self.leaf().dir, file).map_err(self.failed("read", file))
    }

    fn write(&self, file: &str, text: &[u8]) -> Result<(), Errno> {
        write_at(&self.leaf().dir, file, text)
    }

    /// What was refused is given back, with the reason.
    fn tell_when_empty(self: &Arc<Self>, leaf: &Leaf, tell: OnExit) -> Result<(), Box<(OnExit, Error)>> {
        let looked = leaf.open_events().map_err(self.failed("open", "cgroup.events")).and_then(|events| {
            let is_empty = says(events.as_fd(), Line::Empty).map_err(self.failed("read", "cgroup.events"))?;
            Ok((events, is_empty))
        });
        match looked {
            Ok((_, true)) => contain(tell),
            Ok((events, false)) => {
                let watched = watch::tell(events, tell, Arc::clone(self) as Arc<dyn BackendJob>);
                watched.map_err(|(tell, errno)| Box::new((tell, self.failed("watch", "cgroup.events")(errno))))?;
            }
            Err(error) => return Err(Box::new((tell, error))),
        }
        Ok(())
    }

    fn move_to(&self, next: &Leaf) -> Result<()> {
        let failed =
            |source| Error::System { call: "write", subject: next.path().join("cgroup.procs").display().to_string(), source };
        for _ in 0..MOVES {
            let members = self.members()?;
            if members.is_empty() {
                return Ok(());
            }
            for member in members {
                match write_at(&next.dir, "cgroup.procs", member.to_string().as_bytes()) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        Err(failed(Errno::AGAIN))
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let written = self.write("cgroup.freeze", if frozen { b"1" } else { b"0" });
        written.map_err(|errno| match errno {
            Errno::NOENT => {
                let what = "a cgroup can be frozen since Linux 5.2, which this one is not: send SIGSTOP and SIGCONT".into();
                Error::Unsupported { backend: "cgroup", what }
            }
            errno => self.failed("write", "cgroup.freeze")(errno),
        })
    }

    /// Waits until `cgroup.events` says this.
    fn wait_for(&self, leaf: &Leaf, line: Line, deadline: Option<Instant>) -> Result<bool> {
        if says(leaf.events.as_fd(), line).map_err(self.failed("read", "cgroup.events"))? {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| deadline <= SystemClock.now()) {
            return Ok(false);
        }
        // What was read through a descriptor is news to nobody else who polls it: so one of our own.
        let own = leaf.open_events();
        let mut pauses = Pauses::new(SHORTEST, LONGEST);
        loop {
            let events = own.as_ref().map_or(leaf.events.as_fd(), OwnedFd::as_fd);
            if says(events, line).map_err(self.failed("read", "cgroup.events"))? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(SystemClock.now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            match &own {
                Ok(events) => wait_for_change(events, left).map_err(self.failed("poll", "cgroup.events"))?,
                // No descriptor is left: the one that is kept can be read.
                Err(_) => pauses.sleep(&SystemClock, deadline),
            }
        }
    }
}

impl BackendJob for CgroupJob {
    fn containment(&self) -> Containment {
        Containment::Cgroup
    }

    fn lives_on(&self) -> Option<Error> {
        self.leaf().lives_on().cloned()
    }

    /// Who is in a cgroup that is killed cannot be left out, and so all of them move; frozen, for who is being born meanwhile would stay. Cgroups
    /// that they have made beneath it are left behind.
    fn detach(&self) -> Result<()> {
        if self.leaf().lives_on().is_some() {
            return Ok(());
        }
        let next = self.leaf().beside()?;
        // Before anybody moves: who sees that nobody is left here looks there.
        let next = self.next.get_or_init(|| next);
        // One that cannot be frozen in this time has members that do nothing at the moment.
        drop(self.freeze(Some(SystemClock.now() + FREEZING)));
        let moved = self.move_to(next);
        drop(self.thaw());
        moved
    }

    fn join(&self, attributes: &mut Attributes) -> Result<(), String> {
        if attributes.cgroup.is_some() {
            return Err("cgroup and a job by cgroup: a process is in one cgroup: drop one".into());
        }
        attributes.cgroup = Some(Arc::clone(&self.leaf().dir));
        attributes.tasks = self.leaf().account.tasks();
        attributes.copy_memory |= self.may_run_out;
        Ok(())
    }

    /// It is in the cgroup from its first instruction on; or, where it has to join (before Linux 5.7), was moved there by who has started it.
    fn born(&self, _: Pid) {}

    fn adopt(&self, pid: Pid) -> Result<()> {
        let number = pid.to_string();
        let write = |dir: &OwnedFd, file| match write_at(dir, file, number.as_bytes()) {
            // It has ended.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno),
        };
        // First where it is limited: what it starts from the second write on is a member.
        self.leaf()
            .account
            .dirs()
            .try_for_each(|dir| write(dir, "cgroup.procs"))
            .map_err(self.failed("write", "cgroup.procs"))?;
        write(&self.leaf().dir, "cgroup.procs").map_err(self.failed("write", "cgroup.procs"))
    }

    fn signal(&self, signal: Signal) -> Result<bool> {
        if signal != Signal::KILL || !self.kills {
            return Ok(false);
        }
        match self.write("cgroup.kill", b"1") {
            Ok(()) => Ok(true),
            // Somebody has removed it, so nothing lives there.
            Err(Errno::NOENT | Errno::NODEV) => Ok(true),
            Err(errno) => Err(self.failed("write", "cgroup.kill")(errno)),
        }
    }

    fn freeze(&self, deadline: Option<Instant>) -> Result<bool> {
        self.set_frozen(true)?;
        self.wait_for(self.leaf(), Line::Frozen, deadline)
    }

    fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn members(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        list(self.leaf().dir.as_fd(), &mut pids).map_err(self.failed("read", "cgroup.procs"))?;
        // One may be listed more than once (cgroups(7)).
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        // Detached meanwhile, they are where they were moved to.
        Ok(self.wait_for(self.leaf(), Line::Empty, deadline)?
            && self.next.get().map_or(Ok(true), |next| self.wait_for(next, Line::Empty, deadline))?)
    }

    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        let own = Arc::clone(&self);
        let here = move || match own.next.get() {
            // They are there: told when nothing lives there. If nobody can be asked to, it is told now, and who is told looks.
            Some(next) => own.tell_when_empty(next, tell).unwrap_or_else(|refused| refused.0()),
            None => tell(),
        };
        self.tell_when_empty(self.leaf(), Box::new(here)).map_err(|refused| refused.1)
    }

    fn usage(&self) -> Result<JobUsage> {
        let cpu = self.read("cpu.stat")?;
        let account = &self.leaf().account;
        let micros = |name| value(&cpu, name).map(Duration::from_micros);
        // Where version 2 has not the controller, perhaps version 1 has it for us.
        let counted = |limit, file: &str, elder: &str, name: &str| {
            let text = self.read(file).ok().or_else(|| account.read(limit, elder))?;
            value(&text, name)
        };
        let number = |limit, file: &str, elder: &str| {
            let text = self.read(file).ok().or_else(|| account.read(limit, elder))?;
            text.trim_end().parse().ok()
        };
        let mut usage = JobUsage::default();
        usage.user_time = micros("user_usec");
        usage.system_time = micros("system_usec");
        usage.memory_peak = number(JobLimit::Memory, "memory.peak", "memory.max_usage_in_bytes");
        usage.processes_peak = number(JobLimit::Processes, "pids.peak", "pids.peak");
        usage.killed_for_memory = counted(JobLimit::Memory, "memory.events", "memory.oom_control", "oom_kill");
        usage.refused_forks = counted(JobLimit::Processes, "pids.events", "pids.events", "max");
        let throttled = || value(&account.read(JobLimit::Cpu, "cpu.stat")?, "throttled_time").map(Duration::from_nanos);
        usage.throttled_time = micros("throttled_usec").or_else(throttled);
        let disks = self.read("io.stat").ok();
        let bytes = |name| disks.as_deref().map(|disks| sum(disks, name));
        (usage.read_bytes, usage.written_bytes) = (bytes("rbytes="), bytes("wbytes="));
        Ok(usage)
    }
}

/// Whatever lives in it lives on; the cgroup is removed once nothing does.
impl Drop for CgroupJob {
    fn drop(&mut self) {
        // In the child of a fork(2) it is the parent's.
        if self.generation == generation() {
            self.leaf.take().into_iter().chain(self.next.take()).for_each(watch::remove);
        }
    }
}

/// Of each device (`8:0 rbytes=4096 wbytes=0 ...`).
fn sum(disks: &str, name: &str) -> u64 {
    let of = |line: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.parse::<u64>().ok());
    disks.lines().filter_map(of).sum()
}

/// Sleeps until the file has changed since it was read through this descriptor; a signal handler may end that too.
fn wait_for_change(events: &OwnedFd, left: Option<Duration>) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(events, PollFlags::PRI)], left.map(timespec).as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(errno(error)),
    }
}

/// The processes in a cgroup and those beneath it.
fn list(dir: BorrowedFd<'_>, pids: &mut Vec<Pid>) -> Result<(), Errno> {
    let text = match read_at(dir, "cgroup.procs") {
        // Removed; or a threaded one, whose processes are those of the one above (cgroups(7)).
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => String::new(),
        text => text?,
    };
    // 0 is one in a PID namespace that is not to be seen from here.
    pids.extend(text.lines().filter_map(|line| Pid::new(line.parse().ok()?).ok()));
    for below in directories(dir) {
        match open_at(dir, &below, DIRECTORY) {
            Ok(below) => list(below.as_fd(), pids)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
