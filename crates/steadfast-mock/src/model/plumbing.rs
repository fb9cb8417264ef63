//! What simulated processes do with their ends of pipes.

use super::host::Host;
use super::ids::{End, PipeId, Slot};
use super::machine::Machine;
use super::process::{Life, Wait};
use super::seen::Seen;
use super::step::Step;
use std::sync::Arc;
use steadfast_core::Signal;

impl<H: Host> Machine<H> {
    /// Takes what is in stdin; whether it has come to its end.
    pub(crate) fn pull(&mut self, slot: Slot) -> bool {
        let Some(pipe) = self.table[slot].streams[0] else { return true };
        let taken: Vec<u8> = self.pipes.get(pipe).take(usize::MAX).collect();
        if !taken.is_empty() {
            self.note_of(slot, Seen::Reads(taken.len() as u32));
            self.table[slot].input.extend(taken);
            self.wake_pipe(pipe);
        }
        let at_end = self.pipes.get(pipe).writers == 0;
        if !at_end {
            self.sleep_on(slot, pipe);
        }
        at_end
    }

    pub(crate) fn sleep_on(&mut self, slot: Slot, pipe: PipeId) {
        let id = self.table.id(slot);
        let sleepers = &mut self.pipes.get(pipe).sleepers;
        if !sleepers.contains(&id) {
            sleepers.push(id);
        }
    }

    pub(crate) fn has_read_line(&mut self, slot: Slot) -> bool {
        let at_end = self.pull(slot);
        let input = &mut self.table[slot].input;
        let line = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => Some(input.drain(..=end).collect::<Vec<u8>>()),
            None if !at_end => return false,
            None if input.is_empty() => None,
            None => Some(std::mem::take(input)),
        };
        if let Step::ReadLine(Some(then)) = self.table[slot].frame.step() {
            let then = Arc::clone(then);
            let text = line.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            let code = then(text.as_deref()).unwrap_or_else(|why| panic!("{}: {why}", self.accused(slot)));
            let process = &mut self.table[slot];
            process.frame.waiting = Wait::ForNothing;
            process.interrupt(code, None, self.now);
        }
        true
    }

    pub(crate) fn has_written(&mut self, slot: Slot, done: usize) -> bool {
        let Step::Write(stream, bytes) = self.table[slot].frame.step() else { return true };
        let (stream, bytes) = (*stream, Arc::clone(bytes));
        let Some(pipe) = self.table[slot].streams[stream as usize] else { return true };
        if self.pipes.get(pipe).readers == 0 {
            self.note_of(slot, Seen::BrokenPipe);
            self.table[slot].frame.waiting = Wait::ForNothing;
            self.send(slot, Signal::PIPE);
            // Before the next step, as at the return of write(2).
            self.take_signals(slot);
            return self.table[slot].life == Life::Running;
        }
        let put = self.pipes.put(pipe, &bytes[done..], done == 0);
        if put > 0 {
            self.note_of(slot, Seen::Writes(stream, put as u32));
            self.wake_pipe(pipe);
        }
        let done = done + put;
        let is_all = done == bytes.len();
        if !is_all {
            self.table[slot].frame.waiting = Wait::ForRoom(done);
            self.sleep_on(slot, pipe);
        }
        is_all
    }

    /// Closes it if it is a pipe that is open.
    pub(crate) fn close_stream(&mut self, slot: Slot, index: usize) {
        if let Some(pipe) = self.table[slot].streams[index].take() {
            self.close_pipe(pipe, if index == 0 { End::Read } else { End::Write });
        }
    }

    pub(crate) fn close_pipe(&mut self, pipe: PipeId, end: End) {
        self.wake_pipe(pipe);
        self.pipes.close(pipe, end);
    }

    /// Something has changed about a pipe: whoever sleeps on it looks again.
    pub(crate) fn wake_pipe(&mut self, pipe: PipeId) {
        for id in std::mem::take(&mut self.pipes.get(pipe).sleepers) {
            if let Some(slot) = self.table.by_id(id) {
                self.schedule(slot, self.now);
            }
        }
        self.host.pipe_changed(pipe);
    }
}
