//! The twin of std: what its users write, as they write it, and where it keeps std's word and not ours.

use crate::Test;
use crate::leaks::{children, is_over, until};
use crate::stage::Outcome;
use nix::sys::wait::{WaitStatus, waitpid};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::os::unix::prelude::*;
use steadfast::process::{self, Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio, cause_of};
use steadfast::{Signal, Stage, System};

pub(crate) fn tests() -> Vec<Test> {
    let all: [(&str, Check); 10] = [
        ("an error of one's own is made of ours by `?`", errors),
        ("kill is Ok once it has exited, whoever has waited", killed_twice),
        ("its pipes are moved out of it, and wait closes stdin", pipes),
        ("a pipe is a descriptor, and a Stdio is made of one", descriptors),
        ("a wrapper's method of the same name is not called in a circle", wrapped),
        ("an empty name, and a variable with an equals sign", odd_names),
        ("from one face to the other and back", converted),
        ("dropped, it is reaped, or left for waitpid", dropped),
        ("more children than descriptors", many),
        ("attributes of ours, hooks and extensions", attributes),
    ];
    let mut tests: Vec<Test> =
        all.into_iter().map(|(name, test)| Test::that_may_skip(format!("twin: {name}"), move || on_each(test))).collect();
    tests.push(Test::new("twin: simulated", simulated));
    tests
}

type Check = fn(&System);

/// The twin has no system of its own: it starts on the current one.
fn on_each(test: Check) -> Outcome {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _here = system.enter();
        test(system);
        assert_eq!(children(), Vec::<String>::new());
    }
    Outcome::Passed
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[derive(Debug)]
enum Own {
    Io(io::Error),
}

impl From<io::Error> for Own {
    fn from(error: io::Error) -> Own {
        Own::Io(error)
    }
}

fn errors(_: &System) {
    fn run() -> Result<ExitStatus, Own> {
        Ok(Command::new("/no/such/program").status()?)
    }
    let Own::Io(error) = run().unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(2)));
    assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    assert!(cause_of(&error).unwrap().to_string().starts_with("spawn `/no/such/program`: "));
    // It is asked by who has called, and of this error.
    std::thread::scope(|scope| assert!(scope.spawn(|| cause_of(&error).is_none()).join().unwrap()));
    assert!(cause_of(&io::Error::from_raw_os_error(1)).is_none() && cause_of(&ErrorKind::NotFound.into()).is_none());
    // Where there is no number, ours is inside.
    let error = Command::new("sh").arg("a\0b").spawn().map_err(Own::Io).map(drop).unwrap_err();
    let Own::Io(error) = error;
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::InvalidInput, None));
    assert!(matches!(cause_of(&error), Some(steadfast::Error::InvalidPlan { .. })));
    let all: io::Result<Vec<ExitStatus>> = (0..3).map(|_| sh("exit 0").status()).collect();
    assert_eq!(all.unwrap().len(), 3);
}

fn killed_twice(_: &System) {
    let mut child = sh("read line; exit 7").stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    until("it has exited", || child.try_wait().unwrap().is_some());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    child.kill().unwrap();
    assert_eq!(child.process().kill().unwrap_err().kind(), steadfast::ErrorKind::ProcessDone);
    // Other code was there first.
    let mut child = sh("exit 0").spawn().unwrap();
    waitpid(nix::unistd::Pid::from_raw(child.id() as i32), None).unwrap();
    child.kill().unwrap();
    let mut child = sh("sleep 600").spawn().unwrap();
    child.send_signal(15).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

fn pipes(_: &System) {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_ref().unwrap().write_all(b"one ").unwrap();
    let parts = [io::IoSlice::new(b""), io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
    assert_eq!(child.stdin.as_mut().unwrap().write_vectored(&parts).unwrap(), 9);
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(child.wait().unwrap().success() && child.stdin.is_none());
    let (mut first, mut rest) = ([0; 4], Vec::new());
    let mut stdout = child.stdout.unwrap();
    assert_eq!(stdout.read_vectored(&mut [io::IoSliceMut::new(&mut first)]).unwrap(), 4);
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!((&first[..], &rest[..]), (&b"one "[..], &b"two three"[..]));
    drop(child.stderr);
    let output = sh("cat; echo err >&2").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(output.wait_with_output().unwrap().stderr, b"err\n");
}

fn descriptors(_: &System) {
    let mut echo = sh("echo hi").stdout(Stdio::piped()).spawn().unwrap();
    let out = echo.stdout.take().unwrap();
    assert!(out.as_raw_fd() > 2 && out.as_fd().try_clone_to_owned().is_ok());
    let cat = Command::new("cat").stdin(out).output().unwrap();
    assert_eq!(cat.stdout, b"hi\n");
    assert!(echo.wait().unwrap().success());
    let (reader, writer) = io::pipe().unwrap();
    let mut child = sh("echo through a pipe; echo of both >&2");
    assert!(child.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap().success());
    drop(child);
    assert_eq!(io::read_to_string(reader).unwrap(), "through a pipe\nof both\n");
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let stdin = ChildStdin::from(OwnedFd::from(child.stdin.take().unwrap()));
    std::process::ChildStdin::from(stdin).write_all(b"x").unwrap();
    let raw = child.stdout.take().unwrap().into_raw_fd();
    assert_eq!(io::read_to_string(ChildStdout::from(nix_owned(raw))).unwrap(), "x");
    child.wait().unwrap();
}

/// Without `unsafe`, which the tests have not.
fn nix_owned(raw: i32) -> OwnedFd {
    let path = format!("/proc/self/fd/{raw}");
    let copy = std::fs::File::open(path).unwrap();
    nix::unistd::close(raw).unwrap();
    copy.into()
}

/// As process-wrap does it: were it to come by `Deref`, the call would be one of the trait's own.
trait Wrapper {
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>>;
    fn kill(&mut self) -> io::Result<()>;
}

impl Wrapper for Child {
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        Child::try_wait(self)
    }

    fn kill(&mut self) -> io::Result<()> {
        Child::kill(self)
    }
}

fn wrapped(_: &System) {
    fn is_safe<T: UnwindSafe + RefUnwindSafe + Send + Sync>() {}
    is_safe::<Child>();
    is_safe::<ChildStdin>();
    is_safe::<ChildStderr>();
    is_safe::<Stdio>();
    fn makes<T: FromRawFd>() {}
    makes::<Stdio>();
    let mut child = sh("read line").stdin(Stdio::piped()).spawn().unwrap();
    assert!(Wrapper::try_wait(&mut child).unwrap().is_none());
    Wrapper::kill(&mut child).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(process::id(), std::process::id());
}

fn odd_names(_: &System) {
    let error = Command::new::<&str>("").spawn().unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(2)));
    let output = Command::new("/usr/bin/env").env_clear().env("A=B", "C").env("=D", "E").output().unwrap();
    assert_eq!(output.stdout, b"=D=E\nA=B=C\n");
}

fn converted(system: &System) {
    let mut twin = sh("exit 4");
    assert_eq!(twin.umask(0o27).as_native().get_program(), "sh");
    let native = steadfast::Command::from(twin);
    let child = native.spawn().unwrap();
    let mut twin = Child::from(child);
    assert_eq!(twin.wait().unwrap().code(), Some(4));
    let child = Command::from(native).stdout(Stdio::piped()).spawn().unwrap();
    let native = steadfast::Child::from(child);
    assert!(native.stdout.is_some());
    assert_eq!(native.wait().unwrap().code(), Some(4));
    let mut std = std::process::Command::new("sh");
    std.args(["-c", "echo $A; pwd"]).env("A", "1").env_remove("B").current_dir("/");
    assert_eq!(Command::from(std).output().unwrap().stdout, b"1\n/\n");
    if system.info().real {
        let std = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(Child::try_from(std).unwrap().wait().unwrap().success());
    }
}

fn dropped(_: &System) {
    drop(sh("exit 0").spawn().unwrap());
    until("it is reaped in the background", || children().is_empty());
    for is_over_first in [true, false] {
        let child = sh("read line; exit 5").stdin(Stdio::piped()).reap_on_drop(false).spawn().unwrap();
        let (pid, handle) = (child.process().pid(), child.process().clone());
        if is_over_first {
            let mut child = child;
            drop(child.stdin.take());
            until("it has exited", || is_over(pid));
            drop(child);
        } else {
            drop(child);
        }
        assert_eq!(handle.kill().unwrap_err().kind(), steadfast::ErrorKind::Released);
        let pid = nix::unistd::Pid::from_raw(pid.as_raw());
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 5)));
    }
    // It was waited for: there is nothing to be left.
    let mut child = sh("exit 0").reap_on_drop(false).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    drop(child);
    assert!(children().is_empty());
}

fn many(system: &System) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 40, hard).unwrap();
    let mut command = sh("read line; exit 6");
    command.stdin(reader);
    let mut all: Vec<Child> = (0..60).map(|_| command.spawn().unwrap()).collect();
    let held = |name: &str| all.iter().filter(|child| child.process().backend().info().name == name).count();
    assert_eq!(held("pidfd") + held("pid-legacy"), 60);
    if system.backend_name() == "pidfd" {
        assert!(held("pidfd") > 0 && held("pid-legacy") >= 20, "{}", held("pid-legacy"));
        // The last ones are the program's own; when it has taken them, who insists gets an error, on either face.
        let own: Vec<std::fs::File> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        assert!(own.len() >= 10, "{}", own.len());
        let refused = command.handle(steadfast::Handle::Required).spawn().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::errno::Errno::EMFILE as i32));
        let refused = steadfast::Command::new("true").spawn().unwrap_err();
        assert_eq!(refused.errno(), Some(steadfast::Errno::MFILE));
        let refused = command.handle(steadfast::Handle::IfPossible).create_pidfd(true).spawn().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::errno::Errno::EMFILE as i32));
    }
    let last = all.last_mut().unwrap();
    last.kill().unwrap();
    assert_eq!(last.wait().unwrap().signal(), Some(9));
    drop((writer, command));
    // Half of them are waited for, half are dropped.
    for mut child in all.drain(..30) {
        assert_eq!(child.wait().unwrap().code(), Some(6));
    }
    drop(all);
    setrlimit(Resource::RLIMIT_NOFILE, before, hard).unwrap();
    until("the others are reaped", || children().is_empty());
}

fn attributes(_: &System) {
    let output =
        sh("umask; ulimit -n; echo $0").arg0("named").umask(0o27).rlimit(steadfast::Resource::NOFILE, 77).output().unwrap();
    assert_eq!(output.stdout, b"0027\n77\nnamed\n");
    let status = sh("kill -TERM 0; sleep 600").process_group(0).status().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    let error = Command::new("sh").setsid(true).current_dir("/nowhere").spawn().unwrap_err();
    assert!(
        matches!(cause_of(&error), Some(steadfast::Error::Spawn { stage: Stage::Chdir { .. }, .. })),
        "{:?}",
        cause_of(&error)
    );
    let error = Command::new("/no/such/program").exec();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn simulated() {
    let script = Script::new().on_stdin_line(|line| Script::new().write_stdout(line.unwrap_or_default()).exit(0));
    let kernel = Kernel::builder().program("cat", script).build();
    let _here = kernel.system().enter();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"no descriptor is needed").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(io::read_to_string(&mut stdout).unwrap(), "no descriptor is needed");
    assert!(child.wait().unwrap().success());
    child.kill().unwrap();
    let asked = std::panic::catch_unwind(move || stdout.as_raw_fd()).unwrap_err();
    assert!(asked.downcast_ref::<String>().unwrap().contains("has no descriptor"));
    // Dropped, it is reaped there too; left, it is a zombie.
    let [reaped, left] = [true, false].map(|reap| Command::new("cat").stdin(Stdio::null()).reap_on_drop(reap).spawn().unwrap());
    let pid = left.process().pid();
    drop((reaped, left));
    kernel.system().sleep(std::time::Duration::from_secs(1));
    assert_eq!((kernel.zombies(), kernel.processes().contains(&pid)), (vec![pid], true));
}
