//! Threads that the code under test starts for itself, for the crates that have such.

use crate::checker::remember_only;
use std::cell::RefCell;

thread_local! {
    static BACKGROUND: RefCell<Vec<shuttle::thread::JoinHandle<()>>> = RefCell::default();
}

/// A thread that nobody waits for but [`join_background`]: the crates' `spawn_quiet_thread`.
pub(crate) fn spawn_quiet_thread(_: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = shuttle::thread::spawn(|| {
        remember_only(&"runs in the background");
        run();
        remember_only(&"has run in the background");
    });
    BACKGROUND.with_borrow_mut(|threads| threads.push(thread));
    Ok(())
}

pub(crate) fn join_background() {
    BACKGROUND.take().into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}
