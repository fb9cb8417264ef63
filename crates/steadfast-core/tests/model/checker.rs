//! The model checker: shuttle runs threads one at a time, and is told here which one, until every order has had its turn.
//!
//! Two orders are the same if nobody can tell them apart, and of those only one is tried:
//!
//! * What a thread does between two steps that others can tell, such as to give a lock back, it does at once.
//! * Where as many threads have done and seen the same, and all that they share is the same, what can follow is the same.
//!
//! That is what makes all of them few enough. It takes that everything that threads share is known here: they meet in these locks, and
//! [`share`] what else there is.

use shuttle::current::me;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::any::type_name;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LockResult, TryLockError, TryLockResult};
use std::thread::LocalKey;

thread_local! {
    /// Shuttle's threads are all this one.
    static PAST: RefCell<Past> = RefCell::default();
}

/// What has happened, as far as anybody can tell.
#[derive(Default)]
struct Past {
    threads: BTreeMap<usize, Thread>,
    /// What each thing is like that they share.
    things: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
struct Thread {
    /// What it has done and seen.
    story: u64,
    /// Whether others can tell when it does what it does next.
    is_noticed: bool,
}

impl Past {
    fn mine(&mut self) -> &mut Thread {
        self.threads.entry(me().into()).or_default()
    }
}

fn add(hash: &mut u64, more: impl Hash) {
    let mut hasher = DefaultHasher::new();
    (*hash, more).hash(&mut hasher);
    *hash = hasher.finish();
}

/// This thread is about to do that, and others can tell when.
fn begin(what: &'static str) {
    PAST.with_borrow_mut(|past| {
        let mine = past.mine();
        add(&mut mine.story, what);
        mine.is_noticed = true;
    });
}

/// From now on it depends on nothing but this that it has done or seen.
pub(crate) fn remember_only(what: &impl Debug) {
    PAST.with_borrow_mut(|past| past.mine().story = 0);
    see(what);
}

/// It has done so, and has seen this.
fn see(what: &impl Debug) {
    PAST.with_borrow_mut(|past| {
        let mine = past.mine();
        add(&mut mine.story, format!("{what:?}"));
        mine.is_noticed = false;
    });
}

/// It leaves this thing, which is the only one of its type, like that: whether that is new.
fn leave<T: Debug>(thing: &T) -> bool {
    let mut hash = 0;
    add(&mut hash, format!("{thing:?}"));
    PAST.with_borrow_mut(|past| past.things.insert(type_name::<T>(), hash)) != Some(hash)
}

/// Changes, at one blow, what others see too, and is the only one of its type. The result is all that this thread learns of it.
pub(crate) fn share<T: Debug, R: Debug>(thing: &'static LocalKey<RefCell<T>>, change: impl FnOnce(&mut T) -> R) -> R {
    begin(type_name::<T>());
    shuttle::thread::yield_now();
    let (result, is_new) = thing.with_borrow_mut(|thing| {
        let result = change(thing);
        see(&result);
        (result, leave(thing))
    });
    if is_new {
        bed::<T>().wake_all();
    }
    result
}

/// As [`share`], as soon as it comes to something.
pub(crate) fn wait_for<T: Debug, R: Debug>(
    thing: &'static LocalKey<RefCell<T>>,
    mut change: impl FnMut(&mut T) -> Option<R>,
) -> R {
    loop {
        if let Some(result) = share(thing, &mut change) {
            return result;
        }
        bed::<T>().sleep();
    }
}

thread_local! {
    static BEDS: RefCell<BTreeMap<&'static str, Arc<Bed>>> = RefCell::default();
}

/// Where those sleep that wait for this thing to change.
fn bed<T>() -> Arc<Bed> {
    BEDS.with_borrow_mut(|beds| Arc::clone(beds.entry(type_name::<T>()).or_default()))
}

/// Whoever wakes up goes unnoticed until he begins something.
#[derive(Default)]
struct Bed(shuttle::sync::Mutex<()>, shuttle::sync::Condvar);

impl Bed {
    fn sleep(&self) {
        let lock = self.0.lock().expect("nobody panics in it");
        drop(self.1.wait(lock));
    }

    fn wake_all(&self) {
        self.1.notify_all();
    }
}

/// The only one of its type.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T: Debug> {
    inner: shuttle::sync::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<T: Debug> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// For handles that cross a fork, of which there are none here.
    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock().map_err(TryLockError::from)
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        begin(type_name::<T>());
        let inner = self.0.lock().expect("nobody panics in it");
        see(&*inner);
        Ok(MutexGuard { inner, mutex: self })
    }

    /// Nobody else has it.
    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }
}

impl<T> Debug for Mutex<T> {
    /// Whoever wants to know what is in it locks it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T: Debug> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: Debug> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: Debug> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        leave(&*self.inner);
    }
}

#[derive(Default)]
pub(crate) struct Condvar(Bed);

impl Debug for Condvar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

impl Condvar {
    pub(crate) fn wait<'a, T: Debug>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let mutex = guard.mutex;
        // Nobody is noticed in between.
        drop(guard);
        self.0.sleep();
        mutex.lock()
    }

    pub(crate) fn notify_all(&self) {
        begin("notify_all");
        shuttle::thread::yield_now();
        see(&());
        self.0.wake_all();
    }
}

/// So many interruptions as are asked for (`MODEL_INTERRUPTIONS`), or else so many.
pub(crate) fn interruptions_or(usual: Option<usize>) -> Option<usize> {
    match std::env::var("MODEL_INTERRUPTIONS") {
        Ok(text) if text == "all" => None,
        Ok(text) => Some(text.parse().expect("MODEL_INTERRUPTIONS is a number, or `all`")),
        Err(_) => usual,
    }
}

/// Runs it in every order of its threads, and tells how many there were; or only in those in which threads that could go on are
/// interrupted so many times at the most.
///
/// # Panics
/// If it does in one of them; shuttle says in which.
pub(crate) fn in_every_order(interruptions: Option<usize>, run: impl Fn() + Send + Sync + 'static) -> usize {
    let orders = EveryOrder { interruptions, ..EveryOrder::default() };
    shuttle::Runner::new(orders, shuttle::Config::new()).run(run)
}

/// Depth first.
#[derive(Default)]
struct EveryOrder {
    /// How many there may be, and were.
    interruptions: Option<usize>,
    interrupted: usize,
    /// Who was the last to be noticed.
    last: Option<usize>,
    has_begun: bool,
    /// Where there is a choice, and which of the threads that can go on there does.
    choices: Vec<(Vec<usize>, usize)>,
    /// How many of them were made in this order.
    depth: usize,
    /// From where all has been tried already.
    seen: HashSet<u64>,
    /// This is such a place.
    is_known: bool,
}

impl Scheduler for EveryOrder {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.has_begun {
            while self.choices.last().is_some_and(|(threads, chosen)| chosen + 1 == threads.len()) {
                self.choices.pop();
            }
            self.choices.last_mut()?.1 += 1;
        }
        self.has_begun = true;
        self.depth = 0;
        self.is_known = false;
        self.interrupted = 0;
        self.last = None;
        PAST.take();
        BEDS.take();
        Some(Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, _: bool) -> Option<TaskId> {
        PAST.with_borrow_mut(|past| {
            if let Some(current) = current {
                add(&mut past.threads.entry(current.into()).or_default().story, "step");
            }
            let threads: Vec<usize> = runnable.iter().map(|task| task.id().into()).collect();
            self.choose(past, threads).map(TaskId::from)
        })
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nobody asks for chance here")
    }
}

impl EveryOrder {
    fn choose(&mut self, past: &Past, mut threads: Vec<usize>) -> Option<usize> {
        let goes_unnoticed = |thread: &&usize| past.threads.get(thread).is_none_or(|thread| !thread.is_noticed);
        if let Some(thread) = threads.iter().find(goes_unnoticed) {
            return Some(*thread);
        }
        let last = self.last.filter(|last| threads.contains(last));
        if let (Some(last), true) = (last, self.interruptions == Some(self.interrupted)) {
            threads = vec![last];
        }
        let next = if threads.len() == 1 { threads[0] } else { self.choose_one(past, threads)? };
        self.interrupted += usize::from(last.is_some_and(|last| last != next));
        self.last = Some(next);
        Some(next)
    }

    fn choose_one(&mut self, past: &Past, threads: Vec<usize>) -> Option<usize> {
        let first = threads.first().copied();
        if self.is_known {
            return first;
        }
        if self.depth == self.choices.len() {
            self.is_known = !self.seen.insert(self.here(past, &threads));
            if self.is_known {
                return first;
            }
            self.choices.push((threads, 0));
        }
        let (threads, chosen) = &self.choices[self.depth];
        self.depth += 1;
        threads.get(*chosen).copied()
    }

    /// All that what can follow depends on.
    fn here(&self, past: &Past, threads: &[usize]) -> u64 {
        // Which thread is which matters to nobody.
        let mut stories: Vec<_> = past.threads.iter().map(|(id, thread)| (thread.story, threads.contains(id))).collect();
        stories.sort_unstable();
        let mut here = 0;
        add(&mut here, (stories, &past.things));
        if self.interruptions.is_some() {
            let last = self.last.and_then(|last| past.threads.get(&last)).map(|thread| thread.story);
            add(&mut here, (self.interrupted, last));
        }
        here
    }
}
