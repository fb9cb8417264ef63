//! [`WaitSet::ready`]: all that have exited so far.

use super::set::{Exited, WaitSet};
use std::fmt;
use std::hash::Hash;

impl<K: Eq + Hash> WaitSet<K> {
    /// Returns all that have exited so far, without blocking: for an event loop.
    pub fn ready(&self) -> Ready<'_, K> {
        Ready { set: self }
    }
}

/// See [`WaitSet::ready`].
pub struct Ready<'a, K> {
    set: &'a WaitSet<K>,
}

impl<K: Eq + Hash> Iterator for Ready<'_, K> {
    type Item = Exited<K>;
    fn next(&mut self) -> Option<Exited<K>> {
        self.set.try_wait()
    }
}

impl<K> fmt::Debug for Ready<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}
