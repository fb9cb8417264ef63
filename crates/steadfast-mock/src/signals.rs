//! What signals do to a process, and how it ends: dispositions, masks, stops, orphans and zombies (signal(7), credentials(7)).

use crate::fault::Call;
use crate::process::{Life, Process};
use crate::script::Disposition;
use crate::table::{CALLER, INIT, Slot};
use crate::trace::{Actor, What};
use crate::world::World;
use std::sync::Arc;
use steadfast_core::{Exit, Pid, Rusage, Signal};

/// A set of signals: signal 1 is the lowest bit.
pub(crate) type SignalBits = u64;

pub(crate) const fn bit(signal: Signal) -> SignalBits {
    1 << (signal.as_raw() - 1)
}

/// What nobody can block, ignore or handle.
pub(crate) const UNSTOPPABLE: SignalBits = bit(Signal::KILL) | bit(Signal::STOP);
const STOPS: SignalBits = bit(Signal::STOP) | bit(Signal::TSTP) | bit(Signal::TTIN) | bit(Signal::TTOU);
/// What an instruction of the process itself has caused; comes first.
const SYNCHRONOUS: SignalBits =
    bit(Signal::SEGV) | bit(Signal::BUS) | bit(Signal::ILL) | bit(Signal::TRAP) | bit(Signal::FPE) | bit(Signal::SYS);
const DUMPS_CORE: SignalBits = SYNCHRONOUS | bit(Signal::QUIT) | bit(Signal::ABRT) | bit(Signal::XCPU) | bit(Signal::XFSZ);
/// From 32 on: the C libraries begin at 34, the kernel does not (SIGRTMIN in its signal.h).
const QUEUE_UP: SignalBits = u64::MAX << 31;
const HARMLESS: SignalBits = bit(Signal::CHLD) | bit(Signal::URG) | bit(Signal::WINCH) | bit(Signal::CONT);

impl World {
    /// Sends a signal, as the kernel's side of kill(2). It is taken when the process comes to run.
    pub(crate) fn send(&mut self, slot: Slot, signal: Signal) {
        if slot == INIT || slot == CALLER {
            return;
        }
        let (one, run) = (bit(signal), self.table[slot].run);
        self.log.signalled(run, signal);
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
            self.table.stopped -= 1;
            self.note(Actor::Process(self.who(slot)), What::Continues);
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
                self.note(Actor::Process(self.who(slot)), What::Handles(signal));
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
        self.table.stopped += 1;
        self.note(Actor::Process(self.who(slot)), What::Stops(signal));
        self.tell_of_stop(slot);
    }

    /// The parent hears that it has stopped or goes on. One that ignores `SIGCHLD` does not even have it pending, if it also blocks it
    /// (do_notify_parent_cldstop in the kernel).
    fn tell_of_stop(&mut self, slot: Slot) {
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

    /// Begins the end of a process, with this wait status.
    pub(crate) fn end(&mut self, slot: Slot, status: i32) {
        let program = self.table[slot].name;
        let hangs = if self.has_fault(Call::Exit) {
            let program = self.name(program).to_owned();
            self.fault(Call::Exit, &program).map(|struck| struck.delay).filter(|delay| !delay.is_zero())
        } else {
            None
        };
        self.table[slot].pause(self.now);
        self.table[slot].status = status;
        match hangs {
            Some(delay) => {
                let until = self.now.saturating_add(delay.as_nanos() as u64);
                self.table[slot].hang(until);
                self.note(Actor::Process(self.who(slot)), What::HangsInExit);
                self.schedule(slot, until);
            }
            None => self.finish(slot),
        }
    }

    /// The end: streams are closed, children get another parent, and the parent hears of it.
    pub(crate) fn finish(&mut self, slot: Slot) {
        let who = self.who(slot);
        let Process { status, run, .. } = self.table[slot];
        self.note(Actor::Process(who), What::Ends(status));
        self.log.ended(run, status);
        for index in 0..3 {
            self.close_stream(slot, index);
        }
        self.part_from_children(slot);
        let Process { group, parent, .. } = self.table[slot];
        self.wake_orphans(slot, group, parent, Some(slot));
        self.table[slot].life = Life::Zombie;
        self.notice_exit(slot);
        self.tell_parent(slot);
    }

    /// Its children become those of the nearest subreaper above it, or of init.
    fn part_from_children(&mut self, slot: Slot) {
        let children: Vec<Slot> = self.table.children(slot).collect();
        if children.is_empty() {
            return;
        }
        let mut reaper = self.table[slot].parent;
        while reaper != INIT {
            let candidate = &self.table[reaper];
            if candidate.is_subreaper && !matches!(candidate.life, Life::Zombie | Life::Gone) {
                break;
            }
            reaper = if reaper == CALLER { INIT } else { candidate.parent };
        }
        for child in children.into_iter().rev() {
            self.table.set_parent(child, reaper);
            self.note(Actor::Process(self.who(reaper)), What::Adopts(self.who(child)));
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
            self.note(Actor::Process(self.who(slot)), What::GoesUnseen(reason));
            self.release(slot);
        } else {
            self.send(parent, Signal::CHLD);
        }
        if parent > CALLER && self.table[parent].life == Life::Running && self.table[parent].waits_for_child() {
            self.schedule(parent, self.now);
        }
    }

    /// Whether nobody in the group has a parent outside of it and in the same session, who could do job control.
    fn is_orphaned(&self, group: i32, without: Option<Slot>) -> bool {
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
                    self.note(Actor::Kernel, What::Signals(signal, self.who(*member)));
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
        self.notice_release(slot);
        self.table.remove(slot);
    }

    /// How a zombie ended.
    pub(crate) fn exit(&self, slot: Slot) -> Option<Exit> {
        let process = &self.table[slot];
        let pid = Pid::new(process.pid).ok().filter(|_| process.life == Life::Zombie)?;
        let status = std::os::unix::process::ExitStatusExt::from_raw(process.status);
        let user_time = std::time::Duration::from_nanos(process.user_time + process.children_time);
        let mut rusage = Rusage::default();
        rusage.user_time = user_time;
        Some(Exit::new(pid, status).with_rusage(rusage))
    }
}
