//! What the program under test hears of the stops and continuations of its children.

use super::trace::What;
use super::world::World;
use crate::model::ids::{CALLER, Id, Slot};
use crate::model::process::Report;
use steadfast_core::{Change, Errno, OnExit};

impl World {
    /// How the child has changed, which is taken; its exit is left, and comes before a change that nobody has taken.
    pub(crate) fn take_change(&mut self, slot: Slot) -> Result<Option<Change>, Errno> {
        let change = self.change_of(slot)?;
        if let Some(change) = change {
            let who = self.who(slot);
            match change {
                Change::Exited(_) => self.note_call(What::Sees(who, self.table[slot].status)),
                Change::Stopped(signal) => self.note_call(What::SeesStop(who, signal)),
                Change::Continued => self.note_call(What::SeesContinue(who)),
            }
            self.table[slot].report = Report::None;
        }
        Ok(change)
    }

    /// Calls when there is something to take.
    pub(crate) fn tell_change(&mut self, id: Id, tell: OnExit) {
        let has_news = match self.table.by_id(id) {
            Some(slot) => !matches!(self.change_of(slot), Ok(None)),
            None => true,
        };
        self.host.notices.add_change(id, has_news, tell);
    }

    /// What a `waitpid(-1, WNOHANG | WUNTRACED | WCONTINUED)` elsewhere in the program takes, if nobody has exited: whose it is.
    pub(crate) fn take_any_change(&mut self) -> Option<(i32, Change)> {
        let mut children: Vec<Slot> = self.table.children(CALLER).collect();
        children.reverse();
        let slot = children.into_iter().find(|slot| self.table[*slot].report != Report::None && self.exit(*slot).is_none())?;
        let change = self.change_of(slot).ok().flatten()?;
        self.note_of_test(What::StealsChange(self.who(slot)));
        self.table[slot].report = Report::None;
        Some((self.table[slot].pid, change))
    }

    fn change_of(&self, slot: Slot) -> Result<Option<Change>, Errno> {
        if let Some(exit) = self.exit_of(slot)? {
            return Ok(Some(Change::Exited(exit.status)));
        }
        Ok(match self.table[slot].report {
            Report::None => None,
            Report::Stopped(signal) => Some(Change::Stopped(signal)),
            Report::Continued => Some(Change::Continued),
        })
    }
}
