//! Lessons of other environments, made here: a tracer that changes calls on their way into the kernel, and the root cgroup.

use crate::Test;
use crate::attributes::{Cgroup, mount_of};
use crate::probing::xtask;
use crate::stage::Outcome;
use ::xtask::noop;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::c_long;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use steadfast::{Answer, Command, Probe, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip(
            "probe: a kernel that ignores CLONE_PIDFD, as gVisor of 2022, gets pid-legacy, and the proof passes",
            ignored,
        ),
        Test::that_may_skip("programs: the small ones of each architecture do what they are for", small_programs),
        Test::that_may_skip("probe: the root cgroup has no cgroup.kill, those below have", root_cgroup),
    ]
}

/// `clone` succeeds and leaves the descriptor as it was; `clone3` is not there.
fn ignored() -> Outcome {
    if std::env::consts::ARCH != "x86_64" {
        return Outcome::Skipped("the tracer knows the registers of x86_64 only".into());
    }
    let xtask = match xtask() {
        Ok(xtask) => xtask,
        Err(skipped) => return skipped,
    };
    let output = traced(Command::new(xtask).args(["probe", "--format", "json"]), |call| match call.number()? {
        libc::SYS_clone => call.set(FIRST, call.get(FIRST)? & !c_long::from(libc::CLONE_PIDFD)),
        // No call has this number.
        libc::SYS_clone3 => call.set(NUMBER, -1),
        _ => Ok(()),
    });
    let seen: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(seen["backend"], "pid-legacy", "{seen}");
    assert_eq!(seen["checks"][3]["name"], "clone_pidfd");
    assert_eq!(seen["checks"][3]["errno"], "EINVAL", "{seen}");
    assert!((0..3).all(|n| seen["checks"][n]["works"] == true), "{seen}");
    // Where PIDs can be chosen, that is.
    assert!(seen["proof"].is_null() || seen["proof"]["stranger_hit_by_handle"] == 0, "{seen}");
    Outcome::Passed
}

/// Where the registers of x86_64 stand in `struct user` (sys/user.h).
const FIRST: ptrace::AddressType = (14 * 8) as ptrace::AddressType;
const NUMBER: ptrace::AddressType = (15 * 8) as ptrace::AddressType;
const ANSWER: ptrace::AddressType = (10 * 8) as ptrace::AddressType;

/// A process on its way into the kernel.
struct Call(Pid);

impl Call {
    fn number(&self) -> nix::Result<c_long> {
        self.get(NUMBER)
    }

    fn get(&self, register: ptrace::AddressType) -> nix::Result<c_long> {
        ptrace::read_user(self.0, register)
    }

    fn set(&self, register: ptrace::AddressType, value: c_long) -> nix::Result<()> {
        ptrace::write_user(self.0, register, value)
    }

    /// Whether it is not on its way out.
    fn is_new(&self) -> nix::Result<bool> {
        Ok(self.get(ANSWER)? == -c_long::from(libc::ENOSYS))
    }
}

/// What it says, while it and its children make their calls as they are changed.
fn traced(command: &mut Command, change: impl Fn(&Call) -> nix::Result<()>) -> String {
    let mut child = System::detect().unwrap().spawn(command.trace_me(true).stdout(Stdio::piped())).unwrap();
    let first = Pid::from_raw(child.pid().as_raw());
    assert_eq!(waitpid(first, None), Ok(WaitStatus::Stopped(first, Signal::SIGTRAP)));
    let births = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    let told_apart = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
    ptrace::setoptions(first, births | told_apart | Options::PTRACE_O_EXITKILL).unwrap();
    ptrace::syscall(first, None).unwrap();
    loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => break,
            Err(errno) => panic!("waitpid: {errno}"),
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                let call = Call(pid);
                // It may have been killed meanwhile.
                if call.is_new() == Ok(true) {
                    _ = change(&call);
                }
                (pid, None)
            }
            // A process begins so.
            Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP) | WaitStatus::PtraceEvent(pid, ..)) => (pid, None),
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(_) => continue,
        };
        _ = ptrace::syscall(pid, signal);
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

/// Those that the tests and the hazards start, this machine's own and others' under emulation.
fn small_programs() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut missing = Vec::new();
    for arch in ["x86_64", "aarch64"] {
        let emulator = format!("qemu-{arch}");
        let is_native = arch == std::env::consts::ARCH;
        if !is_native && Command::new(&emulator).arg("--version").output().is_err() {
            missing.push(emulator);
            continue;
        }
        let start = |name: &str, program| {
            let path = dir.path().join(format!("{name}-{arch}"));
            noop::write(&path, program).unwrap();
            let mut command = if is_native { Command::new(path) } else { Command::new(&emulator).arg(path).clone() };
            System::detect().unwrap().spawn(command.stdin(Stdio::piped())).unwrap()
        };
        assert_eq!(start("noop", noop::executable(arch)).wait().unwrap().code(), Some(0));
        let sleeper = start("sleeper", noop::sleeper(arch));
        sleeper.signal(steadfast::Signal::TERM).unwrap();
        assert_eq!(sleeper.wait().unwrap().signal(), Some(15));
        for (name, program, code) in [("reader", noop::reader(arch), 0), ("leaderless", noop::leaderless(arch), 3)] {
            let mut child = start(name, program);
            child.stdin.as_mut().unwrap().write_all(b"text").unwrap();
            drop(child.stdin.take());
            assert_eq!(child.wait().unwrap().code(), Some(code), "{name} of {arch}");
        }
    }
    if missing.is_empty() { Outcome::Passed } else { Outcome::Skipped(format!("{} is not installed", missing.join(" and "))) }
}

fn root_cgroup() -> Outcome {
    let skipped = |reason: &str| Outcome::Skipped(reason.into());
    let Some(root) = mount_of("cgroup2") else { return skipped("no cgroup2 is mounted here") };
    if root.join("cgroup.kill").exists() {
        return skipped("what is mounted here is not the root cgroup");
    }
    let below = Cgroup(root.join(format!("steadfast-root-{}", std::process::id())));
    if std::fs::create_dir(&below.0).is_err() || std::fs::write(root.join("cgroup.procs"), "0").is_err() {
        return skipped("this process may not change its cgroup");
    }
    let is_known = below.0.join("cgroup.kill").exists();
    let features = Probe::features().unwrap();
    let seen = features.iter().find(|feature| feature.name == "cgroup.kill").unwrap().answer;
    assert_eq!(seen, if is_known { Answer::Works } else { Answer::Failed(steadfast::Errno::NOENT) });
    Outcome::Passed
}
