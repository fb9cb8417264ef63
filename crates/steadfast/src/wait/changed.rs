//! [`Changed`]: what a set tells of stops and continuations.

use crate::{Change, Process};
use steadfast_core::Result;

/// A process of a [`WaitSet`](crate::WaitSet) that has stopped, goes on, or has exited.
#[derive(Debug)]
#[non_exhaustive]
pub struct Changed<K> {
    /// The key that it was added with.
    pub key: K,
    /// Its handle.
    pub process: Process,
    /// What has changed. After [`Change::Exited`] and after an error the process has left the set.
    pub change: Result<Change>,
}
