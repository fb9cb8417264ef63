//! An [`Error`] as std would give it, and the way back.

use std::cell::RefCell;
use std::io;
use steadfast_core::{Errno, Error};

thread_local! {
    /// The last one of this thread that became a bare number.
    static LAST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// As std gives it. An `io::Error` holds a number or an error, never both: the number, for programs look at it, and at the kind that std
/// makes of it. Where there is none, ours is inside.
pub(crate) fn std_error(error: Error) -> io::Error {
    match error.raw_os_error() {
        Some(raw) => {
            LAST.set(Some(error));
            io::Error::from_raw_os_error(raw)
        }
        None => error.into(),
    }
}

/// A kill as the libraries that we are twins of answer it: one that has exited is killed enough.
pub(crate) fn killed(sent: Result<(), Error>) -> io::Result<()> {
    match sent {
        Err(Error::ProcessDone { .. }) => Ok(()),
        sent => sent.map_err(std_error),
    }
}

/// What is known of an error of this module's: the program, the step that failed, the path.
///
/// An `io::Error` with an errno has no room for it. So each thread keeps that of its last call here that failed, as `errno` is kept; ask
/// right after the call, in the same thread. `None` for an error with another errno than the one that is kept.
///
/// ```
/// use steadfast::process::{self, Command};
/// let error = Command::new("sh").current_dir("/nowhere").spawn().unwrap_err();
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(
///     process::cause_of(&error).unwrap().to_string(),
///     "spawn `sh`: chdir to `/nowhere`: No such file or directory (os error 2)",
/// );
/// ```
pub fn cause_of(error: &io::Error) -> Option<Error> {
    if let Some(ours) = error.get_ref().and_then(|inside| inside.downcast_ref::<Error>()) {
        return Some(ours.clone());
    }
    let errno = error.raw_os_error().map(Errno::from_raw)?;
    LAST.with_borrow(|last| last.clone()).filter(|last| last.errno() == Some(errno))
}
