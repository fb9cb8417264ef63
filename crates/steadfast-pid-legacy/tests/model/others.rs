//! What stands beside `process.rs` and `watch.rs` in their crate, as far as they name it: nobody else reaps our child here.

pub(crate) enum WaitCall {
    Waitid,
    #[allow(dead_code, reason = "the way that is not taken here")]
    Wait4,
}

pub(crate) mod birth {
    use steadfast_core::Pid;

    pub(crate) struct Birth;

    impl Birth {
        pub(crate) fn may_be_of(&self, _: Pid) -> bool {
            true
        }
    }
}

pub(crate) mod start_time {
    use steadfast_core::{Pid, Result};

    pub(crate) struct StartTime;

    impl StartTime {
        pub(crate) fn is_still_of(&self, _: Pid) -> Result<bool> {
            unreachable!("nobody was found here")
        }
    }
}

pub(crate) mod collect {
    use std::time::Instant;
    use steadfast_core::{Errno, Exit, Pid};

    pub(crate) struct Collector;

    impl Collector {
        pub(crate) fn new(_: Pid) -> Collector {
            unreachable!("waitid works here")
        }

        pub(crate) fn unless_collected(&self, _: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
            unreachable!("waitid works here")
        }

        pub(crate) fn wait_until(&self, _: Option<Instant>) -> Result<Option<Exit>, Errno> {
            unreachable!("waitid works here")
        }

        pub(crate) fn take(&self) -> Result<Option<Exit>, Errno> {
            unreachable!("waitid works here")
        }
    }
}

pub(crate) mod orphans {
    use crate::held::LegacyProcess;
    use crate::os::{Life, with};
    use std::sync::Arc;

    pub(crate) fn take(_: Arc<LegacyProcess>) {
        with(|world| match world.life {
            Life::Runs => world.is_abandoned = true,
            Life::Zombie(_) => world.life = Life::Reaped,
            Life::Reaped => panic!("it was reaped, and abandoned afterwards"),
        });
    }
}
