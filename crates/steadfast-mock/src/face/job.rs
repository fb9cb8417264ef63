//! Jobs of the simulation, as a backend has them.

use super::shared::Kernel;
use crate::model::host::Call;
use crate::model::ids::{JobId, NO_JOB};
use crate::model::jobs::Kind;
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{Attributes, BackendJob, Containment, Errno, Error, JobPlan, JobUsage, OnExit, Pid, Plan, Result, Signal};

struct MockJob {
    kernel: Kernel,
    job: JobId,
    kind: Kind,
}

/// What makes a process a member, and of which simulation.
struct Place {
    kernel: Kernel,
    job: JobId,
}

impl Kernel {
    pub(crate) fn job(&self, plan: &JobPlan, backend: &'static str) -> Result<Arc<dyn BackendJob>> {
        let containment = plan.containment;
        let cannot = |why: String, errno| Error::NoContainment { containment, why, errno };
        if plan.parent.is_some() {
            return Err(Error::Unsupported { backend, what: "a simulated cgroup has no directory that could be named".into() });
        }
        if self.shared.setup.refused.contains(&containment) {
            return Err(cannot("the simulation was told so (`Builder::without_containment`)".into(), None));
        }
        if let Some(limit) = plan.limits.kinds().next().filter(|_| containment != Containment::Cgroup) {
            return Err(Error::cannot_limit(containment, limit));
        }
        if let Some(limit) = plan.limits.kinds().find(|limit| self.shared.setup.without_limits.contains(limit)) {
            let why = "the simulation was told so (`Builder::without_limit`)".into();
            return Err(Error::NoLimit { limit, why, errno: None });
        }
        let made = self.call(|world| {
            let name = world.intern_name(containment.name());
            world.enter(Call::Job, name)?;
            let job = world.make_job(containment, plan.dies_with_us, plan.limits)?;
            world.note_call(What::MakesJob(job, containment));
            Ok((job, world.jobs.get(job).map_or(Kind::Cgroup, |job| job.kind)))
        });
        let failed = |errno: Errno| match errno.is_of_the_moment() {
            true => Error::System { call: "make a job", subject: containment.to_string(), source: errno },
            false => cannot(errno.to_string(), Some(errno)),
        };
        let (job, kind) = made.map_err(failed)?;
        Ok(Arc::new(MockJob { kernel: self.clone(), job, kind }))
    }

    /// The job that a plan's process is to be born in; or what is wrong with it.
    pub(crate) fn job_of(&self, plan: &Plan) -> Result<JobId, &'static str> {
        let Some(given) = &plan.attributes().member_of else { return Ok(NO_JOB) };
        match given.downcast_ref::<Place>() {
            Some(place) if Arc::ptr_eq(&place.kernel.shared, &self.shared) => Ok(place.job),
            _ => Err("its job is of another simulation, or of a real system"),
        }
    }
}

impl MockJob {
    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let subject = format!("job {}", self.job);
        move |source| Error::System { call, subject: subject.clone(), source }
    }

    fn set_frozen(&self, freeze: bool) -> Result<()> {
        if self.kind != Kind::Cgroup {
            return Err(Error::cannot_freeze(self.containment()));
        }
        self.kernel.call(|world| {
            world.note_call(if freeze { What::Freezes(self.job) } else { What::Thaws(self.job) });
            world.freeze(self.job, freeze);
        });
        Ok(())
    }
}

impl BackendJob for MockJob {
    fn containment(&self) -> Containment {
        match self.kind {
            Kind::Cgroup => Containment::Cgroup,
            Kind::Namespace => Containment::Namespace,
            Kind::Group(_) => Containment::Group,
        }
    }

    fn lives_on(&self) -> Option<Error> {
        match self.kernel.call(|world| world.dies_with_owner(self.job)) {
            true => None,
            false if self.containment().leaks() => Some(Error::group_lives_on()),
            false => Some(Error::asked_to_live_on(self.containment())),
        }
    }

    fn detach(&self) -> Result<()> {
        self.kernel.call(|world| world.detach_job(self.job));
        Ok(())
    }

    fn join(&self, attributes: &mut Attributes) -> Result<(), String> {
        if let Kind::Group(number) = self.kind {
            attributes.join_group(number)?;
        }
        attributes.member_of = Some(Arc::new(Place { kernel: self.kernel.clone(), job: self.job }));
        Ok(())
    }

    /// It is a member at its birth.
    fn born(&self, _: Pid) {}

    fn adopt(&self, pid: Pid) -> Result<()> {
        if self.kind != Kind::Cgroup {
            return Err(Error::cannot_adopt(self.containment()));
        }
        self.kernel.call(|world| {
            if let Some(slot) = world.table.by_pid(pid.as_raw()) {
                world.note_call(What::MovesInto(world.who(slot), self.job));
                world.moves(slot, self.job);
            }
        });
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<bool> {
        let name = self.containment().name();
        let sent = self.kernel.call(|world| {
            let name = world.intern_name(name);
            world.enter(Call::Signal, name)?;
            if !world.has_signal(self.job, signal) {
                return Ok(false);
            }
            world.note_call(What::SignalsJob(signal, self.job));
            world.signal_job(self.job, signal);
            Ok(true)
        });
        sent.map_err(self.failed("kill"))
    }

    fn freeze(&self, _: Option<Instant>) -> Result<bool> {
        self.set_frozen(true).map(|()| true)
    }

    fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn members(&self) -> Result<Vec<Pid>> {
        let pids = self.kernel.call(|world| {
            let members = world.members(self.job);
            members.into_iter().map(|slot| world.table[slot].pid).collect::<Vec<i32>>()
        });
        pids.into_iter().map(Pid::new).collect()
    }

    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        let deadline = deadline.map(|deadline| self.kernel.nanos(deadline));
        let is_late = |world: &World| deadline.is_some_and(|deadline| deadline <= world.now);
        let (is_empty, is_late) = self.kernel.call(|world| (world.is_empty(self.job), is_late(world)));
        if is_empty || is_late {
            // A look is no wait, in which others could go on.
            return Ok(is_empty);
        }
        Ok(self.kernel.block(For::Job(self.job), deadline, |world| world.is_empty(self.job).then_some(())).is_some())
    }

    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        self.kernel.call(|world| {
            let is_empty = world.is_empty(self.job);
            world.host.notices.add_job(self.job, is_empty, tell);
        });
        Ok(())
    }

    fn usage(&self) -> Result<JobUsage> {
        let used = self.kernel.call(|world| world.used(self.job));
        let mut usage = JobUsage::default();
        if let Some(used) = used {
            usage.user_time = Some(Duration::from_nanos(used.user_time));
            usage.system_time = Some(Duration::ZERO);
            usage.processes_peak = Some(used.peak.into());
            usage.memory_peak = Some(used.memory_peak);
            usage.killed_for_memory = Some(used.killed_for_memory);
            usage.refused_forks = Some(used.refused_forks);
        }
        Ok(usage)
    }
}

impl Drop for MockJob {
    fn drop(&mut self) {
        // Closing is nobody's turn.
        self.kernel.lock().drop_job(self.job);
    }
}
