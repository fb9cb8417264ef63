//! A simulated kernel.
#![forbid(unsafe_code)]

mod backend;
mod chance;
mod check;
mod expect;
mod explore;
mod fault;
mod kernel;
mod log;
mod pipe;
mod process;
mod replay;
mod script;
mod shrink;
mod signals;
mod sim;
mod stream;
mod table;
mod trace;
mod turn;
mod verdict;
mod world;

pub use check::Contradiction;
pub use expect::Expect;
pub use explore::{Exploration, Explored, Failure};
pub use fault::{Call, Fault};
pub use kernel::{Builder, Kernel, ProcessInfo, ProcessState, Run};
pub use log::Ran;
pub use replay::ReplayError;
pub use script::{Image, Script};
pub use sim::{Sim, Thread};
pub use verdict::Verdict;
