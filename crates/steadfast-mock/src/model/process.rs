//! [`Process`]: one simulated process, and what it is doing.

use super::bits::{SignalBits, bit};
use super::ids::{JobId, NO_JOB, NONE, PipeId, Slot};
use super::step::{Code, Step};
use std::sync::Arc;
use steadfast_core::Signal;

// In this order: what every event looks at comes first, in one cache line, so that an event among thousands is not slower.
#[repr(C, align(64))]
pub(crate) struct Process {
    /// What it does now.
    pub(crate) frame: Frame,
    pub(crate) pending: SignalBits,
    /// Which of its events counts: the last that was scheduled.
    pub(crate) timer: u32,
    pub(crate) life: Life,
    /// The fatal signal that it has taken; nothing else matters then.
    pub(crate) doomed: Option<Signal>,
    /// Since when it has been at its computation; `PAUSED`: it is not at it.
    pub(crate) computing: u64,
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
    /// The last stop or continuation, as long as nobody has taken it.
    pub(crate) report: Report,
    /// What that has interrupted.
    pub(crate) below: Vec<Frame>,
    /// stdin, stdout, stderr, where they are pipes.
    pub(crate) streams: [Option<PipeId>; 3],
    /// What it has taken out of stdin and not used yet.
    pub(crate) input: Vec<u8>,
    /// How many processes there may be for it to make another one (`RLIMIT_NPROC`).
    pub(crate) max_processes: u32,
    /// The job that it, or who has started it, was born in; it may have left a group since.
    pub(crate) job: JobId,
    pub(crate) may_dump_core: bool,
    pub(crate) is_subreaper: bool,
    /// It was spawned, and does not run its program yet.
    pub(crate) is_starting: bool,
    /// The program under test has no business with it.
    pub(crate) is_stranger: bool,
    /// The handle was dropped: somebody in the background waits for it.
    pub(crate) is_abandoned: bool,
    /// How many pidfds the program under test has of it.
    pub(crate) handles: u32,
}

/// Five cache lines: with a sixth, an event among thousands is slower.
const _: () = assert!(size_of::<Process>() <= 5 * 64);

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

/// What waitid(2) tells of one that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    None,
    Stopped(Signal),
    Continued,
}

/// Steps in progress: a script, a loop's body, or a handler.
pub(crate) struct Frame {
    pub(crate) code: Code,
    pub(crate) waiting: Wait,
    /// The next step.
    pub(crate) at: u32,
    /// How often it is to be done again; the maximum is for ever.
    pub(crate) again: u32,
    /// The signal that it handles, which is blocked meanwhile.
    pub(crate) handles: Option<Signal>,
}

/// What the step before the next one waits for.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
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
    /// For nothing; but if it is still there after the `SIGABRT` that it has sent itself, it ends by another one.
    ToAbort,
}

pub(crate) const PAUSED: u64 = u64::MAX;
pub(crate) const FOR_EVER: u32 = u32::MAX;

impl Frame {
    pub(crate) fn new(code: Code) -> Frame {
        Frame { code, at: 0, again: 0, handles: None, waiting: Wait::ForNothing }
    }

    /// The step that it waits in.
    pub(crate) fn step(&self) -> &Step {
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
            report: Report::None,
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
            job: NO_JOB,
            may_dump_core: true,
            is_subreaper: false,
            is_starting: false,
            is_stranger: false,
            is_abandoned: false,
            handles: 0,
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

    /// Forgets what it did, and does this: exec(2) and the beginning. What a handler kept from it stays blocked, for that is never left.
    pub(crate) fn execute(&mut self, code: Code) {
        self.blocked = self.mask();
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

    /// Lets the signal through, even in its own handler.
    pub(crate) fn unmask(&mut self, signal: Signal) {
        self.blocked &= !bit(signal);
        for frame in self.below.iter_mut().chain([&mut self.frame]) {
            frame.handles = frame.handles.filter(|handled| *handled != signal);
        }
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
            _ if self.is_starting => "is being executed",
            (_, Wait::ForLine | Wait::ForEnd) => "waits for input",
            (_, Wait::ForRoom(..)) => "waits for somebody to read what it writes",
            (_, Wait::ForChild { .. }) => "waits for a child",
            (_, Wait::ForEver) => "waits for signals",
            (_, Wait::Until(_)) => "sleeps",
            (_, Wait::Compute(_) | Wait::ForNothing | Wait::ToAbort) => "runs",
        }
    }
}
