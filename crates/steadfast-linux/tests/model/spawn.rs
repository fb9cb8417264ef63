//! The start of one child, and what threads do with it.

#[path = "../../src/spawn/flight.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "a copy, of which not everything is used")]
mod flight;
#[path = "../../src/spawn/start.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "a copy, of which not everything is used")]
mod start;

use crate::background::{join_background, spawn_quiet_thread};
use crate::checker::{remember_only, share, wait_for};
use crate::kernel::{self, Life, WORLD};
use crate::others::{LIMIT, beginning};
use crate::stack::Stack;
use clone::{Born, WantPidfd};
use flight::{Flight, Hold, SpawnWait, Way};
use start::{GivenUp, Start};
use steadfast_core::{Pid, Plan};

mod child {
    use super::step::Step;
    use crate::checker::share;
    use crate::kernel::{Life, WORLD};
    use steadfast_core::{Errno, Error, Plan, Stage, Wall};

    pub(super) type Failure = (Step, Errno);

    pub(super) struct Order {
        pub(super) plan: Plan,
        pub(super) report: Report,
    }

    pub(super) struct Report;

    impl Report {
        pub(super) fn failure(&self) -> Option<Failure> {
            share(&WORLD, |world| world.has_failed).then_some((Step, Errno::NOENT))
        }
    }

    impl Order {
        pub(super) fn error(&self, (Step, source): Failure) -> Error {
            Error::Spawn { program: self.plan.program().to_owned(), stage: Stage::Clone, source }
        }

        pub(super) fn missing_walls(&self) -> Vec<(Wall, Error)> {
            Vec::new()
        }

        pub(super) fn told(&self) -> Option<Failure> {
            None
        }

        pub(super) fn may_not_end(&self) -> bool {
            false
        }
    }

    impl Drop for Order {
        fn drop(&mut self) {
            share(&WORLD, |world| {
                assert!(world.has_copy || world.life != Life::Borrows, "what a child borrows is freed");
                assert!(!world.is_freed, "it is freed twice");
                world.is_freed = true;
            });
        }
    }
}

mod step {
    pub(super) struct Step;

    impl Step {
        pub(super) fn from_raw(_: u32) -> Option<Step> {
            Some(Step)
        }
    }
}

mod clone {
    use super::flight::Seen;
    use crate::checker::share;
    use crate::kernel::{self, Life, WORLD};
    use crate::others::beginning;
    use std::os::fd::OwnedFd;
    use std::time::Instant;
    use steadfast_core::Errno;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum WantPidfd {
        #[allow(dead_code, reason = "asked for elsewhere")]
        Yes,
        No,
    }

    pub(super) struct Born {
        pub(super) pidfd: Option<OwnedFd>,
    }

    impl Born {
        pub(super) fn kill(&self) {
            unreachable!("no filter is on");
        }

        pub(super) fn reap(&self) -> bool {
            kernel::reap(true)
        }

        pub(super) fn reap_until(&self, deadline: Instant) -> bool {
            kernel::reap(deadline > beginning())
        }

        pub(super) fn seen(&self) -> Seen {
            match share(&WORLD, |world| (world.has_ended(), world.life == Life::Executed)) {
                (true, _) => Seen::Ended,
                (_, true) => Seen::Executed,
                _ => Seen::Nothing,
            }
        }

        pub(super) fn watched(&self) -> Result<Born, Errno> {
            Ok(Born { pidfd: None })
        }

        pub(super) fn has_executed(&self) -> bool {
            share(&WORLD, |world| world.life == Life::Executed)
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    kernel: Kernel,
    fate: Fate,
    starter: Starter,
    /// Somebody else kills it.
    is_killed: bool,
}

/// How it tells that the child has left our memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    ClearsWord,
    /// But not for a child that is killed, which can happen among forks.
    LosesWord,
    /// The pipe's end tells of an exec, and the word of an end.
    EndsPipe,
    /// And there is no word: the child has a copy of our memory.
    CopiesMemory,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Executes,
    Fails,
    /// Until it is killed.
    IsHeld,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Starter {
    Waits,
    /// And gives it up.
    WaitsUntilTimeIsUp,
    /// Looks, is told, looks; and gives it up when the time is up.
    IsTold,
    /// Two sleep, and the kernel wakes one.
    WaitsBesideWhoTells,
    GivesUp,
}

impl Case {
    /// How many there are at the most; `None`: as many as there can be. With five threads those are hundreds of thousands of orders.
    pub(crate) fn interruptions(self) -> Option<usize> {
        matches!(self.starter, Starter::IsTold | Starter::WaitsBesideWhoTells).then_some(2)
    }
}

const STARTERS: [Starter; 5] =
    [Starter::Waits, Starter::WaitsUntilTimeIsUp, Starter::IsTold, Starter::WaitsBesideWhoTells, Starter::GivesUp];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for kernel in [Kernel::ClearsWord, Kernel::LosesWord, Kernel::EndsPipe, Kernel::CopiesMemory] {
        for fate in [Fate::Executes, Fate::Fails, Fate::IsHeld] {
            for starter in STARTERS {
                for is_killed in [false, true] {
                    let waits = matches!(starter, Starter::Waits | Starter::WaitsBesideWhoTells);
                    let waits_for_ever = fate == Fate::IsHeld && waits && !is_killed;
                    if !waits_for_ever {
                        cases.push(Case { kernel, fate, starter, is_killed });
                    }
                }
            }
        }
    }
    cases
}

pub(crate) fn in_one_order(case: Case) {
    kernel::begin();
    let order = child::Order { plan: Plan::builder("program").build().expect("it is in order"), report: child::Report };
    let flight = Flight::new(order, Stack);
    let (way, channel) = match case.kernel {
        Kernel::EndsPipe | Kernel::CopiesMemory => (Way::Channel, std::fs::File::open("/dev/null").ok().map(Into::into)),
        _ => (Way::Word, None),
    };
    let has_copy = case.kernel == Kernel::CopiesMemory;
    WORLD.with_borrow_mut(|world| world.has_copy = has_copy);
    let hold = Hold::new(flight, way, channel, has_copy, has_copy);
    let born = Born { pidfd: None };
    let start = Start::new(Pid::MAX, hold, born, WantPidfd::No, [None, None, None], None, false);

    let mut threads = vec![spawn("the child", move || live(case))];
    if case.starter == Starter::WaitsUntilTimeIsUp || case.starter == Starter::IsTold {
        threads.push(spawn("time", || share(&WORLD, |world| world.time_is_up = true)));
    }
    if case.is_killed {
        threads.push(spawn("somebody", kernel::kill));
    }
    threads.push(spawn("the starter", move || begin(case, start)));
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    join_background();
    WORLD.with_borrow(|world| {
        assert!(world.is_freed, "what the child has borrowed stays for ever");
        assert_eq!(world.life, Life::Reaped, "a zombie is left");
    });
}

fn spawn(who: &'static str, run: impl FnOnce() + Send + 'static) -> shuttle::thread::JoinHandle<()> {
    shuttle::thread::spawn(move || {
        remember_only(&who);
        run();
        remember_only(&(who, "is done"));
    })
}

/// The child's life.
fn live(case: Case) {
    let clears_at_end = !matches!(case.kernel, Kernel::LosesWord | Kernel::CopiesMemory);
    let use_it = || {
        share(&WORLD, |world| {
            world.uses();
            world.is_killed
        })
    };
    let is_killed = use_it()
        || match case.fate {
            Fate::Executes => share(&WORLD, |world| {
                world.uses();
                if !world.is_killed {
                    world.leaves(Life::Executed, !matches!(case.kernel, Kernel::EndsPipe | Kernel::CopiesMemory));
                }
                world.is_killed
            }),
            Fate::Fails => {
                let is_killed = share(&WORLD, |world| {
                    world.uses();
                    if !world.is_killed {
                        world.fails();
                    }
                    world.is_killed
                });
                is_killed || use_it()
            }
            Fate::IsHeld => wait_for(&WORLD, |world| world.is_killed.then_some(true)),
        };
    if case.fate == Fate::Executes && !is_killed {
        // The program runs until it is killed.
        wait_for(&WORLD, |world| world.is_killed.then_some(()));
    } else {
        // Who has told of a failure ends by itself, and the word is cleared.
        let clears = clears_at_end || (!is_killed && case.kernel == Kernel::LosesWord);
        share(&WORLD, |world| world.leaves(Life::Ends, clears));
    }
    share(&WORLD, |world| world.life = Life::Zombie);
}

fn begin(case: Case, mut start: Start) {
    let past = beginning();
    let tell = || share(&WORLD, |world| world.was_told = true);
    let mut was_told = false;
    let answer = match case.starter {
        Starter::Waits => start.wait(None),
        Starter::WaitsUntilTimeIsUp => {
            kernel::limit();
            start.wait(Some(beginning() + LIMIT))
        }
        Starter::IsTold => start.wait(Some(past)).or_else(|| {
            start.on_left(tell).expect("there are threads");
            was_told = wait_for(&WORLD, |world| (world.was_told || world.time_is_up).then_some(world.was_told));
            let answer = start.wait(Some(past));
            assert!(answer.is_some() || !was_told, "who was told finds nothing");
            answer
        }),
        Starter::WaitsBesideWhoTells => {
            start.on_left(tell).expect("there are threads");
            start.wait(None)
        }
        Starter::GivesUp => None,
    };
    kernel::no_limit();
    match answer {
        Some(Ok(_)) => {
            // Killed before it could tell of anything, it may be taken for one that has executed: its wait tells what has become of it.
            assert!(case.fate == Fate::Executes || case.is_killed, "it runs, that cannot");
            kernel::kill();
            kernel::reap(true);
        }
        Some(Err(_)) => {
            assert_eq!(case.fate, Fate::Fails);
            let has_time = case.starter != Starter::WaitsUntilTimeIsUp;
            assert!(!has_time || WORLD.with_borrow(|world| world.life == Life::Reaped), "who is told has a zombie left");
        }
        None => assert!(!matches!(case.starter, Starter::Waits | Starter::WaitsBesideWhoTells)),
    }
    if let Some(GivenUp { loan, .. }) = start.give_up() {
        assert!(!was_told, "who was told has an answer, and a child that has failed is reaped by then");
        kernel::kill();
        let reap = move || {
            kernel::reap(true);
            drop(loan);
        };
        spawn_quiet_thread("reaper", reap).expect("there are threads");
    }
    drop(start);
    assert_ne!(flight::spawn_wait(), SpawnWait::Suspended);
}
