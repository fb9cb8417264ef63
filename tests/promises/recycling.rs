//! 100,000 PIDs recycled on purpose, while threads signal through the old handles.

use crate::Test;
use crate::stage::Outcome;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use steadfast::{Command, ErrorKind, Process, Stdio, System};
use xtask::namespace::set_next_pid;

const ROUNDS: u32 = 100_000;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("recycling: 100,000 PIDs, concurrent signals, no stranger hit: pidfd", || match System::pidfd() {
            Ok(system) => storm(&system),
            Err(error) => Outcome::Skipped(error.to_string()),
        })
        .in_namespace(),
        Test::that_may_skip("recycling: 100,000 PIDs, concurrent signals, no stranger hit: pid-legacy", || {
            storm(&System::pid_legacy())
        })
        .in_namespace(),
    ]
}

/// A program that reads stdin to its end and exits with 0, as small as can be: 200,000 of them shall take seconds. With a dynamic
/// linker to be loaded, cat(1) takes six times as long; it will do on other architectures.
fn reader(path: &Path) -> PathBuf {
    if std::env::consts::ARCH != "x86_64" {
        return "/bin/cat".into();
    }
    // read(0, stack, 1) until it is 0; exit(0).
    let code: &[u8] = &[
        0x31, 0xc0, 0x31, 0xff, 0x48, 0x89, 0xe6, 0x6a, 0x01, 0x5a, 0x0f, 0x05, // read(0, rsp, 1), but for the push
        0x85, 0xc0, 0x7f, 0xf0, // test eax, eax; jg back to the beginning
        0x31, 0xff, 0x6a, 0x3c, 0x58, 0x0f, 0x05, // exit(0)
    ];
    const BASE: u64 = 0x40_0000;
    let size = 120 + code.len() as u64;
    let mut elf = Vec::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // e_type EXEC, e_machine x86-64, e_version; e_entry, e_phoff, e_shoff; e_flags, e_ehsize, e_phentsize, e_phnum, …
    elf.extend([2_u16, 62].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend(1_u32.to_le_bytes());
    elf.extend([BASE + 120, 64, 0].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    // One segment: LOAD, R+X, the whole file.
    elf.extend([1_u32, 5].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend([0, BASE, BASE, size, size, 0x1000].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend(code);
    std::fs::write(path, elf).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.to_owned()
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
        let dir = tempfile::tempdir().unwrap();
        let mut cat = Command::new(reader(&dir.path().join("reader")));
        cat.stdin(Stdio::piped());
        for round in 0.. {
            if recycled == ROUNDS {
                break;
            }
            assert!(round < 2 * ROUNDS, "only {recycled} of {round} PIDs could be recycled");
            let first = system.spawn(&cat).unwrap();
            aim.send(first.process().clone()).unwrap();
            // Not `Child::wait`, which would close its stdin and let it leave.
            assert_eq!(first.process().wait().unwrap().signal(), Some(9));
            set_next_pid(first.pid().as_raw()).unwrap();
            let second = system.spawn(&cat).unwrap();
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
