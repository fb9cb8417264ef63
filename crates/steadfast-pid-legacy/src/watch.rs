//! [`Watch`]: waiting with a deadline, or being called, which no system call offers for a PID.
//!
//! One small thread per process that somebody waits for in such a way, blocked in `waitid(WNOWAIT)`. One thread for all of
//! them (`P_ALL`) would spin on any zombie that the program has not reaped; `SIGCHLD` is the program's.

use crate::os::{
    Blocking, Condvar, Mutex, MutexGuard, Reaping, SystemClock, Target, look_for_change, spawn_quiet_thread, waitid,
};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Errno, OnExit, Pauses, Pid, contain};

#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether the thread has come back from the kernel, because the process has exited or is no child.
    over: bool,
    tell: Option<OnExit>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.tell.is_some() { ", and somebody is to be told" } else { "" };
        write!(f, "{}{who}", if self.over { "over" } else { "running" })
    }
}

/// The threads that wait in the place of those who have a deadline, or are to be called; once there are any.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    exit: Mutex<Option<Arc<Watch>>>,
    /// For a change; over with the first.
    change: Mutex<Option<Arc<Watch>>>,
}

impl Watches {
    /// The thread that waits for the exit; started, if it is the first time that one is needed.
    pub(crate) fn of_exit(&self, pid: Pid) -> Result<Arc<Watch>, Errno> {
        let mut watch = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*watch {
            Some(watch) => Arc::clone(watch),
            None => Arc::clone(watch.insert(Watch::start(pid)?)),
        })
    }

    /// The thread that waits for the next change; started, unless there is one that has not come back.
    pub(crate) fn of_change(&self, pid: Pid) -> Result<Arc<Watch>, Errno> {
        let mut watch = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*watch {
            Some(watch) if !watch.is_over() => Arc::clone(watch),
            _ => Arc::clone(watch.insert(Watch::of_change(pid)?)),
        })
    }

    /// Those that may be in the kernel with the number.
    pub(crate) fn all(&self) -> [Option<Arc<Watch>>; 2] {
        [&self.exit, &self.change].map(|watch| watch.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Watch {
    /// Starts the thread. It ends when the process does.
    fn start(pid: Pid) -> Result<Arc<Watch>, Errno> {
        Watch::begin("steadfast-watch", move || until_over(pid))
    }

    /// The same for a stop or a continuation; this one ends with the first, or with the process.
    fn of_change(pid: Pid) -> Result<Arc<Watch>, Errno> {
        Watch::begin("steadfast-change", move || until_changed(pid))
    }

    fn begin(name: &str, until: impl FnOnce() + Send + 'static) -> Result<Arc<Watch>, Errno> {
        let watch = Arc::new(Watch::default());
        let own = Arc::clone(&watch);
        let run = move || {
            until();
            let mut state = own.lock();
            state.over = true;
            let tell = state.tell.take();
            drop(state);
            own.changed.notify_all();
            // At last, for whoever is told may reap, which waits for this thread to have left the kernel.
            if let Some(tell) = tell {
                contain(tell);
            }
        };
        spawn_quiet_thread(name, run).map(|()| watch).map_err(thread_errno)
    }

    /// Whether the thread has come back.
    fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Whether it was over by the deadline.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.over {
            let left = deadline.saturating_duration_since(SystemClock.now());
            if left.is_zero() {
                break;
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.over
    }

    /// Waits until it is over.
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls when it is over.
    pub(crate) fn tell(&self, tell: OnExit) {
        let mut state = self.lock();
        if !state.over {
            state.tell = Some(tell);
            return;
        }
        drop(state);
        contain(tell);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns once it has exited, or is no child of ours; not because a look was refused for the moment, which says neither, nor because of
/// a stop of a child that we trace.
fn until_over(pid: Pid) {
    let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
    loop {
        match waitid(Target::Pid(pid), Blocking::Block, Reaping::Leave) {
            Ok(Some(_)) | Err(Errno::CHILD) => return,
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => pauses.sleep(&SystemClock, None),
        }
    }
}

/// Returns once it has stopped or goes on and nobody has taken the report, has exited, or is no child of ours.
fn until_changed(pid: Pid) {
    let mut pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(50));
    loop {
        match look_for_change(Target::Pid(pid), Blocking::Block) {
            Ok(Some(_)) | Err(Errno::CHILD) => return,
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => pauses.sleep(&SystemClock, None),
        }
    }
}

pub(crate) fn thread_errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::AGAIN.as_raw()))
}
