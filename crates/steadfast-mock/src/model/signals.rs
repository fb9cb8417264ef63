//! What signals do to a process: dispositions, masks, stops (signal(7)).

use super::bits::{DUMPS_CORE, HARMLESS, QUEUE_UP, STOPS, SYNCHRONOUS, bit};
use super::host::Host;
use super::ids::{CALLER, INIT, Slot};
use super::machine::Machine;
use super::process::{Life, Report};
use super::seen::Seen;
use super::step::Disposition;
use std::sync::Arc;
use steadfast_core::Signal;

impl<H: Host> Machine<H> {
    /// Sends a signal, as the kernel's side of kill(2). It is taken when the process comes to run.
    pub(crate) fn send(&mut self, slot: Slot, signal: Signal) {
        if slot == INIT || slot == CALLER {
            return;
        }
        let (one, run) = (bit(signal), self.table[slot].run);
        self.host.is_signalled(run, signal);
        let process = &mut self.table[slot];
        if matches!(process.life, Life::Gone | Life::Zombie | Life::Exiting) {
            return;
        }
        if one & STOPS != 0 {
            process.pending &= !bit(Signal::CONT);
        } else if signal == Signal::CONT {
            process.pending &= !STOPS;
            self.wake_up(slot);
        }
        let process = &mut self.table[slot];
        let is_open = process.mask() & one == 0;
        let is_default = (process.ignored | process.handled) & one == 0;
        let is_ignored = process.ignored & one != 0 || (is_default && HARMLESS & one != 0);
        if is_open && is_ignored {
            return;
        }
        if one & QUEUE_UP != 0 && process.pending & one != 0 {
            process.queued.push(signal);
        }
        process.pending |= one;
        if signal == Signal::KILL {
            process.doomed = Some(signal);
            if process.life == Life::Stopped {
                process.life = Life::Running;
                // It is stopped no more, and does not go on either.
                process.report = Report::None;
                self.table.stopped -= 1;
            }
        } else if is_open && is_default && process.life == Life::Running && one & (STOPS | DUMPS_CORE | HARMLESS) == 0 {
            // The first that ends it decides how, whatever comes before it is run (complete_signal in the kernel).
            process.doomed = process.doomed.or(Some(signal));
        }
        if is_open && self.table[slot].life == Life::Running {
            self.schedule(slot, self.now);
        }
    }

    /// Goes on if it was stopped, even if it ignores or blocks `SIGCONT`.
    fn wake_up(&mut self, slot: Slot) {
        if self.table[slot].life == Life::Stopped {
            self.table[slot].life = Life::Running;
            self.table[slot].report = Report::Continued;
            self.table.stopped -= 1;
            self.note_of(slot, Seen::Continues);
            self.schedule(slot, self.now);
            self.tell_of_stop(slot);
        }
    }

    /// Lets the process take the signals that are pending and get through.
    pub(crate) fn take_signals(&mut self, slot: Slot) {
        while self.table[slot].life == Life::Running {
            let process = &mut self.table[slot];
            if let Some(signal) = process.doomed {
                return self.end_by(slot, signal);
            }
            if process.pending == 0 {
                return;
            }
            let open = process.pending & !process.mask();
            if open == 0 {
                return;
            }
            let first = if open & SYNCHRONOUS != 0 { open & SYNCHRONOUS } else { open };
            let Ok(signal) = Signal::new(first.trailing_zeros() as i32 + 1) else { return };
            match process.queued.iter().position(|queued| *queued == signal) {
                Some(again) => drop(process.queued.remove(again)),
                None => process.pending &= !bit(signal),
            }
            self.take(slot, signal);
        }
    }

    fn take(&mut self, slot: Slot, signal: Signal) {
        let (one, now) = (bit(signal), self.now);
        let process = &mut self.table[slot];
        if process.handled & one != 0 {
            let handler = process.handlers.iter().find(|(handled, _)| *handled == signal);
            if let Some((_, code)) = handler {
                let code = Arc::clone(code);
                process.interrupt(code, Some(signal), now);
                self.note_of(slot, Seen::Handles(signal));
            }
        } else if process.ignored & one != 0 || HARMLESS & one != 0 {
        } else if one & STOPS != 0 {
            let group = process.group;
            // Nobody is there who could continue an orphaned group.
            if signal == Signal::STOP || !self.is_orphaned(group, None) {
                self.stop(slot, signal);
            }
        } else {
            self.end_by(slot, signal);
        }
    }

    fn stop(&mut self, slot: Slot, signal: Signal) {
        let now = self.now;
        self.table[slot].pause(now);
        self.table[slot].life = Life::Stopped;
        self.table[slot].report = Report::Stopped(signal);
        self.table.stopped += 1;
        self.note_of(slot, Seen::Stops(signal));
        self.tell_of_stop(slot);
    }

    /// The parent hears that it has stopped or goes on. One that ignores `SIGCHLD` does not even have it pending, if it also blocks it
    /// (do_notify_parent_cldstop in the kernel).
    fn tell_of_stop(&mut self, slot: Slot) {
        self.host.has_changed(self.table.id(slot));
        let parent = self.table[slot].parent;
        if self.table[parent].ignored & bit(Signal::CHLD) == 0 {
            self.send(parent, Signal::CHLD);
        }
    }

    fn end_by(&mut self, slot: Slot, signal: Signal) {
        let dumps = self.table[slot].may_dump_core && DUMPS_CORE & bit(signal) != 0;
        self.end(slot, signal.as_raw() | if dumps { 0x80 } else { 0 });
    }

    pub(crate) fn set_disposition(&mut self, slot: Slot, signal: Signal, disposition: &Disposition) {
        let one = bit(signal);
        let process = &mut self.table[slot];
        process.ignored &= !one;
        process.handled &= !one;
        process.handlers.retain(|(handled, _)| *handled != signal);
        match disposition {
            Disposition::Default => {}
            Disposition::Ignore => process.ignored |= one,
            Disposition::Handle(code) => {
                process.handled |= one;
                process.handlers.push((signal, Arc::clone(code)));
            }
        }
        // What would be ignored now is not pending any more.
        if process.ignored & one != 0 || (process.handled & one == 0 && HARMLESS & one != 0) {
            process.pending &= !one;
            process.queued.retain(|queued| *queued != signal);
        }
    }
}
