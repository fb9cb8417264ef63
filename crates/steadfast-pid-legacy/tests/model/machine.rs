//! The machine: the real backend's process, in the world of `os.rs`.

use crate::birth::Birth;
use crate::calls::WaitCall;
use crate::checker::share;
use crate::held::{Identity, LegacyProcess};
use crate::orders::{Act, Machine};
use crate::os::{self, Life, SystemClock, WORLD, join_threads};
use crate::{ProcessBackend, orphans};
use std::sync::Arc;
use steadfast_core::{BackendProcess, Capabilities, Clock, Error, Pid, Plan, Result, Spawned};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Number;

impl Machine for Number {
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
        join_threads();
        share(&WORLD, |world| assert!(matches!(world.life, Life::Reaped), "a zombie is left"));
    }
}

impl ProcessBackend for Number {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("model")
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn generation(&self) -> u32 {
        0
    }

    fn spawn(&self, _: &Plan) -> Result<Spawned> {
        let process = LegacyProcess::new(Pid::MAX, Identity::Child(Birth), WaitCall::Waitid);
        Ok(Spawned { pid: Pid::MAX, spawner_peak: 0, process: Arc::new(process), pipes: [None, None, None], pidfd: None })
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Err(Error::ProcessDone { pid })
    }
}
