//! Locks and threads that a simulation can see: std's [`Mutex`](std::sync::Mutex), [`Condvar`](std::sync::Condvar) and
//! [`spawn`](std::thread::spawn) outside of a simulation. In a thread of a simulation, its seed decides who gets a lock and which thread runs, and it
//! detects deadlocks of these locks.
//!
//! A lock of std's is enough if it is held only for a moment. If it is held across a call (a spawn, a wait), it can block another thread of a
//! simulation for ever, because the thread that holds it does not get its turn. And std's condition variables do not know virtual time. Use these
//! types in both cases. A thread that std has started does not belong to the simulation: start threads that spawn, signal or wait with [`spawn`].
//!
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::sync::{Condvar, Mutex};
//! use std::time::Duration;
//! let (stopping, changed) = (Mutex::new(false), Condvar::new());
//! let mut guard = stopping.lock();
//! while !*guard {
//!     let timed_out;
//!     (guard, timed_out) = changed.wait_timeout(guard, Duration::from_millis(1));
//!     if timed_out {
//!         break;
//!     }
//! }
//! assert!(!*guard, "nobody has asked to stop");
//! ```

mod bell;

pub use bell::Bell;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Decides which thread continues, for the threads of a simulation.
///
/// # For users
/// Nothing here is called directly.
///
/// # For authors
/// A [`Clock`](crate::Clock) with virtual time has one. It is [entered](enter) on each thread that uses it.
pub trait Scheduler: Send + Sync {
    /// Whether its threads run one at a time, so that a thread must report that it waits for a lock.
    fn takes_turns(&self) -> bool;

    /// Lets another thread continue, if the scheduler wants that.
    fn yield_now(&self);

    /// Blocks until `ready` returns `true`. `ready` is called at the beginning, and again whenever `what` is [woken](Self::wake). Returns `false` if
    /// the timeout passed first, or the simulation is over.
    fn block_on(&self, what: u64, timeout: Option<Duration>, ready: &mut dyn FnMut() -> bool) -> bool;

    /// Makes all threads that are blocked on `what` check again.
    fn wake(&self, what: u64);

    /// Chooses one of this many alternatives by the seed, counted from 0.
    fn choose(&self, of: usize) -> usize;

    /// Advances the time to the present of another clock, and follows that clock from then on, before each call. This is for programs that wait in
    /// another system, such as an async runtime. Returns the moment on that clock at which the next event happens; `waker` is woken if that
    /// changes, or anything else happens. `None`: there is no such event.
    fn follow(&self, clock: OutsideClock, waker: &Waker) -> Option<Instant>;

    /// Starts a thread that takes turns with the others, and returns a handle to wait for its end. Only called if the threads
    /// [take turns](Self::takes_turns).
    fn spawn(&self, run: Box<dyn FnOnce() + Send>) -> Join;
}

/// The present of a clock that a simulation [follows](Scheduler::follow); `None` where it cannot be told, and the simulation's time stands
/// still.
pub type OutsideClock = fn() -> Option<Instant>;

/// Waits for the end of a thread.
pub type Join = Box<dyn FnOnce() + Send>;

/// With the number of its guard.
type Entry = (u64, Option<Arc<dyn Scheduler>>);

thread_local! {
    /// Never dropped, so that it is there in the destructors of other thread-locals too; without entries it holds nothing.
    static ENTERED: ManuallyDrop<RefCell<Vec<Entry>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// A guard: while it exists, a scheduler decides for this thread.
pub struct Entered {
    id: u64,
    /// It belongs to the thread that entered.
    _not_send: PhantomData<*const ()>,
}

/// Makes this scheduler, or the machine's, decide for the calling thread until the guard is dropped.
#[must_use = "it decides until the guard is dropped, which is now"]
pub fn enter(scheduler: Option<Arc<dyn Scheduler>>) -> Entered {
    let Id(id) = Id::default();
    ENTERED.with(|entered| entered.borrow_mut().push((id, scheduler)));
    Entered { id, _not_send: PhantomData }
}

impl Entered {
    /// Its number, for [`last_entered`].
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// The number of the last guard on this thread that lives: whose decision counts.
pub fn last_entered() -> Option<u64> {
    ENTERED.with(|entered| entered.borrow().last().map(|(id, _)| *id))
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.with(|entered| leave(&mut entered.borrow_mut(), self.id));
    }
}

/// By its number, for guards may be dropped in any order.
fn leave(entered: &mut Vec<Entry>, id: u64) {
    entered.retain(|(other, _)| *other != id);
    if entered.is_empty() {
        *entered = Vec::new();
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

/// A thread that was started by [`spawn`].
pub struct JoinHandle<T> {
    answer: Arc<sync::Mutex<Option<std::thread::Result<T>>>>,
    join: Join,
}

/// Starts a thread: one of the simulation's if the caller is, else one of std's. Unlike with std, a thread that is not joined is
/// waited for at the end of a simulated run.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::sync;
/// let thread = sync::spawn(|| 6 * 7);
/// assert_eq!(thread.join().unwrap(), 42);
/// ```
pub fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let answer = Arc::new(sync::Mutex::new(None));
    let theirs = Arc::clone(&answer);
    let leave = move |result| *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    let join: Join = match scheduler().filter(|scheduler| scheduler.takes_turns()) {
        // A panic there is the run's verdict: it is not caught here.
        Some(scheduler) => scheduler.spawn(Box::new(move || leave(Ok(run())))),
        None => {
            let thread = std::thread::spawn(move || leave(catch_unwind(AssertUnwindSafe(run))));
            // What it panicked with is in the answer.
            Box::new(move || drop(thread.join()))
        }
    };
    JoinHandle { answer, join }
}

impl<T> JoinHandle<T> {
    /// Waits until it has ended, and returns its result.
    ///
    /// # Errors
    /// The value of its panic. (In a simulation the run ends then, and this does not return.)
    ///
    /// # Panics
    /// Never: a thread that has ended has left an answer.
    pub fn join(self) -> std::thread::Result<T> {
        (self.join)();
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a thread that has ended has left an answer")
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinHandle")
    }
}

/// Whether this is a thread of a simulation that lets one go on at a time.
pub(crate) fn takes_turns() -> bool {
    scheduler().is_some_and(|scheduler| scheduler.takes_turns())
}

fn scheduler() -> Option<Arc<dyn Scheduler>> {
    ENTERED.with(|entered| entered.borrow().last().and_then(|(_, scheduler)| scheduler.clone()))
}

/// As std's, without poisoning: after a panic the next thread gets the lock, and finds the value as it was left.
#[derive(Default)]
pub struct Mutex<T> {
    inner: sync::Mutex<T>,
    id: Id,
}

/// Holds the lock until it is dropped.
pub struct MutexGuard<'a, T> {
    inner: Option<sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

/// As std's, with virtual time in its timeouts.
#[derive(Default)]
pub struct Condvar {
    inner: sync::Condvar,
    id: Id,
    /// The threads of a simulation that wait and have not been notified, by their numbers in the queue.
    waiting: sync::Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: Vec<u64>,
}

const HELD: &str = "it is taken out in drop only";

pub(crate) struct Id(u64);

impl Default for Id {
    fn default() -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Id(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl<T> Mutex<T> {
    /// A lock that holds this value.
    pub fn new(value: T) -> Mutex<T> {
        Mutex { inner: sync::Mutex::new(value), id: Id::default() }
    }

    /// Blocks until no other thread holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let mut guard = None;
        if let Some(scheduler) = scheduler().filter(|scheduler| scheduler.takes_turns()) {
            scheduler.yield_now();
            scheduler.block_on(self.id.0, None, &mut || {
                guard = self.try_lock();
                guard.is_some()
            });
        }
        // In a simulation it is had now, or the simulation is over, and its threads unwind by themselves.
        let guard = guard.unwrap_or_else(|| self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        MutexGuard { inner: Some(guard), mutex: self }
    }

    fn try_lock(&self) -> Option<sync::MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect(HELD)
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.inner = None;
        wake(&self.mutex.id);
    }
}

fn wake(id: &Id) {
    if let Some(scheduler) = scheduler() {
        scheduler.wake(id.0);
    }
}

impl Condvar {
    /// A condition variable.
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// Releases the lock, waits for a notification, and locks again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// As [`wait`](Condvar::wait), for at most that long; `true` if that time passed first.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        self.wait_until(guard, Some(timeout))
    }

    fn wait_until<'a, T>(&self, mut guard: MutexGuard<'a, T>, timeout: Option<Duration>) -> (MutexGuard<'a, T>, bool) {
        let mutex = guard.mutex;
        if let Some(scheduler) = scheduler() {
            let place = self.queue().enter();
            drop(guard);
            let is_notified = scheduler.block_on(self.id.0, timeout, &mut || !self.queue().waiting.contains(&place));
            self.queue().waiting.retain(|other| *other != place);
            return (mutex.lock(), !is_notified);
        }
        let inner = guard.inner.take().expect(HELD);
        let (inner, timed_out) = match timeout {
            None => (self.inner.wait(inner).unwrap_or_else(PoisonError::into_inner), false),
            Some(timeout) => {
                let (inner, result) = self.inner.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
                (inner, result.timed_out())
            }
        };
        guard.inner = Some(inner);
        (guard, timed_out)
    }

    /// Wakes one waiting thread; in a simulation the seed decides which.
    pub fn notify_one(&self) {
        let count = self.queue().waiting.len();
        let chosen = scheduler().map_or(0, |scheduler| scheduler.choose(count.max(1)));
        // Where threads run as they like, it may have become shorter; outside of a simulation there is none.
        let mut queue = self.queue();
        if let Some(chosen) = chosen.checked_rem(queue.waiting.len()) {
            queue.waiting.swap_remove(chosen);
        }
        drop(queue);
        self.inner.notify_one();
        wake(&self.id);
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.queue().waiting.clear();
        self.inner.notify_all();
        wake(&self.id);
    }

    /// Never held across a call to the scheduler, which looks into it while it holds a lock of its own.
    fn queue(&self) -> sync::MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn enter(&mut self) -> u64 {
        self.next += 1;
        self.waiting.push(self.next);
        self.next
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
