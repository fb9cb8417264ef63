//! The caller's own code in the child, as `pre_exec` of std has it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steadfast_core::{Attributes, Hook};

pub(super) type Code = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// Made by [`CommandExt::pre_exec`] alone, whose caller has promised what is needed to run it.
struct PreExec(Mutex<Code>);

/// Adds [`pre_exec`](CommandExt::pre_exec) to a command, as std's trait of this name does.
pub trait CommandExt {
    /// Adds a hook to the command's attributes: what an implementor does, and nobody else calls.
    fn add_hook(&mut self, hook: Hook) -> &mut Self;

    /// Runs `code` in the child just before the program, after everything else but the resource limits. Several run in turn. If
    /// it returns an error, the spawn fails with its errno (`EINVAL` if it has none) at the stage `pre_exec`.
    ///
    /// The child of such a command has a copy of this process's memory, page tables and all, so that what `code` changes is not
    /// seen here: the spawn takes the time of a fork(2), which grows with the memory in use. Where a setting does the same,
    /// prefer it.
    ///
    /// # Safety
    /// The child has one thread, the copy of the caller's; a lock that another thread held at that moment stays locked for ever.
    /// So `code` calls only what is async-signal-safe (signal-safety(7)): it neither allocates nor takes a lock. (std's fork lets
    /// the C library put its allocator in order; this child is made by clone(2), to be born with its pidfd, and does not.) It
    /// does not panic. It leaves descriptors alone that it does not own.
    unsafe fn pre_exec<F>(&mut self, code: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        self.add_hook(Hook::new(Arc::new(PreExec(Mutex::new(Box::new(code))))))
    }
}

/// The code of all hooks, held so that no other thread is inside when the memory is copied; `None`: one of them is not ours.
pub(super) fn hold(attributes: &Attributes) -> Option<Vec<MutexGuard<'_, Code>>> {
    let lock = |hook: &'_ PreExec| -> *const PreExec { hook };
    let mut seen = Vec::new();
    let mut held = Vec::new();
    for hook in &attributes.hooks {
        let code: &PreExec = hook.downcast_ref()?;
        // The same hook twice, by cloning attributes by hand, would lock itself out.
        if !seen.contains(&lock(code)) {
            seen.push(lock(code));
            held.push(code.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
    Some(held)
}
