//! [`Step`]: what the child was doing when it failed, small enough to be handed over in one word, and the [`Stage`] that it is
//! for people.

use super::image::Image;
use super::missing;
use steadfast_core::{Capability, Errno, Error, Plan, Stage, Wall};

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident,)*) => {
        /// What the child was doing, in the order in which it does it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum What {
            $($(#[$doc])* $step,)*
        }

        impl What {
            const ALL: &[What] = &[$(What::$step,)*];
        }
    };
}

steps! {
    Pidfd,
    Maps,
    Cgroup,
    Tasks,
    Setsid,
    Setpgid,
    Foreground,
    DetachTerminal,
    ControllingTerminal,
    Unshare,
    Propagation,
    OomScore,
    Nice,
    Scheduling,
    ResetOnFork,
    IoPriority,
    Affinity,
    Chroot,
    ClearAmbient,
    KeepCapabilities,
    Setgroups,
    Setgid,
    Setuid,
    Capset,
    AmbientCapability,
    KeptCapability,
    Bounding,
    SecureBits,
    ParentDeathSignal,
    Fchdir,
    Chdir,
    Personality,
    Descriptor,
    NoNewPrivileges,
    Landlock,
    Disposition,
    PreExec,
    Limit,
    Trace,
    Seccomp,
    Listener,
    Exec,
    /// None of the files to try exists.
    NotFound,
}

/// A step, and which of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) what: What,
    /// Which descriptor, limit, disposition, capability, wall or file to execute; below 2²³, but for [`LACKING`].
    pub(super) index: u32,
}

impl From<What> for Step {
    fn from(what: What) -> Step {
        Step { what, index: 0 }
    }
}

/// In the index: this is a wall that the kernel does not have.
const LACKING: u32 = 1 << 23;

impl What {
    pub(super) fn number(self, index: usize) -> Step {
        Step { what: self, index: index as u32 & (LACKING - 1) }
    }

    fn wall(self) -> Option<Wall> {
        match self {
            What::Landlock => Some(Wall::Landlock),
            What::Seccomp => Some(Wall::Seccomp),
            What::IoPriority => Some(Wall::IoPriority),
            What::ResetOnFork => Some(Wall::ResetOnFork),
            _ => None,
        }
    }
}

impl Step {
    /// Never 0.
    pub(super) fn as_raw(self) -> u32 {
        (self.what as u32 + 1) | (self.index << 8)
    }

    pub(super) fn from_raw(raw: u32) -> Option<Step> {
        let what = *What::ALL.get((raw as usize & 0xff).checked_sub(1)?)?;
        Some(Step { what, index: raw >> 8 })
    }

    /// The same, not refused, but not there.
    pub(super) fn lacking(self) -> Step {
        Step { index: self.index | LACKING, ..self }
    }

    /// The wall that is not there, if it is that.
    pub(super) fn lacks(self) -> Option<Wall> {
        self.what.wall().filter(|_| self.index & LACKING != 0)
    }

    /// What has failed, for whoever has asked for it.
    pub(super) fn error(self, plan: &Plan, image: &Image, errno: Errno) -> Error {
        let program = plan.program().to_owned();
        match self.lacks() {
            Some(wall) => Error::NoWall { program, wall, source: errno },
            None => Error::Spawn { program, stage: self.failed_stage(plan, image, errno), source: errno },
        }
    }

    /// The stage for people, with the value that the plan has for it, and what has been missing.
    fn failed_stage(self, plan: &Plan, image: &Image, errno: Errno) -> Stage {
        let stage = self.stage(plan, image);
        let is_search = matches!(self.what, What::Exec | What::NotFound) && errno == Errno::NOENT;
        match (is_search.then(|| missing::find(plan, image)).flatten(), stage) {
            (Some((path, missing)), Stage::Exec { search_path, .. }) => {
                Stage::Exec { path: Some(path), search_path, missing: Some(missing) }
            }
            (_, stage) => stage,
        }
    }

    fn stage(self, plan: &Plan, image: &Image) -> Stage {
        let a = plan.attributes();
        let index = (self.index & (LACKING - 1)) as usize;
        let attribute = |call, value: String| Stage::Attribute { call, value };
        // Of several: which, counted from 1.
        let one_of =
            |count: usize, what: &str| if count > 1 { format!("{what} {} of {count}", index + 1) } else { String::new() };
        let number = |call, number: Option<i64>| attribute(call, number.map(|n| n.to_string()).unwrap_or_default());
        match self.what {
            What::Pidfd => Stage::Pidfd,
            What::Maps => attribute("uid_map", String::new()),
            What::Cgroup => attribute("cgroup", String::new()),
            What::Tasks => attribute("cgroup", "of version 1, for a limit".into()),
            What::Setsid => attribute("setsid", String::new()),
            What::Setpgid => number("setpgid", Some(a.process_group.unwrap_or(0).into())),
            What::Foreground => attribute("TIOCSPGRP", String::new()),
            What::DetachTerminal => attribute("TIOCNOTTY", String::new()),
            What::ControllingTerminal => attribute("TIOCSCTTY", String::new()),
            What::Unshare => attribute("unshare", a.unshare.to_string()),
            What::Propagation => attribute("mount", format!("/ as {:?}", a.mount_propagation).to_lowercase()),
            What::OomScore => number("oom_score_adj", a.oom_score_adj.map(Into::into)),
            What::Nice => number("setpriority", a.nice.map(Into::into)),
            What::Scheduling => attribute("sched_setscheduler", a.scheduling.map(|s| format!("{s:?}")).unwrap_or_default()),
            What::ResetOnFork => attribute("sched_setattr", "SCHED_FLAG_RESET_ON_FORK".into()),
            What::IoPriority => attribute("ioprio_set", a.io_priority.map(|p| format!("{p:?}")).unwrap_or_default()),
            What::Affinity => attribute("sched_setaffinity", format!("{:?}", a.affinity)),
            What::Chroot => {
                attribute("chroot", a.chroot.as_ref().map(|dir| format!("to `{}`", dir.display())).unwrap_or_default())
            }
            What::ClearAmbient => attribute("prctl", "PR_CAP_AMBIENT_CLEAR_ALL".into()),
            What::KeepCapabilities => attribute("prctl", "PR_SET_KEEPCAPS".into()),
            What::Setgroups => attribute("setgroups", format!("{:?}", a.groups.as_deref().unwrap_or_default())),
            What::Setgid => number("setgid", a.gid.map(Into::into)),
            What::Setuid => number("setuid", a.uid.map(Into::into)),
            What::Capset => attribute("capset", String::new()),
            What::AmbientCapability => {
                attribute("PR_CAP_AMBIENT_RAISE", a.ambient.get(index).map(|c| c.to_string()).unwrap_or_default())
            }
            What::KeptCapability => attribute("PR_CAP_AMBIENT_RAISE", "all that are permitted".into()),
            What::Bounding => attribute("PR_CAPBSET_DROP", capability_name(index)),
            What::SecureBits => attribute("PR_SET_SECUREBITS", a.securebits.to_string()),
            What::ParentDeathSignal => {
                attribute("parent_death_signal", a.death_signal().map(|s| s.to_string()).unwrap_or_default())
            }
            What::Fchdir => attribute("fchdir", String::new()),
            What::Chdir => Stage::Chdir { path: plan.current_dir().unwrap_or("".as_ref()).to_owned() },
            What::Personality => attribute("personality", a.personality.map(|p| format!("{p:#x}")).unwrap_or_default()),
            What::Descriptor => match (["stdin", "stdout", "stderr"].get(index), a.fds.get(index.wrapping_sub(3))) {
                (Some(stream), _) => Stage::Stdio { stream },
                (None, to) => number("fd", to.map(|(to, _)| (*to).into())),
            },
            What::NoNewPrivileges => attribute("no_new_privs", String::new()),
            What::Landlock => attribute("landlock_restrict_self", one_of(a.landlock.len(), "ruleset")),
            What::Seccomp => attribute("seccomp", one_of(a.seccomp.len(), "filter")),
            What::Listener => attribute("sendmsg", "the listener of seccomp".into()),
            What::Disposition => {
                attribute("sigaction", a.dispositions.get(index).map(|(signal, _)| signal.to_string()).unwrap_or_default())
            }
            What::PreExec => attribute("pre_exec", String::new()),
            What::Limit => {
                let limit = a.limits.get(index).map(|(resource, limit)| format!("{resource} to {limit}"));
                attribute("setrlimit", limit.unwrap_or_default())
            }
            What::Trace => attribute("ptrace", "PTRACE_TRACEME".into()),
            What::Exec if a.executable.is_some() => {
                Stage::Exec { path: Some(plan.program().into()), search_path: None, missing: None }
            }
            What::Exec => Stage::Exec {
                path: image.candidate(index),
                search_path: image.search_path().map(ToOwned::to_owned),
                missing: None,
            },
            What::NotFound => Stage::Exec {
                path: if image.search_path().is_some() { None } else { image.candidate(0) },
                search_path: image.search_path().map(ToOwned::to_owned),
                missing: None,
            },
        }
    }
}

/// Of the capability of this number.
fn capability_name(number: usize) -> String {
    u8::try_from(number).map_or_else(|_| String::new(), |number| Capability::from_raw(number).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_back_as_it_was_handed_over() {
        for (index, what) in What::ALL.iter().enumerate() {
            let step = what.number(index * 7919);
            assert_eq!(Step::from_raw(step.as_raw()), Some(step));
        }
        assert_eq!(Step::from_raw(0), None);
        assert_eq!(Step::from_raw(0xff), None);
    }
}
