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
                let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).expect("a condition");
                vec![SeccompRule::new(vec![condition]).expect("a rule")]
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

fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, other: SeccompAction, matching: SeccompAction) {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that has filters");
    let filter = SeccompFilter::new(rules, other, matching, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a filter that fits");
    seccompiler::apply_filter(&program).expect("a kernel that has filters");
}

/// Puts this process under a profile of a well-known sandbox, by its name; `false` if there is none of that name.
///
/// Written down from the public lists of calls that these allow, as the calls that they do **not**: what a list does not name yet is
/// refused, and a kernel numbers its calls in the order of their invention.
///
/// # Panics
/// If this machine has no such filters.
pub fn profile(name: &str) -> bool {
    use nix::libc;
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
    let namespaces = (namespaces | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) as u64;
    let into_namespaces = || -> Vec<SeccompRule> {
        let bits: Vec<u64> = (0..32).map(|bit| 1 << bit).filter(|bit| namespaces & bit != 0).collect();
        let has = |bit| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bit), bit);
        bits.into_iter().map(|bit| SeccompRule::new(vec![has(bit).expect("a condition")]).expect("a rule")).collect()
    };
    let errno = |errno: Errno| SeccompAction::Errno(errno.as_raw() as u32);
    let always = |numbers: &[i64]| numbers.iter().map(|number| (*number, vec![])).collect::<BTreeMap<_, _>>();
    // All that came after these profiles; but `clone3` "is not there", or else this C library, which is newer than they are, could not
    // even start a thread (glibc takes only ENOSYS for a reason to use `clone`).
    let newer = || {
        let numbers = libc::SYS_pidfd_send_signal..=NEWEST;
        numbers.filter(|number| *number != libc::SYS_clone3).map(|number| (number, vec![]))
    };
    match name {
        // Before version 20.10: none of the pidfd calls is on the list, nor is anything newer; a container has no capabilities.
        "docker, 2019" => {
            let mut rules = always(FOR_ROOT);
            rules.extend(newer());
            rules.insert(libc::SYS_clone, into_namespaces());
            install(rules, SeccompAction::Allow, errno(Errno::PERM));
            install(always(&[libc::SYS_clone3]), SeccompAction::Allow, errno(Errno::NOSYS));
        }
        // The pidfd calls are on it; `clone3`, whose arguments a filter cannot see, "is not there", so that libraries use `clone`.
        "docker, 2024" => {
            let mut rules = always(FOR_ROOT);
            rules.insert(libc::SYS_clone, into_namespaces());
            install(rules, SeccompAction::Allow, errno(Errno::PERM));
            install(always(&[libc::SYS_clone3]), SeccompAction::Allow, errno(Errno::NOSYS));
        }
        // An app's, by a trap that ends it: nothing newer than its kernel, nothing that changes users.
        "android 10" => {
            let mut rules = always(FOR_ROOT);
            rules.extend(always(NOT_FOR_APPS));
            rules.extend(newer());
            install(rules, SeccompAction::Allow, SeccompAction::Trap);
            install(always(&[libc::SYS_clone3]), SeccompAction::Allow, errno(Errno::NOSYS));
        }
        _ => return false,
    }
    true
}

/// The highest number of a call that a kernel has today, and some more.
const NEWEST: i64 = 520;

const FOR_ROOT: &[i64] = &{
    use nix::libc::*;
    [
        SYS_acct,
        SYS_add_key,
        SYS_bpf,
        SYS_clock_settime,
        SYS_delete_module,
        SYS_fanotify_init,
        SYS_finit_module,
        SYS_get_mempolicy,
        SYS_init_module,
        SYS_kcmp,
        SYS_kexec_load,
        SYS_keyctl,
        SYS_lookup_dcookie,
        SYS_mbind,
        SYS_mount,
        SYS_move_pages,
        SYS_open_by_handle_at,
        SYS_perf_event_open,
        SYS_pivot_root,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_quotactl,
        SYS_reboot,
        SYS_request_key,
        SYS_set_mempolicy,
        SYS_setns,
        SYS_settimeofday,
        SYS_swapoff,
        SYS_swapon,
        SYS_syslog,
        SYS_umount2,
        SYS_unshare,
        SYS_userfaultfd,
        SYS_vhangup,
    ]
};

const NOT_FOR_APPS: &[i64] = &{
    use nix::libc::*;
    [
        SYS_adjtimex,
        SYS_chroot,
        SYS_clock_adjtime,
        SYS_setdomainname,
        SYS_setfsgid,
        SYS_setfsuid,
        SYS_setgid,
        SYS_setgroups,
        SYS_sethostname,
        SYS_setregid,
        SYS_setresgid,
        SYS_setresuid,
        SYS_setreuid,
        SYS_setuid,
    ]
};
