//! [`MockStart`]: a process whose exec takes its time.

use super::shared::Kernel;
use crate::model::ids::Id;
use crate::model::seen::Who;
use crate::order::threads::For;
use crate::order::trace::What;
use std::time::Instant;
use steadfast_core::{BackendStart, OnExit, Pid, Result, Spawned};

/// One on its way to its program.
pub(crate) struct MockStart {
    pub(crate) kernel: Kernel,
    pub(crate) pid: Pid,
    pub(crate) id: Id,
    pub(crate) who: Who,
    /// Until it is known that it runs.
    pub(crate) spawned: Option<Spawned>,
}

impl BackendStart for MockStart {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>> {
        let deadline = deadline.map(|deadline| self.kernel.nanos(deadline));
        let has_started = self.kernel.block(For::Process(self.id), deadline, |world| world.has_started(self.id).then_some(()));
        if has_started.is_none() && deadline.is_some_and(|deadline| deadline > 0) {
            self.kernel.note_time_out(self.who);
        }
        Ok(has_started.and_then(|()| self.spawned.take()))
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        self.kernel.call(|world| world.tell_start(self.id, tell));
        Ok(())
    }
}

impl Drop for MockStart {
    fn drop(&mut self) {
        if self.spawned.is_some() {
            self.kernel.call(|world| {
                if let Some(slot) = world.table.by_id(self.id) {
                    world.give_up(slot);
                }
            });
        }
    }
}

impl Kernel {
    pub(crate) fn note_time_out(&self, who: Who) {
        self.lock().note_call(What::TimesOut(who));
    }
}
