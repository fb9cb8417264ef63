//! Jobs where not all is given: as a plain user, with cgroups that cannot be written, without `/proc`, of owners that are killed; and everything in
//! one spawn.

use crate::Test;
use crate::beside::actor_for_all;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::jobs::{cgroup_of, own_cgroups};
use crate::leaks::{each_backend, until};
use crate::stage::{Outcome, given};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{Child, Command, Containment, Errno, Error, Job, Namespaces, Pid, Resource, Signal, Stdio, System};
use xtask::cgroups;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("jobs elsewhere: a plain user without a cgroup of his own: a group, and why not more", plain_user),
        Test::that_may_skip("jobs elsewhere: a plain user with a cgroup that was delegated to him", delegated),
        Test::that_may_skip("jobs elsewhere: cgroups that are mounted read-only: said so", read_only),
        Test::that_may_skip("jobs elsewhere: no cgroups of version 2: said so", no_cgroups),
        Test::that_may_skip("jobs elsewhere: a cgroup namespace", cgroup_namespace),
        Test::that_may_skip("jobs elsewhere: without /proc: typed errors that name it", without_proc),
        Test::that_may_skip("jobs elsewhere: a parent that is no cgroup, or not there: named", bad_parent),
        Test::that_may_skip("jobs elsewhere: of an owner that was killed: removed by the next, and nobody else's", killed_owner),
        Test::that_may_skip(
            "jobs elsewhere: user, groups, root, namespaces, limits, descriptors and a job in one spawn",
            everything,
        ),
    ]
}

/// What this program does when it is started again.
pub(crate) const ROLES: &[(&str, fn())] = &[("(owns a job)", owns_a_job)];

pub(crate) fn is_root() -> Result<(), Outcome> {
    if Uid::effective().is_root() { Ok(()) } else { Err(Outcome::Skipped("only root can arrange it".into())) }
}

/// A job by cgroup, if this machine has any.
fn cgroup_job(system: &System) -> Result<Job, Outcome> {
    system.job(&Job::builder().containment(Containment::Cgroup)).map_err(|error| Outcome::Skipped(error.to_string()))
}

fn why_no_cgroup(job: &Job) -> String {
    match job.why_not_more() {
        // The second would be noticed by who is in it, and is not taken unless it is asked for.
        [
            (Containment::Cgroup, error @ Error::NoContainment { .. }),
            (Containment::Namespace, Error::NoContainment { why, .. }),
        ] => {
            assert!(why.contains("ask for it by name"), "{why}");
            error.to_string()
        }
        others => panic!("{others:?}"),
    }
}

fn works(job: &Job, system: &System) {
    let mut command = Command::new(ACTOR);
    let child = system.spawn(command.arg("forever").stdout(Stdio::null()).in_job(job)).unwrap();
    assert_eq!(job.members().unwrap().len(), 1);
    job.kill().unwrap();
    assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// As another user, with the actor where he may execute it.
fn become_user(user: u32) -> (tempfile::TempDir, PathBuf) {
    let place = actor_for_all();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(user)).unwrap();
    setuid(Uid::from_raw(user)).unwrap();
    place
}

pub(crate) fn works_for_user(job: &Job, system: &System, actor: &Path) {
    let mut command = Command::new(actor);
    let child = system.spawn(command.args(["beget", "child"]).stdin(Stdio::piped()).stdout(Stdio::piped()).in_job(job)).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_ref().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(job.members().unwrap().len(), 2);
    job.kill().unwrap();
    assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn plain_user() -> Outcome {
    given!(is_root());
    System::detect().unwrap();
    let (_dir, actor) = become_user(61_237);
    each_backend(|system| {
        let job = system.job(&Job::builder()).unwrap();
        assert_eq!(job.containment(), Containment::Group);
        let why = why_no_cgroup(&job);
        assert!(why.contains("Permission denied") || why.contains("No such file"), "{why}");
        assert!(job.to_string().starts_with("group (no cgroup: "), "{job}");
    });
    for system in [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten() {
        works_for_user(&system.job(&Job::builder()).unwrap(), system, &actor);
        let insisted = system.job(&Job::builder().containment(Containment::Cgroup)).unwrap_err();
        assert!(matches!(insisted, Error::NoContainment { containment: Containment::Cgroup, .. }), "{insisted:?}");
    }
    Outcome::Passed
}

fn delegated() -> Outcome {
    given!(is_root());
    let system = System::detect().unwrap();
    let own = given!(own_place(&system));
    let user = 61_238;
    let place = own.join(format!("delegated-{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        nix::unistd::chown(&place.join(file), Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
    }
    let (_dir, actor) = actor_for_all();
    // A child of ours lives there as that user, and makes a job.
    let (before, door) = (place.clone(), fs::File::open(&place).unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(owns a job)").env("STEADFAST_ACTOR", &actor).stdin(Stdio::piped()).stdout(Stdio::piped());
    let owner = system.spawn(command.cgroup(door).uid(user).gid(user)).unwrap();
    let (containment, member) = says(&owner);
    assert_eq!(containment, "cgroup");
    assert_eq!(cgroup_of(member).parent().and_then(Path::parent), Some(&*before));
    assert!(owner.wait().unwrap().success());
    until("the delegated cgroup is empty", || {
        fs::remove_dir(&place).is_ok() || {
            // The owner was gone before its last cgroup could be removed: the next one's business.
            let below = fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path());
            below.filter(|path| path.is_dir()).for_each(|path| drop(fs::remove_dir(path)));
            false
        }
    });
    Outcome::Passed
}

/// Where this process's own jobs are made.
fn own_place(system: &System) -> Result<PathBuf, Outcome> {
    let job = cgroup_job(system)?;
    let mut command = Command::new(ACTOR);
    let child = system.spawn(command.arg("forever").stdout(Stdio::null()).in_job(&job)).unwrap();
    let place = cgroup_of(child.pid()).parent().and_then(Path::parent).unwrap().to_owned();
    drop(job);
    child.wait().unwrap();
    until("it is removed", || own_cgroups().is_empty());
    Ok(place)
}

/// Makes a job with a member, says by what and who, and ends when its input does: with the job, or killed.
fn owns_a_job() {
    let actor = std::env::var_os("STEADFAST_ACTOR").unwrap_or_else(|| ACTOR.into());
    let job = Job::new().unwrap();
    let mut command = Command::new(actor);
    let member = command.arg("forever").stdin(Stdio::null()).stdout(Stdio::null()).spawn_in(&job).unwrap();
    println!("{} {}", job.containment(), member.pid());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    job.kill().unwrap();
    job.wait_empty().unwrap();
}

/// What such a program says.
fn says(owner: &Child) -> (String, Pid) {
    let mut line = String::new();
    BufReader::new(owner.stdout.as_ref().unwrap()).read_line(&mut line).unwrap();
    let (containment, pid) = line.trim().split_once(' ').expect("two words");
    (containment.to_owned(), pid.parse().unwrap())
}

fn owner() -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("STEADFAST_TEST", "(owns a job)").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn killed_owner() -> Outcome {
    let (killed, lives) = (owner(), owner());
    let ((containment, left), (_, other)) = (says(&killed), says(&lives));
    if containment != "cgroup" {
        return Outcome::Skipped("there is no cgroup here in which a job could be made".into());
    }
    let places = [cgroup_of(left), cgroup_of(other)];
    killed.kill().unwrap();
    killed.wait().unwrap();
    until("nothing lives in it", || fs::read_to_string(places[0].join("cgroup.events")).unwrap().contains("populated 0"));
    // The next program that makes a job there.
    let next = owner();
    says(&next);
    assert!(!places[0].exists() && !places[0].parent().unwrap().exists(), "{places:?}");
    assert!(places[1].exists(), "{places:?}");
    for owner in [&next, &lives] {
        assert!(owner.wait().unwrap().success());
    }
    // And of those that have ended by themselves nothing is left.
    until("its keeper has removed it", || !places[1].parent().unwrap().exists());
    Outcome::Passed
}

/// A mount namespace of our own, in which something is changed.
pub(crate) fn mounts_of_our_own() -> Result<(), Outcome> {
    is_root()?;
    System::detect().unwrap();
    let none: Option<&str> = None;
    let private =
        unshare(CloneFlags::CLONE_NEWNS).and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
    private.map_err(|errno| Outcome::Skipped(format!("a mount namespace: {errno}")))
}

fn read_only() -> Outcome {
    given!(mounts_of_our_own());
    drop(given!(cgroup_of_this_machine()));
    let none: Option<&str> = None;
    for point in cgroups::mounts() {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        // The keeper of the one that was asked has a file there for a moment still.
        until("nobody writes there", || mount(none, &point, none, flags, none).is_ok());
    }
    each_system(|system| {
        let job = system.job(&Job::builder()).unwrap();
        let why = why_no_cgroup(&job);
        assert!(why.contains("Read-only file system") && why.contains("mounted writable"), "{why}");
        assert_eq!(job.why_not_more()[0].1.errno(), Some(Errno::ROFS));
        works(&job, system);
    });
    Outcome::Passed
}

/// Whether it has any, asked by another program: what we know of it ourselves would be kept.
fn cgroup_of_this_machine() -> Result<Child, Outcome> {
    let owner = owner();
    let (containment, _) = says(&owner);
    owner.wait().unwrap();
    if containment == "cgroup" {
        Ok(owner)
    } else {
        Err(Outcome::Skipped("there is no cgroup here in which a job could be made".into()))
    }
}

fn no_cgroups() -> Outcome {
    given!(mounts_of_our_own());
    for point in cgroups::mounts() {
        nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    each_system(|system| {
        let job = system.job(&Job::builder()).unwrap();
        let why = why_no_cgroup(&job);
        assert!(why.contains("find cgroups of version 2 in /proc/self/mountinfo"), "{why}");
        works(&job, system);
    });
    Outcome::Passed
}

fn cgroup_namespace() -> Outcome {
    given!(mounts_of_our_own());
    drop(given!(cgroup_of_this_machine()));
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWCGROUP) {
        return Outcome::Skipped(format!("a cgroup namespace: {errno}"));
    }
    let point = cgroups::mounts().pop().unwrap();
    nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH).unwrap();
    mount(Some("cgroup2"), &point, Some("cgroup2"), MsFlags::empty(), None::<&str>).unwrap();
    each_system(|system| {
        let job = system.job(&Job::builder().containment(Containment::Cgroup)).unwrap();
        works(&job, system);
    });
    until("no cgroup is left", || own_cgroups().is_empty());
    Outcome::Passed
}

fn without_proc() -> Outcome {
    given!(mounts_of_our_own());
    if let Err(errno) = mount(None::<&str>, "/proc", Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>) {
        return Outcome::Skipped(format!("mount over /proc: {errno}"));
    }
    each_system(|system| {
        for containment in Containment::ALL {
            let error = system.job(&Job::builder().containment(containment)).unwrap_err();
            assert!(matches!(&error, Error::NoContainment { containment: named, .. } if *named == containment), "{error:?}");
            assert!(error.to_string().contains("/proc"), "{error}");
        }
    });
    Outcome::Passed
}

fn bad_parent() -> Outcome {
    each_system(|system| {
        for (parent, words) in
            [("/no/such/cgroup", "open /no/such/cgroup: No such file"), ("/tmp", "find cgroups of version 2 in /tmp")]
        {
            let error = system.job(&Job::builder().parent(parent)).unwrap_err();
            assert!(matches!(error, Error::NoContainment { .. }) && error.to_string().contains(words), "{error}");
        }
    });
    Outcome::Passed
}

fn everything() -> Outcome {
    given!(is_root());
    each_system(|system| {
        for containment in Containment::ALL {
            let Ok(job) = system.job(&Job::builder().containment(containment)) else { continue };
            let (_dir, actor) = actor_for_all();
            let mut command = Command::new("/actor");
            command.arg("forever").stdin(Stdio::null()).stdout(Stdio::piped());
            // The actor needs the machine's libraries: a root of its own, and they in it.
            let root = fs::metadata("/").map(|root| root.ino()).unwrap();
            command.executable(fs::File::open(&actor).unwrap()).chroot("/");
            command.uid(61_239).gid(61_239).groups(&[7, 8]).rlimit(Resource::NOFILE, 64).nice(5).no_new_privileges(true);
            command.namespaces(Namespaces::MOUNT | Namespaces::IPC).fd(5, fs::File::open("/dev/null").unwrap()).close_fds(true);
            command.parent_death_signal(Signal::KILL);
            let mut child = system.spawn(command.in_job(&job)).unwrap();
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
            let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
            assert!(status.contains("Uid:\t61239\t61239\t61239\t61239"), "{status}");
            assert_eq!(fs::metadata(format!("/proc/{}/root/", child.pid())).map(|root| root.ino()).ok(), Some(root));
            assert_eq!(job.members().unwrap().iter().map(|member| member.pid()).collect::<Vec<_>>(), [child.pid()]);
            job.kill().unwrap();
            assert!(job.wait_empty_timeout(Duration::from_secs(60)).unwrap());
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    });
    Outcome::Passed
}
