//! [`contain`]: calls what somebody else has written, and goes on whatever becomes of it.

use crate::sync;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a callback of somebody else's, and goes on if it panics: for authors of a backend, around an
/// [`OnExit`](crate::OnExit) that is called, or dropped, on a thread which others rely on.
///
/// The program's panic hook has reported the panic by then; nothing else becomes of it. What it panicked with is dropped, and may
/// panic in turn. On a thread of a simulation that takes turns, a panic is the run's verdict, and passes.
///
/// ```
/// use steadfast_core::contain;
/// let mut told = 0;
/// for number in 0..3 {
///     contain(|| {
///         assert_ne!(number, 1, "a bug in somebody's callback");
///         told += 1;
///     });
/// }
/// assert_eq!(told, 2);
/// ```
pub fn contain(call: impl FnOnce()) {
    if sync::takes_turns() {
        return call();
    }
    // Nothing of ours is half done in there: it is called without a lock, and owns or borrows what is its own.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        discard(payload);
    }
}

fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // It may go on like that for ever: the second one stays where it is.
        std::mem::forget(another);
    }
}
