//! [`Threads`]: the threads of a test that take turns: whose turn it is, and who waits for what.

use super::verdict::Verdict;
use crate::model::ids::{Id, JobId, PipeId};
use std::thread;

/// What a blocked thread waits for; it looks again when somebody says that this has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Time,
    Process(Id),
    Pipe(PipeId),
    Job(JobId),
    Thread(u32),
    /// All the threads that it has not joined.
    AllThreads,
    /// A lock or a condition of [`steadfast_core::sync`].
    Sync(u64),
    Anything,
}

/// The threads that take turns; none, if the test's threads run as they like.
pub(crate) struct Threads {
    pub(crate) list: Vec<Thread>,
    /// Who runs now.
    pub(crate) turn: u32,
    pub(crate) calls: u64,
    pub(crate) max_calls: u64,
    pub(crate) verdict: Option<Verdict>,
    /// How often something has changed that somebody might have waited for.
    changes: u64,
    /// How many of these were a lock's or a condition's.
    syncs: u64,
    /// Blocked threads of a test whose threads run as they like.
    pub(crate) outside: u32,
}

pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) state: State,
    /// The operating system's, once it has begun.
    pub(crate) real: Option<thread::Thread>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum State {
    Ready,
    Blocked { on: For, until: Option<u64> },
    Ended,
}

impl Threads {
    /// They run as they like.
    pub(crate) fn free() -> Threads {
        Threads { list: Vec::new(), turn: 0, calls: 0, max_calls: u64::MAX, verdict: None, changes: 0, syncs: 0, outside: 0 }
    }

    /// They take turns, beginning with this one; so many calls may be made.
    pub(crate) fn in_turn(max_calls: u64) -> Threads {
        let mut threads = Threads { max_calls, ..Threads::free() };
        threads.add(Some("main".into()));
        threads
    }

    pub(crate) fn add(&mut self, name: Option<String>) -> u32 {
        let name = name.unwrap_or_else(|| format!("thread {}", self.list.len()));
        self.list.push(Thread { name, state: State::Ready, real: None });
        (self.list.len() - 1) as u32
    }

    pub(crate) fn running(&self) -> u32 {
        self.turn
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// As [`changes`](Self::changes), of the machine alone.
    pub(crate) fn changes_of_machine(&self) -> u64 {
        self.changes - self.syncs
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) fn name(&self, thread: u32) -> String {
        match self.list.get(thread as usize) {
            Some(thread) => thread.name.clone(),
            None => "the test".into(),
        }
    }

    pub(crate) fn has_ended(&self, thread: u32) -> bool {
        self.list[thread as usize].state == State::Ended
    }

    pub(crate) fn others_have_ended(&self, me: u32) -> bool {
        self.list.iter().enumerate().all(|(index, thread)| index == me as usize || thread.state == State::Ended)
    }

    /// This has changed: whoever waits for it looks again.
    pub(crate) fn wake(&mut self, what: For) {
        self.changes += 1;
        self.syncs += u64::from(matches!(what, For::Sync(_)));
        for thread in &mut self.list {
            if matches!(thread.state, State::Blocked { on, .. } if on == what || on == For::Anything) {
                thread.state = State::Ready;
            }
        }
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = u32> {
        (0..self.list.len() as u32).filter(|index| self.list[*index as usize].state == State::Ready)
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let until = |thread: &Thread| match thread.state {
            State::Blocked { until, .. } => until,
            _ => None,
        };
        self.list.iter().filter_map(until).min()
    }

    pub(crate) fn wake_until(&mut self, now: u64) {
        for thread in &mut self.list {
            if matches!(thread.state, State::Blocked { until: Some(until), .. } if until <= now) {
                thread.state = State::Ready;
            }
        }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.verdict.is_some()
    }

    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }
}

/// One that has not begun sees by itself whose turn it is.
pub(crate) fn unpark(thread: &Option<thread::Thread>) {
    if let Some(thread) = thread {
        thread.unpark();
    }
}
