//! How a process ends: zombies and orphans, and who hears of it (credentials(7), signal(7)).

use super::bits::bit;
use super::host::{Call, Host, Remains};
use super::ids::{CALLER, INIT, Slot};
use super::machine::Machine;
use super::process::{Life, Process};
use super::seen::{Actor, Seen};
use steadfast_core::Signal;

impl<H: Host> Machine<H> {
    /// Begins the end of a process, with this wait status.
    pub(crate) fn end(&mut self, slot: Slot, status: i32) {
        let struck = self.host.fails(Call::Exit, self.table[slot].name);
        let hangs = struck.map(|struck| struck.delay).filter(|delay| !delay.is_zero());
        self.table[slot].pause(self.now);
        self.table[slot].status = status;
        match hangs {
            Some(delay) => {
                let until = self.now.saturating_add(delay.as_nanos() as u64);
                self.table[slot].hang(until);
                self.note_of(slot, Seen::HangsInExit);
                self.schedule(slot, until);
            }
            None => self.finish(slot),
        }
    }

    /// The end: streams are closed, children get another parent, and the parent hears of it.
    pub(crate) fn finish(&mut self, slot: Slot) {
        let who = self.who(slot);
        let Process { status, run, .. } = self.table[slot];
        self.note(Actor::Process(who), Seen::Ends(status));
        self.host.has_ended(run, status);
        for index in 0..3 {
            self.close_stream(slot, index);
        }
        self.part_from_children(slot);
        let Process { group, parent, .. } = self.table[slot];
        self.wake_orphans(slot, group, parent, Some(slot));
        self.table[slot].life = Life::Zombie;
        let Process { job, user_time, .. } = self.table[slot];
        self.free(slot);
        self.leaves(job, group, user_time);
        self.host.has_exited(self.table.id(slot), self.table[slot].parent == CALLER);
        self.tell_parent(slot);
    }

    /// All processes end at once, whatever they wait for, and the next boot gives the numbers from the beginning.
    pub(crate) fn reboot(&mut self) {
        self.note(Actor::Kernel, Seen::Reboots);
        self.part_from_children(CALLER);
        while let Some(slot) = self.any_alive() {
            self.table[slot].pause(self.now);
            self.table[slot].status = Signal::KILL.as_raw();
            self.finish(slot);
        }
        self.boot = self.boot.next(self.now);
        self.table.last_pid = 1;
    }

    fn any_alive(&self) -> Option<Slot> {
        let is_alive = |slot: &Slot| !matches!(self.table[*slot].life, Life::Zombie | Life::Gone);
        self.table.all().find(is_alive)
    }

    /// Its children become those of the nearest subreaper above it, or of init.
    pub(super) fn part_from_children(&mut self, slot: Slot) {
        let children: Vec<Slot> = self.table.children(slot).collect();
        if children.is_empty() {
            return;
        }
        // What is above the program under test is not modelled.
        let mut reaper = if slot == CALLER { INIT } else { self.table[slot].parent };
        while reaper != INIT {
            let candidate = &self.table[reaper];
            if candidate.is_subreaper && !matches!(candidate.life, Life::Zombie | Life::Gone) {
                break;
            }
            reaper = if reaper == CALLER { INIT } else { candidate.parent };
        }
        for child in children.into_iter().rev() {
            self.table.set_parent(child, reaper);
            self.note_of(reaper, Seen::Adopts(self.who(child)));
            if let Some(signal) = self.table[child].death_signal {
                self.send(child, signal);
            }
            let group = self.table[child].group;
            if self.table[child].life == Life::Zombie {
                self.tell_parent(child);
            }
            self.wake_orphans(child, group, slot, None);
        }
    }

    /// The parent gets `SIGCHLD`, unless it ignores it: then, and for those who always wait, the zombie is gone.
    fn tell_parent(&mut self, slot: Slot) {
        let parent = self.table[slot].parent;
        let unseen = match parent {
            INIT => Some("init waits for all its children"),
            _ if self.table[slot].is_abandoned => Some("its handle was dropped, and somebody waits in the background"),
            _ if self.table[parent].ignored & bit(Signal::CHLD) != 0 => Some("its parent ignores SIGCHLD"),
            _ => None,
        };
        if let Some(reason) = unseen {
            self.note_of(slot, Seen::GoesUnseen(reason));
            self.release(slot);
        } else {
            self.send(parent, Signal::CHLD);
        }
        if parent > CALLER && self.table[parent].life == Life::Running && self.table[parent].waits_for_child() {
            self.schedule(parent, self.now);
        }
    }

    /// Whether nobody in the group has a parent outside of it and in the same session, who could do job control.
    pub(super) fn is_orphaned(&self, group: i32, without: Option<Slot>) -> bool {
        self.table.group(group).into_iter().all(|member| {
            let process = &self.table[member];
            let parent = &self.table[process.parent];
            let counts = Some(member) != without && process.life != Life::Zombie && process.parent != INIT;
            !counts || parent.group == group || parent.session != process.session
        })
    }

    /// If the group has lost the last who could continue it, and has stopped members, they get `SIGHUP` and `SIGCONT`.
    fn wake_orphans(&mut self, slot: Slot, group: i32, parent: Slot, without: Option<Slot>) {
        if self.table.stopped == 0 {
            return;
        }
        let (parent, process) = (&self.table[parent], &self.table[slot]);
        if parent.group == group || parent.session != process.session || !self.is_orphaned(group, without) {
            return;
        }
        let members = self.table.group(group);
        if members.iter().any(|member| self.table[*member].life == Life::Stopped) {
            for signal in [Signal::HUP, Signal::CONT] {
                for member in &members {
                    self.note(Actor::Kernel, Seen::Signals(signal, self.who(*member)));
                    self.send(*member, signal);
                }
            }
        }
    }

    /// Reaps a zombie for its parent, which has waited for it: what it used counts as the parent's children's.
    pub(crate) fn reap_counted(&mut self, slot: Slot) {
        let Process { parent, user_time, children_time, .. } = self.table[slot];
        self.table[parent].children_time += user_time + children_time;
        self.release(slot);
    }

    /// The zombie is gone, and its number is free.
    fn release(&mut self, slot: Slot) {
        let Process { pid, status, handles, .. } = self.table[slot];
        self.host.is_gone(self.table.id(slot), Remains { pid, status, handles });
        self.table.remove(slot);
    }
}
