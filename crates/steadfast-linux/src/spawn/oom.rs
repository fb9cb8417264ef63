//! Want of memory in the child's cgroup, which must not end us.
//!
//! When the members of a cgroup have no more memory, the kernel chooses one of them, and kills everybody who shares its memory, wherever they are
//! (`__oom_kill_process`). A child between clone and exec that is in the cgroup and in our memory is a member as large as we are, and so the first to be
//! chosen. Only one whose parent is suspended is left out (`in_vfork`), and not where `memory.oom.group` kills all. So it gets a copy of our memory.

use crate::file::{open_at, read_at};
use rustix::fs::OFlags;
use std::os::fd::BorrowedFd;
use steadfast_core::Errno;

/// Without a limit version 1 says `LONG_MAX`, rounded down to a page.
const UNLIMITED: u64 = 1 << 62;

/// Whether this cgroup, or one above it, has a limit of memory; also if that may not be read. Of those above, some may be ours as well, where a copy is
/// not needed, and does no harm.
pub(crate) fn may_run_out(cgroup: BorrowedFd<'_>) -> bool {
    let Ok(mut dir) = open_at(cgroup, ".", OFlags::PATH | OFlags::DIRECTORY) else { return true };
    loop {
        // Above the root of the hierarchy there is no such file.
        if open_at(&dir, "cgroup.procs", OFlags::PATH).is_err() {
            return false;
        }
        if ["memory.max", "memory.limit_in_bytes"].into_iter().any(|file| is_limit(read_at(&dir, file))) {
            return true;
        }
        match open_at(&dir, "..", OFlags::PATH | OFlags::DIRECTORY) {
            Ok(above) => dir = above,
            Err(_) => return true,
        }
    }
}

fn is_limit(answer: Result<String, Errno>) -> bool {
    match answer {
        Ok(text) => text.trim() != "max" && text.trim().parse().is_ok_and(|bytes: u64| bytes < UNLIMITED),
        // The controller is elsewhere, or was not handed on to this one.
        Err(errno) => errno != Errno::NOENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_limit_and_a_very_large_one_is_none() {
        let limit = |text: &str| is_limit(Ok(text.to_owned()));
        assert!(limit("0\n") && limit("4096\n"));
        assert!(!limit("max\n") && !limit("9223372036854771712\n"));
        assert!(is_limit(Err(Errno::ACCES)) && !is_limit(Err(Errno::NOENT)));
    }
}
