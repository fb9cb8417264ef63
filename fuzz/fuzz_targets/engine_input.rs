//! Property: whatever a plan is made of, `Command::spawn` answers: the program of that name runs, or the error names it; and nothing
//! that was set reaches this process. PIDs and signals that were printed are read back as they were.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::Once;
use steadfast::{Command, Disposition, ErrorKind, Namespaces, Pid, Resource, Signal};

/// What a plan can be given beyond texts.
#[derive(Arbitrary, Debug)]
enum Setting {
    Uid(u32),
    Gid(u32),
    Groups(Vec<u32>),
    Setsid(bool),
    ProcessGroup(i32),
    Umask(u32),
    Nice(i32),
    OomScore(i32),
    Affinity(Vec<u32>),
    Limit(u8, u64, u64),
    Fd(i32),
    CloseFds,
    Unshare(u8),
    Mask(Vec<i32>),
    Ignore(i32),
    DeathSignal(i32),
    NoNewPrivileges,
}

fn set(command: &mut Command, setting: &Setting) {
    let null = || File::open("/dev/null").expect("there is always a /dev/null");
    let resources = [Resource::CPU, Resource::CORE, Resource::NOFILE, Resource::NPROC, Resource::STACK];
    let spaces = [Namespaces::UTS, Namespaces::IPC, Namespaces::USER, Namespaces::NET];
    match setting {
        Setting::Uid(id) => command.uid(*id),
        Setting::Gid(id) => command.gid(*id),
        Setting::Groups(groups) => command.groups(groups),
        Setting::Setsid(on) => command.setsid(*on),
        Setting::ProcessGroup(group) => command.process_group(*group),
        Setting::Umask(mask) => command.umask(*mask),
        Setting::Nice(nice) => command.nice(*nice),
        Setting::OomScore(score) => command.oom_score_adj(*score),
        Setting::Affinity(cpus) => command.cpu_affinity(cpus.iter().map(|cpu| *cpu as usize)),
        Setting::Limit(which, soft, hard) => command.rlimit(resources[usize::from(*which) % resources.len()], (*soft, *hard)),
        Setting::Fd(number) => command.fd(*number, null()),
        Setting::CloseFds => command.close_fds(true),
        Setting::Unshare(which) => command.unshare(spaces[usize::from(*which) % spaces.len()]),
        Setting::Mask(signals) => command.signal_mask(signals.iter().filter_map(|n| Signal::new(*n).ok()).collect()),
        Setting::Ignore(signal) => match Signal::new(*signal) {
            Ok(signal) => command.signal_disposition(signal, Disposition::Ignore),
            Err(_) => command,
        },
        // One that a dead parent's child could be told to survive.
        Setting::DeathSignal(signal) => match Signal::new(*signal) {
            Ok(signal) => command.parent_death_signal(signal),
            Err(_) => command,
        },
        Setting::NoNewPrivileges => command.no_new_privileges(true),
    };
}

/// What of this process a child in its memory might change, and what a spawn might leave open.
fn own() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let kept = ["Umask:", "Uid:", "Gid:", "Groups:", "Seccomp:", "NoNewPrivs:", "SigBlk:", "SigIgn:", "Cpus_allowed:"];
    let status: String = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name))).collect();
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("there is a /proc").count();
    format!("{status}, descriptors: {descriptors}")
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>, String, Vec<Setting>)| {
    // What the first spawn opens for all that come after it (the probe's answer, the reactor) is open before anything is counted.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| drop(Command::new("/nonexistent/first").spawn()));
    let (program, arg, dir, text, settings) = input;
    // Never a program that exists: this directory does not.
    let mut path = b"/nonexistent/".to_vec();
    path.extend(&program);
    if path.windows(2).any(|pair| pair == b"..") {
        return;
    }
    let mut command = Command::new(OsStr::from_bytes(&path));
    command.arg(OsStr::from_bytes(&arg)).env("X", OsStr::from_bytes(&arg)).current_dir(OsStr::from_bytes(&dir));
    settings.iter().for_each(|setting| set(&mut command, setting));
    // Only now: the files that the settings hold are this function's own, and there may be more of them than the table had room for.
    let before = own();
    let error = command.spawn().map(|child| child.pid()).expect_err("there is no such program");
    let has_nul = [&path, &arg, &dir].iter().any(|bytes| bytes.contains(&0));
    assert!(error.kind() == ErrorKind::InvalidInput || !has_nul, "{error}");
    assert!([ErrorKind::InvalidInput, ErrorKind::Spawn].contains(&error.kind()), "{error}");
    assert!(error.kind() != ErrorKind::InvalidInput || has_nul || !settings.is_empty(), "{error}");
    assert_eq!(own(), before);
    assert!(error.to_string().contains("/nonexistent/"), "{error}");

    if let Ok(signal) = text.parse::<Signal>() {
        // The C library's own two have no name to be read.
        let read_back = signal.to_string().parse::<Signal>().ok();
        assert!(read_back == Some(signal) || (32..34).contains(&signal.as_raw()));
    }
    if let Ok(pid) = text.parse::<Pid>() {
        assert_eq!(pid.to_string().parse::<Pid>().expect("printed by us"), pid);
    }
});
