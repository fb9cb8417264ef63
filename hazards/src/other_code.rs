//! What other code of the same program, other programs and the machine's limits do beside a library.

use crate::stage::{Result, Stage};
use crate::subject::{Order, Stdin};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, Uid, getpid, setuid};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// Nobody else's processes are counted with this user's.
const USER: u32 = 64_321;

/// A thread that has a child stopped.
pub(crate) struct Tracer {
    detach: Sender<()>,
    thread: JoinHandle<nix::Result<()>>,
}

impl Tracer {
    pub(crate) fn detach(self) {
        _ = self.detach.send(());
        _ = self.thread.join();
    }
}

/// A process whose parent does not wait for it.
pub(crate) struct Neglected {
    parent: Child,
    pid: i32,
}

impl Neglected {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Neglected {
    fn drop(&mut self) {
        _ = self.parent.kill();
        _ = self.parent.wait();
    }
}

/// What children stand before until it is opened.
pub(crate) struct Gate {
    inside: PipeReader,
    outside: PipeWriter,
}

impl Gate {
    /// Ends when the gate is opened.
    pub(crate) fn order(&self) -> Result<Order> {
        let mut order = Order::new("cat");
        order.stdin = Stdin::Given(OwnedFd::from(self.inside.try_clone()?));
        Ok(order)
    }

    pub(crate) fn open(self) {
        drop(self.outside);
    }
}

impl Stage {
    /// By a thread of this program: it is stopped when this returns, and nobody has been told.
    pub(crate) fn trace(&self, pid: i32) -> Result<Tracer> {
        let (tell, told) = mpsc::channel();
        let (detach, until) = mpsc::channel();
        let thread = thread::spawn(move || {
            let pid = Pid::from_raw(pid);
            // Not attach(): the SIGSTOP that it sends stays behind where the child is still in its exec, which stops it first.
            let stopped = ptrace::seize(pid, ptrace::Options::empty())
                .and_then(|()| ptrace::interrupt(pid))
                .and_then(|()| waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT));
            _ = tell.send(stopped);
            _ = until.recv();
            ptrace::detach(pid, None)
        });
        told.recv()??;
        Ok(Tracer { detach, thread })
    }

    /// As every reactor does with what it is given. How many there were.
    pub(crate) fn make_pidfds_non_blocking(&self) -> Result<usize> {
        let this = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let mut changed = 0;
        for entry in fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if !target.to_string_lossy().contains("pidfd") {
                continue;
            }
            let number: i32 = entry.file_name().to_string_lossy().parse()?;
            // The same open file, by another number.
            let pidfd = pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?;
            let flags = OFlag::from_bits_retain(fcntl(&pidfd, FcntlArg::F_GETFL)?);
            fcntl(&pidfd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            changed += 1;
        }
        // One of them is this function's own.
        Ok(changed - 1)
    }

    pub(crate) fn neglected(&self) -> Result<Neglected> {
        let sleeper = self.program("sleeper");
        // What a shell becomes does not wait for what the shell has started.
        let script = format!("{0} >/dev/null 2>&1 & echo $!; exec {0} >/dev/null 2>&1", sleeper.display());
        let mut parent = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let said = std::io::read_to_string(parent.stdout.take().ok_or("no pipe")?)?;
        Ok(Neglected { parent, pid: said.trim().parse()? })
    }

    /// Memory that is in use.
    pub(crate) fn ballast(&self, bytes: usize) -> Vec<u8> {
        std::hint::black_box(vec![1; bytes])
    }

    pub(crate) fn gate(&self) -> Result<Gate> {
        let (inside, outside) = pipe()?;
        Ok(Gate { inside, outside })
    }

    /// From here on this process belongs to a user who may have so many tasks beside those that there are.
    pub(crate) fn leave_no_more_than(&self, more: u64) -> Result<()> {
        let tasks = fs::read_dir("/proc/self/task")?.count() as u64;
        setrlimit(Resource::RLIMIT_NPROC, tasks + more, tasks + more)?;
        Ok(setuid(Uid::from_raw(USER))?)
    }

    /// From here on this process may open so many more files, and no others.
    pub(crate) fn leave_descriptors(&self, more: u64) -> Result<()> {
        let entries = fs::read_dir("/proc/self/fd")?.flatten();
        let open: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        // Below the limit there are so many free numbers; one that counts as taken is this look's own.
        let limit = (0..).filter(|number| !open.contains(number)).nth(more as usize).unwrap_or(more);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?)
    }

    /// This process's own, by their states (proc_pid_stat(5)).
    pub(crate) fn children(&self) -> Result<Vec<char>> {
        let ours = format!(" {} ", getpid());
        let stats = fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let state = |stat: String| {
            let (_, rest) = stat.rsplit_once(") ")?;
            rest.get(1..)?.starts_with(&ours).then(|| rest.chars().next()).flatten()
        };
        Ok(stats.filter_map(state).collect())
    }

    pub(crate) fn executable(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let file = self.program(name);
        xtask::noop::write(&file, Some(content.to_vec()))?;
        Ok(file)
    }

    /// The same on each run.
    pub(crate) fn without_paths(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.dir().display()), "")
    }
}
