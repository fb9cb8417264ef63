//! Looks at real processes: each field is the process's, one by one, whoever else there is.

use crate::Test;
use crate::contract::ACTOR;
use crate::jobs::actor;
use crate::jobs_elsewhere::is_root;
use crate::leaks::{descriptors, each_backend, until};
use crate::stage::{Outcome, given, row};
use nix::mount::{MsFlags, mount};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use steadfast::{Child, Command, Errno, Error, ErrorKind, Inspection, Pid, RunState, Stdio, System};
use xtask::namespace::set_next_pid;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("looks: each field says what the kernel says of the process", || each_backend(fields)),
        Test::new("looks: another program since: Changed, and a new look sees it", || each_backend(changed)),
        Test::new("looks: parents and children are handles, and theirs for certain", || each_backend(family)),
        Test::new("looks: all processes of the machine, and each has a look or a reason", || each_backend(everybody)),
        Test::that_may_skip("looks: of another user: what may be seen, and EACCES for the rest", of_another_user),
        Test::that_may_skip("looks: where /proc hides others: an error, and not that it is gone", hidden).in_namespace(),
        Test::new("looks: while the number is given away: no field of a stranger", recycled).in_namespace(),
    ]
}

fn spawn(system: &System, words: &[&str]) -> Child {
    let mut command = actor(words);
    let mut child =
        system.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("LOOK", "at me").env("EMPTY", "")).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child
}

fn fields(system: &System) {
    let before = descriptors();
    let child = spawn(system, &["beget", "session"]);
    let look = child.inspect().unwrap();
    let facts = look.facts().unwrap();
    let own = Pid::new(std::process::id() as i32).unwrap();
    assert_eq!((facts.parent, facts.threads), (Some(own), 1));
    until("it waits", || look.facts().unwrap().state == RunState::Sleeping);
    assert_eq!(facts.group, nix::unistd::getpgrp().as_raw());
    assert!(facts.address_space > facts.resident && facts.resident > 4096, "{facts:?}");
    assert!(facts.image.is_some() && look.first_facts().image == facts.image);
    let status = look.status().unwrap();
    assert_eq!((status.pid, status.ruid, status.threads), (child.pid().as_raw(), Uid::current().as_raw(), 1));
    assert_eq!(look.command_line().unwrap(), [ACTOR, "beget", "session"]);
    assert_eq!(look.command_line_timeout(Duration::from_secs(60)).unwrap(), [ACTOR, "beget", "session"]);
    for environment in [look.environment().unwrap(), look.environment_timeout(Duration::from_secs(60)).unwrap()] {
        assert!(environment.contains(&("LOOK".into(), "at me".into())) && environment.contains(&("EMPTY".into(), "".into())));
    }
    assert_eq!(look.current_dir().unwrap(), std::env::current_dir().unwrap());
    let path = look.executable_path().unwrap();
    assert_eq!(path, fs::canonicalize(ACTOR).unwrap());
    let file = rustix::fs::fstat(look.executable().unwrap().as_fd()).unwrap();
    assert_eq!((file.st_dev, file.st_ino), (fs::metadata(&path).unwrap().dev(), fs::metadata(&path).unwrap().ino()));
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", child.pid())).unwrap();
    assert_eq!(look.cgroup().unwrap().is_some(), cgroup.contains("0::"));
    assert_eq!(format!("{look:?}"), format!("Inspection({}, \"{}\")", child.pid(), facts.name.to_str().unwrap()));

    child.kill().unwrap();
    until("it is a zombie", || look.facts().unwrap().state == RunState::Zombie);
    assert_eq!(look.command_line().unwrap_err().kind(), ErrorKind::Changed, "it has exited since");
    child.wait().unwrap();
    let gone = |error: Error| assert!(matches!(error, Error::ProcessDone { pid } if pid == child.pid()), "{error:?}");
    gone(look.facts().unwrap_err());
    gone(look.status().unwrap_err());
    gone(look.command_line().unwrap_err());
    gone(look.environment().unwrap_err());
    gone(look.executable().unwrap_err());
    gone(look.current_dir().unwrap_err());
    gone(look.cgroup().unwrap_err());
    gone(look.children().unwrap_err());
    gone(look.parent().unwrap_err());
    drop((look, child));
    until("no descriptor is left", || descriptors() == before);
}

fn changed(system: &System) {
    let mut command = Command::new("sh");
    command.args(["-c", "read go; exec sleep 60"]).stdin(Stdio::piped());
    let mut child = system.spawn(&command).unwrap();
    let look = child.inspect().unwrap();
    assert_eq!(look.command_line().unwrap()[0], "sh");
    writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    until("it has executed the other one", || look.facts().unwrap().name == "sleep");
    for error in [
        look.command_line().unwrap_err(),
        look.command_line_timeout(Duration::from_secs(60)).unwrap_err(),
        look.environment().unwrap_err(),
        look.executable().map(drop).unwrap_err(),
        look.executable_path().unwrap_err(),
    ] {
        assert!(matches!(error, Error::Changed { pid } if pid == child.pid()), "{error:?}");
        assert!(error.to_string().contains("begin a new one"), "{error}");
    }
    assert_eq!(look.first_facts().name, "sh");
    // What is the process's, and not the program's, is told as ever.
    look.current_dir().unwrap();
    assert_eq!(child.inspect().unwrap().command_line().unwrap(), ["sleep", "60"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn family(system: &System) {
    let child = spawn(system, &["beget", "child"]);
    let look = child.inspect().unwrap();
    let parent = look.parent().unwrap().expect("we are to be seen");
    assert_eq!(parent.pid().as_raw() as u32, std::process::id());
    let children = look.children().unwrap();
    assert_eq!(children.len(), 1);
    let grandchild = &children[0];
    assert_eq!(grandchild.inspect().unwrap().parent().unwrap().map(|parent| parent.pid()), Some(child.pid()));
    child.kill().unwrap();
    child.wait().unwrap();
    grandchild.kill().unwrap();
    grandchild.wait_gone().unwrap();
    assert_eq!(grandchild.inspect().unwrap_err().kind(), ErrorKind::ProcessDone);
}

fn everybody(system: &System) {
    let child = spawn(system, &["forever"]);
    let mut seen = Vec::new();
    for process in system.processes().unwrap() {
        let process = process.unwrap();
        match process.inspect().and_then(|look| look.facts()) {
            Ok(facts) => assert!(!facts.name.is_empty(), "{facts:?}"),
            // It has ended meanwhile.
            Err(Error::ProcessDone { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        seen.push(process.pid());
    }
    assert!(seen.contains(&child.pid()) && seen.is_sorted(), "{seen:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn of_another_user() -> Outcome {
    given!(is_root());
    System::detect().unwrap();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(61_239)).unwrap();
    setuid(Uid::from_raw(61_239)).unwrap();
    each_backend(|system| {
        let other = system.find(Pid::new(1).unwrap()).unwrap();
        let look = other.inspect().unwrap();
        let facts = look.facts().unwrap();
        assert!(!facts.name.is_empty() && facts.image.is_none(), "{facts:?}");
        look.command_line().unwrap();
        for error in [look.environment().unwrap_err(), look.executable_path().unwrap_err(), look.current_dir().unwrap_err()] {
            assert!(matches!(error.errno(), Some(Errno::ACCES | Errno::PERM)), "{error:?}");
            assert!(error.to_string().contains("process 1"), "{error}");
        }
    });
    Outcome::Passed
}

/// In a PID namespace of its own, whose `/proc` is nobody else's.
fn hidden() -> Outcome {
    given!(is_root());
    System::detect().unwrap();
    if let Err(errno) = mount(None::<&str>, "/proc", Some("proc"), MsFlags::MS_REMOUNT, Some("hidepid=2")) {
        return Outcome::Skipped(format!("remount /proc with hidepid: {errno}"));
    }
    let Ok(system) = System::pidfd() else {
        return Outcome::Skipped("there are no pidfds here, by which a hidden one could be found".into());
    };
    let other = system.spawn(actor(&["forever"]).stdin(Stdio::null())).unwrap();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(61_240)).unwrap();
    setuid(Uid::from_raw(61_240)).unwrap();
    let found = system.find(other.pid()).unwrap();
    let error = found.inspect().unwrap_err();
    assert!(matches!(&error, Error::System { call: "open /proc/PID", source: Errno::NOENT, .. }), "{error:?}");
    assert_eq!(found.try_wait().unwrap(), None, "it is there");
    Outcome::Passed
}

/// Each life says who it is by its arguments, and all have one number, one after the other, while two threads look at those before.
fn recycled() {
    let rounds = std::env::var("STEADFAST_RECYCLES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400_u32);
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _row = row(system.backend_name());
        let mut pid = None;
        let mut given_away = 0;
        std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| {
                let (send, receive) = sync_channel::<(Inspection, String)>(4);
                scope.spawn(move || {
                    for (look, name) in receive {
                        while sees_it(&look, &name) {}
                    }
                });
                send
            });
            for round in 0..rounds {
                let name = format!("60.{round}");
                if let Some(pid) = pid {
                    set_next_pid(pid).unwrap();
                }
                let child = system.spawn(Command::new("sleep").arg(&name).stdin(Stdio::null())).unwrap();
                given_away += u32::from(pid == Some(child.pid().as_raw()));
                pid = Some(child.pid().as_raw());
                for (reader, found) in readers.iter().zip([false, true]) {
                    let look = if found { system.find(child.pid()).and_then(|found| found.inspect()) } else { child.inspect() };
                    reader.send((look.unwrap(), name.clone())).unwrap();
                }
                child.kill().unwrap();
                child.wait().unwrap();
            }
        });
        assert!(given_away > rounds / 2, "only {given_away} of {rounds} times was the number given away");
    }
}

/// Whether it is there; and then it is this one.
fn sees_it(look: &Inspection, name: &str) -> bool {
    let is_done = |error: &Error| matches!(error, Error::ProcessDone { .. });
    match look.command_line() {
        Ok(words) => assert_eq!(words.last().and_then(|word| word.to_str()), Some(name)),
        // It is a zombie by now.
        Err(Error::Changed { .. }) => {}
        Err(error) => {
            assert!(is_done(&error), "{error:?}");
            return false;
        }
    }
    match look.facts() {
        Ok(facts) => assert_eq!(facts.started, look.first_facts().started),
        Err(error) => assert!(is_done(&error), "{error:?}"),
    }
    match look.status() {
        Ok(status) => assert_eq!(status.pid, look.pid().as_raw()),
        Err(error) => assert!(is_done(&error), "{error:?}"),
    }
    true
}
