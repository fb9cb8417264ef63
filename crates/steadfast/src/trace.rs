//! Spawns, signals and exits, told to the crate tracing (feature `tracing`): a backend around another one.
//! What is told is said in the crate's first page. Nothing is told from inside of a child that does not execute its program yet. A process that was
//! started, or found, while nobody listened is not wrapped; so whoever does not listen pays for one question at each spawn.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{
    BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Change, Clock, Error, Exit, FoundByFd, Identity, JobPlan,
    OnExit, Pid, Plan, ProcessBackend, Reopened, Result, Signal, Spawned, Until, and_then,
};
use tracing::{Level, Span, debug, debug_span, enabled, field, warn};

const TARGET: &str = "steadfast";

/// A backend that tells what it does.
pub(crate) struct Traced(Arc<dyn ProcessBackend>);

struct TracedProcess {
    pid: Pid,
    process: Arc<dyn BackendProcess>,
}

impl Traced {
    pub(crate) fn around(backend: Arc<dyn ProcessBackend>) -> Arc<dyn ProcessBackend> {
        Arc::new(Traced(backend))
    }
}

impl ProcessBackend for Traced {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    fn clock(&self) -> &dyn Clock {
        self.0.clock()
    }

    fn generation(&self) -> u32 {
        self.0.generation()
    }

    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        if !is_heard() {
            return self.0.start(plan);
        }
        let program = plan.program().to_string_lossy();
        let span = debug_span!(target: TARGET, "spawn", %program, backend = self.0.info().name, pid = field::Empty);
        let started = span.in_scope(|| self.0.start(plan).inspect_err(tell_failure))?;
        let on_its_way = OnItsWay(Some(span));
        Ok(and_then(started, move |spawned| {
            let span = on_its_way.end();
            let _in_it = span.enter();
            let spawned = spawned.inspect_err(tell_failure)?;
            span.record("pid", spawned.pid.as_raw());
            Ok(Spawned { process: traced(spawned.pid, spawned.process), ..spawned })
        }))
    }

    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        self.0.find(pid).map(|process| traced(pid, process))
    }

    fn list(&self) -> Result<Vec<Pid>> {
        self.0.list()
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        Ok(match self.0.find_by_fd(fd)? {
            FoundByFd::There { pid, process } => FoundByFd::There { pid, process: traced(pid, process) },
            gone @ FoundByFd::Gone { .. } => gone,
        })
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.0.reopen(identity).map(|process| traced(identity.pid(), process))
    }

    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        self.0.job(plan)
    }
}

/// The span of a start, until it is known how that went.
struct OnItsWay(Option<Span>);

impl OnItsWay {
    fn end(mut self) -> Span {
        self.0.take().unwrap_or_else(Span::none)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            span.in_scope(|| warn!(target: TARGET, "spawn given up"));
        }
    }
}

fn tell_failure(error: &Error) {
    let kind = field::debug(error.kind());
    let stage = match error {
        Error::Spawn { stage, .. } => Some(field::display(stage)),
        _ => None,
    };
    warn!(target: TARGET, kind, stage, errno = error.raw_os_error(), %error, "spawn failed");
}

fn traced(pid: Pid, process: Arc<dyn BackendProcess>) -> Arc<dyn BackendProcess> {
    if is_heard() { Arc::new(TracedProcess { pid, process }) } else { process }
}

/// Whether anybody listens.
fn is_heard() -> bool {
    enabled!(target: TARGET, Level::DEBUG) || enabled!(target: TARGET, Level::WARN)
}

impl TracedProcess {
    fn tell_signal<T>(&self, signal: Signal, group: bool, answer: &Result<T>) {
        let errno = answer.as_ref().err().and_then(Error::raw_os_error);
        debug!(target: TARGET, pid = self.pid.as_raw(), %signal, group, errno, "signal");
    }
}

impl BackendProcess for TracedProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        let answer = self.process.signal(signal);
        self.tell_signal(signal, false, &answer);
        answer
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        let answer = self.process.signal_group(signal);
        self.tell_signal(signal, true, &answer);
        answer
    }

    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        let answer = self.process.signal_value(signal, value);
        self.tell_signal(signal, false, &answer);
        answer
    }

    /// It sends nothing, and so it is not told.
    fn may_signal(&self) -> Result<bool> {
        self.process.may_signal()
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        self.process.look()
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        self.process.by_number(act)
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        self.process.wait_exited(deadline)
    }

    fn reap(&self) -> Result<Option<Exit>> {
        let answer = self.process.reap();
        if let Ok(Some(Exit { pid, status, .. })) = &answer {
            let (code, signal) = (status.code(), status.signal());
            debug!(target: TARGET, pid = pid.as_raw(), code, signal, core_dumped = status.core_dumped(), "exit");
        }
        answer
    }

    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()> {
        Arc::clone(&self.process).on_exit(end, tell)
    }

    fn wait_change(&self) -> Result<Change> {
        self.process.wait_change()
    }

    fn try_change(&self) -> Result<Option<Change>> {
        self.process.try_change()
    }

    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        Arc::clone(&self.process).on_change(tell)
    }

    fn identity(&self) -> Result<Identity> {
        self.process.identity()
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.process.handle()
    }

    fn abandon(self: Arc<Self>) {
        debug!(target: TARGET, pid = self.pid.as_raw(), "dropped");
        Arc::clone(&self.process).abandon();
    }
}
