//! Who is to be told of an exit, and statuses that outlive their processes.

use crate::table::{CALLER, Id, Slot};
use crate::turn::For;
use crate::world::World;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use steadfast_core::{Exit, OnExit, Pid, Until};

#[derive(Default)]
pub(crate) struct Notices {
    waiting: HashMap<Id, Vec<(Until, OnExit)>>,
    /// Those that are due. They are called when the lock of the world is not held, for they come back to the scheduler.
    due: Vec<OnExit>,
    /// Of processes that are gone, and that somebody has a pidfd of: how they ended, and how many pidfds there are.
    lost: HashMap<Id, Lost>,
}

struct Lost {
    exit: Exit,
    handles: u32,
}

impl Notices {
    pub(crate) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn take_due(&mut self) -> Vec<OnExit> {
        std::mem::take(&mut self.due)
    }

    /// Those who wait for one of these ends.
    fn fall_due(&mut self, id: Id, ends: &[Until]) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(waiting).into_iter().partition(|(end, _)| ends.contains(end));
        self.due.extend(due.into_iter().map(|(_, tell)| tell));
        *waiting = later;
        if waiting.is_empty() {
            self.waiting.remove(&id);
        }
    }
}

impl World {
    /// Calls when the process has come to this end.
    pub(crate) fn tell(&mut self, id: Id, end: Until, tell: OnExit) {
        let is_over = self.table.by_id(id).is_none_or(|slot| self.exit(slot).is_some() && self.ends_at_exit(slot).contains(&end));
        if is_over { self.notices.due.push(tell) } else { self.notices.waiting.entry(id).or_default().push((end, tell)) }
    }

    /// The ends that a zombie has come to: of a child of the program under test, both.
    fn ends_at_exit(&self, slot: Slot) -> &'static [Until] {
        if self.table[slot].parent == CALLER { &[Until::Exited, Until::Gone] } else { &[Until::Exited] }
    }

    /// It has become a zombie.
    pub(crate) fn notice_exit(&mut self, slot: Slot) {
        let id = self.table.id(slot);
        self.threads.wake(For::Process(id));
        self.notices.fall_due(id, self.ends_at_exit(slot));
    }

    /// It is about to be gone.
    pub(crate) fn notice_release(&mut self, slot: Slot) {
        let id = self.table.id(slot);
        self.threads.wake(For::Process(id));
        self.notices.fall_due(id, &[Until::Exited, Until::Gone]);
        let process = &self.table[slot];
        if let (true, Ok(pid)) = (self.setup().tells_lost_status && process.handles > 0, Pid::new(process.pid)) {
            let exit = Exit::new(pid, ExitStatus::from_raw(process.status));
            self.notices.lost.insert(id, Lost { exit, handles: process.handles });
        }
    }

    /// How a process ended that is gone, to whoever has a pidfd of it.
    pub(crate) fn lost_exit(&self, id: Id) -> Option<Exit> {
        self.notices.lost.get(&id).map(|lost| lost.exit)
    }

    pub(crate) fn open_handle(&mut self, id: Id) {
        self.open_files += 1;
        if let Some(slot) = self.table.by_id(id) {
            self.table[slot].handles += 1;
        }
    }

    pub(crate) fn close_handle(&mut self, id: Id) {
        self.open_files -= 1;
        if let Some(slot) = self.table.by_id(id) {
            self.table[slot].handles -= 1;
        } else if let Some(lost) = self.notices.lost.get_mut(&id) {
            lost.handles -= 1;
            if lost.handles == 0 {
                self.notices.lost.remove(&id);
            }
        }
    }
}
