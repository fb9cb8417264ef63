//! `std::os`, as far as it is about processes: the extensions of [`steadfast::process`](crate::process).
//!
//! `use std::os::unix::process::CommandExt` becomes `use steadfast::os::unix::process::CommandExt`.

/// `std::os::unix`.
pub mod unix {
    /// `std::os::unix::prelude`, with these extensions in place of std's.
    pub mod prelude {
        pub use super::process::{ChildExt, CommandExt, ExitStatusExt};
        pub use std::os::unix::prelude::*;
    }

    /// `std::os::unix::process`: what Unix has beyond [`steadfast::process`](crate::process).
    ///
    /// ```
    /// use steadfast::os::unix::process::{CommandExt, ExitStatusExt};
    /// use steadfast::process::Command;
    /// let status = Command::new("sh").arg0("shell").args(["-c", "kill -TERM $$"]).process_group(0).status()?;
    /// assert_eq!(status.signal(), Some(15));
    /// # std::io::Result::Ok(())
    /// ```
    pub mod process {
        pub use std::os::unix::process::{ExitStatusExt, parent_id};
        pub use steadfast_linux::StdCommandExt as CommandExt;

        /// `std::os::unix::process::ChildExt`.
        pub trait ChildExt {
            /// Sends it a signal by its number.
            ///
            /// # Errors
            /// `InvalidInput` if there is no such signal, or the child has been waited for; `EPERM`.
            fn send_signal(&self, signal: i32) -> std::io::Result<()>;
        }
    }
}
