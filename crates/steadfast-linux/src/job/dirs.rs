//! The directories of our cgroups among others: their names, and how they are made, found and removed.
//!
//! A name says whose it is: `steadfast-`, the PID namespace and the time namespace (by their inodes), the PID of the owner, its
//! start time, and a number. So the next program to look there can tell that an owner is gone, and remove what it has left. A name of another
//! namespace says nothing here: its PIDs and times are others, and it is left alone.

use super::obstacle::Obstacle;
use crate::file::{errno, open_at};
use crate::kill::is_free;
use crate::stat::{ProcStat, is_gone};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use steadfast_core::{Errno, Pid};

/// The last number that was given.
static LAST: AtomicU64 = AtomicU64::new(0);

/// How often those of others are looked for: when a place is found, and at each so many new ones.
const LOOK_EVERY: u64 = 256;

pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

/// Whether it is time to look for those whose owners are gone.
pub(super) fn is_time_to_look() -> bool {
    LAST.load(Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1
}

/// Makes a cgroup, with a number of its own behind this, and opens it.
pub(super) fn make_cgroup(parent: &OwnedFd, path: &Path, prefix: &str, own_prefix: &str) -> Result<(String, OwnedFd), Obstacle> {
    loop {
        let name = format!("{prefix}{}", LAST.fetch_add(1, Ordering::Relaxed));
        match fs::mkdirat(parent, &name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
            // Left by a program that executed us in its place: it had our PID and start time.
            Err(rustix::io::Errno::EXIST) => continue,
            Err(error) => return Err(Obstacle::new("mkdir", path.join(&name), errno(error))),
            Ok(()) => {}
        }
        return open_at(parent, &name, DIRECTORY).map_or_else(
            |errno| {
                _ = remove(parent.as_fd(), &name, own_prefix);
                Err(Obstacle::new("open", path.join(&name), errno))
            },
            |dir| Ok((name.clone(), dir)),
        );
    }
}

/// Removes the cgroups of owners that are gone, as far as nothing lives in them.
pub(super) fn remove_abandoned(dir: &OwnedFd, own_prefix: &str) {
    let Ok(entries) = fs::Dir::read_from(dir) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if owner_is_gone(name, own_prefix) {
            // Refused while something lives there, or if it is another user's.
            _ = remove(dir.as_fd(), name, own_prefix);
        }
    }
}

/// Removes a cgroup, and those in it first; but no leaf of an owner who is there: he removes it himself, and may be waiting for it to be empty.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &str, own_prefix: &str) -> Result<(), Errno> {
    let rmdir = || fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(errno);
    let refused = match rmdir() {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(refused @ Errno::BUSY) => refused,
        refused => return refused,
    };
    let Ok(inner) = open_at(dir, name, DIRECTORY) else { return Err(refused) };
    for below in directories(inner.as_fd()) {
        if below.starts_with(MARK) && !owner_is_gone(&below, own_prefix) {
            return Err(refused);
        }
        remove(inner.as_fd(), &below, own_prefix)?;
    }
    rmdir()
}

/// The cgroups in a cgroup.
pub(super) fn directories(dir: BorrowedFd<'_>) -> Vec<String> {
    let entries = fs::Dir::read_from(dir).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type() == FileType::Directory);
    let names = below.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    names.filter(|name| name != "." && name != "..").collect()
}

/// What the names of our leaves begin with.
pub(super) fn prefix() -> Result<String, Obstacle> {
    let inode = |file: &str| match fs::stat(file) {
        Ok(found) => Ok(found.st_ino),
        // Before Linux 5.6 there are no time namespaces.
        Err(rustix::io::Errno::NOENT) if file.ends_with("time") => Ok(0),
        Err(error) => Err(Obstacle::new("stat", file, errno(error))),
    };
    let (pids, times) = (inode("/proc/self/ns/pid")?, inode("/proc/self/ns/time")?);
    let own = std::process::id();
    let failed = |errno| Obstacle::new("read", format!("/proc/{own}/stat"), errno);
    let stat = Pid::new(own as i32).map_err(|_| failed(Errno::RANGE)).and_then(|own| ProcStat::of(own).map_err(failed))?;
    let born = stat.start_time();
    Ok(format!("{MARK}{pids}-{times}-{own}-{born}-"))
}

const MARK: &str = "steadfast-";

/// Whether the name says of an owner in our namespaces that is not there any more.
fn owner_is_gone(name: &str, own_prefix: &str) -> bool {
    let fields = |name: &str| -> Option<[u64; 4]> {
        let mut numbers = name.strip_prefix(MARK)?.split('-').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some([next()?, next()?, next()?, next()?])
    };
    let (Some([pids, times, pid, born]), Some([own_pids, own_times, ..])) = (fields(name), fields(own_prefix)) else {
        return false;
    };
    let Ok(pid) = i32::try_from(pid) else { return false };
    if (pids, times) != (own_pids, own_times) {
        return false;
    }
    match Pid::new(pid).map_or(Err(Errno::SRCH), ProcStat::of) {
        Ok(stat) => stat.start_time() != born,
        // It may only be hidden (hidepid, proc(5)).
        Err(errno) => is_gone(errno) && is_free(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        let own = prefix().unwrap();
        let [pids, times, pid, born] =
            <[u64; 4]>::try_from(own.strip_prefix(MARK).unwrap().split('-').filter_map(|n| n.parse().ok()).collect::<Vec<u64>>())
                .unwrap();
        assert!(!owner_is_gone(&format!("{own}0"), &own), "it lives");
        assert!(owner_is_gone(&format!("{MARK}{pids}-{times}-{pid}-{}-0", born + 1), &own), "the number is another's");
        assert!(owner_is_gone(&format!("{MARK}{pids}-{times}-4194999-1-0"), &own), "nobody has the number");
        assert!(!owner_is_gone(&format!("{MARK}{}-{times}-4194999-1-0", pids + 1), &own), "of another PID namespace");
        assert!(!owner_is_gone(&format!("{MARK}{pids}-{}-4194999-1-0", times + 1), &own), "of another time namespace");
        for other in ["", "steadfast-", "steadfast-1-2", "steadfast-x-1-1-1-1", "user.slice"] {
            assert!(!owner_is_gone(other, &own), "{other}");
        }
    }
}
