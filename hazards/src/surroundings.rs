//! Hazards of what is around a child: a tracer, a reactor, a parent that does not wait, a big parent, a helper that is slow, a user
//! without threads to spare, a thread that ends, files that are no programs yet.

use crate::library::Library;
use crate::stage::Stage;
use crate::subject::{Answer, Order, Refusal};
use crate::verdict::{Seen, Verdict, judge_status};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use steadfast::MaxRss;
use xtask::noop;

pub(crate) fn traced_stop(library: &Library, stage: &Stage) -> Answer<Seen> {
    let mut subject = (library.start)(stage.waiting_for_go()?)?;
    let tracer = stage.trace(subject.pid())?;
    // It goes on when whoever waits has surely come to sleep, and then to its end.
    let go = stage.take_go();
    stage.later(move || {
        tracer.detach();
        drop(go);
    });
    judge_status(subject.wait(), 0)
}

pub(crate) fn non_blocking_pidfd(library: &Library, stage: &Stage) -> Answer<Seen> {
    let mut subject = (library.start)(stage.waiting_for_go()?)?;
    let changed = stage.make_pidfds_non_blocking()?;
    stage.go_soon();
    let seen = judge_status(subject.wait(), 0)?;
    Ok(match (seen.verdict, changed) {
        (Verdict::Safe, 0) => Seen::new(Verdict::Safe, "the true status; it holds no pidfd"),
        _ => seen,
    })
}

pub(crate) fn foreign_zombie(library: &Library, stage: &Stage) -> Answer<Seen> {
    let foreigner = stage.neglected()?;
    let mut subject = (library.find)(foreigner.pid())?;
    let killer = stage.kill_soon(foreigner.pid());
    let answer = subject.wait_exited();
    let runs = !stage.has_exited(foreigner.pid());
    killer.join().map_err(|_| "the killer panicked")?;
    Ok(match answer? {
        _ if runs => Seen::new(Verdict::WrongAnswer, "has exited, while it runs"),
        None => Seen::new(Verdict::Safe, "has exited, status unknown"),
        Some(status) if status.signal() == Some(9) => Seen::new(Verdict::Safe, "has exited, with its true status"),
        Some(status) => Seen::new(Verdict::WrongAnswer, status.to_string()),
    })
}

pub(crate) fn peak_memory(library: &Library, stage: &Stage) -> Answer<Seen> {
    const BIG: usize = 256 << 20;
    let ballast = stage.ballast(BIG);
    let mut subject = (library.start)(stage.exiting_at_once())?;
    subject.wait()?;
    let peak = subject.peak_memory()?;
    drop(ballast);
    Ok(match peak {
        MaxRss::Exact(bytes) if bytes >= BIG as u64 => {
            Seen::new(Verdict::WrongAnswer, format!("{} MiB, of a program of one page", bytes >> 20))
        }
        MaxRss::Exact(_) => Seen::new(Verdict::Safe, "its own"),
        MaxRss::AtMost(_) => Seen::new(Verdict::Safe, "says that it is a bound, not the peak"),
    })
}

pub(crate) fn late_output(library: &Library, _: &Stage) -> Answer<Seen> {
    let mut command = Command::new("/bin/sh");
    // A helper, as of `exec > >(cat)`: the shell does not wait for it.
    command.args(["-c", "{ sleep 0.1; echo late; } & echo early"]);
    let output = (library.output)(command)?;
    Ok(match String::from_utf8(output)?.as_str() {
        "early\nlate\n" => Seen::new(Verdict::Safe, "has it all"),
        other => Seen::new(Verdict::WrongAnswer, format!("{other:?}, and no error")),
    })
}

/// A user who has no thread left, for children that nobody waits for: once those have ended, all should be as before.
pub(crate) fn no_threads(library: &Library, stage: &Stage) -> Answer<Seen> {
    const ROOM: u64 = 4;
    // Whatever the library has for itself, it has now.
    let first = (library.start)(stage.anybodys())?.wait();
    judge_status(first, 0)?;
    stage.leave_no_more_than(ROOM)?;
    let go = stage.gate()?;
    let mut dropped = 0;
    let refused = loop {
        match (library.start)(go.order()?) {
            Ok(subject) => drop(subject),
            Err(refusal) => break refusal,
        }
        dropped += 1;
        if dropped > 100 && stage.children()?.len() as u64 > ROOM {
            return Err(Refusal::Stage("RLIMIT_NPROC has no effect".into()));
        }
        // It ends and reaps whom it drops.
        if dropped > 100 {
            return judge_status((library.start)(stage.anybodys())?.wait(), 0);
        }
    };
    go.open();
    for _ in 0..200 {
        match (library.start)(stage.anybodys()) {
            Ok(mut subject) => return judge_status(subject.wait(), 0),
            Err(_) => stage.let_time_pass(Duration::from_millis(10)),
        }
    }
    let Refusal::Error(error) = refused else { return Err(refused) };
    let zombies = stage.children()?.into_iter().filter(|state| *state == 'Z').count();
    Ok(Seen::new(Verdict::WrongAnswer, format!("locked out of the limit by {zombies} zombies, for good: {error}")))
}

pub(crate) fn thread_local(library: &Library, stage: &Stage) -> Answer<Seen> {
    struct Last(Option<Box<dyn FnOnce()>>);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|last| last());
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Last> = const { std::cell::RefCell::new(Last(None)) };
    }

    let start = library.start;
    let (before, after) = (stage.exiting(), stage.exiting());
    let (tell, told) = mpsc::channel();
    // The destructors of a thread run in the reverse order: the library's own have run when ours does.
    let thread = thread::spawn(move || {
        let ran = move |order: Order| start(order).and_then(|mut subject| subject.wait());
        LAST.with_borrow_mut(|last| last.0 = Some(Box::new(move || _ = tell.send(ran(after)))));
        ran(before)
    });
    thread.join().map_err(|_| Refusal::Stage("the thread panicked".into()))??;
    judge_status(told.recv()?, 3)
}

/// Without a word that says so, it is not the shell's business.
pub(crate) fn empty_executable(library: &Library, stage: &Stage) -> Answer<Seen> {
    let file = stage.executable("empty", b"")?;
    let status: Answer<ExitStatus> = (library.start)(Order::new(file)).and_then(|mut subject| subject.wait());
    Ok(match status {
        Err(Refusal::Error(error)) => Seen::new(Verdict::Safe, format!("refused: {}", stage.without_paths(&error))),
        Ok(status) => Seen::new(Verdict::WrongAnswer, format!("it ran: {status}")),
        Err(refusal) => return Err(refusal),
    })
}

pub(crate) fn just_written(library: &Library, stage: &Stage) -> Answer<Seen> {
    const THREADS: usize = 8;
    const EACH: usize = 100;
    let start = library.start;
    let program = noop::executable(std::env::consts::ARCH);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (tell, program) = (tell.clone(), &program);
            scope.spawn(move || {
                for round in 0..EACH {
                    let file = stage.program(&format!("{thread}-{round}"));
                    let written = noop::write(&file, program.clone()).map_err(|error| Refusal::Stage(error.to_string()));
                    _ = tell.send(written.and_then(|()| judge_status(start(Order::new(file))?.wait(), 0)));
                }
            });
        }
    });
    drop(tell);
    let (mut failed, mut example) = (0, String::new());
    for seen in told {
        match seen {
            Ok(seen) if seen.verdict == Verdict::Safe => {}
            Ok(Seen { note, .. }) | Err(Refusal::Error(note)) => (failed, example) = (failed + 1, stage.without_paths(&note)),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(match failed {
        0 => Seen::new(Verdict::Safe, "all ran"),
        _ => Seen::new(Verdict::Error, format!("{failed} of {}: {example}", THREADS * EACH)),
    })
}

pub(crate) fn many_children(library: &Library, stage: &Stage) -> Answer<Seen> {
    const MANY: usize = 60;
    // Whatever the library has for itself, it has now.
    judge_status((library.start)(stage.exiting())?.wait(), 3)?;
    stage.leave_descriptors(20)?;
    let mut children = Vec::new();
    let mut refused = None;
    while children.len() < MANY && refused.is_none() {
        let mut order = Order::new("sleep");
        // All are there at once; starting them takes much less.
        order.args.push("2");
        match (library.start)(order) {
            Ok(child) => children.push(child),
            Err(refusal) => refused = Some(refusal),
        }
    }
    for child in &mut children {
        let seen = judge_status(child.wait(), 0)?;
        if seen.verdict != Verdict::Safe {
            return Ok(seen);
        }
    }
    match refused {
        None => Ok(Seen::new(Verdict::Safe, format!("{MANY} children, each with its true status"))),
        Some(Refusal::Error(error)) => Ok(Seen::new(Verdict::Error, format!("after {} children: {error}", children.len()))),
        Some(refusal) => Err(refusal),
    }
}
