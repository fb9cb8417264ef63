//! [`Cue`]: what a play is made of, and how plays are made up.

use super::order::Order;
use proptest::prelude::*;
use proptest::sample::select;
use steadfast_core::Signal;

/// The signals of a play. The others are used by languages and their libraries for themselves.
pub(super) const SIGNALS: [Signal; 13] = [
    Signal::HUP,
    Signal::QUIT,
    Signal::ABRT,
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

/// Real-time signals by their numbers, those among them that a C library keeps to itself: only the kernel's calls take these, and so a
/// play sends them to players that were born with them blocked.
const REAL_TIME: [i32; 4] = [32, 33, 34, 64];

/// The player that has entered last.
const LAST: usize = usize::MAX;

/// The driver's part.
#[derive(Clone, Debug)]
pub(super) enum Cue {
    /// Starts a player.
    Spawn {
        place: Place,
        ignored: Option<Signal>,
        blocked: Option<Signal>,
        /// It ignores `SIGHUP`, as the driver does.
        keeps_hup: bool,
    },
    /// The driver ignores it, or not any more.
    Ignore(Signal, bool),
    /// The driver blocks it, or not any more.
    Block(Signal, bool),
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
pub(super) enum Place {
    Here,
    Group,
    /// The group that a player leads, if it does, or did, and somebody is still in it.
    GroupOf(usize),
    Session,
}

pub(super) fn any_cues() -> impl Strategy<Value = Vec<Cue>> {
    // Of those who have entered, counted round and round.
    let who = || any::<usize>();
    let some = || proptest::option::weighted(0.2, any_ordinary());
    let place = prop_oneof![
        3 => Just(Place::Here),
        2 => Just(Place::Group),
        2 => who().prop_map(Place::GroupOf),
        1 => Just(Place::Session),
    ];
    let spawn = (place, some(), some(), proptest::bool::weighted(0.2));
    let spawn = spawn.prop_map(|(place, ignored, blocked, keeps_hup)| Cue::Spawn { place, ignored, blocked, keeps_hup });
    // The driver would end by its SIGHUP, if it did not ignore it.
    let ignored = || any_ordinary().prop_filter("the driver ignores SIGHUP", |signal| *signal != Signal::HUP);
    let cue = prop_oneof![
        3 => spawn,
        14 => (who(), any_order()).prop_map(|(who, order)| Cue::Tell(who, order)),
        6 => (who(), any_signal()).prop_map(|(who, signal)| Cue::Signal(who, signal)),
        4 => who().prop_map(Cue::Wait),
        1 => who().prop_map(Cue::Find),
        1 => who().prop_map(Cue::Drop),
        1 => who().prop_map(Cue::ReapBehind),
        1 => any::<bool>().prop_map(Cue::Subreaper),
        1 => (ignored(), any::<bool>()).prop_map(|(signal, ignore)| Cue::Ignore(signal, ignore)),
        1 => (any_ordinary(), any::<bool>()).prop_map(|(signal, block)| Cue::Block(signal, block)),
    ];
    let scene = prop_oneof![
        24 => cue.prop_map(|cue| vec![cue]),
        2 => pending_scene(),
        1 => abort_scene(),
        1 => real_time_scene(),
    ];
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

/// Its `SIGABRT` would do something else than end it.
fn abort_scene() -> impl Strategy<Value = Vec<Cue>> {
    let first = prop_oneof![
        2 => any::<u8>().prop_map(|code| Order::On(Signal::ABRT, Some(code))),
        1 => Just(Order::On(Signal::ABRT, None)),
        1 => Just(Order::Ignore(Signal::ABRT)),
        1 => Just(Order::Block(Signal::ABRT)),
    ];
    (any::<usize>(), first).prop_map(|(who, first)| vec![Cue::Tell(who, first), Cue::Tell(who, Order::Abort)])
}

/// A player is sent real-time signals, and takes them, or the program that it becomes does.
fn real_time_scene() -> impl Strategy<Value = Vec<Cue>> {
    (select(&REAL_TIME[..]), 0..4_usize, any::<bool>()).prop_map(|(number, times, becomes_another)| {
        let signal = Signal::new(number).expect("it is one");
        let spawn = Cue::Spawn { place: Place::Here, ignored: None, blocked: Some(signal), keeps_hup: false };
        let exec = becomes_another.then_some(Cue::Tell(LAST, Order::Exec));
        let sent = std::iter::repeat_n(Cue::Signal(LAST, signal), times);
        [spawn].into_iter().chain(sent).chain(exec).chain([Cue::Tell(LAST, Order::Take)]).collect()
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
        1 => Just(Order::SpawnNothing),
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
        1 => Just(Order::Take),
        2 => Just(Order::NewGroup),
        1 => Just(Order::NewSession),
        1 => Just(Order::Subreaper),
        1 => Just(Order::WaitForChild),
        1 => Just(Order::WaitForChildren),
    ]
}

impl Cue {
    /// The same about one of so many players; `None` if there is none.
    pub(super) fn among(&self, count: usize) -> Option<Cue> {
        let one = |index: usize| if index == LAST { count.checked_sub(1) } else { index.checked_rem(count) };
        Some(match *self {
            Cue::Spawn { place: Place::GroupOf(index), ignored, blocked, keeps_hup } => {
                Cue::Spawn { place: Place::GroupOf(one(index)?), ignored, blocked, keeps_hup }
            }
            Cue::Tell(index, order) => Cue::Tell(one(index)?, order),
            Cue::Signal(index, signal) => Cue::Signal(one(index)?, signal),
            Cue::Wait(index) => Cue::Wait(one(index)?),
            Cue::Find(index) => Cue::Find(one(index)?),
            Cue::Drop(index) => Cue::Drop(one(index)?),
            Cue::ReapBehind(index) => Cue::ReapBehind(one(index)?),
            Cue::Spawn { .. } | Cue::Subreaper(_) | Cue::Ignore(..) | Cue::Block(..) => self.clone(),
        })
    }
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
