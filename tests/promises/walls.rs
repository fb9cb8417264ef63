//! Each wall, seen from inside the child; each made to fail once. On both real backends, through every door.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::attributes::{field, said, status};
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::leaks::{children, descriptors};
use crate::scenarios::sh;
use crate::stage::{Outcome, row};
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, path_beneath_rules};
use nix::libc;
use nix::unistd::{Uid, setuid};
use seccompiler::SeccompAction;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use steadfast::{
    Capability, Command, Errno, Error, IoPriority, Scheduling, SeccompFilter, SecureBits, Signal, Stage, Stdio, System, Wall,
};
use steadfast_tests::filter::refusing;

pub(crate) fn tests() -> Vec<Test> {
    let root = |name: &str, check: fn(&System)| Test::that_may_skip(format!("walls: {name}"), move || as_root(check));
    let any = |name: &str, check: fn(&System)| Test::that_may_skip(format!("walls: {name}"), move || each(check));
    vec![
        root("bounding_capabilities: what is kept, with another user too, who keeps nothing by it", bounding),
        root("inheritable_capabilities: those, and none else", inheritable),
        root("keep_capabilities: all survive the change of user and the exec", kept),
        root("securebits: beside those that are set, with another user too; root is nobody", securebits),
        root("capabilities: all kinds together", together),
        root("reset_on_fork: the nice value is the child's alone, its policy stays", reset_on_fork),
        any("io_priority", io_priority),
        any("landlock: what it does not allow is refused, and its descriptor is found under whatever number", landlock),
        any("seccomp: one filter, and several, with their flags", seccomp),
        any("seccomp: a variable with the PID, of which the filter says nothing", pid_variable),
        any("seccomp: a missing program is told of under any filter", missing_program),
        any("seccomp: a filter that kills for execve: the status says so", killed),
        any("detached: a session, no streams, no descriptors; contradicted by what would end it", detached),
        root("without no_new_privileges, as root", privileged),
        any("bad input is refused, with its step, also if possible", bad_input),
        Test::that_may_skip("walls: as a plain user: each refused, with its step, also if possible", as_plain_user),
        Test::that_may_skip("walls: nothing changes for the parent", parent_unchanged),
    ]
}

fn each(check: fn(&System)) -> Outcome {
    let before = descriptors();
    each_system(check);
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
    Outcome::Passed
}

fn as_root(check: fn(&System)) -> Outcome {
    if !Uid::current().is_root() {
        return Outcome::Skipped("takes root".into());
    }
    each(check)
}

/// Rules by which files beneath the one directory can be written, and all can be read and executed; `None`: this kernel has no Landlock.
pub(crate) fn ruleset(writable: &Path) -> Option<OwnedFd> {
    let abi = ABI::V1;
    let rules = Ruleset::default().handle_access(AccessFs::from_all(abi)).unwrap().create().unwrap();
    let rules = rules.add_rules(path_beneath_rules(["/"], AccessFs::from_read(abi))).unwrap();
    let rules = rules.add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_file(abi))).unwrap();
    rules.add_rules(path_beneath_rules([writable], AccessFs::from_all(abi))).unwrap().into()
}

pub(crate) fn allow_all() -> SeccompFilter {
    SeccompFilter::new([(0x06, 0, 0, 0x7fff_0000)])
}

/// The sets of the child, in the order of its status: inheritable, permitted, effective, bounding, ambient.
fn sets(system: &System, command: &mut Command) -> [u64; 5] {
    let set = |name| u64::from_str_radix(&field(system, command, name), 16).unwrap();
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(set)
}

fn bits(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |bits, capability| bits | 1 << capability.as_raw())
}

fn own(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    u64::from_str_radix(status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim(), 16).unwrap()
}

const TWO: [Capability; 2] = [Capability::NET_BIND_SERVICE, Capability::BPF];

fn bounding(system: &System) {
    let two = bits(&TWO);
    let [_, permitted, effective, bound, _] = sets(system, status().bounding_capabilities(TWO));
    assert_eq!([permitted, effective, bound], [two; 3], "what root gets by an exec is bounded");
    let mut other = status();
    other.uid(1234).gid(1234).bounding_capabilities(TWO);
    assert_eq!(sets(system, &mut other), [own("CapInh:"), 0, 0, two, 0]);
    // Ambient ones are not bounded.
    let one = [Capability::KILL];
    let mut ambient = status();
    ambient.uid(1234).ambient_capabilities(one).bounding_capabilities([]);
    assert_eq!(sets(system, &mut ambient), [bits(&one), bits(&one), bits(&one), 0, bits(&one)]);
}

fn inheritable(system: &System) {
    let two = bits(&TWO);
    assert_eq!(sets(system, status().inheritable_capabilities(TWO))[0], two);
    assert_eq!(sets(system, status().inheritable_capabilities([]))[0], 0);
    let mut other = status();
    other.uid(1234).inheritable_capabilities(TWO).ambient_capabilities([Capability::BPF]);
    let one = bits(&[Capability::BPF]);
    assert_eq!(sets(system, &mut other), [two, one, one, own("CapBnd:"), one]);
}

fn kept(system: &System) {
    let all = own("CapPrm:");
    let mut other = status();
    other.uid(1234).gid(1234).keep_capabilities(true);
    assert_eq!(sets(system, &mut other), [all, all, all, own("CapBnd:"), all]);
    assert_eq!(sets(system, status().keep_capabilities(true))[4], all);
}

fn securebits(system: &System) {
    let told = |command: &mut Command| said(system, command.arg("securebits")).trim().parse::<u32>().unwrap();
    let no_root = SecureBits::NOROOT | SecureBits::NOROOT_LOCKED;
    assert_eq!(told(Command::new(ACTOR).securebits(no_root)), no_root.as_raw());
    assert_eq!(sets(system, status().securebits(no_root))[2], 0, "root's exec gives nothing");
    let no_ambient = SecureBits::NO_CAP_AMBIENT_RAISE | SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    let (_dir, actor) = world_actor();
    let mut other = Command::new(actor);
    // What is to be ambient is so before nothing can be.
    other.uid(1234).securebits(no_root | no_ambient).ambient_capabilities(TWO);
    assert_eq!(told(&mut other), (no_root | no_ambient).as_raw());
    let mut other = status();
    other.uid(1234).securebits(no_root | no_ambient).ambient_capabilities(TWO);
    assert_eq!(sets(system, &mut other)[1], bits(&TWO));
}

/// Where any user can execute it.
fn world_actor() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let path = dir.path().join("actor");
    fs::copy(ACTOR, &path).unwrap();
    (dir, path)
}

fn together(system: &System) {
    let two = bits(&TWO);
    let one = bits(&[Capability::BPF]);
    let mut command = status();
    command.uid(1234).gid(1234).groups(&[]).no_new_privileges(true);
    command.inheritable_capabilities(TWO).ambient_capabilities([Capability::BPF]).bounding_capabilities(TWO);
    command.securebits(SecureBits::NO_CAP_AMBIENT_RAISE | SecureBits::NO_SETUID_FIXUP);
    assert_eq!(sets(system, &mut command), [two, one, one, two, one]);
    let mut kept = status();
    kept.uid(1234).keep_capabilities(true).bounding_capabilities([]).securebits(SecureBits::NOROOT).no_new_privileges(true);
    let all = own("CapPrm:");
    assert_eq!(sets(system, &mut kept), [all, all, all, 0, all]);
}

fn reset_on_fork(system: &System) {
    // The shell's own, and that of a child of its.
    let mut command = sh("cut -d' ' -f19 /proc/$$/stat; nice");
    command.nice(-5);
    assert_eq!(said(system, &mut command), "-5\n-5\n");
    assert_eq!(said(system, command.reset_on_fork(true)), "-5\n0\n");
    let mut policy = sh("cut -d' ' -f41 /proc/$$/stat; cut -d' ' -f41 /proc/self/stat");
    policy.scheduling(Scheduling::RoundRobin(3));
    assert_eq!(said(system, &mut policy), "2\n2\n");
    assert_eq!(said(system, policy.reset_on_fork(true)), "2\n0\n");
}

fn io_priority(system: &System) {
    if which("ionice").is_none() {
        return;
    }
    let told = |priority| said(system, sh("ionice -p $$").io_priority(priority));
    assert_eq!(told(IoPriority::Idle), "idle\n");
    assert_eq!(told(IoPriority::BestEffort(6)), "best-effort: prio 6\n");
}

fn which(program: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.exists())
}

fn landlock(system: &System) {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    let Some(rules) = ruleset(&inside) else { return };
    let script = "echo x >inside/file || exit 1; echo x >outside || exit 7";
    let number = rules.as_raw_fd();
    let mut command = sh(script);
    command.current_dir(dir.path()).no_new_privileges(true).stderr(Stdio::null());
    let run = |command: &mut Command| {
        let status = system.spawn(command).unwrap().wait().unwrap();
        let written = [inside.join("file"), outside.clone()].map(|path| fs::remove_file(path).is_ok());
        (status.code(), written)
    };
    assert_eq!(run(&mut command), (Some(0), [true, true]));
    command.landlock(rules);
    assert_eq!(run(&mut command), (Some(7), [true, false]));
    // Its number is another's by then.
    command.fd(number, File::open("/dev/null").unwrap()).close_fds(true);
    assert_eq!(run(&mut command), (Some(7), [true, false]));
    // A second one, by which nothing can be written.
    command.landlock(ruleset(Path::new("/proc/self")).unwrap());
    assert_eq!(run(&mut command), (Some(1), [false, false]));
}

fn seccomp(system: &System) {
    let directory = |filters: &[SeccompFilter]| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = sh("mkdir a 2>/dev/null; rmdir a 2>/dev/null; test ! -e a || echo kept; cat /proc/self/status");
        command.current_dir(dir.path()).no_new_privileges(true);
        filters.iter().for_each(|filter| _ = command.seccomp(filter.clone()));
        let text = said(system, &mut command);
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        (of("Seccomp:").unwrap(), of("Seccomp_filters:"), text.starts_with("kept"))
    };
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let no_rmdir = refusing(&[libc::SYS_rmdir, libc::SYS_unlinkat], refused);
    let (mode, ..) = directory(&[]);
    let ours: u32 = directory(&[]).1.map_or(0, |count| count.parse().unwrap());
    assert!(mode == "0" || ours > 0);
    let (mode, count, is_kept) = directory(std::slice::from_ref(&no_rmdir));
    assert_eq!((mode.as_str(), is_kept), ("2", true));
    // Linux 5.10 and later say how many.
    assert!(count.is_none_or(|count| count == (ours + 1).to_string()));
    let (_, count, is_kept) = directory(&[allow_all().allow_speculation(true), no_rmdir.log(true), allow_all()]);
    assert!(is_kept && count.is_none_or(|count| count == (ours + 3).to_string()));
}

fn pid_variable(system: &System) {
    // The shell may not know its own number either: the spawn says what it is.
    let mut shown = Command::new("sh");
    shown.args(["-c", "echo $LISTEN_PID"]).listen_fds([("one", std::net::TcpListener::bind("127.0.0.1:0").unwrap())]);
    shown.no_new_privileges(true).seccomp(refusing(&[libc::SYS_getpid], SeccompAction::Errno(libc::EPERM as u32)));
    let child = system.spawn(shown.stdout(Stdio::piped())).unwrap();
    let pid = child.pid();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), format!("{pid}\n"));
}

fn missing_program(system: &System) {
    let calls = [
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_openat,
        libc::SYS_read,
        libc::SYS_nanosleep,
        // It cannot even end.
        libc::SYS_exit_group,
        libc::SYS_exit,
        libc::SYS_futex,
    ];
    for action in [SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Errno(libc::ENOSYS as u32)] {
        let mut command = Command::new("/no/such/program");
        command.no_new_privileges(true).seccomp(refusing(&calls, action));
        let error = system.spawn(&command).unwrap_err();
        assert!(matches!(&error, Error::Spawn { stage: Stage::Exec { .. }, source: Errno::NOENT, .. }), "{error}");
        assert_eq!(children(), Vec::<String>::new());
    }
}

fn killed(system: &System) {
    let mut command = Command::new("true");
    command.no_new_privileges(true);
    let of = |action| refusing(&[libc::SYS_execve, libc::SYS_execveat], action);
    let error = system.spawn(command.clone().seccomp(of(SeccompAction::Errno(libc::ENOENT as u32)))).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    let child = system.spawn(command.seccomp(of(SeccompAction::KillProcess))).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SYS.as_raw()));
}

fn detached(system: &System) {
    let kept = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&kept, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut command = sh("test $(cut -d' ' -f6 /proc/$$/stat) = $$ || exit 1
         for n in 0 1 2; do test $(readlink /proc/$$/fd/$n) = /dev/null || exit 2; done
         test $(ls /proc/$$/fd | wc -l) -le 4 || exit 3");
    command.detached(true);
    let mut child = system.spawn(&command).unwrap();
    assert!(child.stdout.take().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // And if it is not wished any more, nothing of it is left.
    let own =
        format!("test $(cut -d' ' -f6 /proc/$$/stat) = {} || exit 1; test -e /proc/$$/fd/{}", own_session(), kept.as_raw_fd());
    let status = system.spawn(sh(&own).detached(true).detached(false)).unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0));
    // What is asked for is had: of the call that pipes it, and by its own setting.
    assert_eq!(said(system, Command::new("echo").arg("seen").detached(true)), "seen\n");
    for (set, name) in [
        ((|c| c.kill_on_drop(true)) as fn(&mut Command) -> &mut Command, "kill_on_drop"),
        (|c| c.dies_with_us(true), "dies_with_us"),
        (|c| c.parent_death_signal(Signal::TERM), "parent_death_signal"),
        (|c| c.process_group(0), "process_group"),
    ] {
        let error = system.spawn(set(Command::new("true").detached(true))).unwrap_err();
        assert!(matches!(&error, Error::InvalidPlan { why, .. } if why.contains(name)), "{error}");
    }
    drop(kept);
}

fn own_session() -> i32 {
    nix::unistd::getsid(None).unwrap().as_raw()
}

fn privileged(system: &System) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = status();
    command.seccomp(allow_all());
    ruleset(dir.path()).into_iter().for_each(|rules| _ = command.landlock(rules));
    assert_eq!(field(system, &mut command, "NoNewPrivs:"), "0");
}

fn failure(system: &System, command: &mut Command) -> String {
    let error = system.spawn(command).map(|child| child.wait()).expect_err("it is refused");
    assert!(matches!(error, Error::Spawn { .. }), "{error:#?}");
    assert_eq!(children(), Vec::<String>::new());
    error.to_string()
}

fn bad_input(system: &System) {
    for if_possible in [false, true] {
        let command = || {
            let mut command = Command::new("true");
            command.no_new_privileges(true).walls_if_possible(if_possible);
            command
        };
        if has_landlock() {
            let text = failure(system, command().landlock(File::open("/dev/null").unwrap()));
            assert!(
                text.starts_with("spawn `true`: landlock_restrict_self: File descriptor in bad state (os error 77)"),
                "{text}"
            );
        }
        // It returns nothing: the kernel looks at that.
        let text = failure(system, command().seccomp(SeccompFilter::new([(0x06, 0, 0, 0x7fff_0000), (0xffff, 0, 0, 0)])));
        assert!(text.starts_with("spawn `true`: seccomp: Invalid argument (os error 22)"), "{text}");
        let text = failure(system, command().seccomp(allow_all()).seccomp(SeccompFilter::new([(0xffff, 0, 0, 0)])));
        assert!(text.contains("seccomp filter 2 of 2"), "{text}");
        let text = failure(system, command().seccomp(allow_all().listener(File::open("/dev/null").unwrap())));
        assert!(text.contains("sendmsg the listener of seccomp: Socket operation on non-socket"), "{text}");
        if Uid::current().is_root() {
            let text = failure(system, command().securebits(SecureBits::from_raw(1 << 20)));
            assert!(text.contains("PR_SET_SECUREBITS 0x100000: Operation not permitted"), "{text}");
        }
    }
}

pub(crate) fn has_landlock() -> bool {
    ruleset(Path::new("/")).is_some()
}

fn as_plain_user() -> Outcome {
    if !Uid::current().is_root() {
        return Outcome::Skipped("only root can become another user".into());
    }
    System::detect().unwrap();
    setuid(Uid::from_raw(61_234)).unwrap();
    // Or else our own /proc stays root's, as after any change of user.
    nix::sys::prctl::set_dumpable(true).unwrap();
    each_system(|system| {
        let before = descriptors();
        type Setting = fn(&mut Command) -> &mut Command;
        let cases: [(Setting, &str); 7] = [
            (
                |c| c.landlock(ruleset(Path::new("/")).unwrap()),
                "landlock_restrict_self: Operation not permitted (os error 1): it takes no_new_privileges",
            ),
            (|c| c.seccomp(allow_all()), "seccomp: Permission denied (os error 13): it takes no_new_privileges"),
            (|c| c.bounding_capabilities([]), "PR_CAPBSET_DROP CAP_CHOWN: Operation not permitted"),
            (|c| c.securebits(SecureBits::NOROOT), "PR_SET_SECUREBITS NOROOT: Operation not permitted"),
            (|c| c.inheritable_capabilities([Capability::KILL]), "capset: Operation not permitted"),
            (|c| c.io_priority(IoPriority::RealTime(0)), "ioprio_set RealTime(0): Operation not permitted"),
            (|c| c.uid(7).keep_capabilities(true), "setuid 7: Operation not permitted"),
        ];
        for (set, stage) in cases {
            if stage.starts_with("landlock") && !has_landlock() {
                continue;
            }
            for if_possible in [false, true] {
                let _row = row(format!("{stage}, if possible: {if_possible}"));
                let text = failure(system, set(Command::new("/bin/true").walls_if_possible(if_possible)));
                assert!(text.starts_with(&format!("spawn `/bin/true`: {stage}")), "{text}");
            }
        }
        // What takes none.
        let mut command = status();
        command
            .no_new_privileges(true)
            .seccomp(allow_all())
            .reset_on_fork(true)
            .io_priority(IoPriority::Idle)
            .keep_capabilities(true);
        assert_eq!(field(system, &mut command, "Seccomp:"), "2");
        assert_eq!(descriptors(), before);
    });
    Outcome::Passed
}

/// All that may not change, of the thread that spawns, and of its process.
fn own_state() -> Vec<String> {
    let of = |path: &str| {
        let status = fs::read_to_string(path).unwrap();
        let kept =
            ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Speculation", "Sig", "Cpus_allowed:", "Mems_allowed:"];
        let lines = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)) && !line.starts_with("SigQ"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut state = [of("/proc/self/status"), of("/proc/thread-self/status")].concat();
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let behind: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    // Group, session, nice value, real-time priority, policy.
    state.extend([2, 3, 16, 37, 38].map(|number| behind[number].to_owned()));
    state.push(format!("{:?}", rustix::thread::capabilities_secure_bits().unwrap()));
    state.push(format!("{:?}", nix::sys::prctl::get_dumpable().unwrap()));
    state
}

fn parent_unchanged() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let is_root = Uid::current().is_root();
    // Through whichever door it is.
    let file = dir.path().join("file");
    each_system(|system| {
        let before = own_state();
        for works in [true, false] {
            let mut command = Command::new(if works { "true" } else { "/no/such/program" });
            command.no_new_privileges(true).seccomp(allow_all()).io_priority(IoPriority::Idle).reset_on_fork(true);
            ruleset(Path::new("/proc")).into_iter().for_each(|rules| _ = command.landlock(rules));
            if is_root {
                command.bounding_capabilities([]).inheritable_capabilities([]).securebits(SecureBits::NOROOT).nice(-3);
            }
            assert_eq!(system.spawn(&command).map(|child| child.wait().unwrap()).is_ok(), works);
            assert_eq!(own_state(), before);
            fs::write(&file, "x").unwrap();
        }
    });
    Outcome::Passed
}

/// For `walls_missing.rs`: each wall, asked for.
pub(crate) fn with_wall(command: &mut Command, wall: Wall) -> &mut Command {
    match wall {
        Wall::Landlock => command.landlock(File::open("/dev/null").unwrap()),
        Wall::Seccomp => command.seccomp(allow_all()),
        Wall::IoPriority => command.io_priority(IoPriority::Idle),
        _ => command.reset_on_fork(true),
    }
}
