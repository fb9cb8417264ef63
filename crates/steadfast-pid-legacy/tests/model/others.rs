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
    use std::sync::{Arc, Mutex};
    use steadfast_core::BackendProcess;

    /// Never locked while others may go on.
    static ORPHAN: Mutex<Option<Arc<LegacyProcess>>> = Mutex::new(None);

    pub(crate) fn take(child: Arc<LegacyProcess>) {
        let before = ORPHAN.lock().expect("nobody panics here").replace(child);
        assert!(before.is_none(), "it is abandoned once");
    }

    /// As their thread does, after an exit.
    pub(crate) fn reap() {
        let orphan = ORPHAN.lock().expect("nobody panics here").take();
        orphan.into_iter().for_each(|orphan| assert!(matches!(orphan.reap(), Ok(Some(_))), "an orphan was reaped before"));
    }
}
