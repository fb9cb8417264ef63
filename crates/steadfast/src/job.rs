//! [`Job`]: what is started in it ends with it.

mod child;

pub(crate) use child::{ChildJob, JobWish};

use crate::teardown::{Refusal, Stopped, Targets, Teardown};
use crate::{Process, System};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{Containment, Error, JobLink, JobPlan, JobUsage, Result, Signal};

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
pub struct Job {
    job: steadfast_core::Job,
    why_not_more: Vec<(Containment, Error)>,
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

    /// What holds it together.
    pub fn containment(&self) -> Containment {
        self.job.containment()
    }

    /// Each stronger containment, and why it could not be had.
    pub fn why_not_more(&self) -> &[(Containment, Error)] {
        &self.why_not_more
    }

    /// Kills all members, and whoever is about to be started in it. Nothing is started in it any more. Returns at once; see
    /// [`wait_empty`](Job::wait_empty).
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses it; this can be called again.
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

    /// What its members have used, those included that have ended, whoever has waited for them. For a process group nobody counts.
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

/// A job to be made, see [`Job::builder`].
#[derive(Clone, Debug, Default)]
pub struct JobBuilder {
    containment: Option<Containment>,
    parent: Option<PathBuf>,
    dies_with_us: Option<bool>,
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

    /// Makes the job on the current system.
    ///
    /// # Errors
    /// As [`Job::new`]; [`Error::NoContainment`] or [`Error::JobLivesOn`] if what was insisted on cannot be had.
    pub fn build(&self) -> Result<Job> {
        self.build_on(&System::current()?)
    }

    pub(crate) fn build_on(&self, system: &System) -> Result<Job> {
        let insisted = self.containment.or(self.parent.as_ref().map(|_| Containment::Cgroup));
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
            match steadfast_core::Job::new(system.backend(), &plan) {
                Ok(job) => match job.lives_on().filter(|_| self.dies_with_us == Some(true)) {
                    None => return Ok(Job { job, why_not_more }),
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
