//! Each attribute, seen from inside the child: as root, and as a plain user where it takes privileges. On both real backends,
//! through every door.
//!
//! Longer than other files: one list of promises, each with a function that is read by itself.

use crate::Test;
use crate::errors::each_system;
use crate::leaks::{children, descriptors};
use crate::scenarios::sh;
use crate::stage::{Outcome, row};
use nix::unistd::{Gid, Uid, setgroups, setuid};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use steadfast::{
    Capability, Command, Disposition, Errno, Error, IdMap, Limit, MountPropagation, Namespaces, Resource, Scheduling, Signal,
    SignalSet, Stage, Stdio, System,
};

pub(crate) fn tests() -> Vec<Test> {
    let root = |name: &str, check: fn(&System)| Test::that_may_skip(format!("attribute: {name}"), move || as_root(check));
    let any = |name: &str, check: fn(&System)| Test::that_may_skip(format!("attribute: {name}"), move || each(check));
    vec![
        root("uid, gid, groups: all four IDs, and no group that is not asked for", ids),
        root("keep_groups: the caller's groups with another uid", keep_groups),
        root("ambient_capabilities: survive the change of user", ambient),
        any("no_new_privileges", no_new_privileges),
        any("setsid, process_group: session and group", session),
        any("process_group: that of another child", joined_group),
        root("chroot: another root, and the directory in it", chroot),
        any("current_dir_fd: and a directory relative to it", directory_fd),
        any("umask", umask),
        root("namespaces: born in new ones, process 1 of its PID namespace", namespaces),
        root("uid_map, gid_map: IDs inside; setgroups denied first", maps),
        root("unshare: other namespaces, mounts private", unshare),
        Test::that_may_skip(
            "attribute: mount_propagation: what is mounted inside does not show outside, unless asked for",
            || as_root(propagation),
        )
        .in_namespace(),
        Test::that_may_skip("attribute: cgroup: born there, or joins", cgroup),
        any("fd: circles, chains, and a number beyond", fd_circles),
        any("fd: beside the standard streams, and instead of them", fd_streams),
        any("close_fds: nothing but what was given, and given all the same", close_fds),
        any("close_fds: without close_range, and without /proc too", close_fds_otherwise),
        any("rlimit: soft and hard", limits),
        root("rlimit: raised before the user changes, lowered last", limit_order),
        root("nice, scheduling, cpu_affinity", scheduling),
        any("scheduling that takes no privileges, cpu_affinity, nice upwards", plain_scheduling),
        any("oom_score_adj: the child's, not ours", oom_score),
        any("personality", personality),
        any("signal_mask, signal_disposition", signals),
        any("trace_me: the tracer is this process", trace_me),
        any("executable: the file, whatever is at its path; a script", executable),
        root("steps: groups before gid before uid; chdir with the new user's rights, inside the new root", order),
        Test::that_may_skip("attribute: as a plain user: EPERM, with its stage", as_plain_user),
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

/// What the command says.
pub(crate) fn said(system: &System, command: &mut Command) -> String {
    command.stdout(Stdio::piped());
    let output = system.spawn(command).unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn cat(path: &str) -> Command {
    let mut command = Command::new("cat");
    command.arg(path);
    command
}

/// A line of a file in `/proc/self`, such as `Uid:` of `status`, as the child sees it.
pub(crate) fn field(system: &System, command: &mut Command, name: &str) -> String {
    let text = said(system, command);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fields of `/proc/self/stat` behind the name: the third of proc_pid_stat(5) is number 0.
fn stat(system: &System, command: &mut Command) -> Vec<String> {
    let text = said(system, command);
    let (_, behind) = text.rsplit_once(')').unwrap();
    behind.split_ascii_whitespace().map(str::to_owned).collect()
}

pub(crate) fn status() -> Command {
    cat("/proc/self/status")
}

fn ids(system: &System) {
    setgroups(&[Gid::from_raw(7), Gid::from_raw(8)]).unwrap();
    let fields = |command: &mut Command| ["Uid:", "Gid:", "Groups:"].map(|name| field(system, command, name));
    assert_eq!(fields(status().uid(1234).gid(2345).groups(&[11, 12])), ["1234 1234 1234 1234", "2345 2345 2345 2345", "11 12"]);
    assert_eq!(fields(status().uid(1234)), ["1234 1234 1234 1234", "0 0 0 0", ""]);
    assert_eq!(fields(status().gid(5)), ["0 0 0 0", "5 5 5 5", "7 8"]);
    assert_eq!(fields(status().groups(&[])), ["0 0 0 0", "0 0 0 0", ""]);
    setgroups(&[]).unwrap();
}

fn keep_groups(system: &System) {
    setgroups(&[Gid::from_raw(7), Gid::from_raw(8)]).unwrap();
    assert_eq!(field(system, status().uid(1234).keep_groups(true), "Groups:"), "7 8");
    setgroups(&[]).unwrap();
}

fn ambient(system: &System) {
    let mut command = status();
    command.uid(1234).gid(1234).ambient_capabilities([Capability::NET_BIND_SERVICE, Capability::BPF]);
    let bits = 1 << 10 | 1_u64 << 39;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&field(system, &mut command, set), 16).unwrap(), bits, "{set}");
    }
}

fn no_new_privileges(system: &System) {
    assert_eq!(field(system, status().no_new_privileges(true), "NoNewPrivs:"), "1");
    assert!(!nix::sys::prctl::get_no_new_privs().unwrap());
}

fn session(system: &System) {
    let pids = |command: &mut Command| {
        // pid is the shell's own, group and session are fields 5 and 6.
        let text = said(system, command);
        let (pid, stat) = text.split_once(' ').unwrap();
        let behind: Vec<_> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        [pid.parse::<i32>().unwrap(), behind[2].parse().unwrap(), behind[3].parse().unwrap()]
    };
    let own = sh("echo $$ $(cat /proc/$$/stat)");
    let (group, session) = (nix::unistd::getpgrp().as_raw(), nix::unistd::getsid(None).unwrap().as_raw());
    let [pid, pgrp, sid] = pids(&mut own.clone());
    assert_eq!([pgrp, sid], [group, session]);
    assert_ne!(pid, pgrp);
    let [pid, pgrp, sid] = pids(own.clone().setsid(true));
    assert_eq!([pgrp, sid], [pid, pid]);
    let [pid, pgrp, sid] = pids(own.clone().process_group(0));
    assert_eq!([pgrp, sid], [pid, session]);
}

fn joined_group(system: &System) {
    let leader = system.spawn(cat("-").process_group(0).stdin(Stdio::piped())).unwrap();
    let group = leader.pid().as_raw();
    assert_eq!(stat(system, cat("/proc/self/stat").process_group(group))[2], group.to_string());
    assert!(leader.wait().unwrap().success());
    let error = system.spawn(cat("-").process_group(group)).unwrap_err();
    assert_eq!(error.to_string(), format!("spawn `cat`: setpgid {group}: Operation not permitted (os error 1)"));
}

/// Where `/bin` is a part of `/usr`, that has all that a shell needs.
fn chroot(system: &System) {
    if !fs::read_link("/bin").is_ok_and(|to| to.ends_with("usr/bin")) {
        return;
    }
    assert_eq!(said(system, sh("pwd; test -d /usr || echo no usr").chroot("/usr")), "/\nno usr\n");
    assert_eq!(said(system, sh("pwd").chroot("/usr").current_dir("bin")), "/bin\n");
    let error = system.spawn(sh("pwd").chroot("/nope")).unwrap_err();
    assert_eq!(error.to_string(), "spawn `sh`: chroot to `/nope`: No such file or directory (os error 2)");
}

fn directory_fd(system: &System) {
    let dir = || File::open("/usr").unwrap();
    assert_eq!(said(system, sh("pwd -P").current_dir_fd(dir())), "/usr\n");
    assert_eq!(said(system, sh("pwd -P").current_dir_fd(dir()).current_dir("bin")), "/usr/bin\n");
    // The program too is looked for there.
    assert_eq!(said(system, Command::new("./sh").args(["-c", "pwd -P"]).current_dir_fd(dir()).current_dir("bin")), "/usr/bin\n");
    let error = system.spawn(sh("pwd").current_dir_fd(File::open("/etc/passwd").unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "spawn `sh`: fchdir: Not a directory (os error 20)");
}

fn umask(system: &System) {
    assert_eq!(said(system, sh("umask").umask(0o027)), "0027\n");
    assert_ne!(said(system, &mut sh("umask")), "0027\n");
}

fn namespaces(system: &System) {
    let names = [("uts", Namespaces::UTS), ("ipc", Namespaces::IPC), ("net", Namespaces::NET), ("mnt", Namespaces::MOUNT)];
    let ours = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    for (name, new) in names {
        let _row = row(name);
        let theirs = said(system, Command::new("readlink").arg(format!("/proc/self/ns/{name}")).namespaces(new));
        assert_ne!(theirs.trim(), ours(name));
    }
    assert_eq!(said(system, sh("echo $$").namespaces(Namespaces::PID)), "1\n");
    let all = Namespaces::USER | Namespaces::PID | Namespaces::NET | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
    assert_eq!(said(system, sh("echo $$").namespaces(all)), "1\n");
}

fn maps(system: &System) {
    let one = |inside, outside| IdMap { inside, outside, count: 1 };
    let mut command = sh("id -u; id -g; cat /proc/self/setgroups; cat /proc/self/uid_map /proc/self/gid_map");
    command.namespaces(Namespaces::USER).uid_map([one(42, 0), one(50, 1000)]).gid_map([one(43, 0)]);
    let lines: Vec<String> =
        said(system, &mut command).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["42", "43", "deny", "42 0 1", "50 1000 1", "43 0 1"]);
    assert_eq!(said(system, command.clone().uid(50).allow_setgroups(true)).lines().next(), Some("50"));
    // Two that overlap.
    let error = system.spawn(command.uid_map([one(0, 0), one(0, 1)])).unwrap_err();
    assert_eq!(error.to_string(), "spawn `sh`: uid_map 0 0 1, 0 1 1: Invalid argument (os error 22)");
}

fn unshare(system: &System) {
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap().display().to_string();
    let text = said(system, sh("readlink /proc/self/ns/mnt; cat /proc/self/mountinfo").unshare(Namespaces::MOUNT));
    assert_ne!(text.lines().next().unwrap(), ours);
    assert!(!text.contains(" shared:"), "{text}");
    assert_eq!(said(system, sh("cat /proc/self/uid_map").unshare(Namespaces::USER)), "");
}

/// Here all mounts are shared first, as where systemd is.
fn propagation(system: &System) {
    let run = |command: &mut Command| assert!(system.spawn(command).unwrap().wait().unwrap().success());
    run(&mut sh("mount --make-rshared /"));
    let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(" /mnt ").count();
    let (before, mount) = (mounted(), || sh("mount -t tmpfs inside /mnt"));
    run(mount().namespaces(Namespaces::MOUNT));
    run(mount().unshare(Namespaces::MOUNT));
    run(mount().namespaces(Namespaces::MOUNT).mount_propagation(MountPropagation::Slave));
    let user = Namespaces::USER | Namespaces::MOUNT;
    run(mount().namespaces(user).uid_map([IdMap { inside: 0, outside: 0, count: 1 }]));
    assert_eq!(mounted(), before);
    let is_slave = "grep -q 'master:' /proc/self/mountinfo";
    run(sh(is_slave).unshare(Namespaces::MOUNT).mount_propagation(MountPropagation::Slave));
    run(sh(&format!("! {is_slave}")).namespaces(Namespaces::MOUNT));
    run(mount().namespaces(Namespaces::MOUNT).mount_propagation(MountPropagation::Unchanged));
    assert_eq!(mounted(), before + 1);
    run(&mut sh("umount /mnt; mount --make-rprivate /"));
}

/// A cgroup of our own, removed with this.
pub(crate) struct Cgroup(pub(crate) std::path::PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// Where the first file system of this type is mounted (proc_pid_mountinfo(5)).
pub(crate) fn mount_of(kind: &str) -> Option<std::path::PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(&format!(" - {kind} ")))?;
    line.split(' ').nth(4).map(Into::into)
}

fn cgroup() -> Outcome {
    let mut tried = false;
    for (kind, prefix) in [("cgroup2", "0::"), ("cgroup", "")] {
        let name = format!("steadfast-{}", std::process::id());
        let Some(cgroup) = mount_of(kind).map(|mount| Cgroup(mount.join(&name))) else { continue };
        if fs::create_dir(&cgroup.0).is_err() {
            continue;
        }
        tried = true;
        each_system(|system| {
            let dir = &cgroup.0;
            let text = said(system, cat("/proc/self/cgroup").cgroup(File::open(dir).unwrap()));
            assert!(text.lines().any(|line| line.ends_with(&format!("/{name}"))), "{text}");
        });
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert!(!own.contains(&name) && own.contains(prefix));
    }
    if !tried {
        return Outcome::Skipped("no cgroup can be made here".into());
    }
    each_system(|system| {
        let error = system.spawn(cat("-").cgroup(File::open("/").unwrap())).unwrap_err();
        assert_eq!(error.to_string(), "spawn `cat`: cgroup: No such file or directory (os error 2)");
    });
    Outcome::Passed
}

/// A file with this text, to be read through a descriptor.
fn file(text: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

fn fd_circles(system: &System) {
    // Numbers that the sources themselves have: each is to get the next one's, and the last one the first one's.
    let files: Vec<OwnedFd> = ["a", "b", "c"].map(file).into();
    let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let script: String = (0..3).map(|n| format!("cat <&{}; ", numbers[n])).collect();
    let mut command = sh(&script);
    for (index, file) in files.into_iter().enumerate() {
        command.fd(numbers[(index + 1) % 3], file);
    }
    assert_eq!(said(system, &mut command), "cab");

    // A chain, the same number as here, and one far away; the same file twice.
    let (d, e) = (file("d"), file("e"));
    let (n, m) = (d.as_raw_fd(), e.as_raw_fd());
    let mut command = sh(&format!("cat <&{m}; cat <&9"));
    command.fd(m, d).fd(9, e);
    assert_eq!(said(system, &mut command), "de");
    let same = file("f");
    let number = same.as_raw_fd();
    assert_eq!(said(system, sh(&format!("cat <&{number}")).fd(number, same)), "f");
    assert_eq!(said(system, Command::new("cat").arg("/proc/self/fd/300").fd(300, file("g"))), "g");
    let error = system.spawn(Command::new("true").fd(1 << 30, file("h"))).unwrap_err();
    assert_eq!(error.to_string(), "spawn `true`: fd 1073741824: Bad file descriptor (os error 9)");
    assert!(n > 2);
}

fn fd_streams(system: &System) {
    let _here = system.enter();
    assert_eq!(Command::new("cat").fd(0, file("as stdin")).output().unwrap().stdout, b"as stdin");
    let out = file("");
    let mut written = File::from(out.try_clone().unwrap());
    assert!(Command::new("echo").arg("to 1").fd(1, out).output().unwrap().stdout.is_empty());
    assert_eq!(text(&mut written), "to 1\n");

    // This process's stderr as the child's stdout, and its stdout as the child's stderr.
    let own = |number: i32| fs::read_link(format!("/proc/self/fd/{number}")).unwrap().display().to_string();
    let (one, two) = (std::io::stdout(), std::io::stderr());
    let (one, two) = (one.as_fd().try_clone_to_owned().unwrap(), two.as_fd().try_clone_to_owned().unwrap());
    let mut seen = File::from(file(""));
    let mut command = sh("one=$(readlink /proc/$$/fd/1); two=$(readlink /proc/$$/fd/2); printf '%s\\n' \"$one\" \"$two\" >&5");
    assert!(command.stdout(two).stderr(one).fd(5, seen.try_clone().unwrap()).status().unwrap().success());
    assert_eq!(text(&mut seen), format!("{}\n{}\n", own(2), own(1)));
}

fn text(file: &mut File) -> String {
    file.rewind().unwrap();
    std::io::read_to_string(file).unwrap()
}

/// The child's descriptors, without the one with which it looks.
fn listed(system: &System, command: &mut Command) -> Vec<i32> {
    let text = said(system, command.stdin(Stdio::null()).stderr(Stdio::null()));
    let mut numbers: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn close_fds(system: &System) {
    // Open without close-on-exec, as a careless library leaves them.
    let leaked: Vec<OwnedFd> = [100, 101, 250]
        .map(|at| {
            let fd = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), at).unwrap();
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
            fd
        })
        .into();
    let list = || sh("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done");
    let with = listed(system, &mut list());
    assert!([100, 101, 250].iter().all(|number| with.contains(number)), "{with:?}");
    let mut command = list();
    command.close_fds(true).fd(101, file("x")).fd(7, file("y"));
    let without = listed(system, &mut command);
    let dash_keeps_its_own = |number: &i32| *number < 10 || *number == 101;
    assert!(without.iter().all(dash_keeps_its_own) && [0, 1, 2, 7, 101].iter().all(|n| without.contains(n)), "{without:?}");
    let script = executable_script("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done");
    let by_file = listed(system, Command::new("script").executable(script).close_fds(true));
    assert!(!by_file.contains(&100) && !by_file.contains(&250), "{by_file:?}");
    drop(leaked);
}

/// A filter answers for close_range(2); and in a root without `/proc` nobody lists what is open.
fn close_fds_otherwise(system: &System) {
    crate::probing::answer_with_enosys(nix::libc::SYS_close_range);
    close_fds(system);
    if Uid::current().is_root() && fs::read_link("/bin").is_ok_and(|to| to.ends_with("usr/bin")) {
        let leaked = rustix::io::fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), 4).unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        let number = leaked.as_raw_fd();
        assert!(number < 9, "a shell knows descriptors of one digit");
        let mut command = sh(&format!("(: <&{number}) 2>&- && echo leaked; (: <&9) && echo given"));
        command.chroot("/usr").fd(9, file("x"));
        assert_eq!(said(system, &mut command), "leaked\ngiven\n");
        assert_eq!(said(system, command.close_fds(true)), "given\n");
    }
}

fn limits(system: &System) {
    let mut command = cat("/proc/self/limits");
    command.rlimit(Resource::NOFILE, (55, 66)).rlimit(Resource::CORE, 0).rlimit(Resource::STACK, (4 << 20, 8 << 20));
    assert_eq!(field(system, &mut command, "Max open files"), "55 66 files");
    assert_eq!(field(system, &mut command, "Max core file size"), "0 0 bytes");
    assert_eq!(field(system, &mut command, "Max stack size"), "4194304 8388608 bytes");
    // Too low for our own steps, were it not the last one.
    let low = said(system, cat("/proc/self/fd/40").fd(40, file("last")).rlimit(Resource::NOFILE, 12));
    assert_eq!(low, "last");
}

fn limit_order(system: &System) {
    // CAP_SYS_RESOURCE, without which root may not either.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let effective = own.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    if u64::from_str_radix(effective.trim(), 16).unwrap() & 1 << 24 == 0 {
        let error = system.spawn(cat("-").rlimit(Resource::MEMLOCK, Limit::INFINITY)).unwrap_err();
        assert_eq!(error.to_string(), "spawn `cat`: setrlimit RLIMIT_MEMLOCK to unlimited: Operation not permitted (os error 1)");
        return;
    }
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
    let more = if hard == u64::MAX { Limit::INFINITY } else { hard * 2 };
    let mut command = cat("/proc/self/limits");
    command.uid(1234).gid(1234).rlimit(Resource::MEMLOCK, (0, more)).rlimit(Resource::NPROC, 1000);
    let shown = if more == Limit::INFINITY { "0 unlimited bytes".to_owned() } else { format!("0 {more} bytes") };
    assert_eq!(field(system, &mut command, "Max locked memory"), shown);
}

fn scheduling(system: &System) {
    let stat = |command: &mut Command| stat(system, command);
    // proc_pid_stat(5): nice is field 19, rt_priority 40, policy 41.
    assert_eq!(stat(cat("/proc/self/stat").nice(-7))[16], "-7");
    let mut fifo = cat("/proc/self/stat");
    let policies = [(Scheduling::Fifo(7), "7", "1"), (Scheduling::RoundRobin(3), "3", "2")];
    for (scheduling, priority, policy) in policies {
        let _row = row(format!("{scheduling:?}"));
        match system.spawn(fifo.scheduling(scheduling).stdout(Stdio::null())).map(|child| child.wait().unwrap()) {
            Ok(_) => {
                let fields = stat(fifo.scheduling(scheduling));
                assert_eq!((&*fields[37], &*fields[38]), (priority, policy));
            }
            // A cgroup without real-time bandwidth (CONFIG_RT_GROUP_SCHED).
            Err(error) => assert!(error.to_string().contains("sched_setscheduler"), "{error}"),
        }
    }
    assert_eq!(stat(&mut cat("/proc/self/stat"))[38], "0");
}

fn plain_scheduling(system: &System) {
    let stat = |command: &mut Command| stat(system, command);
    assert_eq!(stat(cat("/proc/self/stat").nice(9))[16], "9");
    assert_eq!(stat(cat("/proc/self/stat").scheduling(Scheduling::Batch))[38], "3");
    assert_eq!(stat(cat("/proc/self/stat").scheduling(Scheduling::Idle))[38], "5");
    let both = stat(cat("/proc/self/stat").scheduling(Scheduling::Batch).nice(4));
    assert_eq!((&*both[16], &*both[38]), ("4", "3"));
    assert_eq!(field(system, status().cpu_affinity([0]), "Cpus_allowed_list:"), "0");
    let error = system.spawn(status().cpu_affinity([100_000])).unwrap_err();
    assert_eq!(error.to_string(), "spawn `cat`: sched_setaffinity [100000]: Invalid argument (os error 22)");
}

fn oom_score(system: &System) {
    let ours = || fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let before = ours();
    assert_eq!(said(system, cat("/proc/self/oom_score_adj").oom_score_adj(777)), "777\n");
    assert_eq!(ours(), before);
}

fn personality(system: &System) {
    const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;
    assert_eq!(said(system, cat("/proc/self/personality").personality(ADDR_NO_RANDOMIZE)).trim(), "00040000");
}

fn signals(system: &System) {
    let set = |command: &mut Command, name: &str| u64::from_str_radix(&field(system, command, name), 16).unwrap();
    let mask = SignalSet::from_iter([Signal::USR1, Signal::RTMAX]);
    assert_eq!(set(status().signal_mask(mask), "SigBlk:"), mask.as_raw());
    assert_eq!(set(status().signal_mask(SignalSet::EMPTY), "SigBlk:"), 0);
    let mut command = status();
    command.signal_disposition(Signal::HUP, Disposition::Ignore).signal_disposition(Signal::PIPE, Disposition::Ignore);
    // What this process ignores by way of whoever started it, they do too.
    let ours = set(&mut status(), "SigIgn:");
    assert_eq!(set(&mut command, "SigIgn:"), ours | SignalSet::from_iter([Signal::HUP, Signal::PIPE]).as_raw());
    command.signal_disposition(Signal::HUP, Disposition::Default);
    let without_hup = ours & !SignalSet::EMPTY.with(Signal::HUP).as_raw();
    assert_eq!(set(&mut command, "SigIgn:"), without_hup | SignalSet::EMPTY.with(Signal::PIPE).as_raw());
    for signal in Signal::all() {
        command.signal_disposition(signal, Disposition::Default);
    }
    assert_eq!(set(&mut command, "SigIgn:"), 0);
}

fn trace_me(system: &System) {
    let child = system.spawn(Command::new("true").trace_me(true)).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    assert!(status.contains(&format!("TracerPid:\t{}\n", std::process::id())), "{status}");
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// A script as an open file that can be executed.
fn executable_script(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    File::open(path).unwrap()
}

fn executable(system: &System) {
    let echo = || File::open("/bin/echo").unwrap();
    assert_eq!(said(system, Command::new("whatever").arg("hi").executable(echo())), "hi\n");
    // Its number is given to somebody else.
    let file_fd = echo();
    let number = file_fd.as_raw_fd();
    assert_eq!(said(system, Command::new("x").arg("moved").executable(file_fd).fd(number, file("")).close_fds(true)), "moved\n");
    // The directory of the script is gone by now.
    assert_eq!(said(system, Command::new("x").arg("arg").executable(executable_script("echo script $1"))), "script arg\n");
    let error = system.spawn(Command::new("passwords").executable(File::open("/etc/passwd").unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "spawn `passwords`: exec `passwords`: Permission denied (os error 13)");
}

fn order(system: &System) {
    // Each of these takes a privilege that the step behind it drops.
    let mut command = sh("id -u; id -g; id -G");
    command.uid(1234).gid(2345).groups(&[3456]).nice(-3).namespaces(Namespaces::UTS);
    assert_eq!(said(system, &mut command), "1234\n2345\n2345 3456\n");

    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(system.spawn(sh("true").current_dir(dir.path())).unwrap().wait().unwrap().success());
    let error = system.spawn(sh("true").current_dir(dir.path()).uid(1234)).unwrap_err();
    assert!(matches!(&error, Error::Spawn { stage: Stage::Chdir { .. }, source: Errno::ACCES, .. }), "{error}");
    // The parent-death signal would be lost if it came before the change of user: seen in the scenario of its own.
    if fs::read_link("/bin").is_ok_and(|to| to.ends_with("usr/bin")) {
        assert_eq!(said(system, sh("pwd").chroot("/usr").current_dir("bin").uid(1234)), "/bin\n");
    }
}

fn as_plain_user() -> Outcome {
    if !Uid::current().is_root() {
        return Outcome::Skipped("only root can become another user".into());
    }
    System::detect().unwrap();
    // A low nice value and a low hard limit, from which there is no way back.
    setuid(Uid::from_raw(61_234)).unwrap();
    // To give up a controlling terminal takes no privileges: in a session of its own it has none.
    _ = nix::unistd::setsid();
    // Or else our own /proc stays root's, as after any change of user.
    nix::sys::prctl::set_dumpable(true).unwrap();
    each_system(|system| {
        let before = descriptors();
        let one = |inside, outside| IdMap { inside, outside, count: 1 };
        type Setting = fn(&mut Command) -> &mut Command;
        let cases: [(Setting, Errno, &str); 15] = [
            (|c| c.uid(7), Errno::PERM, "setuid 7"),
            (|c| c.gid(7), Errno::PERM, "setgid 7"),
            (|c| c.groups(&[7, 8]), Errno::PERM, "setgroups [7, 8]"),
            (|c| c.chroot("/usr"), Errno::PERM, "chroot to `/usr`"),
            (|c| c.nice(-5), Errno::ACCES, "setpriority -5"),
            (|c| c.oom_score_adj(-5), Errno::ACCES, "oom_score_adj -5"),
            (|c| c.scheduling(Scheduling::Fifo(5)), Errno::PERM, "sched_setscheduler Fifo(5)"),
            (|c| c.ambient_capabilities([Capability::SYS_ADMIN]), Errno::PERM, "capset"),
            (|c| c.namespaces(Namespaces::NET | Namespaces::UTS), Errno::PERM, "clone into new namespaces NET|UTS"),
            (|c| c.unshare(Namespaces::MOUNT), Errno::PERM, "unshare MOUNT"),
            (|c| c.process_group(1), Errno::PERM, "setpgid 1"),
            (|c| c.detach_terminal(true), Errno::NXIO, "TIOCNOTTY"),
            (|c| c.rlimit(Resource::NICE, 40), Errno::PERM, "setrlimit RLIMIT_NICE to 40"),
            (
                |c| c.uid_map([IdMap { inside: 0, outside: 0, count: 1 }]).namespaces(Namespaces::USER),
                Errno::PERM,
                "uid_map 0 0 1",
            ),
            (|c| c.current_dir("/proc/1/cwd"), Errno::ACCES, "chdir to `/proc/1/cwd`"),
        ];
        for (set, errno, stage) in cases {
            let _row = row(stage);
            let mut command = Command::new("/bin/true");
            let error = system.spawn(set(&mut command)).map(|child| child.wait()).expect_err("it takes privileges");
            assert_eq!(error.to_string(), format!("spawn `/bin/true`: {stage}: {errno}"));
        }
        // What takes none: its own IDs, and a user namespace in which it is root.
        assert_eq!(said(system, sh("id -u").uid(61_234)), "61234\n");
        let mut root = sh("id -u; id -g");
        root.namespaces(Namespaces::USER | Namespaces::PID).uid_map([one(0, 61_234)]).gid_map([one(0, 0)]);
        match system.spawn(root.stdout(Stdio::piped())) {
            Ok(child) => assert_eq!(child.wait_with_output().unwrap().stdout, b"0\n0\n"),
            // Where user namespaces are forbidden.
            Err(error) => assert!(error.to_string().contains("clone into new namespaces"), "{error}"),
        }
        assert_eq!(descriptors(), before);
        assert_eq!(children(), Vec::<String>::new());
    });
    Outcome::Passed
}
