//! Waiting for several processes: [`wait_any`] for a few, once, and [`WaitSet`] for thousands, again and again.

mod any;
mod entries;
mod set;
mod signal;

pub use any::wait_any;
pub use set::{Exited, Ready, WaitSet};
