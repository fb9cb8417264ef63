//! [`Call`]: a call to the backend in progress, counted until it comes back.

use super::{Inner, Learnt};
use crate::BackendProcess;
use std::sync::Arc;

/// A call to the backend in progress. Ends when dropped, a panic in a backend included.
pub(super) struct Call<'a> {
    pub(super) inner: &'a Inner,
    pub(super) process: Option<Arc<dyn BackendProcess>>,
    pub(super) learnt: Learnt,
}

impl Call<'_> {
    pub(super) fn process(&self) -> &Arc<dyn BackendProcess> {
        match &self.process {
            Some(process) => process,
            None => unreachable!("only taken in drop"),
        }
    }

    pub(super) fn end(mut self, learnt: Learnt) {
        self.learnt = learnt;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Our own reference goes first, so that the one in the state is the last.
        self.process = None;
        let mut state = self.inner.lock();
        state.calls -= 1;
        state.learn(&self.learnt);
        self.inner.part(state);
    }
}
