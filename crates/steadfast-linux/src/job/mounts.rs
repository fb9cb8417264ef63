//! Where the cgroups of this process are mounted (cgroups(7), proc_pid_mountinfo(5)).

use super::obstacle::Obstacle;
use crate::file::errno_of;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use steadfast_core::Errno;

/// Which of the trees of cgroups.
#[derive(Clone, Copy)]
pub(super) enum Hierarchy {
    /// The one of version 2.
    Unified,
    /// The one of version 1 that has this controller.
    Of(&'static str),
}

/// The directory of our own cgroup there, in the first mount that shows it.
pub(super) fn own_cgroup(hierarchy: Hierarchy) -> Result<PathBuf, Obstacle> {
    let read = |path: &str| std::fs::read(path).map_err(|error| Obstacle::new("read", path, errno_of(&error)));
    let mounts = read("/proc/self/mountinfo")?;
    let cgroups = read("/proc/self/cgroup")?;
    let call = match hierarchy {
        Hierarchy::Unified => "find cgroups of version 2 in",
        Hierarchy::Of("memory") => "find the memory controller, which version 2 has not here, in",
        Hierarchy::Of("pids") => "find the pids controller, which version 2 has not here, in",
        Hierarchy::Of(_) => "find the cpu controller, which version 2 has not here, in",
    };
    directory(hierarchy, &mounts, &cgroups).ok_or_else(|| Obstacle::new(call, "/proc/self/mountinfo", Errno::NOENT))
}

/// (The crate `procfs-core` leaves the escapes in a mount point as they are, and refuses the whole file for a path that is no UTF-8.)
fn directory(hierarchy: Hierarchy, mounts: &[u8], cgroups: &[u8]) -> Option<PathBuf> {
    let own = cgroups.split(|byte| *byte == b'\n').find_map(|line| {
        // A number, controllers, and the path. That of version 2 has the number 0, and no controllers.
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match hierarchy {
            Hierarchy::Unified => number == b"0" && controllers.is_empty(),
            Hierarchy::Of(controller) => lists(controllers, controller),
        };
        is_it.then_some(path)
    })?;
    let own = Path::new(std::ffi::OsStr::from_bytes(own));
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        // Optional fields, a hyphen, the type, the source, and the options of the file system.
        let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, options) = (behind.next()?, behind.nth(1).unwrap_or_default());
        let is_it = match hierarchy {
            Hierarchy::Unified => kind == b"cgroup2",
            Hierarchy::Of(controller) => kind == b"cgroup" && lists(options, controller),
        };
        if !is_it {
            return None;
        }
        let (root, point) = (unescape(root), unescape(point));
        // Above the root of our cgroup namespace, or beside what is mounted: not to be seen from here.
        let below = own.strip_prefix(&root).ok().filter(|below| !below.starts_with(".."))?;
        Some(point.join(below))
    })
}

/// Of words with commas between.
fn lists(words: &[u8], word: &str) -> bool {
    words.split(|byte| *byte == b',').any(|other| other == word.as_bytes())
}

/// A blank, a tab, a newline and a backslash stand there as `\040` and so on.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_any_layout() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      33 31 0:30 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let part = "30 23 0:26 /user.slice /mnt/with\\040blank rw - cgroup2 cgroup2 rw\n";
        let found = |mounts: &str, cgroups: &str| directory(Hierarchy::Unified, mounts.as_bytes(), cgroups.as_bytes());
        assert_eq!(found(unified, "0::/a/b\n"), Some("/sys/fs/cgroup/a/b".into()));
        assert_eq!(found(unified, "0::/\n"), Some("/sys/fs/cgroup/".into()));
        assert_eq!(found(hybrid, "1:cpu:/x\n0::/y\n"), Some("/sys/fs/cgroup/unified/y".into()));
        assert_eq!(found(part, "0::/user.slice/b\n"), Some("/mnt/with blank/b".into()));
        assert_eq!(found(part, "0::/system.slice\n"), None);
        assert_eq!(found(unified, "0::/../other\n"), None);
        assert_eq!(found(unified, "1:cpu:/x\n"), None);
        assert_eq!(found("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "0::/\n"), None);

        let of = |controller, cgroups: &str| directory(Hierarchy::Of(controller), hybrid.as_bytes(), cgroups.as_bytes());
        let own = "3:memory:/docker/1/x\n2:cpuacct,cpu:/y\n1:cpuset:/\n0::/z\n";
        assert_eq!(of("memory", own), Some("/sys/fs/cgroup/memory/x".into()));
        assert_eq!(of("cpu", own), Some("/sys/fs/cgroup/cpu/y".into()));
        assert_eq!(of("pids", own), None, "it is not mounted");
        assert_eq!(of("cpu", "0::/z\n"), None, "it is another tree's");
    }
}
