//! What is shared with a child and with those who wait for it: a model checker compiles `spawn/flight.rs` with others.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
