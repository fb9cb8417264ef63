//! [`Process`]: one simulated process, and how it takes the steps of its script.

use crate::fault::Call;
use crate::pipe::{End, PipeId};
use crate::script::{Code, Disposition, Image, Kind, Step, Target};
use crate::signals::{SignalBits, bit};
use crate::table::{INIT, NONE, Slot};
use crate::trace::{Actor, What};
use crate::turn::For;
use crate::world::World;
use std::sync::Arc;
use steadfast_core::{Errno, Signal};

// In this order: what every event looks at comes first, in one cache line, so that an event among thousands is not slower.
#[repr(C, align(64))]
pub(crate) struct Process {
    /// What it does now.
    frame: Frame,
    pub(crate) pending: SignalBits,
    /// Which of its events counts: the last that was scheduled.
    pub(crate) timer: u32,
    pub(crate) life: Life,
    /// The fatal signal that it has taken; nothing else matters then.
    pub(crate) doomed: Option<Signal>,
    /// Since when it has been at its computation; `PAUSED`: it is not at it.
    computing: u64,
    pub(crate) generation: u32,
    pub(crate) pid: i32,
    pub(crate) parent: Slot,
    pub(crate) first_child: Slot,
    pub(crate) next_sibling: Slot,
    pub(crate) previous_sibling: Slot,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// Its program's name: an index into the kernel's names.
    pub(crate) name: u32,
    /// Its place in the log of runs.
    pub(crate) run: u64,
    /// The wait status of one that has ended.
    pub(crate) status: i32,
    /// In nanoseconds, as all times here.
    pub(crate) started: u64,
    pub(crate) user_time: u64,
    /// Of the descendants that it has waited for.
    pub(crate) children_time: u64,
    pub(crate) blocked: SignalBits,
    pub(crate) ignored: SignalBits,
    pub(crate) handled: SignalBits,
    pub(crate) handlers: Vec<(Signal, Code)>,
    /// Real-time signals that are pending more than once.
    pub(crate) queued: Vec<Signal>,
    pub(crate) death_signal: Option<Signal>,
    /// What that has interrupted.
    below: Vec<Frame>,
    /// stdin, stdout, stderr, where they are pipes.
    pub(crate) streams: [Option<PipeId>; 3],
    /// What it has taken out of stdin and not used yet.
    input: Vec<u8>,
    /// How many processes there may be for it to make another one (`RLIMIT_NPROC`).
    pub(crate) max_processes: u32,
    pub(crate) may_dump_core: bool,
    pub(crate) is_subreaper: bool,
    /// The program under test has no business with it.
    pub(crate) is_stranger: bool,
    /// The handle was dropped: somebody in the background waits for it.
    pub(crate) is_abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The place in the table is free.
    Gone,
    Running,
    Stopped,
    /// It ends, and hangs until its frame's time.
    Exiting,
    Zombie,
}

/// Steps in progress: a script, a loop's body, or a handler.
struct Frame {
    code: Code,
    waiting: Wait,
    /// The next step.
    at: u32,
    /// How often it is to be done again; the maximum is for ever.
    again: u32,
    /// The signal that it handles, which is blocked meanwhile.
    handles: Option<Signal>,
}

/// What the step before the next one waits for.
#[derive(Clone, Copy)]
enum Wait {
    ForNothing,
    Until(u64),
    /// So much is left to do.
    Compute(u64),
    ForLine,
    ForEnd,
    /// For room to write what comes behind so many bytes.
    ForRoom(usize),
    ForChild {
        all: bool,
    },
    ForEver,
}

const PAUSED: u64 = u64::MAX;
const FOR_EVER: u32 = u32::MAX;
/// More steps than this at one moment are a loop that the simulation would never come out of.
const STEPS_AT_ONCE: u32 = 1_000_000;

impl Frame {
    fn new(code: Code) -> Frame {
        Frame { code, at: 0, again: 0, handles: None, waiting: Wait::ForNothing }
    }

    /// The step that it waits in.
    fn step(&self) -> &Step {
        &self.code[self.at as usize - 1]
    }
}

impl Process {
    pub(crate) fn new(pid: i32, parent: Slot, name: u32, group: i32, session: i32) -> Process {
        Process {
            generation: 0,
            pid,
            parent,
            first_child: NONE,
            next_sibling: NONE,
            previous_sibling: NONE,
            group,
            session,
            name,
            run: 0,
            life: Life::Running,
            status: 0,
            started: 0,
            user_time: 0,
            children_time: 0,
            blocked: 0,
            pending: 0,
            ignored: 0,
            handled: 0,
            handlers: Vec::new(),
            queued: Vec::new(),
            doomed: None,
            death_signal: None,
            frame: Frame::new(Arc::new([])),
            below: Vec::new(),
            timer: 0,
            computing: PAUSED,
            streams: [None; 3],
            input: Vec::new(),
            max_processes: u32::MAX,
            may_dump_core: true,
            is_subreaper: false,
            is_stranger: false,
            is_abandoned: false,
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.life != Life::Gone
    }

    /// Leaves nothing but the marks by which old events and old handles know that it is gone.
    pub(crate) fn vanish(&mut self) {
        let (generation, timer) = (self.generation, self.timer.wrapping_add(1));
        *self = Process { generation, timer, life: Life::Gone, ..Process::new(self.pid, NONE, self.name, 0, 0) };
    }

    /// Forgets what it did, and does this: exec(2) and the beginning.
    pub(crate) fn execute(&mut self, code: Code) {
        self.frame = Frame::new(code);
        self.below.clear();
        self.handled = 0;
        self.handlers.clear();
    }

    /// Interrupts what it does.
    pub(crate) fn interrupt(&mut self, code: Code, handles: Option<Signal>, now: u64) {
        self.pause(now);
        let interrupted = std::mem::replace(&mut self.frame, Frame { handles, ..Frame::new(code) });
        self.below.push(interrupted);
    }

    /// The signals that do not get through: blocked, or being handled.
    pub(crate) fn mask(&self) -> SignalBits {
        let handling = self.below.iter().chain([&self.frame]).filter_map(|frame| frame.handles);
        handling.fold(self.blocked, |mask, signal| mask | bit(signal))
    }

    /// Stops the clock of a computation.
    pub(crate) fn pause(&mut self, now: u64) {
        if let (Wait::Compute(left), true) = (&mut self.frame.waiting, self.computing != PAUSED) {
            let done = (now - self.computing).min(*left);
            self.user_time += done;
            *left -= done;
        }
        self.computing = PAUSED;
    }

    /// It ends then.
    pub(crate) fn hang(&mut self, until: u64) {
        self.life = Life::Exiting;
        self.frame.waiting = Wait::Until(until);
    }

    pub(crate) fn waits_for_child(&self) -> bool {
        matches!(self.frame.waiting, Wait::ForChild { .. })
    }

    /// What it waits for, in words.
    pub(crate) fn occupation(&self) -> &'static str {
        match (self.life, &self.frame.waiting) {
            (Life::Stopped, _) => "is stopped",
            (Life::Zombie, _) => "is a zombie",
            (Life::Exiting, _) => "hangs in its exit",
            (_, Wait::ForLine | Wait::ForEnd) => "waits for input",
            (_, Wait::ForRoom(..)) => "waits for somebody to read what it writes",
            (_, Wait::ForChild { .. }) => "waits for a child",
            (_, Wait::ForEver) => "waits for signals",
            (_, Wait::Until(_)) => "sleeps",
            (_, Wait::Compute(_) | Wait::ForNothing) => "runs",
        }
    }
}

impl World {
    /// Lets it take steps until it has to wait, has ended, or is stopped.
    pub(crate) fn go_on(&mut self, slot: Slot) {
        for _ in 0..STEPS_AT_ONCE {
            if let (Life::Exiting, Wait::Until(until)) = (self.table[slot].life, self.table[slot].frame.waiting) {
                return if until <= self.now { self.finish(slot) } else { self.schedule(slot, until) };
            }
            self.take_signals(slot);
            if self.table[slot].life != Life::Running || !self.is_ready(slot) {
                return;
            }
            let frame = &mut self.table[slot].frame;
            frame.waiting = Wait::ForNothing;
            if (frame.at as usize) < frame.code.len() {
                let code = Arc::clone(&frame.code);
                frame.at += 1;
                let step = frame.at as usize - 1;
                self.take_step(slot, &code[step]);
            } else if frame.again > 0 {
                frame.at = 0;
                frame.again -= u32::from(frame.again != FOR_EVER);
            } else {
                match self.table[slot].below.pop() {
                    Some(below) => self.table[slot].frame = below,
                    None => self.end(slot, 0),
                }
            }
        }
        let who = self.who(slot);
        panic!(
            "process {} ({}) takes {STEPS_AT_ONCE} steps without letting time pass",
            who.pid,
            self.name(who.name).to_string_lossy()
        );
    }

    /// Whether it has got what it waits for.
    fn is_ready(&mut self, slot: Slot) -> bool {
        let now = self.now;
        let process = &mut self.table[slot];
        match process.frame.waiting {
            Wait::ForNothing => true,
            Wait::ForEver => false,
            Wait::Until(at) => {
                if at > now {
                    self.schedule(slot, at);
                }
                at <= now
            }
            Wait::Compute(left) => {
                if process.computing == PAUSED {
                    process.computing = now;
                }
                let done = process.computing.saturating_add(left);
                if done > now {
                    self.schedule(slot, done);
                } else {
                    process.pause(now);
                }
                done <= now
            }
            Wait::ForLine => self.has_read_line(slot),
            Wait::ForEnd => {
                let at_end = self.pull(slot);
                self.table[slot].input.clear();
                at_end
            }
            Wait::ForRoom(done) => self.has_written(slot, done),
            Wait::ForChild { all } => self.has_waited(slot, all),
        }
    }

    /// Takes what is in stdin; whether it has come to its end.
    fn pull(&mut self, slot: Slot) -> bool {
        let Some(pipe) = self.table[slot].streams[0] else { return true };
        let taken: Vec<u8> = self.pipes.get(pipe).bytes.drain(..).collect();
        if !taken.is_empty() {
            self.note(Actor::Process(self.who(slot)), What::Reads(taken.len() as u32));
            self.table[slot].input.extend(taken);
            self.wake_pipe(pipe);
        }
        let at_end = self.pipes.get(pipe).writers == 0;
        if !at_end {
            self.sleep_on(slot, pipe);
        }
        at_end
    }

    fn sleep_on(&mut self, slot: Slot, pipe: PipeId) {
        let id = self.table.id(slot);
        let sleepers = &mut self.pipes.get(pipe).sleepers;
        if !sleepers.contains(&id) {
            sleepers.push(id);
        }
    }

    fn has_read_line(&mut self, slot: Slot) -> bool {
        let at_end = self.pull(slot);
        let input = &mut self.table[slot].input;
        let line = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => Some(input.drain(..=end).collect::<Vec<u8>>()),
            None if !at_end => return false,
            None if input.is_empty() => None,
            None => Some(std::mem::take(input)),
        };
        if let Step::ReadLine(Some(then)) = self.table[slot].frame.step() {
            let then = Arc::clone(then);
            let text = line.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            let script = then(text.as_deref());
            self.refuse_contradiction(slot, &script);
            let process = &mut self.table[slot];
            process.frame.waiting = Wait::ForNothing;
            process.interrupt(script.code(), None, self.now);
        }
        true
    }

    fn has_written(&mut self, slot: Slot, done: usize) -> bool {
        let Step::Write(stream, bytes) = self.table[slot].frame.step() else { return true };
        let (stream, bytes) = (*stream, Arc::clone(bytes));
        let Some(pipe) = self.table[slot].streams[stream as usize] else { return true };
        if self.pipes.get(pipe).readers == 0 {
            self.note(Actor::Process(self.who(slot)), What::BrokenPipe);
            self.table[slot].frame.waiting = Wait::ForNothing;
            self.send(slot, Signal::PIPE);
            // Before the next step, as at the return of write(2).
            self.take_signals(slot);
            return self.table[slot].life == Life::Running;
        }
        let put = self.pipes.put(pipe, &bytes[done..]);
        if put > 0 {
            self.note(Actor::Process(self.who(slot)), What::Writes(stream, put as u32));
            self.wake_pipe(pipe);
        }
        let done = done + put;
        let is_all = done == bytes.len();
        if !is_all {
            self.table[slot].frame.waiting = Wait::ForRoom(done);
            self.sleep_on(slot, pipe);
        }
        is_all
    }

    fn has_waited(&mut self, slot: Slot, all: bool) -> bool {
        loop {
            // The oldest, as the kernel does.
            let children: Vec<Slot> = self.table.children(slot).collect();
            let ended = children.iter().rev().find(|child| self.table[**child].life == Life::Zombie);
            match ended {
                None => return children.is_empty(),
                Some(child) => {
                    self.note(Actor::Process(self.who(slot)), What::Reaps(self.who(*child)));
                    self.reap_counted(*child);
                    if !all {
                        return true;
                    }
                }
            }
        }
    }

    fn take_step(&mut self, slot: Slot, step: &Step) {
        let now = self.now;
        let after = |time: std::time::Duration| now.saturating_add(time.as_nanos() as u64);
        let process = &mut self.table[slot];
        match step {
            Step::Sleep(time) => process.frame.waiting = Wait::Until(after(*time)),
            Step::Compute(time) => process.frame.waiting = Wait::Compute(time.as_nanos() as u64),
            Step::RunForever => process.frame.waiting = Wait::ForEver,
            Step::ReadLine(_) => process.frame.waiting = Wait::ForLine,
            Step::ReadToEnd => process.frame.waiting = Wait::ForEnd,
            Step::WaitForChild => process.frame.waiting = Wait::ForChild { all: false },
            Step::WaitForChildren => process.frame.waiting = Wait::ForChild { all: true },
            Step::Write(_, bytes) if bytes.is_empty() => {}
            Step::Write(..) => process.frame.waiting = Wait::ForRoom(0),
            Step::Close(stream) => self.close_stream(slot, *stream as usize),
            Step::On(signal, disposition) => self.set_disposition(slot, *signal, disposition),
            Step::Block(signal) => process.blocked |= bit(*signal),
            Step::Unblock(signal) => process.blocked &= !bit(*signal),
            Step::Spawn(image) => self.spawn_by_script(slot, image),
            Step::Exec(image) => self.exec(slot, image),
            Step::Send(target, signal) => self.send_by_script(slot, *target, *signal),
            Step::NewGroup => self.new_group(slot),
            Step::NewSession => self.new_session(slot),
            Step::Subreaper => process.is_subreaper = true,
            Step::Exit(code) => self.end(slot, (code & 0xff) << 8),
            Step::Abort => {
                self.set_disposition(slot, Signal::ABRT, &Disposition::Default);
                self.table[slot].blocked &= !bit(Signal::ABRT);
                self.send(slot, Signal::ABRT);
            }
            Step::Loop(times, body) => {
                let again = times.map_or(FOR_EVER, |times| times - 1);
                let interrupted = std::mem::replace(&mut process.frame, Frame { again, ..Frame::new(Arc::clone(body)) });
                process.below.push(interrupted);
            }
        }
    }

    /// Closes it if it is a pipe that is open.
    pub(crate) fn close_stream(&mut self, slot: Slot, index: usize) {
        if let Some(pipe) = self.table[slot].streams[index].take() {
            self.close_pipe(pipe, if index == 0 { End::Read } else { End::Write });
        }
    }

    pub(crate) fn close_pipe(&mut self, pipe: PipeId, end: End) {
        self.wake_pipe(pipe);
        self.pipes.close(pipe, end);
    }

    /// Something has changed about a pipe: whoever sleeps on it looks again.
    pub(crate) fn wake_pipe(&mut self, pipe: PipeId) {
        for id in std::mem::take(&mut self.pipes.get(pipe).sleepers) {
            if let Some(slot) = self.table.by_id(id) {
                self.schedule(slot, self.now);
            }
        }
        self.threads.wake(For::Pipe(pipe));
    }

    fn new_group(&mut self, slot: Slot) {
        let Process { pid, session, .. } = self.table[slot];
        // The leader of a session has its own group already, and stays in it (setpgid(2): EPERM).
        if session != pid {
            self.table.set_group(slot, pid);
            self.note(Actor::Process(self.who(slot)), What::Group(pid));
        }
    }

    pub(crate) fn new_session(&mut self, slot: Slot) {
        let pid = self.table[slot].pid;
        // setsid(2): EPERM if there is a group of this number.
        if !self.table.has_group(pid) {
            self.table.set_group(slot, pid);
            self.table.set_session(slot, pid);
            self.note(Actor::Process(self.who(slot)), What::Session(pid));
        }
    }

    fn send_by_script(&mut self, slot: Slot, target: Target, signal: Signal) {
        let whom = match target {
            Target::Itself => vec![slot],
            Target::Parent => vec![self.table[slot].parent],
            Target::Children => self.table.children(slot).collect::<Vec<_>>().into_iter().rev().collect(),
            // The group of the program under test has members outside, which do not hear it.
            Target::Group => self.table.group(self.table[slot].group),
        };
        for to in whom.into_iter().filter(|to| *to > INIT + 1) {
            self.note(Actor::Process(self.who(slot)), What::Signals(signal, self.who(to)));
            self.send(to, signal);
        }
    }

    fn spawn_by_script(&mut self, slot: Slot, image: &Image) {
        let actor = Actor::Process(self.who(slot));
        let (name, code) = self.look_up(slot, image);
        let program = self.name(name).to_owned();
        let process = &self.table[slot];
        let full = self.table.live() >= process.max_processes;
        let struck = self.fault(Call::Spawn, &program).map(|struck| struck.errno);
        let errno = struck.or(full.then_some(Errno::AGAIN));
        let (pid, code) = match (errno, self.table.next_pid(), code) {
            (None, Some(pid), Some(code)) => (pid, code),
            (Some(errno), ..) => return self.note(actor, What::CannotSpawn(name, errno)),
            (None, None, _) => return self.note(actor, What::CannotSpawn(name, Errno::AGAIN)),
            (None, _, None) => return self.note(actor, What::CannotSpawn(name, Errno::NOENT)),
        };
        let parent = &self.table[slot];
        let mut child = Process {
            blocked: parent.blocked,
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

    fn exec(&mut self, slot: Slot, image: &Image) {
        let (name, code) = self.look_up(slot, image);
        let Some(code) = code else {
            self.note(Actor::Process(self.who(slot)), What::CannotSpawn(name, Errno::NOENT));
            return self.end(slot, 127 << 8);
        };
        let parent = self.table[self.table[slot].parent].pid;
        let process = &mut self.table[slot];
        process.execute(code);
        process.name = name;
        process.run = self.log.begin(process.pid, parent, name, image.args(), None);
        let who = self.who(slot);
        self.note(Actor::Process(who), What::Executes(who));
    }

    /// The image's name, and what it does if there is such a program.
    fn look_up(&mut self, slot: Slot, image: &Image) -> (u32, Option<Code>) {
        match &image.0 {
            Kind::Script(code) => (self.table[slot].name, Some(Arc::clone(code))),
            Kind::Program(program, args) => {
                let name = self.intern(program);
                (name, self.program(name, args))
            }
        }
    }
}
