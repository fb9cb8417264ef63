//! What a process held by its number takes from the system. `tests/model` puts a system in its place that has one process, and tries every
//! order of events.

pub(crate) use crate::calls::SignalCall;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use steadfast_linux::{
    Blocking, Reaping, SystemClock, Target, generation, kill, kill_group, kill_with_value, look_for_change, may_signal,
    pidfd_may_signal, pidfd_send_signal, pidfd_send_value, pidfd_signal_group, spawn_quiet_thread, take_change, waitid,
};
