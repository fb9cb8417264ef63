//! [`Table`]: all processes, their numbers, and who is whose child.

use super::ids::{INIT, Id, NONE, Slot};
use super::process::Process;
use std::ops::{Index, IndexMut};

/// Linux keeps the numbers below for what is started at boot.
const RESERVED_PIDS: i32 = 300;

/// What a number is in use for. It is free when it is nothing.
#[derive(Clone, Copy)]
struct Number {
    owner: Slot,
    /// How many processes are in the group, and in the session, of this number.
    groups: u32,
    sessions: u32,
}

const FREE: Number = Number { owner: NONE, groups: 0, sessions: 0 };

pub(crate) struct Table {
    processes: Vec<Process>,
    free: Vec<Slot>,
    numbers: Vec<Number>,
    pub(crate) last_pid: i32,
    pid_max: i32,
    live: u32,
    /// Groups whose numbers are kept for jobs, and their sessions.
    kept: Vec<(i32, i32)>,
    /// How many are stopped: while none is, nobody need ask for orphaned groups.
    pub(crate) stopped: u32,
}

impl Table {
    /// With init and the program under test.
    pub(crate) fn new(pid_max: i32) -> Table {
        let mut table = Table {
            processes: Vec::new(),
            free: Vec::new(),
            numbers: Vec::new(),
            last_pid: 1,
            pid_max,
            live: 0,
            kept: Vec::new(),
            stopped: 0,
        };
        for (pid, parent) in [(1, NONE), (0, NONE)] {
            table.processes.push(Process::new(pid, parent, u32::MAX, pid, pid));
            *table.number(pid) = Number { owner: NONE, groups: 1, sessions: 1 };
        }
        table.number(1).owner = INIT;
        table
    }

    fn number(&mut self, pid: i32) -> &mut Number {
        let index = pid as usize;
        if index >= self.numbers.len() {
            self.numbers.resize(index + 1, FREE);
        }
        &mut self.numbers[index]
    }

    fn use_of(&self, pid: i32) -> Number {
        self.numbers.get(pid as usize).copied().unwrap_or(FREE)
    }

    /// The next free number after the last one, and after the end from the beginning on (alloc_pid in the kernel): from 300, if the boot is
    /// over by then and there are as many.
    pub(crate) fn next_pid(&self) -> Option<i32> {
        let is_booted = self.last_pid >= RESERVED_PIDS && self.pid_max > RESERVED_PIDS;
        let low = if is_booted { RESERVED_PIDS } else { 2 };
        let after = self.last_pid.saturating_add(1).max(2)..self.pid_max;
        let is_free = |pid: &i32| {
            let Number { owner, groups, sessions } = self.use_of(*pid);
            owner == NONE && groups == 0 && sessions == 0
        };
        after.chain(low..self.pid_max).find(is_free)
    }

    /// Puts a process into the table, as the child of the parent that it names.
    pub(crate) fn insert(&mut self, mut process: Process) -> Slot {
        let (pid, parent) = (process.pid, process.parent);
        self.live += 1;
        self.last_pid = pid;
        let (group, session) = (process.group, process.session);
        let slot = match self.free.pop() {
            Some(slot) => {
                process.generation = self.processes[slot as usize].generation.wrapping_add(1);
                self.processes[slot as usize] = process;
                slot
            }
            None => {
                self.processes.push(process);
                (self.processes.len() - 1) as Slot
            }
        };
        self.number(pid).owner = slot;
        self.number(group).groups += 1;
        self.number(session).sessions += 1;
        self.link(slot, parent);
        slot
    }

    /// Takes it out: its number is free, unless a group or a session goes by it.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let Process { pid, group, session, .. } = self[slot];
        self.number(pid).owner = NONE;
        self.number(group).groups -= 1;
        self.number(session).sessions -= 1;
        self[slot].vanish();
        self.live -= 1;
        self.free.push(slot);
    }

    /// How many there are beside init and the program under test.
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    /// Whoever has the number now.
    pub(crate) fn by_pid(&self, pid: i32) -> Option<Slot> {
        let owner = if pid > 1 { self.use_of(pid).owner } else { NONE };
        (owner != NONE).then_some(owner)
    }

    /// The process itself, if it is still there.
    pub(crate) fn by_id(&self, id: Id) -> Option<Slot> {
        let process = self.processes.get(id.slot as usize)?;
        (process.generation == id.generation && process.exists()).then_some(id.slot)
    }

    pub(crate) fn id(&self, slot: Slot) -> Id {
        Id { slot, generation: self[slot].generation }
    }

    /// Whether there is a group of this number.
    pub(crate) fn has_group(&self, group: i32) -> bool {
        self.use_of(group).groups > 0
    }

    /// Takes a number for a group without a process that runs: a zombie leads it.
    pub(crate) fn keep_group(&mut self, group: i32, session: i32) {
        self.last_pid = group;
        self.live += 1;
        self.number(group).groups += 1;
        self.kept.push((group, session));
    }

    pub(crate) fn release_group(&mut self, group: i32) {
        self.live -= 1;
        self.number(group).groups -= 1;
        self.kept.retain(|(kept, _)| *kept != group);
    }

    pub(crate) fn is_kept(&self, group: i32) -> bool {
        self.kept.iter().any(|(kept, _)| *kept == group)
    }

    /// The session that a group belongs to; `None` if there is no such group.
    pub(crate) fn session_of(&self, group: i32) -> Option<i32> {
        if let Some((_, session)) = self.kept.iter().find(|(kept, _)| *kept == group) {
            return Some(*session);
        }
        let member = self.processes.iter().find(|process| process.exists() && process.group == group);
        member.map(|process| process.session)
    }

    pub(crate) fn set_group(&mut self, slot: Slot, group: i32) {
        let before = std::mem::replace(&mut self[slot].group, group);
        self.number(before).groups -= 1;
        self.number(group).groups += 1;
    }

    pub(crate) fn set_session(&mut self, slot: Slot, session: i32) {
        let before = std::mem::replace(&mut self[slot].session, session);
        self.number(before).sessions -= 1;
        self.number(session).sessions += 1;
    }

    /// The slots of all that exist beside init and the program under test, in the order of their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = Slot> {
        self.numbers.iter().skip(2).map(|number| number.owner).filter(|owner| *owner != NONE)
    }

    pub(crate) fn group(&self, group: i32) -> Vec<Slot> {
        self.all().filter(|slot| self[*slot].group == group).collect()
    }

    /// Its children, the youngest first.
    pub(crate) fn children(&self, parent: Slot) -> impl Iterator<Item = Slot> {
        let existing = |slot: Slot| (slot != NONE).then_some(slot);
        std::iter::successors(existing(self[parent].first_child), move |slot| existing(self[*slot].next_sibling))
    }

    pub(crate) fn set_parent(&mut self, slot: Slot, parent: Slot) {
        self.unlink(slot);
        self[slot].parent = parent;
        self.link(slot, parent);
    }

    fn link(&mut self, slot: Slot, parent: Slot) {
        let first = std::mem::replace(&mut self[parent].first_child, slot);
        self[slot].next_sibling = first;
        self[slot].previous_sibling = NONE;
        if first != NONE {
            self[first].previous_sibling = slot;
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Process { parent, previous_sibling, next_sibling, .. } = self[slot];
        match previous_sibling {
            NONE => self[parent].first_child = next_sibling,
            previous => self[previous].next_sibling = next_sibling,
        }
        if next_sibling != NONE {
            self[next_sibling].previous_sibling = previous_sibling;
        }
    }
}

impl Index<Slot> for Table {
    type Output = Process;
    fn index(&self, slot: Slot) -> &Process {
        &self.processes[slot as usize]
    }
}

impl IndexMut<Slot> for Table {
    fn index_mut(&mut self, slot: Slot) -> &mut Process {
        &mut self.processes[slot as usize]
    }
}
