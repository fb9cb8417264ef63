//! The shell's logic on simulated processes, without a terminal: what its keys would do, another thread does.

use crate::line::Line;
use crate::shell::{Shell, Then};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steadfast::Signal;
use steadfast::mock::{Kernel, Script, Sim, Simulated};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the shell has written.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// Since the last time.
    fn said(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn kernel() -> Kernel {
    Kernel::builder()
        .pid_max(60)
        .program("sleep", Script::new().sleep(seconds(10)).exit(0))
        .program("false", Script::new().exit(1))
        .program("yes", Script::new().loop_forever(Script::new().write_stdout("y\n").sleep(seconds(1))))
        // As an editor on Ctrl-Z: the whole group, whoever is in it.
        .program("stops", Script::new().sleep(seconds(1)).signal_group(Signal::TSTP).sleep(seconds(1)).exit(7))
        .program("head", Script::new().read_stdin_line().exit(0))
        .build()
}

fn shell() -> (Shell<Screen>, Screen) {
    let screen = Screen::default();
    (Shell::new(None, screen.clone()), screen)
}

/// What each of these lines brings to the screen.
fn session(lines: &[(&str, &str)]) {
    let (mut shell, screen) = shell();
    for (line, answer) in lines {
        shell.tell().unwrap();
        assert_eq!(shell.execute(line).unwrap(), Then::Next);
        assert_eq!(screen.said(), *answer, "{line:?}");
    }
}

#[test]
fn a_line_is_commands_and_words() {
    let words = |line: &str| Line::parse(line).unwrap().map(|line| (line.commands.concat().join(","), line.in_background));
    assert_eq!(words("  "), None);
    assert_eq!(words(" a  b|c &"), Some(("a,b,c".into(), true)));
    for wrong in ["&", "|", "a |", "| a", "a || b"] {
        Line::parse(wrong).unwrap_err();
    }
}

#[test]
fn what_stops_is_a_job_and_goes_on_in_the_foreground_or_the_background() {
    let _here = kernel().system().enter();
    session(&[
        ("false", ""),
        ("echo $?", "1\n"),
        ("stops", "\n[1] Stopped (SIGTSTP)  stops\n"),
        ("echo $?", "148\n"),
        ("jobs", "[1] Stopped (SIGTSTP)  stops\n"),
        ("sleep 10 &", "[2] sleep 10\n"),
        ("bg 1", "[1] stops &\n"),
        ("jobs", "[1] Running  stops\n[2] Running  sleep 10\n"),
        ("fg 1", "stops\n"),
        ("echo $?", "7\n"),
        ("fg", "sleep 10\n"),
        ("echo $?", "0\n"),
        ("fg", "shell: no such job\n"),
        ("jobs", ""),
    ]);
}

#[test]
fn a_pipeline_stops_and_goes_on_as_one() {
    let _here = kernel().system().enter();
    session(&[
        ("yes | stops", "\n[1] Stopped (SIGTSTP)  yes | stops\n"),
        ("jobs", "[1] Stopped (SIGTSTP)  yes | stops\n"),
        // `yes` ends by SIGPIPE, when nobody reads it any more.
        ("fg", "yes | stops\n"),
        ("echo $?", "7\n"),
        ("yes | head", ""),
        ("false | sleep 10", ""),
        ("echo $?", "0\n"),
        ("jobs", ""),
    ]);
}

/// Somebody presses Ctrl-Z at any moment, or Ctrl-C: the shell is never held up, and what it says of the job is so.
fn keys(sim: &Sim) {
    let (mut shell, screen) = shell();
    let keyboard = sim.clone();
    let signals = [Signal::TSTP, Signal::INT];
    let pressed: Vec<Signal> = (0..3).map(|_| signals[sim.random(0..2) as usize]).collect();
    let keys = sim.spawn(move || {
        for signal in pressed {
            keyboard.system().sleep(keyboard.random_time(seconds(8)));
            for pid in keyboard.processes() {
                _ = keyboard.signal(pid, signal);
            }
        }
    });
    shell.execute("sleep 10 | sleep 10").unwrap();
    let said = screen.said();
    shell.execute("echo $?").unwrap();
    let code = screen.said();
    match said.as_str() {
        // Nobody has pressed anything in time, or only the first was hit.
        "" => assert!(["0\n", "130\n"].contains(&code.as_str()), "{code}"),
        "\n" => assert_eq!(code, "130\n"),
        stopped => {
            assert_eq!((stopped, code.as_str()), ("\n[1] Stopped (SIGTSTP)  sleep 10 | sleep 10\n", "148\n"));
            shell.execute("bg").unwrap();
        }
    }
    keys.join();
    // However it stands by now.
    for _ in 0..4 {
        shell.execute("fg").unwrap();
    }
    screen.said();
    shell.execute("jobs").unwrap();
    assert_eq!(screen.said(), "");
}

#[test]
fn keys_at_any_moment_in_10_000_orders() {
    kernel().explore(1..=10_000, keys);
}

/// On this machine, without a terminal.
#[test]
fn on_this_machine_too() {
    session(&[
        ("true", ""),
        ("false", ""),
        ("echo $?", "1\n"),
        (
            "/no/such/program",
            "shell: spawn `/no/such/program`: exec `/no/such/program`: No such file or directory (os error 2)\n",
        ),
        ("echo $?", "127\n"),
        ("sleep 0 | cat", ""),
    ]);
}
