//! Examines the machine that it finds itself on: a static program that holds the probe and the contract, for kernels and sandboxes where
//! there is nothing else. `cargo xtask environments` takes it there, with the actor beside it.
//!
//! What it finds it prints line by line, each a JSON object behind [`MARK`]: a console may carry other people's lines too.
#![forbid(unsafe_code)]

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Once;
use steadfast::{Answer, Containment, Pid, Probe, Signal, System};
use steadfast_conformance::{Outcome, Subject, promises};
use steadfast_tests::filter::{Call, Reply};
use steadfast_tests::robbery::{self, Scene};
use steadfast_tests::{profiles, real, tells_lost_status};
use xtask::environments::{ALONE, MARK};
use xtask::namespace;

const USAGE: &str =
    "witness [examine [PROMISE]] | in-namespace PROGRAM ARGS | filtered FILTER | foreign | rob | thief … | nothing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] | ["examine"] => examine(""),
        ["examine", promise] => examine(promise),
        ["in-namespace", program, ref args @ ..] => in_namespace(program, args),
        ["filtered", name] => filter(name).and_then(|()| examine("")),
        ["foreign"] => foreign(),
        ["thief", ref words @ ..] => robbery::thief(words),
        ["nothing"] => Ok(()),
        ["server"] => server(),
        ["pelt", group] => pelt(group),
        ["rob"] => rob(),
        _ => Err(USAGE.to_owned()),
    };
    if let Err(error) = &done {
        say(&json!({ "event": "error", "what": error }));
    }
    if std::env::var_os(ALONE).is_some() && std::process::id() == 1 {
        power_off();
    }
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    // Nobody to tell it to is nobody to fail for.
    _ = writeln!(stdout, "{MARK}{line}").and_then(|()| stdout.flush());
}

/// The first process of a machine: there is nobody to return to.
fn power_off() -> ! {
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(errno) => panic!("reboot: {errno}"),
    }
}

/// Runs a program as process 1 of a PID namespace of its own.
fn in_namespace(program: &str, args: &[&str]) -> Result<(), String> {
    // Before: the probe's child would be the new namespace's first process.
    let system = System::detect().map_err(|error| error.to_string())?;
    namespace::unshare_pids().map_err(|reason| format!("no PID namespace of its own can be had: {reason}"))?;
    // It dies with this process, and with it all others of its namespace.
    let mut command = steadfast::Command::new(program);
    command.args(args).parent_death_signal(Signal::KILL);
    let status = system.spawn(&command).and_then(|child| child.wait()).map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("process 1: {status}")) }
}

/// Puts this process into a sandbox: `CALL: REPLY`, or a profile's name.
fn filter(name: &str) -> Result<(), String> {
    // Before: a filter may take away what this needs.
    settle();
    if profiles::enter(name) {
        return Ok(());
    }
    let cells = Call::all().into_iter().flat_map(|call| Reply::all().map(|reply| (call.clone(), reply)));
    let (call, reply) = cells
        .into_iter()
        .find(|(call, reply)| format!("{}: {}", call.title(), reply.name) == name)
        .ok_or_else(|| format!("there is no filter {name:?}"))?;
    call.answer(reply.action);
    Ok(())
}

/// Process 1 makes its home what programs expect.
fn settle() {
    static ONCE: Once = Once::new();
    if std::process::id() == 1 {
        ONCE.call_once(furnish);
    }
}

fn furnish() {
    if let Err(reason) = namespace::mount_proc() {
        say(&json!({ "event": "note", "what": reason }));
    }
    if std::env::var_os(ALONE).is_some() {
        for (what, at) in [("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup")] {
            // A probe that misses one of them says so.
            _ = std::fs::create_dir_all(at);
            if let Err(errno) = mount(Some(what), at, Some(what), MsFlags::empty(), None::<&str>) {
                say(&json!({ "event": "note", "what": format!("mount {what}: {errno}") }));
            }
        }
        if let Err(error) = settle_in_a_cgroup(std::path::Path::new("/sys/fs/cgroup")) {
            say(&json!({ "event": "note", "what": format!("a cgroup: {error}") }));
        }
    }
}

/// As systemd starts a service with `Delegate=` and `DelegateSubgroup=`: in a cgroup of its own, beneath one that is marked as delegated and has the
/// controllers. (The root has no `cgroup.kill`.)
fn settle_in_a_cgroup(root: &std::path::Path) -> std::io::Result<()> {
    let service = root.join("service");
    let own = service.join("witness");
    std::fs::create_dir_all(&own)?;
    std::fs::write(root.join("cgroup.subtree_control"), "+memory +pids +cpu")?;
    rustix::fs::setxattr(&service, "trusted.delegate", b"1", rustix::fs::XattrFlags::empty())?;
    std::fs::write(own.join("cgroup.procs"), "1")
}

/// Says what is here, and holds each backend to the promises whose names contain these words.
fn examine(words: &str) -> Result<(), String> {
    settle();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    say(&json!({ "event": "kernel", "release": kernel.trim(), "pid": std::process::id() }));
    let probe = Probe::once().map_err(|error| error.to_string())?;
    let row = |name: &str, since: &str, answer: Answer| json!({ "name": name, "since": since, "answer": short(answer) });
    let system = System::detect().map_err(|error| error.to_string())?;
    let obstacle = probe.obstacle().map(|check| format!("{}: {}", check.name, check.answer));
    let features = Probe::features().map_err(|error| error.to_string())?;
    say(&json!({
        "event": "probe",
        "backend": system.backend_name(),
        "obstacle": obstacle,
        "door": format!("{:?}", probe.door),
        "checks": probe.checks.iter().map(|check| row(check.name, check.since, check.answer)).collect::<Vec<_>>(),
        "waitid": short(probe.waitid),
        "features": features.iter().map(|feature| row(feature.name, feature.since, feature.answer)).collect::<Vec<_>>(),
    }));
    // What is expected to go wrong is caught and told.
    std::panic::set_hook(Box::new(|_| {}));
    // The directory in which the cgroups of jobs are made stays open; and their keeper is there as long as this process.
    let is_kept = steadfast::Job::new().is_ok_and(|job| job.containment() == Containment::Cgroup && job.lives_on().is_none());
    reap_orphans(|| !is_kept);
    let before = belongings();
    match System::pidfd() {
        Ok(system) => hold(&subject(&system).tells_lost_status(tells_lost_status()), words),
        Err(error) => say(&json!({ "event": "none", "backend": "pidfd", "why": error.to_string() })),
    }
    hold(&subject(&System::pid_legacy()), words);
    // After all these starts it is known.
    let waits = format!("{:?}", probe.spawn_wait()).to_lowercase();
    say(&json!({ "event": "waits", "by": waits }));
    // Threads that wait, and orphans, take a moment to go.
    let mut after = belongings();
    for _ in 0..1000 {
        if after == before {
            break;
        }
        system.sleep(std::time::Duration::from_millis(10));
        after = belongings();
    }
    say(&json!({ "event": "end", "before": before, "after": after }));
    // Where nothing else is: an emulator may not know who may look into whom, and this machine's own kernel is tried by the promises.
    if std::env::var_os(ALONE).is_some() {
        if let Err(reason) = rob() {
            say(&json!({ "event": "note", "what": format!("no robbery: {reason}") }));
        }
        survives_a_dumping_signal();
    }
    Ok(())
}

/// A program that handles `SIGQUIT` starts others while its process group is sent that, as from a terminal: before Linux 5.16 a child in
/// its memory that died of it took it along.
fn survives_a_dumping_signal() {
    let name = "a signal that dumps core, to the group, does not end a program that handles it";
    let status = Command::new(beside("witness")).arg("server").status();
    let (outcome, why) = match &status {
        Ok(status) if status.success() => ("kept", String::new()),
        ended => ("broken", format!("{ended:?}")),
    };
    say(&json!({ "event": "promise", "backend": "", "name": name, "outcome": outcome, "why": why }));
}

fn server() -> Result<(), String> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let handled = Arc::new(AtomicUsize::new(0));
    let own = nix::unistd::getpid();
    nix::unistd::setpgid(own, own).map_err(|errno| format!("setpgid: {errno}"))?;
    signal_hook::flag::register_usize(signal_hook::consts::SIGQUIT, Arc::clone(&handled), 1)
        .map_err(|error| error.to_string())?;
    let system = System::detect().map_err(|error| error.to_string())?;
    let mut pelt = steadfast::Command::new(beside("witness"));
    pelt.args(["pelt", &own.to_string()]).process_group(0).kill_on_drop(true).parent_death_signal(Signal::KILL);
    let pelt = system.spawn(&pelt).map_err(|error| error.to_string())?;
    let mut seen = 0;
    // Each time that it was hit is one that it has survived.
    while seen < 60 {
        let mut quick = steadfast::Command::new(beside("witness"));
        quick.arg("nothing").stdin(steadfast::Stdio::null());
        // Some of the children are killed by it, as they should be.
        system.spawn(&quick).and_then(|child| child.wait()).map_err(|error| error.to_string())?;
        seen += handled.swap(0, Ordering::SeqCst);
    }
    pelt.kill().and_then(|()| pelt.wait()).map(drop).map_err(|error| error.to_string())
}

/// Sends `SIGQUIT` to a group every few milliseconds, until somebody kills it.
fn pelt(group: &str) -> Result<(), String> {
    let group = nix::unistd::Pid::from_raw(group.parse::<i32>().map_err(|error| error.to_string())?);
    let clock = System::pid_legacy();
    loop {
        clock.sleep(std::time::Duration::from_millis(3));
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGQUIT).map_err(|errno| format!("killpg: {errno}"))?;
    }
}

/// `works`, `ENOSYS`, `SIGSYS`.
fn short(answer: Answer) -> String {
    match answer {
        Answer::Works => "works".into(),
        Answer::Failed(errno) => format!("{errno:?}"),
        Answer::Killed(signal) => format!("signal {signal}"),
        _ => answer.to_string(),
    }
}

/// How many descriptors, threads and children this process has; `None` where the kernel does not tell.
fn belongings() -> [Option<usize>; 3] {
    let count = |path: &str| std::fs::read_dir(path).ok().map(Iterator::count);
    let children = std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()));
    let children = children.ok().map(|text| text.split_ascii_whitespace().count());
    [count("/proc/self/fd"), count("/proc/self/task"), children]
}

/// Starts programs as another user, with thieves about.
fn rob() -> Result<(), String> {
    settle();
    let own = beside("witness");
    let spawns = std::env::var("STEADFAST_SPAWNS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let doors = Probe::once().map_err(|error| error.to_string())?.doors();
    for scene in Scene::all(doors) {
        let booty = scene.play(&own, &own.display().to_string(), spawns)?;
        let robbery::Booty { attempts, read, written, taken } = booty;
        say(&json!({
            "event": "robbery", "name": scene.name, "spawns": spawns,
            "attempts": attempts, "read": read, "written": written, "taken": taken,
        }));
    }
    Ok(())
}

fn subject(system: &System) -> Subject {
    real(system, &beside("actor"), foreigner)
}

/// A program that lies beside this one.
fn beside(name: &str) -> PathBuf {
    let own = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    own.with_file_name(name)
}

fn hold(subject: &Subject, words: &str) {
    for promise in promises().into_iter().filter(|promise| promise.name.contains(words)) {
        let line = |outcome: &str, why: &str| {
            let backend = subject.name();
            json!({ "event": "promise", "backend": backend, "name": promise.name, "outcome": outcome, "why": why })
        };
        // If it hangs, this was the last line.
        say(&line("begun", ""));
        // gVisor tells a stop as an exit; whoever is process 1 starts orphaned groups, which the keyboard's signals do not stop; and a child of
        // theirs is left, with the thread that waits for it.
        if promise.name.contains("_change") {
            say(&line("skipped", "stops and continuations are not examined away from home yet"));
            continue;
        }
        match promise.check(subject) {
            Outcome::Passed => say(&line("kept", "")),
            Outcome::Skipped(reason) => say(&line("skipped", reason)),
            Outcome::Failed(seen) => say(&line("broken", &seen)),
        }
        if ["job:", "look:", "list:"].iter().any(|head| promise.name.starts_with(head)) && std::process::id() == 1 {
            // Orphans of those that it has killed are process 1's, which is this one.
            reap_orphans(|| false);
        }
    }
}

/// Where this is process 1: those that have ended; and as long as that is so, those that are about to.
fn reap_orphans(all_end: impl Fn() -> bool) {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    if std::process::id() != 1 {
        return;
    }
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if all_end() => System::pid_legacy().sleep(std::time::Duration::from_millis(1)),
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// A process whose parent is another one, which waits for it.
fn foreigner() -> Pid {
    let mut parent = Command::new(beside("witness")).arg("foreign").stdout(Stdio::piped()).spawn().expect("this program");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("piped")).read_line(&mut line).expect("it says a PID");
    // It ends when its child has; whoever waits for it is in nobody's way.
    std::thread::spawn(move || parent.wait());
    line.trim().parse().expect("a PID")
}

fn foreign() -> Result<(), String> {
    let mut child =
        Command::new(beside("actor")).arg("forever").stdout(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    println!("{}", child.id());
    child.wait().map(drop).map_err(|error| error.to_string())
}
