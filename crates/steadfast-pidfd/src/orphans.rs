//! Children whose handles were dropped while they ran: one thread waits for all of them in one `epoll`, and ends with the last.

use crate::process::PidfdProcess;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steadfast_core::BackendProcess;
use steadfast_linux::spawn_quiet_thread;

/// Empty when there are no orphans; then there is no thread and no descriptor either.
static ORPHANS: Mutex<Option<Orphans>> = Mutex::new(None);

/// Those for which there was neither a descriptor nor a thread; looked at again when the next one comes.
static STRANDED: Mutex<Vec<Arc<PidfdProcess>>> = Mutex::new(Vec::new());

struct Orphans {
    epoll: Arc<OwnedFd>,
    children: HashMap<u64, Arc<PidfdProcess>>,
    next: u64,
}

/// Reaps the child once it has exited.
pub(crate) fn take(child: Arc<PidfdProcess>) {
    lock(&STRANDED).retain(|child| matches!(child.reap(), Ok(None)));
    // Often it has exited already; or it is nobody's any more (ECHILD).
    if !matches!(child.reap(), Ok(None)) {
        return;
    }
    if watch(&child).is_ok() {
        return;
    }
    // Out of descriptors: a thread of its own needs none.
    let own = Arc::clone(&child);
    if spawn_quiet_thread("steadfast-orphan", move || own.reap_when_exited()).is_err() {
        lock(&STRANDED).push(child);
    }
}

fn watch(child: &Arc<PidfdProcess>) -> std::io::Result<()> {
    let mut guard = lock(&ORPHANS);
    if guard.is_none() {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let waiter = Arc::clone(&epoll);
        spawn_quiet_thread("steadfast-orphans", move || reap_all(&waiter))?;
        *guard = Some(Orphans { epoll, children: HashMap::new(), next: 0 });
    }
    let Some(orphans) = &mut *guard else { unreachable!("set just above") };
    let key = orphans.next;
    orphans.next += 1;
    epoll::add(&orphans.epoll, child.pidfd(), epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
    orphans.children.insert(key, Arc::clone(child));
    Ok(())
}

fn reap_all(epoll: &OwnedFd) {
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        // Only EINTR can fail here, and signals are blocked on this thread; a debugger can still cause it.
        if epoll::wait(epoll, spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            let child = lock(&ORPHANS).as_mut().and_then(|o| o.children.remove(&event.data.u64()));
            if let Some(child) = child {
                // Readable means exited; blocking is for one that a debugger has to let go of first. Closing its pidfd, the last
                // one, takes it out of the epoll; a caller's duplicate would keep it there, so it is taken out by hand.
                child.reap_when_exited();
                if epoll::delete(epoll, child.pidfd()).is_err() {
                    continue;
                }
            }
        }
        let mut guard = lock(&ORPHANS);
        if guard.as_ref().is_some_and(|orphans| orphans.children.is_empty()) {
            *guard = None;
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
