//! The model: the kernel that is simulated. Processes, groups and sessions, signals, pipes; time is a number. It is a state machine
//! ([`Machine`]): it is told what is called and when time has come to an event, changes, and says what happened to a [`Host`].
//!
//! **It must not know** threads, locks and clocks; the traits of a backend; what a program's name means; how something is decided by chance;
//! what a test is. What of that it needs, its host says. Each of its calls returns at once.
//!
//! | file | holds |
//! | --- | --- |
//! | `machine.rs`, `host.rs` | the state, and who surrounds it |
//! | `step.rs` | what a process can be made to do: its instructions |
//! | `seen.rs` | what happened, in records |
//! | `ids.rs` | what goes by a number |
//! | `jobs.rs`, `members.rs` | what holds processes together; who lives in it |
//! | `process.rs`, `table.rs`, `queue.rs`, `pipe.rs`, `bits.rs`, `boot.rs` | the parts of the state |
//! | `steps.rs`, `plumbing.rs`, `signals.rs`, `ends.rs`, `spawn.rs` | how it changes |

pub(crate) mod bits;
mod boot;
mod ends;
pub(crate) mod host;
pub(crate) mod ids;
pub(crate) mod jobs;
pub(crate) mod machine;
mod members;
mod pipe;
mod plumbing;
pub(crate) mod process;
mod queue;
pub(crate) mod seen;
mod signals;
pub(crate) mod spawn;
pub(crate) mod step;
mod steps;
pub(crate) mod table;

#[cfg(test)]
mod tests;
