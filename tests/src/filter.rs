//! Sandboxes: filters that answer a call in the kernel's place (seccomp(2)), for this process and all that it starts.

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
use std::collections::BTreeMap;
use steadfast::{Answer, Errno, Signal};

/// A probed call, as a filter tells it from others.
#[derive(Clone)]
pub struct Call {
    /// Its name in the probe.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: i64,
    /// The argument and the value or bits that tell it from others that the program needs.
    pub only: Option<(u8, SeccompCmpOp, u64)>,
}

/// How a filter answers.
#[derive(Clone)]
pub struct Reply {
    /// Its name in the tests.
    pub name: &'static str,
    /// What the filter does.
    pub action: SeccompAction,
    /// What the probe shall make of it.
    pub expected: Answer,
}

const CLONE_PIDFD: u64 = 0x1000;

impl Call {
    /// All that the pidfd backend cannot do without, and `waitid` as a whole.
    pub fn all() -> [Call; 5] {
        let bits = SeccompCmpOp::MaskedEq(CLONE_PIDFD);
        [
            Call { name: "pidfd_open", number: nix::libc::SYS_pidfd_open, only: None },
            Call { name: "waitid", number: nix::libc::SYS_waitid, only: Some((0, SeccompCmpOp::Eq, 3)) },
            Call { name: "waitid", number: nix::libc::SYS_waitid, only: None },
            Call { name: "pidfd_send_signal", number: nix::libc::SYS_pidfd_send_signal, only: None },
            Call { name: "clone_pidfd", number: nix::libc::SYS_clone, only: Some((0, bits, CLONE_PIDFD)) },
        ]
    }

    /// `pidfd_open`, or `waitid in every form`.
    pub fn title(&self) -> String {
        let is_whole = self.number == nix::libc::SYS_waitid && self.only.is_none();
        format!("{}{}", self.name, if is_whole { " in every form" } else { "" })
    }

    /// From now on this is the answer to it, for this process.
    ///
    /// # Panics
    /// If this machine has no such filters.
    pub fn answer(&self, action: SeccompAction) {
        let rules = match self.only.clone() {
            None => vec![],
            Some((argument, operator, value)) => {
                vec![rule(argument, operator, value)]
            }
        };
        install(BTreeMap::from([(self.number, rules)]), SeccompAction::Allow, action);
    }
}

impl Reply {
    /// All that a filter can say instead of letting a call pass.
    pub fn all() -> [Reply; 6] {
        let killed = Answer::Killed(Signal::SYS.as_raw());
        let reply = |name, action, expected| Reply { name, action, expected };
        [
            reply("ENOSYS", SeccompAction::Errno(38), Answer::Failed(Errno::NOSYS)),
            reply("EPERM", SeccompAction::Errno(1), Answer::Failed(Errno::PERM)),
            // What emulators say to a flag that they do not know: QEMU and gVisor to CLONE_PIDFD, gVisor to P_PIDFD.
            reply("EINVAL", SeccompAction::Errno(22), Answer::Failed(Errno::INVAL)),
            reply("SIGSYS trap", SeccompAction::Trap, killed),
            reply("kill thread", SeccompAction::KillThread, killed),
            reply("kill process", SeccompAction::KillProcess, killed),
        ]
    }
}

/// Where an argument is such.
pub(crate) fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> SeccompRule {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).expect("a condition");
    SeccompRule::new(vec![condition]).expect("a rule")
}

/// A filter in which `matching` is the answer to these calls, for a command.
///
/// # Panics
/// If there are no filters for this architecture.
pub fn refusing(calls: &[i64], matching: SeccompAction) -> steadfast::SeccompFilter {
    let program = compile(calls.iter().map(|call| (*call, vec![])).collect(), SeccompAction::Allow, matching);
    steadfast::SeccompFilter::new(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)))
}

/// Under one more filter, in which `matching` is the answer to these calls, and `other` to all others.
pub(crate) fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, other: SeccompAction, matching: SeccompAction) {
    seccompiler::apply_filter(&compile(rules, other, matching)).expect("a kernel that has filters");
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, other: SeccompAction, matching: SeccompAction) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that has filters");
    let filter = SeccompFilter::new(rules, other, matching, arch).expect("a filter");
    filter.try_into().expect("a filter that fits")
}
