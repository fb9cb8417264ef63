//! Children whose handles were dropped while they ran: one thread looks at all of them from time to time, and ends with the last.
//!
//! Nobody waits for them, so it need not be prompt, only sure: a zombie stays for a quarter of a second at the most.

use crate::process::LegacyProcess;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use steadfast_core::BackendProcess;
use steadfast_linux::spawn_quiet_thread;

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans { children: Vec::new(), watched: false });
static ADDED: Condvar = Condvar::new();

struct Orphans {
    children: Vec<Arc<LegacyProcess>>,
    /// Whether the thread runs.
    watched: bool,
}

/// Reaps the child once it has exited.
pub(crate) fn take(child: Arc<LegacyProcess>) {
    if !still_runs(&child) {
        return;
    }
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.children.push(child);
    // If there may be no more threads, the next orphan tries again.
    orphans.watched = orphans.watched || spawn_quiet_thread("steadfast-orphans", reap_all).is_ok();
    ADDED.notify_one();
}

fn reap_all() {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(250);
    let mut pause = SHORTEST;
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let before = orphans.children.len();
        orphans.children.retain(still_runs);
        if orphans.children.is_empty() {
            orphans.watched = false;
            return;
        }
        let reaped_some = orphans.children.len() < before;
        let waited;
        (orphans, waited) = ADDED.wait_timeout(orphans, pause).unwrap_or_else(PoisonError::into_inner);
        pause = if reaped_some || !waited.timed_out() { SHORTEST } else { (pause * 2).min(LONGEST) };
    }
}

/// Reaps it if it has exited. One that somebody else has reaped (`ECHILD`) is no orphan any more.
fn still_runs(child: &Arc<LegacyProcess>) -> bool {
    matches!(child.reap(), Ok(None))
}
