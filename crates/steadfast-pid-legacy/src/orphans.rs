//! Children whose handles were dropped while they ran: one thread waits for all of them, and ends with the last.
//!
//! It asks the kernel for any child that has exited (`P_ALL`, `WNOWAIT`: nothing is taken from anybody) and reaps it, if it is one
//! of these. So it costs the same among a thousand, and nothing while none exits.
//!
//! There is one obstacle. A zombie that somebody else has not waited for yet is reported again and again, and hides others. As long
//! as one lies there, or a reap is refused, all orphans are looked at with pauses, up to a quarter of a second: nobody waits for them, so they need not
//! be reaped promptly, only surely. So it is where `waitid(2)` is filtered.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steadfast_core::{BackendProcess, Errno, Pid};
use steadfast_linux::{Blocking, PerProcess, Reaping, Target, spawn_quiet_thread, waitid};

static ORPHANS: PerProcess<Mutex<Option<Orphans>>> = PerProcess::new(Mutex::default);
static ADDED: PerProcess<Condvar> = PerProcess::new(Condvar::new);

/// There is a thread as long as there are any; or else, if there may be no more threads, the next orphan tries again, or a spawn that is
/// refused.
#[derive(Default)]
struct Orphans {
    children: HashMap<Pid, Arc<dyn BackendProcess>>,
    may_waitid: bool,
    watched: bool,
    /// How many there may be before all are looked at: the thread hears nothing of those that other code has reaped, and each keeps a
    /// descriptor.
    enough: usize,
}

const FEW: usize = 16;

/// Reaps the child once it has exited; by `waitid(2)`, if that may be called.
pub(crate) fn take(pid: Pid, child: Arc<dyn BackendProcess>, may_waitid: bool) {
    if is_reaped(&child) {
        return;
    }
    reap_stranded();
    let mut guard = lock();
    let orphans = guard.get_or_insert_default();
    orphans.may_waitid = may_waitid;
    if orphans.children.len() >= orphans.enough.max(FEW) {
        orphans.children.retain(|_, child| !is_reaped(child));
        orphans.enough = orphans.children.len() * 2;
    }
    orphans.children.insert(pid, child);
    orphans.watched = orphans.watched || spawn_quiet_thread("steadfast-orphans", reap_all).is_ok();
    ADDED.notify_one();
}

/// Reaps those that have exited, if there is no thread that does. Whether there was one.
pub(crate) fn reap_stranded() -> bool {
    let mut guard = lock();
    let Some(orphans) = guard.as_mut().filter(|orphans| !orphans.watched) else { return false };
    let before = orphans.children.len();
    orphans.children.retain(|_, child| !is_reaped(child));
    orphans.children.len() < before
}

fn reap_all() {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(250);
    let mut pause = SHORTEST;
    loop {
        let may_waitid = lock().as_ref().is_some_and(|orphans| orphans.may_waitid);
        let exited = if may_waitid { waitid(Target::Any, Blocking::Block, Reaping::Leave).ok().flatten() } else { None };
        let mut guard = lock();
        let Some(orphans) = &mut *guard else { return };
        let reaped = exited.map(|exit| exit.pid).filter(|pid| orphans.children.get(pid).is_some_and(is_reaped));
        match reaped {
            Some(pid) => {
                orphans.children.remove(&pid);
                pause = SHORTEST;
            }
            // Somebody else's zombie; or no children at all, or it may not be asked; or a reap was refused, and has to be tried again.
            None => {
                let before = orphans.children.len();
                orphans.children.retain(|_, child| !is_reaped(child));
                pause = if orphans.children.len() < before { SHORTEST } else { (pause * 2).min(LONGEST) };
            }
        }
        if orphans.children.is_empty() {
            *guard = None;
            return;
        }
        if pause > SHORTEST {
            let (guard, waited) = ADDED.wait_timeout(guard, pause).unwrap_or_else(PoisonError::into_inner);
            drop(guard);
            if !waited.timed_out() {
                pause = SHORTEST;
            }
        }
    }
}

/// Reaps it if it has exited. Whether that is done now, by whomever (`ECHILD`): one whose reap was refused is an orphan still.
fn is_reaped(child: &Arc<dyn BackendProcess>) -> bool {
    loop {
        match child.reap() {
            Ok(Some(_)) => return true,
            Ok(None) => return false,
            Err(error) if error.errno() == Some(Errno::INTR) => {}
            Err(error) => return error.errno() == Some(Errno::CHILD),
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Orphans>> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}
