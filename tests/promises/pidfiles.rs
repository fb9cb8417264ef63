//! Pidfiles: what is in one, what becomes of it when it says something else, when somebody else is at it, in a fork, and when its process is stopped.

use crate::Test;
use crate::forking::in_child;
use crate::leaks::{children, descriptors, each_backend, is_over, until};
use crate::names::become_nobody;
use crate::stage::{Outcome, row};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{
    Child, Command, Errno, Error, ErrorKind, Identity, Pid, Pidfile, PidfileIs, PidfileStatus, Process, Result, Stale, System,
    Takeover, Teardown,
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

pub(crate) fn tests() -> Vec<Test> {
    type Check = fn(&System);
    let checks: &[(&str, Check)] = &[
        ("whole, readable, for old tools too, and gone with its owner", whole),
        ("a bare number, other texts, half a file, another namespace: not taken over, unless that is asked for", unknown),
        ("of another boot: taken over", other_boot),
        ("a symbolic link, a directory, a FIFO, no directory: an error, and nothing is touched", no_files),
        ("a fork of the holder has nothing and removes nothing", forked),
        ("removed or replaced by somebody else: lost, and theirs stays", lost),
        ("locked by somebody else: it says so after two seconds, and a drop does not wait", busy),
        ("stop: by the handle, and the file is gone; nobody is signalled for a number", stopped),
        ("handed over, kept, and adopted by the same process only", handed_over),
    ];
    let mut tests: Vec<Test> = checks.iter().map(|(name, check)| on_each(name, *check)).collect();
    tests.push(Test::new("pidfiles: no descriptor, child or file is left", || each_backend(nothing_left)));
    tests.push(Test::that_may_skip("pidfiles: a directory that may not be written to", read_only));
    tests.push(Test::that_may_skip("pidfiles: another user's file is believed of his own processes only", of_another_user));
    tests
}

/// On each backend, which is the current one then.
pub(crate) fn on_each(name: &str, check: fn(&System)) -> Test {
    Test::that_may_skip(format!("pidfiles: {name}"), move || {
        for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
            let _row = row(system.backend_name());
            let _here = system.enter();
            check(system);
        }
        Outcome::Passed
    })
}

/// A directory for one pidfile, in memory if that can be had: what is written there goes to the disk at once.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = dir.path().join("daemon.pid");
    (dir, path)
}

/// What is in the directory.
pub(crate) fn files(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) fn sleeper(system: &System) -> Child {
    system.spawn(Command::new("/bin/sleep").arg("1000")).unwrap()
}

pub(crate) fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) fn own() -> Process {
    Process::find(Pid::try_from(std::process::id()).unwrap()).unwrap()
}

pub(crate) fn taken_by(answer: Result<Pidfile>) -> Option<Pid> {
    match answer {
        Ok(_) => None,
        Err(Error::Pidfile { is: PidfileIs::Taken { pid }, .. }) => Some(pid),
        Err(error) => panic!("{error}"),
    }
}

/// A name that both backends can use, however young it is.
pub(crate) fn name(process: &Process) -> Identity {
    System::pid_legacy().find(process.pid()).unwrap().identity().unwrap()
}

/// Of somebody who is gone.
pub(crate) fn stale(system: &System) -> String {
    let child = sleeper(system);
    let identity = child.identity().unwrap();
    end(&child);
    format!("{}\n{identity}\n", identity.pid())
}

fn whole(_: &System) {
    let (_dir, path) = place();
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let pidfile = Pidfile::start(&path).unwrap();
    nix::sys::stat::umask(mask);
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let identity: Identity = second.strip_suffix('\n').unwrap().parse().unwrap();
    assert_eq!((first.parse(), identity.is_same_life(&name(&own()))), (Ok(std::process::id()), Some(true)));
    assert!(identity.evidence().start_time().unwrap().is_exact(), "programs without pidfds could not tell: {identity}");
    assert_eq!((fs::metadata(&path).unwrap().mode() & 0o7777, files(&path)), (0o644, vec!["daemon.pid".to_owned()]));
    let PidfileStatus::Running(process) = Pidfile::status(&path).unwrap() else { panic!("{text}") };
    assert_eq!(process.pid(), own().pid());
    // No program that is started has it open.
    let mut list = Command::new("ls");
    let open = list.args(["-l", "/proc/self/fd"]).output().unwrap().stdout;
    assert!(!String::from_utf8_lossy(&open).contains("daemon.pid"));
    assert_eq!(taken_by(Pidfile::start(&path)), Some(own().pid()));
    drop(pidfile);
    assert_eq!(files(&path), Vec::<String>::new());
    assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Absent));
}

fn unknown(_: &System) {
    let identity = name(&own()).to_string();
    let elsewhere = {
        let mut parts: Vec<String> = identity.split('.').map(str::to_owned).collect();
        parts[2] = "n1".into();
        format!("{}\n{}\n", std::process::id(), parts.join("."))
    };
    let other_number = format!("1\n{identity}\n");
    let half = format!("{}\n{}", std::process::id(), &identity[..identity.len() - 1]);
    let bare = format!("{}\n", std::process::id());
    let cases = [
        (bare.as_str(), "the number"),
        ("", "empty"),
        ("hello\nworld\n", "second line"),
        ("\0\u{1}\u{2}", "no pidfile"),
        (&half, "first line"),
        (&other_number, "first line"),
        (&elsewhere, "another PID namespace"),
    ];
    for (text, words) in cases {
        let _row = row(text);
        let (_dir, path) = place();
        fs::write(&path, text).unwrap();
        match Pidfile::status(&path).unwrap() {
            PidfileStatus::OtherNamespace => assert_eq!(text, elsewhere),
            PidfileStatus::Unknown(why) => assert!(why.to_string().contains(words), "{why}"),
            status => panic!("{status:?}"),
        }
        let error = Pidfile::start(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Pidfile);
        assert!(error.to_string().contains(words) && error.to_string().contains("daemon.pid"), "{error}");
        let error = Pidfile::stop(&path, &Teardown::killing()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Pidfile);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let pidfile = Pidfile::create_with(&path, &own(), Takeover::EvenIfUnknown).unwrap();
        assert!(pidfile.remove().unwrap());
    }
    // However sure the caller is, a process that runs is not passed over.
    let (_dir, path) = place();
    let _first = Pidfile::start(&path).unwrap();
    assert_eq!(taken_by(Pidfile::create_with(&path, &own(), Takeover::EvenIfUnknown)), Some(own().pid()));
}

fn other_boot(_: &System) {
    let (_dir, path) = place();
    let identity = name(&own()).to_string();
    let digit = if identity["life1.".len()..].starts_with('0') { '1' } else { '0' };
    let text = format!("{}\nlife1.{digit}{}\n", std::process::id(), &identity["life1.".len() + 1..]);
    fs::write(&path, text).unwrap();
    assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Stale(Stale::OtherBoot)));
    let stopped = Pidfile::stop(&path, &Teardown::killing()).unwrap();
    assert!(stopped.is_over() && stopped.signal().is_none() && !path.exists());
}

fn no_files(_: &System) {
    let (dir, path) = place();
    let errno = |error: Error| {
        assert!(error.to_string().contains("daemon.pid"), "{error}");
        error.errno()
    };
    let each_says = |expected: Errno| {
        for takeover in [Takeover::IfStale, Takeover::EvenIfUnknown] {
            assert_eq!(errno(Pidfile::create_with(&path, &own(), takeover).unwrap_err()), Some(expected));
        }
        assert_eq!(errno(Pidfile::status(&path).unwrap_err()), Some(expected));
        assert_eq!(errno(Pidfile::stop(&path, &Teardown::killing()).unwrap_err()), Some(expected));
    };
    let target = dir.path().join("precious");
    fs::write(&target, "4711\n").unwrap();
    for target in [target.as_path(), Path::new("/nowhere")] {
        symlink(target, &path).unwrap();
        each_says(Errno::from_raw(nix::libc::ELOOP));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "4711\n");
    fs::remove_file(target).unwrap();
    fs::create_dir(&path).unwrap();
    each_says(Errno::from_raw(nix::libc::EISDIR));
    fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    each_says(Errno::from_raw(nix::libc::ENODEV));
    fs::remove_file(&path).unwrap();
    let nowhere = dir.path().join("missing/daemon.pid");
    assert_eq!(errno(Pidfile::start(&nowhere).unwrap_err()), Some(Errno::NOENT));
    assert_eq!(Pidfile::start("/").unwrap_err().errno(), Some(Errno::from_raw(nix::libc::EISDIR)));
    assert_eq!(files(&path), Vec::<String>::new());
}

fn forked(_: &System) {
    let (_dir, path) = place();
    let (first, second) = (Pidfile::start(&path).unwrap(), Pidfile::start(path.with_extension("2")).unwrap());
    let mut both = Some((first, second));
    in_child(|| {
        // The parent has it, not this one, and not both.
        let parent = Pid::try_from(std::os::unix::process::parent_id()).unwrap();
        assert_eq!(taken_by(Pidfile::start(&path)), Some(parent));
        assert!(matches!(Pidfile::adopt(&path), Err(Error::Pidfile { is: PidfileIs::Taken { pid }, .. }) if pid == parent));
        let (first, second) = both.take().unwrap();
        drop(first);
        assert!(!second.remove().unwrap());
    });
    assert_eq!(files(&path).len(), 2);
    drop(both);
    assert_eq!(files(&path), Vec::<String>::new());
}

fn lost(system: &System) {
    let (_dir, path) = place();
    let mut removed = Pidfile::start(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let is_lost = |answer: Result<()>| matches!(answer, Err(Error::Pidfile { is: PidfileIs::Lost, .. }));
    assert!(is_lost(removed.hand_over(&own())));
    // Somebody else's, of the same text even.
    let theirs = Pidfile::start(&path).unwrap();
    assert!(is_lost(removed.hand_over(&own())));
    assert!(!removed.remove().unwrap());
    assert!(path.exists());
    drop(theirs);
    let replaced = Pidfile::start(&path).unwrap();
    let child = sleeper(system);
    fs::remove_file(&path).unwrap();
    let theirs = Pidfile::create(&path, &child).unwrap();
    drop(replaced);
    assert_eq!(taken_by(Pidfile::start(&path)), Some(child.pid()));
    assert!(is_lost(Pidfile::adopt(path.with_extension("other")).map(drop)));
    drop(theirs);
    end(&child);
}

fn busy(system: &System) {
    let (_dir, path) = place();
    let stale = stale(system);
    fs::write(&path, &stale).unwrap();
    let other = fs::File::options().write(true).open(&path).unwrap();
    assert!(steadfast_linux::lock_file(std::os::fd::AsFd::as_fd(&other)).unwrap());
    let begun = system.now();
    let error = Pidfile::start(&path).unwrap_err();
    assert!(matches!(&error, Error::Pidfile { is: PidfileIs::Busy { .. }, .. }), "{error}");
    let waited = system.now() - begun;
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(20), "{waited:?}");
    drop(other);
    let pidfile = Pidfile::start(&path).unwrap();
    let other = fs::File::options().write(true).open(&path).unwrap();
    assert!(steadfast_linux::lock_file(std::os::fd::AsFd::as_fd(&other)).unwrap());
    // Who only looks needs no lock.
    assert_eq!(taken_by(Pidfile::start(&path)), Some(own().pid()));
    let begun = system.now();
    drop(pidfile);
    assert!(system.now() - begun < Duration::from_secs(2) && path.exists());
}

fn stopped(system: &System) {
    let (_dir, path) = place();
    let grace = Teardown::graceful(Duration::from_secs(60));
    let nothing = Pidfile::stop(&path, &grace).unwrap();
    assert!(nothing.is_over() && nothing.signal().is_none());
    let child = sleeper(system);
    Pidfile::create(&path, &child).unwrap().keep();
    // Another program reaps nothing: it is a zombie then.
    in_child(|| {
        let stopped = Pidfile::stop(&path, &grace).unwrap();
        assert_eq!(stopped.to_string(), "ended after SIGTERM");
    });
    assert!(!path.exists() && is_over(child.pid()));
    child.wait().unwrap();
    // By the program whose child it is.
    let child = sleeper(system);
    Pidfile::create(&path, &child).unwrap().keep();
    assert!(Pidfile::stop(&path, &grace).unwrap().is_over());
    assert!(!path.exists());
    _ = child.wait();
    // One that does not end keeps its file.
    let child = sleeper(system);
    let _file = Pidfile::create(&path, &child).unwrap();
    let stopped = Pidfile::stop(&path, &Teardown::signal(steadfast::Signal::CONT, Duration::ZERO)).unwrap();
    assert!(!stopped.is_over() && path.exists());
    // Whose number it is may be anybody.
    let other = path.with_extension("old");
    fs::write(&other, format!("{}\n", child.pid())).unwrap();
    assert_eq!(Pidfile::stop(&other, &grace).unwrap_err().kind(), ErrorKind::Pidfile);
    assert_eq!(child.try_wait().unwrap(), None);
    end(&child);
}

fn handed_over(system: &System) {
    let (_dir, path) = place();
    let child = sleeper(system);
    let mut pidfile = Pidfile::start(&path).unwrap();
    pidfile.hand_over(&child).unwrap();
    assert_eq!(pidfile.identity().pid(), child.pid());
    assert_eq!(taken_by(Pidfile::start(&path)), Some(child.pid()));
    assert!(matches!(Pidfile::adopt(&path), Err(Error::Pidfile { is: PidfileIs::Taken { pid }, .. }) if pid == child.pid()));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(1).unwrap().parse::<Identity>().is_ok(), "{text}");
    // And back again, as one that is done with it.
    pidfile.hand_over(&own()).unwrap();
    end(&child);
    assert_eq!(pidfile.hand_over(&child).unwrap_err().kind(), ErrorKind::ProcessDone);
    pidfile.keep();
    assert_eq!(files(&path), ["daemon.pid"]);
    drop(Pidfile::adopt(&path).unwrap());
    assert_eq!(files(&path), Vec::<String>::new());
}

fn nothing_left(system: &System) {
    // What is opened once.
    let all = || {
        let _here = system.enter();
        for check in [whole, unknown, other_boot, no_files, lost, stopped, handed_over] {
            check(system);
        }
    };
    all();
    let before = (descriptors(), children());
    all();
    until("all descriptors are closed", || (descriptors(), children()) == before);
}

fn read_only() -> Outcome {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _here = system.enter();
        let (dir, path) = place();
        let stale = stale(system);
        fs::write(path.with_extension("stale"), &stale).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        in_child(|| {
            // Root may write anywhere.
            if nix::unistd::Uid::effective().is_root() {
                become_nobody();
            }
            assert!(matches!(Pidfile::status(&path).unwrap(), PidfileStatus::Absent));
            for file in [&path, &path.with_extension("stale")] {
                let error = Pidfile::start(file).unwrap_err();
                assert!(error.errno() == Some(Errno::ACCES) && error.to_string().contains("daemon."), "{error}");
            }
        });
        assert_eq!(fs::read_to_string(path.with_extension("stale")).unwrap(), stale);
    }
    Outcome::Passed
}

fn of_another_user() -> Outcome {
    let (_dir, path) = place();
    let identity = name(&own());
    fs::write(&path, format!("{}\n{identity}\n", identity.pid())).unwrap();
    if chown(&path, Some(NOBODY), None).is_err() {
        return Outcome::Skipped("files cannot be given to another user here".into());
    }
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _here = system.enter();
        // He has it name us, and waits for root to stop that.
        let PidfileStatus::Unknown(why) = Pidfile::status(&path).unwrap() else { panic!("it is believed") };
        assert!(why.to_string().contains("user 65534"), "{why}");
        assert_eq!(Pidfile::stop(&path, &Teardown::killing()).unwrap_err().kind(), ErrorKind::Pidfile);
        // A service that has its own.
        let his = path.with_extension("his");
        let child = system.spawn(Command::new("/bin/sleep").arg("1000").uid(NOBODY).gid(NOBODY)).unwrap();
        let identity = name(&child);
        fs::write(&his, format!("{}\n{identity}\n", identity.pid())).unwrap();
        chown(&his, Some(NOBODY), None).unwrap();
        let status = Pidfile::status(&his).unwrap();
        assert!(matches!(status, PidfileStatus::Running(_)), "{status:?}");
        fs::remove_file(his).unwrap();
        end(&child);
    }
    Outcome::Passed
}
