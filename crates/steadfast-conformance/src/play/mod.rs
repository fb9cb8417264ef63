//! Plays: random scripts that are performed on a real kernel and in a simulation, step by step. All that can be seen must be the same.

mod company;
mod cue;
mod order;
mod theatre;

pub use order::Order;
pub use theatre::{Life, Sight, Theatre};

use company::{Company, Seen, Somebody};
use cue::{Cue, any_cues};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;
use steadfast_core::{Result, Signal};
use theatre::PATIENCE;

/// So many enter in one play, and no more.
const MOST_PLAYERS: usize = 12;

/// What the rules of a play must know beyond what can be seen.
#[derive(Default)]
struct Rules {
    /// Which signals have had a handler, by player: it is set once in a program's life, since many libraries can do no more.
    handled: Vec<HashSet<Signal>>,
}

impl Rules {
    /// Whether a play may go on with this: it would otherwise reach somebody outside of the play, or wait for ever.
    fn allow(&self, cue: &Cue, company: &Company<'_>, seen: &[Option<Seen>]) -> bool {
        let count = company.players.len();
        let index = match *cue {
            Cue::Spawn { .. } => return count < MOST_PLAYERS,
            Cue::Subreaper(_) | Cue::Ignore(..) | Cue::Block(..) => return true,
            Cue::Tell(index, _) | Cue::Signal(index, _) | Cue::Wait(index) => index,
            Cue::Find(index) | Cue::Drop(index) | Cue::ReapBehind(index) => index,
        };
        let Some(player) = &seen[index] else { return !matches!(cue, Cue::Tell(..) | Cue::ReapBehind(_)) };
        match cue {
            Cue::Signal(_, signal) if signal.as_raw() >= 32 => company.blocks(index, *signal),
            Cue::ReapBehind(_) => player.life == Life::Zombie && player.parent == Somebody::Driver,
            Cue::Tell(_, order) => {
                player.life == Life::Running && company.is_idle(index) && self.allow_order(index, *order, player, count)
            }
            _ => true,
        }
    }

    fn allow_order(&self, index: usize, order: Order, player: &Seen, count: usize) -> bool {
        match order {
            Order::Spawn => count < MOST_PLAYERS,
            Order::SignalParent(_) => matches!(player.parent, Somebody::Player(_)),
            Order::SignalGroup(_) => player.group != Somebody::Driver,
            Order::On(signal, _) => !self.handled[index].contains(&signal),
            // Some C libraries unblock it before they raise it, and some do not.
            Order::Abort => !(player.blocked.contains(Signal::ABRT) && player.handled.contains(Signal::ABRT)),
            _ => true,
        }
    }

    /// Whether several have ended at once, of whom one would have taken notice of another's end: nobody can say which came first.
    fn is_undetermined(cue: &Cue, before: &[(Option<Seen>, bool)], after: &[Option<Seen>]) -> bool {
        let ends = |seen: &Option<Seen>| seen.is_none_or(|player| player.life == Life::Zombie);
        let ended =
            || before.iter().zip(after).filter(|((before, _), after)| !ends(before) && ends(after)).map(|(before, _)| before);
        let takes_notice = |(seen, is_idle): &(Option<Seen>, bool)| {
            let sees = |player: &Seen| player.ignored.contains(Signal::CHLD) || player.handled.contains(Signal::CHLD);
            !is_idle || seen.as_ref().is_some_and(sees)
        };
        // Two may be cause and effect: a child, and its parent that ends because of it.
        let is_at_once = if matches!(cue, Cue::Tell(_, Order::SignalGroup(_))) { 2 } else { 3 };
        ended().count() >= is_at_once && ended().any(takes_notice)
    }

    fn follow(&mut self, cue: &Cue, count: usize) {
        match *cue {
            Cue::Tell(index, Order::On(signal, _)) => drop(self.handled[index].insert(signal)),
            Cue::Tell(index, Order::Exec) => self.handled[index].clear(),
            _ => {}
        }
        self.handled.resize_with(count, HashSet::new);
    }
}

/// Performs random plays on both kernels, and compares after every cue: of each player whether it runs, its
/// parent, group, session, masks and pending signals, and the answer to each of the driver's calls. The real kernel is given time to
/// reach the state of the simulation.
///
/// As many plays as `STEADFAST_CASES` says (500), from the seed `STEADFAST_SEED` (0).
///
/// # Panics
/// If they differ; the message has the shortest play found that shows it.
pub fn same_play(real: &dyn Theatre, simulation: impl Fn() -> Box<dyn Theatre>) {
    let patience = Cell::new(PATIENCE);
    crate::sequences::check(500, any_cues(), |cues| {
        let simulation = simulation();
        let played = play(&cues, real, &*simulation, patience.get());
        if let Err(error) = &played {
            if patience.replace(Duration::from_millis(200)) == PATIENCE {
                // What is tried from here on is to find a shorter one.
                eprintln!("the first play that differs: {error}");
            }
        }
        played
    });
}

fn play(cues: &[Cue], real: &dyn Theatre, simulation: &dyn Theatre, patience: Duration) -> Result<(), TestCaseError> {
    let (mut real, mut simulation) = (Company::new(real), Company::new(simulation));
    let mut rules = Rules::default();
    let mut played = Vec::new();
    for cue in cues {
        let before = simulation.see_all_and_idle();
        let seen: Vec<Option<Seen>> = before.iter().map(|(seen, _)| *seen).collect();
        let Some(cue) = cue.among(seen.len()).filter(|cue| rules.allow(cue, &simulation, &seen)) else { continue };
        played.push(cue.clone());
        let has_ended = match cue {
            Cue::Wait(index) => seen[index].is_none_or(|player| player.life == Life::Zombie),
            _ => false,
        };
        let (expected, answer) = (simulation.perform(&cue, has_ended), real.perform(&cue, has_ended));
        rules.follow(&cue, simulation.players.len());
        prop_assert_eq!(answer, expected, "the answer to {:?}, the last of {:?}", cue, played);
        let expected = simulation.see_all();
        if Rules::is_undetermined(&cue, &before, &expected) {
            break;
        }
        let clock = real.theatre.backend().clock();
        let start = clock.now();
        // There is no event for it: signals are on their way, and processes are about to end.
        let mut seen = real.see_all();
        while seen != expected && clock.now() - start < patience {
            clock.sleep_until(clock.now() + Duration::from_micros(100));
            seen = real.see_all();
        }
        prop_assert_eq!(seen, expected, "real, and simulated, after {:?}", played);
    }
    Ok(())
}
