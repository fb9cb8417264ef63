//! Jobs by PID namespace: who is in one, what its first process is, and that the thread that starts a member stays where it is.

use crate::Test;
use crate::beside::actor_for_all;
use crate::errors::each_system;
use crate::jobs::{Mark, actor, has_thread};
use crate::jobs_elsewhere::works_for_user;
use crate::jobs_owner::systems;
use crate::leaks::{children, each_backend, until};
use crate::stage::{Outcome, given};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::{Command, Containment, Errno, Error, Job, JobBuilder, Namespaces, Pid, Process, Signal, Stage, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("jobs by namespace: the thread that starts a member stays where it is", stays),
        Test::that_may_skip("jobs by namespace: a plain user has one by user namespaces, or is told why not", plain_user),
        Test::that_may_skip(
            "jobs by namespace: its first process is killed: all of it is, and nothing is started any more",
            init_killed,
        ),
        Test::that_may_skip("jobs by namespace: what contradicts it is refused, by name", contradictions),
        Test::that_may_skip("jobs by namespace: members are waited for as ever, whatever their numbers inside", numbers),
        Test::that_may_skip("jobs by namespace: in a user namespace that has no PID namespace of its own", in_user_namespace),
        Test::that_may_skip(
            "jobs by namespace: members whom this process may not look into, and may not kill",
            not_to_be_looked_into,
        ),
        Test::that_may_skip(
            "jobs: a thread that is elsewhere for its children has no keeper, and keeps its namespace",
            elsewhere,
        ),
        Test::that_may_skip("jobs by namespace: detached, it goes on until it is alone", detached),
    ]
}

fn builder() -> JobBuilder {
    Job::builder().containment(Containment::Namespace)
}

fn inode(pid: impl std::fmt::Display) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/pid")).unwrap().ino()
}

fn is_there() -> Result<(), Outcome> {
    let job = System::detect().unwrap().job(&builder());
    job.map(drop).map_err(|error| Outcome::Skipped(error.to_string()))
}

/// The first process, as it can be found in the namespace of this process.
fn init_of(member: Pid) -> Process {
    let sought = inode(member);
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    let is_it = |pid: &Pid| {
        let is_in = fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|file| file.ino() == sought);
        is_in && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"steadfast-init"))
    };
    Process::find(pids.into_iter().find(is_it).expect("it is there")).unwrap()
}

fn stays() -> Outcome {
    given!(is_there());
    each_system(|system| {
        let job = system.job(&builder()).unwrap();
        let own = inode("self");
        let is_home = || fs::metadata("/proc/thread-self/ns/pid_for_children").unwrap().ino() == own;
        let mut command = actor(&["forever"]);
        let member = system.spawn(command.in_job(&job)).unwrap();
        assert!(is_home() && inode(member.pid()) != own);
        let error = system.spawn(Command::new("/no/such").in_job(&job)).unwrap_err();
        assert!(is_home() && matches!(error, Error::Spawn { .. }), "{error}");
        let mut hooked = actor(&["forever"]);
        let hooked = system.spawn(hooked.umask(0o77).copy_memory(true).in_job(&job)).unwrap();
        assert!(is_home());
        assert_eq!(inode(hooked.pid()), inode(member.pid()));
        let other = system.spawn(actor(&["forever"]).kill_on_drop(true)).unwrap();
        assert_eq!(inode(other.pid()), own);
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        let error = system.spawn(actor(&["forever"]).in_job(&job)).unwrap_err();
        assert!(is_home() && matches!(error, Error::JobOver { .. }), "{error}");
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        assert_eq!(hooked.wait().unwrap().signal(), Some(9));
        assert_eq!(other.try_wait().unwrap(), None);
    });
    until("nothing is left", || children().is_empty() && !has_thread("steadfast-reap"));
    Outcome::Passed
}

fn plain_user() -> Outcome {
    if !Uid::effective().is_root() {
        return Outcome::Skipped("only root can arrange it".into());
    }
    System::detect().unwrap();
    let (_dir, actor) = actor_for_all();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(61_240)).unwrap();
    setuid(Uid::from_raw(61_240)).unwrap();
    let skipped = std::cell::RefCell::new(None);
    each_system(|system| {
        // Or else it may have no maps written, after the change of user.
        let dumpable = nix::sys::prctl::get_dumpable().unwrap();
        match system.job(&builder()) {
            Ok(job) => {
                works_for_user(&job, system, &actor);
                assert_eq!(nix::sys::prctl::get_dumpable().unwrap(), dumpable);
                let job = system.job(&builder()).unwrap();
                let mut command = Command::new(&actor);
                let member = system.spawn(command.args(["exit-on", "10", "3"]).stdout(steadfast::Stdio::piped()).in_job(&job));
                let mut member = member.unwrap();
                std::io::Read::read_exact(member.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
                let status = fs::read_to_string(format!("/proc/{}/status", member.pid())).unwrap();
                assert!(status.contains("Uid:\t61240\t61240\t61240\t61240"), "{status}");
                job.signal(Signal::USR1).unwrap();
                assert_eq!(member.wait().unwrap().code(), Some(3));
            }
            Err(error) => {
                assert!(matches!(error, Error::NoContainment { containment: Containment::Namespace, .. }), "{error:?}");
                skipped.replace(Some(Outcome::Skipped(error.to_string())));
            }
        }
    });
    skipped.take().unwrap_or(Outcome::Passed)
}

fn init_killed() -> Outcome {
    given!(is_there());
    each_system(|system| {
        let job = system.job(&builder()).unwrap();
        let mark = Mark::new();
        let mut command = actor(&["swarm", "5", "7"]);
        let member = system.spawn(mark.on(&mut command).in_job(&job)).unwrap();
        until("it has grown", || mark.carriers().len() >= 5);
        init_of(member.pid()).kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        assert_eq!(mark.carriers().len(), 0);
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        let error = system.spawn(actor(&["forever"]).in_job(&job)).unwrap_err();
        assert!(matches!(error, Error::Spawn { stage: Stage::Clone, source: Errno::SRCH, .. }), "{error:?}");
        job.signal(Signal::TERM).unwrap();
        job.kill().unwrap();
        assert_eq!(job.members().unwrap().len(), 0);
    });
    Outcome::Passed
}

fn contradictions() -> Outcome {
    given!(is_there());
    type Set = fn(&mut Command) -> &mut Command;
    let cases: [(Set, &str); 3] = [
        (|command| command.namespaces(Namespaces::PID), "namespaces(PID or USER) and a job by namespace"),
        (|command| command.namespaces(Namespaces::USER), "namespaces(PID or USER) and a job by namespace"),
        (|command| command.process_group(5), "process_group and a job by namespace"),
    ];
    each_system(|system| {
        let job = system.job(&builder()).unwrap();
        for (set, words) in cases {
            let error = system.spawn(set(&mut actor(&["forever"])).in_job(&job)).unwrap_err();
            assert!(matches!(error, Error::InvalidPlan { .. }) && error.to_string().contains(words), "{error}");
        }
        for containment in [Containment::Namespace, Containment::Group] {
            let error = system.job(&Job::builder().containment(containment).parent("/sys/fs/cgroup")).unwrap_err();
            assert!(matches!(error, Error::NoContainment { containment: named, .. } if named == containment), "{error:?}");
            assert!(error.to_string().contains("a parent was named"), "{error}");
        }
        // A session, and a group of its own, it may have.
        let child = system.spawn(actor(&["exit", "4"]).setsid(true).in_job(&job)).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(4));
        let child = system.spawn(actor(&["exit", "4"]).process_group(0).in_job(&job)).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(4));
    });
    Outcome::Passed
}

fn numbers() -> Outcome {
    given!(is_there());
    each_system(|system| {
        let job = system.job(&builder()).unwrap();
        let mut shell = Command::new("sh");
        let output = system.spawn(shell.args(["-c", "echo $$ $PPID"]).stdout(steadfast::Stdio::piped()).in_job(&job)).unwrap();
        let pid = output.pid();
        let output = output.wait_with_output().unwrap();
        let inside = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        // The first process is 1; numbers that a helper took come between.
        let words: Vec<&str> = inside.split_whitespace().collect();
        assert!(words[0].parse::<i32>().unwrap() < 100 && words[1] == "0", "{inside}");
        assert_ne!(words[0], pid.to_string());
        let error = Process::find(pid).map(drop).unwrap_err();
        assert!(matches!(error, Error::ProcessDone { .. }), "it is reaped: {error}");
    });
    Outcome::Passed
}

fn detached() -> Outcome {
    given!(is_there());
    each_backend(|system| {
        let job = system.job(&builder()).unwrap();
        let member = system.spawn(actor(&["forever"]).in_job(&job)).unwrap();
        let init = init_of(member.pid());
        job.detach().unwrap();
        assert_eq!(member.wait_timeout(Duration::from_millis(5)).unwrap(), None);
        member.kill().unwrap();
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        assert!(init.wait_exited_timeout(Duration::from_secs(60)).unwrap().is_some());
    });
    Outcome::Passed
}

/// The way into the job's namespace is allowed, and the way back is not: the thread must not go.
fn in_user_namespace() -> Outcome {
    System::detect().unwrap();
    let (user, group) = (Uid::effective(), Gid::effective());
    if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER) {
        return Outcome::Skipped(format!("a user namespace: {errno}"));
    }
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("{user} {user} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("{group} {group} 1")).unwrap();
    given!(is_there());
    each_system(|system| {
        let job = system.job(&builder()).unwrap();
        let own = inode("self");
        let member = system.spawn(actor(&["forever"]).in_job(&job)).unwrap();
        assert_eq!(fs::metadata("/proc/thread-self/ns/pid_for_children").unwrap().ino(), own);
        assert_ne!(inode(member.pid()), own);
        assert_eq!(job.members().unwrap().len(), 1);
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        assert_eq!(member.wait().unwrap().signal(), Some(9));
    });
    Outcome::Passed
}

fn not_to_be_looked_into() -> Outcome {
    if !Uid::effective().is_root() {
        return Outcome::Skipped("only root can arrange it".into());
    }
    System::detect().unwrap();
    given!(is_there());
    let job = |system: &System| {
        let job = system.job(&builder()).unwrap();
        let member = system.spawn(actor(&["forever"]).in_job(&job)).unwrap();
        (job, member)
    };
    let jobs: Vec<_> = systems().iter().map(job).collect();
    // From here on the members are another user's.
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(61_241)).unwrap();
    setuid(Uid::from_raw(61_241)).unwrap();
    for (job, member) in jobs {
        assert!(fs::metadata(format!("/proc/{}/ns/pid", member.pid())).is_err(), "it may be looked into");
        assert!(!job.is_empty().unwrap());
        assert!(!job.wait_empty_timeout(Duration::from_millis(5)).unwrap());
        job.kill().unwrap();
        assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
        assert_eq!(member.wait().unwrap().signal(), Some(9));
    }
    Outcome::Passed
}

fn elsewhere() -> Outcome {
    System::detect().unwrap();
    if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID) {
        return Outcome::Skipped(format!("a PID namespace: {errno}"));
    }
    let Ok(job) = Job::builder().containment(Containment::Cgroup).build() else {
        return Outcome::Skipped("there is no cgroup here in which a job could be made".into());
    };
    let why = job.lives_on().expect("it has no keeper").to_string();
    assert!(why.contains("born into another PID namespace"), "{why}");
    assert!(matches!(Job::builder().containment(Containment::Namespace).build(), Err(Error::NoContainment { .. })));
    // It is the first one there, and can be started.
    let first = actor(&["forever"]).spawn_in(&job).unwrap();
    let second = actor(&["exit", "3"]).spawn_in(&job).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(3));
    job.kill().unwrap();
    assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
    assert_eq!(first.wait().unwrap().signal(), Some(9));
    Outcome::Passed
}
