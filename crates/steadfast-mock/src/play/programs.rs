//! [`Programs`]: what is installed, under which names, and what a name means when it is executed.

use super::expect::{Answer, Expectations};
use super::run::Run;
use super::script::Script;
use super::setup::{Program, Setup};
use crate::model::step::Code;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use steadfast_core::{Errno, Plan};

pub(crate) struct Programs {
    setup: Arc<Setup>,
    /// How often each was run, by its index in the setup.
    runs: Vec<u64>,
    /// Names that are not of the setup's programs.
    names: Vec<OsString>,
    pub(crate) expectations: Expectations,
}

impl Programs {
    pub(crate) fn new(setup: &Arc<Setup>) -> Programs {
        let expectations = Expectations::new(&setup.expectations);
        Programs { runs: vec![0; setup.programs.len()], names: Vec::new(), expectations, setup: Arc::clone(setup) }
    }

    pub(crate) fn name(&self, name: u32) -> &OsStr {
        let known = self.setup.programs.len();
        match self.setup.programs.get(name as usize) {
            Some((name, _)) => name,
            None => self.names.get(name as usize - known).map_or(OsStr::new("?"), |name| name),
        }
    }

    /// The number of a program's name.
    pub(crate) fn intern(&mut self, name: &OsStr) -> u32 {
        let known = self.setup.programs.len();
        if let Ok(index) = self.setup.programs.binary_search_by(|(program, _)| program.as_os_str().cmp(name)) {
            return index as u32;
        }
        let index = self.names.iter().position(|given| given == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        (known + index) as u32
    }

    /// What a program does at its next run, or why it cannot be executed.
    pub(crate) fn load(
        &mut self,
        name: u32,
        args: &[OsString],
        plan: Option<&Plan>,
        random: impl FnOnce() -> u64,
    ) -> Result<Code, Errno> {
        let setup = Arc::clone(&self.setup);
        let Some((_, program)) = setup.programs.get(name as usize) else { return Err(Errno::NOENT) };
        let number = self.runs[name as usize];
        let code = match program {
            Program::NotExecutable => return Err(Errno::ACCES),
            Program::Fixed(code) => Arc::clone(code),
            Program::Decides(script) => {
                let run = Run::new(self.name(name), number, args, plan, random());
                decided(&run, script(&run))
            }
        };
        self.runs[name as usize] += 1;
        Ok(code)
    }

    /// What a command of the program under test does: as an expectation says, or else the program of its name.
    pub(crate) fn start(&mut self, name: u32, plan: &Plan, mut random: impl FnMut() -> u64) -> Result<Code, Errno> {
        if self.expectations.are_none() {
            return self.load(name, plan.args(), Some(plan), random);
        }
        let mut run = Run::new(self.name(name), 0, plan.args(), Some(plan), random());
        match self.expectations.answer(&mut run) {
            Answer::Does(script) => Ok(decided(&run, script)),
            Answer::Unexpected(report) => match self.load(name, plan.args(), Some(plan), random) {
                Err(Errno::NOENT) => panic!("{report}"),
                loaded => loaded,
            },
        }
    }
}

fn decided(run: &Run, script: Script) -> Code {
    if let Err(contradiction) = script.check() {
        panic!("program {:?}, run {}: {contradiction}", run.program, run.number);
    }
    script.code()
}
