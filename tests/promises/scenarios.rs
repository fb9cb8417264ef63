//! What a user does, on both real backends: pipes, output, environment, adoption, the current system, dropping.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Child, Command, ErrorKind, Pid, Process, Signal, Stdio, System, WaitSet, wait_any};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("output: both pipes fill, and it does not block", || each_system(both_pipes)),
        Test::new("output: stdin is empty unless it is given", || each_system(output_stdin)),
        Test::new("stdio: a pipe from one child to the next, a file, this process's closed streams", || each_system(stdio)),
        Test::new("wait: closes stdin first", || each_system(wait_closes_stdin)),
        Test::new("environment: set, removed, cleared; PATH of the child", || each_system(environment)),
        Test::new("exec: a file without #! runs in the shell", || each_system(script)),
        Test::new("signals: the child has the mask, no handlers, and SIGPIPE at its default", || each_system(signals)),
        Test::new("adopt: a child of std's, running and waited for", || each_system(adopt)),
        Test::new("kill_on_drop: kills; without it the child goes on", || each_system(kill_on_drop)),
        Test::new("rusage: CPU time and memory are counted", || each_system(rusage)),
        Test::new("rusage: the peak of a big child is exact, that of a small child of a big parent only a bound", || {
            each_system(peak_memory);
        }),
        Test::new("enter: the system is current on this thread, innermost first, until dropped", enter),
        Test::new("SIGCHLD ignored: NoChild or the true status, never a made-up one", || each_system(sigchld_ignored)),
        Test::new("EINTR: signals do not end a wait", || each_system(interrupted)),
    ]
}

/// What a program started again does instead of a test.
pub(crate) const ROLES: &[(&str, fn())] = &[("(SIGCHLD ignored)", with_sigchld_ignored)];

pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn both_pipes(system: &System) {
    let _here = system.enter();
    let output = sh("head -c 300000 /dev/zero; head -c 400000 /dev/zero >&2; head -c 5 /dev/zero").output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (300_005, 400_000));
    assert!(output.status.success());
    // One of them is closed long before the other.
    let output = sh("exec >&-; echo late >&2").output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b"late\n"[..]));
}

fn output_stdin(system: &System) {
    let _here = system.enter();
    assert_eq!(Command::new("cat").output().unwrap().stdout, b"");
}

fn stdio(system: &System) {
    let _here = system.enter();
    let mut echo = Command::new("echo").arg("through").stdout(Stdio::piped()).spawn().unwrap();
    let cat = Command::new("cat").stdin(echo.stdout.take().unwrap()).output().unwrap();
    assert_eq!(cat.stdout, b"through\n");
    echo.wait().unwrap();

    let mut file = tempfile::tempfile().unwrap();
    sh("echo out; echo err >&2").stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap()).status().unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\nerr\n");

    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let cat = Command::new("cat").stdin(std::os::fd::OwnedFd::from(theirs)).stdout(Stdio::piped()).spawn().unwrap();
    (&ours).write_all(b"by socket").unwrap();
    drop(ours);
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"by socket");
    // This process's own stream, and a pipe that std has made.
    assert!(sh("exit 0").stdout(std::io::stderr()).stderr(std::io::stdout()).status().unwrap().success());
    let mut std_child = std::process::Command::new("echo").arg("std's").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let cat = Command::new("cat").stdin(std_child.stdout.take().unwrap()).output().unwrap();
    assert_eq!(cat.stdout, b"std's\n");
    std_child.wait().unwrap();

    // stdout given as this process's own stderr: a source below 3 must not be overwritten before it is used.
    let own_stderr = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned().unwrap();
    assert!(sh("test -e /proc/self/fd/1").stdout(own_stderr).status().unwrap().success());
    let std_pipe = std::process::ChildStdout::try_from({
        let mut child = Command::new("echo").arg("std").stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap()
    });
    let mut text = String::new();
    std_pipe.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "std\n");
}

fn wait_closes_stdin(system: &System) {
    let mut child = system.spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"some").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(child.stdin.as_mut().unwrap().write(b"more").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

fn environment(system: &System) {
    let _here = system.enter();
    let text = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(text(Command::new("/usr/bin/env").env_clear().env("B", "2").env("A", "1")), "A=1\nB=2\n");
    assert_eq!(text(sh("echo ${HOME-none}").env_remove("HOME")), "none\n");
    assert_eq!(text(sh("echo $X").envs([("X", "y")])), "y\n");
    // The program is searched in the PATH that the child will have; without one, in the system's.
    assert!(Command::new("sh").env("PATH", "/nowhere").spawn().is_err());
    assert_eq!(text(Command::new("sh").args(["-c", "echo ok"]).env_clear()), "ok\n");
    assert!(text(Command::new("./sh").args(["-c", "pwd"]).current_dir("/bin")).starts_with('/'));
}

fn script(system: &System) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no-shebang");
    std::fs::write(&path, "echo \"$0 $1\"\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let _here = system.enter();
    let by_path = Command::new(&path).arg("x").output().unwrap();
    let by_name = Command::new("no-shebang").arg("x").env("PATH", format!("/usr/bin:{}", dir.path().display())).output();
    let expected = format!("{} x\n", path.display());
    assert_eq!(String::from_utf8_lossy(&by_path.stdout), expected);
    // The shell itself is not searched.
    assert_eq!(String::from_utf8_lossy(&by_name.unwrap().stdout), expected);
}

fn signals(system: &System) {
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag).unwrap();
    let blocked = SigSet::from(nix::sys::signal::SIGUSR2);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
    let _here = system.enter();
    let output = Command::new("cat").arg("/proc/self/status").output().unwrap();
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&blocked), None).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let bit = |signal: Signal| 1 << (signal.as_raw() - 1);
    assert_eq!(field("SigBlk:"), bit(Signal::USR2));
    assert_eq!(field("SigIgn:") & bit(Signal::PIPE), 0);
    assert_eq!(field("SigCgt:"), 0);
}

fn adopt(system: &System) {
    let _here = system.enter();
    let child = std::process::Command::new(ACTOR).args(["exit", "5"]).spawn().unwrap();
    assert_eq!(Process::try_from(child).unwrap().wait().unwrap().code(), Some(5));

    let mut waited = std::process::Command::new(ACTOR).args(["exit", "6"]).spawn().unwrap();
    waited.wait().unwrap();
    let process = Process::try_from(waited).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(6));
    assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::ProcessDone);

    let piped = std::process::Stdio::piped;
    let cat = std::process::Command::new("cat").stdin(piped()).stdout(piped()).spawn().unwrap();
    let mut cat = Child::try_from(cat).unwrap();
    cat.stdin.as_mut().unwrap().write_all(b"kept").unwrap();
    let output = cat.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"kept");

    let lost = std::process::Command::new(ACTOR).args(["exit", "0"]).spawn().unwrap();
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(lost.id() as i32), None).unwrap();
    assert_eq!(Process::try_from(lost).unwrap_err().kind(), ErrorKind::NoChild);
}

fn kill_on_drop(system: &System) {
    let forever = || {
        let mut command = Command::new(ACTOR);
        command.arg("forever").stdout(Stdio::null());
        command
    };
    let child = system.spawn(forever().kill_on_drop(true)).unwrap();
    let process = child.process().clone();
    drop(child);
    assert_eq!(process.wait().unwrap().signal(), Some(9));

    let child = system.spawn(&forever()).unwrap();
    let process = child.process().clone();
    drop(child);
    assert_eq!(process.try_wait().unwrap(), None);
    process.kill().unwrap();
    process.wait().unwrap();
}

fn rusage(system: &System) {
    let child = system.spawn(&sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")).unwrap();
    child.wait().unwrap();
    let exit = child.exit().unwrap();
    assert_eq!(exit.pid, child.pid());
    let used = exit.rusage.unwrap();
    assert!(used.user_time + used.system_time > std::time::Duration::ZERO, "{used:?}");
    assert!(used.max_rss.bytes() > 100 * 1024 && used.minor_faults > 0, "{used:?}");
}

/// The kernel carries the spawner's peak over into the child's.
fn peak_memory(system: &System) {
    const BIG: u64 = 150 << 20;
    let peak = |process: &Process| process.exit().unwrap().rusage.unwrap().max_rss;
    let big =
        || system.spawn(Command::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=300M", "count=1", "status=none"])).unwrap();
    let ways: [fn(&Child); 4] = [
        |child| assert!(child.wait().unwrap().success()),
        |child| assert!(child.wait_timeout(Duration::from_secs(60)).unwrap().is_some()),
        |child| assert!(wait_any(&[child.process()], None).unwrap().is_some()),
        |child| {
            let set = WaitSet::new();
            set.add((), Process::clone(child)).unwrap();
            assert!(set.wait().is_some());
        },
    ];
    for wait in ways {
        let child = big();
        wait(&child);
        let own = peak(child.process());
        assert!(own.exact().is_some_and(|bytes| bytes > 2 * BIG), "{own}");
    }
    // Of one that somebody else has spawned, perhaps somebody big, it is not known.
    let adopted = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let adopted = system.adopt(adopted).unwrap();
    adopted.wait().unwrap();
    assert_eq!(peak(adopted.process()).exact(), None);
    let hog = vec![1_u8; BIG as usize];
    let child = system.spawn(&Command::new("true")).unwrap();
    child.wait().unwrap();
    drop(std::hint::black_box(hog));
    let bound = peak(child.process());
    assert!(bound.exact().is_none() && bound.bytes() > BIG, "{bound}");
}

fn enter() {
    let kernel = Kernel::builder().program("only-simulated", Script::new().exit(1)).build();
    let outside = System::current().unwrap();
    {
        let _mock = kernel.system().enter();
        assert_eq!(System::current().unwrap().backend_name(), "mock");
        assert_eq!(Command::new("only-simulated").status().unwrap().code(), Some(1));
        {
            let _legacy = System::pid_legacy().enter();
            assert_eq!(System::current().unwrap().backend_name(), "pid-legacy");
        }
        assert_eq!(System::current().unwrap().backend_name(), "mock");
        // Another thread is not affected.
        let elsewhere = std::thread::spawn(|| System::current().unwrap().backend_name()).join().unwrap();
        assert_eq!(elsewhere, outside.backend_name());
        assert_eq!(Process::find(Pid::MAX).unwrap_err().kind(), ErrorKind::ProcessDone);
    }
    assert_eq!(System::current().unwrap().backend_name(), outside.backend_name());
    let (first, second) = (System::pid_legacy().enter(), kernel.system().enter());
    drop(first);
    assert_eq!(System::current().unwrap().backend_name(), "mock");
    drop(second);
}

/// A program that ignores `SIGCHLD` cannot be had without `unsafe`, but be started so by env(1).
fn sigchld_ignored(system: &System) {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(SIGCHLD ignored)").env("STEADFAST_BACKEND", system.backend_name());
    assert!(system.spawn(&command).unwrap().wait().unwrap().success());
}

/// What the program started by `sigchld_ignored` does.
fn with_sigchld_ignored() {
    let system = System::detect().unwrap();
    let is_told = system.backend_name() == "pidfd" && crate::contract::tells_lost_status();
    for by_timeout in [false, true] {
        let child = system.spawn(Command::new(ACTOR).args(["exit", "7"])).unwrap();
        let wait =
            || if by_timeout { child.wait_timeout(std::time::Duration::from_secs(60)).map(Option::unwrap) } else { child.wait() };
        for _ in 0..2 {
            match wait() {
                Ok(status) => assert!(is_told && status.code() == Some(7), "{status}"),
                Err(error) => assert!(!is_told && error.kind() == ErrorKind::NoChild, "{error}"),
            }
        }
        assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(child.status().is_some(), is_told);
    }
    assert!(system.spawn(&Command::new("/no/such")).is_err());
}

fn interrupted(system: &System) {
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag).unwrap();
    let mut child = system.spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
    let stdin = child.stdin.take().unwrap();
    let own = nix::unistd::Pid::this();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = [None, Some(std::time::Duration::from_secs(3600))]
            .map(|timeout| {
                let child = &child;
                scope.spawn(move || match timeout {
                    None => child.wait().unwrap(),
                    Some(timeout) => child.wait_timeout(timeout).unwrap().unwrap(),
                })
            })
            .into();
        for _ in 0..2000 {
            nix::sys::signal::kill(own, nix::sys::signal::SIGUSR1).unwrap();
            std::thread::yield_now();
        }
        drop(stdin);
        for waiter in waiters {
            assert!(waiter.join().unwrap().success());
        }
    });
}
