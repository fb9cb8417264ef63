//! [`System`]: a chosen backend, and how it is chosen.

use once_cell::race::OnceBox;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::sync;
use steadfast_core::{BackendInfo, Error, ProcessBackend, Result};
use steadfast_linux::{Door, Probe, is_secure_execution};
use steadfast_pid_legacy::{PidLegacyBackend, SignalCall, WaitCall};
use steadfast_pidfd::PidfdBackend;

/// A chosen backend: cheap to clone, to be shared between threads.
///
/// Most programs never name it: [`Command::spawn`](crate::Command::spawn) and [`Process::find`](crate::Process::find) use [`System::current`].
///
/// ```
/// use steadfast::System;
/// let system = System::detect()?;
/// println!("{}", system.backend_name());
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone)]
pub struct System {
    backend: Arc<dyn ProcessBackend>,
    /// Other than `pid-legacy` as it is.
    by_number: Option<Arc<dyn ProcessBackend>>,
}

thread_local! {
    /// With the numbers of what their locks go by. Never dropped, so that it is there in the destructors of other thread-locals too; without
    /// entries it holds nothing.
    static ENTERED: ManuallyDrop<RefCell<Vec<(u64, System)>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

impl System {
    /// The backend for this machine: pidfds if the probe finds that all their calls work, otherwise PIDs. It is chosen once.
    ///
    /// The environment variable `STEADFAST_BACKEND`, read at the first call, forces `pidfd` or `pid-legacy`. A program with more rights
    /// than the user who started it (set-user-ID, set-group-ID, file capabilities: `AT_SECURE`, getauxval(3)) does not read it.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`] for another value of that variable; [`Error::Unavailable`] if it forces pidfds where they do
    /// not work; [`Error::System`] if the probe failed for a temporary reason, such as `EMFILE`. Such a failure is not remembered, and does
    /// not lead to a weaker choice.
    pub fn detect() -> Result<System> {
        static CHOSEN: OnceBox<System> = OnceBox::new();
        if let Some(system) = CHOSEN.get() {
            return Ok(system.clone());
        }
        let system = System::choose(forced())?;
        Ok(CHOSEN.get_or_init(|| Box::new(system)).clone())
    }

    fn choose(forced: Option<OsString>) -> Result<System> {
        match forced {
            None => match Probe::once()?.obstacle() {
                None => System::pidfd(),
                Some(_) => Ok(System::pid_legacy()),
            },
            Some(name) if name == "pidfd" => System::pidfd(),
            Some(name) if name == "pid-legacy" => Ok(System::pid_legacy()),
            Some(given) => Err(Error::UnknownBackend { given }),
        }
    }

    /// The backend with pidfds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the call that does not work here; [`Error::System`] as for [`detect`](System::detect).
    pub fn pidfd() -> Result<System> {
        System::pidfd_through(Probe::once()?.door)
    }

    /// The backend with pidfds, which makes children through this door only: for tests and measurements.
    ///
    /// # Errors
    /// As [`pidfd`](System::pidfd). If this door does not work here, the spawn fails.
    pub fn pidfd_through(door: Door) -> Result<System> {
        match Probe::once()?.obstacle() {
            None => Ok(System::with_backend(Arc::new(PidfdBackend::new(door)))),
            Some(check) => Err(Error::Unavailable {
                backend: "pidfd",
                why: format!("{} (Linux {}): {}", check.name, check.since, check.answer),
                errno: check.answer.errno(),
            }),
        }
    }

    /// The backend with PIDs, which works everywhere.
    pub fn pid_legacy() -> System {
        // If the probe is refused for the moment, the door that needs no sharing of memory is the one that cannot be wrong.
        System::pid_legacy_through(Probe::once().map_or(Door::Fork, |probe| probe.door))
    }

    /// The backend with PIDs, which makes children through this door only: for tests and measurements.
    pub fn pid_legacy_through(door: Door) -> System {
        let probe = Probe::once();
        let waitid_works = probe.as_ref().map_or(true, |probe| probe.waitid.works());
        let wait_call = if waitid_works { WaitCall::Waitid } else { WaitCall::Wait4 };
        // In doubt the call that is always there: the other one may be fatal in a sandbox.
        let signal_works = probe.is_ok_and(|probe| probe.proc_signal.works());
        let signal_call = if signal_works { SignalCall::PidfdSendSignal } else { SignalCall::Kill };
        System::with_backend(Arc::new(PidLegacyBackend::new(door, wait_call, signal_call)))
    }

    /// A backend of your own, or a simulated one.
    pub fn with_backend(backend: Arc<dyn ProcessBackend>) -> System {
        #[cfg(feature = "tracing")]
        let backend = crate::trace::Traced::around(backend);
        System::of(backend)
    }

    /// Of a backend as one of our own handles has it.
    pub(crate) fn of(backend: Arc<dyn ProcessBackend>) -> System {
        System { backend, by_number: None }
    }

    /// With a backend for children that are held by their numbers.
    pub(crate) fn or_by_number(self, backend: Arc<dyn ProcessBackend>) -> System {
        System { by_number: Some(backend), ..self }
    }

    /// What holds children when no descriptor is left.
    pub(crate) fn by_number(&self) -> System {
        self.by_number.clone().map_or_else(System::pid_legacy, System::of)
    }

    /// The system that was entered on this thread, otherwise [`detect`](System::detect). In a run of an exploration (feature `mock`) it is the
    /// simulation of that run, even if another one was entered before the run began.
    ///
    /// # Errors
    /// As [`detect`](System::detect).
    pub fn current() -> Result<System> {
        let entered = ENTERED.with(|entered| entered.borrow().last().cloned());
        // A run enters its simulation too, as far as the locks know.
        #[cfg(feature = "mock")]
        let entered = match entered {
            Some((id, _)) if sync::last_entered() == Some(id) => entered,
            entered => {
                let run = steadfast_mock::Kernel::of_this_thread();
                run.map(|kernel| (0, System::with_backend(kernel.backend()))).or(entered)
            }
        };
        entered.map_or_else(System::detect, |(_, system)| Ok(system))
    }

    /// Makes it the current system of this thread until the guard is dropped, so that code which calls `Command::new(..).spawn()` can be tested
    /// unchanged. Systems can be nested; the last one entered is current.
    ///
    /// ```
    /// use steadfast::{Command, System};
    /// {
    ///     let _here = System::pid_legacy().enter();
    ///     assert_eq!(System::current()?.backend_name(), "pid-legacy");
    ///     assert!(Command::new("true").status()?.success());
    /// }
    /// assert_eq!(System::current()?.backend_name(), System::detect()?.backend_name());
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    #[must_use = "it is current until the guard is dropped, which is now"]
    pub fn enter(&self) -> Entered {
        let locks = sync::enter(self.backend.clock().scheduler());
        ENTERED.with(|entered| entered.borrow_mut().push((locks.id(), self.clone())));
        Entered { locks }
    }

    /// The backend's name: `pidfd`, `pid-legacy`, `mock`, or what a third party calls its own.
    pub fn backend_name(&self) -> &'static str {
        self.info().name
    }

    /// What the backend can do.
    pub fn info(&self) -> BackendInfo {
        self.backend.info()
    }

    /// The backend itself, for a wrapper or a conformance run.
    pub fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.backend
    }

    /// The time on which timeouts are measured; virtual in a simulation.
    pub fn now(&self) -> Instant {
        self.backend.clock().now()
    }

    /// Sleeps; in a simulation, for virtual time.
    pub fn sleep(&self, time: Duration) {
        // Later than the clock can say: a year is as good.
        let deadline = self.now().checked_add(time);
        let year = Duration::from_secs(365 * 24 * 3600);
        self.backend.clock().sleep_until(deadline.unwrap_or_else(|| self.now() + year));
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "System({})", self.backend_name())
    }
}

/// The backend that the environment asks for. Whoever started this program may have fewer rights than it has (`AT_SECURE`: set-user-ID,
/// file capabilities), and is not to choose the weaker one.
fn forced() -> Option<OsString> {
    if is_secure_execution() { None } else { std::env::var_os("STEADFAST_BACKEND") }
}

/// While it lives, a [`System`] is current on this thread.
#[derive(Debug)]
#[must_use = "the system is current until this is dropped"]
pub struct Entered {
    /// What the locks go by; and it belongs to the thread that entered.
    locks: sync::Entered,
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.with(|entered| {
            let mut entered = entered.borrow_mut();
            // By its number, for guards may be dropped in any order.
            entered.retain(|(id, _)| *id != self.locks.id());
            if entered.is_empty() {
                *entered = Vec::new();
            }
        });
    }
}
