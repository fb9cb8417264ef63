//! Children whose end sends another signal than `SIGCHLD`, or none: what other code of a program may have made with `clone(2)`.

use std::os::fd::AsFd;
use steadfast_core::{Errno, Pid};
use steadfast_linux::{Blocking, Reaping, Target, pidfd_open, wait4_now, waitid};

/// A child that exits with 7, as `fork(2)` makes it but for its exit signal.
fn child(exit_signal: i32) -> Pid {
    // SAFETY: no flag but the signal: the child has a copy of everything, and makes one call.
    let pid = unsafe { libc::syscall(libc::SYS_clone, exit_signal, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: it does not return.
        unsafe { libc::_exit(7) };
    }
    Pid::new(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn they_are_waited_for_whatever_their_exit_signal() {
    // Of those that are ignored by default.
    for exit_signal in [0, libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG] {
        let pid = child(exit_signal);
        let target = Target::Pid(pid);
        let seen = waitid(target, Blocking::Block, Reaping::Leave).unwrap().unwrap();
        assert_eq!((seen.pid, seen.status.code()), (pid, Some(7)), "exit signal {exit_signal}");
        assert_eq!(waitid(target, Blocking::Now, Reaping::Reap).unwrap().unwrap().status.code(), Some(7));
        assert_eq!(waitid(target, Blocking::Now, Reaping::Leave), Err(Errno::CHILD));
        let pid = child(exit_signal);
        let reaped = loop {
            if let Some(exit) = wait4_now(pid).unwrap() {
                break exit;
            }
            std::thread::yield_now();
        };
        assert_eq!(reaped.status.code(), Some(7));
        let pid = child(exit_signal);
        // Where there are pidfds.
        match pidfd_open(pid) {
            Ok(pidfd) => {
                let target = Target::Pidfd(pidfd.as_fd());
                assert_eq!(waitid(target, Blocking::Block, Reaping::Reap).unwrap().unwrap().status.code(), Some(7));
            }
            Err(errno) => {
                assert_eq!(errno, Errno::NOSYS);
                waitid(Target::Pid(pid), Blocking::Block, Reaping::Reap).unwrap();
            }
        }
    }
}
