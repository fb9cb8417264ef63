//! How a process is born, by the program under test and by a script, and how it becomes another program.

use crate::expect::Answer;
use crate::fault::Call;
use crate::pipe::{End, PipeId};
use crate::process::Process;
use crate::script::{Code, Image, Kind};
use crate::signals::{UNSTOPPABLE, bit};
use crate::stream::Stream;
use crate::table::{CALLER, Id, Slot};
use crate::trace::{Actor, What, Who};
use crate::world::World;
use std::sync::Arc;
use steadfast_core::{Disposition, Errno, Plan, PlanStdio, Resource, Signal, Stage};

/// A process that was just made.
#[derive(Clone, Copy)]
pub(crate) struct Born {
    pub(crate) id: Id,
    pub(crate) who: Who,
    pub(crate) pipes: [Option<PipeId>; 3],
}

impl World {
    /// Makes a process of the program under test's, which comes with so many pidfds, or, as a foreign one, of init's.
    pub(crate) fn spawn(&mut self, plan: &Plan, parent: Slot, pidfds: u32) -> Result<Born, (Stage, Errno)> {
        let name = self.intern(plan.program());
        let failed = |world: &mut World, stage, errno| {
            world.note_call(What::CannotSpawn(name, errno));
            Err((stage, errno))
        };
        if let Err(errno) = self.enter(Call::Spawn, name) {
            return failed(self, Stage::Clone, errno);
        }
        // Only the program under test has descriptors that are counted.
        let room = if parent == CALLER { self.setup().max_open_files } else { u32::MAX };
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
        if self.table.live() >= self.setup().max_processes {
            return failed(self, Stage::Clone, Errno::AGAIN);
        }
        let Some(pid) = self.table.next_pid() else { return failed(self, Stage::Clone, Errno::AGAIN) };
        // From here on somebody has the number, if only for a moment: what fails is a step of the child's.
        self.table.last_pid = pid;
        if pidfds > 0 && plan.attributes().parent_death_signal.is_some() && open < room {
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
        let code = match self.code(name, plan) {
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
        for (index, stdio) in plan.stdio().iter().enumerate() {
            if let Some(stream) = Stream::of(stdio) {
                self.pipes.duplicate(stream.pipe, stream.end);
                process.streams[index] = Some(stream.pipe);
            }
        }
        // What is ignored stays ignored and what is blocked blocked, but for SIGPIPE, which Rust's runtime ignores in every program.
        process.ignored = self.table[parent].ignored & !bit(Signal::PIPE);
        process.blocked = self.table[parent].blocked;
        process.max_processes = self.setup().max_processes;
        process.may_dump_core = self.setup().core_dumps;
        process.execute(code);
        process.run = self.log.begin(pid, self.table[parent].pid, name, plan.args(), Some(plan));
        let slot = self.table.insert(process);
        self.note_call(What::Spawns(self.who(slot)));
        if plan.attributes().setsid {
            self.note(Actor::Process(self.who(slot)), What::Session(pid));
        }
        if !plan.attributes().is_none() {
            self.give_attributes(slot, plan);
        }
        self.schedule(slot, self.now);
        Ok(Born { id: self.table.id(slot), who: self.who(slot), pipes })
    }

    /// What the command does: as an expectation says, or else the program of its name.
    fn code(&mut self, name: u32, plan: &Plan) -> Result<Code, Errno> {
        if self.expectations.are_none() {
            return self.load(name, plan.args(), Some(plan));
        }
        let mut run = self.run(name, 0, plan.args(), Some(plan));
        match self.expectations.answer(&mut run) {
            Answer::Does(script) => Ok(self.decided(&run, script)),
            Answer::Unexpected(report) => match self.load(name, plan.args(), Some(plan)) {
                Err(Errno::NOENT) => panic!("{report}"),
                loaded => loaded,
            },
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
        process.death_signal = attributes.parent_death_signal;
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
        let program = self.name(name).to_owned();
        let full = self.table.live() >= self.table[slot].max_processes;
        let struck = self.fault(Call::Spawn, &program).map(|struck| struck.errno);
        let errno = struck.or(full.then_some(Errno::AGAIN));
        let Some(pid) = self.table.next_pid().filter(|_| errno.is_none()) else {
            return self.note(actor, What::CannotSpawn(name, errno.unwrap_or(Errno::AGAIN)));
        };
        let code = match self.code_of(name, image) {
            Ok(code) => code,
            Err(errno) => {
                self.note(actor, What::CannotSpawn(name, errno));
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
            may_dump_core: parent.may_dump_core,
            is_stranger: parent.is_stranger,
            started: self.now,
            ..Process::new(pid, slot, name, parent.group, parent.session)
        };
        child.run = self.log.begin(pid, parent.pid, name, image.args(), None);
        child.execute(code);
        for (index, pipe) in child.streams.into_iter().enumerate() {
            if let Some(pipe) = pipe {
                self.pipes.duplicate(pipe, if index == 0 { End::Read } else { End::Write });
            }
        }
        let child = self.table.insert(child);
        self.note(actor, What::Spawns(self.who(child)));
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
                self.note(Actor::Process(self.who(slot)), What::CannotSpawn(name, errno));
                return self.end(slot, 127 << 8);
            }
        };
        let parent = self.table[self.table[slot].parent].pid;
        let process = &mut self.table[slot];
        process.execute(code);
        process.name = name;
        process.run = self.log.begin(process.pid, parent, name, image.args(), None);
        let who = self.who(slot);
        self.note(Actor::Process(who), What::Executes(who));
    }

    fn name_of(&mut self, slot: Slot, image: &Image) -> u32 {
        match &image.0 {
            Kind::Script(_) => self.table[slot].name,
            Kind::Program(program, _) => self.intern(program),
        }
    }

    fn code_of(&mut self, name: u32, image: &Image) -> Result<Code, Errno> {
        match &image.0 {
            Kind::Script(code) => Ok(Arc::clone(code)),
            Kind::Program(_, args) => self.load(name, args, None),
        }
    }
}
