//! Nothing is left behind: no zombie, no descriptor, no changed disposition.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::stage::{Outcome, row};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use steadfast::{Command, Errno, Error, Process, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("leaks: 10,000 spawns, good and failing, leave no descriptor and no zombie", || each_system(ten_thousand)),
        Test::new("leaks: out of descriptors, at each step", || each_system(out_of_descriptors)),
        Test::that_may_skip("leaks: out of processes, as a plain user", out_of_processes),
        Test::new("leaks: dropped children are reaped, and their helpers end", || each_system(dropped)),
        Test::new("leaks: 500 dropped children are reaped by one thread, whatever zombies lie around", || {
            each_backend(many_dropped)
        }),
        Test::new("leaks: the limit of open files is reached: what runs is waited for, and the error says what to raise", || {
            each_backend(limit_of_files);
        }),
        Test::new("leaks: whoever has emptied a set can spawn as many again, at the limit of open files", limit_after_a_set),
        Test::new("leaks: timeouts on live children leave nothing", || each_system(timeouts)),
        Test::new("leaks: dropped children that other code has reaped keep few descriptors, while another one lives", || {
            each_backend(dropped_and_reaped);
        }),
        Test::new("leaks: a pidfd of the caller's own outlives the handle", callers_pidfd),
        Test::new(
            "leaks: no descriptor left for the caller's own pidfd: the child that nobody will hear of is gone",
            no_callers_pidfd,
        ),
    ]
}

/// The numbers of the open descriptors, without that of the look itself.
pub(crate) fn descriptors() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.into_iter().filter(|name| fs::read_link(format!("/proc/self/fd/{name}")).is_ok()).collect()
}

/// The children of this process, in any state.
pub(crate) fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        let stat = stat(pid);
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().nth(1) == Some(&*own));
        pid.bytes().all(|b| b.is_ascii_digit()) && after_name == Some(true)
    };
    pids.filter(is_ours).collect()
}

fn expect_errno(system: &System, command: &mut Command, errno: Errno) {
    match system.spawn(command) {
        Ok(child) => panic!("{child:?} should have failed with {errno:?}"),
        Err(error) => assert_eq!(error.errno(), Some(errno), "{error}"),
    }
}

fn ten_thousand(system: &System) {
    let before = descriptors();
    // Some 1,700 for each of up to six systems.
    for _ in 0..340 {
        let child = system.spawn(Command::new(ACTOR).args(["exit", "3"])).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let mut piped = Command::new(ACTOR);
        piped.arg("forever").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = system.spawn(&piped).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        expect_errno(system, &mut Command::new("/no/such"), Errno::NOENT);
        expect_errno(system, Command::new(ACTOR).stdout(Stdio::piped()).current_dir("/no"), Errno::NOENT);
        expect_errno(system, Command::new("/usr").stdin(Stdio::piped()), Errno::ACCES);
    }
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
}

fn out_of_descriptors(system: &System) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let before = descriptors();
    let mut failed = 0;
    // Room for none, one, two, … more: it fails at another step each time.
    for room in 0..12 {
        setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
        let mut filled: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        filled.truncate(filled.len() - room);
        let piped = Stdio::piped;
        let mut command = Command::new(ACTOR);
        command.args(["exit", "0"]).stdin(piped()).stdout(piped()).stderr(piped());
        match system.spawn(&command) {
            Ok(child) => assert!(child.wait().unwrap().success()),
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
                assert!(error.to_string().contains("Too many open files"), "{error}");
                failed += 1;
            }
        }
        drop(filled);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(descriptors(), before);
        assert_eq!(children(), Vec::<String>::new());
    }
    assert!(failed >= 3, "only {failed} steps failed");
}

fn out_of_processes() -> Outcome {
    use nix::unistd::{Uid, setuid};
    if !Uid::current().is_root() {
        return Outcome::Skipped("only root can become a user who has no other processes".into());
    }
    System::detect().unwrap();
    // A user of our own, whom nobody else's processes count against.
    setuid(Uid::from_raw(61_234)).unwrap();
    each_system(|system| {
        let before = descriptors();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
        let error = system.spawn(Command::new("/bin/true").stdout(Stdio::piped())).unwrap_err();
        assert!(matches!(&error, Error::Spawn { source: Errno::AGAIN, .. }), "{error:?}");
        assert!(error.to_string().contains("clone: Resource temporarily unavailable"), "{error}");
        setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
        assert!(system.spawn(&Command::new("/bin/true")).unwrap().wait().unwrap().success());
        assert_eq!(descriptors(), before);
        assert_eq!(children(), Vec::<String>::new());
    });
    Outcome::Passed
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Whether a process that is not our child has ended: nobody knows when its parent reaps it.
pub(crate) fn is_over(pid: steadfast::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, behind)| behind.trim_start().starts_with(['Z', 'X']))
}

/// Waits for what has no event, as patiently as a test's time limit allows.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let system = System::pid_legacy();
    let start = system.now();
    while !happened() {
        assert!(system.now() - start < std::time::Duration::from_secs(60), "{what}");
        system.sleep(std::time::Duration::from_millis(2));
    }
}

fn dropped(system: &System) {
    let before = (descriptors(), threads());
    let mut inputs = Vec::new();
    for _ in 0..20 {
        let mut command = Command::new(ACTOR);
        command.args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = system.spawn(&command).unwrap();
        inputs.push(child.stdin.take());
    }
    let mut killed = Command::new(ACTOR);
    drop(system.spawn(killed.arg("forever").stdout(Stdio::null()).kill_on_drop(true)).unwrap());
    assert!(children().len() >= 20);
    drop(inputs);
    until("the dropped children are reaped", || children().is_empty());
    until("the thread and the descriptor for them go", || (descriptors(), threads()) == before);
}

/// Both real backends, each once.
pub(crate) fn each_backend(check: fn(&System)) {
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        let _row = row(system.backend_name());
        check(system);
    }
}

fn many_dropped(system: &System) {
    let before = (descriptors(), threads());
    // Somebody else's business, and in the way: it is the first that the kernel reports.
    let in_the_way =
        nix::unistd::Pid::from_raw(std::process::Command::new(ACTOR).args(["exit", "0"]).spawn().unwrap().id() as i32);
    for is_in_the_way in [true, false] {
        let mut command = Command::new(ACTOR);
        command.args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut inputs: Vec<_> = (0..500).map(|_| system.spawn(&command).unwrap().stdin.take()).collect();
        assert!(threads() <= before.1 + 1, "{} threads", threads());
        // Not in the order in which they were started.
        fastrand::shuffle(&mut inputs);
        while let Some(input) = inputs.pop() {
            drop(input);
            if inputs.len() % 100 == 0 {
                let left = inputs.len() + usize::from(is_in_the_way);
                until("those that have exited are reaped", || children().len() == left);
            }
        }
        if is_in_the_way {
            nix::sys::wait::waitpid(in_the_way, None).unwrap();
        }
        until("the thread and the descriptors for them go", || (descriptors(), threads()) == before);
    }
}

fn limit_of_files(system: &System) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let before = descriptors();
    setrlimit(Resource::RLIMIT_NOFILE, 120, hard).unwrap();
    let set = steadfast::WaitSet::new();
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "3"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = Vec::new();
    let error = loop {
        match system.spawn(&command) {
            Ok(child) => match set.add(running.len(), Process::clone(&child)) {
                Ok(()) => running.push(child),
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        assert!(running.len() < 120, "it has a limit");
    };
    assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
    assert!(error.to_string().ends_with("raise RLIMIT_NOFILE (`ulimit -n`)"), "{error}");
    assert!(running.len() > 20);
    // Not one descriptor is left, and yet all can be waited for: by the set, with a timeout, in a task, several at once.
    let filled: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    let (first, count) = (running.remove(0), running.len());
    assert_eq!(first.process().wait_timeout(std::time::Duration::from_millis(1)).unwrap(), None);
    let error = steadfast::wait_any(&[first.process()], None).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
    drop(running);
    for _ in 0..count {
        assert_eq!(set.wait().unwrap().status.unwrap().code(), Some(3));
    }
    assert_eq!(first.wait().unwrap().code(), Some(3));
    assert_eq!((set.wait().unwrap().key, set.len()), (0, 0));
    drop((filled, first, set));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    until("nothing is left", || descriptors() == before && children().is_empty());
}

/// What a set has reported takes no descriptor any more, or none that a spawn cannot have.
fn limit_after_a_set() {
    // The other one has no descriptors that could stay.
    let Ok(system) = System::pidfd() else { return };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let before = descriptors();
    let set = steadfast::WaitSet::new();
    let spawn = || system.spawn(Command::new(ACTOR).args(["exit", "3"]).stdin(Stdio::null())).unwrap();
    for round in 0..20 {
        let children: Vec<_> = (0..40).map(|_| spawn()).collect();
        (0..40).for_each(|key| set.add(key, Process::clone(&children[key])).unwrap());
        // Many at once.
        until("all have exited", || children.iter().all(|child| is_over(child.pid())));
        setrlimit(Resource::RLIMIT_NOFILE, 120, hard).unwrap();
        let filled: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        let mut reported = Vec::new();
        for _ in 0..30 {
            reported.push(set.wait().unwrap());
            if reported.len() >= 20 {
                // It takes some for itself, and gives them back.
                assert_eq!(spawn().wait().unwrap().code(), Some(3), "{round}");
            }
        }
        drop(filled);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        while set.wait().is_some() {}
    }
    drop(set);
    until("nothing is left", || descriptors() == before && children().is_empty());
}

fn timeouts(system: &System) {
    let before = (descriptors(), threads());
    let child = system.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null())).unwrap();
    for _ in 0..50 {
        assert_eq!(child.wait_timeout(std::time::Duration::from_micros(100)).unwrap(), None);
    }
    // One helper at the most, however often one waits.
    assert!(threads() <= before.1 + 1);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(child);
    until("nothing is left of the waiting", || (descriptors(), threads()) == before);
}

fn callers_pidfd() {
    let Ok(system) = System::pidfd() else { return };
    let mut child = system.spawn(Command::new(ACTOR).args(["exit", "0"]).create_pidfd(true)).unwrap();
    let pidfd = child.take_pidfd().unwrap();
    assert!(child.take_pidfd().is_none());
    let lent = child.with_handle(|fd| fd.try_clone_to_owned().unwrap()).unwrap();
    child.wait().unwrap();
    drop(child);
    for fd in [pidfd, lent] {
        // Still a pidfd, of a process that is gone; and not for our children to inherit.
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Default::default())), Ok(1));
        assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    // The process that is gone is not found again by its number either, or at least is not ours.
    assert!(Process::find(steadfast::Pid::MAX).is_err());
}

/// It is asked for when the child runs already.
fn no_callers_pidfd() {
    let Ok(system) = System::pidfd() else { return };
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "0"]).create_pidfd(true);
    // The first spawn opens what stays open.
    system.spawn(Command::new(ACTOR).args(["exit", "0"])).unwrap().wait().unwrap();
    let mut taken: Vec<_> = std::iter::repeat_with(|| fs::File::open("/dev/null")).map_while(Result::ok).collect();
    let mut steps = BTreeSet::new();
    let child = loop {
        match system.spawn(&command) {
            Ok(child) => break child,
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::MFILE), "{error}");
                steps.insert(error.to_string());
            }
        }
        // One descriptor more, until there are enough.
        drop(taken.pop().expect("it takes fewer than all"));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    drop((child, taken));
    assert!(steps.iter().any(|step| step.contains("pidfd")), "{steps:?}");
    assert_eq!(children(), Vec::<String>::new());
}

/// Nobody is told of their ends: without pidfds, the thread that waits for them hears of zombies only.
fn dropped_and_reaped(system: &System) {
    let before = descriptors();
    let mut lives = system.spawn(Command::new(ACTOR).args(["until-eof", "0"]).stdin(Stdio::piped())).unwrap();
    let input = lives.stdin.take();
    drop(lives);
    for _ in 0..100 {
        let mut child =
            system.spawn(Command::new(ACTOR).args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::null())).unwrap();
        let (pid, stdin) = (nix::unistd::Pid::from_raw(child.pid().as_raw()), child.stdin.take());
        drop(child);
        drop(stdin);
        // Or ours was quicker.
        _ = nix::sys::wait::waitpid(pid, None);
    }
    until("all but a few are closed", || descriptors().len() < before.len() + 30);
    drop(input);
    until("all are", || descriptors() == before);
}
