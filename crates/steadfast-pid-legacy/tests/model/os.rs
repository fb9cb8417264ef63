//! The system calls that a process held by its number makes, in a world of one process.

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::sync::Scheduler;
use steadfast_core::{Clock, Errno, Exit, Pid, Signal};

pub(crate) struct World {
    pub(crate) life: Life,
    /// Handed over to those who reap it whenever it exits.
    pub(crate) is_abandoned: bool,
}

pub(crate) enum Life {
    Runs,
    /// With its wait status.
    Zombie(i32),
    /// And its number is somebody else's.
    Reaped,
}

loom::lazy_static! {
    /// Each order has its own.
    pub(crate) static ref WORLD: (Mutex<World>, Condvar) =
        (Mutex::new(World { life: Life::Runs, is_abandoned: false }), Condvar::new());
}

pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    f(&mut WORLD.0.lock().expect("nobody panics here"))
}

impl World {
    pub(crate) fn end(&mut self, status: i32) {
        if let Life::Runs = self.life {
            self.life = if self.is_abandoned { Life::Reaped } else { Life::Zombie(status) };
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Blocking {
    Block,
    Now,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reaping {
    Reap,
    Leave,
}

pub(crate) enum Target {
    Pid(Pid),
}

pub(crate) fn kill(_: Pid, signal: Signal) -> Result<(), Errno> {
    with(|world| {
        assert!(!matches!(world.life, Life::Reaped), "a stranger was signalled, who has the number now");
        world.end(signal.as_raw());
    });
    WORLD.1.notify_all();
    Ok(())
}

pub(crate) fn kill_group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    kill(leader, signal)
}

pub(crate) fn waitid(Target::Pid(pid): Target, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
    let mut world = WORLD.0.lock().expect("nobody panics here");
    let mut is_asleep = false;
    loop {
        match world.life {
            Life::Zombie(status) => {
                if reaping == Reaping::Reap {
                    world.life = Life::Reaped;
                    // Whoever sleeps in here hears that there is no such child any more.
                    WORLD.1.notify_all();
                }
                return Ok(Some(Exit::new(pid, ExitStatus::from_raw(status))));
            }
            Life::Reaped => {
                assert!(is_asleep, "a stranger is waited for, who has the number now");
                return Err(Errno::CHILD);
            }
            Life::Runs if blocking == Blocking::Now => return Ok(None),
            Life::Runs => {}
        }
        is_asleep = true;
        world = WORLD.1.wait(world).expect("nobody panics here");
    }
}

pub(crate) fn spawn_quiet_thread(_: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    drop(loom::thread::spawn(run));
    Ok(())
}

/// It stands still: no timeout passes.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(|| Instant::now() + Duration::from_secs(1));
        *START
    }

    fn sleep_until(&self, _: Instant) {
        unreachable!("nobody sleeps here")
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
