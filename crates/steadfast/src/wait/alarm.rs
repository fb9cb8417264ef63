//! [`Alarm`]: a descriptor that a handle's news make readable.

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use steadfast_core::{Errno, Error, Result, Watcher};

pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// For waiting for `subject`.
    pub(crate) fn new(subject: &str) -> Result<Arc<Alarm>> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| Error::System {
            call: "eventfd",
            subject: subject.to_owned(),
            source: Errno::from_raw(errno.raw_os_error()),
        })?;
        Ok(Arc::new(Alarm(fd)))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn watcher(self: &Arc<Self>) -> Arc<dyn Watcher> {
        Arc::clone(self) as Arc<dyn Watcher>
    }

    pub(crate) fn ring(&self) {
        // Cannot fail: it counts far further.
        _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Until it rings again, it is not readable.
    pub(crate) fn reset(&self) {
        // `EAGAIN`: it was not.
        _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Watcher for Alarm {
    fn notify(&self, _: u64) {
        self.ring();
    }
}
