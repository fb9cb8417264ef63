//! [`Process`]: the handle for any process. Its states and methods are core's; here is what knows the systems. Those that come through a
//! socket are in `receive.rs`.

use crate::System;
use std::fmt;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use steadfast_core::{Error, Exit, Identity, Pid, PipeEnd, Result};

/// What a stored [`Identity`] means now; see [`System::reopen`].
pub type Reopened = steadfast_core::Reopened<Process>;

/// A process, held so that no operation can reach another one: `signal`, `kill`, `wait`, `try_wait`, `wait_timeout`,
/// `wait_deadline`, `with_handle`, `release`, `identity`, `status`, `exit` and `pid` are [`backend::Process`](crate::backend::Process)'s, with
/// the table of what each answers in each state.
///
/// ```
/// use steadfast::{Command, ErrorKind, Process};
/// let child = Command::new("sleep").arg("60").spawn()?;
/// let found = Process::find(child.pid())?;
/// found.kill()?;
/// child.wait()?;
/// assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
/// assert_eq!(found.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone)]
pub struct Process(steadfast_core::Process);

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Process {
    /// Takes hold of a process that exists, on the current system.
    ///
    /// # Errors
    /// As [`System::find`].
    #[doc(alias = "from_pid")]
    #[doc(alias = "pidfd_open")]
    pub fn find(pid: Pid) -> Result<Process> {
        System::current()?.find(pid)
    }

    /// Takes hold of the process that a pidfd stands for, wherever it comes from, on the current system.
    ///
    /// # Errors
    /// As [`System::find_by_fd`].
    pub fn from_fd(pidfd: impl Into<OwnedFd>) -> Result<Process> {
        System::current()?.find_by_fd(pidfd)
    }

    /// Takes hold of a child that std has spawned, and leaves it to std, on the current system.
    ///
    /// # Errors
    /// As [`System::find_child`].
    pub fn of_child(child: &mut std::process::Child) -> Result<Process> {
        System::current()?.find_child(child)
    }

    /// Takes hold of the process that was named, if it still is there, on the current system.
    ///
    /// # Errors
    /// As [`System::current`]. What keeps it from being known whether it is there is no error, but [`Reopened::Unknown`].
    pub fn reopen(identity: &Identity) -> Result<Reopened> {
        Ok(System::current()?.reopen(identity))
    }
}

impl Deref for Process {
    type Target = steadfast_core::Process;
    fn deref(&self) -> &steadfast_core::Process {
        &self.0
    }
}

impl From<steadfast_core::Process> for Process {
    fn from(process: steadfast_core::Process) -> Process {
        Process(process)
    }
}

impl System {
    /// Takes hold of a process that exists, a child of this one or not.
    ///
    /// Whose PID it is, you learn after this and not before: find first, then verify who it is, then act through the handle. On
    /// `pid-legacy` a file of `/proc/PID` is kept open, which belongs to this process alone, and looked at before each call. Between that
    /// look and the call behind it the process may still be exchanged for another, unless `pidfd_send_signal` works here.
    ///
    /// ```
    /// use steadfast::{Error, Pid, System};
    /// let system = System::detect()?;
    /// let parent = system.find(Pid::try_from(std::os::unix::process::parent_id())?)?;
    /// assert!(matches!(system.find(Pid::MAX), Err(Error::ProcessDone { .. })));
    /// # drop(parent);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ProcessDone`] when there is no such process, [`Error::ThreadId`] when the number is a thread's,
    /// [`Error::System`] for the rest (`EMFILE`, a filtered call, no `/proc` on `pid-legacy`).
    #[doc(alias = "from_pid")]
    #[doc(alias = "pidfd_open")]
    pub fn find(&self, pid: Pid) -> Result<Process> {
        steadfast_core::Process::find(self.backend(), pid).map(Process::from)
    }

    /// Takes hold of the process that a pidfd stands for: one that another program has sent (`SCM_RIGHTS`, unix(7)), that a service manager has handed
    /// over, or that other code has opened. It is as exact as one that was spawned, wherever the descriptor has been. The descriptor becomes the
    /// handle's, close-on-exec, or is closed.
    ///
    /// If the process has been reaped, the handle is Done; its PID is [`Pid::UNKNOWN`], and its status is there if the kernel tells it
    /// (since Linux 6.15).
    ///
    /// ```
    /// use steadfast::{Command, ErrorKind, Process};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # if steadfast::System::detect()?.backend_name() != "pidfd" { return Ok(()) }
    /// let child = Command::new("sleep").arg("60").spawn()?;
    /// let pidfd = child.with_handle(|pidfd| pidfd.try_clone_to_owned())??;       // and from here to another program
    /// let same = Process::from_fd(pidfd)?;
    /// same.kill()?;
    /// child.wait()?;
    ///
    /// let socket = std::os::unix::net::UnixDatagram::unbound()?;
    /// let error = Process::from_fd(socket).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotAProcess);
    /// println!("{error}");                            // descriptor 7: it is a socket (`socket:[4026]`), and no pidfd
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAProcess`] if it is no pidfd; or one of a thread (`PIDFD_THREAD`, Linux 6.9); or of a process in a PID namespace that is neither
    /// ours nor below it, which has no PID here. [`Error::Unsupported`] on a backend without pidfds, which has nothing to hold it by. [`Error::System`]
    /// if its PID cannot be read: before Linux 6.13 (`PIDFD_GET_INFO`) that takes `/proc`.
    pub fn find_by_fd(&self, pidfd: impl Into<OwnedFd>) -> Result<Process> {
        steadfast_core::Process::find_by_fd(self.backend(), pidfd.into()).map(Process::from)
    }

    /// Takes hold of a child that std has spawned, and leaves it to std: to signal it from other threads, or to put it into a set. Nobody can wait for it by
    /// its `Child` meanwhile, and std knows whether it has done so; so the number is the child's own, and the handle is exact, unless other code reaps
    /// it at this moment (`waitpid(-1)`).
    ///
    /// If std has waited for it, or finds now that it has exited, the handle is Done, with the status. Whoever waits first has the
    /// status: after a `wait` through the handle, std's fails with `ECHILD`. To hand it over for good, use [`System::adopt`].
    ///
    /// # A child of tokio's
    /// `tokio::process::Child::id` is `None` as soon as tokio has reaped it, and nobody can let it do so while you have it to yourself. So, with a
    /// `&mut` of it, the number is the child's own, and [`Process::find`] is exact:
    ///
    /// ```
    /// use steadfast::{Pid, Process};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut child = tokio::process::Command::new("sleep").arg("60").spawn()?;
    /// let handle = child.id().map(|id| Process::find(Pid::try_from(id)?)).transpose()?;
    /// handle.expect("tokio has not reaped it").kill()?;
    /// assert!(!child.wait().await?.success());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoChild`] if other code has waited for it, [`Error::Unsupported`] in a simulation, [`Error::System`] as for [`find`](System::find).
    pub fn find_child(&self, child: &mut std::process::Child) -> Result<Process> {
        let pid = self.real_pid(child)?;
        let process = match child.try_wait() {
            Ok(Some(status)) => steadfast_core::Process::done(self.backend(), Exit::new(pid, status)),
            Ok(None) => steadfast_core::Process::find(self.backend(), pid)?,
            Err(_) => return Err(Error::NoChild { pid }),
        };
        Ok(process.into())
    }

    /// Takes hold of the process that was named by [`Process::identity`](steadfast_core::Process::identity), by this program or another one, if it
    /// still is there. The answer is one of five ([`Reopened`]); a stranger that has its PID by now is *Gone*, and *Unknown* is neither *Gone* nor *Same*.
    ///
    /// | answer | when |
    /// | --- | --- |
    /// | `Same` | it is there, which another process cannot be taken for; a zombie too, of which it says so |
    /// | `Gone` | it was reaped, whoever has its PID now |
    /// | `OtherBoot` | it was named before the last boot, or on another machine |
    /// | `OtherNamespace` | it was named in another PID namespace, where its PID is a different one or another process's |
    /// | `Unknown` | what would tell is hidden, refused or missing; the error says what. Ask again if it [is of the moment](Error::is_of_the_moment) |
    ///
    /// A process of another user can be reopened; a signal to it may still be refused (`EPERM`).
    ///
    /// With pidfds, since Linux 6.9, the process's number in pidfs is compared; `/proc` need not show the process (`hidepid`), but must be mounted
    /// for the boot ID. Before, and on `pid-legacy`, its start time is, for which `/proc` has to show it and to be this PID namespace's, and which
    /// is not read in a time namespace. [`StartTime`](crate::StartTime) says why that is exact all the same.
    ///
    /// A process that was restored from a checkpoint (CRIU) has the PID of before, and is another life: *Gone*.
    ///
    /// ```
    /// use steadfast::{Command, Identity, Reopened, System};
    /// let system = System::detect()?;
    /// let daemon = system.spawn(Command::new("sleep").arg("60"))?;
    /// let stored = daemon.identity()?.to_string();            // to a file, a database, a variable
    ///
    /// // Later, in another program as a rule:
    /// let identity: Identity = stored.parse()?;
    /// match system.reopen(&identity) {
    ///     Reopened::Same { process, .. } => process.kill()?,
    ///     Reopened::Gone | Reopened::OtherBoot => println!("it does not run any more"),
    ///     Reopened::OtherNamespace => println!("ask in the container where it was started"),
    ///     Reopened::Unknown(why) => return Err(why),
    /// }
    /// # daemon.wait()?;
    /// # assert!(matches!(system.reopen(&identity), Reopened::Gone));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn reopen(&self, identity: &Identity) -> Reopened {
        steadfast_core::Process::reopen(self.backend(), identity).map(Process::from)
    }

    /// The number of a child that std has spawned, which no simulation knows.
    fn real_pid(&self, child: &std::process::Child) -> Result<Pid> {
        if !self.info().real {
            let what = "a real child cannot be adopted into a simulation".into();
            return Err(Error::Unsupported { backend: self.backend_name(), what });
        }
        Pid::try_from(child.id())
    }

    /// Of a child that std has spawned: its handle, and its pipes.
    pub(crate) fn adopt_parts(&self, mut child: std::process::Child) -> Result<(Process, [Option<PipeEnd>; 3])> {
        let pid = self.real_pid(&child)?;
        let pipes = [
            child.stdin.take().map(|pipe| PipeEnd::Fd(pipe.into())),
            child.stdout.take().map(|pipe| PipeEnd::Fd(pipe.into())),
            child.stderr.take().map(|pipe| PipeEnd::Fd(pipe.into())),
        ];
        // Until it is reaped its number is its own; std knows whether it has reaped it, and the number alone does not tell.
        let process = match child.try_wait() {
            Ok(Some(status)) => steadfast_core::Process::done(self.backend(), Exit::new(pid, status)),
            Ok(None) => steadfast_core::Process::adopt(self.backend(), pid)?,
            Err(_) => return Err(Error::NoChild { pid }),
        };
        Ok((process.into(), pipes))
    }
}

/// Adopts a child that std has spawned, as [`System::adopt`] on the current system; its pipes are closed. To keep them, adopt it
/// as a [`Child`](crate::Child).
impl TryFrom<std::process::Child> for Process {
    type Error = Error;
    fn try_from(child: std::process::Child) -> Result<Process> {
        System::current()?.adopt_parts(child).map(|(process, _)| process)
    }
}
