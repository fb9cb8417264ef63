//! [`Company`]: the performance in one theatre, and what is to be seen of it.

use super::cue::{Cue, Place, SIGNALS};
use super::order::Order;
use super::theatre::{Life, PATIENCE, Theatre};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast_core::{Attributes, Disposition, Error, Pid, Process, Result, Signal, SignalSet, Stage};

/// What the driver's call came to: a wait status, how many signals a player has taken, nothing, or the error in words that are the same
/// in both theatres.
pub(super) type Answer = Result<Option<i32>, String>;

/// Somebody, by the order of entrance: the same one in both theatres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Somebody {
    Driver,
    Player(usize),
    Outside,
}

/// What is to be seen of a player, in words that are the same in both theatres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) life: Life,
    pub(super) parent: Somebody,
    pub(super) group: Somebody,
    pub(super) session: Somebody,
    pub(super) blocked: SignalSet,
    pub(super) pending: SignalSet,
    pub(super) ignored: SignalSet,
    pub(super) handled: SignalSet,
}

/// One theatre's performance.
pub(super) struct Company<'a> {
    pub(super) theatre: &'a dyn Theatre,
    pub(super) players: Vec<Pid>,
    pub(super) handles: Vec<Option<Process>>,
}

impl<'a> Company<'a> {
    pub(super) fn new(theatre: &'a dyn Theatre) -> Company<'a> {
        Company { theatre, players: Vec::new(), handles: Vec::new() }
    }

    fn name(&self, number: i32) -> Somebody {
        match self.players.iter().position(|player| player.as_raw() == number) {
            Some(index) => Somebody::Player(index),
            None if number == 0 => Somebody::Driver,
            None => Somebody::Outside,
        }
    }

    fn see(&self, player: Pid) -> Option<Seen> {
        let sight = self.theatre.look(player)?;
        // The masks of a zombie mean nothing any more.
        let set = |bits: u64| -> SignalSet {
            let is_in = |signal: &Signal| sight.life != Life::Zombie && bits >> (signal.as_raw() - 1) & 1 == 1;
            SIGNALS.into_iter().filter(is_in).collect()
        };
        Some(Seen {
            life: sight.life,
            parent: self.name(sight.parent),
            group: self.name(sight.group),
            session: self.name(sight.session),
            blocked: set(sight.blocked),
            pending: set(sight.pending),
            ignored: set(sight.ignored),
            handled: set(sight.handled),
        })
    }

    pub(super) fn see_all(&self) -> Vec<Option<Seen>> {
        self.players.iter().map(|player| self.see(*player)).collect()
    }

    pub(super) fn is_idle(&self, index: usize) -> bool {
        self.theatre.look(self.players[index]).is_some_and(|sight| sight.is_idle)
    }

    pub(super) fn blocks(&self, index: usize, signal: Signal) -> bool {
        self.theatre.look(self.players[index]).is_some_and(|sight| sight.blocked >> (signal.as_raw() - 1) & 1 == 1)
    }

    pub(super) fn see_all_and_idle(&self) -> Vec<(Option<Seen>, bool)> {
        self.see_all().into_iter().enumerate().map(|(index, seen)| (seen, self.is_idle(index))).collect()
    }

    fn enter(&mut self, handle: Option<Process>) {
        self.players.push(self.theatre.entrance());
        self.handles.push(handle);
    }

    fn handle(&mut self, index: usize) -> Result<&Process> {
        if self.handles[index].is_none() {
            self.handles[index] = Some(Process::find(self.theatre.backend(), self.players[index])?);
        }
        Ok(self.handles[index].as_ref().expect("it was put there"))
    }

    /// `has_ended`: it is a zombie now, or gone.
    pub(super) fn perform(&mut self, cue: &Cue, has_ended: bool) -> Answer {
        let answer = match *cue {
            Cue::Spawn { place, ignored, blocked, keeps_hup } => {
                // The driver ignores it, see `Theatre`.
                let mut dispositions = if keeps_hup { vec![] } else { vec![(Signal::HUP, Disposition::Default)] };
                if let Some(signal) = ignored {
                    dispositions.retain(|(other, _)| *other != signal);
                    dispositions.push((signal, Disposition::Ignore));
                }
                let attributes = Attributes {
                    process_group: match place {
                        Place::Group => Some(0),
                        Place::GroupOf(index) => Some(self.players[index].as_raw()),
                        Place::Here | Place::Session => None,
                    },
                    setsid: matches!(place, Place::Session),
                    dispositions,
                    signal_mask: blocked.map(|signal| [signal].into_iter().collect()),
                    ..Attributes::default()
                };
                let plan = self.theatre.player().attributes(attributes).build().expect("a player's plan is in order");
                let spawned = Process::spawn(self.theatre.backend(), &plan).map(|(process, ..)| self.enter(Some(process)));
                assert!(spawned.is_ok() || matches!(place, Place::GroupOf(_)), "a player can be started: {spawned:?}");
                spawned.map(|()| None)
            }
            Cue::Tell(index, order) => {
                let taken = self.theatre.tell(self.players[index], order);
                if order == Order::Spawn {
                    self.enter(None);
                }
                Ok(taken.map(|taken| taken as i32))
            }
            Cue::Signal(index, signal) => self.handle(index).and_then(|handle| handle.signal(signal)).map(|()| None),
            Cue::Wait(index) => {
                let patience = if has_ended { PATIENCE } else { Duration::ZERO };
                let status = self.handle(index).and_then(|handle| handle.wait_timeout(patience));
                status.map(|status| status.map(ExitStatusExt::into_raw))
            }
            Cue::Find(index) => {
                self.handles[index] = None;
                self.handle(index).map(|_| None)
            }
            Cue::Drop(index) => {
                self.handles[index] = None;
                Ok(None)
            }
            Cue::ReapBehind(index) => {
                self.theatre.reap_behind(self.players[index]);
                Ok(None)
            }
            Cue::Subreaper(is_one) => {
                self.theatre.set_subreaper(is_one);
                Ok(None)
            }
            Cue::Ignore(signal, ignore) => {
                self.theatre.ignore(signal, ignore);
                Ok(None)
            }
            Cue::Block(signal, block) => {
                self.theatre.block(signal, block);
                Ok(None)
            }
        };
        answer.map_err(|error| match error {
            Error::Spawn { stage: Stage::Attribute { call, .. }, source, .. } => format!("{call}: {source}"),
            error => format!("{:?}", error.kind()),
        })
    }
}

/// Leaves nobody behind, whatever came of the play.
impl Drop for Company<'_> {
    fn drop(&mut self) {
        let clock = self.theatre.backend().clock();
        let start = clock.now();
        self.handles.clear();
        while clock.now() - start < PATIENCE {
            let left: Vec<Process> =
                self.players.iter().filter_map(|player| Process::find(self.theatre.backend(), *player).ok()).collect();
            if left.is_empty() {
                break;
            }
            for process in left {
                // Whoever is gone meanwhile, or is not ours to wait for, is looked for again.
                if process.kill().is_ok() {
                    drop(process.wait_timeout(Duration::from_millis(1)));
                }
            }
        }
        self.theatre.set_subreaper(false);
        for signal in SIGNALS {
            self.theatre.ignore(signal, signal == Signal::HUP);
            self.theatre.block(signal, false);
        }
    }
}
