//! [`Sandbox`]: a command in walls, and in a job, so that nothing of it is left.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;
use steadfast::{Command, Error, ExitStatus, IdMap, Job, Namespaces, Resource, System};

pub(crate) struct Sandbox {
    /// What it may open (landlock(7)).
    pub(crate) rules: Option<OwnedFd>,
    /// In bytes, of all its processes.
    pub(crate) memory: u64,
    pub(crate) processes: u64,
    pub(crate) time: Duration,
    /// It goes without what this machine does not have.
    pub(crate) if_possible: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    ByItself(ExitStatus),
    OutOfTime,
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) ended: Ended,
    /// What it went without, and why.
    pub(crate) missing: Vec<Error>,
}

impl Sandbox {
    /// Runs it. When this returns, nothing lives that it has started.
    pub(crate) fn run(&self, system: &System, words: &[OsString]) -> Result<Report, Error> {
        let limits = Job::builder().memory_limit(self.memory).processes_limit(self.processes);
        let job = system.job(&limits.limits_if_possible(self.if_possible))?;
        let child = system.spawn(self.command(words).in_job(&job))?;
        let limits = job.missing_limits().iter().map(|(_, error)| error.clone());
        let missing = child.missing_walls().iter().map(|(_, error)| error.clone()).chain(limits).collect();
        let status = child.wait_timeout(self.time)?;
        // What it has left behind too, whatever session that is in.
        job.kill()?;
        job.wait_empty()?;
        child.wait()?;
        Ok(Report { ended: status.map_or(Ended::OutOfTime, Ended::ByItself), missing })
    }

    fn command(&self, words: &[OsString]) -> Command {
        let (program, args) = words.split_first().map_or((OsString::new(), words), |(first, rest)| (first.clone(), rest));
        let mut command = Command::new(program);
        command.args(args).close_fds(true).rlimit(Resource::CORE, 0).reset_on_fork(true);
        // A namespace of its own has a loopback device, which is down.
        command.namespaces(Namespaces::NET);
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        if !user.is_root() {
            // Without privileges that takes a user namespace, in which it is who it was.
            let same = |id| [IdMap { inside: id, outside: id, count: 1 }];
            command.namespaces(Namespaces::NET | Namespaces::USER).uid_map(same(user.as_raw())).gid_map(same(group.as_raw()));
        }
        // Root too has nothing that would lead out: neither now nor by a program.
        command.bounding_capabilities([]).inheritable_capabilities([]);
        command.no_new_privileges(true).walls_if_possible(self.if_possible);
        if let Some(rules) = self.rules.as_ref().and_then(|rules| rules.try_clone().ok()) {
            command.landlock(rules);
        }
        command
    }
}
