//! [`Command`]: std's builder, for a process with a handle.

use crate::stdio::Source;
use crate::{Child, ExitStatus, Output, Process, Stdio, System};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use steadfast_core::{Error, Plan, PlanStdio, Result};

/// Starts processes, with the methods of `std::process::Command`.
///
/// The child shares this process's memory until it executes the program, so that its price does not grow with the size of this
/// process; see ARCHITECTURE.md. It begins with this thread's signal mask, handlers at their defaults, and `SIGPIPE`, which Rust
/// ignores, at its default too.
///
/// ```
/// use steadfast::Command;
/// let output = Command::new("sh").args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    clear_env: bool,
    /// Set, or with `None` removed.
    env: BTreeMap<OsString, Option<OsString>>,
    current_dir: Option<PathBuf>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    kill_on_drop: bool,
    create_pidfd: bool,
}

impl Command {
    /// A command that runs `program` with no arguments, this process's environment, directory and streams. A name without a
    /// slash is searched in the `PATH` that the child will have, or in `/bin:/usr/bin` if it will have none.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            clear_env: false,
            env: BTreeMap::new(),
            current_dir: None,
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
            create_pidfd: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.env.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets variables of its environment.
    pub fn envs(&mut self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> &mut Command {
        for (name, value) in vars {
            self.env(name, value);
        }
        self
    }

    /// Removes a variable, inherited or set before.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Removes all variables, inherited or set before.
    pub fn env_clear(&mut self) -> &mut Command {
        self.clear_env = true;
        self.env.clear();
        self
    }

    /// Sets its working directory. A program given as a relative path is looked up from there.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets its stdin. Otherwise: this process's; with [`output`](Command::output), `/dev/null`.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stdin = Some(stdio.into());
        self
    }

    /// Sets its stdout. Otherwise: this process's; with [`output`](Command::output), a pipe.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stdout = Some(stdio.into());
        self
    }

    /// Sets its stderr. Otherwise: this process's; with [`output`](Command::output), a pipe.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stderr = Some(stdio.into());
        self
    }

    /// Whether a [`Child`] that is dropped while it runs is killed. Otherwise it goes on. It is reaped in the background in
    /// both cases.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Whether a pidfd of the caller's own comes with the child, for [`Child::take_pidfd`]: close-on-exec, and valid whatever
    /// becomes of the handle. A backend without pidfds refuses such a spawn.
    pub fn create_pidfd(&mut self, wish: bool) -> &mut Command {
        self.create_pidfd = wish;
        self
    }

    /// Starts it on the current system; returns once the program runs.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] for an empty program name or a NUL byte; [`Error::Spawn`] with the step that failed, the path and
    /// the errno, such as `ENOENT` for a missing program or `EAGAIN` for too many processes; [`Error::Unsupported`] for a wish
    /// that the backend cannot fulfil; as [`System::current`]. Nothing is left behind then.
    pub fn spawn(&mut self) -> Result<Child> {
        self.spawn_on(&System::current()?)
    }

    /// Starts it, waits for it and gives its status.
    ///
    /// ```
    /// let status = steadfast::Command::new("sh").args(["-c", "exit 3"]).status()?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts it, reads its stdout and stderr to the end, and waits for it.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> Result<Output> {
        let defaults = [PlanStdio::Null, PlanStdio::Piped, PlanStdio::Piped];
        self.spawn_with(&System::current()?, defaults)?.wait_with_output()
    }

    pub(crate) fn spawn_on(&mut self, system: &System) -> Result<Child> {
        self.spawn_with(system, Default::default())
    }

    fn spawn_with(&self, system: &System, defaults: [PlanStdio; 3]) -> Result<Child> {
        let plan = self.plan(system, defaults)?;
        let (process, pipes, pidfd) = steadfast_core::Process::spawn(system.backend(), &plan)?;
        Ok(Child::new(Process::from(process), pipes, pidfd, self.kill_on_drop))
    }

    fn plan(&self, system: &System, defaults: [PlanStdio; 3]) -> Result<Plan> {
        let [stdin, stdout, stderr] = defaults;
        let stream = |stdio: &Option<Stdio>, default| match stdio {
            None => Ok(default),
            Some(Stdio(Source::Real(stdio))) => Ok(stdio.clone()),
            Some(Stdio(Source::Simulated)) => Err(Error::Unsupported {
                backend: system.backend_name(),
                what: "the pipe of a simulated process cannot be given to another process".into(),
            }),
        };
        let mut plan = Plan::builder(&self.program)
            .args(&self.args)
            .stdin(stream(&self.stdin, stdin)?)
            .stdout(stream(&self.stdout, stdout)?)
            .stderr(stream(&self.stderr, stderr)?)
            .create_pidfd(self.create_pidfd);
        if let Some(env) = self.captured_env() {
            plan = plan.env(env);
        }
        if let Some(dir) = &self.current_dir {
            plan = plan.current_dir(dir);
        }
        plan.build()
    }

    /// The environment as it shall be; `None`: as this process's.
    fn captured_env(&self) -> Option<Vec<(OsString, OsString)>> {
        if !self.clear_env && self.env.is_empty() {
            return None;
        }
        let mut env = BTreeMap::new();
        if !self.clear_env {
            env.extend(std::env::vars_os());
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => drop(env.insert(name.clone(), value.clone())),
                None => drop(env.remove(name)),
            }
        }
        Some(env.into_iter().collect())
    }
}
