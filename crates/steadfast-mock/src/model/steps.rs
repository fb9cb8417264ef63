//! How a simulated process takes the steps of its script.

use super::bits::bit;
use super::host::Host;
use super::ids::{INIT, Slot};
use super::machine::Machine;
use super::process::{FOR_EVER, Frame, Life, PAUSED, Process, Wait};
use super::seen::Seen;
use super::step::{Disposition, Step, Target};
use std::sync::Arc;
use steadfast_core::Signal;

/// More steps than this at one moment are a loop that the simulation would never come out of.
const STEPS_AT_ONCE: u32 = 1_000_000;

impl<H: Host> Machine<H> {
    /// Lets it take steps until it has to wait, has ended, or is stopped.
    pub(crate) fn go_on(&mut self, slot: Slot) {
        for _ in 0..STEPS_AT_ONCE {
            if let (Life::Exiting, Wait::Until(until)) = (self.table[slot].life, self.table[slot].frame.waiting) {
                return if until <= self.now { self.finish(slot) } else { self.schedule(slot, until) };
            }
            if self.is_held(slot) {
                return;
            }
            self.take_signals(slot);
            if self.table[slot].life != Life::Running || !self.is_ready(slot) {
                return;
            }
            let frame = &mut self.table[slot].frame;
            frame.waiting = Wait::ForNothing;
            if (frame.at as usize) < frame.code.len() {
                let code = Arc::clone(&frame.code);
                frame.at += 1;
                let step = frame.at as usize - 1;
                self.take_step(slot, &code[step]);
            } else if frame.again > 0 {
                frame.at = 0;
                frame.again -= u32::from(frame.again != FOR_EVER);
            } else {
                match self.table[slot].below.pop() {
                    Some(below) => self.table[slot].frame = below,
                    None => self.end(slot, 0),
                }
            }
        }
        panic!("{} takes {STEPS_AT_ONCE} steps without letting time pass", self.accused(slot));
    }

    /// A process whose program cannot mean what it does.
    pub(crate) fn accused(&self, slot: Slot) -> String {
        let who = self.who(slot);
        format!("process {} ({})", who.pid, self.host.name(who.name).to_string_lossy())
    }

    /// Whether it has got what it waits for.
    fn is_ready(&mut self, slot: Slot) -> bool {
        let now = self.now;
        let process = &mut self.table[slot];
        match process.frame.waiting {
            Wait::ForNothing => true,
            Wait::ForEver => false,
            Wait::Until(at) => {
                if at > now {
                    self.schedule(slot, at);
                }
                at <= now
            }
            Wait::Compute(left) => {
                if process.computing == PAUSED {
                    process.computing = now;
                }
                let done = process.computing.saturating_add(left);
                if done > now {
                    self.schedule(slot, done);
                } else {
                    process.pause(now);
                }
                done <= now
            }
            Wait::ForLine => self.has_read_line(slot),
            Wait::ForEnd => {
                let at_end = self.pull(slot);
                self.table[slot].input.clear();
                at_end
            }
            Wait::ForRoom(done) => self.has_written(slot, done),
            Wait::ForChild { all } => self.has_waited(slot, all),
            Wait::ToAbort => {
                // It was ignored, or its handler has returned, or is what calls abort(3).
                self.set_disposition(slot, Signal::ABRT, &Disposition::Default);
                self.table[slot].unmask(Signal::ABRT);
                self.send(slot, Signal::ABRT);
                self.take_signals(slot);
                false
            }
        }
    }

    fn has_waited(&mut self, slot: Slot, all: bool) -> bool {
        loop {
            // The oldest, as the kernel does.
            let children: Vec<Slot> = self.table.children(slot).collect();
            let ended = children.iter().rev().find(|child| self.table[**child].life == Life::Zombie);
            match ended {
                None => return children.is_empty(),
                Some(child) => {
                    self.note_of(slot, Seen::Reaps(self.who(*child)));
                    self.reap_counted(*child);
                    if !all {
                        return true;
                    }
                }
            }
        }
    }

    fn take_step(&mut self, slot: Slot, step: &Step) {
        let now = self.now;
        let after = |time: std::time::Duration| now.saturating_add(time.as_nanos() as u64);
        let process = &mut self.table[slot];
        match step {
            Step::Opened => self.executed(slot),
            Step::Open(time) | Step::Sleep(time) => process.frame.waiting = Wait::Until(after(*time)),
            Step::Compute(time) => process.frame.waiting = Wait::Compute(time.as_nanos() as u64),
            Step::Allocate(bytes) => self.allocate(slot, *bytes),
            Step::RunForever => process.frame.waiting = Wait::ForEver,
            Step::ReadLine(_) => process.frame.waiting = Wait::ForLine,
            Step::ReadToEnd => process.frame.waiting = Wait::ForEnd,
            Step::WaitForChild => process.frame.waiting = Wait::ForChild { all: false },
            Step::WaitForChildren => process.frame.waiting = Wait::ForChild { all: true },
            Step::Write(_, bytes) if bytes.is_empty() => {}
            Step::Write(..) => process.frame.waiting = Wait::ForRoom(0),
            Step::Close(stream) => self.close_stream(slot, *stream as usize),
            Step::On(signal, disposition) => self.set_disposition(slot, *signal, disposition),
            Step::Block(signal) => process.blocked |= bit(*signal),
            Step::Unblock(signal) => process.blocked &= !bit(*signal),
            Step::Spawn(image) => self.spawn_by_script(slot, image),
            Step::Exec(image) => self.exec(slot, image),
            Step::Send(target, signal) => self.send_by_script(slot, *target, *signal),
            Step::NewGroup => self.new_group(slot),
            Step::NewSession => self.new_session(slot),
            Step::Subreaper => process.is_subreaper = true,
            Step::Exit(code) => self.end(slot, (code & 0xff) << 8),
            Step::Abort => {
                process.blocked &= !bit(Signal::ABRT);
                process.frame.waiting = Wait::ToAbort;
                self.send(slot, Signal::ABRT);
            }
            Step::Loop(times, body) => {
                let again = times.map_or(FOR_EVER, |times| times - 1);
                let interrupted = std::mem::replace(&mut process.frame, Frame { again, ..Frame::new(Arc::clone(body)) });
                process.below.push(interrupted);
            }
        }
    }

    fn new_group(&mut self, slot: Slot) {
        let Process { pid, session, .. } = self.table[slot];
        // The leader of a session has its own group already, and stays in it (setpgid(2): EPERM).
        if session != pid {
            let before = self.table[slot].group;
            self.table.set_group(slot, pid);
            self.note_of(slot, Seen::Group(pid));
            self.leaves_group(before);
        }
    }

    fn new_session(&mut self, slot: Slot) {
        let pid = self.table[slot].pid;
        // setsid(2): EPERM if there is a group of this number.
        if !self.table.has_group(pid) {
            let before = self.table[slot].group;
            self.table.set_group(slot, pid);
            self.table.set_session(slot, pid);
            self.note_of(slot, Seen::Session(pid));
            self.leaves_group(before);
        }
    }

    fn send_by_script(&mut self, slot: Slot, target: Target, signal: Signal) {
        let whom = match target {
            Target::Itself => vec![slot],
            Target::Parent => vec![self.table[slot].parent],
            Target::Children => self.table.children(slot).collect::<Vec<_>>().into_iter().rev().collect(),
            // The group of the program under test has members outside, which do not hear it.
            Target::Group => self.table.group(self.table[slot].group),
        };
        for to in whom.into_iter().filter(|to| *to > INIT + 1) {
            self.note_of(slot, Seen::Signals(signal, self.who(to)));
            self.send(to, signal);
        }
    }
}
