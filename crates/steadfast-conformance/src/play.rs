//! Plays: random scripts, performed on a real kernel and in a simulation, moment by moment; whatever can be seen must be the same.

use proptest::prelude::*;
use proptest::sample::select;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Attributes, Disposition, ErrorKind, Pid, PlanBuilder, Process, ProcessBackend, Result, Signal, SignalSet};

/// What a player, a process of a play, is told to do at once. Then it waits for the next order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "every player must know all of them")]
pub enum Order {
    /// Starts another player.
    Spawn,
    /// Becomes another player.
    Exec,
    /// Exits with this code.
    Exit(u8),
    /// Ends by `SIGABRT`.
    Abort,
    /// Sends itself a signal.
    Raise(Signal),
    /// Sends its parent a signal.
    SignalParent(Signal),
    /// Sends its process group a signal, itself included.
    SignalGroup(Signal),
    /// Sends each of its children a signal.
    SignalChildren(Signal),
    /// From now on, the signal makes it exit with this code or, without one, does nothing.
    On(Signal, Option<u8>),
    /// From now on, it ignores the signal.
    Ignore(Signal),
    /// From now on, the signal has its default action again.
    Restore(Signal),
    /// From now on, the signal is blocked.
    Block(Signal),
    /// From now on, it is not.
    Unblock(Signal),
    /// Moves into a process group of its own, if it may.
    NewGroup,
    /// Moves into a session of its own, if it may.
    NewSession,
    /// Becomes a subreaper.
    Subreaper,
    /// Waits for one of its children, and takes no order until that has ended.
    WaitForChild,
    /// Waits for all of them.
    WaitForChildren,
}

/// As words, which [`FromStr`] reads.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Spawn => f.write_str("spawn"),
            Order::Exec => f.write_str("exec"),
            Order::Exit(code) => write!(f, "exit {code}"),
            Order::Abort => f.write_str("abort"),
            Order::Raise(signal) => write!(f, "raise {signal}"),
            Order::SignalParent(signal) => write!(f, "signal-parent {signal}"),
            Order::SignalGroup(signal) => write!(f, "signal-group {signal}"),
            Order::SignalChildren(signal) => write!(f, "signal-children {signal}"),
            Order::On(signal, Some(code)) => write!(f, "on {signal} {code}"),
            Order::On(signal, None) => write!(f, "on {signal}"),
            Order::Ignore(signal) => write!(f, "ignore {signal}"),
            Order::Restore(signal) => write!(f, "restore {signal}"),
            Order::Block(signal) => write!(f, "block {signal}"),
            Order::Unblock(signal) => write!(f, "unblock {signal}"),
            Order::NewGroup => f.write_str("new-group"),
            Order::NewSession => f.write_str("new-session"),
            Order::Subreaper => f.write_str("subreaper"),
            Order::WaitForChild => f.write_str("wait-for-child"),
            Order::WaitForChildren => f.write_str("wait-for-children"),
        }
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Order, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let unknown = || format!("no player knows how to {text:?}");
        let signal = |word: &str| word.parse::<Signal>().map_err(|error| error.to_string());
        let code = |word: &str| word.parse::<u8>().map_err(|error| error.to_string());
        Ok(match words[..] {
            ["spawn"] => Order::Spawn,
            ["exec"] => Order::Exec,
            ["exit", number] => Order::Exit(code(number)?),
            ["abort"] => Order::Abort,
            ["raise", name] => Order::Raise(signal(name)?),
            ["signal-parent", name] => Order::SignalParent(signal(name)?),
            ["signal-group", name] => Order::SignalGroup(signal(name)?),
            ["signal-children", name] => Order::SignalChildren(signal(name)?),
            ["on", name, number] => Order::On(signal(name)?, Some(code(number)?)),
            ["on", name] => Order::On(signal(name)?, None),
            ["ignore", name] => Order::Ignore(signal(name)?),
            ["restore", name] => Order::Restore(signal(name)?),
            ["block", name] => Order::Block(signal(name)?),
            ["unblock", name] => Order::Unblock(signal(name)?),
            ["new-group"] => Order::NewGroup,
            ["new-session"] => Order::NewSession,
            ["subreaper"] => Order::Subreaper,
            ["wait-for-child"] => Order::WaitForChild,
            ["wait-for-children"] => Order::WaitForChildren,
            _ => return Err(unknown()),
        })
    }
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "as a kernel has them")]
pub enum Life {
    /// It runs or sleeps.
    Running,
    /// It was stopped by a signal.
    Stopped,
    /// It has ended, and nobody has waited for it.
    Zombie,
}

/// What can be seen of a process from outside (proc_pid_stat(5), proc_pid_status(5)). Of the driver of the play itself every
/// number is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a theatre fills every field")]
pub struct Sight {
    /// Whether it runs.
    pub life: Life,
    /// The parent's PID.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// The signals that are blocked: signal 1 is the lowest bit, in these and the following.
    pub blocked: u64,
    /// Those that are pending.
    pub pending: u64,
    /// Those that it ignores.
    pub ignored: u64,
    /// Those that it has a handler for.
    pub handled: u64,
    /// Whether it waits for orders. Only a simulation need tell.
    pub is_idle: bool,
}

/// A place where plays are performed: a backend, and players that obey.
///
/// The driver is in a session of its own, and ignores `SIGHUP`, which its group gets when a player's exit orphans it while another
/// is stopped. No core is dumped.
pub trait Theatre {
    /// The backend of the driver.
    fn backend(&self) -> &Arc<dyn ProcessBackend>;

    /// How a player is started.
    fn player(&self) -> PlanBuilder;

    /// Waits until the player that has just been started takes orders, and gives its PID.
    fn entrance(&self) -> Pid;

    /// Tells a player; returns when it has done it, or cannot say so any more.
    fn tell(&self, player: Pid, order: Order);

    /// What is to be seen of a process; `None` if there is none.
    fn look(&self, pid: Pid) -> Option<Sight>;

    /// Reaps a zombie of the driver's behind its back.
    fn reap_behind(&self, pid: Pid);

    /// Whether the driver is a subreaper.
    fn set_subreaper(&self, is_one: bool);
}

/// The signals of a play. The others are used by languages and their libraries for themselves.
const SIGNALS: [Signal; 12] = [
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
    Signal::CHLD,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::URG,
    Signal::XCPU,
    Signal::WINCH,
];

/// The driver's part.
#[derive(Clone, Debug)]
enum Cue {
    /// Starts a player.
    Spawn {
        place: Place,
        ignored: Option<Signal>,
        blocked: Option<Signal>,
    },
    Tell(usize, Order),
    Signal(usize, Signal),
    /// Only looks, at one that has not ended.
    Wait(usize),
    /// Has another handle from here on, by the PID.
    Find(usize),
    /// Has no handle from here on.
    Drop(usize),
    ReapBehind(usize),
    Subreaper(bool),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Here,
    Group,
    Session,
}

fn any_cues() -> impl Strategy<Value = Vec<Cue>> {
    // Of those who have entered, counted round and round.
    let who = || any::<usize>();
    let some = || proptest::option::weighted(0.2, any_ordinary());
    let place = prop_oneof![3 => Just(Place::Here), 2 => Just(Place::Group), 1 => Just(Place::Session)];
    let spawn = (place, some(), some()).prop_map(|(place, ignored, blocked)| Cue::Spawn { place, ignored, blocked });
    let cue = prop_oneof![
        3 => spawn,
        14 => (who(), any_order()).prop_map(|(who, order)| Cue::Tell(who, order)),
        6 => (who(), any_signal()).prop_map(|(who, signal)| Cue::Signal(who, signal)),
        4 => who().prop_map(Cue::Wait),
        1 => who().prop_map(Cue::Find),
        1 => who().prop_map(Cue::Drop),
        1 => who().prop_map(Cue::ReapBehind),
        1 => any::<bool>().prop_map(Cue::Subreaper),
    ];
    let scene = prop_oneof![12 => cue.prop_map(|cue| vec![cue]), 1 => pending_scene()];
    proptest::collection::vec(scene, 1..60).prop_map(|scenes| scenes.concat())
}

/// A signal is pending, and then it is not blocked any more, or would do something else. By chance alone that would be rare.
fn pending_scene() -> impl Strategy<Value = Vec<Cue>> {
    let then = |signal: Signal| {
        prop_oneof![
            2 => Just(Order::Unblock(signal)),
            2 => Just(Order::Ignore(signal)),
            1 => Just(Order::Restore(signal)),
            1 => Just(Order::On(signal, Some(7))),
            1 => Just(Order::Exec),
            1 => Just(Order::Spawn),
        ]
    };
    let who_and_what = (any::<usize>(), select(&SIGNALS[..]));
    who_and_what.prop_flat_map(move |(who, signal)| {
        then(signal).prop_map(move |order| {
            let pending = [Cue::Tell(who, Order::Block(signal)), Cue::Signal(who, signal)];
            pending.into_iter().chain([Cue::Tell(who, order), Cue::Tell(who, Order::Unblock(signal))]).collect()
        })
    })
}

/// Often the same few, so that they meet.
fn any_ordinary() -> impl Strategy<Value = Signal> {
    prop_oneof![
        2 => Just(Signal::USR1),
        2 => Just(Signal::TERM),
        2 => Just(Signal::CHLD),
        2 => Just(Signal::TSTP),
        4 => select(&SIGNALS[..]),
    ]
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop_oneof![6 => any_ordinary(), 2 => Just(Signal::STOP), 2 => Just(Signal::CONT), 1 => Just(Signal::KILL)]
}

fn any_order() -> impl Strategy<Value = Order> {
    let signal = any_ordinary;
    prop_oneof![
        6 => Just(Order::Spawn),
        1 => Just(Order::Exec),
        1 => any::<u8>().prop_map(Order::Exit),
        1 => Just(Order::Abort),
        2 => any_signal().prop_map(Order::Raise),
        1 => any_signal().prop_map(Order::SignalParent),
        2 => any_signal().prop_map(Order::SignalGroup),
        1 => any_signal().prop_map(Order::SignalChildren),
        3 => (signal(), proptest::option::of(any::<u8>())).prop_map(|(signal, code)| Order::On(signal, code)),
        2 => signal().prop_map(Order::Ignore),
        1 => signal().prop_map(Order::Restore),
        3 => signal().prop_map(Order::Block),
        3 => signal().prop_map(Order::Unblock),
        2 => Just(Order::NewGroup),
        1 => Just(Order::NewSession),
        1 => Just(Order::Subreaper),
        1 => Just(Order::WaitForChild),
        1 => Just(Order::WaitForChildren),
    ]
}

impl Cue {
    /// The same about one of so many players; `None` if there is none.
    fn among(&self, count: usize) -> Option<Cue> {
        let one = |index: usize| index.checked_rem(count);
        Some(match *self {
            Cue::Tell(index, order) => Cue::Tell(one(index)?, order),
            Cue::Signal(index, signal) => Cue::Signal(one(index)?, signal),
            Cue::Wait(index) => Cue::Wait(one(index)?),
            Cue::Find(index) => Cue::Find(one(index)?),
            Cue::Drop(index) => Cue::Drop(one(index)?),
            Cue::ReapBehind(index) => Cue::ReapBehind(one(index)?),
            Cue::Spawn { .. } | Cue::Subreaper(_) => self.clone(),
        })
    }
}

/// What the driver's call came to: a wait status, nothing, or the kind of error.
type Answer = Result<Option<i32>, ErrorKind>;

/// Somebody, by the order of entrance: the same one in both theatres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Somebody {
    Driver,
    Player(usize),
    Outside,
}

/// What is to be seen of a player, in words that are the same in both theatres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    life: Life,
    parent: Somebody,
    group: Somebody,
    session: Somebody,
    blocked: SignalSet,
    pending: SignalSet,
    ignored: SignalSet,
    handled: SignalSet,
}

/// One theatre's performance.
struct Company<'a> {
    theatre: &'a dyn Theatre,
    players: Vec<Pid>,
    handles: Vec<Option<Process>>,
}

impl Company<'_> {
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

    fn see_all(&self) -> Vec<Option<Seen>> {
        self.players.iter().map(|player| self.see(*player)).collect()
    }

    fn is_idle(&self, index: usize) -> bool {
        self.theatre.look(self.players[index]).is_some_and(|sight| sight.is_idle)
    }

    fn see_all_and_idle(&self) -> Vec<(Option<Seen>, bool)> {
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
    fn perform(&mut self, cue: &Cue, has_ended: bool) -> Answer {
        let answer = match *cue {
            Cue::Spawn { place, ignored, blocked } => {
                // The driver ignores it, see `Theatre`.
                let mut dispositions = vec![(Signal::HUP, Disposition::Default)];
                if let Some(signal) = ignored {
                    dispositions.retain(|(other, _)| *other != signal);
                    dispositions.push((signal, Disposition::Ignore));
                }
                let attributes = Attributes {
                    process_group: matches!(place, Place::Group).then_some(0),
                    setsid: matches!(place, Place::Session),
                    dispositions,
                    signal_mask: blocked.map(|signal| [signal].into_iter().collect()),
                    ..Attributes::default()
                };
                let plan = self.theatre.player().attributes(attributes).build().expect("a player's plan is in order");
                let (process, ..) = Process::spawn(self.theatre.backend(), &plan).expect("a player can be started");
                self.enter(Some(process));
                Ok(None)
            }
            Cue::Tell(index, order) => {
                self.theatre.tell(self.players[index], order);
                if order == Order::Spawn {
                    self.enter(None);
                }
                Ok(None)
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
        };
        answer.map_err(|error| error.kind())
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
    }
}

/// How long what must come may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

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
            Cue::Spawn { .. } => return count < 12,
            Cue::Subreaper(_) => return true,
            Cue::Tell(index, _) | Cue::Signal(index, _) | Cue::Wait(index) => index,
            Cue::Find(index) | Cue::Drop(index) | Cue::ReapBehind(index) => index,
        };
        let Some(player) = &seen[index] else { return !matches!(cue, Cue::Tell(..) | Cue::ReapBehind(_)) };
        match cue {
            Cue::ReapBehind(_) => player.life == Life::Zombie && player.parent == Somebody::Driver,
            Cue::Tell(_, order) => {
                player.life == Life::Running && company.is_idle(index) && self.allow_order(index, *order, player, count)
            }
            _ => true,
        }
    }

    fn allow_order(&self, index: usize, order: Order, player: &Seen, count: usize) -> bool {
        match order {
            Order::Spawn => count < 12,
            Order::SignalParent(_) => matches!(player.parent, Somebody::Player(_)),
            Order::SignalGroup(_) => player.group != Somebody::Driver,
            Order::On(signal, _) => !self.handled[index].contains(&signal),
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

/// Performs random plays in both theatres, and compares what is to be seen after every cue: of each player whether it runs, its
/// parent, group, session, masks and pending signals, and the answer to each call of the driver's. A real kernel is given time to
/// come to where the simulation is.
///
/// As many plays as `STEADFAST_CASES` says (500), from the seed `STEADFAST_SEED` (0).
///
/// # Panics
/// If they differ, with the shortest play found that shows it.
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
    let company = |theatre| Company { theatre, players: Vec::new(), handles: Vec::new() };
    let (mut real, mut simulation) = (company(real), company(simulation));
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn what_a_player_is_told_is_what_it_hears(order in any_order()) {
            prop_assert_eq!(order.to_string().parse(), Ok(order));
        }
    }
}
