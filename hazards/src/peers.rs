//! The peers, used as their documentation says.

use crate::subject::{Answer, Order, Refusal, Stdin, Subject, boxed};
use futures_util::future::{Either, select};
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) fn std_output(mut command: Command) -> Answer<Vec<u8>> {
    Ok(command.stdin(Stdio::null()).output()?.stdout)
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

pub(crate) struct Tokio {
    child: tokio::process::Child,
    pid: i32,
}

impl Tokio {
    /// One for the whole program, as most have it: its threads go on between two calls.
    pub(crate) fn runtime() -> Answer<&'static tokio::runtime::Runtime> {
        static RUNTIME: OnceLock<Result<tokio::runtime::Runtime, std::io::Error>> = OnceLock::new();
        let made = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build());
        made.as_ref().map_err(|error| Refusal::Error(error.to_string()))
    }

    pub(crate) fn start(order: Order) -> Answer<Box<dyn Subject>> {
        boxed(Tokio::start_by(order, |mut command| Ok(command.spawn()?))?)
    }

    /// In a task among others, with a timer: the runtime reaps whom it had to leave when it has something to do.
    pub(crate) fn start_by<F>(order: Order, spawn: F) -> Answer<Tokio>
    where
        F: FnOnce(tokio::process::Command) -> Answer<tokio::process::Child> + Send + 'static,
    {
        let runtime = Tokio::runtime()?;
        let spawned = runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            spawn(tokio::process::Command::from(order.for_std()))
        });
        let child = runtime.block_on(spawned)??;
        let pid = child.id().ok_or("no PID")? as i32;
        Ok(Tokio { child, pid })
    }

    pub(crate) fn output(command: Command) -> Answer<Vec<u8>> {
        Ok(Tokio::runtime()?
            .block_on(async { tokio::process::Command::from(command).stdin(Stdio::null()).output().await })?
            .stdout)
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
        Ok(Tokio::runtime()?.block_on(self.child.wait())?)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        let child = &mut self.child;
        let waited = Tokio::runtime()?.block_on(async { tokio::time::timeout(timeout, child.wait()).await });
        Ok(waited.ok().transpose()?)
    }
}

pub(crate) struct AsyncProcess(async_process::Child);

impl AsyncProcess {
    pub(crate) fn start(order: Order) -> Answer<Box<dyn Subject>> {
        use async_process::unix::CommandExt as _;
        let mut command = async_process::Command::new(&order.program);
        if let Some(user) = order.user {
            command.uid(user).gid(user);
        }
        command.args(&order.args).stdin(order.stdin).stdout(Stdio::null()).stderr(Stdio::null());
        boxed(AsyncProcess(command.spawn()?))
    }

    pub(crate) fn output(command: Command) -> Answer<Vec<u8>> {
        Ok(async_io::block_on(async_process::Command::from(command).stdin(Stdio::null()).output())?.stdout)
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

pub(crate) struct Subprocess(subprocess::Job);

impl Subprocess {
    pub(crate) fn start(order: Order) -> Answer<Box<dyn Subject>> {
        boxed(Subprocess::new(order)?)
    }

    pub(crate) fn new(order: Order) -> Answer<Subprocess> {
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
        Ok(Subprocess(exec.start()?))
    }

    pub(crate) fn output(command: Command) -> Answer<Vec<u8>> {
        let exec = subprocess::Exec::cmd(command.get_program()).args(command.get_args());
        Ok(exec.stdin(subprocess::Redirection::Null).stdout(subprocess::Redirection::Pipe).capture()?.stdout)
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

pub(crate) struct Wrapped {
    pub(crate) child: Box<dyn process_wrap::std::ChildWrapper>,
    leads_group: bool,
}

impl Wrapped {
    pub(crate) fn start(order: Order) -> Answer<Box<dyn Subject>> {
        boxed(Wrapped::new(order)?)
    }

    pub(crate) fn new(mut order: Order) -> Answer<Wrapped> {
        let leads_group = std::mem::take(&mut order.leads_group);
        let mut command = process_wrap::std::CommandWrap::from(order.for_std());
        if leads_group {
            command.wrap(process_wrap::std::ProcessGroup::leader());
        }
        Ok(Wrapped { child: command.spawn()?, leads_group })
    }

    pub(crate) fn output(mut command: Command) -> Answer<Vec<u8>> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(process_wrap::std::CommandWrap::from(command).spawn()?.wait_with_output()?.stdout)
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

pub(crate) struct PidfdUtil {
    pid: i32,
    pidfd: pidfd_util::PidFd,
}

impl PidfdUtil {
    pub(crate) fn find(pid: i32) -> Answer<Box<dyn Subject>> {
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
