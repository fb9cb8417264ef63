//! Waiting for stops and continuations of a simulated child.

use super::backend::MockProcess;
use crate::model::host::Call;
use crate::model::ids::Id;
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::world::World;
use steadfast_core::{Change, Errno, Result};

impl MockProcess {
    pub(super) fn change_now(&self) -> Result<Option<Change>> {
        self.kernel.call(|world| self.look_for_change(world)).map(|(_, change)| change).map_err(self.failed("waitid"))
    }

    pub(super) fn change(&self) -> Result<Change> {
        let failed = self.failed("waitid");
        // waitid(2) looks the number up once, when it is called: from then on it means that process.
        let looked = self.kernel.call(|world| {
            let (id, change) = self.look_for_change(world)?;
            if let (None, Some(slot)) = (change, world.table.by_id(id)) {
                world.note_call(What::Waits(world.who(slot)));
            }
            Ok((id, change))
        });
        let (id, change) = looked.map_err(&failed)?;
        if let Some(change) = change {
            return Ok(change);
        }
        let changed = self.kernel.block(For::Process(id), None, |world| match world.table.by_id(id) {
            Some(slot) => world.take_change(slot).transpose(),
            None => Some(self.lost_exit(world).map(|exit| Change::Exited(exit.status))),
        });
        // Nothing: the run is over, and nobody waits any more.
        changed.unwrap_or(Err(Errno::CHILD)).map_err(failed)
    }

    fn look_for_change(&self, world: &mut World) -> Result<(Id, Option<Change>), Errno> {
        world.enter(Call::Wait, self.who.name)?;
        match self.target(world) {
            Some(slot) => Ok((world.table.id(slot), world.take_change(slot)?)),
            None => Ok((self.id, Some(Change::Exited(self.lost_exit(world)?.status)))),
        }
    }
}
