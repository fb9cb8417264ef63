//! The machine: a kernel with one process, and the simplest of backends.

use crate::orders::{LONG, Machine};
use loom::sync::{Condvar, Mutex};
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendProcess, Capabilities, Clock, Errno, Error, Exit, OnExit, Pid, Plan, ProcessBackend, Result, Signal, Spawned,
};

/// What a handle holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Identity {
    Pidfd,
    Number,
}

loom::lazy_static! {
    /// Each order has its own.
    static ref WORLD: (Mutex<World>, Condvar) = (Mutex::new(World { life: Life::Runs, is_abandoned: false }), Condvar::new());
}

struct World {
    life: Life,
    /// Handed over to the backend, which reaps it whenever it exits.
    is_abandoned: bool,
}

enum Life {
    Runs,
    /// With its wait status.
    Zombie(i32),
    /// And its number is somebody else's.
    Reaped,
}

impl Machine for Identity {
    fn exit(self) {
        with(|world| world.end(7 << 8));
        WORLD.1.notify_all();
    }

    fn is_left_clean(self) {
        with(|world| assert!(matches!(world.life, Life::Reaped), "a zombie is left"));
    }
}

fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    f(&mut WORLD.0.lock().expect("nobody panics here"))
}

impl Identity {
    /// What a call finds that comes too late.
    fn too_late(self, what: &str, errno: Errno) -> Error {
        assert!(self == Identity::Pidfd, "{what}: a stranger was hit, who has the number now");
        Error::on_process("a call", Pid::MAX, errno)
    }
}

impl World {
    fn end(&mut self, status: i32) {
        if let Life::Runs = self.life {
            self.life = if self.is_abandoned { Life::Reaped } else { Life::Zombie(status) };
        }
    }
}

fn exit(status: i32) -> Exit {
    Exit::new(Pid::MAX, ExitStatus::from_raw(status))
}

impl ProcessBackend for Identity {
    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new("model");
        if *self == Identity::Pidfd { capabilities.find_is_exact() } else { capabilities }
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn spawn(&self, _: &Plan) -> Result<Spawned> {
        Ok(Spawned { pid: Pid::MAX, process: Arc::new(*self), pipes: [None, None, None], pidfd: None })
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Err(Error::ProcessDone { pid })
    }
}

impl BackendProcess for Identity {
    fn signal(&self, signal: Signal) -> Result<()> {
        let sent = with(|world| match world.life {
            Life::Reaped => Err(self.too_late("signal", Errno::SRCH)),
            _ => {
                world.end(signal.as_raw());
                Ok(())
            }
        });
        WORLD.1.notify_all();
        sent
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.signal(signal).map(|()| true)
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let mut world = WORLD.0.lock().expect("nobody panics here");
        let mut was_there = false;
        loop {
            match world.life {
                Life::Zombie(status) => return Ok(Some(exit(status))),
                // Whoever sleeps in the kernel already means the process and not the number.
                Life::Reaped if was_there => return Err(Error::on_process("wait", Pid::MAX, Errno::CHILD)),
                Life::Reaped => return Err(self.too_late("wait", Errno::CHILD)),
                Life::Runs if deadline.is_some_and(|deadline| deadline < self.now() + LONG) => return Ok(None),
                Life::Runs => {}
            }
            was_there = true;
            world = WORLD.1.wait(world).expect("nobody panics here");
        }
    }

    fn reap(&self) -> Result<Option<Exit>> {
        with(|world| {
            let status = match world.life {
                Life::Runs => return Ok(None),
                Life::Zombie(status) => status,
                Life::Reaped => return Err(self.too_late("reap", Errno::CHILD)),
            };
            world.life = Life::Reaped;
            Ok(Some(exit(status)))
        })
    }

    fn collect(&self) -> Result<Exit> {
        unreachable!("it is for processes that nobody has a handle of")
    }

    fn on_exit(self: Arc<Self>, _: OnExit) -> Result<()> {
        unreachable!("nobody watches here")
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        with(|world| match world.life {
            Life::Runs => world.is_abandoned = true,
            Life::Zombie(_) => world.life = Life::Reaped,
            Life::Reaped => panic!("it was reaped, and abandoned afterwards"),
        });
    }
}

impl Clock for Identity {
    /// It stands still: a short timeout passes at once, a long one never.
    fn now(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "some instant, from which on it stands still")]
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START
    }

    fn sleep_until(&self, _: Instant) {
        unreachable!("nobody sleeps here")
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
