//! The walls of a new process: what it may not do, whatever it tries. Mechanisms, each as the kernel has it; what goes into them (rules, programs) is
//! made by other crates, in this process, before the child is born.
//!
//! The last sentences of each method say how it can fail, as in `attributes.rs`.

use super::Command;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use steadfast_core::{Capability, Error, IoPriority, PlanStdio, Result, SeccompFilter, SecureBits};

/// Walls: what it may not do. See [`no_new_privileges`](Self::no_new_privileges) too.
///
/// All of them are put up in the child, between its birth and its program; nothing changes for this process. The example `sandbox` has them together.
impl Command {
    /// Shuts it in by a set of Landlock's rules (landlock(7), landlock_restrict_self(2); Linux 5.13), given by its descriptor. Several calls, several
    /// sets: what one of them denies is denied. The crate `landlock` makes one: `Option<OwnedFd>` is `From` its `RulesetCreated`.
    ///
    /// The rules are on while the program is executed: they must let the program's file, its loader and its libraries be read and executed. What was
    /// open before stays open.
    ///
    /// ```no_run
    /// use std::os::fd::OwnedFd;
    /// use steadfast::Command;
    /// # fn rules_of_the_crate_landlock() -> OwnedFd { unimplemented!() }
    /// let ruleset: OwnedFd = rules_of_the_crate_landlock();
    /// let status = Command::new("make").no_new_privileges(true).landlock(ruleset).status()?;
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// It takes [`no_new_privileges`](Self::no_new_privileges), or `CAP_SYS_ADMIN` in its user namespace: otherwise `EPERM`. `EBADFD` if the descriptor is none
    /// of such a set; `E2BIG` for the seventeenth set that a process has. [`Error::NoWall`] where the kernel has no Landlock (`ENOSYS`), or this boot goes without it
    /// (`EOPNOTSUPP`).
    pub fn landlock(&mut self, ruleset: impl Into<OwnedFd>) -> &mut Command {
        self.changed().landlock.push(Arc::new(ruleset.into()));
        self
    }

    /// Filters its system calls (seccomp(2), Linux 3.17): the last step before the program, so that nothing but the execve(2) itself is filtered beside the
    /// program. Several calls, several filters, the first one first: of their answers the strictest counts. The crate `seccompiler` makes a filter's
    /// program; see [`SeccompFilter`].
    ///
    /// ```
    /// use steadfast::{Command, SeccompFilter};
    /// // As a compiler makes it: whatever is called, "allow".
    /// let program = [(0x06, 0, 0, 0x7fff_0000)];
    /// let status = Command::new("true").no_new_privileges(true).seccomp(SeccompFilter::new(program)).status()?;
    /// assert!(status.success());
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// A filter must let execve(2) through, and what the program's loader calls. If it refuses execve with an errno, the spawn fails with that; if it kills for
    /// it, the spawn succeeds, and the status says `SIGSYS`. A later filter is installed under the earlier ones, which must let seccomp(2) through.
    ///
    /// It takes [`no_new_privileges`](Self::no_new_privileges), or `CAP_SYS_ADMIN` in its user namespace: otherwise `EACCES`. `EINVAL` if the kernel does not take the
    /// program; `ENOMEM` if all filters together are too long; `EBUSY` for a [listener](SeccompFilter::listener) where this process has one already.
    /// [`Error::NoWall`] where the kernel has no such filters (`ENOSYS`), or does not know a flag that is asked for (`EINVAL`).
    pub fn seccomp(&mut self, filter: SeccompFilter) -> &mut Command {
        self.changed().seccomp.push(filter);
        self
    }

    /// Whether [`landlock`](Self::landlock), [`seccomp`](Self::seccomp), [`io_priority`](Self::io_priority) and [`reset_on_fork`](Self::reset_on_fork) are left
    /// out where this kernel does not have them. [`Child::missing_walls`](crate::Child::missing_walls) says which, and why. By default each is
    /// insisted on: [`Error::NoWall`].
    ///
    /// Of the calls that start it, those that give a [`Child`](crate::Child) tell: [`spawn`](Self::spawn) and the like. [`output`](Self::output),
    /// [`status`](Self::status), [`capture`](Self::capture) and [`Pipeline`](crate::Pipeline) do not.
    ///
    /// Only what is not there is left out (`ENOSYS`, Landlock's `EOPNOTSUPP`, a flag that is not known). What is refused, or wrong in itself, fails as ever. Not for
    /// [`exec`](Self::exec), which leaves nobody to be told.
    pub fn walls_if_possible(&mut self, if_possible: bool) -> &mut Command {
        self.changed().walls_if_possible = if_possible;
        self
    }

    /// Keeps only these capabilities in its bounding set (capabilities(7), `PR_CAPBSET_DROP`): the others cannot come back, neither by root's
    /// set-user-ID bit nor by file capabilities. What is [ambient](Self::ambient_capabilities) or [inheritable](Self::inheritable_capabilities) is not
    /// bounded by it.
    ///
    /// `EPERM` without `CAP_SETPCAP`, if any has to be dropped. With another [`uid`](Self::uid), that of the caller counts.
    pub fn bounding_capabilities(&mut self, kept: impl IntoIterator<Item = Capability>) -> &mut Command {
        self.changed().bounding = Some(kept.into_iter().collect());
        self
    }

    /// Sets its inheritable capabilities (capabilities(7)): those that a program gets if its file has them as inheritable too. What is
    /// [ambient](Self::ambient_capabilities) must be among them. By default they are this process's.
    ///
    /// `EPERM`, with the stage `capset`, for one that the caller is not permitted, without `CAP_SETPCAP`; or that is not in its bounding set.
    pub fn inheritable_capabilities(&mut self, capabilities: impl IntoIterator<Item = Capability>) -> &mut Command {
        self.changed().inheritable = Some(capabilities.into_iter().collect());
        self
    }

    /// Whether all capabilities that it is permitted survive, both the change of user (`PR_SET_KEEPCAPS`) and the execution of a program that has none of its own:
    /// they become inheritable and ambient, as with `unshare --keep-caps` (Linux 4.3). Of a list of them: [`ambient_capabilities`](Self::ambient_capabilities).
    ///
    /// `EPERM` where securebits of this process forbid it.
    pub fn keep_capabilities(&mut self, keep: bool) -> &mut Command {
        self.changed().keep_capabilities = keep;
        self
    }

    /// Sets these securebits beside those that it has (capabilities(7), `PR_SET_SECUREBITS`): what being root does not mean to it any more.
    ///
    /// `EPERM` without `CAP_SETPCAP` (with another [`uid`](Self::uid), that of the caller counts), for bits that are locked, and for those that this kernel does
    /// not know.
    pub fn securebits(&mut self, bits: SecureBits) -> &mut Command {
        self.changed().securebits = bits;
        self
    }

    /// Sets its I/O priority (ioprio_set(2)). Only some of the kernel's I/O schedulers look at it.
    ///
    /// `EPERM` for [`IoPriority::RealTime`] without `CAP_SYS_NICE`. [`Error::NoWall`] on a kernel without block devices (`ENOSYS`).
    pub fn io_priority(&mut self, priority: IoPriority) -> &mut Command {
        self.changed().io_priority = Some(priority);
        self
    }

    /// Whether its children begin without what favours it: with the policy [`Other`](crate::Scheduling::Other) if it has a real-time one, and with a nice value of 0 if
    /// it has one below (`SCHED_FLAG_RESET_ON_FORK`, sched_setattr(2); Linux 3.14).
    ///
    /// [`Error::NoWall`] where there is no such call (`ENOSYS`).
    pub fn reset_on_fork(&mut self, reset: bool) -> &mut Command {
        self.changed().reset_on_fork = reset;
        self
    }

    /// Whether it is a process that lives on by itself, as a daemon: it leads a session of its own ([`setsid`](Self::setsid)), has no
    /// descriptors but those that it is given ([`close_fds`](Self::close_fds)), and its streams lead to `/dev/null`, unless they are set, or piped by the call that
    /// starts it. It is not killed with anything of this process: together with [`dies_with_us`](Self::dies_with_us),
    /// [`parent_death_signal`](Self::parent_death_signal) or [`kill_on_drop`](Self::kill_on_drop) it is refused. It is still a child, and reaped when it ends.
    ///
    /// Started in a [`Job`](crate::Job), it ends with that: do not, or [detach](crate::Job::detach) the job.
    pub fn detached(&mut self, detached: bool) -> &mut Command {
        self.changed().detached = detached;
        self
    }

    /// What it comes to, when nothing is set any more.
    pub(super) fn is_detached(&self) -> bool {
        self.attributes.as_ref().is_some_and(|a| a.detached)
    }

    /// Where the streams go that are not set.
    pub(super) fn unless_detached(&self, defaults: [PlanStdio; 3]) -> Result<[PlanStdio; 3]> {
        if !self.is_detached() {
            return Ok(defaults);
        }
        if self.on_drop.kill {
            let why = "detached and kill_on_drop: either it lives on by itself or it ends with its Child: drop one".into();
            return Err(Error::InvalidPlan { program: self.program.clone(), why });
        }
        Ok(defaults.map(|stdio| if matches!(stdio, PlanStdio::Inherit) { PlanStdio::Null } else { stdio }))
    }
}
