//! What is done through a handle beside signals and waits: a descriptor of the process, its limits, its CPUs.

use crate::Process;
use std::os::fd::{OwnedFd, RawFd};
use steadfast_core::{ByNumber, Errno, Error, Limit, Resource, Result};
use steadfast_linux::{affinity, pidfd_getfd, prlimit, set_affinity};

impl Process {
    /// A duplicate of descriptor `fd` of the process, close-on-exec (pidfd_getfd(2), Linux 5.6). Both mean one open file: they share its offset and
    /// its flags.
    ///
    /// It takes the access of a debugger, `PTRACE_MODE_ATTACH_REALCREDS` of ptrace(2): `CAP_SYS_PTRACE`; or the same user, and a process that is
    /// dumpable. Yama's `kernel.yama.ptrace_scope` may ask for more: at 1, as on many distributions, that the caller is an ancestor of the process.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Read;
    /// use steadfast::{Command, Stdio};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # if steadfast::System::detect()?.backend_name() != "pidfd" { return Ok(()) }
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let mut its_stdin = match child.take_fd(0) {
    ///     Ok(fd) => File::from(fd),
    ///     Err(error) => return Ok(eprintln!("{error}")),       // it says what is needed
    /// };
    /// child.kill()?;
    /// drop(child.stdin.take());
    /// assert_eq!(its_stdin.read(&mut [0])?, 0);
    /// # child.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a backend without pidfds. [`Error::ProcessDone`] if it was waited for or is gone (`ESRCH`), [`Error::Released`] after
    /// `release`. [`Error::System`] with `EBADF` if it has no such descriptor, or is a zombie, which has none, or its first thread has ended; with
    /// `EPERM` if that access is missing; with `EMFILE` if this process has none left; with `ENOSYS` before Linux 5.6.
    pub fn take_fd(&self, fd: RawFd) -> Result<OwnedFd> {
        let taken = match self.with_handle(|pidfd| pidfd_getfd(pidfd, fd)) {
            Err(Error::NoHandle { backend, .. }) => {
                let what = "a descriptor of another process is had through its pidfd (pidfd_getfd(2)), and it has none".into();
                return Err(Error::Unsupported { backend, what });
            }
            taken => taken?,
        };
        taken.map_err(|errno| match errno {
            Errno::SRCH => Error::ProcessDone { pid: self.pid() },
            source => {
                let subject = format!("descriptor {fd} of process {}", self.pid());
                Error::System { call: "pidfd_getfd", subject, source }
            }
        })
    }

    /// A limit of the process as it is now (prlimit(2)). Of a zombie it is the one that it had.
    ///
    /// The call goes by the number; what it says is thrown away if the process is gone just after it. So it is never another's.
    ///
    /// # Errors
    /// [`Error::ProcessDone`], [`Error::Released`] by state; [`Error::Unsupported`] in a simulation; [`Error::System`] with `EPERM` if it is another
    /// user's, without `CAP_SYS_RESOURCE`.
    pub fn rlimit(&self, resource: Resource) -> Result<Limit> {
        self.read_by_number(|pid| prlimit(pid, resource, None).map_err(|errno| Error::on_process("prlimit", pid, errno)))
    }

    /// Sets a limit of the process while it runs: soft and hard alike, or `(soft, hard)` (prlimit(2)). It holds for all of its threads.
    ///
    /// The call goes by the number. [`ByNumber`] says what that means for a process that is not a child, and asks for a choice.
    ///
    /// ```
    /// use steadfast::{ByNumber, Command, ErrorKind, Limit, Process, Resource};
    /// let child = Command::new("sleep").arg("60").spawn()?;
    /// child.set_rlimit(Resource::NOFILE, 64, ByNumber::IfPinned)?;
    /// assert_eq!(child.rlimit(Resource::NOFILE)?, Limit::from(64));
    /// let found = Process::find(child.pid())?;
    /// let refused = found.set_rlimit(Resource::NOFILE, 32, ByNumber::IfPinned).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::NotPinned);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`rlimit`](Process::rlimit); [`Error::NotPinned`] by [`ByNumber::IfPinned`] for a process that was found; [`Error::System`] with `EPERM` also if
    /// a hard limit is to be raised without `CAP_SYS_RESOURCE`, and with `EINVAL` if the soft limit is above the hard one.
    pub fn set_rlimit(&self, resource: Resource, limit: impl Into<Limit>, by: ByNumber) -> Result<()> {
        let limit = limit.into();
        self.change_by_number("prlimit", by, |pid| {
            prlimit(pid, resource, Some(limit)).map(drop).map_err(|errno| Error::on_process("prlimit", pid, errno))
        })
    }

    /// The CPUs that the first thread of the process may run on, numbered from 0 (sched_getaffinity(2)). Other threads may have other ones.
    ///
    /// # Errors
    /// As [`rlimit`](Process::rlimit), but for `EPERM`.
    pub fn cpu_affinity(&self) -> Result<Vec<usize>> {
        self.read_by_number(|pid| affinity(pid).map_err(|errno| Error::on_process("sched_getaffinity", pid, errno)))
    }

    /// Sets the CPUs that the first thread of the process may run on, and the threads that it starts from now on (sched_setaffinity(2)). Its other
    /// threads are not moved: the call is for one thread, and for those there are no handles. A cgroup's `cpuset.cpus` moves them all.
    ///
    /// # Errors
    /// As [`set_rlimit`](Process::set_rlimit); [`Error::System`] with `EPERM` if it is another user's, without `CAP_SYS_NICE`, and with `EINVAL` if this
    /// machine, or its cgroup, has none of these CPUs.
    pub fn set_cpu_affinity(&self, cpus: impl IntoIterator<Item = usize>, by: ByNumber) -> Result<()> {
        let cpus: Vec<usize> = cpus.into_iter().collect();
        self.change_by_number("sched_setaffinity", by, |pid| {
            set_affinity(pid, &cpus).map_err(|errno| Error::on_process("sched_setaffinity", pid, errno))
        })
    }
}
