//! Where a look reaps (`wait4`), all handles of one process must know what any of them has seen: they share one object, by its number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use steadfast_core::{BackendProcess, Pid};
use steadfast_linux::PerProcess;

/// A process that several handles share.
pub(crate) trait Sibling: Send + Sync {
    /// Whether who looks for its number finds it: a zombie of which only we know that it was reaped, as long as nobody else has the number.
    fn is_meant_by_its_number(&self) -> bool;
    fn into_backend(self: Arc<Self>) -> Arc<dyn BackendProcess>;
}

/// Those that somebody has a handle of.
static KNOWN: PerProcess<Mutex<Option<Known>>> = PerProcess::new(Mutex::default);

type Known = HashMap<Pid, Weak<dyn Sibling>>;

/// The one that is meant by its number, if there is a handle of it.
pub(crate) fn find(pid: Pid) -> Option<Arc<dyn Sibling>> {
    // The guard is gone before the object can be.
    let known = lock().as_ref()?.get(&pid)?.upgrade();
    known.filter(|process| process.is_meant_by_its_number())
}

/// From now on it is the one of its number.
pub(crate) fn add(pid: Pid, process: Arc<dyn Sibling>) {
    lock().get_or_insert_default().insert(pid, Arc::downgrade(&process));
}

/// One that is dropped.
pub(crate) fn forget(pid: Pid) {
    let mut known = lock();
    // A later process may have the number.
    if let Some(all) = known.as_mut().filter(|all| all.get(&pid).is_some_and(|process| process.strong_count() == 0)) {
        all.remove(&pid);
        if all.is_empty() {
            *known = None;
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
