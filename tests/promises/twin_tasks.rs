//! The twins of tokio's processes and of async-process: what their users write, on each backend and in a simulation.

use crate::Test;
use crate::leaks::{children, is_over, until};
use crate::stage::Outcome;
use crate::tasks::runtime;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::process::{Stdio, cause_of};
use steadfast::{System, async_process, tokio::process::Command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) fn tests() -> Vec<Test> {
    let all: [(&str, Check); 5] = [
        ("tokio: id is None, and kill Ok, once it was waited for", || runtime().block_on(ends())),
        ("tokio: pipes, with a descriptor, and into another child", || runtime().block_on(pipes())),
        ("tokio: status closes what is piped, output pipes what was not", || runtime().block_on(status_and_output())),
        ("tokio: spawned without a runtime, and kill_on_drop", without_runtime),
        ("async-process: status, output, pipes, reap_on_drop", || async_io::block_on(by_async_process())),
    ];
    let mut tests: Vec<Test> =
        all.into_iter().map(|(name, test)| Test::that_may_skip(format!("twin: {name}"), move || on_each(test))).collect();
    tests.push(Test::new("twin: tokio: simulated, in virtual time", simulated));
    tests
}

type Check = fn();

fn on_each(test: Check) -> Outcome {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _here = system.enter();
        test();
        until("all are reaped", || children().is_empty());
    }
    Outcome::Passed
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

async fn ends() {
    let mut child = sh("read line; exit 3").stdin(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.id(), Some(child.process().pid().as_raw().unsigned_abs()));
    assert_eq!(child.try_wait().unwrap(), None);
    // Dropped before its end, a future takes nothing with it.
    assert!(tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
    assert!(child.stdin.is_none() && child.id().is_none());
    child.start_kill().unwrap();
    child.kill().await.unwrap();
    let mut child = sh("sleep 600").spawn().unwrap();
    child.kill().await.unwrap();
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
    let error = Command::new("/no/such/program").spawn().map(drop).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(2)));
    assert!(cause_of(&error).unwrap().to_string().contains("/no/such/program"));
    assert_eq!(Command::new("").status().await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn pipes() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    assert!(stdin.as_raw_fd() > 2 && child.stdout.as_ref().unwrap().as_raw_fd() > 2);
    stdin.write_all(b"one").await.unwrap();
    // As tokio's: the input ends at the drop alone.
    stdin.shutdown().await.unwrap();
    stdin.write_all(b" two").await.unwrap();
    drop(stdin);
    let stdout: Stdio = child.stdout.take().unwrap().try_into().unwrap();
    let output = Command::new("cat").stdin(stdout).output().await.unwrap();
    assert_eq!(output.stdout, b"one two");
    assert!(child.wait().await.unwrap().success());
    let mut child = sh("echo out; echo err >&2").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "out\n");
    let stderr = child.stderr.take().unwrap().into_owned_fd().unwrap();
    assert_eq!(fcntl(&stderr, FcntlArg::F_GETFL).unwrap() & OFlag::O_NONBLOCK.bits(), 0);
    assert_eq!(io::read_to_string(std::fs::File::from(stderr)).unwrap(), "err\n");
    assert!(child.wait_with_output().await.unwrap().stdout.is_empty());
}

async fn status_and_output() {
    // More than a pipe holds: it ends because nobody has the other end any more.
    let status = sh("exec yes").stdin(Stdio::piped()).stdout(Stdio::piped()).status().await.unwrap();
    assert_eq!(status.signal(), Some(13));
    let mut command = sh("echo out; echo err >&2; exit 4");
    let (first, second) =
        (command.stdout(Stdio::null()).output(), command.arg0("again").uid(nix::unistd::getuid().as_raw()).output());
    let output = first.await.unwrap();
    assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(4), &b"out\n"[..], &b"err\n"[..]));
    assert!(second.await.is_ok());
}

fn without_runtime() {
    let child = sh("read line").stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let pid = child.process().pid();
    drop(child);
    until("it is killed and reaped", || !std::path::Path::new(&format!("/proc/{pid}")).exists() || is_over(pid));
    let mut command = sh("exit 0");
    assert!(command.kill_on_drop(true).get_kill_on_drop() && !command.kill_on_drop(false).get_kill_on_drop());
    let mut child = command.spawn().unwrap();
    assert!(runtime().block_on(child.wait()).unwrap().success());
}

async fn by_async_process() {
    use async_process::unix::CommandExt;
    use async_process::{Child, Command, driver};
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg0("name");
        command
    };
    let mut child: Child = sh("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"text").await.unwrap();
    assert!(child.try_status().unwrap().is_none());
    let status = child.status();
    let mut text = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
    assert!(status.await.unwrap().success());
    assert_eq!(text, "text");
    child.kill().unwrap();
    let mut child = sh("echo on").stdout(Stdio::piped()).spawn().unwrap();
    let stdio = child.stdout.take().unwrap().into_stdio().await.unwrap();
    assert_eq!(Command::new("cat").stdin(stdio).output().await.unwrap().stdout, b"on\n");
    assert!(child.status().await.unwrap().success());
    let output = sh("cat; echo err >&2; exit 2").output().await.unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(2), &b"err\n"[..]));
    let child = sh("exit 5").stdout(Stdio::piped()).reap_on_drop(false).spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    drop(child);
    assert_eq!(nix::sys::wait::waitpid(pid, None), Ok(nix::sys::wait::WaitStatus::Exited(pid, 5)));
    drop(driver());
}

fn simulated() {
    let nightly = Script::new().write_stdout("done").sleep(Duration::from_secs(3600)).exit(3);
    let kernel = Kernel::builder().program("nightly", nightly).build();
    let _here = kernel.system().enter();
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let output = paused.block_on(Command::new("nightly").output()).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..], kernel.now().as_secs()), (Some(3), &b"done"[..], 3600));
    let mut child = Command::new("nightly").stdout(Stdio::piped()).spawn().unwrap();
    paused.block_on(child.kill()).unwrap();
    let error = OwnedFd::try_from(child.stdout.take().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
