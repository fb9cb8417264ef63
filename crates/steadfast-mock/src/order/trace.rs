//! [`Trace`]: who did what to whom, at which virtual time. Kept as small records, and written out when somebody reads it.

use crate::model::host::Call;
use crate::model::ids::JobId;
use crate::model::seen::{Seen, Who};
use crate::model::step::Stream;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use steadfast_core::{Containment, Errno, Signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A thread of the test; 0 is the first.
    Thread(u32),
    Process(Who),
    /// The test, from outside of what it tests.
    Test,
    Kernel,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// What happened in the model.
    Seen(Seen),
    Finds(Who),
    Names(Who),
    Waits(Who),
    Sees(Who, i32),
    SeesStop(Who, Signal),
    SeesContinue(Who),
    TimesOut(Who),
    Abandons(Who),
    GivesUp(Who),
    MakesJob(JobId, Containment),
    OwnerDies,
    MovesInto(Who, JobId),
    SignalsJob(Signal, JobId),
    Freezes(JobId),
    Thaws(JobId),
    Fails(Call, Errno),
    Steals(Who),
    StealsChange(Who),
    StartsThread(u32),
    ThreadEnds,
    Panics,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Nanoseconds.
    at: u64,
    actor: Actor,
    what: What,
}

pub(crate) struct Trace {
    records: VecDeque<Record>,
    limit: usize,
    /// How many are gone because there were too many.
    lost: u64,
}

impl Trace {
    pub(crate) fn new(limit: usize) -> Trace {
        Trace { records: VecDeque::new(), limit, lost: 0 }
    }

    pub(crate) fn note(&mut self, at: u64, actor: Actor, what: What) {
        if self.records.len() >= self.limit {
            self.lost += 1;
            if self.records.pop_front().is_none() {
                return;
            }
        }
        self.records.push_back(Record { at, actor, what });
    }

    /// How much there is of it.
    pub(crate) fn len(&self) -> u64 {
        self.lost + self.records.len() as u64
    }

    /// Written out, a line a record, with the names of programs and threads.
    pub(crate) fn render(&self, program: impl Fn(u32) -> String, thread: impl Fn(u32) -> String) -> String {
        let mut text = String::new();
        if self.lost > 0 {
            _ = writeln!(text, "({} earlier lines were not kept)", self.lost);
        }
        let who = |who: Who| match who.pid {
            0 => "the program under test".to_owned(),
            1 => "init".to_owned(),
            pid => format!("{pid} {}", program(who.name)),
        };
        for Record { at, actor, what } in &self.records {
            let actor = match actor {
                Actor::Thread(index) => thread(*index),
                Actor::Process(process) => who(*process),
                Actor::Test => "the test".to_owned(),
                Actor::Kernel => "the kernel".to_owned(),
            };
            let (seconds, micros) = (at / 1_000_000_000, at / 1_000 % 1_000_000);
            // Writing to a String cannot fail.
            _ = write!(text, "{seconds:>6}.{micros:06}  {actor:<14}  ");
            _ = what.describe(&mut text, &who, &program, &thread);
            text.push('\n');
        }
        text
    }
}

impl What {
    fn describe(
        self,
        f: &mut String,
        who: &impl Fn(Who) -> String,
        program: &impl Fn(u32) -> String,
        thread: &impl Fn(u32) -> String,
    ) -> fmt::Result {
        match self {
            What::Seen(seen) => describe(seen, f, who, program),
            What::Finds(process) => write!(f, "finds {}", who(process)),
            What::Names(process) => write!(f, "asks for the name of {}", who(process)),
            What::Waits(process) => write!(f, "waits for {}", who(process)),
            What::Sees(process, status) => write!(f, "sees that {} has ended, {}", who(process), ExitStatus::from_raw(status)),
            What::SeesStop(process, signal) => write!(f, "sees that {} has stopped, by {signal}", who(process)),
            What::SeesContinue(process) => write!(f, "sees that {} goes on", who(process)),
            What::TimesOut(process) => write!(f, "has waited for {} long enough", who(process)),
            What::GivesUp(process) => write!(f, "gives up the start of {}", who(process)),
            What::Abandons(process) => write!(f, "lets go of {}", who(process)),
            What::OwnerDies => write!(f, "ends the program under test"),
            What::MakesJob(job, containment) => write!(f, "makes job {job} by {containment}"),
            What::MovesInto(process, job) => write!(f, "moves {} into job {job}", who(process)),
            What::SignalsJob(signal, job) => write!(f, "sends {signal} to job {job}"),
            What::Freezes(job) => write!(f, "freezes job {job}"),
            What::Thaws(job) => write!(f, "thaws job {job}"),
            What::Fails(call, errno) => write!(f, "{call:?} fails by a fault: {errno:?}"),
            What::Steals(process) => write!(f, "takes the status of {}, by somebody else's waitpid(-1)", who(process)),
            What::StealsChange(process) => write!(f, "takes what is told of {}, by somebody else's waitpid(-1)", who(process)),
            What::StartsThread(index) => write!(f, "starts {}", thread(index)),
            What::ThreadEnds => write!(f, "ends"),
            What::Panics => write!(f, "panics"),
        }
    }
}

fn describe(seen: Seen, f: &mut String, who: &impl Fn(Who) -> String, program: &impl Fn(u32) -> String) -> fmt::Result {
    let name = |stream| match stream {
        Stream::Stdin => "stdin",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    match seen {
        Seen::Spawns(child) => write!(f, "spawns {}", who(child)),
        Seen::CannotSpawn(name, errno) => write!(f, "cannot spawn {}: {errno:?}", program(name)),
        Seen::Executes(image) => write!(f, "executes {}", program(image.name)),
        Seen::Signals(signal, process) => write!(f, "sends {signal} to {}", who(process)),
        Seen::KillsForMemory(process) => write!(f, "kills {}, for its job uses more memory than it may", who(process)),
        Seen::Handles(signal) => write!(f, "handles {signal}"),
        Seen::Stops(signal) => write!(f, "stops, by {signal}"),
        Seen::Continues => write!(f, "continues"),
        Seen::Reboots => f.write_str("boots the machine anew"),
        Seen::Ends(status) => write!(f, "ends, {}", ExitStatus::from_raw(status)),
        Seen::HangsInExit => write!(f, "hangs in its exit"),
        Seen::Reaps(process) => write!(f, "reaps {}", who(process)),
        Seen::GoesUnseen(reason) => write!(f, "is reaped at once: {reason}"),
        Seen::Adopts(child) => write!(f, "becomes the parent of {}", who(child)),
        Seen::Group(group) => write!(f, "moves into process group {group}"),
        Seen::Session(session) => write!(f, "moves into session {session}"),
        Seen::Writes(stream, bytes) => write!(f, "writes {bytes} bytes to {}", name(stream)),
        Seen::Reads(bytes) => write!(f, "reads {bytes} bytes"),
        Seen::BrokenPipe => write!(f, "writes to a pipe that nobody reads"),
    }
}
