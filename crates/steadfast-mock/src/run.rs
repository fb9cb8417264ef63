//! [`Process`]: one simulated process, running its script and taking signals.

use crate::script::{Disposition, Script, Step, Stream};
use crate::world::{Parent, World};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use steadfast_core::{Exit, Pid, Rusage, Signal};

pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Never used twice: what a pidfd means.
    pub(crate) serial: u64,
    pub(crate) program: OsString,
    pub(crate) parent: Parent,
    pub(crate) life: Life,
    pub(crate) started: Duration,
    /// The script, and on top of it the handlers that interrupted it.
    frames: Vec<Frame>,
    dispositions: BTreeMap<Signal, Disposition>,
    blocked: BTreeSet<Signal>,
    pending: BTreeSet<Signal>,
    /// stdin, stdout, stderr, where they are piped.
    pipes: [Option<u64>; 3],
    user_time: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    Running,
    Stopped,
    Zombie(Exit),
}

struct Frame {
    steps: std::vec::IntoIter<Step>,
    waiting: Option<Wait>,
}

#[derive(Clone, Copy)]
enum Wait {
    Until(Duration),
    ForStdin,
    ForEver,
}

/// What a signal does to a process that has not said otherwise (signal(7)).
enum Action {
    Terminate,
    DumpCore,
    Ignore,
    Stop,
    Continue,
}

fn default_action(signal: Signal) -> Action {
    match signal {
        Signal::CHLD | Signal::URG | Signal::WINCH => Action::Ignore,
        Signal::CONT => Action::Continue,
        Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => Action::Stop,
        Signal::QUIT | Signal::ILL | Signal::TRAP | Signal::ABRT | Signal::BUS | Signal::FPE | Signal::SEGV => Action::DumpCore,
        Signal::XCPU | Signal::XFSZ | Signal::SYS => Action::DumpCore,
        _ => Action::Terminate,
    }
}

fn is_unstoppable(signal: Signal) -> bool {
    matches!(signal, Signal::KILL | Signal::STOP)
}

impl Process {
    pub(crate) fn new(
        pid: Pid,
        serial: u64,
        program: OsString,
        parent: Parent,
        script: Script,
        pipes: [Option<u64>; 3],
        started: Duration,
    ) -> Process {
        Process {
            pid,
            serial,
            program,
            parent,
            life: Life::Running,
            started,
            frames: vec![Frame::new(script)],
            dispositions: BTreeMap::new(),
            blocked: BTreeSet::new(),
            pending: BTreeSet::new(),
            pipes,
            user_time: Duration::ZERO,
        }
    }

    /// Takes steps until it has to wait, has ended, or is stopped.
    pub(crate) fn go_on(&mut self, world: &mut World) {
        while matches!(self.life, Life::Running) {
            let Some(frame) = self.frames.last_mut() else { return self.exit(0, world) };
            match frame.waiting {
                Some(Wait::Until(at)) if at > world.now() => return world.schedule(at, self.serial),
                Some(Wait::ForEver) => return,
                Some(Wait::ForStdin) => {
                    let open = self.pipes[0].and_then(|id| world.pipe(id)).map(|pipe| {
                        pipe.bytes.clear();
                        !pipe.writer_gone
                    });
                    if open == Some(true) {
                        return;
                    }
                }
                Some(Wait::Until(_)) | None => {}
            }
            frame.waiting = None;
            match frame.steps.next() {
                Some(step) => self.take_step(step, world),
                None => drop(self.frames.pop()),
            }
        }
    }

    fn take_step(&mut self, step: Step, world: &mut World) {
        match step {
            Step::Sleep(time) => self.wait(Wait::Until(world.now() + time)),
            Step::Compute(time) => {
                self.user_time += time;
                self.wait(Wait::Until(world.now() + time));
            }
            Step::RunForever => self.wait(Wait::ForEver),
            Step::ReadStdinToEnd => self.wait(Wait::ForStdin),
            Step::Write(stream, bytes) => {
                let pipe = self.pipes[if stream == Stream::Stdout { 1 } else { 2 }];
                match pipe.map(|id| world.pipe(id)) {
                    None => {}
                    Some(Some(pipe)) => pipe.bytes.extend(bytes.iter()),
                    // The other end is closed (pipe(7)).
                    Some(None) => self.receive(Signal::PIPE, world),
                }
            }
            Step::On(signal, disposition) if !is_unstoppable(signal) => {
                self.dispositions.insert(signal, disposition);
            }
            Step::Block(signal) if !is_unstoppable(signal) => drop(self.blocked.insert(signal)),
            Step::On(..) | Step::Block(_) => {}
            Step::Unblock(signal) => {
                self.blocked.remove(&signal);
                if self.pending.remove(&signal) {
                    self.receive(signal, world);
                }
            }
            Step::Exit(code) => self.exit(code, world),
            Step::Raise(signal) => self.receive(signal, world),
        }
    }

    fn wait(&mut self, wait: Wait) {
        if let Some(frame) = self.frames.last_mut() {
            frame.waiting = Some(wait);
        }
    }

    /// Takes a signal: at once, or when it is unblocked. A zombie takes any, and nothing comes of it.
    pub(crate) fn receive(&mut self, signal: Signal, world: &mut World) {
        if matches!(self.life, Life::Zombie(_)) {
            return;
        }
        if signal == Signal::CONT && matches!(self.life, Life::Stopped) {
            // Goes on even if it ignores or blocks the signal (signal(7)).
            self.life = Life::Running;
            world.note(Some((self.pid, &self.program)), "continues");
            world.schedule(world.now(), self.serial);
        }
        if self.blocked.contains(&signal) {
            self.pending.insert(signal);
            return;
        }
        match self.dispositions.get(&signal) {
            Some(Disposition::Ignore) => {}
            Some(Disposition::Handle(script)) => {
                self.frames.push(Frame::new(script.clone()));
                world.schedule(world.now(), self.serial);
            }
            Some(Disposition::Default) | None => match default_action(signal) {
                Action::Ignore | Action::Continue => {}
                Action::Stop => {
                    self.life = Life::Stopped;
                    world.note(Some((self.pid, &self.program)), "stops");
                }
                Action::Terminate => self.end(signal.as_raw(), world),
                Action::DumpCore => self.end(signal.as_raw() | 0x80, world),
            },
        }
    }

    fn exit(&mut self, code: i32, world: &mut World) {
        self.end((code & 0xff) << 8, world);
    }

    fn end(&mut self, wait_status: i32, world: &mut World) {
        let status = ExitStatus::from_raw(wait_status);
        let rusage = Rusage { user_time: self.user_time, ..Rusage::default() };
        self.life = Life::Zombie(Exit::new(self.pid, status).with_rusage(rusage));
        if let Some(stdin) = self.pipes[0] {
            world.close_reader(stdin);
        }
        for output in self.pipes.into_iter().skip(1).flatten() {
            if let Some(pipe) = world.pipe(output) {
                pipe.writer_gone = true;
            }
        }
        world.note(Some((self.pid, &self.program)), format_args!("ends, {status}"));
    }
}

impl Frame {
    fn new(script: Script) -> Frame {
        Frame { steps: script.steps.into_iter(), waiting: None }
    }
}
