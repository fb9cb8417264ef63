//! The caller's own code in the child: it runs there and nowhere else, its error is the spawn's, and the child has its pidfd.
//! (Here and not with the other promises, because it takes `unsafe`.)

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use steadfast_core::{Attributes, Errno, Error, Hook, Plan, PlanBuilder, PlanStdio, Signal, Stage};
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
