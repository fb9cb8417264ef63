//! The model alone: no thread, no lock, no backend, no test around it. Calls and events go in, and what happened comes out.

use super::host::{Begins, Call, Host, Remains, Struck};
use super::ids::{CALLER, Id, JobId, NO_JOB, PipeId, Slot};
use super::machine::{Limits, Machine};
use super::seen::{Actor, Seen};
use super::step::{Code, Disposition, Step, Stream, Target};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Errno, Plan, PlanStdio, Signal, Stage};

/// Programs by their names, and a record of what happened; of two events at once the first that was scheduled comes first.
#[derive(Default)]
struct Recorder {
    programs: Vec<(OsString, Code)>,
    seen: Vec<(u64, Actor, Seen)>,
    gone: Vec<Remains>,
    runs: u64,
}

impl Recorder {
    fn program(mut self, name: &str, steps: &[Step]) -> Recorder {
        self.programs.push((name.into(), steps.into()));
        self
    }

    fn code(&self, name: u32) -> Result<Code, Errno> {
        self.programs.get(name as usize).map(|(_, code)| Arc::clone(code)).ok_or(Errno::NOENT)
    }
}

impl Host for Recorder {
    fn see(&mut self, now: u64, actor: Actor, seen: Seen) {
        self.seen.push((now, actor, seen));
    }

    fn rank(&mut self) -> u8 {
        0
    }

    fn fails(&mut self, _: Call, _: u32) -> Option<Struck> {
        None
    }

    fn intern(&mut self, program: &OsStr) -> u32 {
        self.programs.iter().position(|(name, _)| name == program).map_or(u32::MAX, |index| index as u32)
    }

    fn name(&self, name: u32) -> &OsStr {
        self.programs.get(name as usize).map_or(OsStr::new("?"), |(name, _)| name)
    }

    fn start(&mut self, name: u32, _: &Plan) -> Result<Code, Errno> {
        self.code(name)
    }

    fn load(&mut self, name: u32, _: &[OsString]) -> Result<Code, Errno> {
        self.code(name)
    }

    fn begins(&mut self, _: Begins<'_>) -> u64 {
        self.runs += 1;
        self.runs
    }

    fn is_signalled(&mut self, _: u64, _: Signal) {}
    fn has_ended(&mut self, _: u64, _: i32) {}
    fn pipe_changed(&mut self, _: PipeId) {}
    fn has_executed(&mut self, _: Id) {}
    fn has_changed(&mut self, _: Id) {}
    fn has_exited(&mut self, _: Id, _: bool) {}
    fn job_is_empty(&mut self, _: JobId) {}

    fn is_gone(&mut self, _: Id, remains: Remains) {
        self.gone.push(remains);
    }
}

const LIMITS: Limits = Limits {
    pid_max: 5,
    pipe_capacity: 4096,
    max_processes: 9,
    max_open_files: u32::MAX,
    core_dumps: false,
    lacks_walls: [false; steadfast_core::Wall::ALL.len()],
};
const SECOND: u64 = 1_000_000_000;

fn sleep(seconds: u64) -> Step {
    Step::Sleep(Duration::from_secs(seconds))
}

fn spawn(machine: &mut Machine<Recorder>, program: &str) -> Slot {
    let plan = Plan::builder(program).build().unwrap();
    let name = machine.host.intern(plan.program());
    machine.spawn(name, &plan, [None; 3], NO_JOB, CALLER, 0).unwrap().id.slot
}

/// Lets everything happen that happens by itself.
fn run(machine: &mut Machine<Recorder>) {
    while machine.next_event().is_some() {
        machine.happen();
    }
}

/// What happened since the last time.
fn seen(machine: &mut Machine<Recorder>) -> Vec<(u64, Seen)> {
    std::mem::take(&mut machine.host.seen).into_iter().map(|(now, _, seen)| (now, seen)).collect()
}

#[test]
fn a_process_ends_at_its_time_and_its_number_is_free_when_it_was_reaped() {
    let mut machine = Machine::new(LIMITS, Recorder::default().program("job", &[sleep(1), Step::Exit(3)]));
    let job = spawn(&mut machine, "job");
    let who = machine.who(job);
    assert_eq!((who.pid, machine.next_event(), machine.exit(job)), (2, Some(0), None));
    run(&mut machine);
    assert_eq!(machine.now, SECOND);
    assert_eq!(seen(&mut machine), [(0, Seen::Spawns(who)), (SECOND, Seen::Ends(3 << 8))]);
    assert_eq!(machine.exit(job).map(|exit| exit.status.code()), Some(Some(3)));
    // A zombie has its number still; the next two have 3 and 4, and then there is none.
    let others = [spawn(&mut machine, "job"), spawn(&mut machine, "job")].map(|slot| machine.who(slot).pid);
    assert_eq!(others, [3, 4]);
    let plan = Plan::builder("job").build().unwrap();
    assert_eq!(machine.spawn(0, &plan, [None; 3], NO_JOB, CALLER, 0).err(), Some((Stage::Clone, Errno::AGAIN)));
    machine.reap_counted(job);
    assert_eq!(machine.host.gone.iter().map(|gone| (gone.pid, gone.status)).collect::<Vec<_>>(), [(2, 3 << 8)]);
    let next = spawn(&mut machine, "job");
    assert_eq!(machine.who(next).pid, 2);
}

#[test]
fn signals_are_handled_stop_and_kill_when_they_are_taken() {
    let handler: Code = [Step::Exit(7)].into();
    let steps = [Step::On(Signal::TERM, Disposition::Handle(handler)), Step::RunForever];
    let mut machine = Machine::new(LIMITS, Recorder::default().program("server", &steps));
    let server = spawn(&mut machine, "server");
    run(&mut machine);
    seen(&mut machine);
    machine.send(server, Signal::STOP);
    machine.send(server, Signal::TERM);
    // Nothing has happened yet: it comes to run when its time has come.
    assert_eq!(seen(&mut machine), []);
    run(&mut machine);
    assert_eq!(seen(&mut machine), [(0, Seen::Handles(Signal::TERM)), (0, Seen::Stops(Signal::STOP))]);
    machine.send(server, Signal::CONT);
    run(&mut machine);
    assert_eq!(seen(&mut machine), [(0, Seen::Continues), (0, Seen::Ends(7 << 8))]);
    let killed = spawn(&mut machine, "server");
    machine.send(killed, Signal::KILL);
    run(&mut machine);
    assert_eq!(machine.exit(killed).map(|exit| std::os::unix::process::ExitStatusExt::signal(&exit.status)), Some(Some(9)));
}

#[test]
fn a_writer_waits_for_room_and_goes_on_when_somebody_reads() {
    let page: Arc<[u8]> = vec![b'x'; 4096].into();
    let steps = [Step::Write(Stream::Stdout, Arc::clone(&page)), Step::Write(Stream::Stdout, page), Step::Exit(0)];
    let mut machine = Machine::new(LIMITS, Recorder::default().program("writer", &steps));
    let plan = Plan::builder("writer").stdout(PlanStdio::Piped);
    let born = machine.spawn(0, &plan.build().unwrap(), [None; 3], NO_JOB, CALLER, 0).unwrap();
    let pipe = born.pipes[1].unwrap();
    run(&mut machine);
    let writes = Seen::Writes(Stream::Stdout, 4096);
    assert_eq!(seen(&mut machine), [(0, Seen::Spawns(born.who)), (0, writes)]);
    assert_eq!(machine.pipes.get(pipe).take(usize::MAX).count(), 4096);
    machine.wake_pipe(pipe);
    run(&mut machine);
    assert_eq!(seen(&mut machine), [(0, writes), (0, Seen::Ends(0))]);
}

#[test]
fn orphans_are_inits_and_are_reaped_at_once() {
    let worker = [sleep(2)];
    let parent = [Step::Spawn("worker".into()), sleep(1), Step::Send(Target::Itself, Signal::KILL)];
    let mut machine = Machine::new(LIMITS, Recorder::default().program("parent", &parent).program("worker", &worker));
    let slot = spawn(&mut machine, "parent");
    let first = machine.who(slot);
    run(&mut machine);
    let all = seen(&mut machine);
    let Some((0, Seen::Spawns(worker))) = all.get(1).copied() else { panic!("{all:?}") };
    let expected = [
        (0, Seen::Spawns(first)),
        (0, Seen::Spawns(worker)),
        (SECOND, Seen::Signals(Signal::KILL, first)),
        (SECOND, Seen::Ends(9)),
        (SECOND, Seen::Adopts(worker)),
        (2 * SECOND, Seen::Ends(0)),
        (2 * SECOND, Seen::GoesUnseen("init waits for all its children")),
    ];
    assert_eq!(all, expected);
}
