//! Hazards of a terminal: Ctrl-Z.

use crate::library::Library;
use crate::stage::Stage;
use crate::subject::{Answer, Refusal};
use crate::verdict::{Seen, Verdict};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setpgid};
use std::time::Duration;
use steadfast_linux::bare;

/// A program in the foreground that starts others all the time. Ctrl-Z is a `SIGTSTP` for all of the group, and the shell waits for the stop.
pub(crate) fn ctrl_z(library: &Library, stage: &Stage) -> Answer<Seen> {
    const STOPS: u64 = 400;
    // Before the library has any thread, which a fork would not take along.
    let own_group = || setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let program = bare::fork(|| {
        _ = own_group();
        loop {
            // A status may be lost, and a start fail: here it is about the stop.
            _ = (library.start)(stage.exiting_at_once()).and_then(|mut subject| subject.wait());
        }
    });
    let program = Pid::from_raw(program.map_err(|errno| Refusal::Stage(errno.to_string()))?.as_raw());
    _ = setpgid(program, program);
    let mut seen = Seen::new(Verdict::Safe, format!("each of {STOPS} stops is seen"));
    for stop in 0..STOPS {
        stage.let_time_pass(Duration::from_micros(stop * 37 % 1000));
        killpg(program, Signal::SIGTSTP)?;
        if !stops(stage, program)? {
            seen = Seen::new(Verdict::WrongAnswer, format!("frozen at stop {}: the shell never hears of it", stop + 1));
            break;
        }
        killpg(program, Signal::SIGCONT)?;
    }
    killpg(program, Signal::SIGKILL)?;
    waitpid(program, None)?;
    Ok(seen)
}

/// Whether it does within a second, which is a thousand times as long as it takes.
fn stops(stage: &Stage, program: Pid) -> Answer<bool> {
    for _ in 0..2000 {
        match waitpid(program, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG))? {
            WaitStatus::Stopped(..) => return Ok(true),
            WaitStatus::StillAlive => stage.let_time_pass(Duration::from_micros(500)),
            other => return Err(Refusal::Stage(format!("it has ended: {other:?}"))),
        }
    }
    Ok(false)
}
