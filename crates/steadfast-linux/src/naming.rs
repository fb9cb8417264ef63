//! What names a process beyond the life of a handle: the boot, the PID namespace, its number in pidfs, its start time.

use crate::boot_time;
use crate::file::errno;
use rustix::fs::{fstat, fstatfs};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use steadfast_core::{BootId, Errno, Error, Pid, Result, StartTime};

/// Where PIDs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// This boot.
    pub boot: BootId,
    /// The inode of this process's PID namespace.
    pub namespace: u64,
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NAMESPACE: &str = "/proc/self/ns/pid";
/// The first time namespace's inode, which no other one is ever given (`PROC_TIME_INIT_INO`, linux/nsfs.h). All others are given again.
const FIRST_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;
/// The file system of pidfds, since Linux 6.9 (`PID_FS_MAGIC`).
const PIDFS: u64 = 0x5049_4446;
/// Whether an inode has room for the number that pidfs gives: `unsigned long` in the kernel.
const INODES_ARE_WIDE: bool = size_of::<usize>() == 8;

/// This boot and this PID namespace: asked each time, for a fork may have led into another one.
///
/// # Errors
/// [`Error::System`] with the file: `ENOENT` without `/proc`, or with another namespace's; `EMFILE` and similar.
pub fn here() -> Result<Here> {
    let text = fs::read_to_string(BOOT_ID).map_err(|error| unread(BOOT_ID, &error))?;
    let boot = BootId::parse(&text).ok_or_else(|| unread(BOOT_ID, &io::Error::from_raw_os_error(libc::EINVAL)))?;
    let namespace = fs::metadata(NAMESPACE).map_err(|error| unread(NAMESPACE, &error))?.ino();
    Ok(Here { boot, namespace })
}

fn unread(path: &str, error: &io::Error) -> Error {
    let subject = format!("{path}, without which no process can be named (mount /proc)");
    Error::System { call: "read", subject, source: Errno::of(error).unwrap_or(Errno::IO) }
}

/// Why start times in `/proc` are no evidence here; `None`: they are.
pub fn start_times_are_not_told() -> Option<&'static str> {
    // Each level has a number for us, from that of the /proc on which is asked (since Linux 4.1). With more than one it is another namespace's,
    // where our PIDs are other processes'.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    if numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().count() != 1) {
        return Some("/proc is not mounted, or is another PID namespace's: mount this one's");
    }
    match fs::metadata("/proc/self/ns/time").map(|file| file.ino()) {
        Ok(FIRST_TIME_NAMESPACE) => None,
        // Before Linux 5.6 there was only the one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        _ => Some("this is a time namespace, which shifts start times"),
    }
}

/// The tick in which it is now, as start times are counted.
pub fn tick_now() -> u64 {
    (boot_time().as_millis() / StartTime::TICK.as_millis()) as u64
}

/// The start time of the process that has this number in `/proc`; `None` if it is not told here, or the process is hidden. Whether the number still
/// was the process's, the caller has to look afterwards.
///
/// # Errors
/// What was refused for the moment, such as `EMFILE`.
pub fn start_time(pid: Pid) -> Result<Option<StartTime>, Errno> {
    if start_times_are_not_told().is_some() {
        return Ok(None);
    }
    match crate::ProcStat::of(pid) {
        Ok(stat) => Ok(Some(StartTime::seen(stat.start_time(), tick_now()))),
        Err(errno) if errno.is_of_the_moment() => Err(errno),
        Err(_) => Ok(None),
    }
}

/// The number that pidfs has for the process of this pidfd: no other process of this boot has had it or will have it. `None` before Linux 6.9,
/// where all pidfds have one inode.
///
/// # Errors
/// `EBADF` and similar.
pub fn pidfs_number(pidfd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    let is_pidfs = fstatfs(pidfd).map_err(errno)?.f_type as u64 == PIDFS;
    // Where inodes are of 32 bits they are the lower half of the number, and come again.
    if is_pidfs && INODES_ARE_WIDE { Ok(Some(fstat(pidfd).map_err(errno)?.st_ino)) } else { Ok(None) }
}
