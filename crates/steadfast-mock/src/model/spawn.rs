//! How a process is born, by the program under test and by a script, and how it becomes another program.

use super::bits::{UNSTOPPABLE, bit};
use super::host::{Begins, Call, Host};
use super::ids::{CALLER, End, Id, JobId, PipeId, Slot};
use super::machine::Machine;
use super::process::Process;
use super::seen::{Actor, Seen, Who};
use super::step::{Code, Image, Kind, Step};
use std::sync::Arc;
use steadfast_core::{Disposition, Errno, Plan, PlanStdio, Resource, Signal, Stage};

/// Ends of pipes that the program under test gives to its child.
pub(crate) type Given = [Option<(PipeId, End)>; 3];

/// A process that was just made.
#[derive(Clone, Copy)]
pub(crate) struct Born {
    pub(crate) id: Id,
    pub(crate) who: Who,
    pub(crate) pipes: [Option<PipeId>; 3],
    /// It does not run its program yet.
    pub(crate) is_starting: bool,
}

impl<H: Host> Machine<H> {
    /// Makes a process, whose program has this name, of the program under test's, which comes with so many pidfds, in a job perhaps, or, as a foreign one, of init's.
    pub(crate) fn spawn(
        &mut self,
        name: u32,
        plan: &Plan,
        given: Given,
        job: JobId,
        parent: Slot,
        pidfds: u32,
    ) -> Result<Born, (Stage, Errno)> {
        let failed = |machine: &mut Machine<H>, stage, errno| {
            machine.note(Actor::Caller, Seen::CannotSpawn(name, errno));
            Err((stage, errno))
        };
        // Only the program under test has descriptors that are counted.
        let room = if parent == CALLER { self.limits.max_open_files } else { u32::MAX };
        let mut open = self.open_files;
        for (stdio, stream) in plan.stdio().iter().zip(["stdin", "stdout", "stderr"]) {
            // /dev/null and both ends of a pipe, until the child has its own.
            open += match stdio {
                PlanStdio::Null => 1,
                PlanStdio::Piped => 2,
                _ => 0,
            };
            if open > room {
                return failed(self, Stage::Open { stream }, Errno::MFILE);
            }
        }
        if self.table.live() >= self.limits.max_processes || self.is_full(job) {
            return failed(self, Stage::Clone, Errno::AGAIN);
        }
        let Some(pid) = self.table.next_pid() else { return failed(self, Stage::Clone, Errno::AGAIN) };
        // From here on somebody has the number, if only for a moment: what fails is a step of the child's.
        self.table.last_pid = pid;
        if pidfds > 0 && plan.attributes().death_signal().is_some() && open < room {
            // The program under test opens one of itself, by which the child sees whether it is still there; it can do without.
            open += 1;
        }
        if open.saturating_add(pidfds) > room {
            return failed(self, Stage::Clone, Errno::MFILE);
        }
        let (group, session) = match self.place(plan, parent, pid) {
            Ok(place) => place,
            Err((call, value, errno)) => return failed(self, Stage::Attribute { call, value: value.to_string() }, errno),
        };
        let lacking = self.limits.lacking(plan.attributes().walls());
        if let (Some(wall), false) = (lacking.first(), plan.attributes().walls_if_possible) {
            return failed(self, Stage::Attribute { call: wall.call(), value: String::new() }, Errno::NOSYS);
        }
        let struck = self.host.fails(Call::Exec, name);
        let delay = struck.map(|struck| struck.delay).filter(|delay| !delay.is_zero());
        let refused = struck.filter(|_| delay.is_none()).map(|struck| struck.errno);
        let code = match self.host.start(name, plan).and_then(|code| refused.map_or(Ok(code), Err)) {
            Ok(code) => code,
            Err(errno) => {
                let is_path = plan.program().as_encoded_bytes().contains(&b'/');
                let search_path = (!is_path).then(|| "the simulation's programs".into());
                let path = is_path.then(|| plan.program().into());
                return failed(self, Stage::Exec { path, search_path, missing: None }, errno);
            }
        };
        let pipes = plan.stdio().each_ref().map(|stdio| matches!(stdio, PlanStdio::Piped).then(|| self.pipes.open()));
        let mut process = Process::new(pid, parent, name, group, session);
        (process.streams, process.started) = (pipes, self.now);
        for (stream, given) in process.streams.iter_mut().zip(given) {
            if let Some((pipe, end)) = given {
                self.pipes.duplicate(pipe, end);
                *stream = Some(pipe);
            }
        }
        if let (PlanStdio::Stdout, Some(pipe)) = (&plan.stdio()[2], process.streams[1]) {
            self.pipes.duplicate(pipe, End::Write);
            process.streams[2] = Some(pipe);
        }
        // What is ignored stays ignored and what is blocked blocked, but for SIGPIPE, which Rust's runtime ignores in every program.
        process.ignored = self.table[parent].ignored & !bit(Signal::PIPE);
        process.blocked = self.table[parent].blocked;
        process.max_processes = self.limits.max_processes;
        process.may_dump_core = self.limits.core_dumps;
        process.job = job;
        let is_frozen = self.jobs.is_frozen(job);
        let opens = matches!(code.first(), Some(Step::Open(_)));
        process.is_starting = delay.is_some() || opens || is_frozen;
        let is_starting = process.is_starting;
        process.execute(code);
        if let Some(delay) = delay {
            process.interrupt(Arc::new([Step::Open(delay), Step::Opened]), None, self.now);
        } else if is_frozen && !opens {
            process.interrupt(Arc::new([Step::Opened]), None, self.now);
        }
        let parent = self.table[parent].pid;
        process.run = self.host.begins(Begins { pid, parent, name, args: plan.args(), plan: Some(plan) });
        let slot = self.table.insert(process);
        self.joins(job);
        self.note(Actor::Caller, Seen::Spawns(self.who(slot)));
        if plan.attributes().setsid {
            self.note_of(slot, Seen::Session(pid));
        }
        if !plan.attributes().is_none() {
            self.give_attributes(slot, plan);
        }
        self.schedule(slot, self.now);
        Ok(Born { id: self.table.id(slot), who: self.who(slot), pipes, is_starting })
    }

    /// It runs the program that it was spawned for.
    pub(crate) fn executed(&mut self, slot: Slot) {
        if std::mem::replace(&mut self.table[slot].is_starting, false) {
            self.note_of(slot, Seen::Executes(self.who(slot)));
            self.host.has_executed(self.table.id(slot));
        }
    }

    /// The group and the session of the new process: its parent's, or as it was asked for (setsid(2), setpgid(2)).
    fn place(&self, plan: &Plan, parent: Slot, pid: i32) -> Result<(i32, i32), (&'static str, i32, Errno)> {
        let Process { group, session, .. } = self.table[parent];
        let attributes = plan.attributes();
        match attributes.process_group {
            // No group can have its number: numbers of groups are not given to processes.
            _ if attributes.setsid => Ok((pid, pid)),
            None => Ok((group, session)),
            Some(own) if own == 0 || own == pid => Ok((pid, session)),
            Some(other) if self.table.session_of(other) == Some(session) => Ok((other, session)),
            Some(other) => Err(("setpgid", other, Errno::PERM)),
        }
    }

    /// Those of its attributes that the simulation acts upon.
    fn give_attributes(&mut self, slot: Slot, plan: &Plan) {
        let attributes = plan.attributes();
        let process = &mut self.table[slot];
        if let Some(mask) = attributes.signal_mask {
            process.blocked = mask.as_raw() & !UNSTOPPABLE;
        }
        process.death_signal = attributes.death_signal();
        for (signal, disposition) in &attributes.dispositions {
            match disposition {
                Disposition::Default => process.ignored &= !bit(*signal),
                Disposition::Ignore => process.ignored |= bit(*signal),
            }
        }
        for (resource, limit) in &attributes.limits {
            match *resource {
                Resource::NPROC => process.max_processes = process.max_processes.min(limit.soft.min(u32::MAX.into()) as u32),
                Resource::CORE => process.may_dump_core &= limit.soft > 0,
                _ => {}
            }
        }
    }

    pub(crate) fn spawn_by_script(&mut self, slot: Slot, image: &Image) {
        let actor = Actor::Process(self.who(slot));
        let name = self.name_of(slot, image);
        let full = self.table.live() >= self.table[slot].max_processes || self.is_full(self.table[slot].job);
        let struck = self.host.fails(Call::Spawn, name).map(|struck| struck.errno);
        let errno = struck.or(full.then_some(Errno::AGAIN));
        let Some(pid) = self.table.next_pid().filter(|_| errno.is_none()) else {
            return self.note(actor, Seen::CannotSpawn(name, errno.unwrap_or(Errno::AGAIN)));
        };
        let code = match self.code_of(name, image) {
            Ok(code) => code,
            Err(errno) => {
                self.note(actor, Seen::CannotSpawn(name, errno));
                return self.lose_child(slot, pid);
            }
        };
        let parent = &self.table[slot];
        let mut child = Process {
            // With what a handler that it is in keeps from it.
            blocked: parent.mask(),
            ignored: parent.ignored,
            streams: parent.streams,
            max_processes: parent.max_processes,
            job: parent.job,
            may_dump_core: parent.may_dump_core,
            is_stranger: parent.is_stranger,
            started: self.now,
            ..Process::new(pid, slot, name, parent.group, parent.session)
        };
        child.run = self.host.begins(Begins { pid, parent: parent.pid, name, args: image.args(), plan: None });
        child.execute(code);
        for (index, pipe) in child.streams.into_iter().enumerate() {
            if let Some(pipe) = pipe {
                self.pipes.duplicate(pipe, if index == 0 { End::Read } else { End::Write });
            }
        }
        let job = child.job;
        let child = self.table.insert(child);
        self.joins(job);
        self.note(actor, Seen::Spawns(self.who(child)));
        self.schedule(child, self.now);
    }

    /// A child was born that could not become its program, and was waited for: it has had a number, and its parent has had `SIGCHLD`.
    fn lose_child(&mut self, parent: Slot, pid: i32) {
        self.table.last_pid = pid;
        if self.table[parent].ignored & bit(Signal::CHLD) == 0 {
            self.send(parent, Signal::CHLD);
        }
    }

    pub(crate) fn exec(&mut self, slot: Slot, image: &Image) {
        let name = self.name_of(slot, image);
        let code = match self.code_of(name, image) {
            Ok(code) => code,
            Err(errno) => {
                self.note_of(slot, Seen::CannotSpawn(name, errno));
                return self.end(slot, 127 << 8);
            }
        };
        let parent = self.table[self.table[slot].parent].pid;
        self.free(slot);
        let process = &mut self.table[slot];
        process.execute(code);
        process.name = name;
        process.run = self.host.begins(Begins { pid: process.pid, parent, name, args: image.args(), plan: None });
        let who = self.who(slot);
        self.note(Actor::Process(who), Seen::Executes(who));
    }

    fn name_of(&mut self, slot: Slot, image: &Image) -> u32 {
        match &image.0 {
            Kind::Script(_) => self.table[slot].name,
            Kind::Program(program, _) => self.host.intern(program),
        }
    }

    fn code_of(&mut self, name: u32, image: &Image) -> Result<Code, Errno> {
        match &image.0 {
            Kind::Script(code) => Ok(Arc::clone(code)),
            Kind::Program(_, args) => self.host.load(name, args),
        }
    }
}
