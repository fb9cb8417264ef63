//! A PID namespace of your own, in which a process may choose the next PID: the way to a recycled PID on demand, without
//! privileges (pid_namespaces(7), user_namespaces(7)).

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid};
use std::fs;
use std::io;

/// Moves this process, which must have one thread, so that its **next child** is process 1 of a new PID namespace.
///
/// # Errors
/// The call or file that refused, such as `unshare: EPERM` where user namespaces are forbidden.
pub fn unshare_pids() -> Result<(), String> {
    let (uid, gid) = (Uid::current(), Gid::current());
    let new = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    // Root needs no user namespace, and keeps its privileges over files without one.
    if uid.is_root() && unshare(new) == Ok(()) {
        return Ok(());
    }
    unshare(new | CloneFlags::CLONE_NEWUSER).map_err(|errno: Errno| format!("unshare: {errno}"))?;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))
}

/// Of process 1's duties: reaps whoever becomes an orphan, until this child ends; how it did.
///
/// # Errors
/// What `waitpid` says.
pub fn reap_until(child: u32) -> nix::Result<WaitStatus> {
    loop {
        let ended = waitpid(None, None)?;
        if ended.pid().is_some_and(|pid| pid.as_raw() as u32 == child) {
            return Ok(ended);
        }
    }
}

/// To be called by process 1 of the new namespace: gives it a `/proc` that shows it.
///
/// # Errors
/// The mount that was refused.
pub fn mount_proc() -> Result<(), String> {
    let none: Option<&str> = None;
    // Or else the machine's own /proc would be covered.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|e| format!("mount /: {e}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(|e| format!("mount /proc: {e}"))
}

/// Makes the next process of this namespace have the PID `pid`, if that is free.
///
/// # Errors
/// `EACCES` or `EROFS` where that is not allowed; `ENOENT` for a kernel without `CONFIG_CHECKPOINT_RESTORE`.
pub fn set_next_pid(pid: i32) -> io::Result<()> {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
}

/// Whether [`set_next_pid`] is allowed here.
pub fn may_set_next_pid() -> bool {
    const FILE: &str = "/proc/sys/kernel/ns_last_pid";
    // Whoever may open it may still be refused the writing (`CAP_CHECKPOINT_RESTORE`).
    fs::read(FILE).and_then(|last| fs::write(FILE, last)).is_ok()
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}
