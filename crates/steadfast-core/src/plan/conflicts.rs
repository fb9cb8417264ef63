//! What contradicts itself in a plan: found before anything is tried, with both sides named.

use super::{PlanBuilder, PlanStdio};
use crate::{Attributes, Disposition, IoPriority, Limit, MountPropagation, Namespaces, Scheduling, SeccompFilter, Signal};

/// What is wrong, and what to do; `None`: nothing.
pub(super) fn conflict(plan: &PlanBuilder) -> Option<String> {
    let a = plan.attributes_or_none();
    if a.is_none() {
        return None;
    }
    pair(a).or_else(|| namespaces(a)).or_else(|| descriptors(plan)).or_else(|| values(a))
}

/// Two settings that cannot both be.
fn pair(a: &Attributes) -> Option<String> {
    let group = a.process_group.is_some();
    let terminal = a.controlling_terminal.is_some();
    let foreground = a.foreground.is_some();
    [
        (a.setsid && group, "setsid and process_group", "a new session is led by a process that leads its own group: drop one"),
        (foreground && a.setsid, "foreground and setsid", "a new session has no terminal whose foreground it could be: drop one"),
        (
            foreground && terminal,
            "foreground and controlling_terminal",
            "the first group of a terminal's new session is its foreground already: drop foreground",
        ),
        (
            terminal && !a.setsid,
            "controlling_terminal without setsid",
            "only the leader of a new session gets a controlling terminal: add setsid(true)",
        ),
        (
            a.detach_terminal && a.setsid,
            "detach_terminal and setsid",
            "a new session has no terminal to give up: drop detach_terminal",
        ),
        (
            a.detach_terminal && foreground,
            "detach_terminal and foreground",
            "it cannot be in the foreground of a terminal that it gives up: drop one",
        ),
        (
            a.groups.is_some() && a.keep_groups,
            "groups and keep_groups",
            "either new supplementary groups or the caller's: drop one",
        ),
        (
            a.dies_with_us && a.parent_death_signal.is_some(),
            "dies_with_us and parent_death_signal",
            "there is one such signal, and SIGKILL is it: drop one",
        ),
        (
            a.dies_with_us && a.trace_me,
            "dies_with_us and trace_me",
            "it is started by a thread of its own, which traces nobody: drop one",
        ),
        (
            a.detached && a.death_signal().is_some(),
            if a.dies_with_us { "detached and dies_with_us" } else { "detached and parent_death_signal" },
            "either it lives on by itself or it ends with this process: drop one",
        ),
        (
            a.detached && (a.foreground.is_some() || terminal),
            if terminal { "detached and controlling_terminal" } else { "detached and foreground" },
            "what is detached has no terminal: drop one",
        ),
        (a.detached && a.trace_me, "detached and trace_me", "it would wait for its tracer, which is this process: drop one"),
        (
            a.keep_capabilities && !a.ambient.is_empty(),
            "keep_capabilities and ambient_capabilities",
            "either all that it is permitted survive, or those of a list: drop one",
        ),
        (
            a.keep_capabilities && a.inheritable.is_some(),
            "keep_capabilities and inheritable_capabilities",
            "what survives is inheritable: drop one",
        ),
        (
            a.inheritable.as_ref().is_some_and(|list| a.ambient.iter().any(|one| !list.contains(one))),
            "ambient_capabilities and inheritable_capabilities",
            "what is ambient is inheritable too (capabilities(7)): name it in both",
        ),
        (
            a.current_dir_fd.is_some() && a.chroot.is_some(),
            "current_dir_fd and chroot",
            "a directory from outside leads out of the new root: use current_dir with a path inside",
        ),
    ]
    .into_iter()
    .find(|(both, ..)| *both)
    .map(|(_, which, why)| format!("{which}: {why}"))
}

fn namespaces(a: &Attributes) -> Option<String> {
    let has_user = a.namespaces.contains(Namespaces::USER);
    for (name, map) in [("uid_map", &a.uid_map), ("gid_map", &a.gid_map)] {
        if !map.is_empty() && !has_user {
            return Some(format!("{name} without namespaces(Namespaces::USER): there is no user namespace to be mapped"));
        }
        if let Some(line) = map.iter().find(|line| line.count == 0) {
            return Some(format!("{name}: the range from {} has no ID in it", line.inside));
        }
    }
    if !a.gid_map.is_empty() && !a.allow_setgroups && a.groups.is_some() {
        return Some("groups and gid_map: setgroups is denied in the new user namespace: add allow_setgroups(true)".into());
    }
    if a.namespaces.contains(Namespaces::TIME) {
        return Some("namespaces(Namespaces::TIME): the kernel refuses it to a child that shares memory: use unshare".into());
    }
    let has_mounts = a.namespaces.contains(Namespaces::MOUNT) || a.unshare.contains(Namespaces::MOUNT);
    if a.mount_propagation != MountPropagation::Private && !has_mounts {
        return Some("mount_propagation without Namespaces::MOUNT: add it to namespaces or unshare".into());
    }
    let both = a.namespaces.and(a.unshare);
    (!both.is_empty()).then(|| format!("namespaces and unshare both name {both}: drop one"))
}

fn descriptors(plan: &PlanBuilder) -> Option<String> {
    let fds = &plan.attributes_or_none().fds;
    for (index, (number, _)) in fds.iter().enumerate() {
        if *number < 0 {
            return Some(format!("fd {number}: descriptors are numbered from 0"));
        }
        if fds.iter().skip(index + 1).any(|(other, _)| other == number) {
            return Some(format!("fd {number} and fd {number} again: two descriptors cannot have the same number in the child"));
        }
        if *number == 1 && matches!(plan.stdio[2], PlanStdio::Stdout) {
            return Some("stderr (stdout) and fd 1: stdout is set by stdout, for stderr to go there too: drop one".into());
        }
        let stream =
            usize::try_from(*number).ok().and_then(|n| Some((plan.stdio.get(n)?, ["stdin", "stdout", "stderr"].get(n)?)));
        if let Some((given, name)) = stream.filter(|(given, _)| !matches!(given, PlanStdio::Inherit)) {
            let given = format!("{given:?}").split('(').next().unwrap_or_default().to_lowercase();
            return Some(format!("{name} ({given}) and fd {number}: both are descriptor {number} of the child: drop one"));
        }
    }
    None
}

/// Values that no kernel takes.
fn values(a: &Attributes) -> Option<String> {
    let range = |what: &str, value: Option<i32>, low: i32, high: i32| {
        let value = value.filter(|value| !(low..=high).contains(value))?;
        Some(format!("{what} {value}: must be between {low} and {high}"))
    };
    let priority = match a.scheduling {
        Some(Scheduling::Fifo(priority) | Scheduling::RoundRobin(priority)) => Some(i32::from(priority)),
        _ => None,
    };
    range("nice", a.nice, -20, 19)
        .or_else(|| range("oom_score_adj", a.oom_score_adj, -1000, 1000))
        .or_else(|| range("process_group", a.process_group, 0, i32::MAX))
        .or_else(|| range("scheduling with priority", priority, 1, 99))
        .or_else(|| a.umask.filter(|mask| *mask > 0o777).map(|mask| format!("umask {mask:o}: must be between 0 and 777 (octal)")))
        .or_else(|| range("io_priority", a.io_priority.map(IoPriority::level).map(Into::into), 0, 7))
        .or_else(|| limits(a))
        .or_else(|| filters(a))
        .or_else(|| dispositions(a))
}

fn limits(a: &Attributes) -> Option<String> {
    a.limits.iter().enumerate().find_map(|(index, (resource, limit))| {
        let Limit { soft, hard } = limit;
        if soft > hard {
            return Some(format!("rlimit {resource}: the soft limit, {soft}, is above the hard one, {hard}"));
        }
        let again = a.limits.iter().skip(index + 1).find(|(other, _)| other == resource);
        again.map(|(_, other)| format!("rlimit {resource} {limit} and rlimit {resource} {other}: drop one"))
    })
}

/// So many walls can be reported as missing; and no process needs more.
const MOST_WALLS: usize = 64;

fn filters(a: &Attributes) -> Option<String> {
    for (name, count) in [("seccomp", a.seccomp.len()), ("landlock", a.landlock.len())] {
        if count > MOST_WALLS {
            return Some(format!("{name}, {count} times: there are at most {MOST_WALLS}"));
        }
    }
    if a.seccomp.iter().filter(|filter| filter.listener_socket().is_some()).count() > 1 {
        return Some(
            "seccomp with a listener and seccomp with another: the kernel has one for all filters of a process (EBUSY): drop one"
                .into(),
        );
    }
    a.seccomp.iter().map(|filter| filter.instructions().len()).find_map(|length| match length {
        0 => Some("seccomp with no instructions: a filter returns something: see seccomp(2)".into()),
        1..=SeccompFilter::MOST => None,
        more => Some(format!("seccomp with {more} instructions: the kernel takes at most {}", SeccompFilter::MOST)),
    })
}

fn dispositions(a: &Attributes) -> Option<String> {
    a.dispositions.iter().enumerate().find_map(|(index, (signal, disposition))| {
        if *disposition == Disposition::Ignore && [Signal::KILL, Signal::STOP].contains(signal) {
            return Some(format!("signal_disposition {signal}: the kernel lets nobody ignore it"));
        }
        let again = a.dispositions.iter().skip(index + 1).any(|(other, _)| other == signal);
        again.then(|| format!("signal_disposition {signal} and signal_disposition {signal} again: drop one"))
    })
}

#[cfg(test)]
mod tests {
    use crate::*;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    fn null_fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn null() -> Arc<OwnedFd> {
        Arc::new(null_fd())
    }

    fn filter(length: usize) -> SeccompFilter {
        SeccompFilter::new(vec![(6, 0, 0, 0x7fff_0000); length])
    }

    #[test]
    fn both_sides_of_a_conflict_are_named() {
        let user = IdMap { inside: 0, outside: 0, count: 1 };
        let base = Attributes::default;
        let cases: Vec<(Attributes, &[&str])> = vec![
            (Attributes { setsid: true, process_group: Some(5), ..base() }, &["setsid", "process_group"]),
            (Attributes { setsid: true, foreground: Some(null()), ..base() }, &["setsid", "foreground"]),
            (Attributes { controlling_terminal: Some(null()), ..base() }, &["controlling_terminal", "setsid"]),
            (
                Attributes { controlling_terminal: Some(null()), foreground: Some(null()), ..base() },
                &["foreground", "controlling_terminal"],
            ),
            (Attributes { detach_terminal: true, setsid: true, ..base() }, &["detach_terminal", "setsid"]),
            (Attributes { detach_terminal: true, foreground: Some(null()), ..base() }, &["detach_terminal", "foreground"]),
            (Attributes { groups: Some(vec![]), keep_groups: true, ..base() }, &["groups", "keep_groups"]),
            (Attributes { chroot: Some("/".into()), current_dir_fd: Some(null()), ..base() }, &["chroot", "current_dir_fd"]),
            (
                Attributes { dies_with_us: true, parent_death_signal: Some(Signal::HUP), ..base() },
                &["dies_with_us", "parent_death_signal"],
            ),
            (Attributes { dies_with_us: true, trace_me: true, ..base() }, &["dies_with_us", "trace_me"]),
            (Attributes { detached: true, dies_with_us: true, ..base() }, &["detached", "dies_with_us"]),
            (
                Attributes { detached: true, parent_death_signal: Some(Signal::HUP), ..base() },
                &["detached", "parent_death_signal"],
            ),
            (Attributes { detached: true, foreground: Some(null()), ..base() }, &["detached", "foreground"]),
            (
                Attributes { detached: true, setsid: true, controlling_terminal: Some(null()), ..base() },
                &["detached", "controlling_terminal"],
            ),
            (Attributes { detached: true, trace_me: true, ..base() }, &["detached", "trace_me"]),
            (
                Attributes { keep_capabilities: true, ambient: vec![Capability::KILL], ..base() },
                &["keep_capabilities", "ambient_capabilities"],
            ),
            (
                Attributes { keep_capabilities: true, inheritable: Some(vec![]), ..base() },
                &["keep_capabilities", "inheritable_capabilities"],
            ),
            (
                Attributes { inheritable: Some(vec![Capability::BPF]), ambient: vec![Capability::KILL], ..base() },
                &["ambient_capabilities", "inheritable_capabilities"],
            ),
            (Attributes { io_priority: Some(IoPriority::BestEffort(8)), ..base() }, &["io_priority 8"]),
            (Attributes { seccomp: vec![filter(0)], ..base() }, &["seccomp with no instructions"]),
            (Attributes { seccomp: vec![filter(4097)], ..base() }, &["seccomp with 4097", "4096"]),
            (Attributes { seccomp: vec![filter(1); 65], ..base() }, &["seccomp, 65 times"]),
            (
                Attributes { seccomp: vec![filter(1).listener(null_fd()), filter(1).listener(null_fd())], ..base() },
                &["seccomp with a listener", "EBUSY"],
            ),
            (Attributes { landlock: vec![null(); 65], ..base() }, &["landlock, 65 times"]),
            (Attributes { uid_map: vec![user], ..base() }, &["uid_map", "Namespaces::USER"]),
            (
                Attributes { gid_map: vec![user], groups: Some(vec![]), namespaces: Namespaces::USER, ..base() },
                &["gid_map", "groups", "allow_setgroups"],
            ),
            (
                Attributes { uid_map: vec![IdMap { count: 0, ..user }], namespaces: Namespaces::USER, ..base() },
                &["uid_map", "no ID"],
            ),
            (Attributes { namespaces: Namespaces::TIME, ..base() }, &["TIME", "unshare"]),
            (Attributes { namespaces: Namespaces::NET, unshare: Namespaces::NET, ..base() }, &["namespaces", "unshare", "NET"]),
            (Attributes { mount_propagation: MountPropagation::Slave, ..base() }, &["mount_propagation", "Namespaces::MOUNT"]),
            (Attributes { fds: vec![(5, null()), (5, null())], ..base() }, &["fd 5 and fd 5"]),
            (Attributes { fds: vec![(-1, null())], ..base() }, &["fd -1"]),
            (Attributes { fds: vec![(1, null())], ..base() }, &["stdout (piped)", "fd 1"]),
            (Attributes { nice: Some(20), ..base() }, &["nice 20"]),
            (Attributes { oom_score_adj: Some(-1001), ..base() }, &["oom_score_adj -1001"]),
            (Attributes { process_group: Some(-1), ..base() }, &["process_group -1"]),
            (Attributes { scheduling: Some(Scheduling::Fifo(0)), ..base() }, &["scheduling with priority 0"]),
            (Attributes { umask: Some(0o1000), ..base() }, &["umask 1000"]),
            (Attributes { limits: vec![(Resource::CPU, (2, 1).into())], ..base() }, &["RLIMIT_CPU", "2", "1"]),
            (
                Attributes { limits: vec![(Resource::CPU, 1.into()), (Resource::CPU, 2.into())], ..base() },
                &["rlimit RLIMIT_CPU 1", "rlimit RLIMIT_CPU 2"],
            ),
            (Attributes { dispositions: vec![(Signal::KILL, Disposition::Ignore)], ..base() }, &["SIGKILL"]),
            (Attributes { dispositions: vec![(Signal::HUP, Disposition::Ignore); 2], ..base() }, &["SIGHUP and"]),
        ];
        for (attributes, parts) in cases {
            let shown = format!("{attributes:?}");
            let error = Plan::builder("x").stdout(PlanStdio::Piped).attributes(attributes).build();
            let text = error.expect_err(&shown).to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
