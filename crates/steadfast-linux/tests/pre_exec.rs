//! The caller's own code in the child: it runs there and nowhere else, its error is the spawn's, and the child has its pidfd.
//! (Here and not with the other promises, because it takes `unsafe`.)

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use steadfast_core::{Attributes, Capability, Errno, Error, Hook, Plan, PlanBuilder, PlanStdio, Signal, Stage};
use steadfast_linux::{Blocking, Child, CommandExt, Door, Probe, Reaping, Target, WantPidfd, pidfd_send_signal, spawn, waitid};

/// As much of a command as the trait needs.
#[derive(Default)]
struct Hooks(Attributes);

impl CommandExt for Hooks {
    fn add_hook(&mut self, hook: Hook) -> &mut Hooks {
        self.0.hooks.push(hook);
        self
    }
}

fn sh(script: &str, hooks: &Hooks) -> PlanBuilder {
    Plan::builder("/bin/sh").args(["-c", script]).attributes(hooks.0.clone())
}

/// What it says, and its exit code.
fn run(plan: PlanBuilder, door: Door) -> Result<(String, i32), Error> {
    let plan = plan.stdout(PlanStdio::Piped).build()?;
    let Child { pid, pidfd, pipes: [_, stdout, _], .. } = spawn(&plan, WantPidfd::Yes, door)?;
    let text = io::read_to_string(std::fs::File::from(stdout.expect("piped"))).expect("text");
    let pidfd = pidfd.expect("it was wanted");
    // It is that process's: signal 0 by any other name.
    pidfd_send_signal(pidfd.as_fd(), Signal::CONT).expect("not reaped yet");
    let exit = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap).expect("our child").expect("blocks");
    assert_eq!(exit.pid, pid);
    Ok((text, exit.status.code().expect("exited")))
}

fn doors() -> &'static [Door] {
    Probe::once().expect("this machine can be probed").doors()
}

#[test]
fn it_runs_in_the_child_and_nowhere_else() {
    let ours = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&ours);
    let mut calls = 0;
    let mut hooks = Hooks::default();
    let first = move || {
        calls += 1;
        counter.fetch_add(1, Ordering::Relaxed);
        // SAFETY: no pointer.
        unsafe { libc::umask(0o70 + calls) };
        Ok(())
    };
    let second = || {
        // SAFETY: no pointer.
        let before = unsafe { libc::umask(0) };
        // Behind the first one.
        // SAFETY: no pointer.
        unsafe { libc::umask(before | 0o100) };
        Ok(())
    };
    // SAFETY: both make one system call or two, and neither allocates, locks nor panics.
    unsafe { hooks.pre_exec(first) };
    // SAFETY: as above.
    unsafe { hooks.pre_exec(second) };
    for door in doors() {
        // Each child has a copy of the closure as it was.
        for _ in 0..2 {
            assert_eq!(run(sh("umask; exit 3", &hooks), *door).unwrap(), ("0171\n".to_owned(), 3));
        }
    }
    assert_eq!(ours.load(Ordering::Relaxed), 0);
}

#[test]
fn its_error_is_the_spawns() {
    for (error, errno) in [(io::Error::from_raw_os_error(13), Errno::ACCES), (io::ErrorKind::Other.into(), Errno::INVAL)] {
        let errno_of = error.raw_os_error();
        let mut hooks = Hooks::default();
        // SAFETY: it makes an error of a number, which does not allocate.
        unsafe {
            hooks.pre_exec(move || Err(errno_of.map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)))
        };
        for door in doors() {
            let failed = run(sh("true", &hooks), *door).unwrap_err();
            assert_eq!(failed.to_string(), format!("spawn `/bin/sh`: pre_exec: {errno}"));
            let attribute = Stage::Attribute { call: "pre_exec", value: String::new() };
            assert!(matches!(failed, Error::Spawn { stage, .. } if stage == attribute));
        }
    }
}

#[test]
fn it_sees_the_process_as_the_program_will_but_for_the_limits() {
    use steadfast_core::{Limit, Resource};
    let mut hooks = Hooks::default();
    hooks.0.limits.push((Resource::NOFILE, Limit::from(20)));
    hooks.0.umask = Some(0o22);
    hooks.0.setsid = true;
    let check = || {
        // SAFETY: no pointer.
        let mask = unsafe { libc::umask(0) };
        // SAFETY: no pointer.
        let session = unsafe { libc::getsid(0) };
        // SAFETY: no pointer.
        let own = unsafe { libc::getpid() };
        // Above the limit that comes.
        // SAFETY: no pointer.
        let far = unsafe { libc::dup2(0, 50) };
        if (mask, session, far) == (0o22, own, 50) { Ok(()) } else { Err(io::Error::from_raw_os_error(1)) }
    };
    // SAFETY: system calls only.
    unsafe { hooks.pre_exec(check) };
    for door in doors() {
        assert_eq!(run(sh("umask; ulimit -n", &hooks), *door).unwrap().0, "0000\n20\n");
    }
}

#[test]
fn it_has_the_capabilities_that_the_program_will_have() {
    // SAFETY: the user's ID.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    // Its permitted set into a file that it has open.
    let report = || {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find(|line| line.starts_with("CapPrm")).unwrap_or_default();
        // Not std's stdout, whose lock another thread may have had at the fork.
        let line = format!("{line}\n");
        // SAFETY: bytes that live as long as the call.
        let written = unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
        if written == line.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    for (ambient, expected) in [(vec![], "0000000000000000"), (vec![Capability::NET_BIND_SERVICE], "0000000000000400")] {
        let mut hooks = Hooks(Attributes { uid: Some(1000), ambient, ..Attributes::default() });
        // SAFETY: the child is made by fork(3), so it may allocate.
        unsafe { hooks.pre_exec(report) };
        for door in doors() {
            let (text, _) = run(sh("grep CapPrm /proc/self/status", &hooks), *door).unwrap();
            assert_eq!(text, format!("CapPrm:\t{expected}\n").repeat(2), "{door:?}");
        }
    }
}

#[test]
fn the_same_hook_in_two_spawns_at_once_waits_for_itself() {
    let mut hooks = Hooks::default();
    // SAFETY: nothing is done.
    unsafe { hooks.pre_exec(|| Ok(())) };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(run(sh("exit 5", &hooks), Door::Clone).unwrap().1, 5);
                }
            });
        }
    });
}

#[test]
fn a_hook_of_another_kind_is_refused() {
    let mut attributes = Attributes::default();
    attributes.hooks.push(Hook::new(Arc::new("not code")));
    let plan = Plan::builder("/no/such").attributes(attributes).build().unwrap();
    let error = spawn(&plan, WantPidfd::No, Door::Clone).unwrap_err();
    assert!(matches!(&error, Error::InvalidPlan { .. }), "{error}");
}

/// Of a spawn that succeeds: how the child ended.
fn ended(hooks: &Hooks, door: Door) -> std::process::ExitStatus {
    let plan = sh("exit 5", hooks).stderr(PlanStdio::Null).build().unwrap();
    let child = spawn(&plan, WantPidfd::Yes, door).unwrap();
    let exit = waitid(Target::Pidfd(child.pidfd.unwrap().as_fd()), Blocking::Block, Reaping::Reap).unwrap();
    exit.unwrap().status
}

#[test]
fn a_panic_ends_the_child_by_sigabrt_whatever_the_programs_panic_hook_waits_for() {
    use std::os::unix::process::ExitStatusExt;
    static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = HELD.lock();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() == Some(&"in the child") {
            // Another thread has it, which is not in the child.
            drop(HELD.lock());
        }
        default(info);
    }));
    let mut hooks = Hooks::default();
    // SAFETY: it panics, which is what this is about.
    unsafe { hooks.pre_exec(|| panic!("in the child")) };
    for door in doors() {
        assert_eq!(ended(&hooks, *door).signal(), Some(libc::SIGABRT));
    }
    drop(guard);
}

#[test]
fn it_may_use_as_much_stack_as_the_caller_may() {
    let mut hooks = Hooks::default();
    let deep = || {
        let room = std::hint::black_box([1_u8; 512 * 1024]);
        if room.iter().all(|byte| *byte == 1) { Ok(()) } else { Err(io::Error::from_raw_os_error(1)) }
    };
    // SAFETY: it looks at its own stack.
    unsafe { hooks.pre_exec(deep) };
    for door in doors() {
        assert_eq!(ended(&hooks, *door).code(), Some(5));
    }
}

/// Runs `work` while other threads keep the C library's locks busy: they allocate from one arena, start threads and end.
fn beside_busy_threads(work: impl FnOnce()) {
    use std::sync::atomic::AtomicBool;
    // SAFETY: no pointer. One arena for all, so that the allocator's lock is mostly taken.
    unsafe { libc::mallopt(-8, 1) };
    /// Whatever becomes of the work.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box(vec![0_u8; 3000]);
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::thread::spawn(|| ()).join().expect("it does nothing");
                }
            });
        }
        work();
    });
}

#[test]
fn it_may_allocate_and_change_its_ids_by_the_c_library() {
    let mut hooks = Hooks::default();
    let code = || {
        let kept: Vec<Vec<u8>> = (0..50).map(|n| vec![n; 1000]).collect();
        std::hint::black_box(kept);
        // SAFETY: no pointer.
        let own = unsafe { libc::getgid() };
        // The C library's: it changes all threads, as far as it knows of any.
        // SAFETY: no pointer.
        if unsafe { libc::setgid(own) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: it allocates, which the allocators of glibc and musl allow after fork(3), and sets what is set.
    unsafe { hooks.pre_exec(code) };
    beside_busy_threads(|| {
        for door in doors() {
            for _ in 0..200 {
                assert_eq!(ended(&hooks, *door).code(), Some(5));
            }
        }
    });
}

#[test]
fn the_c_librarys_handlers_of_fork_run() {
    static RAN: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn in_child() {
        RAN.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: a handler that makes one store.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    let mut hooks = Hooks::default();
    let check = || if RAN.load(Ordering::Relaxed) == 1 { Ok(()) } else { Err(io::Error::from_raw_os_error(1)) };
    // SAFETY: one load.
    unsafe { hooks.pre_exec(check) };
    for door in doors() {
        assert_eq!(ended(&hooks, *door).code(), Some(5));
    }
}

#[test]
fn without_room_for_its_pidfd_the_child_goes_and_the_error_says_so() {
    let mut hooks = Hooks::default();
    // SAFETY: nothing is done.
    unsafe { hooks.pre_exec(|| Ok(())) };
    let plan = sh("exit 5", &hooks).build().unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for a limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let before = limit.rlim_cur;
    // In a process of its own: the other tests need descriptors.
    let pid = steadfast_linux::bare::fork(|| {
        limit.rlim_cur = 100;
        // SAFETY: a limit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let mut errors = 0;
        for room in 0..8 {
            let mut filled: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            filled.truncate(filled.len() - room);
            match spawn(&plan, WantPidfd::Yes, Door::Clone) {
                Ok(child) => {
                    let pidfd = child.pidfd.unwrap();
                    let exit = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap).unwrap().unwrap();
                    assert_eq!(exit.status.code(), Some(5));
                }
                Err(error) => {
                    assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
                    errors += 1;
                }
            }
            // No child is left.
            assert_eq!(waitid(Target::Any, Blocking::Now, Reaping::Leave).map(drop), Err(Errno::CHILD));
        }
        assert!(errors >= 4, "{errors}");
        0
    });
    let exit = waitid(Target::Pid(pid.unwrap()), Blocking::Block, Reaping::Reap).unwrap().unwrap();
    assert_eq!((exit.status.code(), before >= limit.rlim_cur), (Some(0), true));
}
