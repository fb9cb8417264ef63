//! The hazards: what is done to a library, and what its answer is worth.

use crate::library::Library;
use crate::stage::{Exit, Stage};
use crate::subject::{Answer, Order, Refusal, Stdin};
use crate::surroundings;
use crate::terminal;
use crate::tree;
use crate::verdict::{Seen, Verdict, judge_status};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Hazard {
    /// On the command line.
    pub(crate) id: &'static str,
    /// In the table.
    pub(crate) name: &'static str,
    pub(crate) meet: fn(&Library, &Stage) -> Answer<Seen>,
}

/// A row each.
pub(crate) const ALL: [Hazard; 30] = [
    Hazard {
        id: "kill-after-rogue-reap",
        name: "kill, after other code reaped the child and its PID was given away",
        meet: |library, stage| stranger_spared(library, stage, How::Rogue, Whom::Process),
    },
    Hazard {
        id: "kill-after-wait",
        name: "kill, after one's own wait, and the PID was given away",
        meet: |library, stage| stranger_spared(library, stage, How::OwnWait, Whom::Process),
    },
    Hazard {
        id: "group-after-rogue-reap",
        name: "kill of the process group, after other code reaped its leader and the PID was given away",
        meet: |library, stage| stranger_spared(library, stage, How::Rogue, Whom::Group),
    },
    Hazard {
        id: "group-after-wait",
        name: "kill of the process group, after one's own wait, and the PID was given away",
        meet: |library, stage| stranger_spared(library, stage, How::OwnWait, Whom::Group),
    },
    Hazard {
        id: "status-after-rogue-reap",
        name: "status, after other code reaped the child",
        meet: |library, stage| {
            let mut subject = (library.start)(stage.exiting())?;
            stage.reap(subject.pid())?;
            judge_status(subject.wait(), 3)
        },
    },
    Hazard {
        id: "status-of-a-stranger",
        name: "status, after other code reaped the child and a later child got its PID",
        meet: status_of_a_stranger,
    },
    Hazard {
        id: "sigchld-ignored",
        name: "status, with `SIGCHLD` ignored",
        meet: |library, stage| {
            stage.ignore_sigchld()?;
            judge_status((library.start)(stage.exiting())?.wait(), 3)
        },
    },
    Hazard { id: "foreign", name: "wait for a live process that is not a child", meet: foreign },
    Hazard { id: "leader-exited", name: "wait, while the first thread has exited and another one runs", meet: leader_exited },
    Hazard { id: "early-exit", name: "the child has exited before anybody opened a pidfd (200 times)", meet: early_exit },
    Hazard {
        id: "early-exit-unseen",
        name: "the same, with `SIGCHLD` ignored: there is nothing left to open",
        meet: |library, stage| {
            stage.ignore_sigchld()?;
            early_exit(library, stage)
        },
    },
    Hazard { id: "eintr", name: "wait with a timeout, or else without, in a storm of signals (`EINTR`)", meet: storm },
    Hazard {
        id: "longest-timeout",
        name: "a timeout of `Duration::MAX`",
        meet: |library, stage| {
            let mut subject = (library.start)(stage.waiting_for_go()?)?;
            stage.go_soon();
            let waited = subject.wait_timeout(Duration::MAX);
            judge_status(waited.and_then(|status| status.ok_or_else(|| "timed out at once".into())), 0)
        },
    },
    Hazard { id: "short-timeout", name: "a timeout of 300 µs", meet: short_timeout },
    Hazard {
        id: "cat",
        name: "wait for `cat` whose stdin is a pipe that nobody has closed",
        meet: |library, _| {
            let mut order = Order::new("cat");
            order.stdin = Stdin::Piped;
            judge_status((library.start)(order)?.wait(), 0)
        },
    },
    Hazard {
        id: "another-user",
        name: "root starts programs as another user, whose processes are after its memory and its descriptors (40 times)",
        meet: another_user,
    },
    Hazard {
        id: "traced-stop",
        name: "wait, while other code of the program has the child stopped under ptrace(2)",
        meet: surroundings::traced_stop,
    },
    Hazard {
        id: "non-blocking-pidfd",
        name: "wait, after other code made the library's pidfds non-blocking",
        meet: surroundings::non_blocking_pidfd,
    },
    Hazard {
        id: "foreign-zombie",
        name: "the exit of a process that is not a child, whose parent does not wait for it",
        meet: surroundings::foreign_zombie,
    },
    Hazard { id: "peak-memory", name: "peak memory of a small child of a big program", meet: surroundings::peak_memory },
    Hazard {
        id: "late-output",
        name: "output that a helper of the child writes just after the child's exit",
        meet: surroundings::late_output,
    },
    Hazard {
        id: "no-threads",
        name: "children dropped by a user who has no thread left, and who starts another when they have ended",
        meet: surroundings::no_threads,
    },
    Hazard { id: "ctrl-z", name: "Ctrl-Z while a process is being started (400 times)", meet: terminal::ctrl_z },
    Hazard { id: "many-children", name: "60 children at once, with room for 20 descriptors", meet: surroundings::many_children },
    Hazard {
        id: "thread-local",
        name: "a child started and waited for in a thread-local's destructor",
        meet: surroundings::thread_local,
    },
    Hazard { id: "empty-executable", name: "an executable file that is empty", meet: surroundings::empty_executable },
    Hazard {
        id: "just-written",
        name: "programs that were just written, by 8 threads (800 times)",
        meet: surroundings::just_written,
    },
    Hazard {
        id: "tree-at-the-limit",
        name: "kill at the limit: what the child started in sessions of its own",
        meet: tree::killed_at_the_limit,
    },
    Hazard { id: "owner-killed", name: "the owner of a tree is killed by `SIGKILL`", meet: tree::owner_is_killed },
    Hazard {
        id: "tree-without-leader",
        name: "kill of a tree whose first process has ended, while its helpers live and its number was given away",
        meet: tree::leader_has_ended,
    },
];

fn another_user(library: &Library, stage: &Stage) -> Answer<Seen> {
    use steadfast_tests::robbery::{Trade, USER, beside_thieves};
    let thieves = [Trade::Memory, Trade::Descriptors, Trade::Descriptors];
    let mut refused = None;
    let booty = beside_thieves(&std::env::current_exe()?, &thieves, 40, || {
        let mut order = stage.anybodys();
        order.user = Some(USER);
        match (library.start)(order).and_then(|mut subject| subject.wait()) {
            Ok(_) => Ok(()),
            Err(refusal) => {
                refused = Some(refusal);
                Err("refused".into())
            }
        }
    });
    match (booty, refused) {
        (_, Some(refusal)) => Err(refusal),
        (Err(reason), None) => Err(Refusal::Stage(reason)),
        (Ok(booty), None) if booty.is_nothing() => Ok(Seen::new(Verdict::Safe, "they had nothing")),
        (Ok(booty), None) => {
            Ok(Seen::new(Verdict::Robbed, format!("{} reads, {} writes, {} descriptors", booty.read, booty.written, booty.taken)))
        }
    }
}

#[derive(Clone, Copy)]
enum How {
    Rogue,
    OwnWait,
}

#[derive(Clone, Copy)]
enum Whom {
    Process,
    Group,
}

fn stranger_spared(library: &Library, stage: &Stage, how: How, whom: Whom) -> Answer<Seen> {
    let mut order = stage.sleeping();
    order.leads_group = matches!(whom, Whom::Group);
    let mut subject = (library.start)(order)?;
    if let (Whom::Group, Err(Refusal::NotOffered)) = (whom, probe_group(library, stage)) {
        return Err(Refusal::NotOffered);
    }
    let pid = subject.pid();
    stage.kill(pid)?;
    match how {
        How::Rogue => stage.reap(pid)?,
        How::OwnWait => drop(subject.wait()?),
    }
    let stranger = stage.stranger_with(pid, Exit::Never)?;
    let answer = match whom {
        Whom::Process => subject.kill(),
        Whom::Group => subject.kill_group(),
    };
    Ok(match (stranger.was_killed()?, answer) {
        (true, _) => Seen::new(Verdict::StrangerHit, "it was killed"),
        (false, Ok(())) => Seen::new(Verdict::Safe, "does nothing"),
        (false, Err(Refusal::Error(error))) => Seen::new(Verdict::Error, error),
        (false, Err(refusal)) => return Err(refusal),
    })
}

/// Whether it can signal groups at all, tried on one that lives.
fn probe_group(library: &Library, stage: &Stage) -> Answer<()> {
    let mut order = stage.sleeping();
    order.leads_group = true;
    let mut subject = (library.start)(order)?;
    let answer = subject.kill_group();
    if answer.is_err() {
        stage.kill(subject.pid())?;
    }
    subject.wait()?;
    answer
}

fn status_of_a_stranger(library: &Library, stage: &Stage) -> Answer<Seen> {
    let mut subject = (library.start)(stage.exiting())?;
    let pid = subject.pid();
    stage.reap(pid)?;
    let stranger = stage.stranger_with(pid, Exit::AtOnce)?;
    let answer = subject.wait();
    if !stranger.can_be_reaped() {
        return Ok(Seen::new(Verdict::StrangerHit, "its status was taken"));
    }
    judge_status(answer, 3)
}

fn early_exit(library: &Library, stage: &Stage) -> Answer<Seen> {
    // Where the child runs first, as often as not.
    stage.take_one_cpu()?;
    let mut early = 0;
    for _ in 0..200 {
        let started = (library.start)(stage.exiting_at_once());
        early += started.as_ref().map_or(0, |subject| u32::from(stage.has_exited(subject.pid())));
        let seen = judge_status(started.and_then(|mut subject| subject.wait()), 0)?;
        if seen.verdict != Verdict::Safe {
            return Ok(seen);
        }
    }
    Ok(Seen::new(Verdict::Safe, format!("each status; {early} had exited when the spawn returned")))
}

fn foreign(library: &Library, stage: &Stage) -> Answer<Seen> {
    let foreigner = stage.foreigner()?;
    let mut subject = (library.find)(foreigner.pid)?;
    let killer = stage.kill_soon(foreigner.pid);
    let answer = subject.wait();
    let was_alive = !foreigner.is_gone();
    killer.join().map_err(|_| "the killer panicked")?;
    Ok(match answer {
        Ok(status) if was_alive => Seen::new(Verdict::WrongAnswer, format!("{status}, while it runs")),
        Ok(status) if status.signal() == Some(9) => Seen::new(Verdict::Safe, "its true status"),
        Ok(status) => Seen::new(Verdict::WrongAnswer, status.to_string()),
        Err(Refusal::Error(error)) => Seen::new(Verdict::Error, error),
        Err(refusal) => return Err(refusal),
    })
}

fn leader_exited(library: &Library, stage: &Stage) -> Answer<Seen> {
    let (order, go) = stage.leaderless()?;
    let mut subject = (library.start)(order)?;
    stage.until_leader_exited(subject.pid());
    let ends = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&ends);
    stage.later(move || {
        tell.store(true, Ordering::SeqCst);
        drop(go);
    });
    let answer = subject.wait();
    match answer {
        Ok(status) if !ends.load(Ordering::SeqCst) => Ok(Seen::new(Verdict::WrongAnswer, format!("{status}, while it runs"))),
        answer => judge_status(answer, 3),
    }
}

fn storm(library: &Library, stage: &Stage) -> Answer<Seen> {
    let mut subject = (library.start)(stage.waiting_for_go()?)?;
    let storm = stage.storm()?;
    stage.go_soon();
    let answer = match subject.wait_timeout(Duration::from_secs(60)) {
        Err(Refusal::NotOffered) => subject.wait(),
        waited => waited.and_then(|status| status.ok_or_else(|| "timed out at once".into())),
    };
    drop(storm);
    match answer {
        Err(Refusal::Error(error)) if error.contains("nterrupted") => Ok(Seen::new(Verdict::WrongAnswer, error)),
        answer => judge_status(answer, 0),
    }
}

fn short_timeout(library: &Library, stage: &Stage) -> Answer<Seen> {
    const TIMEOUT: Duration = Duration::from_micros(300);
    let mut subject = (library.start)(stage.sleeping())?;
    let start = Instant::now();
    let answer = subject.wait_timeout(TIMEOUT);
    let took = start.elapsed();
    stage.kill(subject.pid())?;
    Ok(match answer? {
        None if took >= TIMEOUT => Seen::new(Verdict::Safe, "waits as long"),
        None => Seen::new(Verdict::WrongAnswer, format!("returns after {} µs", took.as_micros())),
        Some(status) => Seen::new(Verdict::WrongAnswer, format!("{status}, while it runs")),
    })
}
