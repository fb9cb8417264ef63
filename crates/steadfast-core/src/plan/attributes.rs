//! [`Attributes`]: what a new process is to be, beyond program, arguments, environment and streams.

use crate::{
    Capability, Disposition, IdMap, IoPriority, Limit, MountPropagation, Namespaces, Resource, Scheduling, SeccompFilter,
    SecureBits, Signal, SignalSet, Wall,
};
use once_cell::race::OnceBox;
use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// What a new process is to be. Each field at its default leaves that as the caller has it.
///
/// The names in the [conflicts](crate::PlanBuilder::build) are those of the facade's methods, which are the fields' unless said.
#[derive(Clone, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "it is filled field by field from a default, which a new field does not break")]
pub struct Attributes {
    /// User ID (setuid(2)).
    pub uid: Option<u32>,
    /// Group ID (setgid(2)).
    pub gid: Option<u32>,
    /// Supplementary groups (setgroups(2)). `None` with a `uid`: none at all, if the caller may drop them.
    pub groups: Option<Vec<u32>>,
    /// Keeps the caller's supplementary groups, whatever the `uid`.
    pub keep_groups: bool,
    /// Capabilities that survive the execution of a program without file capabilities (capabilities(7)); `ambient_capabilities`.
    pub ambient: Vec<Capability>,
    /// Its inheritable capabilities; `None`: the caller's. `inheritable_capabilities`.
    pub inheritable: Option<Vec<Capability>>,
    /// The capabilities that stay in its bounding set (`PR_CAPBSET_DROP`); `None`: all that are; `bounding_capabilities`.
    pub bounding: Option<Vec<Capability>>,
    /// All capabilities that it is permitted survive the change of user and the execution of its program.
    pub keep_capabilities: bool,
    /// Securebits that it gets beside those that it has (`PR_SET_SECUREBITS`).
    pub securebits: SecureBits,

    /// Gives it a copy of this process's memory until it executes the program, as fork(2) does, instead of sharing it.
    pub copy_memory: bool,

    /// It is to live on by itself: nothing that ends with the caller may end it. (What makes it so, a session of its own and streams that
    /// lead nowhere, is asked for beside.)
    pub detached: bool,
    /// A session of its own (setsid(2)).
    pub setsid: bool,
    /// Process group; 0: one of its own (setpgid(2)).
    pub process_group: Option<i32>,
    /// This terminal becomes the controlling one of the new session (`TIOCSCTTY`).
    pub controlling_terminal: Option<Arc<OwnedFd>>,
    /// Its process group becomes the foreground one of this terminal (`TIOCSPGRP`); without a `process_group` it gets its own.
    pub foreground: Option<Arc<OwnedFd>>,
    /// Gives up the controlling terminal (`TIOCNOTTY`).
    pub detach_terminal: bool,

    /// Root directory (chroot(2)).
    pub chroot: Option<PathBuf>,
    /// The directory to be in, and that a relative working directory starts from (fchdir(2)).
    pub current_dir_fd: Option<Arc<OwnedFd>>,
    /// File mode creation mask.
    pub umask: Option<u32>,

    /// New namespaces that it is born into (clone(2)).
    pub namespaces: Namespaces,
    /// Namespaces that it moves into before it executes the program (unshare(2)).
    pub unshare: Namespaces,
    /// What becomes of the mounts in a new mount namespace, be it of `namespaces` or of `unshare`.
    pub mount_propagation: MountPropagation,
    /// User IDs of the new user namespace.
    pub uid_map: Vec<IdMap>,
    /// Group IDs of the new user namespace.
    pub gid_map: Vec<IdMap>,
    /// Leaves setgroups(2) allowed in the new user namespace, which takes privileges.
    pub allow_setgroups: bool,
    /// Namespaces of others that it is born into. What a job by namespace has put there.
    pub enter: Option<Arc<EnterNamespaces>>,
    /// The directory of a cgroup to be born in (`CLONE_INTO_CGROUP`) or to join.
    pub cgroup: Option<Arc<OwnedFd>>,
    /// Files `tasks` of cgroups of version 1 that it joins. What a job with limits has put there.
    pub tasks: Vec<Arc<OwnedFd>>,
    /// What a job of a simulation has made for it to be born in. Only the backend that has made it knows its type.
    pub member_of: Option<Arc<dyn Any + Send + Sync>>,

    /// Descriptors by the number that they get; `fd` and `fds`.
    pub fds: Vec<(i32, Arc<OwnedFd>)>,
    /// Leaves it no descriptors but 0, 1, 2 and [`fds`](Self::fds).
    pub close_fds: bool,

    /// Resource limits (setrlimit(2)); `rlimit`.
    pub limits: Vec<(Resource, Limit)>,
    /// Nice value, -20 to 19 (setpriority(2)).
    pub nice: Option<i32>,
    /// Scheduling policy (sched(7)).
    pub scheduling: Option<Scheduling>,
    /// Its children do not inherit a real-time policy or a nice value below 0 (`SCHED_FLAG_RESET_ON_FORK`).
    pub reset_on_fork: bool,
    /// I/O priority (ioprio_set(2)).
    pub io_priority: Option<IoPriority>,
    /// CPUs that it may run on (sched_setaffinity(2)); empty: the caller's; `cpu_affinity`.
    pub affinity: Vec<usize>,
    /// How the kernel likes to kill it when out of memory, -1000 to 1000 (proc_pid_oom_score_adj(5)).
    pub oom_score_adj: Option<i32>,
    /// Execution domain (personality(2)).
    pub personality: Option<u32>,

    /// No program gives it more privileges than it has (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// Sets of Landlock's rules, each by its descriptor (landlock_restrict_self(2)).
    pub landlock: Vec<Arc<OwnedFd>>,
    /// Filters of system calls, the first one first (seccomp(2)).
    pub seccomp: Vec<SeccompFilter>,
    /// A [`Wall`] that this kernel does not have is left out, and reported ([`Spawned::missing_walls`](crate::Spawned::missing_walls)), instead of
    /// failing the spawn.
    pub walls_if_possible: bool,
    /// Blocked signals. `None`: those of the calling thread.
    pub signal_mask: Option<SignalSet>,
    /// Signals to ignore, or to reset to their defaults; `signal_disposition`.
    pub dispositions: Vec<(Signal, Disposition)>,
    /// The signal that it gets when its parent dies (`PR_SET_PDEATHSIG`).
    pub parent_death_signal: Option<Signal>,
    /// It is killed when the caller's process is gone: has ended in whatever way, or executes another program.
    pub dies_with_us: bool,
    /// It is traced by its parent (`PTRACE_TRACEME`).
    pub trace_me: bool,

    /// A variable of its environment whose value is its own PID, as the program sees it; `listen_fds`.
    pub pid_variable: Option<OsString>,
    /// The program as an open file (execveat(2)); the program's name is then only its name; `executable`.
    pub executable: Option<Arc<OwnedFd>>,
    /// The caller's code to run in the child just before the program; `pre_exec`.
    pub hooks: Vec<Hook>,
}

/// Namespaces that exist, each by a descriptor (namespaces(7)).
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is made and taken apart by backends")]
pub struct EnterNamespaces {
    /// The PID namespace that it is born into.
    pub pid: OwnedFd,
    /// The user namespace in which the caller may do that, if it may not in its own.
    pub user: Option<OwnedFd>,
}

/// (A lazy lock that another thread was just filling at a fork(2) would be shut for ever in the child.)
static NONE: OnceBox<Attributes> = OnceBox::new();

impl Attributes {
    /// Those of the caller, all of them: one for everybody, so that a plan without any costs nothing.
    pub fn none() -> &'static Attributes {
        NONE.get_or_init(Box::default)
    }

    /// The walls that it asks for.
    pub fn walls(&self) -> impl Iterator<Item = Wall> + use<> {
        let asked = [!self.landlock.is_empty(), !self.seccomp.is_empty(), self.io_priority.is_some(), self.reset_on_fork];
        Wall::ALL.into_iter().zip(asked).filter_map(|(wall, asked)| asked.then_some(wall))
    }

    /// The signal that it gets when its parent dies, whichever setting asks for one.
    pub fn death_signal(&self) -> Option<Signal> {
        if self.dies_with_us { Some(Signal::KILL) } else { self.parent_death_signal }
    }

    /// Puts it into a process group that is a job: for authors of a backend ([`BackendJob::join`](crate::BackendJob::join)).
    ///
    /// # Errors
    /// What contradicts that, and what to do.
    pub fn join_group(&mut self, group: i32) -> Result<(), String> {
        if self.setsid {
            return Err("setsid and a job by group: who has a session of its own is in no group of another: drop one, or insist on a cgroup".into());
        }
        if self.process_group.is_some() {
            return Err("process_group and a job by group: a process is in one group: drop one".into());
        }
        self.process_group = Some(group);
        Ok(())
    }

    /// Whether it is to be born into another cgroup or namespace, perhaps, and is as the caller in all else.
    pub fn are_of_a_job_alone(&self) -> bool {
        // Without `..`, so that a new attribute is not forgotten here.
        let Attributes {
            uid: None,
            gid: None,
            groups: None,
            keep_groups: false,
            ambient,
            inheritable: None,
            bounding: None,
            keep_capabilities: false,
            securebits,
            copy_memory: false,
            detached: false,
            setsid: false,
            process_group: None,
            controlling_terminal: None,
            foreground: None,
            detach_terminal: false,
            chroot: None,
            current_dir_fd: None,
            umask: None,
            namespaces,
            unshare,
            mount_propagation: MountPropagation::Private,
            uid_map,
            gid_map,
            allow_setgroups: false,
            enter: _,
            cgroup: _,
            tasks: _,
            member_of: None,
            fds,
            close_fds: false,
            limits,
            nice: None,
            scheduling: None,
            reset_on_fork: false,
            io_priority: None,
            affinity,
            oom_score_adj: None,
            personality: None,
            no_new_privileges: false,
            landlock,
            seccomp,
            walls_if_possible: false,
            signal_mask: None,
            dispositions,
            parent_death_signal: None,
            dies_with_us: false,
            trace_me: false,
            pid_variable: None,
            executable: None,
            hooks,
        } = self
        else {
            return false;
        };
        ambient.is_empty()
            && securebits.is_empty()
            && landlock.is_empty()
            && seccomp.is_empty()
            && namespaces.is_empty()
            && unshare.is_empty()
            && uid_map.is_empty()
            && gid_map.is_empty()
            && fds.is_empty()
            && limits.is_empty()
            && affinity.is_empty()
            && dispositions.is_empty()
            && hooks.is_empty()
    }

    /// Whether these are [`none`](Self::none), so that there is nothing to be looked at. (Others may say the same in more words.)
    pub fn is_none(&self) -> bool {
        std::ptr::eq(self, Attributes::none())
    }
}

/// Code of the caller's, to be run in the child: of a type that the backend knows, or else the backend refuses it.
///
/// What may be run there is more than safe Rust can say; so the one type that the real backends know can be made with `unsafe`
/// only.
#[derive(Clone)]
pub struct Hook(Arc<dyn Any + Send + Sync>);

impl Hook {
    /// Wraps it.
    pub fn new(code: Arc<dyn Any + Send + Sync>) -> Hook {
        Hook(code)
    }

    /// The code, if it is of this type.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
