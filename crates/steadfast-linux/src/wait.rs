//! `waitid(2)` with resource usage, which the C library's own function leaves out, and `wait4(2)`.

use crate::raw;
use once_cell::race::OnceNonZeroUsize;
use std::ffi::{c_int, c_long};
use std::num::NonZero;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steadfast_core::{Errno, Exit, MaxRss, Pid, Rusage};

/// Whether `waitid(2)` does not take `__WALL`: before Linux 4.7, and in QEMU's user mode, where no child is without an exit signal.
static NO_WALL: AtomicBool = AtomicBool::new(false);

/// Whom to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The child with this PID (`P_PID`).
    Pid(Pid),
    /// The child that this pidfd stands for (`P_PIDFD`, Linux 5.4).
    Pidfd(BorrowedFd<'a>),
    /// Any child of this process (`P_ALL`).
    Any,
}

/// Whether to wait for the exit or only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// Wait until it has exited.
    Block,
    /// Answer `None` if it still runs (`WNOHANG`).
    Now,
}

/// What becomes of an exited child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaping {
    /// It stays a zombie (`WNOWAIT`).
    Leave,
    /// It is reaped.
    Reap,
}

/// `waitid(2)` for an exit, with status and resource usage. `None`: it has not exited.
///
/// That comes back from [`Blocking::Block`] too, where the kernel does not wait for an exit alone: a child that this program traces is
/// reported with each of its stops, whatever the options (ptrace(2)); and a pidfd may have been made non-blocking. Then poll the pidfd, or
/// look again later. Stops stay with the tracer: what is to be reaped is looked at first.
///
/// # Errors
/// `ECHILD` if the target is not a child, or was reaped; `EINTR` if a signal handler ran; `EINVAL` for a pidfd before Linux
/// 5.4.
pub fn waitid(target: Target<'_>, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
    let seen = call(target, blocking, Reaping::Leave)?;
    let (Some(exit), Reaping::Reap) = (seen, reaping) else { return Ok(seen) };
    let target = if let Target::Any = target { Target::Pid(exit.pid) } else { target };
    match call(target, Blocking::Now, Reaping::Reap) {
        // Somebody else was quicker; it is the status all the same.
        Err(Errno::CHILD) => Ok(seen),
        answer => answer,
    }
}

/// One call, which takes a stop from the tracer if it reaps.
pub(crate) fn call(target: Target<'_>, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
    let mut options = libc::WEXITED;
    if blocking == Blocking::Now {
        options |= libc::WNOHANG;
    }
    if reaping == Reaping::Leave {
        options |= libc::WNOWAIT;
    }
    let mut usage = untold();
    let Some((pid, code, status)) = ask(target, options, &raw mut usage)? else { return Ok(None) };
    // Else a stop of a child that we trace.
    let is_exit = matches!(code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
    Ok(is_exit.then(|| with_usage(Exit::new(pid, exit_status(code, status)), &usage)))
}

/// One `waitid(2)`: who, `si_code` and `si_status`; `None` if there is nothing to report. `usage` is null, or room for what was used.
pub(crate) fn ask(target: Target<'_>, options: c_int, usage: *mut libc::rusage) -> Result<Option<(Pid, c_int, c_int)>, Errno> {
    let (kind, id) = match target {
        Target::Pid(pid) => (libc::P_PID, pid.as_raw()),
        Target::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd()),
        Target::Any => (libc::P_ALL, 0),
    };
    // Whatever its exit signal: a child that was killed before it had executed a program has none, nor has one that other code made so.
    let options = options | if NO_WALL.load(Ordering::Relaxed) { 0 } else { libc::__WALL };
    // SAFETY: siginfo_t is integers and pointers, for which all zero is a value. It must be zero: with nothing to report,
    // QEMU's user mode leaves it as it was.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let mut ask = |options: c_int| {
        // SAFETY: `info` is room for what the kernel writes, `usage` too unless it is null, and both live through the call.
        unsafe { libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, options, usage) }
    };
    let mut answer = ask(options);
    if raw::check(answer) == Err(Errno::INVAL) && options & libc::__WALL != 0 {
        answer = ask(options & !libc::__WALL);
        if raw::check(answer) != Err(Errno::INVAL) {
            NO_WALL.store(true, Ordering::Relaxed);
        }
    }
    match (raw::check(answer), target) {
        (Ok(0), _) => {}
        // A SIGSYS handler that merely returns makes a filtered call return its own number.
        (Ok(_), _) => return Err(Errno::NOSYS),
        // It runs, and somebody has made the pidfd non-blocking (PIDFD_NONBLOCK, pidfd_open(2)), or a duplicate of it.
        (Err(Errno::AGAIN), Target::Pidfd(_)) => return Ok(None),
        (Err(errno), _) => return Err(errno),
    }
    // SAFETY: waitid fills in the SIGCHLD fields, or leaves all zero.
    let pid = unsafe { info.si_pid() };
    let Ok(pid) = Pid::new(pid) else { return Ok(None) };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok(Some((pid, info.si_code, status)))
}

/// Reaps the child `pid` if it has exited: `wait4(2)` with `WNOHANG`, for where a filter takes `waitid` away. A stop of a child that this
/// program traces is taken from the tracer, if there is one to report, and is `None`.
///
/// # Errors
/// `ECHILD` if it is not a child, or was reaped.
pub fn wait4_now(pid: Pid) -> Result<Option<Exit>, Errno> {
    wait4(pid.as_raw(), libc::WNOHANG | libc::__WALL)
}

/// Reaps the child `pid` whatever its exit signal, waiting as long as it takes; `Ok(None)` does not come back.
pub(crate) fn wait4_all(pid: i32) -> Result<Option<Exit>, Errno> {
    until_reaped(|| wait4(pid, libc::__WALL))
}

/// Asks until there is an answer: not because of a signal handler, nor of a stop.
fn until_reaped(reap: impl Fn() -> Result<Option<Exit>, Errno>) -> Result<Option<Exit>, Errno> {
    loop {
        match reap() {
            Err(Errno::INTR) | Ok(None) => {}
            answer => return answer,
        }
    }
}

/// Whether a child is reaped, by whomever (`SIGCHLD` ignored, a `waitpid(-1)`). A reap that is refused says nothing of its end.
pub(crate) fn is_reaped(answer: &Result<Option<Exit>, Errno>) -> bool {
    matches!(answer, Ok(Some(_)) | Err(Errno::CHILD))
}

/// Reaps a child that has exited or is about to. Whether somebody else was quicker is all the same.
pub(crate) fn reap_whoever_wins(pid: i32) {
    _ = wait4_all(pid);
}

/// As [`wait4_all`], of a child without an exit signal: no other child is meant, whoever has the number now.
pub(crate) fn wait4_quiet(pid: i32) -> Result<Option<Exit>, Errno> {
    until_reaped(|| wait4(pid, libc::__WCLONE))
}

/// Whether this is a child of ours that has not executed a program: it has no exit signal, which it would have got then. It may run, or be a
/// zombie; it stays what it is.
pub(crate) fn is_quiet_child(pid: i32) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WCLONE;
    let no_info = std::ptr::null_mut::<libc::siginfo_t>();
    let no_usage = std::ptr::null_mut::<libc::rusage>();
    // SAFETY: neither null is written.
    raw::check(unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, pid, no_info, options, no_usage) }) == Ok(0)
}

/// A pidfd is readable when the process has exited (pidfd_open(2)).
pub(crate) fn is_readable(pidfd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    raw::poll(&mut poll, 0) == 1
}

/// Reaps the process behind a pidfd, however long that takes.
pub(crate) fn reap_by(pidfd: BorrowedFd<'_>) -> Result<Option<Exit>, Errno> {
    until_reaped(|| {
        let answer = waitid(Target::Pidfd(pidfd), Blocking::Block, Reaping::Reap);
        if answer == Ok(None) {
            let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // Whatever it answers, the next look tells.
            raw::poll(&mut poll, -1);
        }
        answer
    })
}

pub(crate) fn wait4(pid: i32, options: c_int) -> Result<Option<Exit>, Errno> {
    let mut status: c_int = 0;
    let mut usage = untold();
    // SAFETY: `status` and `usage` are room for what the kernel writes, and live through the call.
    let answer: c_long = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, options, &raw mut usage) };
    match raw::check(answer)? {
        0 => Ok(None),
        _ if libc::WIFSTOPPED(status) => Ok(None),
        reaped if reaped == c_long::from(pid) => {
            Ok(Pid::new(pid).ok().map(|pid| with_usage(Exit::new(pid, ExitStatus::from_raw(status)), &usage)))
        }
        _ => Err(Errno::NOSYS),
    }
}

/// The wait status that `wait(2)` would have given for the `si_code` and `si_status` of `waitid(2)`.
pub(crate) fn exit_status(code: c_int, status: c_int) -> ExitStatus {
    ExitStatus::from_raw(match code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status & 0x7f,
    })
}

/// A usage that nobody can have: with this in it, the kernel has told nothing.
fn untold() -> libc::rusage {
    // SAFETY: rusage is integers, for which all zero is a value.
    let zero: libc::rusage = unsafe { std::mem::zeroed() };
    libc::rusage { ru_maxrss: -1, ..zero }
}

fn with_usage(exit: Exit, usage: &libc::rusage) -> Exit {
    if usage.ru_maxrss == untold().ru_maxrss { exit } else { exit.with_rusage(rusage(usage)) }
}

/// The largest resident set that this process can have had so far, in bytes.
///
/// The kernel counts pages for each CPU, and adds them up now and then (percpu_counter; for each thread before Linux 6.2). So two looks at one
/// peak may differ by what was not added up yet: of three kinds of pages, twice as many as there are CPUs, 32 at least, on each of them.
pub(crate) fn own_peak() -> u64 {
    let mut usage = untold();
    // SAFETY: `usage` is room for what the kernel writes.
    let answer = raw::check(unsafe { libc::syscall(libc::SYS_getrusage, libc::RUSAGE_SELF, &raw mut usage) });
    // In doubt as big as any.
    if answer.is_err() || usage.ru_maxrss <= 0 { u64::MAX } else { usage.ru_maxrss as u64 * 1024 + uncertainty() }
}

/// Asked once: the C library reads the number of CPUs from a file.
fn uncertainty() -> u64 {
    static BYTES: OnceNonZeroUsize = OnceNonZeroUsize::new();
    let bytes = BYTES.get_or_init(|| {
        // SAFETY: no pointers.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        let (cpus, page) = (cpus.max(1) as usize, raw::page_size());
        NonZero::new(3 * cpus * (2 * cpus).max(32) * page).unwrap_or(NonZero::<usize>::MIN)
    });
    bytes.get() as u64
}

fn rusage(usage: &libc::rusage) -> Rusage {
    let time = |t: libc::timeval| Duration::from_secs(t.tv_sec.max(0) as u64) + Duration::from_micros(t.tv_usec.max(0) as u64);
    let count = |n: c_long| n.max(0) as u64;
    let mut told = Rusage::default();
    told.user_time = time(usage.ru_utime);
    told.system_time = time(usage.ru_stime);
    told.max_rss = MaxRss::AtMost(count(usage.ru_maxrss) * 1024);
    told.minor_faults = count(usage.ru_minflt);
    told.major_faults = count(usage.ru_majflt);
    told.blocks_in = count(usage.ru_inblock);
    told.blocks_out = count(usage.ru_oublock);
    told.voluntary_switches = count(usage.ru_nvcsw);
    told.involuntary_switches = count(usage.ru_nivcsw);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_what_wait_would_have_said() {
        assert_eq!(exit_status(libc::CLD_EXITED, 7).code(), Some(7));
        assert_eq!(exit_status(libc::CLD_EXITED, 300).code(), Some(44));
        assert_eq!(exit_status(libc::CLD_KILLED, 9).signal(), Some(9));
        let dumped = exit_status(libc::CLD_DUMPED, 11);
        assert_eq!((dumped.signal(), dumped.core_dumped()), (Some(11), true));
    }

    #[test]
    fn what_nobody_told_is_not_zero() {
        let exit = Exit::new(Pid::MAX, ExitStatus::from_raw(0));
        assert_eq!(with_usage(exit, &untold()).rusage, None);
        let told = libc::rusage { ru_maxrss: 7, ..untold() };
        assert_eq!(with_usage(exit, &told).rusage.unwrap().max_rss, MaxRss::AtMost(7 << 10));
        assert!((1 << 20..1 << 40).contains(&own_peak()));
    }

    #[test]
    fn init_is_nobody_elses_child() {
        let init = Target::Pid(Pid::new(1).unwrap());
        assert_eq!(waitid(init, Blocking::Now, Reaping::Leave), Err(Errno::CHILD));
    }
}
