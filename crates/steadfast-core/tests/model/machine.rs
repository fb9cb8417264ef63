//! The machine: a kernel with one process, and the simplest of backends.

use crate::checker::{share, wait_for};
use crate::orders::{Act, LONG, Machine};
use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendInfo, BackendLook, BackendProcess, Change, Clock, Errno, Error, Exit, OnExit, Pid, Result, Signal, Until,
};

/// What a handle holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Holds {
    Pidfd,
    Number,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Debug, Default)]
struct World {
    life: Life,
    /// Handed over to the backend, which reaps it whenever it exits.
    is_abandoned: bool,
}

#[derive(Debug, Default)]
enum Life {
    #[default]
    Runs,
    /// With its wait status.
    Zombie(i32),
    /// And its number is somebody else's.
    Reaped,
}

impl Machine for Holds {
    fn info(self) -> BackendInfo {
        let info = BackendInfo::new("model");
        if self == Holds::Pidfd { info.find_is_exact() } else { info }
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn process(self) -> Arc<dyn BackendProcess> {
        Arc::new(self)
    }

    fn begin(self) {
        WORLD.take();
    }

    fn exit(self) {
        share(&WORLD, |world| world.end(7 << 8));
    }

    fn interruptions(self, _: &[Act]) -> Option<usize> {
        None
    }

    fn is_left_clean(self) {
        share(&WORLD, |world| assert!(matches!(world.life, Life::Reaped), "a zombie is left"));
    }
}

impl Holds {
    /// What a call finds that comes too late.
    fn too_late(self, what: &str, errno: Errno) -> Error {
        assert!(self == Holds::Pidfd, "{what}: a stranger was hit, who has the number now");
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

impl BackendProcess for Holds {
    fn signal(&self, signal: Signal) -> Result<()> {
        share(&WORLD, |world| match world.life {
            Life::Reaped => Err(self.too_late("signal", Errno::SRCH)),
            _ => {
                world.end(signal.as_raw());
                Ok(())
            }
        })
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.signal(signal).map(|()| true)
    }

    fn signal_value(&self, signal: Signal, _: i32) -> Result<()> {
        self.signal(signal)
    }

    fn may_signal(&self) -> Result<bool> {
        share(&WORLD, |world| match world.life {
            Life::Reaped => Err(self.too_late("signal", Errno::SRCH)),
            _ => Ok(true),
        })
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        unreachable!("nobody looks")
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        let is_its_own = || {
            share(&WORLD, |world| match world.life {
                Life::Reaped => Err(self.too_late("a call", Errno::SRCH)),
                _ => Ok(()),
            })
        };
        is_its_own()?;
        let acted = act(Pid::MAX);
        is_its_own()?;
        acted
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let mut is_asleep = false;
        wait_for(&WORLD, |world| match world.life {
            Life::Zombie(status) => Some(Ok(Some(exit(status)))),
            // Whoever sleeps in the kernel already means the process and not the number.
            Life::Reaped if is_asleep => Some(Err(Error::on_process("wait", Pid::MAX, Errno::CHILD))),
            Life::Reaped => Some(Err(self.too_late("wait", Errno::CHILD))),
            Life::Runs if deadline.is_some_and(|deadline| deadline < self.now() + LONG) => Some(Ok(None)),
            Life::Runs => {
                is_asleep = true;
                None
            }
        })
    }

    fn reap(&self) -> Result<Option<Exit>> {
        share(&WORLD, |world| {
            let status = match world.life {
                Life::Runs => return Ok(None),
                Life::Zombie(status) => status,
                Life::Reaped => return Err(self.too_late("reap", Errno::CHILD)),
            };
            world.life = Life::Reaped;
            Ok(Some(exit(status)))
        })
    }

    fn on_exit(self: Arc<Self>, _: Until, _: OnExit) -> Result<()> {
        unreachable!("nobody watches here")
    }

    fn wait_change(&self) -> Result<Change> {
        unreachable!("nobody stops")
    }

    fn try_change(&self) -> Result<Option<Change>> {
        unreachable!("nobody stops")
    }

    fn on_change(self: Arc<Self>, _: OnExit) -> Result<()> {
        unreachable!("nobody stops")
    }

    fn identity(&self) -> Result<steadfast_core::Identity> {
        unreachable!("nobody is named here")
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        share(&WORLD, |world| match world.life {
            Life::Runs => world.is_abandoned = true,
            Life::Zombie(_) => world.life = Life::Reaped,
            Life::Reaped => panic!("it was reaped, and abandoned afterwards"),
        });
    }
}

impl Clock for Holds {
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
