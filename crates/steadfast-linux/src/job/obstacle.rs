//! [`Obstacle`]: why a cgroup cannot be made or used here.

use std::fmt;
use std::path::PathBuf;
use steadfast_core::{Containment, Errno, Error, JobLimit};

/// A call that has failed, and on what.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub(super) call: &'static str,
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

impl Obstacle {
    pub(super) fn new(call: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Obstacle {
        Obstacle { call, path: path.into(), errno }
    }

    /// As the reason why there is no such job; or as a failure of the moment, which says nothing of what the machine can do.
    pub(super) fn into_error(self) -> Error {
        self.of_the_moment().unwrap_or_else(|| {
            let errno = Some(self.errno);
            Error::NoContainment { containment: Containment::Cgroup, why: self.to_string(), errno }
        })
    }

    /// As the reason why a job cannot be limited in this; or as a failure of the moment.
    pub(super) fn to_limit(&self, limit: JobLimit) -> Error {
        let refused = || Error::NoLimit { limit, why: self.to_string(), errno: Some(self.errno) };
        self.of_the_moment().unwrap_or_else(refused)
    }

    fn of_the_moment(&self) -> Option<Error> {
        let error = || Error::System { call: self.call, subject: self.path.display().to_string(), source: self.errno };
        self.errno.is_of_the_moment().then(error)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.call, self.path.display(), self.errno)?;
        f.write_str(match self.errno {
            Errno::ACCES | Errno::PERM => {
                ": have a cgroup delegated to this user (`Delegate=yes` in a systemd unit), or name one"
            }
            Errno::ROFS => {
                ": the cgroups are mounted read-only, as in a container: have them mounted writable, or name a directory that is"
            }
            Errno::OPNOTSUPP => ": it is a threaded cgroup, in which no process can be started: name another one",
            // Of a write to `cgroup.subtree_control` (cgroups(7), "no internal processes").
            Errno::BUSY => {
                ": processes live in it, and so it hands no controllers on: name one in which none do, or start this program in a \
                 cgroup beneath a delegated one (`DelegateSubgroup=` in a systemd unit)"
            }
            _ => "",
        })
    }
}
