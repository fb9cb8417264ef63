//! [`JobBuilder`]: what a job is to be.

use super::Job;
use crate::System;
use std::path::PathBuf;
use steadfast_core::{Containment, Error, JobLimits, JobPlan, Result};

/// A job to be made, see [`Job::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "it makes no job before `build`"]
pub struct JobBuilder {
    containment: Option<Containment>,
    parent: Option<PathBuf>,
    dies_with_us: Option<bool>,
    limits: JobLimits,
    limits_if_possible: bool,
}

impl JobBuilder {
    /// Insists on this containment: if it cannot be had, there is no job.
    ///
    /// ```
    /// use steadfast::{Containment, Error, Job};
    /// match Job::builder().containment(Containment::Cgroup).build() {
    ///     Ok(job) => assert_eq!(job.containment(), Containment::Cgroup),
    ///     Err(Error::NoContainment { why, .. }) => println!("not here: {why}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn containment(mut self, containment: Containment) -> JobBuilder {
        self.containment = Some(containment);
        self
    }

    /// The directory of the cgroup in which the job's own is made; by default that of this process. A job with a parent is by cgroup or not at all. If
    /// it is not beneath this process's own cgroup, and that is killed as a whole (`cgroup.kill`), the keeper is killed with this process, and the job
    /// lives on.
    pub fn parent(mut self, cgroup: impl Into<PathBuf>) -> JobBuilder {
        self.parent = Some(cgroup.into());
        self
    }

    /// Whether what lives in it is killed when this process is gone. By default it is, if that can be had; with `true` the job is made only
    /// if it can, with `false` it lives on.
    ///
    /// ```
    /// use steadfast::{Error, Job};
    /// match Job::builder().dies_with_us(true).build() {
    ///     Ok(job) => assert!(job.lives_on().is_none()),
    ///     Err(error @ Error::JobLivesOn { .. }) => println!("{error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn dies_with_us(mut self, dies: bool) -> JobBuilder {
        self.dies_with_us = Some(dies);
        self
    }

    /// How much memory its members together may use, in bytes; none of it is swapped out. When they need more, the kernel kills one of them, and
    /// [`Job::usage`] counts that. (`memory.max` of cgroups(7); `memory.limit_in_bytes` of version 1.)
    ///
    /// A job with limits is by cgroup or not at all. If this machine has the controller in cgroups of version 1, a cgroup is made there too, and each start in
    /// the job takes some milliseconds more.
    ///
    /// ```
    /// use steadfast::{Command, Error, Job};
    /// match Job::builder().memory_limit(64 << 20).processes_limit(100).cpu_limit(1.5).build() {
    ///     Ok(job) => {
    ///         let status = Command::new("true").spawn_in(&job)?.wait()?;
    ///         assert!(status.success());
    ///         println!("{:?}", job.usage()?.memory_peak);
    ///     }
    ///     Err(error @ (Error::NoLimit { .. } | Error::NoContainment { .. })) => println!("{error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> JobBuilder {
        self.limits.memory = Some(bytes);
        self
    }

    /// How many processes and threads it may have at one time: a fork(2) beyond that fails with `EAGAIN`, and so does a start in it, after it was tried
    /// again for a while. (`pids.max`. In version 1 whoever is *started* in it is not held up by its own birth; what it forks is.)
    pub fn processes_limit(mut self, processes: u64) -> JobBuilder {
        self.limits.processes = Some(processes);
        self
    }

    /// How much CPU time its members together get, in CPUs: 0.5 is half of one. They wait for the rest of each tenth of a second. (`cpu.max`;
    /// `cpu.cfs_quota_us` of version 1.) The kernel counts from a hundredth on; less, or what is no number, is taken for a hundredth.
    pub fn cpu_limit(mut self, cpus: f64) -> JobBuilder {
        // A cast is exact enough, and takes what is no number for 0.
        self.limits.cpu_millis = Some(((cpus * 1000.0) as u32).max(10));
        self
    }

    /// Whether the job is made without those limits that cannot be had, and [says which and why](Job::missing_limits). By default each limit is insisted
    /// on.
    pub fn limits_if_possible(mut self, if_possible: bool) -> JobBuilder {
        self.limits_if_possible = if_possible;
        self
    }

    /// Makes the job on the current system.
    ///
    /// # Errors
    /// As [`Job::new`]; [`Error::NoContainment`], [`Error::JobLivesOn`] or [`Error::NoLimit`] if what was insisted on cannot be had.
    pub fn build(&self) -> Result<Job> {
        self.build_on(&System::current()?)
    }

    pub(crate) fn build_on(&self, system: &System) -> Result<Job> {
        // Nothing else has a parent, or limits.
        let takes_cgroup = self.parent.is_some() || !(self.limits.is_none() || self.limits_if_possible);
        let insisted = self.containment.or(takes_cgroup.then_some(Containment::Cgroup));
        let all = Containment::ALL;
        let wanted = insisted.as_ref().map_or(&all[..], std::slice::from_ref);
        let mut why_not_more = Vec::new();
        for containment in wanted {
            if insisted.is_none() && containment.is_noticed() {
                let why = "its processes would be numbered otherwise than this one sees them: ask for it by name".into();
                why_not_more.push((*containment, Error::NoContainment { containment: *containment, why, errno: None }));
                continue;
            }
            let plan = JobPlan::new(*containment).parent(self.parent.clone()).dies_with_us(self.dies_with_us.unwrap_or(true));
            match self.limited(system, plan) {
                Ok(job) => match job.lives_on().filter(|_| self.dies_with_us == Some(true)) {
                    None => return Ok(Job { why_not_more, ..job }),
                    // A weaker one may see to it all the same.
                    Some(error) => why_not_more.push((*containment, error)),
                },
                Err(error @ Error::NoContainment { .. }) => why_not_more.push((*containment, error)),
                Err(error) => return Err(error),
            }
        }
        // The last is the one that is there almost everywhere, or the one that was insisted on.
        Err(why_not_more.pop().map_or_else(|| Error::no_jobs(system.backend_name(), Containment::Group), |(_, error)| error))
    }

    /// With its limits; or, if that is wished, with those that can be had.
    fn limited(&self, system: &System, plan: JobPlan) -> Result<Job> {
        let (mut limits, mut missing_limits) = (self.limits, Vec::new());
        loop {
            match steadfast_core::Job::new(system.backend(), &plan.clone().limits(limits)) {
                Ok(job) => return Ok(Job { job, why_not_more: Vec::new(), limits, missing_limits }),
                Err(error @ Error::NoLimit { limit, .. }) if self.limits_if_possible && limits.get(limit).is_some() => {
                    limits = limits.without(limit);
                    missing_limits.push((limit, error));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
