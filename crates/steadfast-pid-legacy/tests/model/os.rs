//! The system calls that a process held by its number makes, in a world of one process.

pub(crate) use loom::sync::{Mutex, MutexGuard};

use crate::orders::LONG;
use loom::sync::Condvar as Wakeup;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LockResult};
use std::time::{Duration, Instant};
use steadfast_core::sync::Scheduler;
use steadfast_core::{Clock, Errno, Exit, Pid, Signal};

pub(crate) struct World {
    pub(crate) life: Life,
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
    pub(crate) static ref WORLD: (Mutex<World>, Wakeup) =
        (Mutex::new(World { life: Life::Runs }), Wakeup::new());
    /// How many seconds have passed.
    static ref PASSED: AtomicU64 = AtomicU64::new(0);
}

pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    f(&mut WORLD.0.lock().expect("nobody panics here"))
}

impl World {
    pub(crate) fn end(&mut self, status: i32) {
        if let Life::Runs = self.life {
            self.life = Life::Zombie(status);
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
    let thread = loom::thread::spawn(run);
    THREADS.lock().expect("nobody panics here").push(thread);
    Ok(())
}

/// Those that were started and may not be over yet. Never locked while others may go on.
static THREADS: std::sync::Mutex<Vec<loom::thread::JoinHandle<()>>> = std::sync::Mutex::new(Vec::new());

pub(crate) fn join_threads() {
    let threads = std::mem::take(&mut *THREADS.lock().expect("nobody panics here"));
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

/// Whoever waits here for a short time does so for no time, and the clock moves on; for a long time, until he is woken.
#[derive(Default)]
pub(crate) struct Condvar(Wakeup);

impl Condvar {
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, left: Duration) -> LockResult<(MutexGuard<'a, T>, ())> {
        if left > LONG / 2 {
            return Ok((self.0.wait(guard).expect("nobody panics here"), ()));
        }
        PASSED.fetch_add(left.as_secs() + 1, Ordering::Relaxed);
        Ok((guard, ()))
    }
}

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(|| Instant::now() + Duration::from_secs(1));
        *START + Duration::from_secs(PASSED.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, _: Instant) {
        unreachable!("nobody sleeps here")
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
