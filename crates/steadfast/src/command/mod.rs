//! [`Command`]: std's builder, for a process with a handle.

mod attributes;
mod checked;
mod environment;
mod handle;
mod input;
mod job;
mod many;
mod pty;
mod shown;
mod start;
mod walls;

pub(crate) use checked::{cause, last};
pub use handle::Handle;
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) use many::AT_ONCE;
pub use many::spawn_many;
pub use shown::{CommandArgs, CommandEnvs};
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) use start::Starting;

use crate::child::{OnDrop, Whose};
use crate::input::Input;
use crate::job::JobWish;
use crate::output::{self, Capture, Captured};
use crate::pty::PtyLink;
use crate::{Child, ExitStatus, Output, Stdio, System};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Attributes, Errno, Error, Hook, Plan, PlanStdio, Result, Stage};
use steadfast_linux::CommandExt;

/// Starts processes, with the methods of `std::process::Command` and of its Unix extension, and [more](#beyond-std).
///
/// The child shares the memory of this process until it executes the program. So the cost of a spawn does not grow with the size of this process,
/// whatever attributes the child gets; see ARCHITECTURE.md. The child has the signal mask of this thread; signal handlers are reset, and so is
/// `SIGPIPE`, which Rust ignores.
///
/// How each item of std's maps to ours, and where we differ on purpose: [`coming_from_std`](crate::coming_from_std).
///
/// ```
/// use steadfast::Command;
/// let output = Command::new("sh").args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # Beyond std
///
/// ```no_run
/// use steadfast::{Command, Limit, Resource, Signal};
/// use std::fs::File;
///
/// let server = Command::new("server")
///     .uid(1000)
///     .gid(1000)
///     .groups(&[4, 24])
///     .setsid(true)
///     .fd(3, File::open("/run/server.sock")?)           // the child's descriptor 3
///     .close_fds(true)                                   // and no other above 2
///     .rlimit(Resource::NOFILE, 65_536)
///     .rlimit(Resource::CORE, Limit::new(0, Limit::INFINITY))
///     .no_new_privileges(true)
///     .parent_death_signal(Signal::TERM)
///     .spawn()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Settings that contradict each other are refused before anything is started, and the error names both. If a step fails in the child, the error
/// names the step: ``spawn `server`: setuid 1000: Operation not permitted (os error 1)``. The steps are taken in this order,
/// whatever the order of the calls here:
///
/// 1. [`cgroup`](Self::cgroup)
/// 2. [`setsid`](Self::setsid), [`process_group`](Self::process_group), [`foreground`](Self::foreground),
///    [`detach_terminal`](Self::detach_terminal), [`controlling_terminal`](Self::controlling_terminal)
/// 3. [`unshare`](Self::unshare) ([`namespaces`](Self::namespaces) it is born into)
/// 4. [`oom_score_adj`](Self::oom_score_adj), [`scheduling`](Self::scheduling), [`nice`](Self::nice),
///    [`cpu_affinity`](Self::cpu_affinity), [`personality`](Self::personality), [`reset_on_fork`](Self::reset_on_fork),
///    [`io_priority`](Self::io_priority); hard limits that are raised
/// 5. [`chroot`](Self::chroot)
/// 6. [`groups`](Self::groups), then [`gid`](Self::gid), then [`uid`](Self::uid), then
///    [`inheritable_capabilities`](Self::inheritable_capabilities), [`ambient_capabilities`](Self::ambient_capabilities) or
///    [`keep_capabilities`](Self::keep_capabilities), [`bounding_capabilities`](Self::bounding_capabilities), [`securebits`](Self::securebits)
/// 7. [`parent_death_signal`](Self::parent_death_signal), [`dies_with_us`](Self::dies_with_us)
/// 8. [`current_dir_fd`](Self::current_dir_fd), [`current_dir`](Self::current_dir), [`umask`](Self::umask)
/// 9. the standard streams, [`fd`](Self::fd), [`listen_fds`](Self::listen_fds), [`close_fds`](Self::close_fds)
/// 10. [`no_new_privileges`](Self::no_new_privileges), [`landlock`](Self::landlock)
/// 11. [`signal_disposition`](Self::signal_disposition), [`signal_mask`](Self::signal_mask)
/// 12. [`pre_exec`](CommandExt::pre_exec)
/// 13. [`rlimit`](Self::rlimit)
/// 14. [`trace_me`](Self::trace_me)
/// 15. [`seccomp`](Self::seccomp)
#[derive(Clone)]
pub struct Command {
    program: OsString,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    clear_env: bool,
    /// Set, or with `None` removed.
    env: BTreeMap<OsString, Option<OsString>>,
    /// Set, and nothing else.
    env_exact: Option<Vec<(OsString, OsString)>>,
    current_dir: Option<PathBuf>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    input: Option<Input>,
    checked: bool,
    on_drop: OnDrop,
    create_pidfd: bool,
    handle: Handle,
    job: Option<JobWish>,
    /// Shared with its clones and plans.
    attributes: Option<Arc<Attributes>>,
    /// The terminal that it is to have.
    pty: Option<PtyLink>,
    /// It was said that it is to have no session of its own.
    declines_session: bool,
}

impl Command {
    /// A command that runs `program` with no arguments, this process's environment, directory and streams. A name without a
    /// slash is searched in the `PATH` that the child will have, or in `/bin:/usr/bin` if it will have none.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            arg0: None,
            args: Vec::new(),
            clear_env: false,
            env: BTreeMap::new(),
            env_exact: None,
            current_dir: None,
            stdin: None,
            stdout: None,
            stderr: None,
            input: None,
            checked: false,
            on_drop: OnDrop::default(),
            create_pidfd: false,
            handle: Handle::default(),
            job: None,
            attributes: None,
            pty: None,
            declines_session: false,
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

    /// Sets the name that the program sees as its own, `argv[0]`. Otherwise: the program as it was given.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.arg0 = Some(arg.as_ref().to_owned());
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
    ///
    /// ```
    /// use steadfast::{Command, Stdio};
    /// let mut both = Command::new("sh");
    /// both.args(["-c", "echo one; echo two >&2; echo three"]).stderr(Stdio::same_as_stdout());
    /// assert_eq!(both.output()?.stdout, b"one\ntwo\nthree\n");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stderr = Some(stdio.into());
        self
    }

    /// Whether the process is killed when its [`Child`] is dropped. By default it continues to run. In both cases it is reaped in the background.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.on_drop.kill = kill;
        self
    }

    /// Whether the process is reaped in the background when its [`Child`] is dropped before it was waited for. By default it is, so that no zombie
    /// stays. With `false`, all its handles are [left](crate::backend::Process::leave) at the drop, and the program can wait for the process with
    /// its own waitpid(2), as for a dropped child of std's.
    pub fn reap_on_drop(&mut self, reap: bool) -> &mut Command {
        self.on_drop.reap = reap;
        self
    }

    /// Whether the caller gets a pidfd of its own, from [`Child::take_pidfd`]. It is close-on-exec, and stays valid when the handle is gone. A
    /// backend without pidfds refuses such a spawn.
    pub fn create_pidfd(&mut self, wish: bool) -> &mut Command {
        self.create_pidfd = wish;
        self
    }

    /// Starts it on the current system; returns once the program runs.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] for an empty program name, a NUL byte, or two settings that contradict each other; [`Error::Spawn`]
    /// with the step that failed, the path and the errno, such as `ENOENT` for a missing program, `EPERM` for an attribute that
    /// takes privileges, or `EAGAIN` for too many processes; [`Error::Unsupported`] for a wish that the backend cannot fulfil; as
    /// [`System::current`]. Nothing is left behind then.
    pub fn spawn(&self) -> Result<Child> {
        self.spawn_with(&System::current()?, Default::default())
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
    pub fn status(&self) -> Result<ExitStatus> {
        let system = System::current()?;
        let mut child = self.spawn_with(&system, self.streams_for_status())?;
        if self.input.is_none() {
            // What it writes into a pipe has a reader until it ends.
            return self.check_status(child.wait()?);
        }
        // What is piped all the same is nobody's here.
        drop((child.stdout.take(), child.stderr.take()));
        let feeding = child.feeding(self.own_input());
        let status = child.over(output::feed(child.process(), &system, feeding), |_| true)?;
        self.check_status(status)
    }

    /// Starts it, reads its stdout and stderr to the end, and waits for it. The streams end when no process has them open any more. If a grandchild may
    /// keep them open, use [`output_timeout`](Command::output_timeout) or [`capture`](Command::capture).
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&self) -> Result<Output> {
        let child = self.spawn_with(&System::current()?, self.streams_for_capture())?;
        let captured = child.capture_for(&Capture::new().to_the_end(), None, Whose::OneCall, self.input.as_ref())?;
        self.check_output(captured.into_output().ok_or(Error::NoChild { pid: child.pid() })?)
    }

    /// Starts it and reads its stdout and stderr until it exits, for at most `timeout`: then it is killed, and what was read
    /// so far is returned all the same. It never takes longer, not even if a grandchild keeps the pipes open.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::Command;
    /// let captured = Command::new("sh").args(["-c", "echo begun; sleep 60"]).output_timeout(Duration::from_millis(200))?;
    /// assert!(captured.timed_out);
    /// println!("so far: {}", captured.stdout);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::capture`].
    pub fn output_timeout(&self, timeout: Duration) -> Result<Captured> {
        self.capture(&Capture::new().timeout(timeout).kill_on_timeout(true))
    }

    /// Starts it and reads its stdout and stderr as the options say.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::capture`].
    pub fn capture(&self, options: &Capture) -> Result<Captured> {
        let system = System::current()?;
        let within = options.begin(&system);
        let captured = match self.spawn_within(&system, self.streams_for_capture(), within) {
            Ok(child) => child.capture_for(options, within, Whose::OneCall, self.input.as_ref())?,
            Err(Error::SpawnTimedOut { .. }) => Captured::not_started(),
            Err(error) => return Err(error),
        };
        self.check(captured)
    }

    /// Replaces this process by the program, as `std::os::unix::process::CommandExt::exec`. Returns only if that fails.
    ///
    /// This process takes the steps that a child would take. If one fails, the steps before it are not undone. What belongs to a single thread (user,
    /// groups, scheduling) is then changed for this thread only.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn); [`Error::Unsupported`] in a simulation.
    pub fn exec(&self) -> Error {
        let plan = System::current().and_then(|system| {
            if self.job.is_some() {
                let why = "a job and exec: this process stays where it is: drop one, or spawn it".into();
                return Err(Error::InvalidPlan { program: self.program.clone(), why });
            }
            if self.pty.is_some() {
                let why =
                    "pty and exec: whoever reads the terminal would be gone with this program: drop one, or spawn it".into();
                return Err(Error::InvalidPlan { program: self.program.clone(), why });
            }
            if !system.info().real {
                let what = "exec would replace the process that runs the simulation".into();
                return Err(Error::Unsupported { backend: system.backend_name(), what });
            }
            self.plan(&system, Default::default())
        });
        match plan {
            Ok(plan) => steadfast_linux::exec(&plan),
            Err(error) => error,
        }
    }

    /// What becomes of a child of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn on_drop(&self) -> OnDrop {
        self.on_drop
    }

    /// Its stdin and stdout, if it says what they are.
    pub(crate) fn own_streams(&self) -> (Option<&Stdio>, Option<&Stdio>) {
        (self.stdin.as_ref(), self.stdout.as_ref())
    }

    /// This process's, but for its input.
    pub(crate) fn streams_for_status(&self) -> [PlanStdio; 3] {
        [self.stdin_or(PlanStdio::Inherit), PlanStdio::Inherit, PlanStdio::Inherit]
    }

    fn plan(&self, system: &System, defaults: [PlanStdio; 3]) -> Result<Plan> {
        let defaults = self.unless_detached(defaults)?;
        self.check_input(&defaults[0])?;
        let terminal = self.open_terminal(system)?;
        let [stdin, stdout, stderr] = defaults.map(|stdio| Command::or_terminal(stdio, terminal.as_ref()));
        let stream = |number: i32, name: &'static str, stdio: &Option<Stdio>, default| match stdio.as_ref().map(Stdio::plan) {
            // What was given by its number is no default's to take.
            None if self.attributes.as_ref().is_some_and(|a| a.fds.iter().any(|(to, _)| *to == number)) => Ok(PlanStdio::Inherit),
            None => Ok(default),
            Some(Some(PlanStdio::End(_))) if system.info().real => Err(Error::Unsupported {
                backend: system.backend_name(),
                what: format!("{name}: the pipe of a simulated process cannot be given to a real one"),
            }),
            Some(Some(stdio)) => Ok(stdio.clone()),
            Some(None) => {
                Err(Error::Spawn { program: self.program.clone(), stage: Stage::Open { stream: name }, source: Errno::BADF })
            }
        };
        let mut plan = Plan::builder(&self.program)
            .args(&self.args)
            .stdin(stream(0, "stdin", &self.stdin, stdin)?)
            .stdout(stream(1, "stdout", &self.stdout, stdout)?)
            .stderr(stream(2, "stderr", &self.stderr, stderr)?)
            .create_pidfd(self.create_pidfd);
        if let Some(attributes) = self.attributes_with(terminal) {
            plan = plan.attributes(attributes);
        }
        if let Some(arg0) = &self.arg0 {
            plan = plan.arg0(arg0);
        }
        if let Some(env) = self.captured_env()? {
            plan = plan.env(env);
        }
        if let Some(dir) = &self.current_dir {
            plan = plan.current_dir(dir);
        }
        plan.build()
    }
}

impl CommandExt for Command {
    fn add_hook(&mut self, hook: Hook) -> &mut Command {
        self.changed().hooks.push(hook);
        self
    }
}
