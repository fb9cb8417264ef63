//! The system calls that a process held by its number makes, in a world of one process.

pub(crate) use crate::background::spawn_quiet_thread;
pub(crate) use crate::checker::{Mutex, MutexGuard};

use crate::checker::{self, share, wait_for};
use crate::orders::LONG;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, LockResult};
use std::time::{Duration, Instant};
use steadfast_core::sync::Scheduler;
use steadfast_core::{Change, Clock, Errno, Exit, Pid, Signal};

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) life: Life,
}

#[derive(Debug, Default)]
pub(crate) enum Life {
    #[default]
    Runs,
    /// With its wait status.
    Zombie(i32),
    /// And its number is somebody else's.
    Reaped,
}

thread_local! {
    pub(crate) static WORLD: RefCell<World> = RefCell::default();
    /// How many seconds have passed for each thread: those that it has waited for.
    static PASSED: RefCell<BTreeMap<usize, u64>> = RefCell::default();
}

/// Nobody forks.
pub(crate) fn generation() -> u32 {
    0
}

/// All as new.
pub(crate) fn begin() {
    WORLD.take();
    PASSED.take();
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
    share(&WORLD, |world| {
        assert!(!matches!(world.life, Life::Reaped), "a stranger was signalled, who has the number now");
        world.end(signal.as_raw());
    });
    Ok(())
}

pub(crate) fn kill_with_value(pid: Pid, signal: Signal, _: i32) -> Result<(), Errno> {
    kill(pid, signal)
}

pub(crate) fn may_signal(_: Pid) -> Result<bool, Errno> {
    share(&WORLD, |world| {
        assert!(!matches!(world.life, Life::Reaped), "a stranger was asked about, who has the number now");
        Ok(true)
    })
}

pub(crate) fn kill_group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    kill(leader, signal)
}

pub(crate) fn waitid(Target::Pid(pid): Target, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
    let mut is_asleep = false;
    wait_for(&WORLD, |world| match world.life {
        Life::Zombie(status) => {
            if reaping == Reaping::Reap {
                world.life = Life::Reaped;
            }
            Some(Ok(Some(Exit::new(pid, ExitStatus::from_raw(status)))))
        }
        Life::Reaped => {
            assert!(is_asleep, "a stranger is waited for, who has the number now");
            // Whoever sleeps in here hears that there is no such child any more.
            Some(Err(Errno::CHILD))
        }
        Life::Runs if blocking == Blocking::Now => Some(Ok(None)),
        Life::Runs => {
            is_asleep = true;
            None
        }
    })
}

/// Nobody stops: there is nothing but the exit.
pub(crate) fn look_for_change(target: Target, blocking: Blocking) -> Result<Option<Change>, Errno> {
    Ok(waitid(target, blocking, Reaping::Leave)?.map(|exit| Change::Exited(exit.status)))
}

pub(crate) fn take_change(target: Target, blocking: Blocking) -> Result<Option<Change>, Errno> {
    look_for_change(target, blocking)
}

/// Whoever waits here for a short time does so for no time, and the clock moves on; for a long time, until he is woken.
#[derive(Debug, Default)]
pub(crate) struct Condvar(checker::Condvar);

impl Condvar {
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<'a, T: Debug>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_timeout<'a, T: Debug>(
        &self,
        guard: MutexGuard<'a, T>,
        left: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        if left > LONG / 2 {
            return Ok((self.0.wait(guard).expect("nobody panics here"), ()));
        }
        PASSED.with_borrow_mut(|passed| *passed.entry(me()).or_default() += left.as_secs() + 1);
        Ok((guard, ()))
    }
}

fn me() -> usize {
    shuttle::current::me().into()
}

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(|| Instant::now() + Duration::from_secs(1));
        *START + Duration::from_secs(PASSED.with_borrow(|passed| passed.get(&me()).copied().unwrap_or_default()))
    }

    fn sleep_until(&self, _: Instant) {
        unreachable!("nobody sleeps here")
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}
