//! The program forks: a daemon, a test harness, a server that forks its workers. In the child nothing of the parent's children is killed,
//! reaped or called finished, and what the child does itself goes as ever; the parent notices nothing. On both real backends.

use crate::Test;
use crate::contract::ACTOR;
use crate::leaks::{children, until};
use crate::tasks::runtime;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steadfast::tokio::AsyncProcess;
use steadfast::{Child, Command, ErrorKind, Pid, Process, Signal, Stdio, System, WaitSet, wait_any};
use steadfast_linux::bare;

const MOMENT: Duration = Duration::from_millis(1);

pub(crate) fn tests() -> Vec<Test> {
    type Check = fn(&System);
    let promises: [(&str, Check); 8] = [
        ("children that are dropped in the child are reaped there", dropped),
        ("a handle of the parent's child: signals reach it, a wait is NoChild, nothing is finished", handles),
        ("what is dropped in the child neither kills nor reaps, and the parent still can", drops),
        ("the status that was known before is known", known_before),
        ("the child waits for processes that are no children", foreigners),
        ("the parent's set and its watchers hear nothing of the child", sets),
        ("async code in a runtime of the child's", tasks),
        ("a storm of threads, forked 200 times: no deadlock, nothing untrue", storm),
    ];
    let on_each = |(name, check): (&str, Check)| {
        Test::that_may_skip(format!("forking: {name}"), move || {
            [System::pidfd().ok(), Some(System::pid_legacy())].iter().flatten().for_each(check);
            crate::stage::Outcome::Passed
        })
    };
    promises.into_iter().map(on_each).collect()
}

/// The child of a fork, which has to come to a good end. If it hangs, it is killed.
pub(crate) fn in_child(check: impl FnOnce()) {
    let pid = bare::fork(|| {
        nix::unistd::alarm::set(60);
        check();
        0
    });
    let pid = nix::unistd::Pid::from_raw(pid.unwrap().as_raw());
    let ended = nix::sys::wait::waitpid(pid, None).unwrap();
    assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(pid, 0));
}

fn actor(system: &System, words: &[&str]) -> Child {
    system.spawn(Command::new(ACTOR).args(words).stdout(Stdio::null())).unwrap()
}

/// One that is reaped in the background, so that the background has begun.
fn busy(system: &System) -> Child {
    let mut command = Command::new(ACTOR);
    command.args(["until-eof", "0"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = system.spawn(&command).unwrap();
    let input = child.stdin.take();
    drop(child);
    let mut keeps = actor(system, &["forever"]);
    keeps.stdin = input;
    keeps
}

fn finish(child: &Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// A process whose parent is a shell, and that shell.
fn foreigner(system: &System) -> (Process, Child) {
    let mut command = Command::new("sh");
    command.args(["-c", r#""$0" forever >/dev/null & echo $!; wait"#, ACTOR]).stdout(Stdio::piped());
    let mut shell = system.spawn(&command).unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (system.find(line.trim().parse::<Pid>().unwrap()).unwrap(), shell)
}

fn dropped(system: &System) {
    let busy = busy(system);
    in_child(|| {
        for _ in 0..20 {
            drop(actor(system, &["exit", "0"]));
        }
        until("the dropped children are reaped", || children().is_empty());
    });
    finish(&busy);
    drop(busy);
    until("so are the parent's", || children().is_empty());
}

fn handles(system: &System) {
    let kept = actor(system, &["forever"]);
    let kind = |result: steadfast::Result<()>| result.map_err(|error| error.kind());
    in_child(|| {
        assert_eq!(kept.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
        assert_eq!(kept.wait_timeout(MOMENT).unwrap_err().kind(), ErrorKind::NoChild);
        assert_eq!(kept.wait().unwrap_err().kind(), ErrorKind::NoChild);
        assert!(kept.is_running() && !kept.is_here());
        assert_eq!(kind(kept.signal(Signal::CONT)), Ok(()));
        assert_eq!(kept.wait_gone_timeout(MOMENT).unwrap(), None);
        // The child of the child.
        in_child(|| assert_eq!(kind(kept.signal(Signal::CONT)), Ok(())));
        assert_eq!(kind(kept.kill()), Ok(()));
        // The parent has not waited for it: it is a zombie, and not gone.
        assert_eq!(kept.wait_gone_timeout(MOMENT).unwrap(), None);
        kept.release().unwrap();
        assert_eq!(kind(kept.kill()), Err(ErrorKind::Released));
    });
    assert!(kept.is_running());
    assert_eq!(kept.wait().unwrap().signal(), Some(9));
    in_child(|| {
        assert_eq!(kept.wait().unwrap().signal(), Some(9));
        assert_eq!(kind(kept.kill()), Err(ErrorKind::ProcessDone));
    });
    // It is gone, and a child of ours before: the child of the fork sees that it is.
    let kept = actor(system, &["forever"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let (begun, begin) = std::io::pipe().unwrap();
    let (mut writer, mut begin) = (Some(writer), Some(begin));
    let watched = bare::fork(|| {
        drop(writer.take());
        assert_eq!(kept.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
        drop(begin.take());
        // Until the parent has waited for it.
        std::io::copy(&mut &reader, &mut std::io::sink()).unwrap();
        i32::from(kind(kept.signal(Signal::CONT)) != Err(ErrorKind::ProcessDone))
    });
    drop(begin);
    // Not before: once it has been waited for, the kernel may tell the child how it ended.
    std::io::copy(&mut &begun, &mut std::io::sink()).unwrap();
    finish(&kept);
    drop(writer);
    let watched = nix::unistd::Pid::from_raw(watched.unwrap().as_raw());
    assert_eq!(nix::sys::wait::waitpid(watched, None).unwrap(), nix::sys::wait::WaitStatus::Exited(watched, 0));
}

fn drops(system: &System) {
    let mut killed = Command::new(ACTOR);
    killed.arg("forever").stdout(Stdio::null()).kill_on_drop(true);
    let (killed, kept) = (system.spawn(&killed).unwrap(), actor(system, &["forever"]));
    let over = actor(system, &["exit", "3"]);
    until("it has exited", || crate::leaks::is_over(over.pid()));
    let all = [killed, kept, over];
    let mut all = Some(all);
    // The child drops what it has, as a program that ends.
    in_child(|| drop(all.take()));
    let [killed, kept, over] = all.unwrap();
    assert_eq!((killed.try_wait().unwrap(), kept.try_wait().unwrap()), (None, None));
    assert_eq!(over.wait().unwrap().code(), Some(3));
    finish(&kept);
    let pid = killed.pid();
    drop(killed);
    until("it is killed where it is wanted", || crate::leaks::is_over(pid));
    until("and reaped", || children().is_empty());
}

fn known_before(system: &System) {
    let child = actor(system, &["exit", "7"]);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let released = actor(system, &["exit", "7"]);
    released.release().unwrap();
    in_child(|| {
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert_eq!(released.wait().unwrap_err().kind(), ErrorKind::Released);
    });
    until("what was released is reaped", || children().is_empty());
}

fn foreigners(system: &System) {
    let busy = busy(system);
    let (found, shell) = foreigner(system);
    // The parent watches it too, with what it has of its own.
    assert_eq!(found.wait_gone_timeout(MOMENT).unwrap(), None);
    in_child(|| {
        assert_eq!(found.wait_gone_timeout(MOMENT).unwrap(), None);
        found.kill().unwrap();
        assert!(found.wait_gone_timeout(Duration::from_secs(50)).unwrap().is_some());
    });
    assert!(found.wait_gone_timeout(Duration::from_secs(50)).unwrap().is_some());
    shell.wait().unwrap();
    finish(&busy);
    drop(busy);
    until("all are reaped", || children().is_empty());
}

fn sets(system: &System) {
    let (first, second) = (actor(system, &["forever"]), actor(system, &["forever"]));
    let (found, shell) = foreigner(system);
    let mut set = Some(WaitSet::new());
    let of = |set: &Option<WaitSet<i32>>| -> usize { set.as_ref().unwrap().len() };
    set.as_ref().unwrap().add(1, first.process().clone()).unwrap();
    set.as_ref().unwrap().add(2, second.process().clone()).unwrap();
    // Twice, so that the backend tells.
    set.as_ref().unwrap().add(3, second.process().clone()).unwrap();
    set.as_ref().unwrap().add(4, Process::clone(&found)).unwrap();
    in_child(|| {
        let own = set.as_ref().unwrap();
        assert_eq!(own.len(), 4);
        assert!(own.wait_timeout(MOMENT).is_none());
        // One of its own, in the parent's set.
        own.add(5, actor(system, &["exit", "5"]).process().clone()).unwrap();
        let exited = own.wait().unwrap();
        assert_eq!((exited.key, exited.status.unwrap().code()), (5, Some(5)));
        assert!(own.remove(&1).is_some());
        assert!(wait_any(&[second.process(), &found], Some(MOMENT)).unwrap().is_none());
        assert_eq!(own.len(), 3);
        drop(set.take());
    });
    assert_eq!(of(&set), 4);
    let set = set.unwrap();
    assert!(set.try_wait().is_none());
    first.kill().unwrap();
    let exited = set.wait().unwrap();
    assert_eq!((exited.key, exited.status.unwrap().signal()), (1, Some(9)));
    second.kill().unwrap();
    found.kill().unwrap();
    let mut keys: Vec<i32> = (0..3).map(|_| set.wait().unwrap().key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [2, 3, 4]);
    assert!(set.wait().is_none());
    shell.wait().unwrap();
}

fn tasks(system: &System) {
    let kept: Vec<Child> = (0..4).map(|_| actor(system, &["forever"])).collect();
    // Enough of them that the parent has a hub.
    let outer = runtime();
    let waiting: Vec<_> = {
        let _in_it = outer.enter();
        kept.iter().map(|child| outer.spawn(wait_for(child.process().clone()))).collect()
    };
    // So that each of them has begun to wait.
    outer.block_on(async {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    });
    in_child(|| {
        let inner = runtime();
        inner.block_on(async {
            let own: Vec<Child> = (0..4).map(|_| actor(system, &["exit", "4"])).collect();
            for child in &own {
                assert_eq!(child.process().exited().await.unwrap().status().and_then(|status| status.code()), Some(4));
            }
            let alive = tokio::time::timeout(MOMENT, kept[0].process().exited()).await;
            assert!(alive.is_err());
        });
        assert!(waiting.iter().all(|task| !task.is_finished()));
    });
    for child in &kept {
        child.kill().unwrap();
    }
    for task in waiting {
        assert_eq!(outer.block_on(task).unwrap(), Some(9));
    }
    until("all are reaped", || children().is_empty());
}

async fn wait_for(process: Process) -> Option<i32> {
    process.exited().await.unwrap().status()?.signal()
}

fn storm(system: &System) {
    let kept = actor(system, &["forever"]);
    let set = WaitSet::new();
    set.add((), kept.process().clone()).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(actor(system, &["exit", "0"]));
                    for _ in 0..50 {
                        assert_eq!(kept.try_wait().unwrap(), None);
                        kept.signal(Signal::CONT).unwrap();
                        assert!(set.try_wait().is_none());
                    }
                }
            });
        }
        for _ in 0..200 {
            in_child(|| {
                assert!(actor(system, &["exit", "0"]).wait().unwrap().success());
                drop(actor(system, &["exit", "0"]));
                assert_eq!(kept.try_wait().unwrap_err().kind(), ErrorKind::NoChild);
                kept.signal(Signal::CONT).unwrap();
                assert!(set.try_wait().is_none());
                until("what was dropped is reaped", || children().is_empty());
            });
        }
        over.store(true, Ordering::Relaxed);
    });
    finish(&kept);
    until("all are reaped", || children().is_empty());
}
