//! What happens when nothing lives in a job and nobody waits: who wants to be told is, and cgroups of jobs that were dropped are removed.
//!
//! One thread, while there is anything to wait for, polls `cgroup.events` of each in one `epoll`.

use super::events::{Line, says};
use super::place::Leaf;
use crate::file::errno;
use crate::fork::PerProcess;
use crate::raw;
use crate::thread::spawn_quiet_thread;
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steadfast_core::{BackendJob, Errno, OnExit, contain};

/// Empty when there is nothing to wait for; then there is no thread and no descriptor either.
static WATCH: PerProcess<Mutex<Option<Watch>>> = PerProcess::new(Mutex::default);

/// Those for which there was neither a descriptor nor a thread; tried again when the next job is made or dropped.
static STRANDED: PerProcess<Mutex<Vec<Leaf>>> = PerProcess::new(Mutex::default);

struct Watch {
    epoll: Arc<OwnedFd>,
    tasks: HashMap<u64, Task>,
    last: u64,
}

enum Task {
    /// With what keeps the cgroup: of one that is removed in that very moment, the kernel wakes nobody who polls its file.
    Tell(OwnedFd, OnExit, Arc<dyn BackendJob>),
    Remove(Leaf),
}

impl Task {
    fn events(&self) -> BorrowedFd<'_> {
        match self {
            Task::Tell(events, ..) => events.as_fd(),
            Task::Remove(leaf) => leaf.events.as_fd(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls once nothing lives in the cgroup, of which this is a `cgroup.events` that nobody else reads, and in which something lived when it was
/// last read.
///
/// # Errors
/// What was to be called, and why it will not be.
pub(super) fn tell(events: OwnedFd, tell: OnExit, job: Arc<dyn BackendJob>) -> Result<(), (OnExit, Errno)> {
    match add(Task::Tell(events, tell, job)) {
        Err((Task::Tell(_, tell, _), errno)) => Err((tell, errno)),
        Err((Task::Remove(_), _)) => unreachable!("it gives back what it was given"),
        Ok(()) => Ok(()),
    }
}

/// Removes the cgroup, now or when nothing lives in it any more.
pub(super) fn remove(leaf: Leaf) {
    remove_stranded();
    if leaf.remove() != Err(Errno::BUSY) {
        // One that it was in may have waited for that, and for what goes with it.
        drop(leaf);
        return remove_stranded();
    }
    match says(leaf.events.as_fd(), Line::Empty) {
        Ok(false) => {
            if let Err((Task::Remove(leaf), _)) = add(Task::Remove(leaf)) {
                lock(&STRANDED).push(leaf);
            }
        }
        // It has ended in between; or there is the cgroup of another job in it, which goes first.
        _ if leaf.remove() != Err(Errno::BUSY) => {
            drop(leaf);
            remove_stranded();
        }
        _ => lock(&STRANDED).push(leaf),
    }
}

/// Removes those for which there was no descriptor or thread, if nothing lives in them by now.
pub(super) fn remove_stranded() {
    loop {
        let mut stranded = lock(&STRANDED);
        let before = stranded.len();
        stranded.retain(|leaf| leaf.remove() == Err(Errno::BUSY));
        // Those that went were perhaps in others.
        if stranded.is_empty() || stranded.len() == before {
            return;
        }
    }
}

/// Of a cgroup in which something lived when its file was last read: a change since then is reported.
fn add(task: Task) -> Result<(), (Task, Errno)> {
    let mut watch = lock(&WATCH);
    let begun = match &*watch {
        Some(running) => Ok(Arc::clone(&running.epoll)),
        None => begin(),
    };
    let epoll = match begun {
        Ok(epoll) => epoll,
        Err(errno) => return Err((task, errno)),
    };
    let Watch { tasks, last, .. } =
        watch.get_or_insert_with(|| Watch { epoll: Arc::clone(&epoll), tasks: HashMap::new(), last: 0 });
    *last += 1;
    let number = *last;
    let flags = epoll::EventFlags::PRI;
    if let Err(error) = epoll::add(&epoll, task.events(), epoll::EventData::new_u64(number), flags) {
        return Err((task, errno(error)));
    }
    tasks.insert(number, task);
    Ok(())
}

/// Starts the thread, which begins with the lock that is held here.
fn begin() -> Result<Arc<OwnedFd>, Errno> {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?);
    let own = Arc::clone(&epoll);
    spawn_quiet_thread("steadfast-jobs", move || run(&own)).map_err(|error| Errno::of(&error).unwrap_or(Errno::AGAIN))?;
    Ok(epoll)
}

fn run(epoll: &OwnedFd) {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    loop {
        {
            let mut watch = lock(&WATCH);
            if watch.as_ref().is_none_or(|watch| watch.tasks.is_empty()) {
                *watch = None;
                return;
            }
        }
        // It fails with EINTR alone; this thread gets no signals but the C library's.
        let count = raw::epoll_wait(epoll, &mut events).unwrap_or_default();
        for event in &events[..count] {
            look(event.u64);
        }
    }
}

/// Does what is due if nothing lives in the cgroup of this task.
fn look(number: u64) {
    let task = {
        let mut watch = lock(&WATCH);
        let Some(Watch { epoll, tasks, .. }) = &mut *watch else { return };
        let Some(task) = tasks.get(&number) else { return };
        if !says(task.events(), Line::Empty).unwrap_or(true) {
            return;
        }
        _ = epoll::delete(&*epoll, task.events());
        tasks.remove(&number)
    };
    match task {
        Some(Task::Tell(_, tell, job)) => {
            contain(tell);
            drop(job);
        }
        // Somebody may just have been born there, by whoever was given the directory: then it is waited for again.
        Some(Task::Remove(leaf)) => remove(leaf),
        None => {}
    }
}
