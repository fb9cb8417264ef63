//! Every order of a child that is on its way, of who waits for it, gives it up or is told of it, of its limit, and of a kill by others:
//! `src/spawn/flight.rs` and `start.rs`, compiled with the atomics of a model checker, on a kernel of one child.
//!
//! What is asked of them: that what the child borrows is freed when it has left our memory, never before, and once; that nobody sleeps for
//! ever; that who is told finds an answer. `MODEL_INTERRUPTIONS=all` leaves no order out, which takes two minutes.

#[path = "../../../steadfast-core/tests/model/background.rs"]
mod background;
#[path = "../../../steadfast-core/tests/model/checker.rs"]
#[allow(dead_code, reason = "not all of it is used here")]
mod checker;
mod kernel;
mod others;
mod spawn;

use libtest_mimic::{Arguments, Trial};
use others::{arch, atomic, clock, fork, raw, stack, thread, wait};

fn main() {
    let trial = |case: spawn::Case| {
        Trial::test(format!("every order: {case:?}"), move || {
            let interruptions = checker::interruptions_or(case.interruptions());
            let orders = checker::in_every_order(interruptions, move || spawn::in_one_order(case));
            if std::env::var_os("MODEL_VERBOSE").is_some() {
                println!("{case:?}: {orders} orders");
            }
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), spawn::cases().into_iter().map(trial).collect()).exit();
}
