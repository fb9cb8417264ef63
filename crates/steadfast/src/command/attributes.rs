//! The attributes of a new process: those of std's Unix extension, of Go's `SysProcAttr`, and others of the kernel, under their usual names.
//!
//! The last sentences of each method say how it can fail. These errors are [`Error::Spawn`](crate::Error::Spawn) with the call as stage. If two
//! settings contradict each other, the error is [`Error::InvalidPlan`](crate::Error::InvalidPlan).

use super::Command;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use steadfast_core::{
    Attributes, Capability, Disposition, IdMap, Limit, MountPropagation, Namespaces, Resource, Scheduling, Signal, SignalSet,
};

impl Command {
    pub(super) fn changed(&mut self) -> &mut Attributes {
        Arc::make_mut(self.attributes.get_or_insert_default())
    }
}

/// User, groups and privileges.
impl Command {
    /// Sets its user (setuid(2)). Supplementary groups are dropped, unless [`groups`](Self::groups) or
    /// [`keep_groups`](Self::keep_groups) is set, or the caller lacks the right to do so. `EPERM` without `CAP_SETUID`, except for the
    /// caller's own IDs.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.changed().uid = Some(id);
        self
    }

    /// Sets its group (setgid(2)). `EPERM` without `CAP_SETGID`, except for the caller's own IDs.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.changed().gid = Some(id);
        self
    }

    /// Gives it a copy of this process's memory until it executes its program, as fork(2) does, instead of sharing it. The spawn then takes
    /// the time of a fork, which grows with the memory in use.
    ///
    /// A child that shares memory, and has another [`uid`](Self::uid) or [`gid`](Self::gid) or
    /// [`ambient_capabilities`](Self::ambient_capabilities), makes this process not dumpable for good (`PR_SET_DUMPABLE`, prctl(2)): no core is
    /// dumped when this process crashes, and a debugger without privileges cannot attach. That protects its memory from the new user. A child
    /// with a copy does not change this.
    pub fn copy_memory(&mut self, copy: bool) -> &mut Command {
        self.changed().copy_memory = copy;
        self
    }

    /// Sets its supplementary groups (setgroups(2)). `EPERM` without `CAP_SETGID`.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.changed().groups = Some(groups.to_vec());
        self
    }

    /// Whether it keeps this process's supplementary groups, even with another [`uid`](Self::uid).
    pub fn keep_groups(&mut self, keep: bool) -> &mut Command {
        self.changed().keep_groups = keep;
        self
    }

    /// Gives it capabilities that survive the change of user and the execution of a program that has none of its own
    /// (capabilities(7), ambient set; Linux 4.3). `EPERM` for one that the caller does not have.
    ///
    /// ```no_run
    /// use steadfast::{Capability, Command};
    /// Command::new("server").uid(1000).gid(1000).ambient_capabilities([Capability::NET_BIND_SERVICE]).spawn()?;
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn ambient_capabilities(&mut self, capabilities: impl IntoIterator<Item = Capability>) -> &mut Command {
        self.changed().ambient = capabilities.into_iter().collect();
        self
    }

    /// Whether neither it nor what it executes can get more privileges by a set-user-ID bit or file capabilities
    /// (`PR_SET_NO_NEW_PRIVS`, Linux 3.5).
    pub fn no_new_privileges(&mut self, on: bool) -> &mut Command {
        self.changed().no_new_privileges = on;
        self
    }
}

/// Session, process group, terminal.
impl Command {
    /// Whether it becomes the leader of a new session, without a terminal (setsid(2)). This excludes [`process_group`](Self::process_group): the
    /// leader of a session is also the leader of a new group.
    pub fn setsid(&mut self, setsid: bool) -> &mut Command {
        self.changed().setsid = setsid;
        self.declines_session = !setsid;
        self
    }

    /// Puts it into this process group, or with 0 into a new one (setpgid(2)). `EPERM` if there is no such group in this session.
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.changed().process_group = Some(pgroup);
        self
    }

    /// Makes this terminal the controlling terminal of its new session (`TIOCSCTTY`, ioctl_tty(2)). It needs [`setsid`](Self::setsid). It is an
    /// error if the descriptor is not a terminal. `EPERM` if it is the controlling terminal of another session.
    pub fn controlling_terminal(&mut self, terminal: impl Into<OwnedFd>) -> &mut Command {
        self.changed().controlling_terminal = Some(Arc::new(terminal.into()));
        self
    }

    /// Brings its process group to the foreground of this terminal (`TIOCSPGRP`, tcsetpgrp(3)); without
    /// [`process_group`](Self::process_group) it gets a new group. It is an error if the descriptor is not a terminal. `ENOTTY` if it is not the
    /// terminal of this session.
    ///
    /// If this process has the foreground now, it has it again when that child has ended, and can go on using the terminal: after each way to wait
    /// through its [`Child`](crate::Child), in tasks too, when a `Child` is dropped whose child has ended or is [killed](Self::kill_on_drop), and when the start fails.
    /// That is done only if the group that got the terminal still has it, and changes no signal disposition. Errors of it are not told: then the
    /// terminal is lost to this session.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use steadfast::Command;
    /// let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    /// Command::new("vi").foreground(terminal).status()?;
    /// // And this program can read its keyboard again.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A child that stops (Ctrl-Z) gives it back as well, when [`wait_change`](crate::Child::wait_change) has seen that; the other waits do not hear of a
    /// stop. [`continue_in_foreground`](crate::Child::continue_in_foreground) gives it again.
    ///
    /// Not covered: a wait by a [`Process`](crate::Process) or a
    /// [`WaitSet`](crate::WaitSet) alone, until the `Child` is dropped; a `Child` that is dropped while the child runs, also if others wait for that
    /// ([`reap_on_drop(false)`](Self::reap_on_drop)); or whose time to start was up in the very moment in which it took the terminal. Several children in
    /// one group are better given it as a [job](crate::Job::continue_in_foreground). What the program has set on the terminal (tcsetattr(3)) is not undone.
    pub fn foreground(&mut self, terminal: impl Into<OwnedFd>) -> &mut Command {
        self.changed().foreground = Some(Arc::new(terminal.into()));
        self
    }

    /// Whether it gives up the controlling terminal of this session (`TIOCNOTTY` on `/dev/tty`). `ENXIO` if there is none.
    pub fn detach_terminal(&mut self, detach: bool) -> &mut Command {
        self.changed().detach_terminal = detach;
        self
    }
}

/// Where it is.
impl Command {
    /// Sets its root directory (chroot(2)), and its working directory to that root if none is set yet. A program that is given as
    /// a path is looked up inside. `EPERM` without `CAP_SYS_CHROOT`.
    pub fn chroot(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.changed().chroot = Some(dir.as_ref().to_owned());
        if self.current_dir.is_none() && self.changed().current_dir_fd.is_none() {
            self.current_dir("/");
        }
        self
    }

    /// Sets its working directory by descriptor (fchdir(2)). A relative [`current_dir`](Self::current_dir), and a program that is given as a relative
    /// path, start there. `ENOTDIR` if the descriptor is not a directory.
    pub fn current_dir_fd(&mut self, dir: impl Into<OwnedFd>) -> &mut Command {
        self.changed().current_dir_fd = Some(Arc::new(dir.into()));
        self
    }

    /// Sets its file mode creation mask (umask(2)), such as `0o027`.
    pub fn umask(&mut self, mask: u32) -> &mut Command {
        self.changed().umask = Some(mask);
        self
    }

    /// Starts it in new namespaces (clone(2), `CLONE_NEW…`). `EPERM` without `CAP_SYS_ADMIN`, except for
    /// [`Namespaces::USER`], in which it has all capabilities; the stage is `clone into new namespaces`. With [`Namespaces::MOUNT`] all
    /// its mounts become private, see [`mount_propagation`](Self::mount_propagation).
    ///
    /// ```no_run
    /// use steadfast::{Command, IdMap, Namespaces};
    /// let root = |id| [IdMap { inside: 0, outside: id, count: 1 }];
    /// let sandbox = Namespaces::USER | Namespaces::PID | Namespaces::NET;
    /// Command::new("make").namespaces(sandbox).uid_map(root(1000)).gid_map(root(1000)).status()?;
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn namespaces(&mut self, new: Namespaces) -> &mut Command {
        self.changed().namespaces = new;
        self
    }

    /// Moves it into new namespaces just before the program (unshare(2)). With [`Namespaces::MOUNT`] all its mounts become private, see
    /// [`mount_propagation`](Self::mount_propagation).
    /// [`Namespaces::PID`] is then for its children, and on older kernels so is [`Namespaces::TIME`]. `EPERM` as for
    /// [`namespaces`](Self::namespaces).
    pub fn unshare(&mut self, new: Namespaces) -> &mut Command {
        self.changed().unshare = new;
        self
    }

    /// Sets the propagation of the mounts in its new mount namespace, which [`namespaces`](Self::namespaces) or [`unshare`](Self::unshare) makes. By
    /// default it is [`MountPropagation::Private`]: what is mounted inside is not seen outside. (clone(2) and unshare(2) leave shared mounts
    /// shared; unshare(1) makes them private too.)
    ///
    /// `EINVAL`, with the stage `mount / as private`, where the caller's root is not a mount point, as in a chroot(2): use
    /// [`MountPropagation::Unchanged`] there.
    pub fn mount_propagation(&mut self, propagation: MountPropagation) -> &mut Command {
        self.changed().mount_propagation = propagation;
        self
    }

    /// Maps user IDs of its new user namespace (user_namespaces(7)). Without privileges only the caller's own ID can be mapped.
    ///
    /// Such a child gets a copy of this process's memory, and the spawn takes the time of a fork(2).
    pub fn uid_map(&mut self, map: impl IntoIterator<Item = IdMap>) -> &mut Command {
        self.changed().uid_map = map.into_iter().collect();
        self
    }

    /// Maps group IDs of its new user namespace; as [`uid_map`](Self::uid_map). setgroups(2) is denied in it, as Linux requires since 3.19 for a caller
    /// without privileges, unless [`allow_setgroups`](Self::allow_setgroups) is set.
    pub fn gid_map(&mut self, map: impl IntoIterator<Item = IdMap>) -> &mut Command {
        self.changed().gid_map = map.into_iter().collect();
        self
    }

    /// Whether setgroups(2) is allowed in its new user namespace.
    pub fn allow_setgroups(&mut self, allow: bool) -> &mut Command {
        self.changed().allow_setgroups = allow;
        self
    }

    /// Starts it in the cgroup of this directory (`CLONE_INTO_CGROUP`, Linux 5.7). Where the kernel cannot do that (before 5.7, or a
    /// cgroup of version 1), the child joins it before all other steps. `EACCES` without the right to write its `cgroup.procs`.
    ///
    /// With a limit of memory there or above, it gets a [copy](Self::copy_memory) of ours: at want of memory the kernel kills all who share one.
    /// Do not start anything in a cgroup after its `cgroup.kill`: before Linux 7.3 whoever is born there later is killed too. For processes that are to
    /// end together, there is [`Job`](crate::Job).
    pub fn cgroup(&mut self, dir: impl Into<OwnedFd>) -> &mut Command {
        self.changed().cgroup = Some(Arc::new(dir.into()));
        self
    }
}

/// Descriptors, and the program as one.
impl Command {
    /// Gives it a descriptor of this process under this number. Any number can be used; numbers may overlap with those in use here. The standard streams
    /// are 0, 1 and 2. The descriptor itself is closed when the command is dropped. The same number twice is an error. `EBADF` for a number beyond
    /// `RLIMIT_NOFILE`; `EINVAL` or `EMFILE` if there is no free number to move descriptors out of the way.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use steadfast::Command;
    /// let (mut ours, theirs) = UnixStream::pair()?;
    /// ours.write_all(b"through 7\n")?;
    /// drop(ours);
    /// let output = Command::new("sh").args(["-c", "cat <&7"]).fd(7, theirs).output()?;
    /// assert_eq!(output.stdout, b"through 7\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fd(&mut self, number: i32, fd: impl Into<OwnedFd>) -> &mut Command {
        self.changed().fds.push((number, Arc::new(fd.into())));
        self
    }

    /// Hands over sockets that already listen, each with a name, as systemd(1) does for a service (sd_listen_fds(3)): they are the child's descriptors
    /// from 3 on, in this order, and its environment has `LISTEN_FDS`, `LISTEN_FDNAMES`, and `LISTEN_PID` with its own PID, by which the program
    /// knows that they are meant for it and not for its parent. In a PID namespace of its own that is its number there. Without sockets it has no such
    /// variables, this program's own neither.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use steadfast::Command;
    /// let http = TcpListener::bind("127.0.0.1:0")?;
    /// let mut server = Command::new("sh");
    /// server.args(["-c", "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES"]).listen_fds([("http", http)]);
    /// assert_eq!(server.output()?.stdout, b"1 http\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A second call replaces the names, and contradicts the first, as [`fd`](Self::fd) 3 does. A name has no `:`.
    pub fn listen_fds(&mut self, sockets: impl IntoIterator<Item = (impl AsRef<OsStr>, impl Into<OwnedFd>)>) -> &mut Command {
        let mut names = OsString::new();
        let mut count = 0;
        for (name, socket) in sockets {
            if count > 0 {
                names.push(":");
            }
            names.push(name);
            self.fd(3 + count, socket);
            count += 1;
        }
        self.env_remove("LISTEN_PID");
        if count == 0 {
            return self.env_remove("LISTEN_FDS").env_remove("LISTEN_FDNAMES");
        }
        self.changed().pid_variable = Some("LISTEN_PID".into());
        self.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names)
    }

    /// Whether it gets no descriptors except 0, 1, 2 and those given by [`fd`](Self::fd). All others are closed when the program starts, even those that
    /// other code has opened without close-on-exec. This is done with close_range(2) (Linux 5.11), or by the list in `/proc/self/fd`, or one by one
    /// up to the limit.
    pub fn close_fds(&mut self, close: bool) -> &mut Command {
        self.changed().close_fds = close;
        self
    }

    /// Executes this open file (execveat(2), Linux 3.19). What is at the program's path does not matter then; the path is only passed as a name. A
    /// script with `#!` works if there is a `/dev/fd`, and has itself open under this number.
    pub fn executable(&mut self, file: impl Into<OwnedFd>) -> &mut Command {
        self.changed().executable = Some(Arc::new(file.into()));
        self
    }
}

/// What it may use.
impl Command {
    /// Limits a resource (setrlimit(2)): soft and hard alike, or `(soft, hard)`. Hard limits are raised before the user is
    /// changed, and lowered last, so that a limit does not prevent another setting. `EPERM` for a hard limit above the
    /// caller's without `CAP_SYS_RESOURCE`.
    pub fn rlimit(&mut self, resource: Resource, limit: impl Into<Limit>) -> &mut Command {
        self.changed().limits.retain(|(other, _)| *other != resource);
        self.changed().limits.push((resource, limit.into()));
        self
    }

    /// Sets its nice value, -20 (most favoured) to 19 (setpriority(2)). `EACCES` below the caller's without `CAP_SYS_NICE`.
    pub fn nice(&mut self, nice: i32) -> &mut Command {
        self.changed().nice = Some(nice);
        self
    }

    /// Sets its scheduling policy (sched(7)). `EPERM` for a real-time one without `CAP_SYS_NICE`.
    pub fn scheduling(&mut self, scheduling: Scheduling) -> &mut Command {
        self.changed().scheduling = Some(scheduling);
        self
    }

    /// Sets the CPUs that it may run on, numbered from 0 (sched_setaffinity(2)). `EINVAL` if this machine has none of them.
    pub fn cpu_affinity(&mut self, cpus: impl IntoIterator<Item = usize>) -> &mut Command {
        self.changed().affinity = cpus.into_iter().collect();
        self
    }

    /// Sets how likely the kernel is to kill it when memory runs out: -1000 (never) to 1000 (proc_pid_oom_score_adj(5)). `EACCES` below
    /// the caller's without `CAP_SYS_RESOURCE`; `ENOENT` without `/proc`. The child gets a copy of this process's memory, as for a fork(2): the
    /// kernel sets the score of all processes that share one.
    pub fn oom_score_adj(&mut self, score: i32) -> &mut Command {
        self.changed().oom_score_adj = Some(score);
        self
    }

    /// Sets its execution domain (personality(2)), such as `0x0040000` for addresses that are not randomised.
    pub fn personality(&mut self, persona: u32) -> &mut Command {
        self.changed().personality = Some(persona);
        self
    }
}

/// Signals and tracing.
impl Command {
    /// Sets which signals are blocked in it. By default: those that are blocked in the thread that spawns it.
    pub fn signal_mask(&mut self, blocked: SignalSet) -> &mut Command {
        self.changed().signal_mask = Some(blocked);
        self
    }

    /// Makes it ignore a signal, or not ignore one that this process ignores. By default it ignores the signals that this process ignores, except
    /// `SIGPIPE`; all others have their default action.
    pub fn signal_disposition(&mut self, signal: Signal, disposition: Disposition) -> &mut Command {
        self.changed().dispositions.retain(|(other, _)| *other != signal);
        self.changed().dispositions.push((signal, disposition));
        self
    }

    /// Sends it this signal when the thread that spawns it ends (`PR_SET_PDEATHSIG`), or at once if that has happened before the
    /// program starts. A program with a set-user-ID bit or file capabilities loses it.
    ///
    /// The signal is sent when the *thread* ends, not this process: spawn from a thread that lives as long as you need the child, or see
    /// [`dies_with_us`](Self::dies_with_us).
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Command {
        self.changed().parent_death_signal = Some(signal);
        self
    }

    /// Whether it is killed when this process is gone, whatever has ended it (`SIGKILL` and want of memory included), and when it executes another
    /// program. What the child starts is not; a [`Job`](crate::Job) takes all of that.
    ///
    /// By a parent-death signal (`PR_SET_PDEATHSIG`, prctl(2)), which the kernel forgets when the child changes its user or group by itself, as many daemons
    /// do, and when it executes a program with a set-user-ID bit or file capabilities, or any program while its real and effective user differ; and
    /// which is not delivered if this process may not signal the child any more, because it has changed its own user. A [`Job`](crate::Job) has none
    /// of these exceptions. So that the signal comes with the end of this
    /// process, and not of the thread that spawns, a thread of the library is the child's parent, and sleeps until the child ends.
    ///
    /// Not together with [`parent_death_signal`](Self::parent_death_signal) or [`trace_me`](Self::trace_me); not for [`exec`](Self::exec).
    pub fn dies_with_us(&mut self, dies: bool) -> &mut Command {
        self.changed().dies_with_us = dies;
        self
    }

    /// Whether it is traced by the thread that spawns it (`PTRACE_TRACEME`, ptrace(2)): it stops with `SIGTRAP` when it has
    /// executed the program. `EPERM` if it is already traced.
    pub fn trace_me(&mut self, trace: bool) -> &mut Command {
        self.changed().trace_me = trace;
        self
    }
}
