//! 100,000 PIDs recycled on purpose, while threads signal through the old handles.

use crate::Test;
use crate::stage::Outcome;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::{Receiver, sync_channel};
use steadfast::{Command, ErrorKind, Process, Stdio, System};
use xtask::namespace::set_next_pid;

const ROUNDS: u32 = 100_000;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("recycling: 100,000 PIDs, concurrent signals, no stranger hit: pidfd", || {
            match System::pidfd() {
                Ok(system) => storm(&system),
                Err(error) => Outcome::Skipped(error.to_string()),
            }
        })
        .in_namespace(),
        Test::that_may_skip("recycling: 100,000 PIDs, concurrent signals, no stranger hit: pid-legacy", || {
            storm(&System::pid_legacy())
        })
        .in_namespace(),
    ]
}

/// In each round a first process is killed and waited for while another thread sends it `SIGKILL`, some of them before its end,
/// some during the reap, some after. Then a second process has its PID, and both go on signalling through the old handles. Nobody
/// but us may end the second: it leaves by itself, with code 0. By number it would have been hit, which is counted too, or else
/// the test could not fail.
fn storm(system: &System) -> Outcome {
    let (aim, targets) = sync_channel::<Process>(1);
    let (mut recycled, mut reachable_by_number) = (0, 0);
    std::thread::scope(|scope| {
        let signaller = scope.spawn(move || signal_all(&targets));
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Stdio::piped());
        for round in 0.. {
            if recycled == ROUNDS {
                break;
            }
            assert!(round < 2 * ROUNDS, "only {recycled} of {round} PIDs could be recycled");
            let first = system.spawn(&mut cat).unwrap();
            aim.send(first.process().clone()).unwrap();
            // Not `Child::wait`, which would close its stdin and let it leave.
            assert_eq!(first.process().wait().unwrap().signal(), Some(9));
            set_next_pid(first.pid().as_raw()).unwrap();
            let second = system.spawn(&mut cat).unwrap();
            if second.pid() == first.pid() {
                recycled += 1;
                let number = nix::unistd::Pid::from_raw(first.pid().as_raw());
                reachable_by_number += u32::from(nix::sys::signal::kill(number, None).is_ok());
                assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
            }
            let status = second.wait().unwrap();
            assert!(status.success(), "a stranger was hit: {status}");
        }
        drop(aim);
        signaller.join().unwrap();
    });
    assert_eq!(reachable_by_number, recycled);
    Outcome::Passed
}

/// Signals each target until it is done and some times more, and with it the one of the round before.
fn signal_all(targets: &Receiver<Process>) {
    let mut last: Option<Process> = None;
    for target in targets {
        let mut late = 0;
        while late < 8 {
            for process in [Some(&target), last.as_ref()].into_iter().flatten() {
                match process.kill() {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ProcessDone, "{error}");
                        late += 1;
                    }
                }
            }
        }
        last = Some(target);
    }
}
