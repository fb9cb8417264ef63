//! One cell: so many live children, and all subjects of a case, taking turns.

use super::subject::{self, Subject};
use super::{Case, Row};
use crate::Result;
use crate::program::Noop;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use steadfast::backend::Clock;
use steadfast::{Pid, Signal};
use steadfast_linux::{Blocking, Reaping, SystemClock, Target, kill, waitid};

#[derive(clap::Args)]
pub(crate) struct Cell {
    case: Case,
    #[arg(long)]
    children: usize,
    #[arg(long)]
    rounds: usize,
}

/// So many exits are measured at once.
const BATCH: usize = 100;
/// And so many batches in a turn.
const BATCHES: usize = 10;

pub(crate) fn run(cell: &Cell) -> Result<()> {
    let sleeper = Noop::that_stays()?;
    raise_limit(cell.children)?;
    if cell.case == Case::Memory {
        println!("{}", memory(&sleeper, cell.children)?);
        return Ok(());
    }
    let makers = subject::of(cell.case);
    let mut samples = vec![Vec::new(); makers.len()];
    let mut order: Vec<usize> = (0..makers.len()).collect();
    for round in 0..=cell.rounds {
        fastrand::shuffle(&mut order);
        for index in order.iter().copied() {
            let mut subject = (makers[index].1)(&sleeper.path)?;
            let measured = match cell.case {
                Case::WakeUp | Case::AsyncWakeUp => vec![wake_up(&mut *subject)?],
                _ => per_exit(&mut *subject, cell.children)?,
            };
            // Its first time is no measure.
            if round > 0 {
                samples[index].extend(measured);
            }
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(crate::cell::median).collect();
    let limit = makers.iter().position(|(name, _)| *name == "limit").map(|index| medians[index]).ok_or("no limit")?;
    let row = |((name, _), median): (&subject::Maker, &f64)| Row {
        case: cell.case.name().to_owned(),
        subject: (*name).to_owned(),
        children: cell.children,
        threads: 1,
        median_us: *median,
        ratio_to_limit: median / limit,
    };
    let rows: Vec<Row> = makers.iter().zip(&medians).map(row).collect();
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

/// Each has a descriptor, and the pipes of a spawn take some for a moment.
fn raise_limit(children: usize) -> Result<()> {
    let needed = children as u64 + children as u64 / 2 + 200;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|errno| format!("RLIMIT_NOFILE cannot be raised to {needed}: {errno}").into())
}

fn end(pids: &[Pid]) -> Result<()> {
    for pid in pids {
        kill(*pid, Signal::KILL).map_err(|errno| format!("kill {pid}: {errno}"))?;
    }
    for pid in pids {
        waitid(Target::Pid(*pid), Blocking::Block, Reaping::Leave).map_err(|errno| format!("waitid {pid}: {errno}"))?;
    }
    Ok(())
}

/// Of so many live children some exit; how long it takes to hear of each and to reap it, in microseconds.
fn per_exit(subject: &mut dyn Subject, children: usize) -> Result<Vec<f64>> {
    let mut pids = (0..children).map(|key| subject.start(key)).collect::<Result<Vec<Pid>>>()?;
    subject.settle()?;
    let batch = children.min(BATCH);
    let mut samples = Vec::new();
    for number in 0..BATCHES {
        // Another one in each batch, and spread over all.
        let keys: Vec<usize> = (0..batch).map(|n| (n * (children / batch) + number) % children).collect();
        end(&keys.iter().map(|key| pids[*key]).collect::<Vec<_>>())?;
        let start = Instant::now();
        let mut exited = subject.take(batch)?;
        samples.push(start.elapsed().as_secs_f64() * 1e6 / batch as f64);
        exited.sort_unstable();
        let mut expected = keys.clone();
        expected.sort_unstable();
        if exited != expected {
            return Err(format!("{exited:?} have exited, and not {expected:?}").into());
        }
        for key in keys {
            pids[key] = subject.start(key)?;
        }
        subject.settle()?;
    }
    end(&pids)?;
    subject.take(children)?;
    Ok(samples)
}

/// From the kill of a child to the return of whoever waits for it: with the time that it takes to die.
fn wake_up(subject: &mut dyn Subject) -> Result<f64> {
    let pid = subject.start(0)?;
    subject.settle()?;
    let (go, gone) = channel();
    let killer = std::thread::spawn(move || {
        gone.recv().ok();
        // By then the other thread sleeps.
        SystemClock.sleep_until(SystemClock.now() + Duration::from_micros(200));
        let start = Instant::now();
        kill(pid, Signal::KILL).map(|()| start)
    });
    go.send(())?;
    subject.take(1)?;
    let end = Instant::now();
    let start = killer.join().map_err(|_| "the killer panicked")?.map_err(|errno| format!("kill {pid}: {errno}"))?;
    Ok((end - start).as_secs_f64() * 1e6)
}

/// What a handle in a set takes, the process's own included: as this process's resident set says.
fn memory(sleeper: &Noop, children: usize) -> Result<u64> {
    let mut set = subject::set(&sleeper.path)?;
    // What is there for the first ones is no measure.
    let first: Vec<Pid> = (0..64).map(|key| set.start(key)).collect::<Result<_>>()?;
    let before = crate::mock::resident()?;
    let more: Vec<Pid> = (64..64 + children).map(|key| set.start(key)).collect::<Result<_>>()?;
    let bytes = crate::mock::resident()?.saturating_sub(before) / children as u64;
    let all = [first, more].concat();
    end(&all)?;
    set.take(all.len())?;
    Ok(bytes)
}
