//! [`run_under_init`]: the rest of the program becomes the child of a process that has no other business than to be its init.
//!
//! In one process, nobody can tell an orphan from a child that other code of the program has made by itself and will wait for: to the kernel both are
//! children, and nothing that it shows says how they became so. So the two parents are two processes. The one that reaps everybody has no code of
//! the program's, and the other one never has a child that it did not make.

use crate::kill::kill;
use crate::raw;
use crate::spawn::close_from;
use crate::stat::ProcStat;
use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use steadfast_core::{Errno, Error, Pid, Signal};

/// What the kernel sends to all of the terminal's foreground group by itself (termios(3), tty_ioctl(4)).
const OF_THE_TERMINAL: [c_int; 6] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGWINCH];

/// The process splits in two (fork(2)), and this returns in the child, which runs the program. The parent, which never returns, reaps all orphans of the child
/// and of its descendants, hands on the signals that it gets, stops and goes on with the child, and ends when the child does, in the same way.
///
/// # Errors
/// [`Error::System`]: `EBUSY` if the program has more than one thread, which the child would not have; what fork(2) and prctl(2) say.
pub fn run_under_init() -> Result<(), Error> {
    let failed = |call| move |source| Error::System { call, subject: "this process, to run under an init".into(), source };
    let own = Pid::new(std::process::id() as i32)?;
    if !is_alone().map_err(failed("count the threads"))? {
        let subject = "a program that has several threads, of which the child would have one (do it first in main)".into();
        return Err(Error::System { call: "fork", subject, source: Errno::BUSY });
    }
    // Orphans come to the next one above them that takes them. It is not inherited (prctl(2)).
    raw::call(libc::SYS_prctl, [libc::PR_SET_CHILD_SUBREAPER.into(), 1, 0]).map_err(failed("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    // Before the fork: none is lost that comes between.
    let mask = raw::set_signal_mask(!0);
    // SAFETY: there is one thread, so nobody holds a lock, and the child can go on with all that there is.
    match unsafe { libc::fork() } {
        -1 => {
            let errno = raw::errno();
            raw::set_signal_mask(mask);
            _ = raw::call(libc::SYS_prctl, [libc::PR_SET_CHILD_SUBREAPER.into(), 0, 0]);
            Err(failed("fork")(errno))
        }
        0 => {
            _ = raw::call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), libc::SIGKILL.into(), 0]);
            if raw::call(libc::SYS_getppid, [0; 3]) != Ok(own.as_raw().into()) {
                // It is gone already.
                raw::exit_now(128 + libc::SIGKILL);
            }
            raw::set_signal_mask(mask);
            Ok(())
        }
        child => {
            // A pipe of the program's is at its end when the program has closed it.
            close_from(0);
            reap_for(child)
        }
    }
}

/// Whether this is the only thread.
fn is_alone() -> Result<bool, Errno> {
    // It leaves what only several threads share, and is refused if there are several (unshare(2)). For an init, `/proc` may not be there yet.
    match raw::call(libc::SYS_unshare, [libc::CLONE_THREAD.into(), 0, 0]) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        // A filter. (By its number this process would not be found in the `/proc` of another PID namespace.)
        Err(_) => ProcStat::of_this_process().map(|stat| stat.threads() == 1),
    }
}

/// The parent, from here on.
fn reap_for(child: libc::pid_t) -> ! {
    // If they are ignored, there is nothing to be waited for.
    raw::reset_signal(libc::SIGCHLD);
    loop {
        // In this order: whoever ends after the look is announced.
        while let Some((pid, change)) = next_change() {
            match change {
                Change::Ended(status) if pid == child => end_as(status),
                Change::Stopped if pid == child => stop_too(),
                Change::Ended(_) | Change::Stopped => {}
            }
        }
        let (signal, code) = next_signal();
        let has_come_to_it_too = code == libc::SI_KERNEL && OF_THE_TERMINAL.contains(&signal);
        if signal != libc::SIGCHLD && !has_come_to_it_too {
            // It is there, if only as a zombie: nobody else waits for it.
            if let (Ok(child), Ok(signal)) = (Pid::new(child), Signal::new(signal)) {
                _ = kill(child, signal);
            }
        }
    }
}

enum Change {
    /// By a wait status.
    Ended(c_int),
    Stopped,
}

/// Of any child; who has ended is reaped.
fn next_change() -> Option<(libc::pid_t, Change)> {
    let mut status = 0;
    loop {
        // SAFETY: a status that is written before it is read.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) } {
            0 => return None,
            -1 if raw::errno() == Errno::INTR => {}
            -1 => return None,
            pid if libc::WIFSTOPPED(status) => return Some((pid, Change::Stopped)),
            pid => return Some((pid, Change::Ended(status))),
        }
    }
}

/// Sleeps until there is one; and by whom it was sent (sigaction(2), `si_code`).
fn next_signal() -> (c_int, c_int) {
    let mut all = MaybeUninit::uninit();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: it fills in the whole set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: a set that was filled in, and room for what is told.
        let signal = unsafe { libc::sigwaitinfo(all.as_ptr(), info.as_mut_ptr()) };
        if signal > 0 {
            // SAFETY: all zero is one, and the kernel has written over it.
            return (signal, unsafe { info.assume_init_ref() }.si_code);
        }
    }
}

/// The child was stopped, and whoever has started us waits for us to stop too. What lets us go on is handed on.
fn stop_too() {
    // Process 1 cannot be stopped, and need not be: the kernel discards it (pid_namespaces(7)).
    _ = raw::call(libc::SYS_kill, [std::process::id() as c_long, libc::SIGSTOP.into(), 0]);
}

fn end_as(status: c_int) -> ! {
    if libc::WIFEXITED(status) {
        raw::exit_now(libc::WEXITSTATUS(status));
    }
    let signal = libc::WTERMSIG(status);
    // The child has left a core; and memory of ours would tell nothing.
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit that is only read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    raw::reset_signal(signal);
    raw::set_signal_mask(0);
    _ = raw::call(libc::SYS_kill, [std::process::id() as c_long, signal.into(), 0]);
    // Process 1 does not end by a signal of its own: as a shell says it.
    raw::exit_now(128 + signal)
}
