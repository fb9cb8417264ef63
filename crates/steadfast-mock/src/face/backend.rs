//! The backend traits on top of the simulation, for a program with pidfds and for one with PIDs only.
//!
//! Longer than other files: two traits, each method of which is some lines, and which are read side by side.

use super::look::{self, MockLook};
use super::shared::Kernel;
use super::sim::Turns;
use super::start::MockStart;
use super::stream::{ReadEnd, Stream, WriteEnd};
use crate::model::host::Call;
use crate::model::ids::{CALLER, End, Id, Slot};
use crate::model::seen::Who;
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::verdict::Verdict;
use crate::order::world::World;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Change, Clock, Errno, Error, Exit, FoundByFd, Identity,
    JobPlan, OnExit, Pid, PipeEnd, Plan, PlanStdio, ProcessBackend, Reopened, Result, Signal, Spawned, Stage,
};

/// What a handle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The process itself.
    Pidfd,
    /// Its number and, for a process that was found, the tick it was started in.
    Number,
}

pub(crate) struct MockBackend {
    pub(super) kernel: Kernel,
    pub(super) holds: Holds,
    clock: MockClock,
}

struct MockClock(Kernel);

pub(super) struct MockProcess {
    pub(super) kernel: Kernel,
    pub(super) holds: Holds,
    pub(super) pid: Pid,
    /// Whom the handle was made for: what a pidfd goes by, and how a stranger is recognised.
    pub(super) id: Id,
    pub(super) who: Who,
    /// The tick in which it was started, if it was found by its number.
    start: Option<u64>,
}

impl Kernel {
    /// This kernel with pidfds: a handle means its process for ever.
    pub fn backend(&self) -> Arc<dyn ProcessBackend> {
        Arc::new(MockBackend::new(self.clone(), Holds::Pidfd))
    }

    /// The same kernel and the same processes for a program without pidfds: a handle is a number, and where the program lets
    /// somebody else reap its children, the number may come to mean a stranger. A signal that reaches one ends the test.
    pub fn backend_pid_legacy(&self) -> Arc<dyn ProcessBackend> {
        Arc::new(MockBackend::new(self.clone(), Holds::Number))
    }

    /// A deadline in the simulation's time.
    pub(crate) fn nanos(&self, deadline: Instant) -> u64 {
        deadline.saturating_duration_since(self.shared.epoch).as_nanos() as u64
    }
}

impl MockBackend {
    pub(crate) fn new(kernel: Kernel, holds: Holds) -> MockBackend {
        MockBackend { clock: MockClock(kernel.clone()), kernel, holds }
    }

    /// A handle, which is one more descriptor if it is a pidfd.
    pub(super) fn process(&self, pid: Pid, id: Id, who: Who, start: Option<u64>) -> MockProcess {
        // The descriptor was counted in the call that has opened it.
        MockProcess { kernel: self.kernel.clone(), holds: self.holds, pid, id, who, start }
    }

    /// Opens a handle of a process that was there before.
    pub(super) fn open(&self, world: &mut World, slot: Slot) -> Result<Id, Errno> {
        if world.open_files + self.descriptors() > world.limits.max_open_files {
            return Err(Errno::MFILE);
        }
        let id = world.table.id(slot);
        self.open_handle(world, id);
        Ok(id)
    }

    /// What such a handle goes by beside the number, if it is one.
    pub(super) fn start_of(&self, world: &World, slot: Slot) -> Option<u64> {
        (self.holds == Holds::Number).then(|| world.boot.ticks(world.table[slot].started))
    }

    fn descriptors(&self) -> u32 {
        u32::from(self.holds == Holds::Pidfd)
    }

    fn open_handle(&self, world: &mut World, id: Id) {
        if self.holds == Holds::Pidfd {
            world.open_handle(id);
        }
    }
}

impl ProcessBackend for MockBackend {
    fn info(&self) -> BackendInfo {
        match self.holds {
            Holds::Pidfd => BackendInfo::new("mock").find_is_exact().tells_changes(),
            Holds::Number => BackendInfo::new("mock-pid-legacy").tells_changes(),
        }
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn generation(&self) -> u32 {
        0
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        if let Some(what) = self.impossible(plan) {
            return Err(Error::Unsupported { backend: self.info().name, what: what.into() });
        }
        let job = self.kernel.job_of(plan);
        let job = job.map_err(|what| Error::Unsupported { backend: self.info().name, what: what.into() })?;
        let given = plan.stdio().each_ref().map(|stdio| Stream::of(stdio).map(|stream| (stream.pipe, stream.end)));
        let born = self.kernel.call(|world| {
            let born = world.call_spawn(plan, given, job, CALLER, self.descriptors())?;
            world.open_files += born.pipes.iter().flatten().count() as u32;
            self.open_handle(world, born.id);
            Ok(born)
        });
        let program = || plan.program().to_owned();
        let no_wall = |wall| Error::NoWall { program: program(), wall, source: Errno::NOSYS };
        let lacking = self.kernel.shared.setup.limits.lacking(plan.attributes().walls());
        let born = born.map_err(|(stage, source)| match (&stage, lacking.first()) {
            (Stage::Attribute { call, .. }, Some(wall)) if *call == wall.call() => no_wall(*wall),
            _ => Error::Spawn { program: program(), stage, source },
        })?;
        let missing_walls = lacking.iter().map(|wall| (*wall, no_wall(*wall))).collect();
        let [stdin, stdout, stderr] = born.pipes;
        let read = |pipe| PipeEnd::Reader(Box::new(ReadEnd::new(&self.kernel, pipe, born.who)));
        let pipes = [
            stdin.map(|pipe| PipeEnd::Writer(Box::new(WriteEnd::new(&self.kernel, pipe, born.who)))),
            stdout.map(read),
            stderr.map(read),
        ];
        let pid = Pid::new(born.who.pid)?;
        let process = Arc::new(self.process(pid, born.id, born.who, None));
        let spawned = Spawned { pid, spawner_peak: 0, process, pipes, pidfd: None, missing_walls };
        if !born.is_starting {
            // No call of the program's: it has returned.
            return Ok(spawned.at_once());
        }
        Ok(Box::new(MockStart { kernel: self.kernel.clone(), pid, id: born.id, who: born.who, spawned: Some(spawned) }))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        let found = self.kernel.call(|world| {
            let slot = world.table.by_pid(pid.as_raw()).ok_or(Errno::SRCH)?;
            world.enter(Call::Find, world.table[slot].name)?;
            // What happened just before the call may have changed whose it is.
            let slot = world.table.by_pid(pid.as_raw()).ok_or(Errno::SRCH)?;
            let who = world.who(slot);
            let id = self.open(world, slot)?;
            world.note_call(What::Finds(who));
            Ok((id, who, self.start_of(world, slot)))
        });
        let (id, who, start) = found.map_err(|errno| match errno {
            Errno::SRCH => Error::ProcessDone { pid },
            errno => Error::on_process("find", pid, errno),
        })?;
        Ok(Arc::new(self.process(pid, id, who, start)))
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.named(identity).map(|process| Arc::new(process) as Arc<dyn BackendProcess>)
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        let what = "a descriptor is the kernel's, and no simulated process is behind one: use System::find".into();
        Err(Error::Unsupported { backend: self.info().name, what })
    }

    fn list(&self) -> Result<Vec<Pid>> {
        look::all_pids(&self.kernel)
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        self.kernel.job(plan, self.info().name)
    }
}

impl MockBackend {
    /// What a plan asks for that a simulated process cannot have.
    fn impossible(&self, plan: &Plan) -> Option<&'static str> {
        if plan.create_pidfd() {
            return Some("a pidfd was asked for, and a simulated process has no descriptors");
        }
        for (stdio, end) in plan.stdio().iter().zip([End::Read, End::Write, End::Write]) {
            let fits = Stream::of(stdio).is_some_and(|stream| stream.is_of(&self.kernel) && stream.end == end);
            match stdio {
                PlanStdio::Fd(_) => return Some("a simulated process cannot be given a descriptor: use Stdio::piped()"),
                PlanStdio::End(_) if !fits => {
                    return Some("it was given a pipe of another simulation, or the end to read where it takes the one to write");
                }
                _ => {}
            }
        }
        lacking(plan)
    }
}

/// What its attributes ask for that a simulated process cannot have.
fn lacking(plan: &Plan) -> Option<&'static str> {
    let a = plan.attributes();
    if a.is_none() {
        return None;
    }
    let given = [&a.controlling_terminal, &a.foreground, &a.current_dir_fd, &a.cgroup, &a.executable];
    if !a.fds.is_empty() || given.iter().any(|fd| fd.is_some()) {
        return Some("a simulated process cannot be given a descriptor");
    }
    if a.seccomp.iter().any(|filter| filter.listener_socket().is_some()) {
        return Some("a simulated process makes no system calls of which a listener could be told");
    }
    (!a.hooks.is_empty()).then_some("a simulated process has no memory in which pre_exec could run")
}

impl MockProcess {
    /// Where the handle leads: to its process or, for a number, to whoever has it and looks the same.
    pub(super) fn target(&self, world: &World) -> Option<Slot> {
        match self.holds {
            Holds::Pidfd => world.table.by_id(self.id),
            Holds::Number => {
                let slot = world.table.by_pid(self.pid.as_raw())?;
                let looks_the_same = self.start.is_none_or(|start| world.boot.ticks(world.table[slot].started) == start);
                looks_the_same.then_some(slot)
            }
        }
    }

    pub(super) fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let pid = self.pid;
        move |errno| Error::on_process(call, pid, errno)
    }

    /// The end of a process that is gone: told to a pidfd by a kernel of 6.15 or later.
    pub(super) fn lost_exit(&self, world: &World) -> Result<Exit, Errno> {
        match self.holds {
            Holds::Pidfd => world.lost_exit(self.id).ok_or(Errno::CHILD),
            Holds::Number => Err(Errno::CHILD),
        }
    }

    fn send(&self, signal: Signal, value: Option<i32>) -> Result<()> {
        let sent = self.kernel.call(|world| {
            world.enter(Call::Signal, self.who.name)?;
            let slot = self.target(world).ok_or(Errno::SRCH)?;
            let stranger = self.stranger(world, slot, signal);
            world.signal_by_call(slot, signal, value);
            Ok(stranger)
        });
        if let Some(hit) = sent.map_err(self.failed("kill"))? {
            self.kernel.judge(Verdict::Stranger { hit });
        }
        Ok(())
    }

    /// Who was hit and who was meant, if that is not the same.
    fn stranger(&self, world: &World, slot: Slot, signal: Signal) -> Option<String> {
        let (pid, ours, hit) = (self.pid, world.quoted(self.who), world.quoted(world.who(slot)));
        if world.table.id(slot) != self.id {
            return Some(format!(
                "{signal} for process {pid}, {ours}, which is gone, has hit a stranger that has its PID now: {hit}"
            ));
        }
        let is_stranger = world.table[slot].is_stranger;
        is_stranger.then(|| format!("{signal} has hit process {pid}, {hit}, a stranger that the program has no business with"))
    }
}

impl BackendProcess for MockProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.send(signal, None)
    }

    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        self.send(signal, Some(value))
    }

    fn may_signal(&self) -> Result<bool> {
        let looked = self.kernel.call(|world| {
            let entered = world.enter(Call::Signal, self.who.name);
            let is_there = self.target(world).is_some();
            entered.and(if is_there { Ok(()) } else { Err(Errno::SRCH) })
        });
        match looked {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => Ok(false),
            Err(errno) => Err(self.failed("kill")(errno)),
        }
    }

    fn by_number(&self, _: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        let backend = if self.holds == Holds::Pidfd { "mock" } else { "mock-pid-legacy" };
        let what = "the number of a simulated process is none of the kernel's, and may be somebody's there".into();
        Err(Error::Unsupported { backend, what })
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        let id = self.kernel.call(|world| {
            let slot = self.target(world)?;
            (world.table.id(slot) == self.id).then_some(self.id)
        });
        let id = id.ok_or_else(|| self.failed("look at it")(Errno::SRCH))?;
        Ok(Box::new(MockLook { kernel: self.kernel.clone(), id, pid: self.pid }))
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        let sent = self.kernel.call(|world| {
            world.enter(Call::Signal, self.who.name)?;
            let leader = self.target(world).ok_or(Errno::SRCH)?;
            let members = world.table.group(self.pid.as_raw());
            let stranger = self.stranger(world, leader, signal);
            for member in &members {
                world.signal_by_call(*member, signal, None);
            }
            Ok((!members.is_empty(), stranger))
        });
        let (has_group, stranger) = sent.map_err(self.failed("kill of the group"))?;
        if let Some(hit) = stranger {
            self.kernel.judge(Verdict::Stranger { hit });
        }
        Ok(has_group)
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let deadline = deadline.map(|deadline| self.kernel.nanos(deadline));
        // waitid(2) looks the number up once, when it is called: from then on it means that process.
        let looked = self.kernel.call(|world| {
            world.enter(Call::Wait, self.who.name)?;
            let Some(slot) = self.target(world) else { return Ok((self.id, Some(self.lost_exit(world)?))) };
            let exit = world.exit_of(slot)?;
            match exit {
                Some(_) => world.note_call(What::Sees(world.who(slot), world.table[slot].status)),
                None if deadline.is_none_or(|deadline| deadline > world.now) => world.note_call(What::Waits(world.who(slot))),
                None => {}
            }
            Ok((world.table.id(slot), exit))
        });
        let failed = self.failed("waitid");
        let (id, exit) = looked.map_err(&failed)?;
        if exit.is_some() {
            return Ok(exit);
        }
        let seen = self.kernel.block(For::Process(id), deadline, |world| match world.table.by_id(id) {
            Some(slot) => {
                let exit = world.exit_of(slot).transpose()?;
                world.note_call(What::Sees(world.who(slot), world.table[slot].status));
                Some(exit)
            }
            None => Some(self.lost_exit(world)),
        });
        if seen.is_none() && deadline.is_some_and(|deadline| deadline > 0) {
            self.kernel.note_time_out(self.who);
        }
        seen.transpose().map_err(failed)
    }

    fn reap(&self) -> Result<Option<Exit>> {
        let reaped = self.kernel.call(|world| {
            world.enter(Call::Reap, self.who.name)?;
            let slot = self.target(world).ok_or(Errno::CHILD)?;
            world.reap(slot)
        });
        reaped.map_err(self.failed("waitid"))
    }

    fn on_exit(self: Arc<Self>, end: steadfast_core::Until, tell: OnExit) -> Result<()> {
        self.kernel.call(|world| {
            let id = self.target(world).map_or(self.id, |slot| world.table.id(slot));
            world.tell(id, end, tell);
        });
        Ok(())
    }

    fn wait_change(&self) -> Result<Change> {
        self.change()
    }

    fn try_change(&self) -> Result<Option<Change>> {
        self.change_now()
    }

    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        self.kernel.call(|world| {
            let id = self.target(world).map_or(self.id, |slot| world.table.id(slot));
            world.tell_change(id, tell);
        });
        Ok(())
    }

    fn identity(&self) -> Result<Identity> {
        self.name()
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        self.kernel.call(|world| {
            if let Some(slot) = world.table.by_id(self.id) {
                world.abandon(slot);
            }
        });
    }
}

impl Drop for MockProcess {
    fn drop(&mut self) {
        if self.holds == Holds::Pidfd {
            // Closing a descriptor is nobody's turn.
            self.kernel.lock().close_handle(self.id);
        }
    }
}

impl Clock for MockClock {
    fn now(&self) -> Instant {
        self.0.shared.epoch + self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) {
        let deadline = self.0.nanos(deadline);
        self.0.call(|_| ());
        self.0.block(For::Time, Some(deadline), |_| None::<()>);
    }

    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        Some(Arc::new(Turns(self.0.clone())))
    }
}
