//! Names of processes: stored by one program and reopened by another, elsewhere, by somebody else, where calls are refused, and after the PID was
//! recycled as often as `STEADFAST_NAMES` says.

use crate::Test;
use crate::contract::REAL;
use crate::leaks::until;
use crate::probing::answer_with_enosys;
use crate::recycling::small;
use crate::stage::{Outcome, row};
use nix::mount::{MsFlags, mount};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use steadfast::{Child, Command, Errno, ErrorKind, Evidence, Identity, Namespaces, Reopened, StartTime, Stdio, System};
use xtask::namespace::{mount_proc, set_next_pid};
use xtask::noop;

/// Another program, which reopens what it is given.
pub(crate) const ROLES: &[(&str, fn())] = &[("(reopens)", reopens)];
/// The identity that it is given, and as whom or where it does that.
const IDENTITY: &str = "STEADFAST_IDENTITY";
const PLACE: &str = "STEADFAST_PLACE";
const NOBODY: u32 = 65534;

pub(crate) fn tests() -> Vec<Test> {
    let here: &[(&str, fn())] = &[
        ("names: another program reopens it by its text, and by either backend's", by_another_program),
        ("names: in another PID namespace, with and without its own /proc: OtherNamespace", in_another_namespace),
        ("names: a text that names another boot: OtherBoot", of_another_boot),
        ("names: a name without what a backend can compare: Unknown, or Gone if nobody has the PID", by_other_evidence),
        ("names: no descriptor left: Unknown, which is of the moment", without_descriptors),
        ("names: pidfd_open is filtered: Unknown", || without(nix::libc::SYS_pidfd_open)),
    ];
    let within: &[(&str, fn())] = &[
        ("names: a thread has the PID: Gone", a_thread_has_it),
        ("names: without waitid: one process, however often it was reopened", without_waitid),
        ("names: a new-born, by its start time: exact, or Unknown after a recycle in the same tick", in_the_tick),
    ];
    let mut tests: Vec<Test> = here.iter().map(|(name, check)| Test::new(*name, *check)).collect();
    tests.extend(within.iter().map(|(name, check)| Test::new(*name, *check).in_namespace()));
    tests.push(
        Test::that_may_skip("names: hidden from another user (hidepid): Same or Unknown, and Gone at last", hidden)
            .in_namespace(),
    );
    tests.push(Test::that_may_skip("names: in a time namespace: Same by pidfs, else Unknown", in_a_time_namespace));
    tests
        .push(Test::new("names: recycled again and again: no stranger is taken for it", recycled).in_namespace().beside_others());
    tests
}

/// Both real systems, or the one that works here.
fn systems() -> Vec<System> {
    REAL.iter().filter_map(|(_, system)| system().ok()).collect()
}

fn sleeper(system: &System) -> Child {
    system.spawn(Command::new("/bin/sleep").arg("1000")).unwrap()
}

fn end(child: &Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// What the role does: says what each system answers, a line each.
fn reopens() {
    let systems = systems();
    match std::env::var(PLACE).unwrap_or_default().as_str() {
        "with /proc" => mount_proc().unwrap(),
        "as nobody" => become_nobody(),
        _ => {}
    }
    let identity: Identity = std::env::var(IDENTITY).unwrap().parse().unwrap();
    for system in systems {
        println!("{}: {}", system.backend_name(), in_words(&system.reopen(&identity)));
    }
}

/// A group of root's would see all that is hidden (proc(5), `gid`).
pub(crate) fn become_nobody() {
    nix::unistd::setgroups(&[]).unwrap();
    nix::unistd::setresgid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
    nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
}

/// The kind alone, and of *Unknown* the errno too.
fn in_words(answer: &Reopened) -> String {
    match answer {
        Reopened::Unknown(why) => format!("Unknown {}", why.errno().and_then(Errno::name).unwrap_or("by its evidence")),
        other => format!("{other:?}"),
    }
}

/// What another program answers, by backend.
fn answers(identity: &Identity, place: &str, prepare: impl FnOnce(&mut Command)) -> BTreeMap<String, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(reopens)").env(IDENTITY, identity.to_string()).env(PLACE, place).stdin(Stdio::null());
    prepare(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{} {text} {}", output.status, String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split_once(": ")).map(|(name, answer)| (name.into(), answer.into())).collect()
}

fn each_says(answers: &BTreeMap<String, String>, expected: &str) {
    assert!(!answers.is_empty());
    assert!(answers.values().all(|answer| answer == expected), "{answers:?}, not {expected}");
}

fn by_another_program() {
    for system in systems() {
        let _row = row(system.backend_name());
        let child = sleeper(&system);
        // Exact, so that the other backend can use it too: a second handle sees it in a later tick.
        let ours = System::pid_legacy().find(child.pid()).unwrap().identity().unwrap();
        let identity = child.identity().unwrap();
        assert_eq!(identity.is_same_life(&child.identity().unwrap()), Some(true));
        assert_ne!(identity.is_same_life(&ours), Some(false));
        for name in [&identity, &ours] {
            each_says(&answers(name, "", |_| {}), "Same");
        }
        let Reopened::Same { process, .. } = system.reopen(&ours) else { panic!("{ours}") };
        process.kill().unwrap();
        until("it has exited", || crate::leaks::is_over(child.pid()));
        each_says(&answers(&identity, "", |_| {}), "Same, it has exited");
        child.wait().unwrap();
        for name in [&identity, &ours] {
            each_says(&answers(name, "", |_| {}), "Gone");
        }
    }
}

/// The other one's `/proc` says which namespace it is in, even where it shows another one's processes.
fn in_another_namespace() {
    // Whoever is not root needs a user namespace for it, in which he may mount nothing without more ado.
    let (new, places): (_, &[&str]) = match nix::unistd::Uid::effective().is_root() {
        true => (Namespaces::PID | Namespaces::MOUNT, &["", "with /proc"]),
        false => (Namespaces::PID | Namespaces::USER, &[""]),
    };
    for system in systems() {
        let child = sleeper(&system);
        let identity = child.identity().unwrap();
        for place in places {
            let _row = row(format!("{}, {place}", system.backend_name()));
            let apart = answers(&identity, place, |command| {
                command.namespaces(new);
            });
            each_says(&apart, "OtherNamespace");
        }
        end(&child);
    }
}

fn of_another_boot() {
    for system in systems() {
        let child = sleeper(&system);
        let text = child.identity().unwrap().to_string();
        let (before, boot) = text.split_at("life1.".len());
        // The last boot had another number; which one it was matters to nobody.
        let digit = if boot.starts_with('0') { '1' } else { '0' };
        let identity: Identity = format!("{before}{digit}{}", &boot[1..]).parse().unwrap();
        for system in systems() {
            assert_eq!(in_words(&system.reopen(&identity)), "OtherBoot");
        }
        end(&child);
    }
}

fn with(identity: &Identity, evidence: Evidence) -> Identity {
    Identity::new(identity.boot(), identity.namespace(), identity.pid(), evidence)
}

fn by_other_evidence() {
    let legacy = System::pid_legacy();
    let child = sleeper(&legacy);
    let identity = legacy.find(child.pid()).unwrap().identity().unwrap();
    let start_time = identity.evidence().start_time().unwrap();
    assert!(start_time.is_exact(), "{identity}");
    let ticks = start_time.ticks();
    let cases = [
        // Of a kernel with pidfs, read where there are no pidfds.
        (Evidence::Pidfs(u64::MAX), "Unknown by its evidence", "Gone"),
        (Evidence::StartTime(StartTime::seen(ticks, ticks)), "Unknown by its evidence", "Unknown by its evidence"),
        (Evidence::StartTime(StartTime::seen(ticks + 1, ticks + 1)), "Gone", "Gone"),
        (Evidence::StartTime(StartTime::seen(ticks - 1, ticks)), "Gone", "Gone"),
        (Evidence::StartTime(start_time), "Same", "Same"),
    ];
    let pidfd = System::pidfd();
    let has_pidfs =
        pidfd.as_ref().is_ok_and(|system| system.find(child.pid()).unwrap().identity().unwrap().evidence().pidfs().is_some());
    for (evidence, by_number, by_pidfd) in cases {
        let _row = row(format!("{evidence:?}"));
        let name = with(&identity, evidence);
        assert_eq!(in_words(&legacy.reopen(&name)), by_number);
        if let (Ok(pidfd), true) = (&pidfd, has_pidfs || evidence.pidfs().is_none()) {
            assert_eq!(in_words(&pidfd.reopen(&name)), by_pidfd);
        }
    }
    end(&child);
    // Whatever it was named by: nobody has the number.
    for system in systems() {
        for (evidence, ..) in cases {
            assert_eq!(in_words(&system.reopen(&with(&identity, evidence))), "Gone");
        }
    }
}

fn without_descriptors() {
    for system in systems() {
        let _row = row(system.backend_name());
        let child = sleeper(&system);
        let identity = child.identity().unwrap();
        let none = std::iter::repeat_with(|| std::fs::File::open("/dev/null")).map_while(Result::ok).collect::<Vec<_>>();
        let (answer, named) = (system.reopen(&identity), child.identity());
        drop(none);
        let Reopened::Unknown(why) = answer else { panic!("{answer:?}") };
        assert!(why.is_of_the_moment() && why.errno() == Some(Errno::MFILE), "{why}");
        assert_eq!(named.unwrap_err().errno(), Some(Errno::MFILE));
        assert_eq!(in_words(&system.reopen(&identity)), "Same");
        end(&child);
    }
}

/// It worked in the probe, and does not now.
fn without(call: i64) {
    let Ok(system) = System::pidfd() else { return };
    let child = sleeper(&system);
    let identity = child.identity().unwrap();
    answer_with_enosys(call);
    assert_eq!(in_words(&system.reopen(&identity)), "Unknown ENOSYS");
    // A name needs no pidfd but the one that is there.
    assert_eq!(child.identity().unwrap().is_same_life(&identity), Some(true));
    end(&child);
    assert_eq!(in_words(&system.reopen(&identity)), "Unknown ENOSYS");
}

/// PIDs and thread IDs are the same numbers.
fn a_thread_has_it() {
    for system in systems() {
        let child = sleeper(&system);
        let identity = child.identity().unwrap();
        end(&child);
        set_next_pid(identity.pid().as_raw()).unwrap();
        let (go, stay) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            _ = stay.recv();
        });
        assert_eq!(told.recv().unwrap(), identity.pid().as_raw());
        for system in systems() {
            assert_eq!(in_words(&system.reopen(&identity)), "Gone", "{}", system.backend_name());
        }
        drop(go);
        thread.join().unwrap();
    }
}

/// Where a look reaps, all handles of one process share what one of them has seen.
fn without_waitid() {
    answer_with_enosys(nix::libc::SYS_waitid);
    let system = System::detect().unwrap();
    assert_eq!(system.backend_name(), "pid-legacy");
    // Who is a zombie for want of that call only cannot be named any more, and its status is not lost by the question.
    let zombie = sleeper(&system);
    zombie.kill().unwrap();
    system.backend().find(zombie.pid()).unwrap().wait_exited(None).unwrap();
    assert_eq!(zombie.identity().unwrap_err().kind(), ErrorKind::UnknownIdentity);
    assert_eq!(zombie.wait().unwrap().signal(), Some(9));
    let child = sleeper(&system);
    let identity = child.identity().unwrap();
    let [one, two] = [(); 2].map(|()| system.reopen(&identity).same().unwrap());
    one.kill().unwrap();
    assert_eq!(two.wait().unwrap().signal(), Some(9));
    assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(child.wait().unwrap_err().kind(), ErrorKind::NoChild);
    assert_eq!(in_words(&system.reopen(&identity)), "Gone");
}

/// A start time has steps of 10 ms, in which a number can be given away many times.
fn in_the_tick() {
    let system = System::pid_legacy();
    let child = sleeper(&system);
    let born = system.find(child.pid()).unwrap().identity().unwrap();
    assert!(born.evidence().start_time().unwrap().is_exact(), "it did not wait for the end of the tick: {born}");
    end(&child);
    // Somebody whose start time is that of a name which was not exact.
    set_next_pid(born.pid().as_raw()).unwrap();
    let later = sleeper(&system);
    let ticks = system.find(later.pid()).unwrap().identity().unwrap().evidence().start_time().unwrap().ticks();
    assert_eq!((later.pid(), in_words(&system.reopen(&born))), (born.pid(), "Gone".into()));
    let hasty = with(&born, Evidence::StartTime(StartTime::seen(ticks, ticks)));
    assert_eq!(in_words(&system.reopen(&hasty)), "Unknown by its evidence");
    end(&later);
}

/// `/proc` hides the process, and its number cannot be signalled; a pidfd can be opened all the same.
fn hidden() -> Outcome {
    if mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2")).is_err() {
        return Outcome::Skipped("/proc cannot be mounted with hidepid".into());
    }
    let answer = |identity: &Identity| answers(identity, "as nobody", |_| {});
    let has_second_user = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    if !has_second_user {
        return Outcome::Skipped("there is no second user in this user namespace".into());
    }
    for system in systems() {
        let child = sleeper(&system);
        let identity = child.identity().unwrap();
        let seen = answer(&identity);
        assert_eq!(seen["pid-legacy"], "Unknown ENOENT");
        if let (Some(answer), Some(_)) = (seen.get("pidfd"), identity.evidence().pidfs()) {
            assert_eq!(answer, "Same");
        }
        end(&child);
        each_says(&answer(&identity), "Gone");
    }
    Outcome::Passed
}

fn in_a_time_namespace() -> Outcome {
    let tried = Command::new("unshare").args(["--time", "--boottime", "1000", "true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return Outcome::Skipped("no time namespace can be had by unshare(1)".into());
    }
    let child = sleeper(&System::pid_legacy());
    for system in systems() {
        let identity = system.find(child.pid()).unwrap().identity().unwrap();
        let mut shifted = Command::new("unshare");
        shifted.args(["--time", "--boottime", "1000"]).arg(std::env::current_exe().unwrap());
        shifted.env("STEADFAST_TEST", "(reopens)").env(IDENTITY, identity.to_string());
        let output = shifted.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("pid-legacy: Unknown by its evidence\n"), "{text}");
        let by_pidfd = if identity.evidence().pidfs().is_some() { "Same" } else { "Unknown by its evidence" };
        assert!(text.contains(&format!("pidfd: {by_pidfd}\n")) || !text.contains("pidfd:"), "{text}");
    }
    end(&child);
    Outcome::Passed
}

fn recycles() -> u32 {
    std::env::var("STEADFAST_NAMES").map_or(30_000, |text| text.parse().expect("STEADFAST_NAMES is a number"))
}

/// One process is named, and ends. Then its number is given away again and again; each that has it is named too, and each is asked for by the names
/// of those before: of the first, which has an exact start time, and of the last, most of which was started in the same tick.
fn recycled() {
    let systems = systems();
    let dir = tempfile::tempdir().unwrap();
    let program = small(&dir.path().join("sleeper"), noop::sleeper, "/bin/yes");
    let mut command = Command::new(program);
    command.stdout(Stdio::null());
    let first = System::pid_legacy().spawn(&command).unwrap();
    let names: Vec<Identity> = systems.iter().map(|system| system.find(first.pid()).unwrap().identity().unwrap()).collect();
    end(&first);
    let mut last: Option<Identity> = None;
    let mut counts: BTreeMap<(&str, &str, String), u32> = BTreeMap::new();
    let (all, spawner) = (recycles(), systems.first().unwrap());
    for _ in 0..all {
        set_next_pid(first.pid().as_raw()).unwrap();
        let child = spawner.spawn(&command).unwrap();
        assert_eq!(child.pid(), first.pid());
        for system in &systems {
            let old = names.iter().map(|name| ("the first", name)).chain(last.iter().map(|name| ("the last", name)));
            for (whose, name) in old {
                let answer = system.reopen(name);
                assert!(
                    !matches!(answer, Reopened::Same { .. }),
                    "{whose}, {name}: {} takes a stranger for it",
                    system.backend_name()
                );
                *counts.entry((system.backend_name(), whose, in_words(&answer))).or_default() += 1;
            }
        }
        // By a pidfd, which does not wait; else each would be named in 10 ms.
        last = (spawner.backend_name() == "pidfd").then(|| child.identity().unwrap());
        end(&child);
    }
    for ((backend, whose, answer), count) in &counts {
        eprintln!("{backend}: by the name of {whose}: {answer}: {count}");
    }
    let count = |backend, whose, answer: &str| counts.get(&(backend, whose, answer.into())).copied().unwrap_or(0);
    for system in &systems {
        assert_eq!(count(system.backend_name(), "the first", "Gone"), all * names.len() as u32);
    }
    if systems.len() == 2 {
        assert_eq!(count("pidfd", "the last", "Gone"), all - 1);
        // By their start times alone these would have been taken for the one that was named.
        assert!(count("pid-legacy", "the last", "Unknown by its evidence") > 0);
    }
}
