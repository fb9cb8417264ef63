//! Who lives in a job, and what is done to all of them.

use super::host::Host;
use super::ids::{CALLER, JobId, NO_JOB, Slot};
use super::jobs::{Job, Kind};
use super::machine::Machine;
use super::process::{Life, PAUSED, Wait};
use super::seen::{Actor, Seen};
use steadfast_core::{Containment, Errno, JobLimits, Signal};

/// What a job has used.
pub(crate) struct Used {
    pub(crate) user_time: u64,
    /// The most that have lived in it at one time.
    pub(crate) peak: u32,
    pub(crate) memory_peak: u64,
    pub(crate) killed_for_memory: u64,
    pub(crate) refused_forks: u64,
}

impl<H: Host> Machine<H> {
    /// Makes one with nothing in it.
    pub(crate) fn make_job(&mut self, containment: Containment, is_to_die: bool, limits: JobLimits) -> Result<JobId, Errno> {
        let kind = match containment {
            Containment::Cgroup => Kind::Cgroup,
            Containment::Namespace => Kind::Namespace,
            _ => {
                // Its leader: a child that has ended, and that nobody waits for.
                if self.table.live() >= self.limits.max_processes {
                    return Err(Errno::AGAIN);
                }
                let number = self.table.next_pid().ok_or(Errno::AGAIN)?;
                self.table.keep_group(number, self.table[CALLER].session);
                Kind::Group(number)
            }
        };
        self.jobs.add(kind, is_to_die, limits).ok_or(Errno::AGAIN)
    }

    /// Nobody has it any more; its members live on.
    pub(crate) fn drop_job(&mut self, job: JobId) {
        let Some(Job { kind, is_there, .. }) = self.jobs.get_mut(job) else { return };
        if let (Kind::Group(number), true) = (*kind, std::mem::replace(is_there, false)) {
            self.table.release_group(number);
        }
    }

    /// Whether its members are killed when the program under test is gone.
    pub(crate) fn dies_with_owner(&self, job: JobId) -> bool {
        self.jobs.get(job).is_some_and(|job| job.is_to_die && !matches!(job.kind, Kind::Group(_)))
    }

    /// Its members are to live on.
    pub(crate) fn detach_job(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.is_to_die = false;
        }
    }

    /// The program under test is gone: jobs that die with it are killed, and those by group, that ought to and cannot, live on. Its children are
    /// init's, which waits for those that have ended.
    pub(crate) fn owner_dies(&mut self) {
        for job in self.jobs.all() {
            if self.dies_with_owner(job) {
                self.signal_job(job, Signal::KILL);
            } else if let Some(job) = self.jobs.get_mut(job).filter(|job| job.is_to_die && job.is_there) {
                job.was_killed = true;
            }
        }
        self.part_from_children(CALLER);
    }

    /// Those that live in it, by PID.
    pub(crate) fn members(&self, job: JobId) -> Vec<Slot> {
        let Some(Job { kind, .. }) = self.jobs.get(job) else { return Vec::new() };
        let mut members = match kind {
            Kind::Cgroup | Kind::Namespace => self.table.all().filter(|slot| self.table[*slot].job == job).collect(),
            Kind::Group(number) => self.table.group(*number),
        };
        members.retain(|slot| !matches!(self.table[*slot].life, Life::Zombie | Life::Gone));
        members
    }

    pub(crate) fn is_empty(&self, job: JobId) -> bool {
        match self.jobs.get(job) {
            Some(Job { kind: Kind::Cgroup | Kind::Namespace, lives, .. }) => *lives == 0,
            _ => self.members(job).is_empty(),
        }
    }

    pub(crate) fn used(&self, job: JobId) -> Option<Used> {
        let Job { kind, peak, used, memory_peak, killed_for_memory, refused_forks, .. } = *self.jobs.get(job)?;
        let now: u64 = self.members(job).into_iter().map(|slot| self.cpu_time(slot)).sum();
        let used = Used { user_time: (used + now as i64).max(0) as u64, peak, memory_peak, killed_for_memory, refused_forks };
        (kind == Kind::Cgroup).then_some(used)
    }

    /// Of one process alone, with what it has computed since it was last looked at.
    pub(crate) fn cpu_time(&self, slot: Slot) -> u64 {
        let process = &self.table[slot];
        let running = match process.frame.waiting {
            Wait::Compute(left) if process.computing != PAUSED => (self.now - process.computing).min(left),
            _ => 0,
        };
        process.user_time + running
    }

    /// Lets none of its members run, or all of them.
    pub(crate) fn freeze(&mut self, job: JobId, freeze: bool) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.is_frozen = freeze;
        }
        for slot in self.members(job) {
            if freeze {
                let now = self.now;
                self.table[slot].pause(now);
            } else if self.table[slot].life != Life::Stopped {
                self.schedule(slot, self.now);
            }
        }
    }

    /// Whether its limit forbids another process.
    pub(super) fn is_full(&mut self, job: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(job) else { return false };
        let is_full = job.limits.processes.is_some_and(|most| u64::from(job.lives) >= most);
        job.refused_forks += u64::from(is_full);
        is_full
    }

    /// The process uses so much more memory. If that is more than its job may, the kernel kills who uses most (and of several, who asks).
    pub(super) fn allocate(&mut self, slot: Slot, bytes: u64) {
        let own = self.jobs.memory.entry(slot).or_default();
        *own = own.saturating_add(bytes);
        let number = self.table[slot].job;
        let Some(job) = self.jobs.get_mut(number) else { return };
        job.memory = job.memory.saturating_add(bytes);
        let most = job.limits.memory.unwrap_or(u64::MAX);
        if job.memory <= most {
            job.memory_peak = job.memory_peak.max(job.memory);
            return;
        }
        (job.memory_peak, job.killed_for_memory) = (most, job.killed_for_memory + 1);
        let rank = |member: &Slot| (self.jobs.memory_of(*member), *member == slot);
        let doomed = self.members(number).into_iter().max_by_key(rank).unwrap_or(slot);
        self.note(Actor::Kernel, Seen::KillsForMemory(self.who(doomed)));
        self.send(doomed, Signal::KILL);
    }

    /// It has ended, or executes another program.
    pub(super) fn free(&mut self, slot: Slot) {
        let Some(bytes) = self.jobs.memory.remove(&slot) else { return };
        if let Some(job) = self.jobs.get_mut(self.table[slot].job) {
            job.memory -= bytes;
        }
    }

    /// A process is born in it.
    pub(super) fn joins(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.lives += 1;
            job.peak = job.peak.max(job.lives);
        }
    }

    /// It is a member of this one from now on; what it has started is not.
    pub(crate) fn moves(&mut self, slot: Slot, job: JobId) {
        let process = &self.table[slot];
        if matches!(process.life, Life::Zombie | Life::Gone) {
            return;
        }
        let before = std::mem::replace(&mut self.table[slot].job, job);
        self.free(slot);
        // Each counts what is computed in it.
        let spent = self.cpu_time(slot);
        self.joins(job);
        if let Some(new) = self.jobs.get_mut(job) {
            new.used -= spent as i64;
        }
        if before != NO_JOB {
            self.leaves(before, 0, spent);
        }
    }

    /// A process has ended, or left its group: whose jobs may be empty by now.
    pub(super) fn leaves(&mut self, job: JobId, group: i32, user_time: u64) {
        if let Some(cgroup) = self.jobs.get_mut(job) {
            cgroup.lives -= 1;
            cgroup.used += user_time as i64;
            if cgroup.lives == 0 && !matches!(cgroup.kind, Kind::Group(_)) {
                self.host.job_is_empty(job);
            }
        }
        self.leaves_group(group);
    }

    pub(super) fn leaves_group(&mut self, group: i32) {
        if !self.table.is_kept(group) {
            return;
        }
        if let Some(job) = self.jobs.of_group(group).filter(|job| self.is_empty(*job)) {
            self.host.job_is_empty(job);
        }
    }

    /// Whether there is one call for this signal that reaches all members.
    pub(crate) fn has_signal(&self, job: JobId, signal: Signal) -> bool {
        match self.jobs.get(job) {
            Some(Job { kind: Kind::Cgroup, .. }) => signal == Signal::KILL,
            _ => true,
        }
    }

    /// To all members at one moment.
    pub(crate) fn signal_job(&mut self, job: JobId, signal: Signal) {
        if let (Some(job), Signal::KILL) = (self.jobs.get_mut(job), signal) {
            job.was_killed = true;
        }
        for slot in self.members(job) {
            self.send(slot, signal);
        }
    }

    /// Those that live though their job was killed: they have left their group. (One that hangs in its exit has not.)
    pub(crate) fn outliving(&self) -> Vec<Slot> {
        let is_out = |slot: &Slot| {
            let process = &self.table[*slot];
            let was_killed = self.jobs.get(process.job).is_some_and(|job| job.was_killed);
            was_killed && process.doomed.is_none() && matches!(process.life, Life::Running | Life::Stopped)
        };
        if self.jobs.is_empty() { Vec::new() } else { self.table.all().filter(is_out).collect() }
    }

    /// Whether it is held up, and nothing but its death gets through.
    pub(super) fn is_held(&self, slot: Slot) -> bool {
        let process = &self.table[slot];
        process.job != NO_JOB && process.doomed.is_none() && self.jobs.is_frozen(process.job)
    }
}
