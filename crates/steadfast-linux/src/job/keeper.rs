//! [`Keeper`]: a process that kills what its owner leaves, whatever ends the owner: an exit, a crash, `SIGKILL`, want of memory, exec.
//!
//! # Its own memory, and next to none of it
//! Who shared the owner's memory would be killed with it for want of memory, and would keep it after the owner's exec; a copy would cost page tables,
//! and hold old pages for as long as it lives. So it is a program of its own: some 200 bytes of instructions (`arch.rs`) in an image of one page
//! (`image.rs`), which is written to a memfd and executed. It has four descriptors, an empty environment, a session of its own, and blocks all signals.
//!
//! # Nobody's child
//! From its exec on, a child has the usual exit signal, and a loop in the program that waits for all its children would wait for this one for ever. So the
//! child that executes is a grandchild, whose parent ends at once. (Not so the first process of a PID namespace, which there is one for each job:
//! where process 1 of the machine does not wait for orphans, as in many containers, each would stay a zombie.)
//!
//! # How it knows
//! The owner's pidfd becomes readable when the owner has ended, its last thread too. And it has the read end of a pipe whose write end the owner
//! keeps, close-on-exec: nobody has it any more after the owner's exec. (A process that the owner has forked has a copy; while that lives, only
//! the end of the owner is noticed, not its exec.) Without pidfds the owner's number is looked for each second too.

use super::image::{Words, image};
use super::retired::{Retired, retire};
use crate::clock::SystemClock;
use crate::file::errno;
use crate::kill::kill as kill_process;
use crate::pidfd::{pidfd_open, pidfd_send_signal};
use crate::quiet;
use crate::raw::{self, KernelSigaction};
use crate::spawn::{WantPidfd, close_from};
use crate::stack::Stack;
use crate::wait::{is_readable, wait4_all};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;
use steadfast_core::{Clock, Errno, Pid, Signal};

/// What it does when the owner is gone.
pub(super) enum Duty<'a> {
    Kill {
        /// The `cgroup.kill` that is written.
        kill: BorrowedFd<'a>,
        /// The cgroup that is removed, if nothing is in it any more, by its name in another.
        remove: (BorrowedFd<'a>, &'a str),
    },
    /// It ends, and with it the PID namespace whose first process it is. These are what it is born into (clone(2)).
    End { namespaces: c_int },
}

/// A call that has failed.
pub(super) type Failed = (&'static str, Errno);

pub(super) struct Keeper {
    pidfd: Option<OwnedFd>,
    /// Closed, it is told that the owner is gone.
    alive: OwnedFd,
    /// As long as it is there.
    pid: Option<Pid>,
}

impl Keeper {
    /// Starts one. A pidfd is only asked for where that is wanted: elsewhere it may be fatal.
    ///
    /// # Errors
    /// The call.
    pub(super) fn new(duty: &Duty<'_>, want: WantPidfd) -> Result<Keeper, Failed> {
        let failed = |call| move |errno: Errno| (call, errno);
        let own = Pid::new(std::process::id() as i32).map_err(|_| ("getpid", Errno::RANGE))?;
        if is_elsewhere_for_children() {
            // Its parent would be the first process of a namespace of somebody else's, and end it.
            return Err(("clone, in a thread whose children are born into another PID namespace,", Errno::BUSY));
        }
        let open = |pid| if want == WantPidfd::Yes { pidfd_open(pid).map(Some) } else { Ok(None) };
        let owner = match open(own) {
            Err(errno) if errno.is_of_the_moment() => return Err(("pidfd_open", errno)),
            owner => owner.ok().flatten(),
        };
        let (kill, place, owner_pid, name, dir) = match duty {
            Duty::Kill { kill, remove: (place, dir) } => (Some(*kill), Some(*place), Some(own), *b"steadfast-keep\0\0", *dir),
            // The owner has no number in there.
            Duty::End { .. } => (None, None, None, *b"steadfast-init\0\0", ""),
        };
        let image = image(&Words { has_pidfd: owner.is_some(), owner: owner_pid, name, dir });
        let image = image.ok_or(("find a program for this architecture, which", Errno::NOSYS))?.map_err(failed("mkdir"))?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| ("pipe2", errno(error)));
        let ((told, alive), (heard, ready)) = (pipe()?, pipe()?);
        let given = [Some(told.as_fd()), owner.as_ref().map(OwnedFd::as_fd), kill, place, Some(ready.as_fd())];
        let mut copies = [const { None }; NEEDED];
        for (copy, given) in copies.iter_mut().zip(given) {
            *copy = given.map(above).transpose().map_err(failed("fcntl"))?;
        }
        let pid = execute(&copies, &image, duty)?;
        drop((told, ready, copies));
        if !says_so(&heard) {
            if let (Some(pid), Duty::End { .. }) = (pid, duty) {
                // Our child, that nobody has waited for.
                _ = kill_process(pid, Signal::KILL);
                _ = wait4_all(pid.as_raw());
            }
            return Err(("run a program of one page, which has ended at once,", Errno::SRCH));
        }
        let pidfd = pid.and_then(|pid| open(pid).ok().flatten());
        let mut keeper = Keeper { pidfd: None, alive, pid: None };
        // It may have been killed since, and its number be another's if it was nobody's child: so it must have been there when the pidfd was open.
        if keeper.has_pipe() {
            (keeper.pidfd, keeper.pid) = (pidfd, pid);
        }
        Ok(keeper)
    }

    /// Its number, if it was there when it was started. It is its own only as long as [`is_there`](Self::is_there) says so.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub(super) fn has_pidfd(&self) -> bool {
        self.pidfd.is_some()
    }

    /// Ends it, without its duty.
    pub(super) fn kill(&self) {
        let killed = self.pidfd.as_ref().map(|pidfd| pidfd_send_signal(pidfd.as_fd(), Signal::KILL));
        // Stopped, it would not listen; and after a change of user it may not be killed, and listens.
        if killed.is_none_or(|killed| killed.is_err()) {
            self.say(END);
        }
    }

    /// Lets it be: when the owner is gone or has forgotten it, it goes on until it is alone in its PID namespace.
    pub(super) fn release(&self) {
        self.say(LET_BE);
    }

    fn say(&self, word: u8) {
        // Nobody reads it any more: then it has ended. There is room for it.
        _ = crate::write_without_signal(self.alive.as_fd(), &[word]);
    }

    /// Sleeps until it has ended, or until the time is over.
    pub(super) fn wait(&self, time: Duration) {
        let Some(pidfd) = &self.pidfd else { return SystemClock.sleep_until(SystemClock.now() + time) };
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        raw::poll(&mut poll, time.as_millis().clamp(1, 1000) as c_int);
    }

    /// Whether it is still there.
    pub(super) fn is_there(&self) -> bool {
        self.has_pipe() && self.pidfd.as_ref().is_none_or(|pidfd| !is_readable(pidfd.as_fd()))
    }

    /// Whether somebody has the other end of the pipe: the keeper, or a process that was forked while it was started.
    fn has_pipe(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.alive.as_raw_fd(), events: 0, revents: 0 };
        loop {
            match raw::poll(&mut poll, 0) {
                0 => return true,
                1 => return false,
                // A signal handler came in between.
                _ => {}
            }
        }
    }
}

/// To end at once, and to be let be: `arch.rs` knows the second.
const END: u8 = 1;
const LET_BE: u8 = 2;

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            retire(Retired::Pidfd(pidfd));
        }
    }
}

/// Whether this thread has entered another PID namespace for its children (unshare(2), setns(2)).
fn is_elsewhere_for_children() -> bool {
    let inode = |name| rustix::fs::stat(name).map(|file| file.st_ino).ok();
    let (own, children) = (inode("/proc/thread-self/ns/pid"), inode("/proc/thread-self/ns/pid_for_children"));
    // That of the children is not there before the first of them.
    own.is_some() && own != children
}

/// Whether the program runs: it says a byte first of all. A child that has not come to it (a filter has killed it, or an emulator does not know the
/// call) says nothing, and is heard of by the end of the pipe; or by the time, if a process has the other end that was forked just then.
fn says_so(heard: &OwnedFd) -> bool {
    let deadline = SystemClock.now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(SystemClock.now());
        let mut poll = libc::pollfd { fd: heard.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        match raw::poll(&mut poll, left.as_millis() as c_int) {
            1 => return rustix::io::read(heard, &mut [0; 1]) == Ok(1),
            // A signal handler came in between.
            -1 => {}
            _ => return false,
        }
    }
}

/// An exec of one page takes some microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Numbers 0 to 4: the pipe, the owner, `cgroup.kill`, the place, and where it says that it runs.
const NEEDED: usize = 5;

/// A copy whose number is none of those.
fn above(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(fd, NEEDED as c_int).map_err(errno)
}

struct Order<'a> {
    /// In place of 0 to 4.
    given: [c_int; NEEDED],
    image: &'a [u8],
    /// For the grandchild.
    stack_top: *mut c_void,
    is_init: bool,
    pid: AtomicI32,
    /// In [`STEPS`].
    step: AtomicUsize,
    /// An errno.
    failed: AtomicI32,
}

/// What is done one after the other. Each may be what a filter does not allow, and makes fatal: it is the child that dies of it.
const STEPS: [&str; 7] = ["clone", "setsid", "chdir", "dup3", "memfd_create", "write", "execveat"];

/// Starts the program with these for its descriptors; its PID, where the kernel shares memory as it was asked to.
fn execute(given: &[Option<OwnedFd>; NEEDED], image: &[u8], duty: &Duty<'_>) -> Result<Option<Pid>, Failed> {
    let stack = Stack::own().map_err(|errno| ("mmap", errno))?;
    let order = Order {
        given: std::array::from_fn(|index| given[index].as_ref().map_or(-1, AsRawFd::as_raw_fd)),
        image,
        stack_top: stack.middle(),
        is_init: matches!(duty, Duty::End { .. }),
        pid: AtomicI32::new(0),
        step: AtomicUsize::new(0),
        failed: AtomicI32::new(0),
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    let arg = (&raw const order).cast_mut().cast();
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    let made = match duty {
        // SAFETY: the stack is the child's alone and large enough for both; what they do is allowed after a vfork; `order` lives until both have left our
        // memory, for we go on only then, and what they write in it is atomic.
        Duty::Kill { .. } => unsafe { quiet::child(flags, stack.top(), beget, arg) },
        // SAFETY: as above, for one.
        Duty::End { namespaces } => unsafe { quiet::child(flags | namespaces, stack.top(), become_keeper, arg) },
    };
    raw::set_signal_mask(mask);
    let child = made.map_err(|errno| (if order.is_init { "clone into a new PID namespace" } else { "clone" }, errno))?;
    let failed = order.failed.load(Ordering::Acquire);
    if !order.is_init || failed != 0 {
        // It has ended. Somebody else may have waited for it.
        _ = wait4_all(child);
    }
    match failed {
        0 if order.is_init => Ok(Pid::new(child).ok()),
        0 => Ok(Pid::new(order.pid.load(Ordering::Acquire)).ok()),
        errno => Err((STEPS.get(order.step.load(Ordering::Acquire)).copied().unwrap_or("clone"), Errno::from_raw(errno))),
    }
}

/// The child: makes the grandchild, and ends.
extern "C" fn beget(order: *mut c_void) -> c_int {
    // SAFETY: `execute` passes its own, and is suspended until we have ended.
    let shared = unsafe { &*order.cast::<Order<'_>>() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let none = ptr::null_mut();
    // SAFETY: the lower half of a stack that is large enough for both; we are suspended until it executes or ends.
    match unsafe { raw::clone(flags, shared.stack_top, become_keeper, order, none, none.cast()) } {
        Ok(pid) => shared.pid.store(pid, Ordering::Release),
        Err(errno) => shared.failed.store(errno.as_raw(), Ordering::Release),
    }
    raw::exit_now(0)
}

extern "C" fn become_keeper(order: *mut c_void) -> c_int {
    // SAFETY: as in `beget`, whose parent is suspended too.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    // Not a handler of the program's, in its memory.
    raw::reset_signal(libc::SIGSYS);
    if let Err(errno) = run(order) {
        order.failed.store(errno.as_raw(), Ordering::Release);
    }
    raw::exit_now(127)
}

/// Leaves the owner's terminal, its directory and its descriptors, and becomes the program.
fn run(order: &Order<'_>) -> Result<(), Errno> {
    let mut step = 0;
    let mut next = || {
        step += 1;
        order.step.store(step, Ordering::Release);
    };
    next();
    raw::call(libc::SYS_setsid, [0; 3])?;
    next();
    // SAFETY: a C string that lives for ever.
    unsafe { raw::syscall!(libc::SYS_chdir, c"/".as_ptr()) }?;
    next();
    for (number, from) in order.given.iter().enumerate() {
        match from {
            -1 => _ = raw::call(libc::SYS_close, [number as c_long, 0, 0]),
            // SAFETY: no pointer; the descriptor table is our own.
            from => _ = unsafe { raw::syscall!(libc::SYS_dup3, *from, number, 0) }?,
        }
    }
    close_from(NEEDED as u32);
    if order.is_init {
        // Orphans of the namespace become its children, and are gone when they have ended. (What is ignored stays so at an exec.)
        raw::sigaction(libc::SIGCHLD, Some(&KernelSigaction::ignore()))?;
    }
    next();
    // With the second flag since Linux 6.3, and there it may be demanded (`vm.memfd_noexec`).
    let make = |flags: c_uint| {
        // SAFETY: a C string that lives for ever.
        unsafe { raw::syscall!(libc::SYS_memfd_create, c"steadfast-keeper".as_ptr(), flags) }
    };
    let file = make(libc::MFD_CLOEXEC | libc::MFD_EXEC).or_else(|_| make(libc::MFD_CLOEXEC))?;
    next();
    // SAFETY: as many bytes as is said, which the owner keeps.
    let written = unsafe { raw::syscall!(libc::SYS_write, file, order.image.as_ptr(), order.image.len()) }?;
    if written != order.image.len() as c_long {
        return Err(Errno::FBIG);
    }
    next();
    let argv = [if order.is_init { INIT } else { KEEPER }.as_ptr(), ptr::null()];
    let envp = [ptr::null::<libc::c_char>()];
    // SAFETY: C strings and lists with a null at their end, which live until the kernel has copied them.
    unsafe { raw::syscall!(libc::SYS_execveat, file, c"".as_ptr(), argv.as_ptr(), envp.as_ptr(), libc::AT_EMPTY_PATH) }.map(drop)
}

/// As ps(1) shows them.
const KEEPER: &CStr = c"steadfast-keeper: kills the jobs of a program that is gone";
const INIT: &CStr = c"steadfast-init: holds a job together, and ends it when the program that started it is gone";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    /// A keeper whose duty it is to write into a pipe, and to remove a directory.
    fn keeper(dir: &tempfile::TempDir) -> (Keeper, File) {
        std::fs::create_dir(dir.path().join("left")).unwrap();
        let place = File::open(dir.path()).unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let keeper = Keeper::new(&Duty::Kill { kill: write.as_fd(), remove: (place.as_fd(), "left") }, WantPidfd::Yes).unwrap();
        (keeper, File::from(read))
    }

    #[test]
    fn it_does_its_duty_when_nobody_has_the_pipe_any_more_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, mut read) = keeper(&dir);
        assert!(keeper.is_there() && dir.path().join("left").exists());
        let pidfd = keeper.pidfd.as_ref().map(|pidfd| pidfd.try_clone().unwrap());
        drop(keeper);
        let mut written = Vec::new();
        // Until its end: it has the only other end of it.
        read.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"1");
        if let Some(pidfd) = pidfd {
            while !is_readable(pidfd.as_fd()) {
                std::thread::yield_now();
            }
        }
        assert!(!dir.path().join("left").exists());
    }
}
