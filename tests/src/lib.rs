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

/// The pages of the repository, as tests: their examples must compile and run.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../ARCHITECTURE.md")]
    struct Architecture;
    #[doc = include_str!("../../PLATFORM.md")]
    struct Platform;
    #[doc = include_str!("../../SECURITY.md")]
    struct Security;
    #[doc = include_str!("../../docs/book/race.md")]
    struct Race;
    #[doc = include_str!("../../docs/book/starting.md")]
    struct Starting;
    #[doc = include_str!("../../docs/book/waiting.md")]
    struct Waiting;
    #[doc = include_str!("../../docs/book/trees.md")]
    struct Trees;
    #[doc = include_str!("../../docs/book/names.md")]
    struct Names;
    #[doc = include_str!("../../docs/book/terminals.md")]
    struct Terminals;
    #[doc = include_str!("../../docs/book/testing.md")]
    struct Testing;
    #[doc = include_str!("../../docs/book/coming-from.md")]
    struct ComingFrom;
    #[doc = include_str!("../../docs/book/backend.md")]
    struct Backend;
}
