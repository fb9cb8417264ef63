//! [`World`]: the state of the simulation. Everything that changes it runs under one lock, so that it is one order of events.

use crate::fault::{Call, Fault};
use crate::kernel::Run;
use crate::run::{Life, Process};
use crate::script::Script;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Errno, Exit, Pid, Plan, PlanStdio, Signal, Stage};

pub(crate) struct World {
    now: Duration,
    rng: fastrand::Rng,
    pid_max: i32,
    last_pid: i32,
    next_serial: u64,
    /// All that have a PID, zombies too.
    processes: BTreeMap<Pid, Process>,
    /// When which process (by serial) goes on; the counter keeps equal times in order.
    events: BinaryHeap<Reverse<(Duration, u64, u64)>>,
    next_event: u64,
    programs: HashMap<OsString, Program>,
    faults: Vec<Fault>,
    pipes: HashMap<u64, Pipe>,
    next_pipe: u64,
    sigchld_ignored: bool,
    trace: String,
}

pub(crate) struct Program {
    script: Arc<dyn Fn(&Run) -> Script + Send + Sync>,
    runs: u64,
}

impl Program {
    pub(crate) fn new(script: impl Fn(&Run) -> Script + Send + Sync + 'static) -> Program {
        Program { script: Arc::new(script), runs: 0 }
    }
}

/// Whose child a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The program under test.
    Caller,
    /// A child of the program's that it has given up: reaped as soon as it exits.
    Nobody,
    /// Init, which reaps as soon as a child exits.
    Init,
}

/// Bytes on their way.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) writer_gone: bool,
}

/// A process that was just made.
#[derive(Clone, Copy)]
pub(crate) struct Born {
    pub(crate) pid: Pid,
    pub(crate) serial: u64,
    pub(crate) pipes: [Option<u64>; 3],
}

impl World {
    pub(crate) fn new() -> World {
        World {
            now: Duration::ZERO,
            rng: fastrand::Rng::with_seed(0),
            pid_max: 32_768,
            last_pid: 1,
            next_serial: 0,
            processes: BTreeMap::new(),
            events: BinaryHeap::new(),
            next_event: 0,
            programs: HashMap::new(),
            faults: Vec::new(),
            pipes: HashMap::new(),
            next_pipe: 0,
            sigchld_ignored: false,
            trace: String::new(),
        }
    }

    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.rng = fastrand::Rng::with_seed(seed);
    }

    pub(crate) fn set_pid_max(&mut self, pid_max: i32) {
        self.pid_max = pid_max;
    }

    pub(crate) fn set_last_pid(&mut self, pid: i32) {
        self.last_pid = pid;
    }

    pub(crate) fn install(&mut self, name: OsString, program: Program) {
        self.programs.insert(name, program);
    }

    pub(crate) fn add_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn ignore_sigchld(&mut self, ignore: bool) {
        self.sigchld_ignored = ignore;
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn trace(&self) -> &str {
        &self.trace
    }

    pub(crate) fn note(&mut self, process: Option<(Pid, &OsString)>, what: impl std::fmt::Display) {
        let seconds = self.now.as_secs_f64();
        // Writing to a String cannot fail.
        _ = match process {
            Some((pid, program)) => {
                writeln!(self.trace, "{seconds:12.6} {pid:>7} {}: {what}", std::path::Path::new(program).display())
            }
            None => writeln!(self.trace, "{seconds:12.6}         {what}"),
        };
    }

    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.processes.keys().copied().collect()
    }

    pub(crate) fn zombies(&self) -> Vec<Pid> {
        let zombie = |process: &&Process| matches!(process.life, Life::Zombie(_));
        self.processes.values().filter(zombie).map(|process| process.pid).collect()
    }

    /// Whoever has the number now.
    pub(crate) fn by_pid(&self, pid: Pid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// The process itself, if it still has its number.
    pub(crate) fn by_identity(&self, pid: Pid, serial: u64) -> Option<&Process> {
        self.by_pid(pid).filter(|process| process.serial == serial)
    }

    pub(crate) fn pipe(&mut self, id: u64) -> Option<&mut Pipe> {
        self.pipes.get_mut(&id)
    }

    /// Nobody will read it any more.
    pub(crate) fn close_reader(&mut self, id: u64) {
        self.pipes.remove(&id);
    }

    /// Called at the head of each system call: lets some of what is due now happen before it, as the seed has it, then fails
    /// the call if a fault says so.
    pub(crate) fn enter(&mut self, call: Call, program: &OsString) -> Result<(), Errno> {
        while self.next_event().is_some_and(|at| at <= self.now) && self.rng.bool() {
            self.happen();
        }
        let rng = &mut self.rng;
        let struck = self.faults.iter_mut().find_map(|fault| fault.strikes(call, program, rng));
        match struck {
            Some(errno) => {
                self.note(None, format_args!("fault: {call:?} fails with {errno:?}"));
                Err(errno)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn spawn(&mut self, plan: &Plan, parent: Parent) -> Result<Born, (Stage, Errno)> {
        let name = plan.program().to_owned();
        self.enter(Call::Spawn, &name).map_err(|errno| (Stage::Clone, errno))?;
        let Some(program) = self.programs.get_mut(&name) else {
            let searched = !name.as_encoded_bytes().contains(&b'/');
            let search_path = searched.then(|| "the simulation's programs".into());
            let path = (!searched).then(|| name.clone().into());
            return Err((Stage::Exec { path, search_path }, Errno::NOENT));
        };
        let run = Run {
            number: program.runs,
            args: plan.args().to_vec(),
            env: plan.env().map(<[_]>::to_vec),
            attributes: plan.attributes().clone(),
        };
        let script = Arc::clone(&program.script);
        let pid = self.next_pid().ok_or((Stage::Clone, Errno::AGAIN))?;
        if let Some(program) = self.programs.get_mut(&name) {
            program.runs += 1;
        }
        let pipes = plan.stdio().each_ref().map(|stdio| matches!(stdio, PlanStdio::Piped).then(|| self.new_pipe()));
        let serial = self.next_serial;
        self.next_serial += 1;
        let process = Process::new(pid, serial, name.clone(), parent, script(&run), pipes, self.now);
        self.last_pid = pid.as_raw();
        self.processes.insert(pid, process);
        self.note(Some((pid, &name)), "spawned");
        self.schedule(self.now, serial);
        Ok(Born { pid, serial, pipes })
    }

    /// The next free number after the last one, starting again at 2, as Linux does in a namespace whose low numbers are free.
    fn next_pid(&self) -> Option<Pid> {
        let after = self.last_pid.saturating_add(1)..self.pid_max;
        let mut candidates = after.chain(2..self.pid_max).filter_map(|raw| Pid::new(raw).ok());
        candidates.find(|pid| pid.as_raw() > 1 && !self.processes.contains_key(pid))
    }

    fn new_pipe(&mut self) -> u64 {
        let id = self.next_pipe;
        self.next_pipe += 1;
        self.pipes.insert(id, Pipe::default());
        id
    }

    pub(crate) fn schedule(&mut self, at: Duration, serial: u64) {
        self.events.push(Reverse((at, self.next_event, serial)));
        self.next_event += 1;
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        self.events.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Lets it happen.
    pub(crate) fn happen(&mut self) {
        if let Some(Reverse((at, _, serial))) = self.events.pop() {
            self.now = self.now.max(at);
            let pid = self.processes.values().find(|process| process.serial == serial).map(|process| process.pid);
            if let Some(pid) = pid {
                self.change(pid, Process::go_on);
            }
        }
    }

    pub(crate) fn pass_until(&mut self, deadline: Duration) {
        self.now = self.now.max(deadline);
    }

    /// Sends a signal to whoever has the number.
    pub(crate) fn signal(&mut self, pid: Pid, signal: Signal) -> Result<(), Errno> {
        let Some(process) = self.processes.get(&pid) else { return Err(Errno::SRCH) };
        let program = process.program.clone();
        self.note(Some((pid, &program)), format_args!("gets {signal}"));
        self.change(pid, |process, world| process.receive(signal, world));
        Ok(())
    }

    /// Tells a reader of its stdin that something has changed.
    pub(crate) fn nudge(&mut self, pid: Pid, serial: u64) {
        if self.by_identity(pid, serial).is_some() {
            self.schedule(self.now, serial);
        }
    }

    /// Lets a process act on the world: it is out of the table meanwhile, and put back or reaped after.
    fn change(&mut self, pid: Pid, act: impl FnOnce(&mut Process, &mut World)) {
        let Some(mut process) = self.processes.remove(&pid) else { return };
        act(&mut process, self);
        let reaped_at_once = match process.parent {
            Parent::Caller => self.sigchld_ignored,
            Parent::Nobody | Parent::Init => true,
        };
        if matches!(process.life, Life::Zombie(_)) && reaped_at_once {
            self.note(Some((pid, &process.program)), "reaped at once");
        } else {
            self.processes.insert(pid, process);
        }
    }

    /// How the caller's child ended, if it has. One that was given up can still be waited for, as long as it is there.
    pub(crate) fn exit_of(&self, pid: Pid) -> Result<Option<Exit>, Errno> {
        match self.by_pid(pid) {
            Some(process) if process.parent != Parent::Init => match process.life {
                Life::Zombie(exit) => Ok(Some(exit)),
                Life::Running | Life::Stopped => Ok(None),
            },
            _ => Err(Errno::CHILD),
        }
    }

    pub(crate) fn reap(&mut self, pid: Pid) -> Result<Option<Exit>, Errno> {
        let exit = self.exit_of(pid)?;
        if exit.is_some() {
            if let Some(process) = self.processes.remove(&pid) {
                self.note(Some((pid, &process.program)), "reaped");
            }
        }
        Ok(exit)
    }

    pub(crate) fn reap_any(&mut self) -> Option<Pid> {
        let pid = self.zombies().into_iter().find(|pid| matches!(self.exit_of(*pid), Ok(Some(_))))?;
        self.note(None, format_args!("somebody else's waitpid(-1) takes {pid}"));
        self.reap(pid).ok()?.map(|exit| exit.pid)
    }

    pub(crate) fn abandon(&mut self, pid: Pid) {
        if !matches!(self.reap(pid), Ok(None)) {
            return;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.parent = Parent::Nobody;
        }
    }
}
