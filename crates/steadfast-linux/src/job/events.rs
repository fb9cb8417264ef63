//! `cgroup.events`: whether anything lives in a cgroup, and whether it is frozen (cgroups(7)).

use crate::file::errno;
use std::os::fd::BorrowedFd;
use steadfast_core::Errno;

/// What is read in `cgroup.events`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Line {
    /// Nothing lives in it, nor in those beneath it. A zombie does not live.
    Empty,
    Frozen,
}

/// Whether `cgroup.events` says it. Of one that was removed it says that it is empty.
pub(super) fn says(events: BorrowedFd<'_>, line: Line) -> Result<bool, Errno> {
    let mut buffer = [0_u8; 128];
    let length = match rustix::io::pread(events, &mut buffer, 0) {
        Ok(length) => length,
        Err(rustix::io::Errno::NODEV) => return Ok(line == Line::Empty),
        Err(error) => return Err(errno(error)),
    };
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    Ok(match line {
        Line::Empty => value(text, "populated") == Some(0),
        Line::Frozen => value(text, "frozen") == Some(1),
    })
}

/// Of lines with a name and a number.
pub(super) fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
