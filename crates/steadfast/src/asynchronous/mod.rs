//! What the asynchronous modules share: children, their pipes and their output, for any [`Runtime`].
//!
//! Named by way of a runtime's module: `steadfast::tokio` or `steadfast::async_io`.
//!
//! | file | holds |
//! | --- | --- |
//! | `runtime.rs` | what is asked of a runtime: readiness, timers |
//! | `hub.rs` | one `epoll` of ours in each runtime |
//! | `ear.rs` | how a task hears of what other threads do |
//! | `launch.rs` | the start of a process, as a future |
//! | `many.rs` | the starts of several, overlapped |
//! | `over.rs` | the end of a process, as a future |
//! | `change.rs` | the next stop or continuation of a process, as a future |
//! | `empty.rs` | the end of a job, as a future |
//! | `stopping.rs` | a teardown, as a future |
//! | `alarm.rs` | a time, as a future |
//! | `pipe.rs` | the pipes |
//! | `capture.rs` | a child's output |
//! | `feeding.rs` | a child's input, while its output is read |
//! | `lines.rs` | its lines, as they come |
//! | `run.rs` | a command that is run to its end, with its input |
//! | `virtual_time.rs` | simulated processes by the runtime's time |
//! | `child.rs` | [`Child`] |
//! | `traits.rs` | the extension traits, for each runtime |
//! | `twin.rs` | pipes with a descriptor, for `tokio::process` and `async_process` |

mod alarm;
mod capture;
mod change;
mod child;
mod ear;
mod empty;
mod feeding;
mod hub;
mod launch;
mod lines;
mod many;
mod over;
mod pipe;
mod run;
mod runtime;
mod stopping;
mod traits;
mod twin;
mod virtual_time;

pub(crate) use alarm::within;
pub(crate) use change::NextChange;
pub use child::Child;
pub(crate) use child::{over, wait};
pub(crate) use empty::Empty;
pub use hub::Runtime;
pub(crate) use hub::{Engine, Hubs};
pub(crate) use launch::Launch;
pub use lines::Lines;
pub(crate) use many::spawn_many;
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub(crate) use run::{Begun, Run};
pub(crate) use runtime::{Attempt, Descriptor, Interest, Poller};
pub(crate) use stopping::stop;
pub(crate) use traits::extend_for;
pub use twin::TwinStdin;
