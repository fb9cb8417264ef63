//! `std::process`, item by item: a program moves by its `use` line.
//!
//! `use std::process::{Command, Stdio}` becomes `use steadfast::process::{Command, Stdio}`; `use std::process` becomes
//! `use steadfast::process`; `std::os::unix::process::CommandExt` becomes [`steadfast::os::unix::process::CommandExt`](crate::os). Names,
//! signatures and behaviour are std's, and so is the error, an [`io::Error`](std::io::Error) with its kind and its errno. What std does not
//! have is there as well: each attribute of [`steadfast::Command`](crate::Command) is a method of this [`Command`].
//!
//! ```
//! use std::io::{self, Read};
//! use steadfast::process::{Command, Stdio};
//!
//! fn greeting() -> io::Result<String> {
//!     let child = Command::new("sh").args(["-c", "echo hello"]).stdout(Stdio::piped()).spawn()?;
//!     let mut text = String::new();
//!     child.stdout.unwrap().read_to_string(&mut text)?;
//!     Ok(text)
//! }
//! assert_eq!(greeting()?, "hello\n");
//!
//! let error = Command::new("no such program").spawn().unwrap_err();
//! assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::NotFound, Some(2)));
//! # io::Result::Ok(())
//! ```
//!
//! # Which one to take
//! | | [`steadfast::Command`](crate::Command) | this module |
//! | --- | --- | --- |
//! | error | [`Error`](crate::Error): call, process or program, step, errno | `io::Error`: kind and errno; [`cause_of`] has the rest |
//! | `kill` of a child that has been waited for | [`ProcessDone`](crate::Error::ProcessDone) | `Ok` |
//! | `wait`, `kill` | take `&self`, from many threads | take `&mut self` |
//! | a child's pipes | may be simulated | have a descriptor; [`as_fd`](std::os::fd::AsFd::as_fd) of a simulated one panics |
//! | no descriptor left for a pidfd | `EMFILE`, unless [`Handle::IfPossible`](crate::Handle) | the child is held by its number |
//! | an empty program name, a variable named `A=B` | refused | as std: not found; the variable `A` |
//! | timeouts, capture, signals, the handle | methods of [`Child`](crate::Child) | [`Child::process`], or convert |
//!
//! Each converts into the other by `into`. Beneath both is the same builder and the same handle; see
//! `docs/decisions/twins.md` for what was tried.
//!
//! # Where it is not std's
//! A [`Child`] that is dropped before it was waited for is reaped in the background, where std leaves a zombie. A program that waits for it
//! by its own waitpid(2) afterwards says [`reap_on_drop(false)`](Command::reap_on_drop). (With std, every child that is dropped while it
//! runs is a zombie for as long as the program runs, and few programs mean that.) All other differences are those of
//! [`coming_from_std`](crate::coming_from_std).

mod child;
mod command;
mod pipe;

pub use crate::twin::cause_of;
pub use crate::{CommandArgs, CommandEnvs, Stdio};
pub use child::Child;
pub use command::{Command, Std};
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{ExitCode, ExitStatus, Output, Termination, abort, exit, id};
