//! What happens when a process exits and nobody waits: one thread polls all of them in one `epoll`, and ends with the last.
//!
//! It reaps children whose handles were dropped, and calls whoever wants to be told. Its `epoll` reports each descriptor once
//! (`EPOLLONESHOT`): a caller's duplicate of a pidfd keeps it in there after it was closed, and must not be reported for ever.

use crate::process::{PidfdProcess, Sight};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use steadfast_core::{OnExit, Until, contain};
use steadfast_linux::{Blocking, PerProcess, spawn_quiet_thread};

/// The alarm's number among those of the tasks.
const ALARM: epoll::EventData = epoll::EventData::new_u64(0);

/// One of its processes: by its place in memory, which is its own as long as it is here. That takes no room in the process itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(usize);

/// Empty when there is nothing to wait for; then there is no thread and no descriptor either.
static REACTOR: PerProcess<Mutex<Option<Reactor>>> = PerProcess::new(Mutex::default);

/// Those for which there was neither a descriptor nor a thread; looked at again when the next one comes, or a spawn is refused.
static STRANDED: PerProcess<Mutex<Vec<Arc<PidfdProcess>>>> = PerProcess::new(Mutex::default);

struct Reactor {
    epoll: Arc<OwnedFd>,
    /// Written to when the thread is to see that there is nothing left.
    alarm: Arc<OwnedFd>,
    /// By a number that no later task gets, for an event may come late.
    tasks: HashMap<u64, (Key, Task)>,
    numbers: HashMap<Key, u64>,
    last: u64,
}

/// How many tasks there are, for those who have none.
static COUNT: PerProcess<AtomicUsize> = PerProcess::new(AtomicUsize::default);

enum Task {
    Reap(Arc<PidfdProcess>),
    Tell(Weak<PidfdProcess>, Tells),
}

/// What the `epoll` will report of a zombie.
enum Hears {
    OfTheEnd,
    Nothing,
}

/// Who wants to be told of which end.
#[derive(Default)]
struct Tells {
    exited: Option<OnExit>,
    gone: Option<OnExit>,
}

impl Tells {
    fn of(&mut self, end: Until) -> &mut Option<OnExit> {
        match end {
            Until::Exited => &mut self.exited,
            Until::Gone => &mut self.gone,
        }
    }
}

/// Reaps the child once it has exited.
pub(crate) fn reap(child: Arc<PidfdProcess>) {
    reap_stranded();
    // Often it has exited already; or it is nobody's any more (ECHILD).
    if child.is_reaped(Blocking::Now) {
        return;
    }
    // A thread that has seen the exit of this number and not taken its task yet finds the new one, and reaps (`exited`).
    let told = lock(&REACTOR).as_mut().and_then(|reactor| {
        let task = reactor.task_of(&child)?;
        Some(std::mem::replace(task, Task::Reap(Arc::clone(&child))))
    });
    if let Some(told) = told {
        // Nobody wants to be told any more; and what that was to be is not dropped under the lock.
        return contain(|| drop(told));
    }
    if add(&child, Task::Reap(Arc::clone(&child))).is_ok() {
        return;
    }
    // Out of descriptors: a thread of its own needs none.
    let own = Arc::clone(&child);
    if spawn_quiet_thread("steadfast-orphan", move || own.reap_when_exited()).is_err() {
        lock(&STRANDED).push(child);
    }
}

/// Reaps those that have exited of whom nobody takes care. Whether there was one.
pub(crate) fn reap_stranded() -> bool {
    let mut stranded = lock(&STRANDED);
    let before = stranded.len();
    stranded.retain(|child| !child.is_reaped(Blocking::Now));
    stranded.len() < before
}

/// Calls `tell` once the process has come to this end.
pub(crate) fn tell(process: &Arc<PidfdProcess>, end: Until, tell: OnExit) -> io::Result<()> {
    let mut guard = lock(&REACTOR);
    if let Some(reactor) = &mut *guard {
        if let Some(Task::Tell(_, tells)) = reactor.task_of(process) {
            // There is one descriptor of it in the `epoll`, for both ends. It may have been reported already, and is again.
            *tells.of(end) = Some(tell);
            let number = reactor.numbers.get(&key(process)).copied().unwrap_or_default();
            let data = epoll::EventData::new_u64(number);
            return Ok(epoll::modify(&reactor.epoll, process.pidfd(), data, once(epoll::EventFlags::IN))?);
        }
    }
    drop(guard);
    let mut tells = Tells::default();
    *tells.of(end) = Some(tell);
    add(process, Task::Tell(Arc::downgrade(process), tells))
}

/// The process's handle is dropped.
pub(crate) fn forget(process: &PidfdProcess) {
    // Its own task, if there is one, was counted before the handle could be dropped: a 0 says that there is none. Without the lock, for
    // most handles never have one.
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut guard = lock(&REACTOR);
    let Some(reactor) = &mut *guard else { return };
    let forgotten = reactor.numbers.get(&key(process)).copied().and_then(|number| reactor.remove(number));
    if reactor.tasks.is_empty() {
        // Cannot fail: it counts far further.
        _ = rustix::io::write(&reactor.alarm, &1_u64.to_ne_bytes());
    }
    drop(guard);
    contain(|| drop(forgotten));
}

fn add(process: &PidfdProcess, task: Task) -> io::Result<()> {
    let mut guard = lock(&REACTOR);
    if guard.is_none() {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let alarm = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &alarm, ALARM, epoll::EventFlags::IN)?;
        let (waiter, own_alarm) = (Arc::clone(&epoll), Arc::clone(&alarm));
        spawn_quiet_thread("steadfast-reactor", move || run(&waiter, &own_alarm))?;
        *guard = Some(Reactor { epoll, alarm, tasks: HashMap::new(), numbers: HashMap::new(), last: 0 });
    }
    let Some(reactor) = &mut *guard else { unreachable!("set just above") };
    // All under the lock in which the thread looks whether there is a task left: it cannot end between the descriptor's way into the
    // `epoll` and the task's into the table, and an event that comes in between waits for the lock and finds the task.
    reactor.last += 1;
    let number = reactor.last;
    let (data, readable) = (epoll::EventData::new_u64(number), once(epoll::EventFlags::IN));
    match epoll::add(&reactor.epoll, process.pidfd(), data, readable) {
        // It had a task that is done: one who was told that it has exited asks to be told that it is gone.
        Err(Errno::EXIST) => epoll::modify(&reactor.epoll, process.pidfd(), data, readable)?,
        added => added?,
    }
    reactor.numbers.insert(key(process), number);
    reactor.tasks.insert(number, (key(process), task));
    COUNT.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

impl Reactor {
    fn task_of(&mut self, process: &PidfdProcess) -> Option<&mut Task> {
        self.tasks.get_mut(self.numbers.get(&key(process))?).map(|(_, task)| task)
    }

    /// A zombie of somebody else's: who is to be told of that, and whether it has to be looked at again after a while. All under one lock,
    /// for another thread may come in with a wish for the other end, which goes by the events that are asked for here.
    fn zombie(&mut self, process: &PidfdProcess, number: u64, hears: Hears) -> Option<(Option<OnExit>, bool)> {
        let Task::Tell(_, tells) = &mut self.tasks.get_mut(&number)?.1 else { return None };
        let (told, is_over) = (tells.exited.take(), tells.gone.is_none());
        if is_over {
            self.remove(number);
            return Some((told, false));
        }
        // From now on only that it was reaped (`EPOLLHUP`, Linux 6.9) is reported; at once, if that has happened.
        let data = epoll::EventData::new_u64(number);
        let again = match hears {
            Hears::Nothing => true,
            Hears::OfTheEnd => epoll::modify(&self.epoll, process.pidfd(), data, once(epoll::EventFlags::empty())).is_err(),
        };
        Some((told, again))
    }

    fn process(&self, number: u64) -> Option<Arc<PidfdProcess>> {
        match &self.tasks.get(&number)?.1 {
            Task::Reap(child) => Some(Arc::clone(child)),
            Task::Tell(process, _) => process.upgrade(),
        }
    }

    fn is_to_be_reaped(&self, number: u64) -> bool {
        self.tasks.get(&number).is_some_and(|(_, task)| matches!(task, Task::Reap(_)))
    }

    fn remove(&mut self, number: u64) -> Option<Task> {
        let (key, task) = self.tasks.remove(&number)?;
        self.numbers.remove(&key);
        COUNT.fetch_sub(1, Ordering::SeqCst);
        Some(task)
    }
}

fn key(process: &PidfdProcess) -> Key {
    Key(std::ptr::from_ref(process).addr())
}

fn once(events: epoll::EventFlags) -> epoll::EventFlags {
    events | epoll::EventFlags::ONESHOT
}

fn run(epoll: &OwnedFd, alarm: &OwnedFd) {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);
    // Those that have exited, but not for us yet: a debugger has to collect them first (ptrace(2)), or a reap was refused, and there is no
    // event for that.
    let mut held: Vec<u64> = Vec::new();
    let mut pause = SHORTEST;
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        let timeout = (!held.is_empty()).then_some(Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as i64 });
        // Only EINTR can fail here, and signals are blocked on this thread; a debugger can still cause it.
        if epoll::wait(epoll, spare_capacity(&mut events), timeout.as_ref()).is_err() {
            continue;
        }
        // Before the look at what is left, which it asks for: whoever sets it off after this is heard at the next turn.
        _ = rustix::io::read(alarm, &mut [0; 8]);
        pause = if events.is_empty() { (pause * 2).min(LONGEST) } else { SHORTEST };
        let seen: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
        let again = std::mem::take(&mut held);
        held = again.into_iter().chain(seen).filter(|number| exited(*number)).collect();
        let mut guard = lock(&REACTOR);
        // Looked at and taken away under one lock: whoever comes with a task before has it seen, whoever comes after starts another thread.
        if guard.as_ref().is_some_and(|reactor| reactor.tasks.is_empty()) {
            *guard = None;
            return;
        }
    }
}

/// The descriptor is readable: does the task. Whether it has to be looked at again after a while.
fn exited(number: u64) -> bool {
    let Some(process) = lock(&REACTOR).as_ref().and_then(|reactor| reactor.process(number)) else { return false };
    let sight = process.sight();
    let zombie = match sight {
        Sight::Held => return true,
        Sight::Zombie => Some(Hears::OfTheEnd),
        Sight::UnwatchedZombie => Some(Hears::Nothing),
        Sight::Over => None,
    };
    // What is told is told without the lock: it may come back to us.
    let zombie = zombie.and_then(|hears| lock(&REACTOR).as_mut()?.zombie(&process, number, hears));
    if let Some((told, after)) = zombie {
        told.into_iter().for_each(contain);
        return after;
    }
    // Before the task is taken out: what is to be reaped stays so, and stays here until it is. What is to be told can still become what is
    // to be reaped, by a drop between this lock and the next but one.
    let is_to_be_reaped = lock(&REACTOR).as_mut().is_some_and(|reactor| reactor.is_to_be_reaped(number));
    if is_to_be_reaped && !process.is_reaped(Blocking::Now) {
        return true;
    }
    let task = lock(&REACTOR).as_mut().and_then(|reactor| reactor.remove(number));
    match task {
        Some(Task::Tell(_, Tells { exited, gone })) => exited.into_iter().chain(gone).for_each(contain),
        // Its handle was dropped meanwhile, between the two locks.
        Some(Task::Reap(child)) if !is_to_be_reaped => reap(child),
        Some(Task::Reap(_)) | None => {}
    }
    false
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
