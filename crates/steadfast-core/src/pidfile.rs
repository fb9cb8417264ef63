//! [`PidfileIs`]: why a pidfile cannot be had. The files themselves are the facade's; here is the word that errors have for them.

use crate::{Errno, Pid};
use std::fmt;
use std::time::Duration;

/// What a pidfile is that cannot be had, see [`Error::Pidfile`](crate::Error::Pidfile).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PidfileIs {
    /// Another process's, which runs.
    Taken {
        /// Its PID.
        pid: Pid,
    },
    /// A process's of another PID namespace. It may run there.
    Elsewhere,
    /// Whose it is, or whether that process runs, cannot be known: a bare number, another text, a process that is hidden, a file of somebody who is
    /// not to be believed.
    Unknown {
        /// Why not.
        why: String,
        /// The errno of the call that would have told, if there was one.
        errno: Option<Errno>,
    },
    /// Locked by somebody for all of this time.
    Busy {
        /// How long it was tried.
        limit: Duration,
    },
    /// Removed or replaced by somebody else since it was taken.
    Lost,
}

impl fmt::Display for PidfileIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PidfileIs::Taken { pid } => write!(f, "it is held by process {pid}, which runs"),
            PidfileIs::Elsewhere => f.write_str(
                "it names a process of another PID namespace, which may run there: ask there, or take it with Takeover::EvenIfUnknown",
            ),
            PidfileIs::Unknown { why, .. } => {
                write!(f, "whether its process runs cannot be known: {why}; if you know better, remove it, or take it with Takeover::EvenIfUnknown")
            }
            PidfileIs::Busy { limit } => {
                write!(f, "it has been locked by somebody else for {limit:?} (fcntl(2), F_OFD_SETLK): see who has it open, by fuser(1)")
            }
            PidfileIs::Lost => f.write_str("it was removed or replaced by somebody else since it was taken"),
        }
    }
}
