//! The backend traits on top of the simulation, for a program with pidfds and for one with PIDs only.

use crate::fault::Call;
use crate::kernel::Kernel;
use crate::world::{Born, Parent, World};
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{
    BackendProcess, Capabilities, Clock, Errno, Error, Exit, Pid, PipeEnd, PipeRead, Plan, PlanStdio, ProcessBackend, Result,
    Signal, Spawned,
};

/// What a handle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The process itself.
    Pidfd,
    /// Its number and, for a process that was found, the tick it was started in.
    Number,
}

pub(crate) struct MockBackend {
    kernel: Kernel,
    identity: Identity,
    clock: MockClock,
}

struct MockClock(Kernel);

struct MockProcess {
    kernel: Kernel,
    identity: Identity,
    pid: Pid,
    /// Whom the handle was made for: what a pidfd goes by, and how a stranger is recognised.
    serial: u64,
    program: OsString,
    /// The tick in which it was started, if it was found by its number.
    start: Option<u64>,
}

/// A start time in `/proc` is this coarse.
fn ticks(started: Duration) -> u64 {
    (started.as_millis() / 10) as u64
}

impl MockBackend {
    pub(crate) fn new(kernel: Kernel, identity: Identity) -> MockBackend {
        MockBackend { clock: MockClock(kernel.clone()), kernel, identity }
    }
}

impl ProcessBackend for MockBackend {
    fn capabilities(&self) -> Capabilities {
        match self.identity {
            Identity::Pidfd => Capabilities::new("mock").find_is_exact(),
            Identity::Number => Capabilities::new("mock-pid-legacy"),
        }
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn spawn(&self, plan: &Plan) -> Result<Spawned> {
        let backend = self.capabilities().name;
        let unsupported = |what: &str| Err(Error::Unsupported { backend, what: what.into() });
        if plan.create_pidfd() {
            return unsupported("a pidfd was asked for, and a simulated process has no descriptors");
        }
        if plan.stdio().iter().any(|stdio| matches!(stdio, PlanStdio::Fd(_))) {
            return unsupported("a simulated process cannot be given a descriptor: use Stdio::piped()");
        }
        let a = plan.attributes();
        let given = [&a.controlling_terminal, &a.foreground, &a.current_dir_fd, &a.cgroup, &a.executable];
        if !a.fds.is_empty() || given.iter().any(|fd| fd.is_some()) {
            return unsupported("a simulated process cannot be given a descriptor");
        }
        if !a.hooks.is_empty() {
            return unsupported("a simulated process has no memory in which pre_exec could run");
        }
        let born = self.kernel.call(|world| world.spawn(plan, Parent::Caller));
        let born = born.map_err(|(stage, source)| Error::Spawn { program: plan.program().to_owned(), stage, source })?;
        let end = |pipe| Stream { kernel: self.kernel.clone(), pipe, reader: born };
        let [stdin, stdout, stderr] = born.pipes;
        let pipes = [
            stdin.map(|pipe| PipeEnd::Writer(Box::new(WriteEnd(end(pipe))))),
            stdout.map(|pipe| PipeEnd::Reader(Box::new(ReadEnd(end(pipe))))),
            stderr.map(|pipe| PipeEnd::Reader(Box::new(ReadEnd(end(pipe))))),
        ];
        let process = MockProcess {
            kernel: self.kernel.clone(),
            identity: self.identity,
            pid: born.pid,
            serial: born.serial,
            program: plan.program().to_owned(),
            start: None,
        };
        Ok(Spawned { pid: born.pid, process: Arc::new(process), pipes, pidfd: None })
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        let found = self.kernel.call(|world| {
            let found = world.by_pid(pid).map(|p| (p.serial, p.program.clone(), p.started));
            let (serial, program, started) = found.ok_or(Errno::SRCH)?;
            world.enter(Call::Find, &program)?;
            world.by_identity(pid, serial).ok_or(Errno::SRCH)?;
            Ok((serial, program, started))
        });
        let (serial, program, started) = found.map_err(|errno| match errno {
            Errno::SRCH => Error::ProcessDone { pid },
            errno => Error::on_process("find", pid, errno),
        })?;
        let start = (self.identity == Identity::Number).then(|| ticks(started));
        let (kernel, identity) = (self.kernel.clone(), self.identity);
        Ok(Arc::new(MockProcess { kernel, identity, pid, serial, program, start }))
    }
}

impl MockProcess {
    /// Whether the handle still leads somewhere: to its process or, for a number, to whoever has it and looks the same.
    fn leads_somewhere(&self, world: &World) -> bool {
        match (self.identity, self.start) {
            (Identity::Pidfd, _) => world.by_identity(self.pid, self.serial).is_some(),
            (Identity::Number, None) => world.by_pid(self.pid).is_some(),
            (Identity::Number, Some(start)) => world.by_pid(self.pid).is_some_and(|p| ticks(p.started) == start),
        }
    }

    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let pid = self.pid;
        move |errno| Error::on_process(call, pid, errno)
    }
}

impl BackendProcess for MockProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        let sent = self.kernel.call(|world| {
            world.enter(Call::Signal, &self.program)?;
            if !self.leads_somewhere(world) {
                return Err(Errno::SRCH);
            }
            let stranger = match world.by_identity(self.pid, self.serial) {
                None => world.by_pid(self.pid).map(|stranger| stranger.program.clone()),
                Some(_) => None,
            };
            world.signal(self.pid, signal)?;
            Ok(stranger)
        });
        if let Some(stranger) = sent.map_err(self.failed("kill"))? {
            // After the lock is gone: others may still want the trace.
            panic!(
                "{signal} for process {pid}, {ours:?}, which is gone, has hit a stranger that has its PID now: {stranger:?}\n{trace}",
                pid = self.pid,
                ours = self.program,
                trace = self.kernel.trace(),
            );
        }
        Ok(())
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let deadline = deadline.map(|deadline| deadline.saturating_duration_since(self.kernel.shared.epoch));
        let failed = self.failed("waitid");
        self.kernel.call(|world| world.enter(Call::Wait, &self.program)).map_err(&failed)?;
        // waitid(2) looks the number up once, when it is called: from then on it means that process.
        let target = self.kernel.call(|world| match self.leads_somewhere(world) {
            true => world.by_pid(self.pid).map(|process| process.serial),
            false => None,
        });
        let serial = target.ok_or_else(|| failed(Errno::CHILD))?;
        let seen = self.kernel.block(deadline, |world| match world.by_identity(self.pid, serial) {
            Some(_) => world.exit_of(self.pid).transpose(),
            None => Some(Err(Errno::CHILD)),
        });
        seen.transpose().map_err(failed)
    }

    fn reap(&self) -> Result<Option<Exit>> {
        let reaped = self.kernel.call(|world| {
            world.enter(Call::Reap, &self.program)?;
            if self.leads_somewhere(world) { world.reap(self.pid) } else { Err(Errno::CHILD) }
        });
        reaped.map_err(self.failed("waitid"))
    }

    fn collect(&self) -> Result<Exit> {
        let exit = self.wait_exited(None)?;
        self.reap()?;
        exit.ok_or_else(|| self.failed("waitid")(Errno::CHILD))
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn abandon(self: Arc<Self>) {
        self.kernel.call(|world| {
            if world.by_identity(self.pid, self.serial).is_some() {
                world.abandon(self.pid);
            }
        });
    }
}

impl Clock for MockClock {
    fn now(&self) -> Instant {
        self.0.shared.epoch + self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) {
        let deadline = deadline.saturating_duration_since(self.0.shared.epoch);
        self.0.block(Some(deadline), |world| (world.now() >= deadline).then_some(()));
    }
}

/// The test's end of a simulated pipe.
struct Stream {
    kernel: Kernel,
    pipe: u64,
    reader: Born,
}

struct ReadEnd(Stream);
struct WriteEnd(Stream);

impl PipeRead for ReadEnd {
    fn read_deadline(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<Option<usize>> {
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        let Stream { kernel, pipe, .. } = &self.0;
        let deadline = deadline.map(|deadline| deadline.saturating_duration_since(kernel.shared.epoch));
        Ok(kernel.block(deadline, |world| {
            let Some(pipe) = world.pipe(*pipe) else { return Some(0) };
            if pipe.bytes.is_empty() {
                return pipe.writer_gone.then_some(0);
            }
            let count = buffer.len().min(pipe.bytes.len());
            for (to, from) in buffer.iter_mut().zip(pipe.bytes.drain(..count)) {
                *to = from;
            }
            Some(count)
        }))
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.0.kernel.call(|world| world.close_reader(self.0.pipe));
    }
}

impl io::Write for WriteEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stream { kernel, pipe, reader } = &self.0;
        kernel.call(|world| {
            // The process has ended, and with it the read end.
            let Some(pipe) = world.pipe(*pipe) else { return Err(io::ErrorKind::BrokenPipe.into()) };
            pipe.bytes.extend(bytes);
            world.nudge(reader.pid, reader.serial);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        let Stream { kernel, pipe, reader } = &self.0;
        kernel.call(|world| {
            if let Some(pipe) = world.pipe(*pipe) {
                pipe.writer_gone = true;
            }
            world.nudge(reader.pid, reader.serial);
        });
    }
}
