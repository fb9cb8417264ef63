//! What surrounds a hazard: programs, other code in the same program, strangers with recycled PIDs.

use crate::subject::{Order, Refusal, Stdin};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::io::{PipeWriter, pipe};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use steadfast::System;
use tempfile::TempDir;
use xtask::{namespace, noop};

/// Something could not be arranged. Not a library's fault, and so not its answer: it has no `Display`, which all of their errors have.
pub(crate) struct Trouble(pub(crate) String);

impl From<Trouble> for Refusal {
    fn from(Trouble(what): Trouble) -> Refusal {
        Refusal::Stage(what)
    }
}

pub(crate) type Result<T, E = Trouble> = std::result::Result<T, E>;

impl<E: std::fmt::Display> From<E> for Trouble {
    fn from(error: E) -> Trouble {
        Trouble(error.to_string())
    }
}

pub(crate) struct Stage {
    dir: TempDir,
    system: System,
    go: Mutex<Option<PipeWriter>>,
}

/// When a stranger ends.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    Never,
    /// With code 7.
    AtOnce,
}

/// A child of the same program that other code has started.
pub(crate) struct Stranger(i32);

/// A process that is no child of ours.
pub(crate) struct Foreigner {
    pub(crate) pid: i32,
}

impl Stage {
    /// In a PID namespace of its own, whose `/proc` is mounted.
    pub(crate) fn new() -> Result<Stage> {
        let arch = std::env::consts::ARCH;
        let dir = tempfile::tempdir()?;
        for (name, program) in
            [("noop", noop::executable(arch)), ("sleeper", noop::sleeper(arch)), ("leaderless", noop::leaderless(arch))]
        {
            noop::write(&dir.path().join(name), program)?;
        }
        Ok(Stage { dir, system: System::pid_legacy(), go: Mutex::default() })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn sleeping(&self) -> Order {
        Order::new(self.program("sleeper"))
    }

    /// One that any user may run.
    pub(crate) fn anybodys(&self) -> Order {
        Order::new("/bin/true")
    }

    pub(crate) fn exiting_at_once(&self) -> Order {
        Order::new(self.program("noop"))
    }

    /// With code 3.
    pub(crate) fn exiting(&self) -> Order {
        let mut order = Order::new("/bin/sh");
        order.args = vec!["-c", "exit 3"];
        order
    }

    /// Exits with 0 once [`go_soon`](Stage::go_soon) says so.
    pub(crate) fn waiting_for_go(&self) -> Result<Order> {
        let (end, go) = pipe()?;
        *self.go.lock()? = Some(go);
        let mut order = Order::new("cat");
        order.stdin = Stdin::Given(OwnedFd::from(end));
        Ok(order)
    }

    pub(crate) fn go_soon(&self) {
        let go = self.take_go();
        self.later(move || drop(go));
    }

    /// Says go when it is dropped.
    pub(crate) fn take_go(&self) -> Option<PipeWriter> {
        self.go.lock().ok().and_then(|mut go| go.take())
    }

    /// A program whose first thread exits while another goes on, until what is given here is dropped: then it exits with 3.
    pub(crate) fn leaderless(&self) -> Result<(Order, PipeWriter)> {
        let (end, go) = pipe()?;
        let mut order = Order::new(self.program("leaderless"));
        order.stdin = Stdin::Given(OwnedFd::from(end));
        Ok((order, go))
    }

    pub(crate) fn until_leader_exited(&self, pid: i32) {
        while !self.has_exited(pid) {
            self.let_time_pass(Duration::from_millis(1));
        }
    }

    /// Its first thread, that is; or it is gone.
    pub(crate) fn has_exited(&self, pid: i32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    /// This thread and what it starts from now on share one.
    pub(crate) fn take_one_cpu(&self) -> Result<()> {
        let mine = sched_getaffinity(Pid::from_raw(0))?;
        let mut one = CpuSet::new();
        let first = (0..CpuSet::count()).find(|cpu| mine.is_set(*cpu) == Ok(true)).ok_or("no CPU")?;
        one.set(first)?;
        Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
    }

    pub(crate) fn let_time_pass(&self, time: Duration) {
        self.system.sleep(time);
    }

    /// Does something when whoever calls a library next has surely come to sleep in it.
    pub(crate) fn later(&self, what: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        let system = self.system.clone();
        thread::spawn(move || {
            system.sleep(Duration::from_millis(100));
            what();
        })
    }

    pub(crate) fn kill(&self, pid: i32) -> Result<()> {
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
    }

    pub(crate) fn kill_soon(&self, pid: i32) -> JoinHandle<()> {
        self.later(move || _ = kill(Pid::from_raw(pid), Signal::SIGKILL))
    }

    /// As other code in the program does: waits for the child, and takes its status.
    pub(crate) fn reap(&self, pid: i32) -> Result<()> {
        waitpid(Pid::from_raw(pid), None)?;
        Ok(())
    }

    pub(crate) fn ignore_sigchld(&self) -> Result<()> {
        // What `nohup`-like parents and old daemons leave to their children.
        Ok(steadfast_linux::ignore_signal(steadfast::Signal::CHLD)?)
    }

    /// Other code in the program starts a process, which gets this PID.
    pub(crate) fn stranger_with(&self, pid: i32, exit: Exit) -> Result<Stranger> {
        // A number comes round again after thousands of others: some hundredths of a second later, which is how the system tells start times.
        self.let_time_pass(Duration::from_millis(25));
        // Other threads of this program may take a number too.
        for _ in 0..50 {
            namespace::set_next_pid(pid)?;
            let mut command = match exit {
                Exit::Never => Command::new(self.program("sleeper")),
                Exit::AtOnce => Command::new("/bin/sh"),
            };
            if matches!(exit, Exit::AtOnce) {
                command.args(["-c", "exit 7"]);
            }
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let mut stranger = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            if stranger.id() == pid as u32 {
                if matches!(exit, Exit::AtOnce) {
                    waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
                }
                return Ok(Stranger(pid));
            }
            stranger.kill()?;
            stranger.wait()?;
        }
        Err(format!("PID {pid} was not given away again").into())
    }

    /// A process of somebody else's.
    pub(crate) fn foreigner(&self) -> Result<Foreigner> {
        let script = format!("{} >/dev/null 2>&1 & echo $!", self.program("sleeper").display());
        let said = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output()?;
        Ok(Foreigner { pid: String::from_utf8(said.stdout)?.trim().parse()? })
    }

    /// Signals at the calling thread, as many as it can take, whose handler restarts what can be restarted.
    pub(crate) fn storm(&self) -> Result<Storm> {
        signal_hook::flag::register(nix::libc::SIGUSR1, Arc::default())?;
        let stop = Arc::new(AtomicBool::new(false));
        let target: Pthread = pthread_self();
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) && pthread_kill(target, Signal::SIGUSR1).is_ok() {
                thread::yield_now();
            }
        });
        Ok(Storm { stop, thread: Some(thread) })
    }
}

pub(crate) struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Stranger {
    pub(crate) fn was_killed(&self) -> Result<bool> {
        // A signal that was sent has an effect before the next system call of the sender returns, or shortly after.
        System::pid_legacy().sleep(Duration::from_millis(20));
        let seen = waitid(Id::Pid(Pid::from_raw(self.0)), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)?;
        Ok(!matches!(seen, WaitStatus::StillAlive))
    }

    /// By who has started it.
    pub(crate) fn can_be_reaped(&self) -> bool {
        waitpid(Pid::from_raw(self.0), None).is_ok()
    }
}

impl Foreigner {
    pub(crate) fn is_gone(&self) -> bool {
        kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Ok(WaitStatus::StillAlive) = waitpid(Pid::from_raw(self.0), Some(WaitPidFlag::WNOHANG)) {
            _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}
