//! Jobs: what holds processes together, and all that they start.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`job`] |
//! | `place.rs` | in which cgroup ours are made |
//! | `dirs.rs` | what their names say; those whose owner is gone |
//! | `mounts.rs` | where the cgroups of this process are mounted |
//! | `account.rs` | what a job may use at most |
//! | `obstacle.rs` | why a cgroup cannot be made or used here |
//! | `cgroup.rs`, `events.rs` | a job in a cgroup of version 2; what the kernel says of it |
//! | `namespace.rs` | a job in a PID namespace |
//! | `keeper.rs`, `image.rs` | the process that kills what is left when its owner is gone, and its program |
//! | `retired.rs` | keepers that were told to end |
//! | `group.rs` | a job in a process group |
//! | `looks.rs` | a job of which no event tells that it is empty |
//! | `watch.rs` | what happens when nothing lives in a job and nobody waits |

mod account;
mod cgroup;
mod dirs;
mod events;
mod group;
mod image;
mod keeper;
mod looks;
mod mounts;
mod namespace;
mod obstacle;
mod place;
mod retired;
mod watch;

use crate::spawn::WantPidfd;
use cgroup::CgroupJob;
use group::GroupJob;
use namespace::NamespaceJob;
use std::sync::Arc;
use steadfast_core::{BackendJob, Containment, Error, JobPlan};

/// Makes a job, held together by what the plan says. With [`WantPidfd::No`] none is asked for, because that may be fatal.
///
/// # Errors
/// [`Error::NoContainment`] with the call, the path and the errno if that cannot be had here; [`Error::System`] for a failure of the moment.
pub fn job(plan: &JobPlan, want: WantPidfd) -> Result<Arc<dyn BackendJob>, Error> {
    watch::remove_stranded();
    retired::reap_retired();
    Ok(match (plan.containment, plan.limits.kinds().next()) {
        (Containment::Cgroup, _) => Arc::new(CgroupJob::new(plan, want)?),
        (containment, _) if plan.parent.is_some() => {
            let why = "a parent was named, which is for a cgroup: drop it, or insist on a cgroup".into();
            return Err(Error::NoContainment { containment, why, errno: None });
        }
        (containment, Some(limit)) => return Err(Error::cannot_limit(containment, limit)),
        (Containment::Namespace, None) => Arc::new(NamespaceJob::new(plan.dies_with_us, want)?),
        (Containment::Group, None) => Arc::new(GroupJob::new()?),
        (containment, None) => {
            let why = "this version of steadfast does not know it".into();
            return Err(Error::NoContainment { containment, why, errno: None });
        }
    })
}
