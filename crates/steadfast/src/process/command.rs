//! [`Command`]: std's builder under std's signatures.

use super::{Child, Stdio, std_error};
use crate::{
    Capability, CommandArgs, CommandEnvs, Disposition, ExitStatus, IdMap, Limit, MountPropagation, Namespaces, Output, Resource,
    Scheduling, Signal, SignalSet,
};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use steadfast_core::{Errno, Error, Hook};

/// `std::process::Command`, with the attributes of [`steadfast::Command`](crate::Command).
///
/// ```
/// use steadfast::process::Command;
/// let output = Command::new("sh").args(["-c", "umask"]).umask(0o027).output()?;
/// assert_eq!(output.stdout, b"0027\n");
/// # std::io::Result::Ok(())
/// ```
pub struct Command(crate::Command);

impl Command {
    /// A command that runs `program`; a name without a slash is searched in the child's `PATH`.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command(crate::Command::new(program))
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.0.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.0.args(args);
        self
    }

    /// Sets a variable of its environment. As with std, a name may hold a `=`: `A=B` with the value `C` is the variable `A` with `B=C`.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let (name, value) = (key.as_ref().as_bytes(), val.as_ref().as_bytes());
        match name.iter().skip(1).position(|byte| *byte == b'=') {
            None => self.0.env(&key, &val),
            Some(before) => {
                let (name, rest) = name.split_at(before + 1);
                self.0.env(OsStr::from_bytes(name), OsString::from_vec([&rest[1..], b"=", value].concat()))
            }
        };
        self
    }

    /// Sets variables of its environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        for (name, value) in vars {
            self.env(name, value);
        }
        self
    }

    /// Removes a variable, inherited or set before.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.0.env_remove(key);
        self
    }

    /// Removes all variables, inherited or set before.
    pub fn env_clear(&mut self) -> &mut Command {
        self.0.env_clear();
        self
    }

    /// Sets its working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.0.current_dir(dir);
        self
    }

    /// Sets its stdin. Otherwise: this process's; with [`output`](Command::output), `/dev/null`.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.0.stdin(cfg);
        self
    }

    /// Sets its stdout. Otherwise: this process's; with [`output`](Command::output), a pipe.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.0.stdout(cfg);
        self
    }

    /// Sets its stderr. Otherwise: this process's; with [`output`](Command::output), a pipe.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.0.stderr(cfg);
        self
    }

    /// Starts it; returns once the program runs.
    ///
    /// # Errors
    /// The errno of the step that failed, such as `ENOENT` for a missing program, which is `NotFound`. `InvalidInput` without an errno for
    /// what no program can be given: a NUL byte, or two settings that contradict each other. As
    /// [`steadfast::Command::spawn`](crate::Command::spawn).
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.checked(crate::Command::spawn).map(Child::from)
    }

    /// Starts it, waits for it and gives its status.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.checked(crate::Command::status)
    }

    /// Starts it, reads its stdout and stderr to the end, and waits for it.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.checked(crate::Command::output)
    }

    /// The program, as it was given to [`new`](Command::new).
    pub fn get_program(&self) -> &OsStr {
        self.0.get_program()
    }

    /// The arguments, without the program's own name.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.0.get_args()
    }

    /// The variables that were set, and with `None` those that were removed, sorted by name.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.0.get_envs()
    }

    /// The working directory, if it was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.0.get_current_dir()
    }

    /// Whether [`env_clear`](Command::env_clear) was called.
    pub fn get_env_clear(&self) -> bool {
        self.0.get_env_clear()
    }

    /// Ours beneath it.
    pub fn as_native(&self) -> &crate::Command {
        &self.0
    }

    /// Ours beneath it, for what it has and this has not.
    pub fn as_native_mut(&mut self) -> &mut crate::Command {
        &mut self.0
    }

    /// An empty name is, to std, one of a program that is not there.
    fn checked<T>(&self, start: impl FnOnce(&crate::Command) -> Result<T, Error>) -> io::Result<T> {
        if self.get_program().is_empty() {
            return Err(io::Error::from_raw_os_error(Errno::NOENT.as_raw()));
        }
        start(&self.0).map_err(std_error)
    }
}

macro_rules! attributes {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        /// What std does not have, or has in `CommandExt`.
        impl Command {$(
            #[doc = concat!("As [`steadfast::Command::", stringify!($name), "`](crate::Command::", stringify!($name), ").")]
            pub fn $name(&mut self, $($argument: $type),*) -> &mut Command {
                self.0.$name($($argument),*);
                self
            }
        )*}
    };
}

attributes! {
    keep_groups(keep: bool);
    copy_memory(copy: bool);
    ambient_capabilities(capabilities: impl IntoIterator<Item = Capability>);
    no_new_privileges(on: bool);
    controlling_terminal(terminal: impl Into<OwnedFd>);
    foreground(terminal: impl Into<OwnedFd>);
    detach_terminal(detach: bool);
    current_dir_fd(dir: impl Into<OwnedFd>);
    umask(mask: u32);
    namespaces(new: Namespaces);
    unshare(new: Namespaces);
    mount_propagation(propagation: MountPropagation);
    uid_map(map: impl IntoIterator<Item = IdMap>);
    gid_map(map: impl IntoIterator<Item = IdMap>);
    allow_setgroups(allow: bool);
    cgroup(dir: impl Into<OwnedFd>);
    fd(number: i32, fd: impl Into<OwnedFd>);
    close_fds(close: bool);
    executable(file: impl Into<OwnedFd>);
    rlimit(resource: Resource, limit: impl Into<Limit>);
    nice(nice: i32);
    scheduling(scheduling: Scheduling);
    cpu_affinity(cpus: impl IntoIterator<Item = usize>);
    oom_score_adj(score: i32);
    personality(persona: u32);
    signal_mask(blocked: SignalSet);
    signal_disposition(signal: Signal, disposition: Disposition);
    parent_death_signal(signal: Signal);
    trace_me(trace: bool);
    env_exact(vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>);
    kill_on_drop(kill: bool);
    reap_on_drop(reap: bool);
    create_pidfd(wish: bool);
}

impl steadfast_linux::StdCommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        self.0.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        self.0.gid(id);
        self
    }

    fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.0.groups(groups);
        self
    }

    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.0.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.0.process_group(pgroup);
        self
    }

    fn setsid(&mut self, setsid: bool) -> &mut Command {
        self.0.setsid(setsid);
        self
    }

    fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.0.chroot(dir);
        self
    }

    fn exec(&mut self) -> io::Error {
        self.checked(|command| Err(command.exec())).map_or_else(|error| error, |never: std::convert::Infallible| match never {})
    }

    fn add_hook(&mut self, hook: Hook) -> &mut Command {
        steadfast_linux::CommandExt::add_hook(&mut self.0, hook);
        self
    }
}

/// As std shows it: a line of shell, with `{:#?}` all the settings.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<crate::Command> for Command {
    fn from(command: crate::Command) -> Command {
        Command(command)
    }
}

impl From<Command> for crate::Command {
    fn from(command: Command) -> crate::Command {
        command.0
    }
}

/// Program, arguments, environment and working directory. The rest std does not show, and it is **lost**: the streams, `arg0`, user and
/// group, the process group, closures of `pre_exec`. Set them again.
impl From<std::process::Command> for Command {
    fn from(command: std::process::Command) -> Command {
        let mut ours = Command::new(command.get_program());
        ours.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => ours.env(name, value),
                None => ours.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            ours.current_dir(dir);
        }
        ours
    }
}
