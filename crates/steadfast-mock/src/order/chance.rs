//! [`Chance`]: what a run leaves to chance, all of it from one seed; what was chosen is written down, so that it can be chosen again.

/// One decision: which alternative was taken, of how many. Alternative 0 is the calm one: nobody else goes on, nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) taken: u16,
    pub(crate) of: u16,
}

pub(crate) struct Chance {
    rng: fastrand::Rng,
    /// What the test and its programs ask for; apart from the decisions, so that these can be changed while it stays.
    free: fastrand::Rng,
    /// Which of the events of one moment comes first.
    ranks: fastrand::Rng,
    mode: Mode,
    choices: Vec<Choice>,
}

pub(crate) enum Mode {
    /// As the seed has it, and nobody will want to know.
    Free,
    /// As the seed has it.
    Recorded,
    /// These, and then calm; the first that did not fit.
    Scripted { script: Vec<Choice>, misfit: Option<(usize, Choice)> },
}

impl Chance {
    pub(crate) fn new(seed: u64, mode: Mode) -> Chance {
        let rng = |which| fastrand::Rng::with_seed(seed ^ which);
        Chance { rng: rng(0), free: rng(0x5bd1_e995_9d1b_87a3), ranks: rng(0x2545_f491_4f6c_dd1d), mode, choices: Vec::new() }
    }

    /// One of so many alternatives.
    pub(crate) fn choose(&mut self, of: u32) -> u32 {
        self.decide(of, |rng| rng.u32(0..of))
    }

    /// One of so many alternatives, of which the calm one is as likely as not: passing the turn costs time, and a bug that needs a thread
    /// to get far ahead of the others is found more easily.
    pub(crate) fn choose_calmly(&mut self, of: u32) -> u32 {
        self.decide(of, |rng| if rng.bool() { 0 } else { rng.u32(0..of) })
    }

    /// Whether it is so, which has this probability.
    pub(crate) fn is_so(&mut self, probability: f64) -> bool {
        self.decide(2, |rng| u32::from(rng.f64() < probability)) == 1
    }

    fn decide(&mut self, of: u32, by_seed: impl FnOnce(&mut fastrand::Rng) -> u32) -> u32 {
        if of < 2 {
            return 0;
        }
        let taken = match &mut self.mode {
            Mode::Free => return by_seed(&mut self.rng),
            Mode::Recorded => by_seed(&mut self.rng),
            Mode::Scripted { script, misfit } => {
                let index = self.choices.len();
                match script.get(index) {
                    None => 0,
                    Some(choice) if u32::from(choice.of) == of => u32::from(choice.taken),
                    Some(choice) => {
                        misfit.get_or_insert((index, Choice { taken: 0, of: of as u16 }));
                        if u32::from(choice.taken) < of { u32::from(choice.taken) } else { 0 }
                    }
                }
            }
        };
        self.choices.push(Choice { taken: taken as u16, of: of as u16 });
        taken
    }

    pub(crate) fn rank(&mut self) -> u8 {
        self.ranks.u8(..)
    }

    /// A number for the test or for a program.
    pub(crate) fn number(&mut self, range: std::ops::Range<u64>) -> u64 {
        assert!(!range.is_empty(), "random({range:?}): there is no number in this range");
        self.free.u64(range)
    }

    /// What was chosen; there is nothing left of it here.
    pub(crate) fn take_choices(&mut self) -> Vec<Choice> {
        std::mem::take(&mut self.choices)
    }

    pub(crate) fn misfit(&self) -> Option<(usize, Choice)> {
        match self.mode {
            Mode::Scripted { misfit, .. } => misfit,
            _ => None,
        }
    }
}
