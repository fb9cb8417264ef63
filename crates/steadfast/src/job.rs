//! [`Job`]: what is started in it ends with it.

mod builder;
mod child;

pub use builder::JobBuilder;
pub(crate) use child::{ChildJob, JobWish};

use crate::teardown::{Refusal, Stopped, Targets, Teardown};
use crate::{Process, System};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{Containment, Error, JobLimit, JobLimits, JobLink, JobPlan, JobUsage, Result, Signal};

/// Processes that were started in it, and all that they start: killed, signalled, frozen, waited for and accounted as one. Dropping it kills them,
/// unless it is [detached](Job::detach).
///
/// A process group is not enough: whoever calls setsid(2), as each daemon does, is in it no more. A kill of the process alone leaves all that it
/// has started. And that a process was waited for says nothing of the others; [`wait_empty`](Job::wait_empty) does.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Command, Job, Teardown};
/// let job = Job::new()?;                                       // the strongest containment that this machine has to offer
/// let shell = Command::new("sh").args(["-c", "(setsid sleep 60 &); exec sleep 60"]).spawn_in(&job)?;
/// if shell.wait_timeout(Duration::from_millis(100))?.is_none() {
///     job.stop(&Teardown::graceful(Duration::from_secs(5)))?;
/// }
/// if !job.containment().leaks() {
///     assert!(job.wait_empty_timeout(Duration::from_secs(60))?);    // and nothing is left, the daemon neither
/// }
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # What holds it together
/// [`Job::new`] takes the strongest [`Containment`] that can be had here and that its processes do not notice: a PID namespace has to be asked for by
/// name. [`why_not_more`](Job::why_not_more) says why it is not a stronger one. A program that must not do with less insists: [`Job::builder`] with [`containment`](JobBuilder::containment) makes that one or fails.
/// [`Job::available`] tells of each.
///
/// # What it answers in each state
/// A job is Open, Killed or Empty; the table stands at [`backend::Job`](crate::backend::Job). All methods take `&self`: share it between threads.
///
/// # When this process is gone
/// Whatever has ended it, `SIGKILL` and want of memory included, and also if it has executed another program in its place: what lives in its jobs is
/// killed, if their containment can see to that. [`lives_on`](Job::lives_on) says why it cannot; who insists
/// ([`dies_with_us`](JobBuilder::dies_with_us)) gets that as an error. What is to live on is [detached](Job::detach).
///
/// The cgroup that is left empty is removed by the next program that makes a job beside it.
#[doc(alias = "cgroup")]
#[doc(alias = "process_group")]
#[doc(alias = "tree")]
#[must_use = "a job that is dropped is killed"]
pub struct Job {
    job: steadfast_core::Job,
    why_not_more: Vec<(Containment, Error)>,
    limits: JobLimits,
    missing_limits: Vec<(JobLimit, Error)>,
}

impl Job {
    /// Makes an empty job on the current system, by the strongest containment that can be had here.
    ///
    /// # Errors
    /// [`Error::NoContainment`] if there is none; [`Error::System`] for a failure of the moment, such as `EMFILE`: a weaker containment is not taken for that.
    pub fn new() -> Result<Job> {
        Job::builder().build()
    }

    /// Says more about the job to be made.
    pub fn builder() -> JobBuilder {
        JobBuilder::default()
    }

    /// Each containment, the strongest first, and why it cannot be had here; `None`: it can. Each is tried, on the current system.
    ///
    /// # Errors
    /// As [`System::current`]; [`Error::System`] for a failure of the moment.
    pub fn available() -> Result<Vec<(Containment, Option<Error>)>> {
        let system = System::current()?;
        let tried =
            Containment::ALL.map(|containment| match steadfast_core::Job::new(system.backend(), &JobPlan::new(containment)) {
                Ok(_) => Ok((containment, None)),
                Err(error @ (Error::NoContainment { .. } | Error::Unsupported { .. })) => Ok((containment, Some(error))),
                Err(error) => Err(error),
            });
        tried.into_iter().collect()
    }

    /// In what a job can be limited here, and why not; `None`: it can. Each is tried, on the current system.
    ///
    /// # Errors
    /// As [`available`](Job::available).
    pub fn available_limits() -> Result<Vec<(JobLimit, Option<Error>)>> {
        let system = System::current()?;
        // More than anybody has.
        let all = JobLimits { memory: Some(1 << 50), processes: Some(1 << 21), cpu_millis: Some(1_000_000) };
        let one = |limit| JobLimit::ALL.into_iter().filter(|other| *other != limit).fold(all, JobLimits::without);
        let tried = JobLimit::ALL.map(|limit| {
            let plan = JobPlan::new(Containment::Cgroup).dies_with_us(false).limits(one(limit));
            match steadfast_core::Job::new(system.backend(), &plan) {
                Ok(_) => Ok((limit, None)),
                Err(error @ (Error::NoContainment { .. } | Error::NoLimit { .. })) => Ok((limit, Some(error))),
                Err(error) => Err(error),
            }
        });
        tried.into_iter().collect()
    }

    /// What its members together may use at most.
    pub fn limits(&self) -> JobLimits {
        self.limits
    }

    /// Each limit that was asked for and could not be had: see [`limits_if_possible`](JobBuilder::limits_if_possible).
    pub fn missing_limits(&self) -> &[(JobLimit, Error)] {
        &self.missing_limits
    }

    /// What holds it together.
    pub fn containment(&self) -> Containment {
        self.job.containment()
    }

    /// Each stronger containment, and why it could not be had.
    pub fn why_not_more(&self) -> &[(Containment, Error)] {
        &self.why_not_more
    }

    /// Makes a child that runs a member, and all that it starts from now on; what it has started before stays where it is. For a child that
    /// std has started: take it over first ([`Child::try_from`](crate::Child)). Who can be started in the job is better started there
    /// ([`spawn_in`](crate::Command::spawn_in)): that is cheaper by some milliseconds, and nobody is missed.
    ///
    /// ```
    /// use steadfast::{Child, Error, Job};
    /// let job = Job::new()?;
    /// let child = Child::try_from(std::process::Command::new("sleep").arg("60").spawn().expect("there is a sleep(1)"))?;
    /// match job.adopt(&child) {
    ///     Ok(()) => job.kill()?,
    ///     Err(Error::Unsupported { what, .. }) => { println!("{what}"); child.kill()? }
    ///     Err(error) => return Err(error),
    /// }
    /// child.wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::JobOver`] once the job was killed. [`Error::Unsupported`] for a namespace and a group, which nobody can join that has executed its
    /// program. [`Error::NotPinned`] for a process that was found: in the moment in which the kernel takes its number, that could be a
    /// stranger's. [`Error::ProcessDone`] and [`Error::Released`] by the handle's state. [`Error::System`] with `EACCES` for who may not be
    /// moved.
    pub fn adopt(&self, child: &Process) -> Result<()> {
        self.job.adopt(child)
    }

    /// Kills all members, and whoever is about to be started in it. Nothing is started in it any more. Returns at once; see
    /// [`wait_empty`](Job::wait_empty).
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses it; this can be called again.
    #[doc(alias = "kill_tree")]
    #[doc(alias = "killpg")]
    pub fn kill(&self) -> Result<()> {
        self.job.kill()
    }

    /// Sends a signal to each member. In a cgroup each gets it through a handle of its own; whoever is started meanwhile may get it or not.
    ///
    /// # Errors
    /// [`Error::System`] with `EPERM` for the first member that may not be signalled; the others have got it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.job.signal(signal)
    }

    /// Stops it as the steps say, until nothing lives in it.
    ///
    /// # Errors
    /// As [`signal`](Job::signal), [`kill`](Job::kill) and [`wait_empty`](Job::wait_empty).
    pub fn stop(&self, how: &Teardown) -> Result<Stopped> {
        self.targets().stop(how, || self.system().now())
    }

    /// A handle of each member that lives. Handles stay what they are when a member leaves the job or ends.
    ///
    /// # Errors
    /// `EMFILE` if there are more members than descriptors; else as [`Process::find`], but for who ends meanwhile.
    pub fn members(&self) -> Result<Vec<Process>> {
        Ok(self.job.members()?.into_iter().map(Process::from).collect())
    }

    /// Blocks until nothing lives in it, zombies apart. For a cgroup that is what the kernel says of the whole tree. A process group is looked for in
    /// `/proc`, with pauses of up to 50 ms, and says nothing of those who have left it.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel does not tell.
    pub fn wait_empty(&self) -> Result<()> {
        self.job.wait_empty(None).map(drop)
    }

    /// As [`wait_empty`](Job::wait_empty), for at most `timeout`: whether nothing lives in it.
    ///
    /// # Errors
    /// As [`wait_empty`](Job::wait_empty).
    pub fn wait_empty_timeout(&self, timeout: Duration) -> Result<bool> {
        // Later than the clock can say is as good as never.
        self.job.wait_empty(self.system().now().checked_add(timeout))
    }

    /// As [`wait_empty`](Job::wait_empty), until `deadline` on the system's clock: whether nothing lives in it.
    ///
    /// # Errors
    /// As [`wait_empty`](Job::wait_empty).
    pub fn wait_empty_deadline(&self, deadline: Instant) -> Result<bool> {
        self.job.wait_empty(Some(deadline))
    }

    /// Whether nothing lives in it now.
    ///
    /// # Errors
    /// As [`wait_empty`](Job::wait_empty).
    pub fn is_empty(&self) -> Result<bool> {
        self.wait_empty_timeout(Duration::ZERO)
    }

    /// Stops all members, and returns when none runs any more. They notice nothing, in contrast to `SIGSTOP`; a frozen job can be killed. A program
    /// that is started in a frozen job does not run until it is [thawed](Job::thaw), and its spawn waits.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a process group; [`Error::JobOver`] once the job was killed; [`Error::System`].
    pub fn freeze(&self) -> Result<()> {
        self.job.freeze(None).map(drop)
    }

    /// As [`freeze`](Job::freeze), for at most `timeout`: whether none runs any more. A member in an uninterruptible system call (state D) runs
    /// until that returns.
    ///
    /// # Errors
    /// As [`freeze`](Job::freeze).
    pub fn freeze_timeout(&self, timeout: Duration) -> Result<bool> {
        self.job.freeze(self.system().now().checked_add(timeout))
    }

    /// Lets all members go on.
    ///
    /// # Errors
    /// As [`freeze`](Job::freeze).
    pub fn thaw(&self) -> Result<()> {
        self.job.thaw()
    }

    /// What its members have used, those included that have ended, whoever has waited for them: the tree's own, and nobody else's. What is not
    /// counted here is `None`; for a process group and a namespace nobody counts. A member that the kernel has killed for want of memory has the status of any `SIGKILL`:
    /// [`killed_for_memory`](JobUsage::killed_for_memory) tells it apart.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel does not tell.
    pub fn usage(&self) -> Result<JobUsage> {
        self.job.usage()
    }

    /// Why its members live on when this process is gone; `None`: they are killed then.
    ///
    /// A cgroup is killed by a keeper: a process of a few kilobytes, started with the first job, one for all of them. It is not a child of this process,
    /// unless this process takes orphans (PID 1, or `PR_SET_CHILD_SUBREAPER`): then a loop that waits for all children waits for it too. `ps` shows
    /// it as `steadfast-keeper`. The first process of a job by namespace is a child of this process as long as the job is there. If somebody kills it, the next job that is made brings another. A process that this one has forked, and
    /// that has not executed a program, delays what an exec of this process does, until it ends; not what its death does.
    pub fn lives_on(&self) -> Option<Error> {
        self.job.lives_on()
    }

    /// Gives it up without killing it: its members live on, also when this process is gone, and nobody can reach them as one any more. A job that was
    /// killed stays killed.
    ///
    /// The members of a cgroup that dies with this process are frozen for that, moved to another one, some milliseconds for each, and thawed; cgroups that they have
    /// made beneath it stay behind. Make a job that is to live on with [`dies_with_us(false)`](JobBuilder::dies_with_us), and there is nothing to be moved.
    ///
    /// # Errors
    /// [`Error::System`] if they cannot be moved: it is given up, and they die with this process.
    pub fn detach(self) -> Result<()> {
        self.job.detach()
    }

    /// The system on which it was made.
    pub(crate) fn system(&self) -> System {
        System::of(Arc::clone(self.job.backend()))
    }

    pub(crate) fn as_core(&self) -> &steadfast_core::Job {
        &self.job
    }

    pub(crate) fn targets(&self) -> Targets {
        Targets::new(Refusal::Error).job(&self.link())
    }

    pub(crate) fn link(&self) -> JobLink {
        self.job.link()
    }
}

/// `cgroup`, or `group (no cgroup: …)`
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.containment())?;
        for (containment, error) in &self.why_not_more {
            write!(f, " (no {containment}: {error})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.fmt(f)
    }
}

impl System {
    /// Makes a job here, whatever is current, as [`JobBuilder::build`].
    ///
    /// # Errors
    /// As there.
    pub fn job(&self, builder: &JobBuilder) -> Result<Job> {
        builder.build_on(self)
    }
}
