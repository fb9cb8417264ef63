//! [`Subject`]: a backend under test, and what can be arranged around it.

use crate::Act;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;
use steadfast_core::{Attributes, ErrorKind, Job, Pid, PipeEnd, Plan, PlanStdio, Process, ProcessBackend};

type Arrange<A, R> = Box<dyn Fn(A) -> R + Send + Sync>;

/// A backend under test, with what can be arranged for it. Promises that need anything else are skipped.
pub struct Subject {
    pub(crate) backend: Arc<dyn ProcessBackend>,
    pub(crate) actor: OsString,
    pub(crate) reap_behind: Option<Arrange<Pid, ()>>,
    pub(crate) foreigner: Option<Arrange<(), Pid>>,
    pub(crate) next_pid: Option<Arrange<Pid, ()>>,
    pub(crate) tells_lost_status: bool,
    pub(crate) is_beside_a_reaper: bool,
}

impl Subject {
    /// A backend, and its actor program.
    pub fn new(backend: Arc<dyn ProcessBackend>, actor: impl Into<OsString>) -> Subject {
        Subject {
            backend,
            actor: actor.into(),
            reap_behind: None,
            foreigner: None,
            next_pid: None,
            tells_lost_status: false,
            is_beside_a_reaper: false,
        }
    }

    /// Adds a way to reap an exited child without the handle, as a `waitpid(-1)` elsewhere in the program does. The function waits
    /// until the child has exited.
    pub fn reap_behind(mut self, reap: impl Fn(Pid) + Send + Sync + 'static) -> Subject {
        self.reap_behind = Some(Box::new(reap));
        self
    }

    /// Adds a way to get a running process that is not our child and lives as long as the test.
    pub fn foreigner(mut self, foreigner: impl Fn() -> Pid + Send + Sync + 'static) -> Subject {
        self.foreigner = Some(Box::new(move |()| foreigner()));
        self
    }

    /// Adds a way to set the PID of the next process, if that number is free.
    pub fn next_pid(mut self, next: impl Fn(Pid) + Send + Sync + 'static) -> Subject {
        self.next_pid = Some(Box::new(next));
        self
    }

    /// Declares whether the kernel still reports the status of a process that other code has reaped.
    pub fn tells_lost_status(mut self, tells: bool) -> Subject {
        self.tells_lost_status = tells;
        self
    }

    /// Declares that other code reaps every child as soon as it has ended. The random sequences allow for it; the other promises expect that
    /// nobody does, and the caller must judge what it means if one fails with a lost status.
    pub fn beside_a_reaper(mut self) -> Subject {
        self.is_beside_a_reaper = true;
        self
    }

    /// The backend's name.
    pub fn name(&self) -> &'static str {
        self.backend.info().name
    }

    /// How to start an actor: stdin and stdout are pipes.
    pub(crate) fn plan(&self, act: Act) -> Plan {
        let plan = Plan::builder(&self.actor).args(act.to_args()).stdin(PlanStdio::Piped).stdout(PlanStdio::Piped);
        plan.build().expect("the actor's plan is in order")
    }

    /// Starts an actor and waits until it is ready.
    pub(crate) fn act(&self, act: Act) -> Actor {
        self.begin(act, &self.plan(act))
    }

    /// The same, with these attributes.
    pub(crate) fn act_with(&self, act: Act, attributes: Attributes) -> Actor {
        self.begin(act, &self.plan(act).with_attributes(attributes).expect("they contradict nothing"))
    }

    /// The same, in a job.
    pub(crate) fn act_in(&self, job: &Job, act: Act) -> Actor {
        self.begin(act, &self.plan(act).in_job(job.membership()))
    }

    fn begin(&self, act: Act, plan: &Plan) -> Actor {
        let (process, [stdin, stdout, _], _) = Process::spawn(&self.backend, plan).expect("the actor can be spawned");
        let guard = match act {
            Act::Exit(_) | Act::BegetAndExit(_) => None,
            _ => Process::find(&self.backend, process.pid()).ok(),
        };
        let mut actor = Actor { process, guard, stdin };
        if act.says_ready() {
            let mut ready = [0; 6];
            let read = match stdout.expect("piped") {
                PipeEnd::Fd(fd) => File::from(fd).read_exact(&mut ready),
                PipeEnd::Reader(mut reader) => reader.read_exact(&mut ready),
                _ => panic!("stdout is no pipe that can be read"),
            };
            read.expect("the actor says `ready`");
            assert_eq!(&ready, b"ready\n");
        }
        if !matches!(act, Act::UntilEof(_) | Act::Beget(_) | Act::BegetAndExit(_) | Act::Multiply(_)) {
            actor.stdin = None;
        }
        actor
    }

    /// Finds the actor by its PID: a second handle.
    pub(crate) fn find(&self, actor: &Actor) -> Process {
        Process::find(&self.backend, actor.pid()).expect("the actor is there")
    }

    /// Waits until the process does not exist any more, with pauses on the backend's clock, because no event tells it.
    pub(crate) fn wait_until_gone(&self, pid: Pid) {
        let clock = self.backend.clock();
        let start = clock.now();
        while let Ok(process) = Process::find(&self.backend, pid) {
            assert!(clock.now() - start < std::time::Duration::from_secs(60), "{process:?} is still there");
            clock.sleep_until(clock.now() + std::time::Duration::from_millis(2));
        }
    }

    /// Makes the next process be `pid`, spawns actors until one is, and gives that. Other processes may be quicker, so it tries
    /// again.
    pub(crate) fn act_as(&self, pid: Pid, act: Act) -> Actor {
        let next_pid = self.next_pid.as_ref().expect("the promise needs it");
        for _ in 0..10_000 {
            next_pid(pid);
            let actor = self.act(act);
            if actor.pid() == pid {
                return actor;
            }
        }
        panic!("no process could be made to have PID {pid}");
    }
}

/// A running actor. It is ended when this is dropped, whatever the result of the test.
pub(crate) struct Actor {
    pub(crate) process: Process,
    /// Ends it even if `process` was released.
    guard: Option<Process>,
    /// Kept open until the actor is to see the end of its input.
    stdin: Option<PipeEnd>,
}

impl Actor {
    /// Closes the actor's stdin, so that an `UntilEof` actor exits.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }
}

impl Deref for Actor {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let killed = match (self.process.kill(), &self.guard) {
            (Err(error), Some(guard)) if error.kind() == ErrorKind::Released => guard.kill(),
            (killed, _) => killed,
        };
        // Whoever is done, or was reaped behind our back, needs neither; a released one is reaped in the background.
        if killed.is_ok() {
            drop(self.process.wait());
        }
    }
}
