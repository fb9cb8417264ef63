//! [`once_more`]: what of a start is tried again, and how often.

use crate::{Errno, Result};

/// Makes a call; and once more, if it was refused with this errno, and something of ours that may have been in its way could be given back. For
/// authors of a backend, and for the facade.
///
/// It is the rule for all that is tried again of a start: as often as something has changed that we know of, and never by the number of attempts.
///
/// | refused with | in the way may be | which changes when | here |
/// | --- | --- | --- | --- |
/// | `EAGAIN` (`RLIMIT_NPROC`, `pids.max`) | children that nobody could reap, for want of a thread | they are reaped | the backends |
/// | `EMFILE` (`RLIMIT_NOFILE`) | pidfds of processes that are over | they are closed | the facade |
/// | `EAGAIN`, `EMFILE`, `ENOMEM` in `spawn_many` | starts that are on their way | the first of them is over | the facade |
/// | `ETXTBSY` | the program is open for writing, as a rule in a child that is on its way to its exec | it executes: that is not to be heard of, so the child looks again, for 100 ms in all | the child (`spawn/child/execute.rs`) |
///
/// # Errors
/// As the call, of its last attempt.
pub fn once_more<T>(refusal: Errno, give_back: impl FnOnce() -> bool, call: impl Fn() -> Result<T>) -> Result<T> {
    match call() {
        Err(error) if error.errno() == Some(refusal) && give_back() => call(),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::cell::Cell;

    #[test]
    fn once_more_if_that_was_the_refusal_and_something_was_given_back() {
        let refused = |errno| Error::System { call: "clone", subject: String::new(), source: errno };
        let calls = |answer: Option<Errno>, gives_back: bool| {
            let calls = Cell::new(0);
            let call = || {
                calls.set(calls.get() + 1);
                answer.map_or(Ok(()), |errno| Err(refused(errno)))
            };
            (once_more(Errno::AGAIN, || gives_back, call).is_ok(), calls.get())
        };
        assert_eq!(calls(None, true), (true, 1));
        assert_eq!(calls(Some(Errno::AGAIN), true), (false, 2));
        assert_eq!(calls(Some(Errno::AGAIN), false), (false, 1));
        assert_eq!(calls(Some(Errno::MFILE), true), (false, 1));
    }
}
