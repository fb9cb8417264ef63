//! Who else is in the house: the user that a child becomes, other code of the program that reaps, sends signals or gives up its
//! privileges. None of them gains or loses by us.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::leaks::{children, until};
use crate::stage::Outcome;
use nix::sys::prctl::{get_dumpable, set_dumpable};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rustix::thread::CapabilitySet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use steadfast::{Capability, Child, Command, Door, Errno, Probe, SecureBits, Stdio, System, WaitSet};
use steadfast_tests::robbery::Scene;

const WITNESS: &str = env!("CARGO_BIN_EXE_witness");

pub(crate) fn tests() -> Vec<Test> {
    let on_each = |name: &str, check: fn(&System)| {
        Test::that_may_skip(format!("hostile: {name}"), move || {
            each_system(check);
            Outcome::Passed
        })
    };
    let mut tests = vec![
        Test::that_may_skip("hostile: dumpable: a child with a copy of the memory leaves this process as it is", dumpable),
        Test::that_may_skip(
            "hostile: dumpable: what the program asks for during a spawn is not undone",
            dumpable_of_the_programs,
        ),
        Test::that_may_skip("hostile: setuid(3) with all background threads about", gives_up_its_rights),
        Test::that_may_skip("hostile: uid, gid: no way back to the caller's, whatever it is", no_way_back),
        Test::that_may_skip("hostile: ambient capabilities of the caller stay with nobody else", callers_ambient),
        Test::that_may_skip("hostile: capabilities: what guards a child is not its program's", unseen_guard),
        Test::that_may_skip("hostile: capabilities: a file's, beside no_new_privileges", files_capabilities),
        Test::that_may_skip("hostile: STEADFAST_BACKEND in a set-user-ID program", set_user_id),
        on_each("a failing spawn is nobody else's to reap, and raises no SIGCHLD", rogue_beside_failures),
        on_each("ID maps beside a rogue reaper", rogue_beside_maps),
    ];
    // Whether a door is open here is asked by the test itself: other tests are not to find the probe's work done.
    for scene in Scene::all(&[Door::Clone3, Door::Clone, Door::Fork]) {
        let name = format!("hostile: the new user's processes get neither memory nor descriptors: {}", scene.name);
        tests.push(Test::that_may_skip(name, move || robbed(&scene)).in_namespace());
    }
    tests
}

/// What a program started again does.
pub(crate) const ROLES: &[(&str, fn())] = &[("(has ambient capabilities)", has_ambient)];

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

pub(crate) fn needs_root() -> Outcome {
    Outcome::Skipped("takes root".into())
}

fn robbed(scene: &Scene) -> Outcome {
    if !is_root() {
        return needs_root();
    }
    if !Probe::once().unwrap().doors().contains(&scene.door) {
        return Outcome::Skipped(format!("there are no children by {:?} here", scene.door));
    }
    let spawns = std::env::var("STEADFAST_SPAWNS").map_or(300, |text| text.parse().expect("STEADFAST_SPAWNS is a number"));
    let booty = match scene.play(Path::new(WITNESS), "/bin/true", spawns) {
        Ok(booty) => booty,
        Err(reason) => return Outcome::Skipped(reason),
    };
    assert!(booty.attempts > spawns, "{booty:?}");
    assert!(booty.is_nothing(), "{booty:?}");
    Outcome::Passed
}

/// With a copy of this process's memory, or sharing it.
fn as_another(system: &System, program: &str, copy: bool) {
    let mut command = Command::new(program);
    command.uid(1234).gid(1234).ambient_capabilities([Capability::NET_BIND_SERVICE]).copy_memory(copy);
    match system.spawn(&command) {
        Ok(child) => assert!(child.wait().unwrap().success()),
        Err(error) => assert_eq!(error.errno(), Some(Errno::NOENT), "{error}"),
    }
}

fn dumpable() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    each_system(|system| {
        assert!(get_dumpable().unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for program in ["true", "/no/such"].into_iter().cycle().take(20) {
                        as_another(system, program, true);
                    }
                });
            }
        });
        assert!(get_dumpable().unwrap());
    });
    Outcome::Passed
}

/// Neither while another thread spawns, nor later.
fn dumpable_of_the_programs() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    each_system(|system| {
        let (over, undone) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    set_dumpable(false).unwrap();
                    undone.fetch_add(usize::from(get_dumpable().unwrap()), Ordering::SeqCst);
                }
            });
            for round in 0..100 {
                as_another(system, if round % 2 == 0 { "true" } else { "/no/such" }, false);
            }
            over.store(true, Ordering::SeqCst);
        });
        assert_eq!(undone.load(Ordering::SeqCst), 0);
        assert!(!get_dumpable().unwrap());
    });
    Outcome::Passed
}

fn forever(system: &System) -> Child {
    system.spawn(Command::new(ACTOR).arg("forever").stdout(Stdio::null())).unwrap()
}

/// A daemon starts helpers and then drops its own privileges: setuid(3) waits for every thread of the process.
fn gives_up_its_rights() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let systems: Vec<System> = [System::pidfd().ok(), Some(System::pid_legacy())].into_iter().flatten().collect();
    let mut kept = Vec::new();
    let set = WaitSet::new();
    for system in &systems {
        // Background reaping, a wait with a timeout, a set, a process that is no child.
        drop(forever(system));
        let child = forever(system);
        assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
        set.add(kept.len(), child.process().clone()).unwrap();
        let parent = system.find(nix::unistd::getppid().as_raw().try_into().unwrap());
        // In a PID namespace the parent has no number.
        if let Ok(parent) = parent {
            assert_eq!(parent.wait_gone_timeout(Duration::from_millis(1)).unwrap(), None);
        }
        kept.push(child);
    }
    let orphans = children();
    assert_eq!(orphans.len(), 2 * systems.len());
    for child in &kept {
        child.kill().unwrap();
    }
    // The C library's own, which changes all threads.
    setresgid(Gid::from_raw(61_234), Gid::from_raw(61_234), Gid::from_raw(61_234)).unwrap();
    let user = Uid::from_raw(61_234);
    let orphans: Vec<_> = orphans.iter().map(|pid| nix::unistd::Pid::from_raw(pid.parse().unwrap())).collect();
    // While it still may.
    orphans.iter().for_each(|pid| _ = nix::sys::signal::kill(*pid, nix::sys::signal::Signal::SIGKILL));
    nix::unistd::setuid(user).unwrap();
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let path = thread.unwrap().path().join("status");
        // The C library leaves out a thread that is on its way out; once it has ended it has no rights left.
        until("each thread has the new user, or has ended", || {
            fs::read_to_string(&path).map_or(true, |status| status.contains("\nUid:\t61234\t61234\t61234\t61234\n"))
        });
    }
    std::thread::spawn(|| ()).join().unwrap();
    until("all are reaped", || {
        while set.try_wait().is_some() {}
        kept.iter().all(|child| child.try_wait().unwrap().is_some()) && children().is_empty()
    });
    Outcome::Passed
}

fn ids(system: &System, command: &mut Command) -> String {
    let text = crate::attributes::said(system, command.args(["-E", "^(Uid|Gid|Cap(Inh|Prm|Eff|Amb)):", "/proc/self/status"]));
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// As a set-user-ID program, or a daemon, that works as somebody else for the moment, with root as its real user.
fn no_way_back() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let (root, user) = (Uid::from_raw(0), Uid::from_raw(1000));
    setresgid(Gid::from_raw(0), Gid::from_raw(1000), Gid::from_raw(1000)).unwrap();
    setresuid(root, user, user).unwrap();
    each_system(|system| {
        let seen = ids(system, Command::new("grep").uid(1000).gid(1000));
        let expected = "Uid: 1000 1000 1000 1000 Gid: 1000 1000 1000 1000 CapInh: 0000000000000000 CapPrm: 0000000000000000 \
                        CapEff: 0000000000000000 CapAmb: 0000000000000000";
        assert_eq!(seen, expected);
    });
    Outcome::Passed
}

fn callers_ambient() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let own = std::env::current_exe().unwrap();
    let caps = [Capability::SETUID, Capability::SETGID, Capability::NET_ADMIN, Capability::NET_BIND_SERVICE];
    each_system(|system| {
        let mut command = Command::new("/proc/self/exe");
        command.env("STEADFAST_TEST", "(has ambient capabilities)").env("STEADFAST_BACKEND", system.backend_name());
        // The build may lie where another user cannot look: the program is handed over open.
        command.executable(fs::File::open(&own).unwrap()).uid(1000).gid(1000).ambient_capabilities(caps);
        let output = system.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    Outcome::Passed
}

fn has_ambient() {
    let system = System::detect().unwrap();
    let ambient = |command: &mut Command| ids(&system, command).rsplit_once("CapAmb: ").unwrap().1.to_owned();
    let all = 1 << 6 | 1 << 7 | 1 << 10 | 1_u64 << 12;
    // Nothing is asked for, and nothing changes.
    assert_eq!(ambient(&mut Command::new("grep")), format!("{all:016x}"));
    // Another user has none of them; a list is the whole list.
    assert_eq!(ambient(Command::new("grep").uid(1001).gid(1001)), format!("{:016x}", 0));
    let one = format!("{:016x}", 1 << 10);
    assert_eq!(ambient(Command::new("grep").ambient_capabilities([Capability::NET_BIND_SERVICE])), one);
    assert_eq!(ambient(Command::new("grep").uid(1001).ambient_capabilities([Capability::NET_BIND_SERVICE])), one);
}

fn permitted(text: &str) -> u64 {
    let field = text.split_once("CapPrm:").unwrap().1;
    u64::from_str_radix(field.split_ascii_whitespace().next().unwrap(), 16).unwrap()
}

fn unseen_guard() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    each_system(|system| {
        let text = ids(system, Command::new("grep").uid(1000).gid(1000));
        assert!(text.contains("CapPrm: 0000000000000000 CapEff: 0000000000000000"), "{text}");
    });
    // An exec in place that fails leaves a process without privileges.
    let error = Command::new("/no/such").uid(1000).gid(1000).exec();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    assert_eq!(permitted(&fs::read_to_string("/proc/self/status").unwrap()), 0);
    Outcome::Passed
}

/// The kernel gives them to a new user's program, unless it may not gain privileges: then it has what it is permitted already.
fn files_capabilities() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    fs::copy("/bin/grep", &program).unwrap();
    // struct vfs_cap_data, version 2: all are permitted, none inherited.
    let all = [0x0200_0000_u32, u32::MAX, 0, u32::MAX, 0].map(u32::to_le_bytes).concat();
    if let Err(errno) = rustix::fs::setxattr(&program, "security.capability", &all, rustix::fs::XattrFlags::empty()) {
        return Outcome::Skipped(format!("temporary files take no capabilities: {errno}"));
    }
    let system = System::detect().unwrap();
    let seen = |system: &System, command: &mut Command| {
        let command = command.uid(1000).gid(1000).args(["CapPrm", "/proc/self/status"]);
        permitted(&crate::attributes::said(system, command))
    };
    if seen(&system, &mut Command::new(&program)) == 0 {
        return Outcome::Skipped("temporary files are on a mount where capabilities do not count".into());
    }
    let unused = 1 << Capability::NET_BROADCAST.as_raw();
    each_system(|system| {
        assert_eq!(seen(system, Command::new(&program).no_new_privileges(true)) & !unused, 0);
        let mut with_one = Command::new(&program);
        with_one.no_new_privileges(true).ambient_capabilities([Capability::NET_BIND_SERVICE]);
        assert_eq!(seen(system, &mut with_one) & !unused, 1 << 10);
        // CAP_SETPCAP, which the new user has until its securebits are set, is none that the program has.
        let mut secured = Command::new(&program);
        secured.no_new_privileges(true).securebits(SecureBits::NO_CAP_AMBIENT_RAISE);
        assert_eq!(seen(system, &mut secured) & !unused, 0);
    });
    // Without the one that nothing asks for there is none that the program could not come by.
    let mut own = rustix::thread::capabilities(None).unwrap();
    own.effective.remove(CapabilitySet::NET_BROADCAST);
    own.permitted.remove(CapabilitySet::NET_BROADCAST);
    rustix::thread::set_capabilities(None, own).unwrap();
    each_system(|system| {
        assert_ne!(seen(system, &mut Command::new(&program)), 0);
        assert_eq!(seen(system, Command::new(&program).no_new_privileges(true)), 0);
    });
    Outcome::Passed
}

/// The weaker backend is not to be chosen by whoever has fewer rights.
fn set_user_id() -> Outcome {
    if !is_root() {
        return needs_root();
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let chosen = |mode: u32| {
        fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&program);
        command.env("STEADFAST_TEST", "errors: (detects)").env("STEADFAST_BACKEND", "pid-legacy").uid(1000).gid(1000);
        crate::attributes::said(&System::detect().unwrap(), &mut command).trim().to_owned()
    };
    if System::detect().unwrap().backend_name() != "pidfd" {
        return Outcome::Skipped("there is no other backend to be kept from".into());
    }
    assert_eq!(chosen(0o755), "pid-legacy");
    let elevated = chosen(0o4755);
    if elevated == "pid-legacy" && fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains("nosuid") {
        // Only where the file's own mount is one.
        let mounted = rustix::fs::statvfs(&program).unwrap();
        if mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID) {
            return Outcome::Skipped("temporary files are on a mount without set-user-ID programs".into());
        }
    }
    assert_eq!(elevated, "pidfd");
    Outcome::Passed
}

/// Reaps whatever it can, as a supervisor of the old kind, until it is told to stop; gives all that it has had.
fn rogue<T>(work: impl FnOnce() -> T) -> (T, Vec<i32>) {
    let keep = forever(&System::pid_legacy());
    let over = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        let reaper = scope.spawn(|| {
            let mut all = Vec::new();
            while !over.load(Ordering::SeqCst) {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)).unwrap() {
                    WaitStatus::StillAlive => std::thread::yield_now(),
                    status => all.push(status.pid().unwrap().as_raw()),
                }
            }
            all
        });
        let answer = work();
        over.store(true, Ordering::SeqCst);
        (answer, reaper.join().unwrap())
    });
    keep.kill().unwrap();
    keep.wait().unwrap();
    answer
}

fn rogue_beside_failures(system: &System) {
    let sigchld = Arc::new(AtomicUsize::new(0));
    let id = signal_hook::flag::register_usize(signal_hook::consts::SIGCHLD, Arc::clone(&sigchld), 1).unwrap();
    let (spawned, had) = rogue(|| {
        for _ in 0..200 {
            let error = system.spawn(&Command::new("/no/such")).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::NOENT));
            let error = system.spawn(Command::new(ACTOR).args(["exit", "0"]).process_group(1)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::PERM));
        }
        sigchld.load(Ordering::SeqCst)
    });
    assert_eq!((spawned, had), (0, Vec::new()));
    signal_hook::low_level::unregister(id);
    assert_eq!(children(), Vec::<String>::new());
}

fn rogue_beside_maps(system: &System) {
    use steadfast::{IdMap, Namespaces};
    let own = IdMap { inside: 0, outside: Uid::effective().as_raw(), count: 1 };
    let mut command = Command::new("/no/such");
    command.namespaces(Namespaces::USER).uid_map([own]);
    match system.spawn(&command).unwrap_err() {
        error if error.errno() == Some(Errno::NOENT) => {}
        // Not on every machine.
        _ => return,
    }
    let ((), had) = rogue(|| {
        for _ in 0..50 {
            assert_eq!(system.spawn(&command).unwrap_err().errno(), Some(Errno::NOENT));
        }
    });
    assert_eq!(had, Vec::<i32>::new());
    assert_eq!(children(), Vec::<String>::new());
}
