//! What stands beside `process.rs` and `watch.rs` in their crate, as far as they name it: nobody else reaps our child here.

pub(crate) mod calls {
    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum WaitCall {
        Waitid,
        #[allow(dead_code, reason = "the way that is not taken here")]
        Wait4,
    }
}

pub(crate) mod birth {
    use steadfast_core::{Pid, Result};

    pub(crate) struct Birth;

    impl Birth {
        pub(crate) fn may_be_of(&self, _: Pid) -> bool {
            true
        }

        pub(crate) fn life(&self) -> Option<&crate::life::Life> {
            None
        }

        pub(crate) fn is_still_of(&self, _: Pid) -> Result<bool> {
            unreachable!("nobody forks here")
        }
    }
}

pub(crate) mod start_time {
    use steadfast_core::{Pid, Result};

    pub(crate) fn is_traced(_: Pid) -> bool {
        unreachable!("waitid works here")
    }

    pub(crate) fn has_exited(_: Pid) -> bool {
        unreachable!("nobody forks here")
    }

    pub(crate) fn check_leads(_: Pid) -> Result<()> {
        unreachable!("waitid works here")
    }
}

pub(crate) mod life {
    use steadfast_core::{Errno, Pid, Result, Signal};

    pub(crate) struct Life;

    impl Life {
        pub(crate) fn is_child_of_ours(&self, _: Pid) -> bool {
            unreachable!("nobody was found here")
        }

        pub(crate) fn goes_on(&self, _: Pid) -> Result<bool> {
            unreachable!("nobody was found here")
        }

        pub(crate) fn has_exited(&self, _: Pid) -> Result<bool> {
            unreachable!("nobody was found here")
        }

        pub(crate) fn signal(&self, _: Signal) -> Option<Result<(), Errno>> {
            unreachable!("nobody was found here")
        }

        pub(crate) fn signal_value(&self, _: Signal, _: i32) -> Option<Result<(), Errno>> {
            unreachable!("nobody was found here")
        }

        pub(crate) fn may_signal(&self) -> Option<Result<bool, Errno>> {
            unreachable!("nobody was found here")
        }

        pub(crate) fn signal_group(&self, _: Signal) -> Option<Result<(), Errno>> {
            unreachable!("nobody was found here")
        }
    }
}

pub(crate) mod naming {
    use crate::life::Life;
    use steadfast_core::{Identity, Pid, Result};

    pub(crate) fn name(_: Pid, _: Option<&Life>, _: impl Fn() -> Result<bool>) -> Result<Identity> {
        unreachable!("nobody is named here")
    }

    pub(crate) fn too_late(_: Pid) -> steadfast_core::Error {
        unreachable!("waitid works here")
    }
}

pub(crate) mod collect {
    use std::time::Instant;
    use steadfast_core::{Errno, Exit, Pid};

    pub(crate) struct Collector;

    pub(crate) enum Found {
        Ours,
        Traced,
        Stranger,
    }

    #[allow(dead_code, reason = "waitid works here")]
    pub(crate) enum State {
        Waitable,
        Collected(Exit),
        Taken,
    }

    impl Collector {
        pub(crate) fn new(_: Pid) -> Collector {
            unreachable!("waitid works here")
        }

        pub(crate) fn with_state<T>(&self, _: impl FnOnce(State) -> T) -> T {
            unreachable!("waitid works here")
        }

        pub(crate) fn unless_collected<T>(&self, _: impl FnOnce() -> Result<T, Errno>) -> Result<Option<T>, Errno> {
            unreachable!("waitid works here")
        }

        pub(crate) fn wait_until(&self, _: Option<Instant>, _: impl Fn() -> Found) -> Result<Option<Exit>, Errno> {
            unreachable!("waitid works here")
        }

        pub(crate) fn take(&self, _: impl Fn() -> Found) -> Result<Option<Exit>, Errno> {
            unreachable!("waitid works here")
        }
    }
}

pub(crate) mod siblings {
    use std::sync::Arc;
    use steadfast_core::BackendProcess;

    #[allow(dead_code, reason = "waitid works here")]
    pub(crate) trait Sibling {
        fn is_meant_by_its_number(&self) -> bool;
        fn into_backend(self: Arc<Self>) -> Arc<dyn BackendProcess>;
    }

    pub(crate) fn forget(_: steadfast_core::Pid) {
        unreachable!("waitid works here")
    }

    #[allow(dead_code, reason = "waitid works here")]
    pub(crate) fn add(_: steadfast_core::Pid, _: Arc<dyn Sibling>) {
        unreachable!("waitid works here")
    }
}

pub(crate) mod orphans {
    use crate::checker::share;
    use std::cell::RefCell;
    use std::fmt::{self, Debug, Formatter};
    use std::sync::Arc;
    use steadfast_core::{BackendProcess, Pid};

    #[derive(Default)]
    struct Orphan(Option<Arc<dyn BackendProcess>>);

    impl Debug for Orphan {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            self.0.is_some().fmt(f)
        }
    }

    thread_local! {
        static ORPHAN: RefCell<Orphan> = RefCell::default();
    }

    pub(crate) fn forget() {
        ORPHAN.take();
    }

    pub(crate) fn take(_: Pid, child: Arc<dyn BackendProcess>, _: bool) {
        let before = share(&ORPHAN, |orphan| std::mem::replace(orphan, Orphan(Some(child))));
        assert!(before.0.is_none(), "it is abandoned once");
    }

    /// As their thread does, after an exit.
    pub(crate) fn reap() {
        let orphan = share(&ORPHAN, std::mem::take).0;
        orphan.into_iter().for_each(|orphan| assert!(matches!(orphan.reap(), Ok(Some(_))), "an orphan was reaped before"));
    }
}
