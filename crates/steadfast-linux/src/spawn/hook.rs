//! The caller's own code in the child, as `pre_exec` of std has it.

use crate::fork::PerProcess;
use std::cell::UnsafeCell;
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::io;
use std::mem;
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steadfast_core::{Attributes, Hook};

pub(super) type Code = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// Made by [`CommandExt::pre_exec`] and [`StdCommandExt::pre_exec`] alone, whose caller has promised what is needed to run it.
struct PreExec {
    code: UnsafeCell<Code>,
    /// Who has it may run the code. In each process its own, for one that forks while another thread has it has it for ever.
    turn: PerProcess<Mutex<()>>,
}

// SAFETY: the code is `Send` and `Sync`, and only run by whoever has the turn.
unsafe impl Sync for PreExec {}

/// Adds [`pre_exec`](CommandExt::pre_exec) to a command, as std's trait of this name does.
pub trait CommandExt {
    /// Adds a hook to the command's attributes: what an implementor does, and nobody else calls.
    fn add_hook(&mut self, hook: Hook) -> &mut Self;

    /// Runs `code` in the child just before the program, after everything else but the resource limits. Several run in turn. If
    /// it returns an error, the spawn fails with its errno (`EINVAL` if it has none) at the stage `pre_exec`. If it panics, the child
    /// says so on stderr and ends by `SIGABRT`, without running the program's panic hook; the spawn itself succeeds, and `wait` tells.
    ///
    /// The child of such a command is made by the C library's fork(3): it has a copy of this process's memory, page tables and all, so
    /// that what `code` changes is not seen here, and the stack of the calling thread. The spawn takes the time of a fork, which grows
    /// with the memory in use. Where a setting does the same, prefer it. The handlers of pthread_atfork(3) run.
    ///
    /// With [`namespaces`](Attributes::namespaces) the child is made by clone(2), because fork(3) makes none: there no handlers of
    /// pthread_atfork(3) run, the allocator is not put in order, so `code` must not allocate, and the stack is 1 MiB.
    ///
    /// # Safety
    /// The child has one thread, the copy of the caller's; a lock that another thread held at that moment stays locked for ever.
    /// So `code` calls only what is async-signal-safe (signal-safety(7)), setuid(2) and setgid(2) included; glibc and musl put their
    /// allocator in order, so that it may allocate there too, though POSIX does not say so. It leaves descriptors alone that it does
    /// not own.
    unsafe fn pre_exec<F>(&mut self, code: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        self.add_hook(PreExec::hook(Box::new(code)))
    }
}

/// `std::os::unix::process::CommandExt`, with its signatures.
pub trait StdCommandExt {
    /// Sets its user (setuid(2)); supplementary groups are dropped with it, unless [`groups`](Self::groups) says otherwise.
    fn uid(&mut self, id: u32) -> &mut Self;

    /// Sets its group (setgid(2)).
    fn gid(&mut self, id: u32) -> &mut Self;

    /// Sets its supplementary groups (setgroups(2)).
    fn groups(&mut self, groups: &[u32]) -> &mut Self;

    /// Runs `code` in the child just before the program; as [`CommandExt::pre_exec`].
    ///
    /// # Safety
    /// As [`CommandExt::pre_exec`].
    unsafe fn pre_exec<F>(&mut self, code: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        self.add_hook(PreExec::hook(Box::new(code)))
    }

    /// Replaces this process by the program; returns only if that fails.
    fn exec(&mut self) -> io::Error;

    /// Sets the name that the program sees as its own, `argv[0]`.
    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self;

    /// Puts it into a process group, 0: one of its own (setpgid(2)).
    fn process_group(&mut self, pgroup: i32) -> &mut Self;

    /// Whether it leads a session of its own (setsid(2)).
    fn setsid(&mut self, setsid: bool) -> &mut Self;

    /// Sets its root directory (chroot(2)), and its working directory to that root if none is set yet.
    fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Self;

    /// As [`CommandExt::add_hook`].
    fn add_hook(&mut self, hook: Hook) -> &mut Self;
}

impl PreExec {
    /// Whoever calls this has been promised what [`CommandExt::pre_exec`] asks for.
    fn hook(code: Code) -> Hook {
        Hook::new(Arc::new(PreExec { code: UnsafeCell::new(code), turn: PerProcess::new(Mutex::default) }))
    }
}

/// The code of a hook, for as long as it is this thread's turn.
pub(super) struct Held<'a> {
    code: &'a UnsafeCell<Code>,
    _turn: MutexGuard<'a, ()>,
}

impl Held<'_> {
    pub(super) fn run(&self) -> io::Result<()> {
        // SAFETY: whoever has the turn has the code for itself, in the process of this copy; the one call is `child::prepare`'s.
        let code = unsafe { &mut *self.code.get() };
        code()
    }
}

/// The code of all hooks, held so that no other thread is inside when the memory is copied; `None`: one of them is not ours.
pub(super) fn hold(attributes: &Attributes) -> Option<Vec<Held<'_>>> {
    let mut seen = Vec::new();
    let mut held = Vec::new();
    for hook in &attributes.hooks {
        let hook: &PreExec = hook.downcast_ref()?;
        // The same hook twice, by cloning attributes by hand, would lock itself out.
        if !seen.contains(&ptr::from_ref(hook)) {
            seen.push(ptr::from_ref(hook));
            held.push(Held { code: &hook.code, _turn: hook.turn.lock().unwrap_or_else(PoisonError::into_inner) });
        }
    }
    Some(held)
}

/// For an order, which knows of no lifetimes: null if there are none. Not to be used when what is held is no more.
pub(super) fn erased(held: &Vec<Held<'_>>) -> *const Vec<Held<'static>> {
    if held.is_empty() { ptr::null() } else { ptr::from_ref(held).cast() }
}

/// In the child: from here on a panic is told by one write, and is the end. The program's own panic hook may wait for a thread that is
/// not here.
pub(super) fn abort_on_panic() {
    let timer = KillUnlessDone::start();
    // Not dropped: it may hold what is to be dropped by the parent.
    mem::forget(panic::take_hook());
    panic::set_hook(Box::new(abort));
    timer.stop();
}

fn abort(panic: &PanicHookInfo<'_>) {
    let mut line = Line { bytes: [0; 512], length: 0 };
    // What does not fit is left out.
    _ = writeln!(line, "steadfast: pre_exec {panic}");
    // SAFETY: as many bytes as there are.
    unsafe { libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length) };
    // SAFETY: no argument; it does not return.
    unsafe { libc::abort() }
}

struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Setting a panic hook takes a lock of std's, and a thread that was panicking at the fork has it for ever. Then the child is killed, and
/// not its parent held up: a timer of the kernel's does that, which no exec inherits.
struct KillUnlessDone(Option<libc::timer_t>);

impl KillUnlessDone {
    fn start() -> KillUnlessDone {
        // Long, for a machine that is busy: whoever is not stuck needs microseconds.
        const SECONDS: libc::time_t = 30;
        // SAFETY: sigevent is integers and a pointer, for which all zero is a value.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: an event, and room for a timer.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } != 0 {
            return KillUnlessDone(None);
        }
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let when = libc::itimerspec { it_interval: zero, it_value: libc::timespec { tv_sec: SECONDS, tv_nsec: 0 } };
        // SAFETY: the timer just made, and a time; the one before is not asked for.
        unsafe { libc::timer_settime(timer, 0, &raw const when, ptr::null_mut()) };
        KillUnlessDone(Some(timer))
    }

    fn stop(self) {
        if let Some(timer) = self.0 {
            // SAFETY: made by `start`, and deleted once.
            unsafe { libc::timer_delete(timer) };
        }
    }
}
