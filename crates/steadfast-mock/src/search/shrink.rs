//! The smallest run that goes wrong in the same way: the one with the fewest departures from the calm order, in which everybody goes
//! on as long as they can and no call fails.

use super::outcome::Outcome;
use crate::order::chance::Choice;

/// Looks for a smaller run, and how many were tried for it. `run` performs one with these choices, and then calmly.
pub(crate) struct Shrink<R> {
    pub(crate) best: Outcome,
    pub(crate) tried: usize,
    most: usize,
    run: R,
}

pub(crate) fn departures(choices: &[Choice]) -> usize {
    choices.iter().filter(|choice| choice.taken != 0).count()
}

/// As many as it takes to choose the same again: then all is calm.
pub(crate) fn without_calm_end(mut choices: Vec<Choice>) -> Vec<Choice> {
    let last = choices.iter().rposition(|choice| choice.taken != 0);
    choices.truncate(last.map_or(0, |last| last + 1));
    choices
}

impl<R: Fn(Vec<Choice>) -> Outcome> Shrink<R> {
    pub(crate) fn new(first: Outcome, most: usize, run: R) -> Shrink<R> {
        Shrink { best: first, tried: 0, most, run }
    }

    pub(crate) fn search(&mut self) {
        self.calm_down();
        if departures(&self.best.choices) > 1 {
            self.depart_once();
            // With a shorter run to begin with, more may be found.
            self.calm_down();
        }
    }

    /// Tries a run; it is the best so far if it goes wrong in the same way with less.
    fn try_out(&mut self, choices: Vec<Choice>) -> Option<Outcome> {
        self.tried += 1;
        let outcome = (self.run)(choices);
        let size = |outcome: &Outcome| (departures(&outcome.choices), outcome.lines);
        let is_like = outcome.verdict.as_ref().zip(self.best.verdict.as_ref()).is_some_and(|(one, other)| one.is_like(other));
        if is_like && size(&outcome) < size(&self.best) {
            self.best = outcome;
            return None;
        }
        Some(outcome)
    }

    /// Takes departures back: half of the run at once, then a quarter, down to each by itself.
    fn calm_down(&mut self) {
        let mut width = self.best.choices.len();
        while width > 0 {
            let mut from = 0;
            while from < self.best.choices.len() && self.tried < self.most {
                let mut candidate = self.best.choices.clone();
                let to = (from + width).min(candidate.len());
                let is_smaller = departures(&candidate[from..to]) > 0;
                candidate[from..to].iter_mut().for_each(|choice| choice.taken = 0);
                from = to;
                if is_smaller {
                    self.try_out(candidate);
                }
            }
            width /= 2;
        }
    }

    /// The calm run with one departure, in any place: a departure taken back changes what the ones behind it mean, so that taking back
    /// alone may end with several where one would do.
    fn depart_once(&mut self) {
        let Some(calm) = self.try_out(Vec::new()) else { return };
        let each = calm.choices.iter().enumerate().flat_map(|(at, Choice { of, .. })| (1..*of).map(move |taken| (at, taken)));
        let every = each.clone().count().div_ceil(self.most.saturating_sub(self.tried).max(1)).max(1);
        for (at, taken) in each.step_by(every) {
            if self.tried >= self.most || departures(&self.best.choices) <= 1 {
                return;
            }
            let mut choices = calm.choices[..=at].to_vec();
            choices[at].taken = taken;
            self.try_out(choices);
        }
    }
}
