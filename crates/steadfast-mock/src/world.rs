//! [`World`]: the state of the simulation. Everything that changes it runs under one lock, so that it is one order of events.

use crate::chance::Chance;
use crate::expect::Expectations;
use crate::fault::{Call, Fault, Struck};
use crate::follow::Following;
use crate::kernel::{Program, Run, Setup};
use crate::log::RunLog;
use crate::notice::Notices;
use crate::pipe::Pipes;
use crate::process::{Life, Process};
use crate::queue::{Event, Queue};
use crate::script::{Code, Script};
use crate::table::{CALLER, INIT, Slot, Table};
use crate::trace::{Actor, Trace, What, Who};
use crate::turn::Threads;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use steadfast_core::{Errno, Exit, Plan};

pub(crate) struct World {
    /// Virtual nanoseconds since the kernel was built.
    pub(crate) now: u64,
    pub(crate) table: Table,
    pub(crate) pipes: Pipes,
    pub(crate) trace: Trace,
    pub(crate) log: RunLog,
    pub(crate) chance: Chance,
    pub(crate) threads: Threads,
    pub(crate) expectations: Expectations,
    pub(crate) notices: Notices,
    pub(crate) following: Following,
    setup: Arc<Setup>,
    events: Queue,
    faults: Vec<Fault>,
    /// How often each program was run, by its index in the setup.
    runs: Vec<u64>,
    /// Names that are not of the setup's programs.
    names: Vec<OsString>,
    /// Descriptors that the program under test has open: pidfds, and its ends of pipes.
    pub(crate) open_files: u32,
}

impl World {
    pub(crate) fn new(setup: &Arc<Setup>, chance: Chance, threads: Threads) -> World {
        let mut table = Table::new(setup.pid_max);
        (table[CALLER].ignored, table[CALLER].blocked) = (setup.ignored, setup.blocked);
        World {
            now: 0,
            table,
            pipes: Pipes::new(setup.pipe_capacity),
            trace: Trace::new(setup.trace_limit),
            log: RunLog::new(setup.trace_limit),
            chance,
            threads,
            expectations: Expectations::new(&setup.expectations),
            notices: Notices::default(),
            following: Following::default(),
            events: Queue::new(),
            faults: setup.faults.clone(),
            runs: vec![0; setup.programs.len()],
            names: Vec::new(),
            open_files: 0,
            setup: Arc::clone(setup),
        }
    }

    pub(crate) fn note(&mut self, actor: Actor, what: What) {
        // What threads do while a run that is over unwinds them is not part of it.
        if !self.threads.are_over() {
            self.trace.note(self.now, actor, what);
        }
    }

    /// By whoever makes the call.
    pub(crate) fn note_call(&mut self, what: What) {
        let thread = self.threads.running();
        self.note(Actor::Thread(thread), what);
    }

    pub(crate) fn timeline(&self) -> String {
        self.trace.render(|name| self.name(name).to_string_lossy().into_owned(), |thread| self.threads.name(thread))
    }

    pub(crate) fn who(&self, slot: Slot) -> Who {
        let process = &self.table[slot];
        Who { pid: process.pid, name: process.name }
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
    pub(crate) fn load(&mut self, name: u32, args: &[OsString], plan: Option<&Plan>) -> Result<Code, Errno> {
        let setup = Arc::clone(&self.setup);
        let Some((_, program)) = setup.programs.get(name as usize) else { return Err(Errno::NOENT) };
        let number = self.runs[name as usize];
        let code = match program {
            Program::NotExecutable => return Err(Errno::ACCES),
            Program::Fixed(code) => Arc::clone(code),
            Program::Decides(script) => {
                let run = self.run(name, number, args, plan);
                self.decided(&run, script(&run))
            }
        };
        self.runs[name as usize] += 1;
        Ok(code)
    }

    /// What the program learns of its run.
    pub(crate) fn run(&mut self, name: u32, number: u64, args: &[OsString], plan: Option<&Plan>) -> Run {
        Run {
            program: self.name(name).to_owned(),
            number,
            args: args.to_vec(),
            env: plan.and_then(|plan| plan.env().map(<[_]>::to_vec)),
            current_dir: plan.and_then(|plan| plan.current_dir().map(Into::into)),
            attributes: plan.map(|plan| plan.attributes().clone()).unwrap_or_default(),
            random: Cell::new(self.chance.number(0..u64::MAX)),
        }
    }

    pub(crate) fn decided(&mut self, run: &Run, script: Script) -> Code {
        if let Err(contradiction) = script.check() {
            panic!("program {:?}, run {}: {contradiction}", run.program, run.number);
        }
        script.code()
    }

    /// For scripts that are made while a process runs.
    pub(crate) fn refuse_contradiction(&self, slot: Slot, script: &Script) {
        if let Err(contradiction) = script.check() {
            let who = self.who(slot);
            panic!("process {} ({}): {contradiction}", who.pid, self.name(who.name).to_string_lossy());
        }
    }

    pub(crate) fn has_fault(&self, call: Call) -> bool {
        self.faults.iter().any(|fault| fault.call == call)
    }

    /// Whether a fault says that this call fails.
    pub(crate) fn fault(&mut self, call: Call, program: &OsStr) -> Option<Struck> {
        let chance = &mut self.chance;
        self.faults.iter_mut().find_map(|fault| fault.strikes(call, program, |probability| chance.is_so(probability)))
    }

    /// Called at the head of each system call: lets some of what is due now happen before it, as the seed has it, then fails
    /// the call if a fault says so.
    pub(crate) fn enter(&mut self, call: Call, name: u32) -> Result<(), Errno> {
        while self.next_event().is_some_and(|at| at <= self.now) && self.chance.choose(2) == 1 {
            self.happen();
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        let program = self.name(name).to_owned();
        match self.fault(call, &program) {
            Some(Struck { errno, .. }) => {
                self.note_call(What::Fails(call, errno));
                Err(errno)
            }
            None => Ok(()),
        }
    }

    /// Lets the process go on then, and not before.
    pub(crate) fn schedule(&mut self, slot: Slot, at: u64) {
        let process = &mut self.table[slot];
        process.timer = process.timer.wrapping_add(1);
        let stamp = process.timer;
        self.events.push(at, self.chance.rank(), slot, stamp);
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_event(&mut self) -> Option<u64> {
        let counts = |event: &Event| self.table[event.slot].timer == event.stamp;
        self.events.peek(counts).map(Event::time)
    }

    /// Lets it happen.
    pub(crate) fn happen(&mut self) {
        // Whoever calls this has mostly just asked for the next one; but one that does not count must not happen.
        if self.next_event().is_none() {
            return;
        }
        if let Some(event) = self.events.pop() {
            self.now = self.now.max(event.time());
            self.go_on(event.slot);
        }
    }

    /// How the child of the program under test ended, if it has. One that was given up can still be waited for, while it is there.
    pub(crate) fn exit_of(&self, slot: Slot) -> Result<Option<Exit>, Errno> {
        if self.table[slot].parent != CALLER {
            return Err(Errno::CHILD);
        }
        Ok(self.exit(slot))
    }

    pub(crate) fn reap(&mut self, slot: Slot) -> Result<Option<Exit>, Errno> {
        let exit = self.exit_of(slot)?;
        if exit.is_some() {
            self.note_call(What::Reaps(self.who(slot)));
            self.reap_counted(slot);
        }
        Ok(exit)
    }

    /// What a `waitpid(-1, WNOHANG)` elsewhere in the program does.
    pub(crate) fn reap_any(&mut self) -> Option<Exit> {
        let children: Vec<Slot> = self.table.children(CALLER).collect();
        let slot = children.into_iter().rev().find(|slot| self.table[*slot].life == Life::Zombie)?;
        let exit = self.exit(slot);
        self.note(Actor::Test, What::Steals(self.who(slot)));
        self.reap_counted(slot);
        exit
    }

    pub(crate) fn abandon(&mut self, slot: Slot) {
        self.note_call(What::Abandons(self.who(slot)));
        if !matches!(self.reap(slot), Ok(None)) {
            return;
        }
        self.table[slot].is_abandoned = true;
    }

    /// Makes the process do this now, as though its program had come to it.
    pub(crate) fn make(&mut self, slot: Slot, script: Script) {
        self.refuse_contradiction(slot, &script);
        let now = self.now;
        self.table[slot].interrupt(script.code(), None, now);
        self.schedule(slot, now);
    }

    /// The children of the program under test that nobody has waited for.
    pub(crate) fn unwaited(&self) -> Vec<Slot> {
        let mut children: Vec<Slot> = self.table.children(CALLER).collect();
        children.sort_by_key(|slot| self.table[*slot].pid);
        children
    }

    /// The program under test: what it ignores, and what its thread blocks, which its children inherit.
    pub(crate) fn caller(&mut self) -> &mut Process {
        &mut self.table[CALLER]
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn foreign_parent() -> Slot {
        INIT
    }
}
