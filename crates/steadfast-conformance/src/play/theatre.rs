//! [`Theatre`]: where plays are performed, and what is seen there.

use super::order::Order;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Pid, PlanBuilder, ProcessBackend, Signal};

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

    /// Tells a player; returns when it has done it, or cannot say so any more. What [`Order::Take`] has taken; otherwise `None`.
    fn tell(&self, player: Pid, order: Order) -> Option<u32>;

    /// What is to be seen of a process; `None` if there is none.
    fn look(&self, pid: Pid) -> Option<Sight>;

    /// Reaps a zombie of the driver's behind its back.
    fn reap_behind(&self, pid: Pid);

    /// Whether the driver is a subreaper.
    fn set_subreaper(&self, is_one: bool);

    /// Whether the driver ignores a signal, or else has its default action.
    fn ignore(&self, signal: Signal, ignore: bool);

    /// Whether the driver blocks a signal.
    fn block(&self, signal: Signal, block: bool);
}

/// How long what must come may take to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
