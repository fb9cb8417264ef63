//! [`Kernel`]: one simulation, shared by all who hold it.

use crate::order::chance::{Chance, Mode};
use crate::order::threads::Threads;
use crate::order::world::World;
use crate::play::setup::Setup;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A simulated kernel; clones are the same one.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) setup: Arc<Setup>,
    world: Mutex<World>,
    /// Something has happened that a blocked thread may wait for.
    pub(crate) changed: Condvar,
    /// What virtual time 0 is as an [`Instant`]; only distances from it mean anything.
    pub(crate) epoch: Instant,
    /// The threads of the operating system that the test has started.
    pub(crate) started: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Kernel {
    pub(crate) fn boot(setup: &Arc<Setup>, seed: u64, mode: Mode, threads: Threads) -> Kernel {
        #[allow(clippy::disallowed_methods, reason = "an arbitrary origin: only virtual distances from it are seen")]
        let epoch = Instant::now();
        let world = Mutex::new(World::boot(setup, Chance::new(seed, mode), threads));
        let (changed, started) = (Condvar::new(), Mutex::default());
        Kernel { shared: Arc::new(Shared { setup: Arc::clone(setup), world, changed, epoch, started }) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
