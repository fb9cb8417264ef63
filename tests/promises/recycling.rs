//! PIDs recycled on purpose, as many as `STEADFAST_RECYCLES` says, while threads signal and wait through the old handles.

use crate::Test;
use crate::contract::{REAL, on};
use crate::errors::each_system;
use crate::leaks::{children, until};
use crate::probing::answer_with_enosys;
use crate::stage::{Outcome, row};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use steadfast::{Capture, Child, Command, Error, ErrorKind, Probe, Process, Signal, Stdio, System};
use xtask::namespace::set_next_pid;
use xtask::noop;

/// How many PIDs, and who besides.
struct Plan {
    recycles: u32,
    signallers: usize,
    waiters: usize,
    /// A second handle too, by PID.
    finds: bool,
}

const MANY: Plan = Plan { recycles: 30_000, signallers: 1, waiters: 0, finds: false };
const CROWD: Plan = Plan { recycles: 10_000, signallers: 6, waiters: 2, finds: true };

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, plan) in [("30,000 PIDs, concurrent signals", MANY), ("eight threads signal and wait", CROWD)] {
        for (backend, system) in REAL {
            let plan = Plan { recycles: recycles().unwrap_or(plan.recycles), ..plan };
            let name = format!("recycling: {name}, no stranger hit: {backend}");
            let is_long = plan.waiters == 0;
            let test = Test::that_may_skip(name, move || on(*system, |system| storm(system, &plan))).in_namespace();
            tests.push(if is_long { test.beside_others() } else { test });
        }
    }
    let name = "recycling: eight threads signal and wait, by the number alone: pid-legacy without pidfd_send_signal";
    tests.push(
        Test::that_may_skip(name, || {
            answer_with_enosys(nix::libc::SYS_pidfd_send_signal);
            storm(&System::pid_legacy(), &Plan { recycles: recycles().unwrap_or(CROWD.recycles), ..CROWD })
        })
        .in_namespace(),
    );
    for (backend, system) in REAL {
        let name = format!("recycling: a child that other code has reaped, and whose PID a later child has: {backend}");
        tests.push(Test::that_may_skip(name, move || on(*system, stolen)).in_namespace());
    }
    for (backend, system) in REAL {
        let name = format!(
            "recycling: a child that other code reaps while it is waited for, and whose PID a later child has: {backend}"
        );
        tests.push(Test::that_may_skip(name, move || on(*system, stolen_while_waiting)).in_namespace());
    }
    tests.push(
        Test::new("recycling: another /proc, mounted after the first spawn, is asked from then on", proc_comes_late)
            .in_namespace(),
    );
    tests.push(
        Test::new("recycling: who is killed at once, before the first instruction even, is a child all the same", || {
            each_system(killed_at_once);
        })
        .in_namespace(),
    );
    let name = "recycling: a child for which there was no descriptor left, and whose PID a later child has: pid-legacy";
    tests.push(Test::new(name, || stolen_unheld(&System::pid_legacy())).in_namespace());
    let name = "recycling: without waitid: a child that other code has reaped, and whose PID a later child has: pid-legacy";
    tests.push(Test::that_may_skip(name, stolen_without_waitid).in_namespace());
    let name = "recycling: without waitid: a child that another handle has waited for: pid-legacy";
    tests.push(Test::that_may_skip(name, waited_for_by_another).in_namespace());
    tests
}

/// By somebody who kills whoever has a number, again and again.
fn killed_at_once(system: &System) {
    const NUMBER: i32 = 500;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // ESRCH, as a rule.
                _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(NUMBER), nix::sys::signal::SIGKILL);
            }
        });
        let mut killed = 0;
        let answer = loop {
            set_next_pid(NUMBER).unwrap();
            match system.spawn(&Command::new("/bin/true")).and_then(|child| child.wait()) {
                Ok(status) => killed += u32::from(status.signal() == Some(9)),
                Err(error) => break Err(error),
            }
            if killed == 300 {
                break Ok(());
            }
        };
        is_over.store(true, Ordering::Relaxed);
        answer.unwrap();
    });
    assert_eq!(children(), Vec::<String>::new());
}

fn recycles() -> Option<u32> {
    std::env::var("STEADFAST_RECYCLES").ok().map(|text| text.parse().expect("STEADFAST_RECYCLES is a number"))
}

/// Where a look reaps, what one handle has seen the others know: or else theirs would mean whoever has the number next, and at once.
fn waited_for_by_another() -> Outcome {
    answer_with_enosys(nix::libc::SYS_waitid);
    let system = System::detect().unwrap();
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut recycled = 0;
    for _ in 0..100 {
        let first = system.spawn(&cat).unwrap();
        let another = system.find(first.pid()).unwrap();
        first.kill().unwrap();
        assert_eq!(another.wait().unwrap().signal(), Some(9));
        set_next_pid(first.pid().as_raw()).unwrap();
        let mut stranger = system.spawn(&cat).unwrap();
        recycled += usize::from(stranger.pid() == first.pid());
        assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
        assert_eq!(first.process().wait().unwrap_err().kind(), ErrorKind::NoChild);
        drop(stranger.stdin.take());
        assert!(stranger.wait().unwrap().success(), "a stranger was hit");
    }
    assert!(recycled > 50, "only {recycled} PIDs could be recycled");
    Outcome::Passed
}

/// Where a look reaps, it is not even looked at the one that has the number now.
fn stolen_without_waitid() -> Outcome {
    answer_with_enosys(nix::libc::SYS_waitid);
    let system = System::detect().unwrap();
    assert_eq!(system.backend_name(), "pid-legacy");
    stolen(&system)
}

/// There was no descriptor left to hold the child by when it was born: its start time tells, in hundredths of a second.
fn stolen_unheld(system: &System) {
    let mut sleep = Command::new("/bin/sleep");
    sleep.arg("1000");
    // The first child shows whether `/proc` has our time.
    system.spawn(&sleep).unwrap().kill().unwrap();
    let none = std::iter::repeat_with(|| std::fs::File::open("/dev/null")).map_while(Result::ok).collect::<Vec<_>>();
    let first = system.spawn(&sleep);
    drop(none);
    let first = first.unwrap();
    let number = nix::unistd::Pid::from_raw(first.pid().as_raw());
    first.kill().unwrap();
    nix::sys::wait::waitpid(number, None).unwrap();
    system.sleep(std::time::Duration::from_millis(25));
    set_next_pid(number.as_raw()).unwrap();
    let mut second = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(second.id() as i32, number.as_raw());
    assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert!(second.wait().unwrap().success());
}

/// Whoever waits comes back at the exit, and by then the number may be the later child's, which lives, or has ended with 42.
fn stolen_while_waiting(system: &System) -> Outcome {
    const LONG: std::time::Duration = std::time::Duration::from_secs(600);
    type Way = fn(&System, &Child) -> Result<Option<steadfast::ExitStatus>, Error>;
    let ways: [(&str, Way); 4] = [
        ("wait", |_, child| child.wait().map(Some)),
        ("wait_timeout", |_, child| child.wait_timeout(LONG)),
        ("capture", |_, child| child.capture(&Capture::new().timeout(LONG)).map(|captured| captured.status)),
        ("try_wait", |system, child| {
            loop {
                match child.try_wait() {
                    // Between two looks; one that looked all the time would be there before the rogue each time.
                    Ok(None) => system.sleep(std::time::Duration::from_micros(200)),
                    seen => return seen,
                }
            }
        }),
    ];
    for (name, way) in ways {
        let _row = row(name);
        let (mut stolen, mut rounds) = (0, 0);
        // Whether the rogue is quicker is the scheduler's to say: on some machines seldom.
        while rounds < 50 || (stolen == 0 && rounds < 5000) {
            rounds += 1;
            let child = system.spawn(Command::new("/bin/sleep").arg("0.002")).unwrap();
            let number = nix::unistd::Pid::from_raw(child.pid().as_raw());
            let rogue = std::thread::spawn(move || {
                nix::sys::wait::waitpid(number, None).ok()?;
                set_next_pid(number.as_raw()).unwrap();
                Some(std::process::Command::new("/bin/sh").args(["-c", "exit 42"]).spawn().unwrap())
            });
            match way(system, &child) {
                Ok(Some(status)) => assert!(status.success(), "{status}"),
                Ok(None) => panic!("it has ended"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoChild, "{error}"),
            }
            if let Some(mut later) = rogue.join().unwrap() {
                stolen += 1;
                // Without pidfds it may have been reaped, some microseconds after a look that saw ours; but nobody was told its status.
                if let Ok(status) = later.wait() {
                    assert_eq!(status.code(), Some(42));
                }
            }
        }
        assert!(stolen > 0, "nothing was stolen");
    }
    Outcome::Passed
}

/// As the init of a new PID namespace may do it, with a child: by then it has seen the outer one, which has other processes by these numbers.
fn proc_comes_late() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let system = System::pid_legacy();
    umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let others = entries.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<i32>().ok());
    let somebody = others.max().expect("the outer /proc, with all that run there");
    set_next_pid(somebody).unwrap();
    let child = system.spawn(&Command::new("/bin/true")).unwrap();
    assert_eq!(child.pid().as_raw(), somebody);
    assert!(child.wait().unwrap().success());
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
    stolen(&system);
}

/// The later one is a child of this program too, and was born in the same hundredth of a second as a rule; so the kernel would let it be signalled and waited for by number.
fn stolen(system: &System) -> Outcome {
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    for round in 0..24 {
        let first = system.spawn(&cat).unwrap();
        let number = nix::unistd::Pid::from_raw(first.pid().as_raw());
        first.kill().unwrap();
        nix::sys::wait::waitpid(number, None).unwrap();
        set_next_pid(number.as_raw()).unwrap();
        let mut second = std::process::Command::new("/bin/cat");
        std::os::unix::process::CommandExt::process_group(&mut second, 0);
        let mut second = second.stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(second.id() as i32, number.as_raw());
        // What is asked first is what tells it that the child is gone.
        let is_over = matches!(round % 6, 3..);
        if is_over {
            drop(second.stdin.take());
            until("it has exited", || crate::leaks::is_over(first.pid()));
        }
        if round % 6 == 4 {
            // Dropped, it is not reaped in the place of the other one.
            drop(first);
            assert!(second.wait().unwrap().success());
            continue;
        }
        if round % 6 == 5 {
            assert_eq!(
                first.wait_timeout(std::time::Duration::ZERO).map_or_else(|error| error.kind(), |_| ErrorKind::NoChild),
                ErrorKind::NoChild
            );
            assert!(second.wait().unwrap().success());
            continue;
        }
        let signalled = match round % 6 {
            0 => first.signal(Signal::STOP),
            1 => first.kill_group(),
            _ => Err(Error::ProcessDone { pid: first.pid() }),
        };
        assert_eq!(signalled.unwrap_err().kind(), ErrorKind::ProcessDone);
        // Nor does it wait for the other one, or take its status: it tells its own, where the kernel does.
        // A look takes the status of what has exited.
        let status = if is_over { first.process().try_wait().map(|status| status.unwrap()) } else { first.process().wait() };
        match status {
            Ok(status) => assert_eq!(status.signal(), Some(9)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoChild),
        }
        drop(second.stdin.take());
        assert!(second.wait().unwrap().success());
    }
    Outcome::Passed
}

/// A program that reads stdin to its end and exits with 0, as small as can be: 200,000 of them shall take seconds. With a dynamic
/// linker to be loaded, cat(1) takes six times as long; it will do on other architectures.
fn reader(path: &Path) -> PathBuf {
    small(path, noop::reader, "/bin/cat")
}

/// A program as small as can be, written there; or another one, where there is none for this architecture.
pub(crate) fn small(path: &Path, program: fn(&str) -> Option<Vec<u8>>, instead: &str) -> PathBuf {
    let Some(program) = program(std::env::consts::ARCH) else { return instead.into() };
    noop::write(path, Some(program)).unwrap();
    path.to_owned()
}

/// In each round a first process is killed and waited for while other threads send it `SIGKILL`, some of them before its end, some during
/// the reap, some after, and others wait too. Then a second process has its PID, and all go on signalling through the old handles. Nobody
/// but us may end the second: it leaves by itself, with code 0. By number it would have been hit, which is counted too, or else the test
/// could not fail.
///
/// A handle that was found by PID is one of its own, and has a thread of its own that signals through it. Where the kernel is told whom that
/// means, by a pidfd or by a directory of `/proc`, it must not reach the second process either; else a signal may be on its way, between
/// the look and the call, and how many are is said.
fn storm(system: &System, plan: &Plan) -> Outcome {
    let all = plan.recycles;
    let (mut recycled, mut reachable_by_number, mut hit_by_found) = (0, 0, 0);
    let is_exact = system.backend_name() == "pidfd" || Probe::once().unwrap().proc_signal.works();
    std::thread::scope(|scope| {
        let signallers = std::iter::repeat_n(signal_all as fn(&Receiver<Process>), plan.signallers);
        let work = signallers.chain(std::iter::repeat_n(wait_for_all as fn(&_), plan.waiters));
        let start = |work: fn(&Receiver<Process>)| {
            let (aim, targets) = sync_channel::<Process>(1);
            (aim, scope.spawn(move || work(&targets)))
        };
        let threads: Vec<_> = work.map(start).collect();
        let finder = plan.finds.then(|| start(signal_all));
        let dir = tempfile::tempdir().unwrap();
        let mut cat = Command::new(reader(&dir.path().join("reader")));
        cat.stdin(Stdio::piped());
        for round in 0.. {
            if recycled == all {
                break;
            }
            assert!(round < 2 * all, "only {recycled} of {round} PIDs could be recycled");
            let first = system.spawn(&cat).unwrap();
            let found = plan.finds.then(|| system.find(first.pid()).unwrap());
            for (aim, _) in &threads {
                aim.send(first.process().clone()).unwrap();
            }
            if let (Some(found), Some((aim, _))) = (&found, &finder) {
                aim.send(found.clone()).unwrap();
            }
            // Not `Child::wait`, which would close its stdin and let it leave.
            assert_eq!(first.process().wait().unwrap().signal(), Some(9));
            // It is reaped once nobody is in a call any more.
            let number = nix::unistd::Pid::from_raw(first.pid().as_raw());
            while nix::sys::signal::kill(number, None).is_ok() {
                std::thread::yield_now();
            }
            set_next_pid(first.pid().as_raw()).unwrap();
            let second = system.spawn(&cat).unwrap();
            if second.pid() == first.pid() {
                recycled += 1;
                reachable_by_number += u32::from(nix::sys::signal::kill(number, None).is_ok());
                assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
                if let Some(found) = found {
                    assert_eq!(found.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
                }
            }
            let status = second.wait().unwrap();
            let is_hit = status.signal() == Some(9);
            assert!(status.success() || (is_hit && plan.finds && !is_exact), "a stranger was hit: {status}");
            hit_by_found += u32::from(is_hit);
        }
        for (aim, thread) in threads.into_iter().chain(finder) {
            drop(aim);
            thread.join().unwrap();
        }
    });
    assert_eq!(reachable_by_number, recycled);
    eprintln!(
        "{recycled} PIDs recycled: 0 strangers hit, {reachable_by_number} by number, {hit_by_found} by handles that were found"
    );
    Outcome::Passed
}

/// Each was killed; and whoever waits too late is told so all the same.
fn wait_for_all(targets: &Receiver<Process>) {
    for target in targets {
        assert_eq!(target.wait().unwrap().signal(), Some(9));
    }
}

/// Signals each target some times, and with it the one of the round before, whose PID is somebody else's by now.
fn signal_all(targets: &Receiver<Process>) {
    let mut last: Option<Process> = None;
    for target in targets {
        for _ in 0..4 {
            for process in [Some(&target), last.as_ref()].into_iter().flatten() {
                if let Err(error) = process.kill() {
                    assert_eq!(error.kind(), ErrorKind::ProcessDone, "{error}");
                }
            }
        }
        last = Some(target);
    }
}
