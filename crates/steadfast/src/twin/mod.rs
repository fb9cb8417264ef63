//! What the twins share: the builder, and an [`Error`] as std would give it.
//!
//! A twin has the names, signatures and behaviour of another library, over this one: [`steadfast::process`](crate::process) those of std. The
//! type of a twin's builder is [`Command`], for the face `F` that says how it is started; a program sees it by the twin's own name.

mod error;

pub use error::cause_of;
pub(crate) use error::{killed, std_error};

use crate::{
    Capability, CommandArgs, CommandEnvs, Disposition, Handle, IdMap, IoPriority, Limit, MountPropagation, Namespaces, Resource,
    Scheduling, SeccompFilter, SecureBits, Signal, SignalSet, Stdio,
};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use steadfast_core::{Errno, Error, Hook};

/// The `Command` of a twin: our builder under std's signatures. What starts it is the twin's own: for `F` of
/// [`Std`](crate::process::Std) the methods of std's, for a runtime those of its crate.
pub struct Command<F> {
    command: crate::Command,
    face: PhantomData<fn() -> F>,
}

impl<F> Command<F> {
    /// A command that runs `program`; a name without a slash is searched in the child's `PATH`.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command<F> {
        let mut command = crate::Command::new(program);
        command.handle(Handle::IfPossible);
        Command::from(command)
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command<F> {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command<F>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment. As with std, a name may hold a `=`: `A=B` with the value `C` is the variable `A` with `B=C`.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command<F>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let (name, value) = (key.as_ref().as_bytes(), val.as_ref().as_bytes());
        match name.iter().skip(1).position(|byte| *byte == b'=') {
            None => self.command.env(&key, &val),
            Some(before) => {
                let (name, rest) = name.split_at(before + 1);
                self.command.env(OsStr::from_bytes(name), OsString::from_vec([&rest[1..], b"=", value].concat()))
            }
        };
        self
    }

    /// Sets variables of its environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command<F>
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
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command<F> {
        self.command.env_remove(key);
        self
    }

    /// Removes all variables, inherited or set before.
    pub fn env_clear(&mut self) -> &mut Command<F> {
        self.command.env_clear();
        self
    }

    /// Sets its working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command<F> {
        self.command.current_dir(dir);
        self
    }

    /// Sets its stdin. Otherwise: this process's; with `output`, `/dev/null`.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command<F> {
        self.command.stdin(cfg);
        self
    }

    /// Sets its stdout. Otherwise: this process's; with `output`, a pipe.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command<F> {
        self.command.stdout(cfg);
        self
    }

    /// Sets its stderr. Otherwise: this process's; with `output`, a pipe.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command<F> {
        self.command.stderr(cfg);
        self
    }

    /// The program, as it was given to [`new`](Command::new).
    pub fn get_program(&self) -> &OsStr {
        self.command.get_program()
    }

    /// The arguments, without the program's own name.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.command.get_args()
    }

    /// The variables that were set, and with `None` those that were removed, sorted by name.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.command.get_envs()
    }

    /// The working directory, if it was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.command.get_current_dir()
    }

    /// Whether [`env_clear`](Command::env_clear) was called.
    pub fn get_env_clear(&self) -> bool {
        self.command.get_env_clear()
    }

    /// Ours beneath it.
    pub fn as_native(&self) -> &crate::Command {
        &self.command
    }

    /// Ours beneath it, for what it has and this has not.
    pub fn as_native_mut(&mut self) -> &mut crate::Command {
        &mut self.command
    }

    /// An empty name is, to std, one of a program that is not there.
    pub(crate) fn checked<T>(&self, start: impl FnOnce(&crate::Command) -> Result<T, Error>) -> io::Result<T> {
        if self.get_program().is_empty() {
            return Err(io::Error::from_raw_os_error(Errno::NOENT.as_raw()));
        }
        start(&self.command).map_err(std_error)
    }
}

macro_rules! attributes {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        /// What std does not have, or has in `CommandExt`.
        impl<F> Command<F> {$(
            #[doc = concat!("As [`steadfast::Command::", stringify!($name), "`](crate::Command::", stringify!($name), ").")]
            pub fn $name(&mut self, $($argument: $type),*) -> &mut Command<F> {
                self.command.$name($($argument),*);
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
    inheritable_capabilities(capabilities: impl IntoIterator<Item = Capability>);
    bounding_capabilities(kept: impl IntoIterator<Item = Capability>);
    keep_capabilities(keep: bool);
    securebits(bits: SecureBits);
    landlock(ruleset: impl Into<OwnedFd>);
    seccomp(filter: SeccompFilter);
    walls_if_possible(if_possible: bool);
    io_priority(priority: IoPriority);
    reset_on_fork(reset: bool);
    detached(detached: bool);
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
    listen_fds(sockets: impl IntoIterator<Item = (impl AsRef<OsStr>, impl Into<OwnedFd>)>);
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
    dies_with_us(dies: bool);
    trace_me(trace: bool);
    env_exact(vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>);
    trace_context(traceparent: impl AsRef<OsStr>, tracestate: Option<&OsStr>);
    kill_on_drop(kill: bool);
    reap_on_drop(reap: bool);
    create_pidfd(wish: bool);
    handle(handle: Handle);
}

impl<F> steadfast_linux::StdCommandExt for Command<F> {
    fn uid(&mut self, id: u32) -> &mut Command<F> {
        self.command.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command<F> {
        self.command.gid(id);
        self
    }

    fn groups(&mut self, groups: &[u32]) -> &mut Command<F> {
        self.command.groups(groups);
        self
    }

    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command<F> {
        self.command.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command<F> {
        self.command.process_group(pgroup);
        self
    }

    fn setsid(&mut self, setsid: bool) -> &mut Command<F> {
        self.command.setsid(setsid);
        self
    }

    fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command<F> {
        self.command.chroot(dir);
        self
    }

    fn exec(&mut self) -> io::Error {
        self.checked(|command| Err(command.exec())).map_or_else(|error| error, |never: std::convert::Infallible| match never {})
    }

    fn add_hook(&mut self, hook: Hook) -> &mut Command<F> {
        steadfast_linux::CommandExt::add_hook(&mut self.command, hook);
        self
    }
}

/// As std shows it: a line of shell, with `{:#?}` all the settings.
impl<F> fmt::Debug for Command<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.command.fmt(f)
    }
}

impl<F> From<crate::Command> for Command<F> {
    fn from(command: crate::Command) -> Command<F> {
        Command { command, face: PhantomData }
    }
}

impl<F> From<Command<F>> for crate::Command {
    fn from(command: Command<F>) -> crate::Command {
        command.command
    }
}

/// Program, arguments, environment and working directory. The rest std does not show, and it is **lost**: the streams, `arg0`, user and
/// group, the process group, closures of `pre_exec`. Set them again.
impl<F> From<std::process::Command> for Command<F> {
    fn from(command: std::process::Command) -> Command<F> {
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
