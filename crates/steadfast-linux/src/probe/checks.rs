//! The questions, each asked by a real call, in the child that may die of it.

use super::Answer;
use super::sacrifice::{Question, Surroundings};
use crate::arch::{self, CloneArgs};
use crate::pidfd::{PIDFD_INFO_EXIT, pidfd_info};
use crate::raw::{self, call};
use crate::wait::reap_whoever_wins;
use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use steadfast_core::Errno;

type Ask = fn(&Surroundings<'_>) -> Result<(), Errno>;

const fn required(name: &'static str, since: &'static str, ask: Ask) -> Question {
    Question { name, since, is_required: true, ask }
}
const fn question(name: &'static str, since: &'static str, ask: Ask) -> Question {
    Question { name, since, is_required: false, ask }
}

/// Places in [`NEEDED`].
const PIDFD_OPEN: usize = 0;
const WAITID: usize = 1;

/// Whether a child may be in its parent's memory that is not suspended, and clears a word when it ends.
pub(super) const IN_OUR_MEMORY: &str = "CLONE_CHILD_CLEARTID";

/// What decides the backend, and how we spawn and wait.
pub(super) const NEEDED: &[Question] = &[
    required("pidfd_open", "5.3", |_| pidfd_open(0).map(close)),
    required("waitid", "5.4", waitid_pidfd),
    required("pidfd_send_signal", "5.1", |s| with_pidfd(s, |fd| send_signal(fd, 0))),
    required("clone_pidfd", "5.2", clone_pidfd),
    question("vfork", "2.2", |s| {
        s.leave_mark();
        Ok(())
    }),
    question("waitid_pid", "2.6.9", |_| expect(Errno::CHILD, waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG))),
    question("proc_signal", "5.1", |_| with_own_directory(|fd| send_signal(fd, 0))),
    question(IN_OUR_MEMORY, "2.6", cleared_word),
    // The door must do both.
    question("clone3", "5.5", |s| clone3(s, raw::CLONE_CLEAR_SIGHAND, 0)),
];

/// What is good to have.
pub(super) const OPTIONAL: &[Question] = &[
    // Who asks has no child.
    question("WCONTINUED", "2.6.10", |_| {
        expect(Errno::CHILD, waitid(libc::P_ALL, 0, libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT))
    }),
    question("clone3", "5.3", |s| clone3(s, 0, 0)),
    question("CLONE_CLEAR_SIGHAND", "5.5", |s| clone3(s, raw::CLONE_CLEAR_SIGHAND, 0)),
    question("SECCOMP_FILTER_FLAG_NEW_LISTENER", "5.0", |_| knows_filters(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as c_long)),
    question("pidfd_getfd", "5.6", |_| with_own_pidfd(|fd| call(libc::SYS_pidfd_getfd, [fd, fd, 0]).map(close))),
    // A pidfd is no cgroup: a kernel that looks says EBADF.
    question("CLONE_INTO_CGROUP", "5.7", |s| {
        with_own_pidfd(|fd| expect(Errno::BADF, clone3(s, raw::CLONE_INTO_CGROUP, fd as u64)))
    }),
    question("close_range", "5.9", |_| call(libc::SYS_close_range, [u32::MAX as c_long, u32::MAX as c_long, 0]).map(drop)),
    question("PIDFD_NONBLOCK", "5.10", |_| pidfd_open(libc::O_NONBLOCK).map(close)),
    question(LANDLOCK, "5.13", |_| landlock_version().map(drop)),
    // We are not dying, so a kernel that has it says EINVAL.
    question("process_mrelease", "5.15", |_| {
        with_own_pidfd(|fd| expect(Errno::INVAL, call(libc::SYS_process_mrelease, [fd, 0, 0]).map(drop)))
    }),
    question("SO_PEERPIDFD", "6.5", |_| peer_pidfd()),
    question("PIDFD_THREAD", "6.9", |_| pidfd_open(libc::O_EXCL).map(close)),
    question("PIDFD_SIGNAL_THREAD_GROUP", "6.9", |_| with_own_pidfd(|fd| send_signal(fd, 2))),
    question("pidfs", "6.9", |_| with_own_pidfd(is_on_pidfs)),
    question("PIDFD_GET_INFO", "6.13", |_| with_own_pidfd(|fd| pidfd_info(fd as c_int, 0).map(drop))),
    question("pidfd file handle", "6.14", |_| with_own_pidfd(file_handle)),
    question("PIDFD_INFO_EXIT", "6.15", exit_info),
    question("PIDFD_SELF_THREAD_GROUP", "6.17", |_| send_signal(-10_001, 0)),
    question("CLONE_AUTOREAP", "7.1", |s| clone3(s, raw::CLONE_AUTOREAP, 0)),
];

/// Whose version is told beside.
pub(super) const LANDLOCK: &str = "landlock";

/// The version of its interface, counted from 1 (landlock_create_ruleset(2)).
pub(super) fn landlock_version() -> Result<c_long, Errno> {
    const VERSION: c_long = 1;
    call(libc::SYS_landlock_create_ruleset, [0, 0, VERSION])
}

/// Without a program, a kernel that knows the flags gets as far as looking for it (seccomp(2)).
fn knows_filters(flags: c_long) -> Result<(), Errno> {
    expect(Errno::FAULT, call(libc::SYS_seccomp, [libc::SECCOMP_SET_MODE_FILTER as c_long, flags, 0]).map(drop))
}

fn expect(errno: Errno, answer: Result<(), Errno>) -> Result<(), Errno> {
    match answer {
        Err(e) if e == errno => Ok(()),
        Err(other) => Err(other),
        Ok(()) => Err(Errno::INVAL),
    }
}

fn close(fd: c_long) {
    // SAFETY: no pointer; the descriptor table is this child's own.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

fn pidfd_open(flags: c_int) -> Result<c_long, Errno> {
    // Not `getpid`: where the C library caches it, it is our parent's.
    let pid = call(libc::SYS_getpid, [0; 3])?;
    call(libc::SYS_pidfd_open, [pid, flags.into(), 0])
}

fn with_own_pidfd(f: impl FnOnce(c_long) -> Result<(), Errno>) -> Result<(), Errno> {
    let fd = pidfd_open(0)?;
    let answer = f(fd);
    close(fd);
    answer
}

/// Asks with a pidfd if there is one. If `pidfd_open` is what is missing, a directory will do: a kernel or filter that lets
/// the call through says that this is no pidfd.
fn with_pidfd(s: &Surroundings<'_>, f: impl FnOnce(c_long) -> Result<(), Errno>) -> Result<(), Errno> {
    if s.worked(PIDFD_OPEN) {
        return with_own_pidfd(f);
    }
    // SAFETY: a C string that lives for ever; no other pointer.
    let dir = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let fd = raw::check(dir)?;
    let answer = expect(Errno::BADF, f(fd));
    close(fd);
    answer
}

fn waitid(kind: libc::idtype_t, id: c_long, options: c_int) -> Result<(), Errno> {
    // Not null: valgrind writes to it.
    // SAFETY: siginfo_t is integers and pointers, for which all zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let no_usage = ptr::null_mut::<libc::rusage>();
    // SAFETY: `info` is room for what the kernel writes; a null rusage is not written.
    raw::check(unsafe { libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, options, no_usage) }).map(drop)
}

/// We are not our own child, so a kernel that knows P_PIDFD says ECHILD.
fn waitid_pidfd(s: &Surroundings<'_>) -> Result<(), Errno> {
    with_pidfd(s, |fd| match waitid(libc::P_PIDFD, fd, libc::WEXITED | libc::WNOHANG) {
        Err(Errno::CHILD) => Ok(()),
        Err(other) => Err(other),
        Ok(()) => Err(Errno::INVAL),
    })
}

/// Our own directory in `/proc`.
fn with_own_directory(ask: impl FnOnce(c_long) -> Result<(), Errno>) -> Result<(), Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a C string that lives for ever.
    let fd = raw::check(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self".as_ptr(), flags) })?;
    let answer = ask(fd);
    close(fd);
    answer
}

fn send_signal(fd: c_long, flags: c_int) -> Result<(), Errno> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is the kernel's to fill in; signal 0 reaches nobody.
    match raw::check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, 0, no_info, flags) })? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}

/// A child of the child, born with its pidfd: passes PID and pidfd on, to be reaped, and closes the pidfd.
fn born_with_pidfd(s: &Surroundings<'_>, reap: impl FnOnce(i32, c_long) -> Result<(), Errno>) -> Result<(), Errno> {
    extern "C" fn leave(_: *mut c_void) -> c_int {
        raw::exit_now(0)
    }
    let mut pidfd: c_int = -1;
    let mut clone = |exit_signal| {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | exit_signal;
        // SAFETY: the lower half of our own stack, which nobody uses; `leave` ends at once; `pidfd` outlives the call.
        unsafe { raw::clone(flags, s.stack_top, leave, ptr::null_mut(), &raw mut pidfd, ptr::null_mut()) }
    };
    let pid = match clone(0) {
        Err(Errno::INVAL) => clone(libc::SIGCHLD),
        answer => answer,
    }?;
    if pidfd == -1 {
        // Accepted and ignored (gVisor of 2022): as good as refused.
        reap_whoever_wins(pid);
        return Err(Errno::INVAL);
    }
    let answer = reap(pid, pidfd.into());
    close(pidfd.into());
    answer
}

fn clone_pidfd(s: &Surroundings<'_>) -> Result<(), Errno> {
    born_with_pidfd(s, |pid, pidfd| {
        // If waiting through it is what is missing, `waitid` says so on its own account.
        if !s.worked(WAITID) || waitid(libc::P_PIDFD, pidfd, libc::WEXITED | libc::__WALL).is_err() {
            reap_whoever_wins(pid);
        }
        Ok(())
    })
}

/// A child of the child through `clone3`; waits for it.
fn clone3(s: &Surroundings<'_>, flags: u64, cgroup: u64) -> Result<(), Errno> {
    unsafe extern "C" fn leave(_: *mut c_void) -> ! {
        raw::exit_now(0)
    }
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK) as u64 | flags,
        stack: s.stack_bottom.expose_provenance() as u64,
        stack_size: (s.stack_top.addr() - s.stack_bottom.addr()) as u64,
        cgroup,
        ..CloneArgs::default()
    };
    // SAFETY: the lower half of our own stack, which nobody uses; CLONE_VM comes with CLONE_VFORK; `leave` ends at once.
    match unsafe { arch::clone3(&args, leave, ptr::null_mut()) } {
        error if error < 0 => Err(Errno::from_raw(-error as i32)),
        pid => {
            reap_whoever_wins(pid as i32);
            Ok(())
        }
    }
}

/// A child of the child, which goes on beside it; waits for its end. Whether the word is cleared at an exec too, the first spawn finds out.
fn cleared_word(s: &Surroundings<'_>) -> Result<(), Errno> {
    extern "C" fn leave(_: *mut c_void) -> c_int {
        raw::exit_now(0)
    }
    let word = AtomicU32::new(1);
    let clone = |exit_signal| {
        let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | exit_signal;
        // SAFETY: the lower half of our own stack, which nobody uses; `leave` ends at once, which is waited for, so the word outlives it.
        unsafe { raw::clone(flags, s.stack_top, leave, ptr::null_mut(), ptr::null_mut(), word.as_ptr()) }
    };
    let pid = match clone(0) {
        Err(Errno::INVAL) => clone(libc::SIGCHLD),
        answer => answer,
    }?;
    reap_whoever_wins(pid);
    if word.load(Ordering::Acquire) == 0 { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

fn peer_pidfd() -> Result<(), Errno> {
    const SO_PEERPIDFD: c_int = 77;
    let mut pair: [c_int; 2] = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    raw::check(unsafe { libc::syscall(libc::SYS_socketpair, libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    let mut pidfd: c_int = -1;
    let mut size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: room for one int, as `size` says.
    let answer = raw::check(unsafe {
        libc::syscall(libc::SYS_getsockopt, pair[0], libc::SOL_SOCKET, SO_PEERPIDFD, &raw mut pidfd, &raw mut size)
    });
    for fd in [pair[0], pair[1], pidfd] {
        if fd >= 0 {
            close(fd.into());
        }
    }
    answer.map(drop)
}

fn is_on_pidfs(fd: c_long) -> Result<(), Errno> {
    const PID_FS_MAGIC: u64 = 0x5049_4446;
    // SAFETY: statfs is integers, for which all zero is a value.
    let mut fs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: room for what the kernel writes.
    raw::check(unsafe { libc::syscall(libc::SYS_fstatfs, fd, &raw mut fs) })?;
    if fs.f_type as u64 == PID_FS_MAGIC { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

/// Asks how a child ended that has been reaped already.
fn exit_info(s: &Surroundings<'_>) -> Result<(), Errno> {
    born_with_pidfd(s, |pid, fd| {
        reap_whoever_wins(pid);
        match pidfd_info(fd as c_int, PIDFD_INFO_EXIT)?[0] & PIDFD_INFO_EXIT {
            0 => Err(Errno::OPNOTSUPP),
            _ => Ok(()),
        }
    })
}

fn file_handle(fd: c_long) -> Result<(), Errno> {
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount: c_int = 0;
    // SAFETY: an empty path; a header of two words with 128 bytes behind it, as its first word says; room for an int.
    raw::check(unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, fd, c"".as_ptr(), handle.as_mut_ptr(), &raw mut mount, libc::AT_EMPTY_PATH)
    })
    .map(drop)
}

/// `cgroup.kill` is a file, and can be looked for without danger: in our own cgroup or, if that is the root, which has none,
/// in one below.
pub(super) fn cgroup_kill() -> Answer {
    let missing = Answer::Failed(Errno::NOENT);
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return missing };
    // The type stands behind the " - " (proc_pid_mountinfo(5)); the mount point is the fifth field.
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let Some(mount) = mount else { return missing };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = std::path::Path::new(mount).join(own);
    let below = std::fs::read_dir(&own).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = std::iter::once(own).chain(below).any(|dir| dir.join("cgroup.kill").exists());
    if found { Answer::Works } else { missing }
}
