//! The face: what a test and the library see of a simulation: the kernel with its builder, the backend traits, pipes, threads that take turns.
//! Here is the one lock, and here threads of the operating system wait.
//!
//! **It must not know** that a run may be one of many: how a test is explored, what a failed run is shrunk to, how it is kept in a file.

pub(crate) mod backend;
pub(crate) mod builder;
mod change;
mod follow;
mod job;
pub(crate) mod kernel;
mod look;
mod naming;
pub(crate) mod shared;
pub(crate) mod sim;
mod start;
pub(crate) mod stream;
pub(crate) mod turn;
