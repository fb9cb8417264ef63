//! What comes next when nobody can go on, and what is wrong with a run.

use super::threads::{For, State, unpark};
use super::verdict::Verdict;
use super::world::World;
use crate::model::ids::Slot;

/// What comes next, for threads that take turns.
pub(crate) enum Next {
    Turn(u32),
    /// Somebody is to be told of an exit first.
    Tell,
    /// Nothing, ever.
    Nothing,
}

impl World {
    /// Who goes on next; time passes until somebody can.
    pub(crate) fn next_turn(&mut self) -> Next {
        loop {
            if self.host.notices.are_due() {
                return Next::Tell;
            }
            let ready = self.host.threads.ready().count() as u32;
            if ready > 0 {
                let chosen = self.host.chance.choose(ready) as usize;
                return self.host.threads.ready().nth(chosen).map_or(Next::Nothing, Next::Turn);
            }
            match (self.next_event(), self.host.threads.next_deadline()) {
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => self.happen(),
                (_, Some(deadline)) => {
                    self.now = self.now.max(deadline);
                    self.host.threads.wake_until(self.now);
                }
                (_, None) => return Next::Nothing,
            }
        }
    }

    /// Ends the run, unless it is over already; all its threads are woken, to unwind.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.host.threads.verdict.get_or_insert(verdict);
        for thread in &self.host.threads.list {
            unpark(&thread.real);
        }
    }

    /// What is wrong with a run whose threads have all ended well.
    pub(crate) fn last_judgement(&mut self) -> Option<Verdict> {
        while self.next_event().is_some_and(|at| at <= self.now) {
            self.happen();
        }
        let children: Vec<String> = self.children().into_iter().map(|slot| self.in_short(slot)).collect();
        if !children.is_empty() {
            return Some(Verdict::Leak { children });
        }
        let processes: Vec<String> = self.outliving().into_iter().map(|slot| self.in_short(slot)).collect();
        if !processes.is_empty() {
            return Some(Verdict::Outlived { processes });
        }
        let expectations = self.host.programs.expectations.unmet();
        (!expectations.is_empty()).then_some(Verdict::Unmet { expectations })
    }

    /// A process, and what it does.
    fn in_short(&self, slot: Slot) -> String {
        format!("{} {}", self.in_words(slot), self.table[slot].occupation())
    }

    pub(crate) fn deadlock(&self) -> Verdict {
        let mut waiting = Vec::new();
        for thread in &self.host.threads.list {
            if let State::Blocked { on, .. } = thread.state {
                waiting.push(format!("{} waits for {}", thread.name, self.awaited(on)));
            }
        }
        waiting.extend(self.table.all().map(|slot| self.in_short(slot)));
        Verdict::Deadlock { waiting }
    }

    fn awaited(&self, on: For) -> String {
        let named = |slot| self.in_words(slot);
        match on {
            For::Time | For::Anything => "something to happen".into(),
            For::Process(id) => self.table.by_id(id).map_or("a process that is gone".into(), named),
            For::Pipe(pipe) => {
                let has_it = |slot: &u32| self.table[*slot].streams.contains(&Some(pipe));
                let holders: Vec<String> = self.table.all().filter(has_it).map(named).collect();
                format!("a pipe that is open in {}", if holders.is_empty() { "nobody".into() } else { holders.join(", ") })
            }
            For::Job(job) => format!("job {job} to be empty"),
            For::Thread(thread) => format!("the end of {}", self.host.threads.name(thread)),
            For::AllThreads => "all other threads to end".into(),
            For::Sync(_) => "a lock or a condition".into(),
        }
    }
}
