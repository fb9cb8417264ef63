//! [`Machine`]: the state of the model, and its time.

use super::boot::Boot;
use super::host::Host;
use super::ids::{CALLER, INIT, Slot};
use super::jobs::Jobs;
use super::pipe::Pipes;
use super::process::{Life, Process};
use super::queue::{Event, Queue};
use super::seen::{Actor, Seen, Who};
use super::step::Code;
use super::table::Table;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use steadfast_core::{Exit, Pid, Rusage, Wall};

pub(crate) struct Machine<H> {
    /// Virtual nanoseconds since it was made.
    pub(crate) now: u64,
    pub(crate) table: Table,
    pub(crate) pipes: Pipes,
    pub(crate) jobs: Jobs,
    pub(crate) limits: Limits,
    /// Descriptors that the program under test has open: pidfds, and its ends of pipes.
    pub(crate) open_files: u32,
    pub(crate) boot: Boot,
    events: Queue,
    pub(crate) host: H,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pid_max: i32,
    pub(crate) pipe_capacity: usize,
    pub(crate) max_processes: u32,
    pub(crate) max_open_files: u32,
    pub(crate) core_dumps: bool,
    /// Whether this kernel lacks a wall, in the order of [`Wall::ALL`].
    pub(crate) lacks_walls: [bool; Wall::ALL.len()],
}

impl Limits {
    /// Of the walls that are asked for, those that this kernel does not have.
    pub(crate) fn lacking(&self, asked: impl Iterator<Item = Wall>) -> Vec<Wall> {
        let is_lacking = |wall: &Wall| Wall::ALL.iter().zip(self.lacks_walls).any(|(one, lacks)| lacks && one == wall);
        asked.filter(is_lacking).collect()
    }
}

impl<H: Host> Machine<H> {
    /// With process 1 and the program under test.
    pub(crate) fn new(limits: Limits, host: H) -> Machine<H> {
        let (table, pipes) = (Table::new(limits.pid_max), Pipes::new(limits.pipe_capacity));
        Machine {
            now: 0,
            table,
            pipes,
            jobs: Jobs::default(),
            limits,
            open_files: 0,
            boot: Boot::default(),
            events: Queue::new(),
            host,
        }
    }

    pub(crate) fn note(&mut self, actor: Actor, seen: Seen) {
        self.host.see(self.now, actor, seen);
    }

    /// What a simulated process does.
    pub(crate) fn note_of(&mut self, slot: Slot, seen: Seen) {
        self.note(Actor::Process(self.who(slot)), seen);
    }

    pub(crate) fn who(&self, slot: Slot) -> Who {
        let process = &self.table[slot];
        Who { pid: process.pid, name: process.name }
    }

    /// A process as a message names it.
    pub(crate) fn in_words(&self, slot: Slot) -> String {
        let who = self.who(slot);
        format!("{} {}", who.pid, self.host.name(who.name).to_string_lossy())
    }

    /// Lets the process go on then, and not before.
    pub(crate) fn schedule(&mut self, slot: Slot, at: u64) {
        let process = &mut self.table[slot];
        process.timer = process.timer.wrapping_add(1);
        let stamp = process.timer;
        self.events.push(at, self.host.rank(), slot, stamp);
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_event(&mut self) -> Option<u64> {
        let counts = |event: &Event| self.table[event.slot].timer == event.stamp;
        self.events.peek(counts).map(Event::time)
    }

    /// Lets it happen.
    pub(crate) fn happen(&mut self) {
        // Whoever calls this has mostly just asked for the next one; but one that does not count must not happen.
        if self.next_event().is_none() {
            return;
        }
        if let Some(event) = self.events.pop() {
            self.now = self.now.max(event.time());
            self.go_on(event.slot);
        }
    }

    /// Makes the process do this now, as though its program had come to it.
    pub(crate) fn make(&mut self, slot: Slot, code: Code) {
        let now = self.now;
        self.table[slot].interrupt(code, None, now);
        self.schedule(slot, now);
    }

    /// How a zombie ended.
    pub(crate) fn exit(&self, slot: Slot) -> Option<Exit> {
        let process = &self.table[slot];
        let pid = Pid::new(process.pid).ok().filter(|_| process.life == Life::Zombie)?;
        let mut rusage = Rusage::default();
        rusage.user_time = Duration::from_nanos(process.user_time + process.children_time);
        Some(Exit::new(pid, ExitStatus::from_raw(process.status)).with_rusage(rusage))
    }

    /// The children of the program under test, by PID.
    pub(crate) fn children(&self) -> Vec<Slot> {
        let mut children: Vec<Slot> = self.table.children(CALLER).collect();
        children.sort_by_key(|slot| self.table[*slot].pid);
        children
    }

    /// The program under test: what it ignores, and what its thread blocks, which its children inherit.
    pub(crate) fn caller(&mut self) -> &mut Process {
        &mut self.table[CALLER]
    }

    /// The parent of those that are not the program under test's.
    pub(crate) fn foreign_parent() -> Slot {
        INIT
    }
}
