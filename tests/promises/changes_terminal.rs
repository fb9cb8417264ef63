//! The terminal of those who stop: it comes back, is given again, and a shell that is built so works at a keyboard.

use crate::Test;
use crate::errors::each_system;
use crate::examples::with_example;
use crate::input::{runtime, sh};
use crate::leaks::{children, descriptors, until};
use crate::ptys_foreground::{foreground, give, holder, in_terminal, is_ours, tty};
use crate::stage::row;
use nix::unistd::{Pid as RawPid, getpgrp};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use steadfast::{Change, Child, Command, Containment, Errno, ErrorKind, Job, Pty, Signal, System};

pub(crate) fn tests() -> Vec<Test> {
    let backends = ["pidfd", "pid-legacy"];
    let mut tests = vec![
        Test::new("terminal: it comes back with a stop, on every way to hear of it, and is given again", || {
            each_system(|system| in_terminal(system, "(stops)"));
        }),
        Test::new("terminal: a job has it until that is dropped, and refusals leave it where it is", || {
            each_system(|system| in_terminal(system, "(gives it to a job)"));
        }),
    ];
    for backend in backends {
        let check = move || with_example("shell", |shell| at_a_keyboard(shell, backend));
        tests.push(Test::that_may_skip(format!("examples: shell at a keyboard, {backend}: Ctrl-Z, jobs, bg, fg, Ctrl-C"), check));
        let check = move || with_example("shell", |shell| pipeline(shell, backend));
        tests.push(Test::that_may_skip(format!("examples: shell at a keyboard, {backend}: a pipeline is one job"), check));
    }
    tests.push(Test::that_may_skip("examples: shell at a keyboard: who reads in the background stops", || {
        with_example("shell", |shell| reads_in_background(shell))
    }));
    tests
}

/// What a program started again by [`role`](crate::surroundings::role) does.
pub(crate) const ROLES: &[(&str, fn())] = &[("(stops)", each_way), ("(gives it to a job)", jobs)];

const STOPPED: Change = Change::Stopped(Signal::TSTP);

fn is_the_childs(child: &Child) {
    assert_eq!(foreground().as_raw(), child.pid().as_raw());
}

fn each_way() {
    let system = System::detect().unwrap();
    let _here = system.enter();
    let long = Duration::from_secs(60);
    type Wait = fn(&Child, Duration) -> Change;
    let waits: &[(&str, Wait)] = &[
        ("wait_change", |child, _| child.wait_change().unwrap()),
        ("wait_change_timeout", |child, long| child.wait_change_timeout(long).unwrap().unwrap()),
        ("wait_change_deadline", |child, long| {
            child.wait_change_deadline(System::current().unwrap().now() + long).unwrap().unwrap()
        }),
        ("try_wait_change", |child, _| {
            let mut change = None;
            until("there is news", || {
                change = child.try_wait_change().unwrap();
                change.is_some()
            });
            change.unwrap()
        }),
    ];
    for (name, wait) in waits {
        let _row = row(name);
        let mut child = holder();
        for _ in 0..3 {
            child.process().signal(Signal::TSTP).unwrap();
            assert_eq!(wait(&child, long), STOPPED);
            is_ours();
            child.continue_in_foreground(tty()).unwrap();
            is_the_childs(&child);
            assert_eq!(wait(&child, long), Change::Continued);
            is_the_childs(&child);
        }
        child.process().kill().unwrap();
        assert!(wait(&child, long).status().is_some());
        is_ours();
    }
    let _row = row("in a task");
    runtime().block_on(async {
        let mut child = steadfast::tokio::Child::from(holder());
        child.signal(Signal::TSTP).unwrap();
        assert_eq!(child.wait_change().await.unwrap(), STOPPED);
        is_ours();
        child.continue_in_foreground(tty()).unwrap();
        assert_eq!(foreground().as_raw(), child.pid().as_raw());
        child.kill().unwrap();
        while child.wait_change().await.unwrap().status().is_none() {}
        is_ours();
    });
    let _row = row("stopped, and nobody has heard of it: it has the terminal still");
    let mut child = holder();
    child.process().signal(Signal::TSTP).unwrap();
    until("it stops", || is_in_state(child.pid().as_raw(), 'T'));
    child.continue_in_foreground(tty()).unwrap();
    is_the_childs(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    is_ours();
    let _row = row("started in the background");
    let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    child.continue_in_foreground(tty()).unwrap();
    is_the_childs(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    is_ours();
}

fn jobs() {
    let system = System::detect().unwrap();
    let _here = system.enter();
    let job = Job::builder().containment(Containment::Group).build().unwrap();
    {
        let _given = job.continue_in_foreground(tty()).unwrap();
        assert_ne!(foreground(), getpgrp());
        // It is there before anybody is in it; and whoever is, reads.
        let reader = sh("read -r line < /dev/tty; test \"$line\" = typed").spawn_in(&job).unwrap();
        until("it reads", || is_in_state(reader.pid().as_raw(), 'S'));
        reader.signal(Signal::TSTP).unwrap();
        assert_eq!(reader.wait_change().unwrap(), STOPPED);
        // By a foreground in a foreground, which is none of ours to give.
        assert_eq!(job.continue_in_foreground(tty()).unwrap_err().errno(), Some(Errno::PERM));
        job.signal(Signal::CONT).unwrap();
        assert_eq!(reader.wait_change().unwrap(), Change::Continued);
        reader.kill().unwrap();
        reader.wait().unwrap();
        assert_ne!(foreground(), getpgrp());
    }
    is_ours();
    let _row = row("refusals");
    let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    let no_tty = File::open("/dev/null").unwrap();
    assert_eq!(child.continue_in_foreground(no_tty.try_clone().unwrap()).unwrap_err().errno(), Some(Errno::NOTTY));
    assert_eq!(job.continue_in_foreground(no_tty).unwrap_err().errno(), Some(Errno::NOTTY));
    give(RawPid::from_raw(child.pid().as_raw()));
    assert_eq!(job.continue_in_foreground(tty()).unwrap_err().errno(), Some(Errno::PERM));
    is_the_childs(&child);
    give(getpgrp());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(child.continue_in_foreground(tty()).unwrap_err().kind(), ErrorKind::ProcessDone);
    is_ours();
    let mut member = Command::new("sleep").arg("1000").spawn().unwrap();
    let error = member.continue_in_foreground(tty()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoGroup, "{error}");
    member.kill().unwrap();
    member.wait().unwrap();
    is_ours();
    job.kill().unwrap();
    assert_eq!(job.continue_in_foreground(tty()).unwrap_err().kind(), ErrorKind::JobOver);
    is_ours();
}

/// As `ps` shows it.
fn is_in_state(pid: i32, state: char) -> bool {
    stat(pid).is_some_and(|(_, seen, _)| seen == state)
}

/// Name, state, group.
fn stat(pid: i32) -> Option<(String, char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (begin, rest) = text.rsplit_once(") ")?;
    let name = begin.split_once('(')?.1.to_owned();
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((name, state, group))
}

/// A shell, and who sits at it.
struct Session {
    pty: Pty,
    shell: Child,
    /// What was read, and is not used up.
    said: String,
}

impl Session {
    fn begin(program: &Path, backend: &str) -> Session {
        let pty = Pty::open().unwrap();
        pty.echo(false).unwrap();
        let shell = Command::new(program).env("STEADFAST_BACKEND", backend).pty(&pty).kill_on_drop(true).spawn().unwrap();
        let mut session = Session { pty, shell, said: String::new() };
        session.expect("$ ");
        session
    }

    /// Reads until this was said; what was said before it.
    fn expect(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.said.find(wanted) {
                let rest = self.said.split_off(at + wanted.len());
                return std::mem::replace(&mut self.said, rest);
            }
            let mut buffer = [0; 4096];
            let read = self.pty.read(&mut buffer).unwrap();
            assert!(read > 0, "the end instead of {wanted:?}, behind {:?}", self.said);
            self.said.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }

    fn key(&mut self, key: &str) {
        self.pty.write_all(key.as_bytes()).unwrap();
    }

    /// A line that is done at once, and its answer.
    fn line(&mut self, line: &str) -> String {
        self.key(&format!("{line}\n"));
        self.expect("$ ").trim_end_matches("$ ").replace("\r\n", "\n")
    }

    /// Those of these names in the group that is in the foreground, once it is not the shell's, and all of them are in it.
    fn until_in_foreground(&self, names: &[&str]) -> Vec<i32> {
        let mut members = Vec::new();
        until("they are in the foreground", || {
            let group = nix::unistd::tcgetpgrp(&self.pty).unwrap().as_raw();
            let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let of_group = pids.filter(|pid| {
                stat(*pid).is_some_and(|(name, state, its)| its == group && state != 'Z' && names.contains(&name.as_str()))
            });
            members = of_group.collect();
            group != self.shell.pid().as_raw() && members.len() == names.len()
        });
        members
    }

    fn end(mut self) {
        self.key("exit\n");
        assert!(self.shell.wait().unwrap().success());
    }
}

fn clean(check: impl FnOnce()) {
    let before = descriptors();
    check();
    assert_eq!((descriptors(), children()), (before, vec![]));
}

fn at_a_keyboard(program: &Path, backend: &str) {
    clean(|| {
        let mut session = Session::begin(program, backend);
        session.key("sleep 1000\n");
        let sleeper = session.until_in_foreground(&["sleep"])[0];
        session.key("\x1a");
        session.expect("[1] Stopped (SIGTSTP)  sleep 1000\r\n$ ");
        assert!(is_in_state(sleeper, 'T'));
        assert_eq!(session.line("echo $?"), "148\n");
        assert_eq!(session.line("jobs"), "[1] Stopped (SIGTSTP)  sleep 1000\n");
        assert_eq!(session.line("bg"), "[1] sleep 1000 &\n");
        assert_eq!(session.line("jobs"), "[1] Running  sleep 1000\n");
        until("it goes on", || is_in_state(sleeper, 'S'));
        session.key("fg\n");
        session.expect("sleep 1000\r\n");
        assert_eq!(session.until_in_foreground(&["sleep"]), [sleeper]);
        session.key("\x03");
        session.expect("$ ");
        assert_eq!(session.line("echo $?"), "130\n");
        assert_eq!(session.line("jobs"), "");
        // At the prompt the keys end nobody.
        session.key("\x03\x1a");
        assert_eq!(session.line("false"), "");
        assert_eq!(session.line("echo $?"), "1\n");
        // Killed by somebody else while it is stopped: told at the next prompt, once.
        session.key("sleep 1000\n");
        let sleeper = session.until_in_foreground(&["sleep"])[0];
        session.key("\x1a");
        session.expect("Stopped (SIGTSTP)  sleep 1000\r\n$ ");
        nix::sys::signal::kill(RawPid::from_raw(sleeper), nix::sys::signal::Signal::SIGKILL).unwrap();
        until("it has ended", || is_in_state(sleeper, 'Z'));
        assert_eq!(session.line(""), "[1] Ended (signal: 9 (SIGKILL))  sleep 1000\n");
        assert_eq!(session.line("jobs"), "");
        session.end();
    });
}

fn pipeline(program: &Path, backend: &str) {
    clean(|| {
        let mut session = Session::begin(program, backend);
        session.key("sleep 1000 | cat | cat\n");
        let members = session.until_in_foreground(&["cat", "cat", "sleep"]);
        session.key("\x1a");
        session.expect("[1] Stopped (SIGTSTP)  sleep 1000 | cat | cat\r\n$ ");
        assert!(members.iter().all(|pid| is_in_state(*pid, 'T')));
        session.key("fg\n");
        session.expect("cat\r\n");
        let mut again = session.until_in_foreground(&["cat", "cat", "sleep"]);
        again.sort_unstable();
        let mut before = members.clone();
        before.sort_unstable();
        assert_eq!(again, before);
        until("all go on", || members.iter().all(|pid| is_in_state(*pid, 'S')));
        session.key("\x03");
        session.expect("$ ");
        assert_eq!(session.line("echo $?"), "130\n");
        // The first one ends long before: the job has the terminal still, and its number.
        session.key("true | sleep 1000\n");
        session.until_in_foreground(&["sleep"]);
        session.key("\x1a");
        session.expect("[1] Stopped (SIGTSTP)  true | sleep 1000\r\n$ ");
        session.key("fg\n");
        session.expect("sleep 1000\r\n");
        let sleeper = session.until_in_foreground(&["sleep"])[0];
        until("it goes on", || is_in_state(sleeper, 'S'));
        session.key("\x03");
        session.expect("$ ");
        session.end();
    });
}

fn reads_in_background(program: &Path) {
    clean(|| {
        let mut session = Session::begin(program, System::detect().unwrap().backend_name());
        // That it has stopped is told before some prompt: this one already, or a later one.
        let mut said = session.line("cat &");
        until("the shell has told that it has stopped", || {
            said.push_str(&session.line(""));
            said.contains("Stopped")
        });
        assert_eq!(said, "[1] cat\n[1] Stopped (SIGTTIN)  cat\n");
        session.key("fg\n");
        session.expect("cat\r\n");
        session.until_in_foreground(&["cat"]);
        session.key("typed\n");
        session.expect("typed\r\n");
        session.key("\x04");
        session.expect("$ ");
        assert_eq!(session.line("echo $?"), "0\n");
        session.end();
    });
}
