//! Random sequences of operations, compared with a model of the contract, also beside a reaper, and between two backends.
//!
//! Longer than other files: the model is one table, and the code that performs, predicts and follows must agree on every row.

use crate::promise::{Promise, promise};
use crate::subject::Actor;
use crate::{Act, Subject};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;
use steadfast_core::{ErrorKind, Process, Result, Signal};

pub(crate) const PROMISES: &[Promise] = &[
    promise("random sequences: each answer is the contract's", |subject| {
        check(50, any_operations(40), |operations| {
            let answers = perform(subject, &operations);
            if subject.is_beside_a_reaper {
                return follow(subject, &operations, &answers);
            }
            let mut model = Model::of(subject);
            let predicted: Vec<Answer> = operations.iter().map(|operation| model.perform(*operation)).collect();
            prop_assert_eq!(answers, predicted);
            Ok(())
        });
    }),
    promise("random operations from 4 threads: each answer is one of the contract's", |subject| {
        let threads = proptest::collection::vec(any_operations(12), 4);
        check(50, threads, |threads| {
            perform_at_once(subject, &threads);
            Ok(())
        });
    }),
];

/// Checks that two backends give the same answers: performs random sequences of operations on both.
///
/// # Panics
/// If they differ; the message has the shortest sequence found that shows it.
pub fn same_answers(one: &Subject, other: &Subject) {
    check(50, any_operations(40), |operations| {
        // Whether a pidfd can be lent is a difference that the two declare.
        let lending = one.backend.info().lends_handle == other.backend.info().lends_handle;
        let operations = operations.into_iter().filter(|op| lending || !matches!(op, Operation::WithHandle(_)));
        // So is whether a status survives that another handle has collected.
        let telling = one.tells_lost_status == other.tells_lost_status;
        let operations: Vec<_> = operations.filter(|op| telling || !matches!(op, Operation::Find(..))).collect();
        prop_assert_eq!(perform(one, &operations), perform(other, &operations));
        Ok(())
    });
}

/// Runs a property on as many cases as `STEADFAST_CASES` says, or else the caller, from the seed `STEADFAST_SEED` (default 0).
pub(crate) fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("STEADFAST_CASES").map_or(cases, |cases| cases as u32);
    let seed = number("STEADFAST_SEED").unwrap_or(0);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    // What was found is found; a shorter case is worth a minute at the most.
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    if let Err(error) = runner.run(&strategy, property) {
        panic!("{error}\n(seed {seed})");
    }
}

/// Handles are numbered by [`SLOTS`] slots; each holds at most one.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Spawns an actor into a slot, dropping the handle that was there.
    Spawn(usize),
    /// Puts a found handle of the first slot's process into the second.
    Find(usize, usize),
    /// A signal that does nothing to it.
    Continue(usize),
    Kill(usize),
    /// Only where it ends at once: of one that runs, it looks.
    Wait(usize),
    TryWait(usize),
    Release(usize),
    WithHandle(usize),
    Drop(usize),
}

const SLOTS: usize = 3;

fn any_operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let slot = || 0..SLOTS;
    let operation = prop_oneof![
        3 => slot().prop_map(Operation::Spawn),
        2 => (slot(), slot()).prop_map(|(from, to)| Operation::Find(from, to)),
        2 => slot().prop_map(Operation::Continue),
        2 => slot().prop_map(Operation::Kill),
        3 => slot().prop_map(Operation::Wait),
        2 => slot().prop_map(Operation::TryWait),
        1 => slot().prop_map(Operation::Release),
        1 => slot().prop_map(Operation::WithHandle),
        1 => slot().prop_map(Operation::Drop),
    ];
    proptest::collection::vec(operation, 1..most)
}

/// What an operation answered, in the words of the contract. Of a PID or an errno's text, nothing: they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NoSuchSlot,
    Ok,
    Running,
    Killed,
    Exited(i32),
    Error(ErrorKind),
}

fn answer(result: Result<()>) -> Answer {
    result.map_or_else(|error| Answer::Error(error.kind()), |()| Answer::Ok)
}

fn waited(result: Result<Option<std::process::ExitStatus>>) -> Answer {
    match result {
        Ok(None) => Answer::Running,
        Ok(Some(status)) => match status.code() {
            Some(code) => Answer::Exited(code),
            None if status.signal() == Some(9) => Answer::Killed,
            None => panic!("{status}: nobody sent that"),
        },
        Err(error) => Answer::Error(error.kind()),
    }
}

/// Whether a wait is worth its name: a process that was killed will exit, one that was not will not.
fn patience(is_dying: bool) -> Duration {
    if is_dying { Duration::from_secs(3600) } else { Duration::ZERO }
}

/// A process of a sequence, as far as the one who performs it must know.
struct Cast {
    actor: Actor,
    is_dying: bool,
    is_abandoned: bool,
}

fn perform(subject: &Subject, operations: &[Operation]) -> Vec<Answer> {
    // The processes outlive the slots here, so that a found handle always has somebody to find; `Actor` ends them.
    let mut actors: Vec<Cast> = Vec::new();
    // A handle, whose process it is, and whether it is the one that came from the spawn.
    let mut slots: [Option<(Process, usize, bool)>; SLOTS] = Default::default();
    let mut answers = Vec::new();
    for operation in operations {
        let outcome = match *operation {
            Operation::Spawn(slot) => {
                let actor = subject.act(Act::Forever);
                slots[slot] = Some((actor.process.clone(), actors.len(), true));
                actors.push(Cast { actor, is_dying: false, is_abandoned: false });
                Answer::Ok
            }
            Operation::Find(from, to) => match &slots[from] {
                None => Answer::NoSuchSlot,
                Some((process, actor, _)) => match Process::find(&subject.backend, process.pid()) {
                    Ok(found) => {
                        slots[to] = Some((found, *actor, false));
                        Answer::Ok
                    }
                    Err(error) => Answer::Error(error.kind()),
                },
            },
            Operation::Drop(slot) => match slots[slot].take() {
                Some(_) => Answer::Ok,
                None => Answer::NoSuchSlot,
            },
            Operation::Continue(slot)
            | Operation::Kill(slot)
            | Operation::Wait(slot)
            | Operation::TryWait(slot)
            | Operation::Release(slot)
            | Operation::WithHandle(slot) => match &slots[slot] {
                None => Answer::NoSuchSlot,
                Some((process, index, spawned)) => {
                    let cast = &mut actors[*index];
                    let is_dying = cast.is_dying;
                    let outcome = match operation {
                        Operation::Continue(_) => answer(process.signal(Signal::CONT)),
                        Operation::Kill(_) => answer(process.kill()),
                        Operation::Wait(_) => waited(process.wait_timeout(patience(is_dying))),
                        // One that dies may be there or not when we look: wait for it.
                        Operation::TryWait(_) if is_dying => waited(process.wait_timeout(patience(true))),
                        Operation::TryWait(_) => waited(process.try_wait()),
                        Operation::Release(_) => {
                            let outcome = answer(process.release());
                            // Only the release of the spawned handle gives the child away, and only while it is running.
                            let is_released = process.try_wait().is_err_and(|error| error.kind() == ErrorKind::Released);
                            cast.is_abandoned |= *spawned && is_released;
                            outcome
                        }
                        _ => answer(process.with_handle(|_| ())),
                    };
                    cast.is_dying |= matches!(operation, Operation::Kill(_)) && outcome == Answer::Ok;
                    if cast.is_dying && cast.is_abandoned {
                        // It is reaped in the background, which the next operation must not race.
                        subject.wait_until_gone(cast.actor.pid());
                    }
                    outcome
                }
            },
        };
        answers.push(outcome);
    }
    answers
}

/// What the contract says of each process, each handle and each operation.
#[derive(Clone)]
struct Model {
    lends: bool,
    tells: bool,
    targets: Vec<Target>,
    abandoned: Vec<bool>,
    handles: Vec<Handle>,
    slots: [Option<usize>; SLOTS],
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Running,
    /// Killed, and not waited for.
    Dying,
    Reaped,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    Done { collected: bool },
    Released,
}

/// Clones of the actor's own share one state, found ones have their own.
#[derive(Clone)]
struct Handle {
    phase: Phase,
    target: usize,
    spawned: bool,
}

impl Model {
    fn of(subject: &Subject) -> Model {
        Model {
            lends: subject.backend.info().lends_handle,
            tells: subject.tells_lost_status,
            targets: Vec::new(),
            abandoned: Vec::new(),
            handles: Vec::new(),
            slots: [None; SLOTS],
        }
    }

    /// What an operation answers.
    fn perform(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Spawn(slot) => {
                self.slots[slot] = Some(self.handles.len());
                self.handles.push(Handle { phase: Phase::Running, target: self.targets.len(), spawned: true });
                self.targets.push(Target::Running);
                self.abandoned.push(false);
                Answer::Ok
            }
            Operation::Find(from, to) => match self.slots[from] {
                None => Answer::NoSuchSlot,
                Some(handle) if self.targets[self.handles[handle].target] == Target::Reaped => {
                    Answer::Error(ErrorKind::ProcessDone)
                }
                Some(handle) => {
                    self.slots[to] = Some(self.handles.len());
                    let target = self.handles[handle].target;
                    self.handles.push(Handle { phase: Phase::Running, target, spawned: false });
                    Answer::Ok
                }
            },
            Operation::Drop(slot) => match self.slots[slot].take() {
                Some(_) => Answer::Ok,
                None => Answer::NoSuchSlot,
            },
            Operation::Continue(slot)
            | Operation::Kill(slot)
            | Operation::Wait(slot)
            | Operation::TryWait(slot)
            | Operation::Release(slot)
            | Operation::WithHandle(slot) => match self.slots[slot] {
                None => Answer::NoSuchSlot,
                Some(handle) => {
                    let handle = &mut self.handles[handle];
                    let abandoned = &mut self.abandoned[handle.target];
                    let target = &mut self.targets[handle.target];
                    match (operation, handle.phase) {
                        (Operation::Release(_), Phase::Running) => {
                            handle.phase = Phase::Released;
                            *abandoned |= handle.spawned;
                            if *abandoned && *target == Target::Dying {
                                *target = Target::Reaped;
                            }
                            Answer::Ok
                        }
                        (Operation::Release(_), _) => Answer::Ok,
                        (_, Phase::Released) => Answer::Error(ErrorKind::Released),
                        (Operation::Wait(_) | Operation::TryWait(_), Phase::Done { collected: true }) => Answer::Killed,
                        (Operation::Wait(_) | Operation::TryWait(_), Phase::Done { .. }) => Answer::Error(ErrorKind::NoChild),
                        (_, Phase::Done { .. }) => Answer::Error(ErrorKind::ProcessDone),
                        (Operation::Wait(_) | Operation::TryWait(_), Phase::Running) => match target {
                            Target::Running => Answer::Running,
                            Target::Dying => {
                                *target = Target::Reaped;
                                handle.phase = Phase::Done { collected: true };
                                Answer::Killed
                            }
                            Target::Reaped if self.tells => {
                                handle.phase = Phase::Done { collected: true };
                                Answer::Killed
                            }
                            Target::Reaped => {
                                if handle.spawned {
                                    handle.phase = Phase::Done { collected: false };
                                }
                                Answer::Error(ErrorKind::NoChild)
                            }
                        },
                        (Operation::WithHandle(_), Phase::Running) if self.lends => Answer::Ok,
                        (Operation::WithHandle(_), Phase::Running) => Answer::Error(ErrorKind::NoHandle),
                        (_, Phase::Running) if *target == Target::Reaped => {
                            handle.phase = Phase::Done { collected: self.tells };
                            Answer::Error(ErrorKind::ProcessDone)
                        }
                        (Operation::Kill(_), Phase::Running) => {
                            *target = if *abandoned { Target::Reaped } else { Target::Dying };
                            Answer::Ok
                        }
                        (_, Phase::Running) => Answer::Ok,
                    }
                }
            },
        }
    }

    /// Somebody else has taken the process that an operation is about, if it has ended.
    fn reap_behind(&mut self, operation: Operation) {
        let slot = match operation {
            Operation::Spawn(slot) | Operation::Find(slot, _) | Operation::Continue(slot) | Operation::Kill(slot) => slot,
            Operation::Wait(slot) | Operation::TryWait(slot) | Operation::Release(slot) => slot,
            Operation::WithHandle(slot) | Operation::Drop(slot) => slot,
        };
        if let Some(handle) = self.slots[slot] {
            let target = &mut self.targets[self.handles[handle].target];
            if *target == Target::Dying {
                *target = Target::Reaped;
            }
        }
    }
}

/// Beside a reaper a killed process is a zombie for some time, or none, and then it is gone for good. So each answer is that of one who was
/// not taken yet, or else that of one who was; an answer that only the second can give says that it was, and from then on none of the
/// first kind is right.
fn follow(subject: &Subject, operations: &[Operation], answers: &[Answer]) -> Result<(), TestCaseError> {
    let mut model = Model::of(subject);
    for (operation, answer) in operations.iter().zip(answers) {
        let mut untaken = model.clone();
        let expected = untaken.perform(*operation);
        if *answer == expected {
            model = untaken;
            continue;
        }
        // Others that have ended may still be there: only this one is known to be taken.
        model.reap_behind(*operation);
        let lost = model.perform(*operation);
        prop_assert!(*answer == lost, "{:?}: {:?}; expected {:?}, or {:?} of one taken", operation, answer, expected, lost);
    }
    Ok(())
}

/// Threads at one handle: nobody can say which answer each gets, but there are only a few.
fn perform_at_once(subject: &Subject, threads: &[Vec<Operation>]) {
    let actor = subject.act(Act::Forever);
    let process = &actor.process;
    let spare = subject.find(&actor);
    let allowed = |result: Result<()>| {
        if let Err(error) = result {
            let kinds = [ErrorKind::ProcessDone, ErrorKind::Released];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    };
    // Once it is killed somebody else may take the status.
    let is_lost = |kind: ErrorKind| subject.is_beside_a_reaper && kind == ErrorKind::NoChild;
    let no_status = |kind: ErrorKind| assert!(kind == ErrorKind::Released || is_lost(kind), "{kind:?}");
    thread::scope(|scope| {
        for operations in threads {
            scope.spawn(move || {
                for operation in operations {
                    match operation {
                        Operation::Spawn(_) | Operation::Find(..) | Operation::Continue(_) => {
                            allowed(process.signal(Signal::CONT));
                        }
                        Operation::Kill(_) => allowed(process.kill()),
                        Operation::Wait(_) | Operation::TryWait(_) => match process.try_wait() {
                            Ok(None) => {}
                            Ok(Some(status)) => assert_eq!(status.signal(), Some(9)),
                            Err(error) => no_status(error.kind()),
                        },
                        Operation::Release(_) => process.release().expect("release cannot fail"),
                        Operation::WithHandle(_) | Operation::Drop(_) => match process.with_handle(|_| ()) {
                            Err(error) if error.kind() == ErrorKind::NoHandle => {}
                            other => allowed(other),
                        },
                    }
                }
            });
        }
    });
    // Whatever they did, it must end, and leave nothing.
    match spare.kill() {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ProcessDone),
    }
    match process.wait() {
        Ok(status) => assert_eq!(status.signal(), Some(9)),
        Err(error) => no_status(error.kind()),
    }
    subject.wait_until_gone(process.pid());
}
