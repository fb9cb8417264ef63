//! The ends of pipes that the program under test has.

use super::shared::Kernel;
use crate::model::host::Call;
use crate::model::ids::{End, PipeId};
use crate::model::seen::{Seen, Who};
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::world::World;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{Errno, PipeRead, PipeWrite, PlanStdio};

/// An end that the program under test has open.
pub(crate) struct Stream {
    kernel: Kernel,
    pub(crate) pipe: PipeId,
    pub(crate) end: End,
    /// The process at the other end.
    who: Who,
}

pub(crate) struct ReadEnd(Stream);
pub(crate) struct WriteEnd(Stream);

impl ReadEnd {
    pub(crate) fn new(kernel: &Kernel, pipe: PipeId, who: Who) -> ReadEnd {
        ReadEnd(Stream::new(kernel, pipe, End::Read, who))
    }
}

impl WriteEnd {
    pub(crate) fn new(kernel: &Kernel, pipe: PipeId, who: Who) -> WriteEnd {
        WriteEnd(Stream::new(kernel, pipe, End::Write, who))
    }
}

fn failed(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.as_raw())
}

impl Stream {
    fn new(kernel: &Kernel, pipe: PipeId, end: End, who: Who) -> Stream {
        Stream { kernel: kernel.clone(), pipe, end, who }
    }

    fn enter(&self, call: Call) -> io::Result<()> {
        self.kernel.call(|world| world.enter(call, self.who.name)).map_err(failed)
    }
}

impl Stream {
    /// The end that a process is to be given.
    pub(crate) fn of(stdio: &PlanStdio) -> Option<&Stream> {
        match stdio {
            PlanStdio::End(end) => end.downcast_ref(),
            _ => None,
        }
    }

    /// Whether it is an end of a pipe of this simulation.
    pub(crate) fn is_of(&self, kernel: &Kernel) -> bool {
        Arc::ptr_eq(&self.kernel.shared, &kernel.shared)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.kernel.call(|world| {
            world.close_pipe(self.pipe, self.end);
            world.open_files -= 1;
        });
    }
}

impl PipeWrite for WriteEnd {
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.0)
    }

    fn write_deadline(&self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<Option<usize>> {
        let Stream { kernel, pipe, .. } = &self.0;
        self.0.enter(Call::Write)?;
        let deadline = deadline.map(|deadline| kernel.nanos(deadline));
        let written = kernel.block(For::Pipe(*pipe), deadline, |world| {
            if world.pipes.get(*pipe).readers == 0 {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let put = world.pipes.put(*pipe, bytes, true);
            if put == 0 && !bytes.is_empty() {
                return None;
            }
            world.wake_pipe(*pipe);
            Some(Ok(put))
        });
        match (written, deadline) {
            (Some(written), _) => written.map(Some),
            (None, Some(_)) => Ok(None),
            // Only in a run that is over already.
            (None, None) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl PipeRead for ReadEnd {
    fn into_end(self: Box<Self>) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.0)
    }

    fn read_deadline(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<Option<usize>> {
        let Stream { kernel, pipe, .. } = &self.0;
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        self.0.enter(Call::Read)?;
        let deadline = deadline.map(|deadline| kernel.nanos(deadline));
        Ok(kernel.block(For::Pipe(*pipe), deadline, |world| {
            let there = world.pipes.get(*pipe);
            if there.is_empty() {
                return (there.writers == 0).then_some(0);
            }
            let mut count = 0;
            for byte in there.take(buffer.len()) {
                buffer[count] = byte;
                count += 1;
            }
            world.note_call(What::Seen(Seen::Reads(count as u32)));
            world.wake_pipe(*pipe);
            Some(count)
        }))
    }

    fn block_until(&self, deadline: Option<Instant>, ready: &mut dyn FnMut() -> bool) {
        let kernel = &self.0.kernel;
        let deadline = deadline.map(|deadline| kernel.nanos(deadline));
        loop {
            let before = kernel.lock().host.threads.changes_of_machine();
            if ready() {
                return;
            }
            // Its own look takes locks, and that is no news.
            let after = kernel.lock().host.threads.changes();
            let has_changed = |world: &mut World| {
                let threads = &world.host.threads;
                (threads.changes_of_machine() != before || threads.changes() != after).then_some(())
            };
            if kernel.block(For::Anything, deadline, has_changed).is_none() {
                return;
            }
        }
    }
}
