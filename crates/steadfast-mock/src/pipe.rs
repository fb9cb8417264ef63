//! [`Pipes`]: bytes on their way, with room for so many, and who has which end open (pipe(7)).

use crate::table::Id;
use std::collections::VecDeque;

/// Which pipe; numbers are used again when nobody has either end.
pub(crate) type PipeId = u32;

/// Up to so many bytes are written in one piece.
pub(crate) const PIPE_BUF: usize = 4096;

#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    /// Processes that wait for room, for bytes, or for the end.
    pub(crate) sleepers: Vec<Id>,
}

pub(crate) struct Pipes {
    pipes: Vec<Pipe>,
    free: Vec<PipeId>,
    pub(crate) capacity: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Read,
    Write,
}

impl Pipes {
    pub(crate) fn new(capacity: usize) -> Pipes {
        Pipes { pipes: Vec::new(), free: Vec::new(), capacity }
    }

    /// A pipe with one of each end open.
    pub(crate) fn open(&mut self) -> PipeId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.pipes.push(Pipe::default());
            (self.pipes.len() - 1) as PipeId
        });
        (self.pipes[id as usize].readers, self.pipes[id as usize].writers) = (1, 1);
        id
    }

    pub(crate) fn get(&mut self, id: PipeId) -> &mut Pipe {
        &mut self.pipes[id as usize]
    }

    /// One more has this end.
    pub(crate) fn duplicate(&mut self, id: PipeId, end: End) {
        match end {
            End::Read => self.get(id).readers += 1,
            End::Write => self.get(id).writers += 1,
        }
    }

    /// One fewer has this end.
    pub(crate) fn close(&mut self, id: PipeId, end: End) {
        let pipe = self.get(id);
        match end {
            End::Read => pipe.readers -= 1,
            End::Write => pipe.writers -= 1,
        }
        if pipe.readers == 0 && pipe.writers == 0 {
            pipe.bytes.clear();
            self.free.push(id);
        }
    }

    /// Takes as many of the bytes as there is room for; a few in one piece or not at all.
    pub(crate) fn put(&mut self, id: PipeId, bytes: &[u8]) -> usize {
        let room = self.capacity.saturating_sub(self.get(id).bytes.len());
        if bytes.len() > room && bytes.len() <= PIPE_BUF.min(self.capacity) {
            return 0;
        }
        let taken = bytes.len().min(room);
        self.get(id).bytes.extend(&bytes[..taken]);
        taken
    }
}
