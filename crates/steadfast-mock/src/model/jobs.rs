//! Jobs: a cgroup of its own for each, or a process group whose number is kept.

use super::ids::{JobId, Slot};
use std::collections::HashMap;
use steadfast_core::JobLimits;

#[derive(Clone, Copy)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(super) is_frozen: bool,
    pub(super) was_killed: bool,
    /// It is not to outlive the program under test.
    pub(super) is_to_die: bool,
    /// How many live that were started in it, and that those have started.
    pub(super) lives: u32,
    /// The most that there have been of them at one time.
    pub(super) peak: u32,
    /// CPU time of those that have ended or left, without what they had used when they came.
    pub(super) used: i64,
    pub(super) limits: JobLimits,
    /// Memory, in bytes: of those that live, and the most that it was.
    pub(super) memory: u64,
    pub(super) memory_peak: u64,
    pub(super) killed_for_memory: u64,
    pub(super) refused_forks: u64,
    /// Somebody has it.
    pub(super) is_there: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Cgroup,
    /// As exact, and cannot be frozen.
    Namespace,
    /// By its number.
    Group(i32),
}

#[derive(Default)]
pub(crate) struct Jobs {
    /// Their numbers count from 1.
    list: Vec<Job>,
    /// The memory of each process that has said what it uses.
    pub(super) memory: HashMap<Slot, u64>,
}

impl Jobs {
    pub(crate) fn get(&self, job: JobId) -> Option<&Job> {
        self.list.get((job as usize).checked_sub(1)?)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut Job> {
        self.list.get_mut((job as usize).checked_sub(1)?)
    }

    pub(crate) fn is_frozen(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|job| job.is_frozen)
    }

    /// What this process has said that it uses.
    pub(crate) fn memory_of(&self, slot: Slot) -> u64 {
        self.memory.get(&slot).copied().unwrap_or_default()
    }

    /// A new one; its number.
    pub(super) fn add(&mut self, kind: Kind, is_to_die: bool, limits: JobLimits) -> Option<JobId> {
        let new = Job {
            kind,
            is_frozen: false,
            was_killed: false,
            is_to_die,
            lives: 0,
            peak: 0,
            used: 0,
            limits,
            memory: 0,
            memory_peak: 0,
            killed_for_memory: 0,
            refused_forks: 0,
            is_there: true,
        };
        let index = match self.list.iter().position(|job| !job.is_there && job.lives == 0) {
            Some(free) => {
                self.list[free] = new;
                free
            }
            None => {
                self.list.push(new);
                self.list.len() - 1
            }
        };
        JobId::try_from(index + 1).ok()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = JobId> + use<> {
        (1..=self.list.len()).filter_map(|job| JobId::try_from(job).ok())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The one that keeps the number of this group.
    pub(super) fn of_group(&self, group: i32) -> Option<JobId> {
        let index = self.list.iter().position(|job| job.is_there && job.kind == Kind::Group(group))?;
        Some(index as JobId + 1)
    }
}
