//! A handler of the program's never runs in a child, which would be in our memory: not while signals rain on the whole process
//! group, through no door. (In a program of its own: the signals reach everything in its group.)

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;
use steadfast_core::{Clock, Plan};
use steadfast_linux::{Blocking, Door, Probe, Reaping, SystemClock, Target, WantPidfd, spawn, waitid};

static OWN: AtomicI32 = AtomicI32::new(0);
static HERE: AtomicU32 = AtomicU32::new(0);
static ELSEWHERE: AtomicU32 = AtomicU32::new(0);

extern "C" fn handler(_: libc::c_int) {
    // SAFETY: no pointer; not the C library's own, which might remember the parent's.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) } as i32;
    let counter = if pid == OWN.load(Ordering::Relaxed) { &HERE } else { &ELSEWHERE };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Ends the rain, whatever becomes of the test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_handler_runs_in_a_child() {
    OWN.store(std::process::id() as i32, Ordering::Relaxed);
    let doors = Probe::once().expect("this machine can be probed").doors();
    // SAFETY: no pointer: a group of our own, for the signals to stay in.
    unsafe { libc::setpgid(0, 0) };
    // SAFETY: sigaction is integers and a pointer, for which all zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler that only counts, by a system call and atomics.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: no pointer.
                unsafe { libc::kill(0, libc::SIGUSR1) };
                // Without a pause clone(2), which begins anew when a signal comes, would never end.
                SystemClock.sleep_until(SystemClock.now() + Duration::from_micros(20));
            }
        });
        let _over = Over(&over);
        let plan = Plan::builder("/bin/true").build().expect("in order");
        // A copy of our memory may run what it likes: it hurts nobody.
        for door in doors.iter().filter(|door| **door != Door::Fork) {
            for _ in 0..2000 {
                let child = spawn(&plan, WantPidfd::Yes, *door).expect("a signal does not fail a spawn");
                let pidfd = child.pidfd.expect("it was wanted");
                // Killed by the signal, most of them: as the program would be.
                while waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap).is_err() {}
            }
        }
    });
    assert!(HERE.load(Ordering::Relaxed) > 0);
    assert_eq!(ELSEWHERE.load(Ordering::Relaxed), 0);
}
