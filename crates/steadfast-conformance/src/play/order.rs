//! [`Order`]: what a player is told, as words and back.

use std::fmt;
use std::str::FromStr;
use steadfast_core::Signal;

/// What a player, a process of a play, is told to do at once. Then it waits for the next order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "every player must know all of them")]
pub enum Order {
    /// Starts another player.
    Spawn,
    /// Tries to start a program that is not there.
    SpawnNothing,
    /// Becomes another player.
    Exec,
    /// Exits with this code.
    Exit(u8),
    /// Calls abort(3).
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
    /// Takes all real-time signals that are pending and blocked, and says how many there were.
    Take,
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
            Order::SpawnNothing => f.write_str("spawn-nothing"),
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
            Order::Take => f.write_str("take"),
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
            ["spawn-nothing"] => Order::SpawnNothing,
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
            ["take"] => Order::Take,
            ["new-group"] => Order::NewGroup,
            ["new-session"] => Order::NewSession,
            ["subreaper"] => Order::Subreaper,
            ["wait-for-child"] => Order::WaitForChild,
            ["wait-for-children"] => Order::WaitForChildren,
            _ => return Err(unknown()),
        })
    }
}
