//! [`put_away`]: closes the pidfds of processes that are over, beside the threads and tasks that hear of it.
//!
//! To close a pidfd that is in an `epoll` takes the kernel about as long as to reap the process, and nobody has to wait for it. When many
//! exit at once a thread does that, and ends when it has had nothing to do for a while; for a few it would cost more than it saves.
//! A spawn that finds no descriptor left does not fail for the sake of these ([`with_room`]).

use once_cell::race::OnceBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use steadfast_core::{Errno, Lent, Result, once_more};
use steadfast_linux::{PerProcess, spawn_quiet_thread};

/// For so many at once a thread is worth it.
const MANY: usize = 8;
/// So many may be open for longer than they are needed,
const MOST: usize = 512;
/// and for so long, should not all come that are to come. Then the thread ends if it had nothing to do.
const WHILE: Duration = Duration::from_millis(100);

struct Remains {
    list: Vec<Lent>,
    /// There is no better time to close them.
    are_due: bool,
    has_thread: bool,
}

static REMAINS: PerProcess<Mutex<Remains>> =
    PerProcess::new(|| Mutex::new(Remains { list: Vec::new(), are_due: false, has_thread: false }));
static DUE: PerProcess<Condvar> = PerProcess::new(Condvar::new);
/// Held while those are closed that were taken from the list.
static CLOSING: PerProcess<Mutex<()>> = PerProcess::new(Mutex::default);
/// How often that was done.
static CLOSINGS: AtomicU64 = AtomicU64::new(0);

fn has_company() -> bool {
    static HAS_COMPANY: OnceBool = OnceBool::new();
    HAS_COMPANY.get_or_init(|| available_parallelism().is_ok_and(|cpus| cpus.get() > 1))
}

/// Closes this one, if it is the last reference, now or soon. So many more are about to come.
pub(crate) fn put_away(lent: Lent, to_come: usize) {
    let mut remains = lock();
    if !remains.has_thread && to_come + 1 >= MANY && has_company() {
        remains.has_thread = spawn_quiet_thread("steadfast-closer", close).is_ok();
    }
    remains.list.push(lent);
    let are_due = to_come == 0 || remains.list.len() >= MOST;
    if remains.has_thread && (!are_due || remains.list.len() >= MANY) {
        remains.are_due |= are_due;
        if are_due {
            DUE.notify_one();
        }
        return;
    }
    let list = std::mem::take(&mut remains.list);
    // Not under the lock.
    drop(remains);
    drop(list);
}

fn close() {
    loop {
        let waited = DUE.wait_timeout_while(lock(), WHILE, |remains| !remains.are_due);
        let mut remains = waited.unwrap_or_else(PoisonError::into_inner).0;
        let list = std::mem::take(&mut remains.list);
        remains.are_due = false;
        if list.is_empty() {
            remains.has_thread = false;
            return;
        }
        // Before the list is given back: what is neither in it nor under this lock is closed.
        let closing = CLOSING.lock();
        drop(remains);
        finish(list, closing);
    }
}

/// Makes a call that takes descriptors. If none were left, these are closed, and it is made once more.
pub(crate) fn with_room<T>(call: impl Fn() -> Result<T>) -> Result<T> {
    let before = CLOSINGS.load(Ordering::Relaxed);
    let give_back = || {
        let list = std::mem::take(&mut lock().list);
        finish(list, CLOSING.lock());
        // The thread may have closed some since the call.
        CLOSINGS.load(Ordering::Relaxed) != before
    };
    once_more(Errno::MFILE, give_back, call)
}

fn finish(list: Vec<Lent>, closing: LockResult<MutexGuard<'static, ()>>) {
    if !list.is_empty() {
        drop(list);
        CLOSINGS.fetch_add(1, Ordering::Relaxed);
    }
    drop(closing);
}

fn lock() -> MutexGuard<'static, Remains> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}
