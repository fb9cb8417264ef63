//! [`Emptied`]: what a set tells of a job.

use steadfast_core::Result;

/// A job of a [`WaitSet`](crate::WaitSet) in which nothing lives any more.
#[derive(Debug)]
#[non_exhaustive]
pub struct Emptied<K> {
    /// The key that it was added with.
    pub key: K,
    /// `Ok`: nothing lives in it, zombies apart. Otherwise why that cannot be known ([`Error::System`](crate::Error::System)); the job has left the set all the same.
    pub result: Result<()>,
}
