//! The lock of the state machine. `tests/model` puts one in its place that tries every order.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
