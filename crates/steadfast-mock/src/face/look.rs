//! A look at a simulated process, as a backend has it.

use super::shared::Kernel;
use crate::model::ids::{CALLER, INIT, Id, Slot};
use crate::model::process::{Life, Wait};
use crate::order::world::World;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use steadfast_core::{BackendLook, Errno, Error, Facts, Pid, Result, RunState};

/// Of this one, for ever, whatever its number comes to mean.
pub(super) struct MockLook {
    pub(super) kernel: Kernel,
    pub(super) id: Id,
    pub(super) pid: Pid,
}

impl MockLook {
    fn see<T>(&self, look: impl FnOnce(&mut World, Slot) -> T) -> Result<T> {
        let seen = self.kernel.call(|world| world.table.by_id(self.id).map(|slot| look(world, slot)));
        seen.ok_or_else(|| Error::on_process("look at it", self.pid, Errno::SRCH))
    }
}

impl BackendLook for MockLook {
    fn facts(&self) -> Result<Facts> {
        self.see(|world, slot| {
            let name = world.name(world.table[slot].name).to_owned();
            let process = &world.table[slot];
            let state = match (process.life, &process.frame.waiting) {
                (Life::Zombie | Life::Gone, _) => RunState::Zombie,
                (Life::Stopped, _) => RunState::Stopped,
                (Life::Exiting, _) => RunState::Uninterruptible,
                (Life::Running, Wait::Compute(_) | Wait::ForNothing | Wait::ToAbort) => RunState::Running,
                (Life::Running, _) => RunState::Sleeping,
            };
            let memory = world.jobs.memory_of(slot);
            Facts {
                name,
                state,
                // The program under test has no number.
                parent: Pid::new(world.table[process.parent].pid).ok(),
                group: process.group,
                session: process.session,
                threads: 1,
                nice: 0,
                started: Duration::from_nanos(process.started),
                user_time: Duration::from_nanos(world.cpu_time(slot)),
                system_time: Duration::ZERO,
                address_space: memory,
                resident: memory,
                image: Some(process.run),
            }
        })
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        self.see(|world, slot| {
            let process = &world.table[slot];
            if matches!(process.life, Life::Zombie | Life::Gone) {
                return Vec::new();
            }
            let name = world.name(process.name).to_owned();
            std::iter::once(name).chain(world.host.log.args(process.run).iter().cloned()).collect()
        })
    }

    fn children(&self) -> Result<Vec<Pid>> {
        let numbers: Vec<i32> =
            self.see(|world, slot| world.table.children(slot).map(|child| world.table[child].pid).collect())?;
        numbers.into_iter().map(Pid::new).collect()
    }

    fn directory(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// All there are but process 1, whom nobody has started.
pub(super) fn all_pids(kernel: &Kernel) -> Result<Vec<Pid>> {
    let mut numbers: Vec<i32> = kernel.call(|world| {
        let others = world.table.all().filter(|slot| !matches!(*slot, INIT | CALLER));
        others.map(|slot| world.table[slot].pid).collect()
    });
    numbers.sort_unstable();
    numbers.into_iter().map(Pid::new).collect()
}
