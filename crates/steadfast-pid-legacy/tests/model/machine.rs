//! The machine: the real backend's process, in the world of `os.rs`.

use crate::background::join_background;
use crate::birth::Birth;
use crate::calls::WaitCall;
use crate::checker::share;
use crate::held::{LegacyProcess, Mark};
use crate::orders::{Act, Machine};
use crate::orphans;
use crate::os::{self, Life, SystemClock, WORLD};
use std::sync::Arc;
use steadfast_core::{BackendProcess, Clock, Pid};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Number;

impl Machine for Number {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn process(self) -> Arc<dyn BackendProcess> {
        Arc::new(LegacyProcess::new(Pid::MAX, Mark::Child(Birth), WaitCall::Waitid))
    }

    fn begin(self) {
        os::begin();
        orphans::forget();
    }

    fn exit(self) {
        share(&WORLD, |world| world.end(7 << 8));
        orphans::reap();
    }

    fn interruptions(self, acts: &[Act]) -> Option<usize> {
        // With its thread there are more of them than with the others.
        acts.iter().any(|act| [Act::WaitLong, Act::WaitShort].contains(act)).then_some(1)
    }

    fn is_left_clean(self) {
        orphans::reap();
        join_background();
        share(&WORLD, |world| assert!(matches!(world.life, Life::Reaped), "a zombie is left"));
    }
}
