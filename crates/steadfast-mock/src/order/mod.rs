//! The order: which of all the things that could be next is next. What the seed decides, whose turn it is among threads, when time passes; what
//! happened in which order (the trace), who is to be told of an exit; and when nothing can ever happen again.
//!
//! **It must not know** the traits of a backend, how a thread is parked, what a test asks for, or that a run may be one of many.

mod catch_up;
pub(crate) mod chance;
mod change;
pub(crate) mod follow;
pub(crate) mod judge;
pub(crate) mod notice;
pub(crate) mod threads;
pub(crate) mod trace;
pub(crate) mod verdict;
pub(crate) mod world;
