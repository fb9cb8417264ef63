//! What has news in a [`WaitSet`] is looked at, and what was found is left to whom it is for.

use super::entries::{Entry, What};
use super::own::{Again, State};
use super::set::{Exited, WaitSet};
use super::signal::{Ends, Vain};
use super::{Verdict, verdict};
use crate::Process;
use crate::places::Token;
use crate::remains::put_away;
use std::hash::Hash;
use steadfast_core::Result;

impl<K: Eq + Hash> WaitSet<K> {
    /// Nothing is left: an event loop that the descriptor is lent to must not find it readable for what was taken long ago.
    pub(super) fn be_silent(&self) {
        if self.own().shared.silence() {
            let mut state = self.lock();
            self.own().shared.take_inbox(&mut *state);
            if state.entries.processes() == 0 {
                // Of processes that are here no more.
                state.ready.clear();
                // What was made silent may have been for them.
                self.own().shared.wake_leavers(1);
            } else if !state.ready.is_empty() {
                // Another thread has added one, which was told just now.
                self.own().shared.wake();
            }
            self.tell_next(&state);
        }
    }

    /// An interrupt, or the news of a job, that came together with what this call returns are another thread's, if one waits: it was woken, and may
    /// have seen nothing any more.
    pub(super) fn pass_on(&self) {
        let shared = &self.own().shared;
        shared.pass_on_interrupt();
        let state = self.lock();
        self.tell_next(&state);
        if !state.told.is_empty() {
            shared.ring_if_lent();
        }
    }

    /// Those who wait for jobs have something to look at.
    fn tell_next(&self, state: &State<K>) {
        if !state.told.is_empty() {
            self.own().shared.wake_next();
        }
    }

    /// The first news that are worth it, of those for who waits like this; those in `seen` have some. The caller counts as so many leavers.
    pub(super) fn take_news(
        &self,
        seen: &mut Vec<Token>,
        again: Again,
        ends: Ends,
        own_leavers: usize,
    ) -> Option<Result<Exited<K>, Vain<K>>> {
        let mut state = self.lock();
        let told = state.told.len();
        state.extend(seen.drain(..));
        self.own().shared.take_inbox(&mut *state);
        state.look_again(again);
        if ends == Ends::ByEmptiness && state.told.len() > told {
            // This thread has taken what those were woken for, or were to be.
            self.tell_next(&state);
        }
        drop(state);
        if ends == Ends::ByInterrupts {
            if let Some(news) = self.take_told() {
                return Some(Err(news));
            }
        }
        self.take_ready(own_leavers).map(Ok)
    }

    /// The first process that has news which are worth it.
    fn take_ready(&self, own_leavers: usize) -> Option<Exited<K>> {
        let mut state = self.lock();
        loop {
            let Some(token) = state.ready.pop_front() else {
                // Whoever has read the alarm tells those that it was for. This thread is none of them, or it would be told, and whoever is
                // lent the descriptor, again at each look.
                if state.entries.processes() == 0 {
                    self.own().shared.wake_leavers(own_leavers);
                }
                return None;
            };
            let Some(member) = state.entries.get(token).and_then(Entry::process) else { continue };
            let mut pidfd = None;
            let verdict = if self.own().shared.has_descriptors() {
                // Lent, so that it is not closed here.
                pidfd = member.lend().ok();
                verdict(member, member.end(), &self.own().watcher, token.0)
            } else {
                // In a simulation even a look lets other threads go on, and they must not find the lock taken.
                let (process, end) = (Process::clone(member), member.end());
                drop(state);
                let verdict = verdict(&process, end, &self.own().watcher, token.0);
                state = self.lock();
                verdict
            };
            if let Verdict::Over(status) = verdict {
                // Unless another thread has reported it meanwhile.
                let Some(Entry { key, what: What::Process(member) }) = state.entries.remove(token) else { continue };
                state.later.hope();
                self.tell_sleepers(&state);
                self.hand_over(&state);
                let to_come = state.ready.len();
                drop(state);
                pidfd.into_iter().for_each(|pidfd| put_away(pidfd, to_come));
                let (process, child) = member.into_parts();
                return Some(Exited { key, child, process, status });
            }
            let Some(member) = state.entries.get(token).and_then(Entry::process) else { continue };
            let (process, end) = (Process::clone(member), member.end());
            drop(state);
            // It will be heard of again, from the backend; unless that is refused, which is not its end.
            let is_watched = matches!(verdict, Verdict::NotYet) && process.watch_end(end, &self.own().watcher, token.0).is_ok();
            if !is_watched {
                // What others do with the handle needs nothing that could be refused.
                process.watch(&self.own().watcher, token.0);
            }
            state = self.lock();
            if !is_watched {
                state.leave_for_later(token);
            }
        }
    }

    /// For who leaves: somebody has to look after those that nobody tells of.
    pub(super) fn hand_over(&self, state: &State<K>) {
        if !state.later.is_empty() {
            self.own().shared.hand_over(state.later.pause());
        }
    }

    /// There may be something left for those who sleep, or nothing to sleep for any more.
    pub(super) fn tell_sleepers(&self, state: &State<K>) {
        if !state.ready.is_empty() {
            self.own().shared.wake();
        } else if state.entries.processes() == 0 {
            self.own().shared.wake_leavers(0);
        }
    }
}
