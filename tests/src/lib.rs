//! What the programs of the tests share.
#![forbid(unsafe_code)]

pub mod filter;
pub mod profiles;
pub mod robbery;

use nix::errno::Errno;
use std::path::Path;
use std::sync::Arc;
use steadfast::{Pid, Probe, System};
use steadfast_conformance::Subject;
use xtask::namespace;

/// A real backend as the subject of the conformance suite, with whatever can be arranged here.
///
/// # Panics
/// The subject does, if what was arranged turns out to be impossible.
pub fn real(system: &System, actor: &Path, foreigner: impl Fn() -> Pid + Send + Sync + 'static) -> Subject {
    let subject = Subject::new(Arc::clone(system.backend()), actor)
        .reap_behind(|pid| {
            let pid = nix::unistd::Pid::from_raw(pid.as_raw());
            // A handler of the program's may interrupt it.
            let reaped = std::iter::repeat_with(|| nix::sys::wait::waitpid(pid, None)).find(|seen| *seen != Err(Errno::EINTR));
            reaped.expect("endless").expect("it is our child, and nobody else's");
        })
        .foreigner(foreigner);
    // Only where the PIDs are ours alone, and may be chosen.
    if std::process::id() == 1 && namespace::may_set_next_pid() {
        subject.next_pid(|pid| namespace::set_next_pid(pid.as_raw()).expect("process 1 may choose PIDs"))
    } else {
        subject
    }
}

/// Whether this kernel tells whoever has a pidfd how a process ended that somebody else has reaped.
pub fn tells_lost_status() -> bool {
    let features = Probe::features().unwrap_or_default();
    features.iter().any(|feature| feature.name == "PIDFD_INFO_EXIT" && feature.answer.works())
}
