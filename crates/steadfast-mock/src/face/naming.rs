//! Naming a simulated process, and coming back to it by its name.

use super::backend::{Holds, MockBackend, MockProcess};
use super::shared::Kernel;
use crate::model::host::Call;
use crate::model::ids::{Id, Slot};
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::world::World;
use steadfast_core::{BootId, Errno, Error, Evidence, Identity, Reopened, Result, StartTime};

/// The simulation's one PID namespace; on Linux, the first one's number.
const NAMESPACE: u64 = 4_026_531_836;

/// What naming a process once comes to.
enum Named {
    So(Identity),
    /// Its start time is no evidence before this moment.
    NotBefore(u64),
}

impl Kernel {
    /// Random on a real machine; here the same for the same seed, and another one for each boot.
    fn boot_id(&self, world: &World) -> BootId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.shared.setup.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&world.boot.number.to_be_bytes());
        BootId::from_bytes(bytes)
    }
}

impl MockProcess {
    pub(super) fn name(&self) -> Result<Identity> {
        loop {
            let named = self.kernel.call(|world| {
                world.enter(Call::Name, self.who.name)?;
                // A number's file in /proc would know.
                let slot = self.target(world).filter(|slot| world.table.id(*slot) == self.id).ok_or(Errno::SRCH)?;
                let named = self.name_now(world, slot);
                if let Named::So(_) = named {
                    world.note_call(What::Names(world.who(slot)));
                }
                Ok(named)
            });
            match named.map_err(|errno| Error::on_process("identity", self.pid, errno))? {
                Named::So(identity) => return Ok(identity),
                Named::NotBefore(then) => drop(self.kernel.block(For::Time, Some(then), |_| None::<()>)),
            }
        }
    }

    fn name_now(&self, world: &World, slot: Slot) -> Named {
        let started = world.boot.ticks(world.table[slot].started);
        let start_time = StartTime::seen(started, world.boot.ticks(world.now));
        let evidence = match self.holds {
            Holds::Pidfd => Evidence::Both(self.id.number(), start_time),
            Holds::Number if start_time.is_exact() => Evidence::StartTime(start_time),
            Holds::Number => return Named::NotBefore(world.boot.time_of(started + 1)),
        };
        Named::So(Identity::new(self.kernel.boot_id(world), NAMESPACE, self.pid, evidence))
    }
}

impl MockBackend {
    pub(super) fn named(&self, identity: &Identity) -> Reopened<MockProcess> {
        let reopened = self.kernel.call(|world| {
            if let Some(elsewhere) = identity.elsewhere(self.kernel.boot_id(world), NAMESPACE) {
                return Ok(elsewhere);
            }
            let pid = identity.pid().as_raw();
            let Some(slot) = world.table.by_pid(pid) else { return Ok(Reopened::Gone) };
            world.enter(Call::Find, world.table[slot].name)?;
            // What happened just before the call may have changed whose it is.
            let Some(slot) = world.table.by_pid(pid) else { return Ok(Reopened::Gone) };
            match self.is_same(world, slot, identity) {
                Some(true) => self.take_hold(world, slot),
                Some(false) => Ok(Reopened::Gone),
                None => Ok(identity.unknown("what it was named by does not tell it from the process that has its PID now")),
            }
        });
        match reopened {
            Ok(reopened) => reopened.map(|(id, who, start)| self.process(identity.pid(), id, who, start)),
            Err(errno) => Reopened::Unknown(Error::on_process("find", identity.pid(), errno)),
        }
    }

    fn is_same(&self, world: &World, slot: Slot, identity: &Identity) -> Option<bool> {
        let number = identity.evidence().pidfs().filter(|_| self.holds == Holds::Pidfd);
        if let Some(number) = number {
            return Some(number == world.table.id(slot).number());
        }
        let start_time = StartTime::seen(world.boot.ticks(world.table[slot].started), world.boot.ticks(world.now));
        identity.evidence().start_time()?.is_same(start_time)
    }

    fn take_hold(&self, world: &mut World, slot: Slot) -> Result<Reopened<(Id, crate::model::seen::Who, Option<u64>)>, Errno> {
        let who = world.who(slot);
        let id = self.open(world, slot)?;
        world.note_call(What::Finds(who));
        let start = self.start_of(world, slot);
        Ok(Reopened::Same { process: (id, who, start), has_exited: world.exit(slot).is_some() })
    }
}
