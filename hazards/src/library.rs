//! The libraries: what each of them offers of the little that the hazards ask for, used as its documentation says.

use crate::stage::Trouble;
use futures_util::future::{Either, select};
use std::fmt::Display;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use steadfast::System;

pub(crate) struct Library {
    /// How it is called in the tables.
    pub(crate) name: &'static str,
    /// Whose version counts; none for what is part of the compiler.
    pub(crate) package: Option<&'static str>,
    pub(crate) start: fn(Order) -> Answer<Box<dyn Subject>>,
    /// Takes hold of a process by its PID.
    pub(crate) find: fn(i32) -> Answer<Box<dyn Subject>>,
}

impl Library {
    pub(crate) fn is_ours(&self) -> bool {
        self.package == Some("steadfast")
    }
}

/// What is to be started. Its stdout and stderr go nowhere.
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<&'static str>,
    pub(crate) stdin: Stdin,
    /// As the leader of a process group of its own.
    pub(crate) leads_group: bool,
    /// As this user, and the group of the same number.
    pub(crate) user: Option<u32>,
}

pub(crate) enum Stdin {
    Null,
    /// This one.
    Given(OwnedFd),
    /// A pipe that the library makes and keeps.
    Piped,
}

impl From<Stdin> for Stdio {
    fn from(stdin: Stdin) -> Stdio {
        match stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Given(fd) => Stdio::from(fd),
            Stdin::Piped => Stdio::piped(),
        }
    }
}

impl Order {
    pub(crate) fn new(program: impl AsRef<Path>) -> Order {
        Order { program: program.as_ref().to_owned(), args: Vec::new(), stdin: Stdin::Null, leads_group: false, user: None }
    }

    fn for_std(self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(self.stdin).stdout(Stdio::null()).stderr(Stdio::null());
        if self.leads_group {
            command.process_group(0);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// A process, as a library holds it.
pub(crate) trait Subject {
    fn pid(&self) -> i32;
    fn kill(&mut self) -> Answer<()>;
    fn kill_group(&mut self) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn wait(&mut self) -> Answer<ExitStatus>;
    fn wait_timeout(&mut self, _: Duration) -> Answer<Option<ExitStatus>> {
        Err(Refusal::NotOffered)
    }
}

pub(crate) type Answer<T> = Result<T, Refusal>;

#[derive(Debug)]
pub(crate) enum Refusal {
    NotOffered,
    Error(String),
    /// Nothing was asked.
    Stage(String),
}

impl From<Trouble> for Refusal {
    fn from(Trouble(what): Trouble) -> Refusal {
        Refusal::Stage(what)
    }
}

impl<E: Display> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Error(error.to_string())
    }
}

/// A column each.
pub(crate) fn all() -> Vec<Library> {
    fn not_offered(_: i32) -> Answer<Box<dyn Subject>> {
        Err(Refusal::NotOffered)
    }
    vec![
        Library {
            name: "steadfast, pidfd",
            package: Some("steadfast"),
            start: |order| Ours::start(System::pidfd()?, order),
            find: |pid| Ours::find(System::pidfd()?, pid),
        },
        Library {
            name: "steadfast, pid-legacy",
            package: Some("steadfast"),
            start: |order| Ours::start(System::pid_legacy(), order),
            find: |pid| Ours::find(System::pid_legacy(), pid),
        },
        Library { name: "std", package: None, start: |order| boxed(order.for_std().spawn()?), find: not_offered },
        Library { name: "tokio", package: Some("tokio"), start: Tokio::start, find: not_offered },
        Library { name: "async-process", package: Some("async-process"), start: AsyncProcess::start, find: not_offered },
        Library {
            name: "shared_child",
            package: Some("shared_child"),
            start: |order| boxed(shared_child::SharedChild::spawn(&mut order.for_std())?),
            find: not_offered,
        },
        Library { name: "subprocess", package: Some("subprocess"), start: Subprocess::start, find: not_offered },
        Library { name: "process-wrap", package: Some("process-wrap"), start: Wrapped::start, find: not_offered },
        Library {
            name: "pidfd-util",
            package: Some("pidfd-util"),
            // It takes hold of what others have started; their pipes are not its business.
            start: |order| match order.stdin {
                Stdin::Piped => Err(Refusal::NotOffered),
                _ => PidfdUtil::find(order.for_std().spawn()?.id() as i32),
            },
            find: PidfdUtil::find,
        },
    ]
}

fn boxed(subject: impl Subject + 'static) -> Answer<Box<dyn Subject>> {
    Ok(Box::new(subject))
}

enum Ours {
    Child(steadfast::Child),
    Found(steadfast::Process),
}

impl Ours {
    fn start(system: System, order: Order) -> Answer<Box<dyn Subject>> {
        let stdin = match order.stdin {
            Stdin::Null => steadfast::Stdio::null(),
            Stdin::Given(fd) => steadfast::Stdio::from(fd),
            Stdin::Piped => steadfast::Stdio::piped(),
        };
        let mut command = steadfast::Command::new(&order.program);
        command.args(&order.args).stdin(stdin).stdout(steadfast::Stdio::null()).stderr(steadfast::Stdio::null());
        if order.leads_group {
            command.process_group(0);
        }
        if let Some(user) = order.user {
            command.uid(user).gid(user);
        }
        boxed(Ours::Child(system.spawn(&command)?))
    }

    fn find(system: System, pid: i32) -> Answer<Box<dyn Subject>> {
        boxed(Ours::Found(system.find(steadfast::Pid::new(pid)?)?))
    }

    fn process(&self) -> &steadfast::Process {
        match self {
            Ours::Child(child) => child.process(),
            Ours::Found(process) => process,
        }
    }
}

impl Subject for Ours {
    fn pid(&self) -> i32 {
        self.process().pid().as_raw()
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.process().kill()?)
    }

    fn kill_group(&mut self) -> Answer<()> {
        Ok(self.process().kill_group()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        match self {
            Ours::Child(child) => Ok(child.wait()?),
            Ours::Found(process) => process.wait_gone()?.status().ok_or_else(|| "gone, status unknown".into()),
        }
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        Ok(self.process().wait_timeout(timeout)?)
    }
}

impl Subject for std::process::Child {
    fn pid(&self) -> i32 {
        self.id() as i32
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.kill()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(self.wait()?)
    }
}

struct Tokio {
    runtime: tokio::runtime::Runtime,
    child: tokio::process::Child,
    pid: i32,
}

impl Tokio {
    fn start(order: Order) -> Answer<Box<dyn Subject>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let child = tokio::process::Command::from(order.for_std()).spawn()?;
        drop(guard);
        let pid = child.id().ok_or("no PID")? as i32;
        boxed(Tokio { runtime, child, pid })
    }
}

impl Subject for Tokio {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.child.start_kill()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(self.runtime.block_on(self.child.wait())?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        let child = &mut self.child;
        let waited = self.runtime.block_on(async { tokio::time::timeout(timeout, child.wait()).await });
        Ok(waited.ok().transpose()?)
    }
}

struct AsyncProcess(async_process::Child);

impl AsyncProcess {
    fn start(order: Order) -> Answer<Box<dyn Subject>> {
        use async_process::unix::CommandExt as _;
        let mut command = async_process::Command::new(&order.program);
        if let Some(user) = order.user {
            command.uid(user).gid(user);
        }
        command.args(&order.args).stdin(order.stdin).stdout(Stdio::null()).stderr(Stdio::null());
        boxed(AsyncProcess(command.spawn()?))
    }
}

/// With the timer of the library's own runtime.
fn within<T>(timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    match async_io::block_on(select(pin!(future), pin!(async_io::Timer::after(timeout)))) {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

impl Subject for AsyncProcess {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.0.kill()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(async_io::block_on(self.0.status())?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        Ok(within(timeout, self.0.status()).transpose()?)
    }
}

impl Subject for shared_child::SharedChild {
    fn pid(&self) -> i32 {
        self.id() as i32
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(shared_child::SharedChild::kill(self)?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(shared_child::SharedChild::wait(self)?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        Ok(shared_child::SharedChild::wait_timeout(self, timeout)?)
    }
}

struct Subprocess(subprocess::Job);

impl Subprocess {
    fn start(order: Order) -> Answer<Box<dyn Subject>> {
        use subprocess::ExecExt;
        let mut exec = subprocess::Exec::cmd(&order.program).args(&order.args);
        exec = exec.stdout(subprocess::Redirection::Null).stderr(subprocess::Redirection::Null);
        exec = match order.stdin {
            Stdin::Null => exec.stdin(subprocess::Redirection::Null),
            Stdin::Given(fd) => exec.stdin(std::fs::File::from(fd)),
            Stdin::Piped => exec.stdin(subprocess::Redirection::Pipe),
        };
        let exec = if order.leads_group { exec.setpgid() } else { exec };
        let exec = if let Some(user) = order.user { exec.setgid(user).setuid(user) } else { exec };
        boxed(Subprocess(exec.start()?))
    }

    fn status(status: subprocess::ExitStatus) -> Answer<ExitStatus> {
        use subprocess::unix::ExitStatusExt as _;
        // It says honestly that it does not know.
        status.into_raw().map(ExitStatus::from_raw).ok_or_else(|| "undetermined exit status".into())
    }
}

impl Subject for Subprocess {
    fn pid(&self) -> i32 {
        self.0.pid() as i32
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.0.kill()?)
    }

    fn kill_group(&mut self) -> Answer<()> {
        use subprocess::unix::JobExt;
        Ok(self.0.send_signal_group(nix::libc::SIGKILL)?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Subprocess::status(self.0.wait()?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        self.0.wait_timeout(timeout)?.map(Subprocess::status).transpose()
    }
}

struct Wrapped {
    child: Box<dyn process_wrap::std::ChildWrapper>,
    leads_group: bool,
}

impl Wrapped {
    fn start(mut order: Order) -> Answer<Box<dyn Subject>> {
        let leads_group = std::mem::take(&mut order.leads_group);
        let mut command = process_wrap::std::CommandWrap::from(order.for_std());
        if leads_group {
            command.wrap(process_wrap::std::ProcessGroup::leader());
        }
        boxed(Wrapped { child: command.spawn()?, leads_group })
    }
}

impl Subject for Wrapped {
    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.child.start_kill()?)
    }

    fn kill_group(&mut self) -> Answer<()> {
        if self.leads_group { self.kill() } else { Err(Refusal::NotOffered) }
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

struct PidfdUtil {
    pid: i32,
    pidfd: pidfd_util::PidFd,
}

impl PidfdUtil {
    fn find(pid: i32) -> Answer<Box<dyn Subject>> {
        use pidfd_util::PidFdExt;
        boxed(PidfdUtil { pid, pidfd: pidfd_util::PidFd::from_pid(pid)? })
    }
}

impl Subject for PidfdUtil {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.pidfd.kill()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        Ok(self.pidfd.wait()?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        use std::os::fd::AsFd;
        let copy = pidfd_util::PidFd::from(self.pidfd.as_fd().try_clone_to_owned()?);
        let pidfd = pidfd_util::AsyncPidFd::try_from(copy)?;
        Ok(within(timeout, pidfd.wait()).transpose()?)
    }
}
