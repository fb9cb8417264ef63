//! A job in a PID namespace of its own, whose first process is a keeper: when that ends, the kernel kills all others.
//!
//! # Who is in it
//! Who is started in the job is born into the namespace and is a child of ours, so that it is waited for as ever. All others descend from one of those, or
//! from the first process, which becomes the parent of orphans. So whoever lives in it is found from two lists: our own children that are in it, and
//! the children of the first process.
//!
//! # When nothing lives in it
//! When none of our children in it lives, and *then* the first process has no child. A process whose parent ends becomes, in that moment, the first
//! one's child, and there it stays on the list until it has ended: the first process ignores `SIGCHLD`, so it has no zombies. (The end of
//! the first process says the same, but comes only when our own children have been waited for: pid_namespaces(7).)

use super::keeper::{Duty, Keeper};
use super::looks;
use super::retired::{Retired, retire};
use crate::file::{errno_of, open_at, read_at, write_at};
use crate::fork::generation;
use crate::kill::is_free;
use crate::spawn::{WantPidfd, in_namespaces};
use crate::stat::{ProcStat, is_gone, lives};
use crate::wait::{Blocking, Reaping, Target, waitid};
use rustix::fs::OFlags;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use steadfast_core::{
    Attributes, BackendJob, Containment, EnterNamespaces, Errno, Error, JobUsage, Namespaces, OnExit, Pid, Result, Signal,
};

pub(super) struct NamespaceJob {
    init: Keeper,
    /// Its number, and its directory in `/proc`, which is its alone.
    pid: Pid,
    proc: OwnedFd,
    /// Into which its members are born.
    enter: Arc<EnterNamespaces>,
    /// Of the PID namespace, by which its members are known.
    inode: u64,
    lives_on: AtomicBool,
    /// Those that were started here, as far as they may live.
    born: Mutex<Vec<Pid>>,
    /// This process, whose children they are; not its fork.
    owner: u32,
    generation: u32,
}

impl NamespaceJob {
    pub(super) fn new(dies_with_us: bool, want: WantPidfd) -> Result<NamespaceJob> {
        let begun = begin(libc::CLONE_NEWPID, want).or_else(|failed| match failed {
            // Without privileges in our own user namespace, one in a new one.
            (_, _, Errno::PERM) => begin(libc::CLONE_NEWPID | libc::CLONE_NEWUSER, want),
            failed => Err(failed),
        });
        let begun = begun.inspect(|job| {
            if !dies_with_us {
                job.let_live_on();
            }
        });
        begun.map_err(|(call, subject, errno)| match errno.is_of_the_moment() {
            true => Error::System { call, subject, source: errno },
            false => {
                let advice = match errno {
                    Errno::PERM | Errno::ACCES => ": it takes CAP_SYS_ADMIN, or user namespaces that this user may make",
                    _ => "",
                };
                let why = format!("{call} {subject}: {errno}{advice}");
                Error::NoContainment { containment: Containment::Namespace, why, errno: Some(errno) }
            }
        })
    }

    fn let_live_on(&self) {
        if !self.lives_on.swap(true, Ordering::Relaxed) {
            self.init.release();
        }
    }

    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let subject = format!("the PID namespace of process {}", self.pid);
        move |source| Error::System { call, subject: subject.clone(), source }
    }

    /// Our own children in it that live: those that were started here, and those that a member has made in its own place (`CLONE_PARENT`).
    fn injected(&self) -> Result<Vec<Pid>, Errno> {
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        // Each by its own file, and not by the list of our children: that may leave one out while others are reaped.
        born.retain(|pid| self.may_live(*pid));
        let mut found = born.clone();
        drop(born);
        let errno = |error: std::io::Error| errno_of(&error);
        for task in fs::read_dir(format!("/proc/{}/task", self.owner)).map_err(errno)? {
            match fs::read_to_string(task.map_err(errno)?.path().join("children")) {
                Ok(text) => {
                    let others = numbers(&text).filter(|pid| *pid != self.pid && lives(*pid) && self.is_in(*pid) == Some(true));
                    found.extend(others.filter(|pid| !found.contains(pid)).collect::<Vec<_>>());
                }
                // A thread that has ended; its children are on another one's list by now.
                Err(error) if is_gone(errno_of(&error)) => {}
                Err(error) => return Err(errno_of(&error)),
            }
        }
        Ok(found)
    }

    /// One that was started here.
    fn may_live(&self, pid: Pid) -> bool {
        match ProcStat::of(pid) {
            Ok(stat) => stat.parent() == self.owner && !stat.has_exited() && self.is_in(pid) != Some(false),
            Err(errno) if is_gone(errno) && is_free(pid.as_raw()) => false,
            // It is only hidden (hidepid, proc(5)): of a child there is another way to know.
            Err(_) => match waitid(Target::Pid(pid), Blocking::Now, Reaping::Leave) {
                Ok(exit) => exit.is_none(),
                // In the child of a fork(2) it is nobody's who could be asked.
                Err(errno) => errno != Errno::CHILD || self.generation != generation(),
            },
        }
    }

    /// Whether it is born into the namespace; `None`: this process may not know.
    fn is_in(&self, pid: Pid) -> Option<bool> {
        fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|file| file.ino() == self.inode)
    }

    /// The children of the first process.
    fn adopted(&self) -> Result<Vec<Pid>, Errno> {
        match read_at(&self.proc, &format!("task/{}/children", self.pid)) {
            Ok(text) => Ok(numbers(&text).collect()),
            Err(errno) if is_gone(errno) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }

    fn is_empty(&self) -> Result<bool> {
        let failed = self.failed("read /proc for the members of");
        // In this order, twice: a thread of ours may end between two lists, and hand its children on.
        for _ in 0..2 {
            if !self.injected().map_err(&failed)?.is_empty() || !self.adopted().map_err(&failed)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The first process of a new one, and what is needed of it.
fn begin(namespaces: i32, want: WantPidfd) -> Result<NamespaceJob, (&'static str, String, Errno)> {
    let of = |subject: &str| subject.to_owned();
    let own = fs::read_link("/proc/self").map_err(|error| ("readlink", of("/proc/self"), errno_of(&error)))?;
    if own.as_os_str() != std::process::id().to_string().as_str() {
        // It shows another PID namespace, by whose numbers nobody is found.
        return Err(("find this process in", of("/proc"), Errno::NOENT));
    }
    let init =
        Keeper::new(&Duty::End { namespaces }, want).map_err(|(call, errno)| (call, of("for its first process"), errno))?;
    let pid = init.pid().ok_or(("start", of("its first process"), Errno::SRCH))?;
    let path = format!("/proc/{pid}");
    let opened = fs::File::open(&path).map_err(|error| ("open", path.clone(), errno_of(&error)))?;
    // Else the number may have been another's when it was opened.
    if !init.is_there() {
        return Err(("start", of("its first process"), Errno::SRCH));
    }
    let proc = OwnedFd::from(opened);
    let failed = |call, file: &str| {
        let subject = format!("{path}/{file}");
        move |errno| (call, subject, errno)
    };
    read_at(&proc, &format!("task/{pid}/children")).map_err(failed("read", "task/PID/children"))?;
    let has_user = namespaces & libc::CLONE_NEWUSER != 0;
    if has_user {
        // Each user and group is who it was outside; there are no others. (The exec is over, for it has said that it runs: before, these files may be root's.)
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let lines =
            [("setgroups", of("deny")), ("uid_map", format!("{user} {user} 1")), ("gid_map", format!("{group} {group} 1"))];
        for (file, text) in lines {
            write_at(&proc, file, text.as_bytes()).map_err(failed("write", file))?;
        }
    }
    let open = |file| open_at(&proc, file, OFlags::RDONLY).map_err(failed("open", file));
    let user = has_user.then(|| open("ns/user")).transpose()?;
    let space = open("ns/pid")?;
    let inode = rustix::fs::fstat(&space).map_err(|error| failed("stat", "ns/pid")(crate::file::errno(error)))?.st_ino;
    Ok(NamespaceJob {
        init,
        pid,
        proc,
        enter: Arc::new(EnterNamespaces { pid: space, user }),
        inode,
        lives_on: AtomicBool::new(false),
        born: Mutex::default(),
        owner: std::process::id(),
        generation: generation(),
    })
}

fn numbers(text: &str) -> impl Iterator<Item = Pid> {
    text.split_ascii_whitespace().filter_map(|number| Pid::new(number.parse().ok()?).ok())
}

/// A process and all that descend from it, as far as they live.
fn descend(pid: Pid, found: &mut Vec<Pid>) {
    if found.contains(&pid) || !lives(pid) {
        return;
    }
    found.push(pid);
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        numbers(&text).for_each(|child| descend(child, found));
    }
}

impl BackendJob for NamespaceJob {
    fn containment(&self) -> Containment {
        Containment::Namespace
    }

    fn lives_on(&self) -> Option<Error> {
        self.lives_on.load(Ordering::Relaxed).then(|| Error::asked_to_live_on(Containment::Namespace))
    }

    fn detach(&self) -> Result<()> {
        self.let_live_on();
        Ok(())
    }

    fn join(&self, attributes: &mut Attributes) -> Result<(), String> {
        let both = |which: &str, why: &str| Err(format!("{which} and a job by namespace: {why}"));
        if attributes.namespaces.contains(Namespaces::PID) || attributes.namespaces.contains(Namespaces::USER) {
            return both("namespaces(PID or USER)", "it is born into the job's, and cannot be born into others: use unshare");
        }
        if attributes.process_group.is_some_and(|group| group != 0) {
            return both("process_group", "a group outside has no number inside: drop one");
        }
        if self.enter.user.is_some() && !attributes.hooks.is_empty() {
            return both("pre_exec", "without privileges its child is made by another one, in which no such code runs: drop one");
        }
        attributes.enter = Some(Arc::clone(&self.enter));
        Ok(())
    }

    fn born(&self, pid: Pid) {
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        born.push(pid);
        // Also if nobody ever looks.
        if born.len() >= 64 && born.len().is_power_of_two() {
            born.retain(|pid| self.may_live(*pid));
        }
    }

    fn adopt(&self, _: Pid) -> Result<()> {
        Err(Error::cannot_adopt(Containment::Namespace))
    }

    fn signal(&self, signal: Signal) -> Result<bool> {
        if signal == Signal::KILL {
            // The kernel kills all others before it can end.
            self.init.kill();
            return Ok(true);
        }
        // All but the first process and the one that calls, at one moment (kill(2)).
        match in_namespaces(&self.enter, signal) {
            // There is nobody; or the namespace is at its end.
            Ok(()) | Err(Errno::SRCH | Errno::NOMEM) => Ok(true),
            Err(errno) => Err(self.failed("kill all in")(errno)),
        }
    }

    fn freeze(&self, _: Option<Instant>) -> Result<bool> {
        Err(Error::cannot_freeze(Containment::Namespace))
    }

    fn thaw(&self) -> Result<()> {
        Err(Error::cannot_freeze(Containment::Namespace))
    }

    fn members(&self) -> Result<Vec<Pid>> {
        let failed = self.failed("read /proc for the members of");
        let mut found = Vec::new();
        // A list may leave one out while others end: more than once, then.
        for _ in 0..3 {
            for pid in self.injected().map_err(&failed)?.into_iter().chain(self.adopted().map_err(&failed)?) {
                descend(pid, &mut found);
            }
        }
        Ok(found)
    }

    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        // One that was killed ends when nothing is left of it.
        looks::wait_empty(|| self.is_empty(), |time| self.init.wait(time), deadline)
    }

    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        looks::on_empty(Arc::clone(&self) as Arc<dyn BackendJob>, "steadfast-space", self.failed("a thread for"), tell)
    }

    fn usage(&self) -> Result<JobUsage> {
        Ok(JobUsage::default())
    }
}

/// It ends with the pipe, and is reaped in the background.
impl Drop for NamespaceJob {
    fn drop(&mut self) {
        if self.generation == generation() && !self.init.has_pidfd() {
            // A descriptor more for the moment. If there is none, it is a zombie as long as this process is there.
            if let Ok(proc) = self.proc.try_clone() {
                retire(Retired::Child(self.pid, proc));
            }
        }
    }
}
