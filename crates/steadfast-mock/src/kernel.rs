//! [`Kernel`]: what a test says to the simulation and asks of it.

use crate::backend::{Identity, MockBackend};
use crate::fault::Fault;
use crate::script::Script;
use crate::world::{Parent, Program, World};
use std::ffi::OsString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::{Attributes, Error, Pid, Plan, ProcessBackend, Result};

/// A simulated kernel; clones are the same one.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    world: Mutex<World>,
    /// Something has happened that a blocked thread may wait for.
    changed: Condvar,
    /// What virtual time 0 is as an [`Instant`]; only distances from it mean anything.
    pub(crate) epoch: Instant,
}

/// What a program given as a closure learns about the run that it is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// How many runs of this program there were before.
    pub number: u64,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its environment, if it was given one of its own.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// What else it was to be: user, limits and the like, which the simulation notes and does not act upon.
    pub attributes: Attributes,
}

/// Sets a [`Kernel`] up.
pub struct Builder {
    world: World,
}

impl Kernel {
    /// Begins: seed 0, the usual 32,768 PIDs, no programs.
    pub fn builder() -> Builder {
        Builder { world: World::new() }
    }

    /// This kernel with pidfds: a handle means its process for ever.
    pub fn backend(&self) -> Arc<dyn ProcessBackend> {
        Arc::new(MockBackend::new(self.clone(), Identity::Pidfd))
    }

    /// The same kernel and the same processes for a program without pidfds: a handle is a number, and where the program lets
    /// somebody else reap its children, the number may come to mean a stranger. A signal that reaches one ends the test.
    pub fn backend_pid_legacy(&self) -> Arc<dyn ProcessBackend> {
        Arc::new(MockBackend::new(self.clone(), Identity::Number))
    }

    /// Virtual time since the kernel was built.
    pub fn now(&self) -> Duration {
        self.lock().now()
    }

    /// What happened so far, a line each, with the virtual time: the same for the same seed and the same calls.
    pub fn trace(&self) -> String {
        self.lock().trace().to_owned()
    }

    /// Starts a process that is not the caller's child: init's, which reaps it as soon as it exits.
    ///
    /// # Errors
    /// As a spawn: no such program, no free PID.
    pub fn spawn_foreign(&self, program: &str) -> Result<Pid> {
        let plan = Plan::builder(program).build()?;
        let mut world = self.lock();
        let spawned =
            world.spawn(&plan, Parent::Init).map_err(|(stage, source)| Error::Spawn { program: program.into(), stage, source });
        drop(world);
        self.shared.changed.notify_all();
        spawned.map(|child| child.pid)
    }

    /// Sets the PID after which the next one is searched, as writing to `/proc/sys/kernel/ns_last_pid` does.
    pub fn set_last_pid(&self, pid: i32) {
        self.lock().set_last_pid(pid);
    }

    /// What a `waitpid(-1, WNOHANG)` elsewhere in the program does: reaps one exited child, if there is one.
    pub fn reap_any(&self) -> Option<Pid> {
        let reaped = self.lock().reap_any();
        self.shared.changed.notify_all();
        reaped
    }

    /// Whether the caller ignores `SIGCHLD`, so that its children are reaped as they exit (sigaction(2)).
    pub fn ignore_sigchld(&self, ignore: bool) {
        self.lock().ignore_sigchld(ignore);
    }

    /// The processes that exist, zombies included, by PID.
    pub fn processes(&self) -> Vec<Pid> {
        self.lock().pids()
    }

    /// The zombies among them.
    pub fn zombies(&self) -> Vec<Pid> {
        self.lock().zombies()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call on the world, and wakes whoever waits for what it changed.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut World) -> T) -> T {
        let answer = call(&mut self.lock());
        self.shared.changed.notify_all();
        answer
    }

    /// Blocks the calling thread until `look` finds what it waits for; lets events happen and time pass meanwhile. `None`: the
    /// deadline passed first.
    pub(crate) fn block<T>(&self, deadline: Option<Duration>, mut look: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        let mut world = self.lock();
        loop {
            if let Some(found) = look(&mut world) {
                return Some(found);
            }
            match (world.next_event(), deadline) {
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                    world.happen();
                    self.shared.changed.notify_all();
                }
                (_, Some(deadline)) => {
                    world.pass_until(deadline);
                    self.shared.changed.notify_all();
                    return None;
                }
                // Nothing will happen unless another thread does it.
                (_, None) => {
                    world = self.shared.changed.wait(world).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Builder {
    /// What the simulation leaves to chance, it takes from this number.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.world.set_seed(seed);
        self
    }

    /// The number of PIDs, `kernel.pid_max`: PIDs run from 2 to one below. A small one is recycled soon.
    ///
    /// # Panics
    /// If it is below 4 or above 2^22, which no kernel allows either.
    pub fn pid_max(mut self, pid_max: i32) -> Builder {
        assert!((4..=1 << 22).contains(&pid_max), "pid_max({pid_max}): give a number between 4 and 4194304");
        self.world.set_pid_max(pid_max);
        self
    }

    /// Makes a program that does the same at every run.
    pub fn program(self, name: impl Into<OsString>, script: Script) -> Builder {
        self.program_with(name, move |_| script.clone())
    }

    /// Makes a program that decides at each run what it does.
    pub fn program_with(mut self, name: impl Into<OsString>, script: impl Fn(&Run) -> Script + Send + Sync + 'static) -> Builder {
        self.world.install(name.into(), Program::new(script));
        self
    }

    /// Makes calls fail.
    pub fn fault(mut self, fault: Fault) -> Builder {
        self.world.add_fault(fault);
        self
    }

    /// Boots it.
    pub fn build(self) -> Kernel {
        #[allow(clippy::disallowed_methods, reason = "an arbitrary origin: only virtual distances from it are seen")]
        let epoch = Instant::now();
        Kernel { shared: Arc::new(Shared { world: Mutex::new(self.world), changed: Condvar::new(), epoch }) }
    }
}
