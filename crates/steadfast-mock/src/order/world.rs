//! [`World`]: the state of a simulation: the machine, and what surrounds it. Everything that changes it runs under one lock, so that it is one
//! order of events.

use super::chance::Chance;
use super::follow::Following;
use super::notice::Notices;
use super::threads::{For, Threads};
use super::trace::{self, Trace, What};
use crate::model::host::{Begins, Call, Host, Remains, Struck};
use crate::model::ids::{CALLER, Id, JobId, PipeId, Slot};
use crate::model::machine::Machine;
use crate::model::process::Life;
use crate::model::seen::{Actor, Seen, Who};
use crate::model::spawn::{Born, Given};
use crate::model::step::Code;
use crate::play::fault::Fault;
use crate::play::log::RunLog;
use crate::play::programs::Programs;
use crate::play::setup::Setup;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use steadfast_core::{Errno, Exit, OnExit, Plan, Signal, Stage, Until};

pub(crate) type World = Machine<Surroundings>;

/// What a machine is surrounded by in a test.
pub(crate) struct Surroundings {
    pub(crate) programs: Programs,
    pub(crate) log: RunLog,
    pub(crate) trace: Trace,
    pub(crate) chance: Chance,
    pub(crate) threads: Threads,
    pub(crate) notices: Notices,
    pub(crate) following: Following,
    faults: Vec<Fault>,
    tells_lost_status: bool,
}

impl Surroundings {
    fn note(&mut self, now: u64, actor: trace::Actor, what: What) {
        // What threads do while a run that is over unwinds them is not part of it.
        if !self.threads.are_over() {
            self.trace.note(now, actor, what);
        }
    }
}

/// The ends that a zombie has come to: of a child of the program under test, both.
fn ends_at_exit(is_child: bool) -> &'static [Until] {
    if is_child { &[Until::Exited, Until::Gone] } else { &[Until::Exited] }
}

impl Host for Surroundings {
    #[inline]
    fn see(&mut self, now: u64, actor: Actor, seen: Seen) {
        let actor = match actor {
            Actor::Caller => trace::Actor::Thread(self.threads.running()),
            Actor::Process(who) => trace::Actor::Process(who),
            Actor::Kernel => trace::Actor::Kernel,
        };
        self.note(now, actor, What::Seen(seen));
    }

    #[inline]
    fn rank(&mut self) -> u8 {
        self.chance.rank()
    }

    #[inline]
    fn fails(&mut self, call: Call, name: u32) -> Option<Struck> {
        if self.faults.is_empty() {
            return None;
        }
        let (chance, program) = (&mut self.chance, self.programs.name(name));
        self.faults.iter_mut().find_map(|fault| fault.strikes(call, program, |probability| chance.is_so(probability)))
    }

    #[inline]
    fn intern(&mut self, program: &OsStr) -> u32 {
        self.programs.intern(program)
    }

    #[inline]
    fn name(&self, name: u32) -> &OsStr {
        self.programs.name(name)
    }

    #[inline]
    fn start(&mut self, name: u32, plan: &Plan) -> Result<Code, Errno> {
        let chance = &mut self.chance;
        self.programs.start(name, plan, || chance.number(0..u64::MAX))
    }

    #[inline]
    fn load(&mut self, name: u32, args: &[OsString]) -> Result<Code, Errno> {
        let chance = &mut self.chance;
        self.programs.load(name, args, None, || chance.number(0..u64::MAX))
    }

    #[inline]
    fn begins(&mut self, run: Begins<'_>) -> u64 {
        self.log.begin(run)
    }

    #[inline]
    fn is_signalled(&mut self, run: u64, signal: Signal) {
        self.log.signalled(run, signal);
    }

    #[inline]
    fn has_ended(&mut self, run: u64, status: i32) {
        self.log.ended(run, status);
    }

    #[inline]
    fn pipe_changed(&mut self, pipe: PipeId) {
        self.threads.wake(For::Pipe(pipe));
    }

    #[inline]
    fn has_executed(&mut self, id: Id) {
        self.threads.wake(For::Process(id));
        self.notices.started(id);
    }

    fn has_changed(&mut self, id: Id) {
        self.threads.wake(For::Process(id));
        self.notices.changed(id);
    }

    #[inline]
    fn has_exited(&mut self, id: Id, is_child: bool) {
        self.threads.wake(For::Process(id));
        self.notices.started(id);
        self.notices.changed(id);
        self.notices.fall_due(id, ends_at_exit(is_child));
    }

    fn job_is_empty(&mut self, job: JobId) {
        self.threads.wake(For::Job(job));
        self.notices.job_is_empty(job);
    }

    #[inline]
    fn is_gone(&mut self, id: Id, remains: Remains) {
        self.threads.wake(For::Process(id));
        self.notices.changed(id);
        self.notices.fall_due(id, &[Until::Exited, Until::Gone]);
        if self.tells_lost_status {
            self.notices.keep(id, remains);
        }
    }
}

impl World {
    pub(crate) fn boot(setup: &Arc<Setup>, chance: Chance, threads: Threads) -> World {
        let surroundings = Surroundings {
            programs: Programs::new(setup),
            log: RunLog::new(setup.trace_limit),
            trace: Trace::new(setup.trace_limit),
            chance,
            threads,
            notices: Notices::default(),
            following: Following::default(),
            faults: setup.faults.clone(),
            tells_lost_status: setup.tells_lost_status,
        };
        let mut world = World::new(setup.limits, surroundings);
        (world.caller().ignored, world.caller().blocked) = (setup.ignored, setup.blocked);
        world
    }

    /// What the test does, from outside of what it tests.
    pub(crate) fn note_of_test(&mut self, what: What) {
        self.host.note(self.now, trace::Actor::Test, what);
    }

    /// By whoever makes the call.
    pub(crate) fn note_call(&mut self, what: What) {
        self.note_of_thread(self.host.threads.running(), what);
    }

    pub(crate) fn note_of_thread(&mut self, thread: u32, what: What) {
        self.host.note(self.now, trace::Actor::Thread(thread), what);
    }

    pub(crate) fn name(&self, name: u32) -> &OsStr {
        self.host.programs.name(name)
    }

    /// The number of a name that is no program's: a fault may name it.
    pub(crate) fn intern_name(&mut self, name: &str) -> u32 {
        self.host.intern(OsStr::new(name))
    }

    pub(crate) fn timeline(&self) -> String {
        self.host.trace.render(|name| self.name(name).to_string_lossy().into_owned(), |thread| self.host.threads.name(thread))
    }

    /// Called at the head of each system call: lets some of what is due now happen before it, as the seed has it, then fails
    /// the call if a fault says so.
    pub(crate) fn enter(&mut self, call: Call, name: u32) -> Result<(), Errno> {
        while self.next_event().is_some_and(|at| at <= self.now) && self.host.chance.choose(2) == 1 {
            self.happen();
        }
        match self.host.fails(call, name) {
            Some(Struck { errno, .. }) => {
                self.note_call(What::Fails(call, errno));
                Err(errno)
            }
            None => Ok(()),
        }
    }

    /// A spawn by the program under test, or of a process of init's.
    #[inline]
    pub(crate) fn call_spawn(
        &mut self,
        plan: &Plan,
        given: Given,
        job: JobId,
        parent: Slot,
        pidfds: u32,
    ) -> Result<Born, (Stage, Errno)> {
        let name = self.host.intern(plan.program());
        if let Err(errno) = self.enter(Call::Spawn, name) {
            self.note_call(What::Seen(Seen::CannotSpawn(name, errno)));
            return Err((Stage::Clone, errno));
        }
        self.spawn(name, plan, given, job, parent, pidfds)
    }

    pub(crate) fn signal_by_call(&mut self, slot: Slot, signal: Signal, value: Option<i32>) {
        self.note_call(What::Seen(Seen::Signals(signal, self.who(slot))));
        if let Some(value) = value {
            let run = self.table[slot].run;
            self.host.log.given(run, signal, value);
        }
        self.send(slot, signal);
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
            self.note_call(What::Seen(Seen::Reaps(self.who(slot))));
            self.reap_counted(slot);
        }
        Ok(exit)
    }

    /// What a `waitpid(-1, WNOHANG)` elsewhere in the program does.
    pub(crate) fn reap_any(&mut self) -> Option<Exit> {
        let children: Vec<Slot> = self.table.children(CALLER).collect();
        let slot = children.into_iter().rev().find(|slot| self.table[*slot].life == Life::Zombie)?;
        let exit = self.exit(slot);
        self.note_of_test(What::Steals(self.who(slot)));
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

    /// Calls when the process has come to this end.
    pub(crate) fn tell(&mut self, id: Id, end: Until, tell: OnExit) {
        let is_over = self
            .table
            .by_id(id)
            .is_none_or(|slot| self.exit(slot).is_some() && ends_at_exit(self.table[slot].parent == CALLER).contains(&end));
        self.host.notices.add(id, end, is_over, tell);
    }

    /// Whether it runs its program, or never will.
    pub(crate) fn has_started(&self, id: Id) -> bool {
        self.table.by_id(id).is_none_or(|slot| !self.table[slot].is_starting || self.table[slot].life == Life::Zombie)
    }

    /// Calls when it has [started](Self::has_started).
    pub(crate) fn tell_start(&mut self, id: Id, tell: OnExit) {
        let is_over = self.has_started(id);
        self.host.notices.add_start(id, is_over, tell);
    }

    /// Nobody waits for its program any more: it is killed, and reaped in the background.
    pub(crate) fn give_up(&mut self, slot: Slot) {
        self.note_call(What::GivesUp(self.who(slot)));
        self.send(slot, Signal::KILL);
        self.abandon(slot);
    }

    /// How a process ended that is gone, to whoever has a pidfd of it.
    pub(crate) fn lost_exit(&self, id: Id) -> Option<Exit> {
        self.host.notices.lost(id)
    }

    pub(crate) fn open_handle(&mut self, id: Id) {
        self.open_files += 1;
        if let Some(slot) = self.table.by_id(id) {
            self.table[slot].handles += 1;
        }
    }

    pub(crate) fn close_handle(&mut self, id: Id) {
        self.open_files -= 1;
        match self.table.by_id(id) {
            Some(slot) => self.table[slot].handles -= 1,
            None => self.host.notices.close(id),
        }
    }

    /// Whom a message means.
    pub(crate) fn quoted(&self, who: Who) -> String {
        format!("{:?}", self.name(who.name))
    }
}
