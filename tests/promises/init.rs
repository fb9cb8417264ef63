//! A program under an init of its own: orphans are reaped, nobody else's children are, and whoever has started it notices nothing.

use crate::Test;
use crate::contract::ACTOR;
use crate::jobs::actor;
use crate::leaks::until;
use crate::stage::{Outcome, row};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use steadfast::{Child, Command, Errno, Error, Namespaces, Pid, Process, Signal, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("under an init: orphans are reaped, and no child that somebody waits for", || orphans(None)),
        Test::that_may_skip("under an init: as process 1 of a PID namespace", process_one),
        Test::new("under an init: the program's end is told as it was, by code and by signal", || ends(None)),
        Test::new("under an init: signals are handed on, each once", signals),
        Test::new("under an init: it stops with the program, and both go on", stops),
        Test::new("under an init: killed, it takes the program with it", killed),
        Test::new("under an init: a pipe that the program closes is at its end", pipes),
        Test::new("under an init: a program that has threads is refused, and nothing has changed", threads),
    ]
}

/// What this program does when it is started again.
pub(crate) const ROLES: &[(&str, fn())] = &[("(under an init)", play)];

/// Reads lines, and does what they say.
fn play() {
    steadfast::run_under_init().unwrap();
    println!("{}", std::process::id());
    let lines = BufReader::new(std::io::stdin()).lines();
    for line in lines {
        match line.unwrap().split(' ').collect::<Vec<_>>()[..] {
            ["orphans"] => println!("{}", make_orphans()),
            ["exit", code] => std::process::exit(code.parse().unwrap()),
            ["die", signal] => nix::sys::signal::raise(signal.parse().unwrap()).unwrap(),
            ["stop"] => {
                nix::sys::signal::raise(nix::sys::signal::SIGSTOP).unwrap();
                println!("goes on");
            }
            ["close"] => {
                nix::unistd::close(1).unwrap();
                loop {
                    std::thread::park();
                }
            }
            ref other => panic!("{other:?}"),
        }
    }
}

/// Leaves many behind, and waits for children of each kind, which all have the code that they were told.
fn make_orphans() -> usize {
    let mut own = Vec::new();
    for code in 0..50_u8 {
        // Its child is an orphan, and ends by itself.
        let left = actor(&["pass-on", "exit", "9"]).status().unwrap();
        assert_eq!(left.code(), Some(0));
        let words = ["exit", &code.to_string()].map(str::to_owned);
        own.push((code, std::process::Command::new(ACTOR).args(&words).spawn().unwrap()));
        let ours = Command::new(ACTOR).args(&words).spawn().unwrap();
        assert_eq!(ours.wait().unwrap().code(), Some(code.into()));
    }
    // They have ended long ago.
    for (code, mut child) in own {
        assert_eq!(child.wait().unwrap().code(), Some(code.into()));
    }
    50
}

/// The program, and the process that it had from its start.
struct Played {
    init: Child,
    program: Pid,
    says: BufReader<steadfast::ChildStdout>,
}

impl Played {
    fn new(namespaces: Option<Namespaces>) -> Played {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("STEADFAST_TEST", "(under an init)").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(namespaces) = namespaces {
            command.namespaces(namespaces);
        }
        let mut init = System::detect().unwrap().spawn(&command).unwrap();
        let mut says = BufReader::new(init.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        Played { init, program: line.trim().parse().unwrap(), says }
    }

    fn tell(&mut self, words: &str) {
        writeln!(self.init.stdin.as_mut().unwrap(), "{words}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The children of the init, zombies included.
    fn children(&self) -> usize {
        let pid = self.init.pid();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().split_whitespace().count()
    }
}

fn orphans(namespaces: Option<Namespaces>) {
    let mut played = Played::new(namespaces);
    assert_ne!(played.program, played.init.pid());
    assert_eq!(played.children(), 1);
    played.tell("orphans");
    assert_eq!(played.hear(), "50");
    until("the orphans are reaped, and the program is not", || played.children() == 1);
    played.tell("exit 7");
    assert_eq!(played.init.wait().unwrap().code(), Some(7));
}

fn ends(namespaces: Option<Namespaces>) {
    for code in [0, 1, 255] {
        let mut played = Played::new(namespaces);
        played.tell(&format!("exit {code}"));
        assert_eq!(played.init.wait().unwrap().code(), Some(code));
    }
    for signal in [Signal::TERM, Signal::KILL, Signal::ABRT, Signal::USR1] {
        let _row = row(signal);
        let mut played = Played::new(namespaces);
        played.tell(&format!("die {signal}"));
        let status = played.init.wait().unwrap();
        match namespaces {
            None => assert_eq!((status.signal(), status.core_dumped()), (Some(signal.as_raw()), false)),
            // Process 1 cannot end by a signal of its own.
            Some(_) => assert_eq!(status.code(), Some(128 + signal.as_raw())),
        }
    }
}

fn process_one() -> Outcome {
    let namespaces = Namespaces::PID;
    let tried = System::detect().unwrap().spawn(actor(&["exit", "0"]).namespaces(namespaces));
    match tried {
        Ok(child) => drop(child.wait().unwrap()),
        Err(error) => return Outcome::Skipped(error.to_string()),
    }
    orphans(Some(namespaces));
    ends(Some(namespaces));
    Outcome::Passed
}

fn signals() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::USR2, Signal::real_time(3).unwrap()] {
        let _row = row(signal);
        let mut played = Played::new(None);
        // Whoever waits closes it, and at the end of its input the program ends by itself.
        let stdin = played.init.stdin.take();
        // It has no handler, and so the program ends by it; the init as it does.
        played.init.signal(signal).unwrap();
        let status = played.init.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        drop(stdin);
    }
}

fn stops() {
    let mut played = Played::new(None);
    let init = nix::unistd::Pid::from_raw(played.init.pid().as_raw());
    played.tell("stop");
    let stopped = waitpid(init, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(pid, _) if pid == init), "{stopped:?}");
    played.init.signal(Signal::CONT).unwrap();
    assert_eq!(played.hear(), "goes on");
    played.tell("exit 3");
    assert_eq!(played.init.wait().unwrap().code(), Some(3));
}

fn killed() {
    let mut played = Played::new(None);
    let stdin = played.init.stdin.take();
    let program = Process::find(played.program).unwrap();
    played.init.kill().unwrap();
    assert_eq!(played.init.wait().unwrap().signal(), Some(9));
    program.wait_gone().unwrap();
    drop(stdin);
}

fn pipes() {
    let mut played = Played::new(None);
    played.tell("close");
    let mut rest = Vec::new();
    played.says.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), played.init.try_wait().unwrap()), (0, None));
    played.init.signal(Signal::TERM).unwrap();
    assert_eq!(played.init.wait().unwrap().signal(), Some(15));
}

fn threads() {
    let before = nix::sys::prctl::get_child_subreaper().unwrap();
    let (begun, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || wait.recv());
        let error = steadfast::run_under_init().unwrap_err();
        assert!(matches!(&error, Error::System { call: "fork", source: Errno::BUSY, .. }), "{error:?}");
        assert!(error.to_string().contains("first in main"), "{error}");
        drop(begun);
    });
    assert_eq!(nix::sys::prctl::get_child_subreaper().unwrap(), before);
}
