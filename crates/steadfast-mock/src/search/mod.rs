//! The search: a test in many orders, the smallest run in which it fails, and that run as a file.
//!
//! **It must not know** what a kernel does: it boots one for each run, tells it what to choose, and asks how it ended.

pub(crate) mod explore;
pub(crate) mod failure;
mod outcome;
mod replay;
mod shrink;
