//! [`Pipes`]: bytes on their way, with room for so many, and who has which end open (pipe(7)).

use super::ids::{End, Id, PipeId};
use std::collections::VecDeque;

/// A pipe is a row of pages. A write of a page (`PIPE_BUF`) or less is not divided among two; so a page that has no room for it stays as it
/// is, and a pipe can be full with fewer bytes than it holds at best.
const PAGE: usize = 4096;

#[derive(Default)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    pages: VecDeque<Page>,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    /// Processes that wait for room, for bytes, or for the end.
    pub(crate) sleepers: Vec<Id>,
}

struct Page {
    /// Up to where it has been written.
    filled: usize,
    /// How much of that nobody has read.
    unread: usize,
}

pub(crate) struct Pipes {
    pipes: Vec<Pipe>,
    free: Vec<PipeId>,
    page: usize,
    /// How many pages each has.
    pages: usize,
}

impl Pipe {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes out so many bytes, or what is there. A page makes room when all of it was read.
    pub(crate) fn take(&mut self, most: usize) -> impl Iterator<Item = u8> {
        let count = most.min(self.bytes.len());
        let mut left = count;
        while left > 0 {
            let Some(page) = self.pages.front_mut() else { break };
            let read = page.unread.min(left);
            page.unread -= read;
            left -= read;
            if page.unread == 0 {
                self.pages.pop_front();
            }
        }
        self.bytes.drain(..count)
    }
}

impl Pipes {
    pub(crate) fn new(capacity: usize) -> Pipes {
        let page = PAGE.min(capacity);
        Pipes { pipes: Vec::new(), free: Vec::new(), page, pages: capacity / page }
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
            pipe.pages.clear();
            self.free.push(id);
        }
    }

    /// Puts in as many of the bytes as there is room for (pipe_write in the kernel). `begins`: they are not what is left of a write.
    pub(crate) fn put(&mut self, id: PipeId, bytes: &[u8], begins: bool) -> usize {
        let (size, most) = (self.page, self.pages);
        let pipe = self.get(id);
        // What does not fill a page goes into the last one, if it goes there as a whole.
        let odd = bytes.len() % size;
        let mut done = 0;
        if let Some(last) = pipe.pages.back_mut().filter(|last| begins && last.filled + odd <= size) {
            last.filled += odd;
            last.unread += odd;
            done = odd;
        }
        while done < bytes.len() && pipe.pages.len() < most {
            let filled = size.min(bytes.len() - done);
            pipe.pages.push_back(Page { filled, unread: filled });
            done += filled;
        }
        pipe.bytes.extend(&bytes[..done]);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured on Linux 6.18: how much a pipe takes when it is filled by writes of this size.
    #[test]
    fn it_is_full_when_a_real_one_is() {
        for (size, expected) in [(1, 65_536), (100, 64_000), (3000, 48_000), (4096, 65_536), (5000, 54_096), (65_536, 65_536)] {
            let mut pipes = Pipes::new(65_536);
            let pipe = pipes.open();
            let mut taken = 0;
            loop {
                match pipes.put(pipe, &vec![0; size], true) {
                    0 => break,
                    some => taken += some,
                }
            }
            assert_eq!(taken, expected, "by writes of {size}");
        }
    }
}
