//! What holds beside a rogue reaper (`waitpid(-1)` in a thread of the program), written down of each child and held against every answer.
//!
//! A rogue takes a child at any moment after its end, once. Nothing else changes, so from that alone follows:
//!
//! 1. *No status of somebody else.* A status that the backend answers, and one that the rogue is told, is an exit with the code that this very
//!    child was told to exit with, or a signal that was asked for through a handle of this very child. (So a signal that hits a
//!    stranger shows as the stranger's unexplained end.) All answers of one child are the same.
//! 2. *No signal to a stranger.* None is delivered through a handle whose child was taken before the call began.
//! 3. *A lost status is an error, and only a lost one.* `ECHILD` is answered of a child of ours only if the rogue, or somebody else who reaps
//!    it, has taken it. Which of them was first is known at the end.
//! 4. *What follows for a scenario.* A wait is the usual answer or `NoChild`; `NoChild` is final, as is `ProcessDone`, which every signal,
//!    `find` and `with_handle` of such a child may answer. A scenario that expects the usual answer breaks off there: it may end with one of
//!    these two errors in its mouth, after a child of its own was taken, and with nothing else. It may not hang.
//!
//! The random sequences do not break off: `steadfast-conformance` has their model follow the answers
//! ([`Subject::beside_a_reaper`](steadfast_conformance::Subject::beside_a_reaper)).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use steadfast::backend::{
    Attributes, BackendInfo, BackendJob, BackendLook, BackendProcess, BackendStart, Clock, FoundByFd, JobPlan, OnExit, Plan,
    ProcessBackend, Reopened, Spawned, Until, and_then,
};
use steadfast::{Change, Containment, Errno, Exit, Identity, JobUsage, Pid, Result, Signal};
use steadfast_conformance::{Act, Outcome};

/// A backend whose answers are held against what is known of each child.
pub(crate) struct Ledger {
    backend: Arc<dyn ProcessBackend>,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    lives: Vec<Life>,
    /// What was asked for, of any job.
    sent_to_jobs: Vec<i32>,
    /// Taken by the rogue before the spawn was back.
    unclaimed: Vec<(Pid, ExitStatus)>,
    taken: u64,
    /// Lives of which it was said that the status is lost.
    lost: Vec<usize>,
    wrong: Vec<String>,
    /// What threads of the scenario panicked with, in their order.
    panics: Vec<String>,
}

struct Life {
    pid: Pid,
    /// What it exits with, if it does.
    code: Option<i32>,
    /// Whether it was started in a job.
    in_job: bool,
    /// What was asked for, delivered or not.
    sent: Vec<i32>,
    /// How it ended, as far as anybody was told.
    end: Option<ExitStatus>,
    /// Whether somebody has waited for it.
    is_reaped: bool,
    /// Whether the backend reaps it in the background, and tells nobody.
    is_abandoned: bool,
}

impl Ledger {
    pub(crate) fn new(backend: &Arc<dyn ProcessBackend>) -> Ledger {
        Ledger { backend: Arc::clone(backend), book: Arc::default() }
    }

    /// From now on it hears of panics too.
    pub(crate) fn hear_panics(&self) {
        let (book, usual) = (Arc::clone(&self.book), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<String>().cloned();
            let text = text.or_else(|| info.payload().downcast_ref::<&str>().map(|text| (*text).to_owned()));
            lock(&book).panics.push(text.unwrap_or_default());
            usual(info);
        }));
    }

    /// Another one with the same book.
    pub(crate) fn share(&self) -> Ledger {
        Ledger { backend: Arc::clone(&self.backend), book: Arc::clone(&self.book) }
    }

    /// Has somebody reap, and notes whom; the book is closed meanwhile, so that nobody is born in between.
    pub(crate) fn reap_behind(&self, reap: impl FnOnce() -> Option<(Pid, ExitStatus)>) -> bool {
        let mut book = lock(&self.book);
        let Some((pid, status)) = reap() else { return false };
        book.taken += 1;
        match book.lives.iter().rposition(|life| life.pid == pid && !life.is_reaped) {
            Some(life) => book.reaped(life, status),
            None => book.unclaimed.push((pid, status)),
        }
        true
    }

    /// What an outcome is worth, once nobody acts any more.
    pub(crate) fn judge(&self, outcome: Outcome) -> Outcome {
        let mut book = lock(&self.book);
        for life in std::mem::take(&mut book.lost) {
            let Life { pid, is_reaped, is_abandoned, .. } = book.lives[life];
            if !is_reaped && !is_abandoned {
                book.wrong.push(format!("{pid} was said to be lost, and nobody has taken it"));
            }
        }
        match outcome {
            _ if !book.wrong.is_empty() => Outcome::Failed(book.wrong.join("\n")),
            Outcome::Failed(_) if book.breaks_off() => Outcome::Passed,
            outcome => outcome,
        }
    }
}

impl Book {
    /// Whether the scenario ended for no other reason than that a child was lost: a thread of it, and then whoever relied on that thread.
    fn breaks_off(&self) -> bool {
        let is_of_a_lost_child = |seen: &String| {
            ["NoChild", "No child processes", "ProcessDone", "it has already finished", "ECHILD"]
                .iter()
                .any(|kind| seen.contains(kind))
        };
        let follows = |seen: &String| {
            ["a scoped thread panicked", "Err` value: Any", "Err` value: RecvError"].iter().any(|text| seen.contains(text))
        };
        let was_taken = self.lives.iter().any(|life| life.is_reaped);
        let (lost, others): (Vec<_>, Vec<_>) = self.panics.iter().partition(|seen| is_of_a_lost_child(seen));
        was_taken && !lost.is_empty() && others.into_iter().all(follows)
    }

    fn born(&mut self, pid: Pid, code: Option<i32>, in_job: bool, may_be_killed: bool) -> usize {
        let life = self.lives.len();
        // Its job may have been killed before anybody had heard of it.
        let mut sent = if in_job { self.sent_to_jobs.clone() } else { Vec::new() };
        sent.extend(may_be_killed.then_some(Signal::KILL.as_raw()));
        self.lives.push(Life { pid, code, in_job, sent, end: None, is_reaped: false, is_abandoned: false });
        if let Some(index) = self.unclaimed.iter().position(|(taken, _)| *taken == pid) {
            let (_, status) = self.unclaimed.swap_remove(index);
            self.reaped(life, status);
        }
        life
    }

    fn reaped(&mut self, life: usize, status: ExitStatus) {
        self.lives[life].is_reaped = true;
        self.ended(life, status);
    }

    fn ended(&mut self, life: usize, status: ExitStatus) {
        let life = &mut self.lives[life];
        let is_explained = match status.signal() {
            Some(signal) => life.sent.contains(&signal),
            None => status.code() == life.code,
        };
        if !is_explained || *life.end.get_or_insert(status) != status {
            let Life { pid, code, sent, end, .. } = life;
            self.wrong.push(format!("{pid}: {status}; told to exit with {code:?}, sent {sent:?}, known: {end:?}"));
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().expect("nobody panics with the book")
}

/// A job whose signals may be any member's.
struct Whole {
    job: Arc<dyn BackendJob>,
    book: Arc<Mutex<Book>>,
}

impl BackendJob for Whole {
    fn containment(&self) -> Containment {
        self.job.containment()
    }
    fn lives_on(&self) -> Option<steadfast::Error> {
        self.job.lives_on()
    }
    fn detach(&self) -> Result<()> {
        self.job.detach()
    }
    fn join(&self, attributes: &mut Attributes) -> Result<(), String> {
        self.job.join(attributes)
    }
    fn born(&self, pid: Pid) {
        self.job.born(pid);
    }
    fn adopt(&self, pid: Pid) -> Result<()> {
        let mut book = lock(&self.book);
        let before = book.sent_to_jobs.clone();
        if let Some(life) = book.lives.iter_mut().rfind(|life| life.pid == pid) {
            life.in_job = true;
            life.sent.extend(before);
        }
        drop(book);
        self.job.adopt(pid)
    }
    fn signal(&self, signal: Signal) -> Result<bool> {
        let mut book = lock(&self.book);
        book.sent_to_jobs.push(signal.as_raw());
        book.lives.iter_mut().filter(|life| life.in_job).for_each(|life| life.sent.push(signal.as_raw()));
        drop(book);
        self.job.signal(signal)
    }
    fn freeze(&self, deadline: Option<Instant>) -> Result<bool> {
        self.job.freeze(deadline)
    }
    fn thaw(&self) -> Result<()> {
        self.job.thaw()
    }
    fn members(&self) -> Result<Vec<Pid>> {
        self.job.members()
    }
    fn wait_empty(&self, deadline: Option<Instant>) -> Result<bool> {
        self.job.wait_empty(deadline)
    }
    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        Arc::clone(&self.job).on_empty(tell)
    }
    fn usage(&self) -> Result<JobUsage> {
        self.job.usage()
    }
}

impl Ledger {
    /// Of one that was found: the last that had the number.
    fn entry(&self, pid: Pid, process: Arc<dyn BackendProcess>) -> Arc<dyn BackendProcess> {
        let life = lock(&self.book).lives.iter().rposition(|life| life.pid == pid);
        Arc::new(Entry { process, life, book: Arc::clone(&self.book) })
    }
}

impl ProcessBackend for Ledger {
    fn info(&self) -> BackendInfo {
        self.backend.info()
    }
    fn clock(&self) -> &dyn Clock {
        self.backend.clock()
    }
    fn generation(&self) -> u32 {
        self.backend.generation()
    }
    fn start(&self, plan: &Plan) -> Result<Box<dyn BackendStart>> {
        let code = match Act::from_args(plan.args()) {
            Some(Act::Exit(code) | Act::ExitOn(_, code) | Act::UntilEof(code)) => Some(code.into()),
            Some(Act::BegetAndExit(_)) => Some(0),
            _ => None,
        };
        // By the kernel, for want of memory.
        let may_be_killed = matches!(Act::from_args(plan.args()), Some(Act::Allocate(_)));
        let (book, in_job) = (Arc::clone(&self.book), plan.job().is_some());
        let start = self.backend.start(plan)?;
        Ok(and_then(start, move |spawned| {
            let spawned = spawned?;
            let life = lock(&book).born(spawned.pid, code, in_job, may_be_killed);
            let process = Arc::new(Entry { process: spawned.process, life: Some(life), book });
            Ok(Spawned { process, ..spawned })
        }))
    }
    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Ok(self.entry(pid, self.backend.find(pid)?))
    }
    fn list(&self) -> Result<Vec<Pid>> {
        self.backend.list()
    }

    fn find_by_fd(&self, fd: OwnedFd) -> Result<FoundByFd> {
        Ok(match self.backend.find_by_fd(fd)? {
            FoundByFd::There { pid, process } => FoundByFd::There { pid, process: self.entry(pid, process) },
            gone @ FoundByFd::Gone { .. } => gone,
        })
    }
    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        self.backend.reopen(identity).map(|process| self.entry(identity.pid(), process))
    }
    fn job(&self, plan: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        Ok(Arc::new(Whole { job: self.backend.job(plan)?, book: Arc::clone(&self.book) }))
    }
}

/// A process whose answers are held against what is known; of somebody else's nothing is.
struct Entry {
    process: Arc<dyn BackendProcess>,
    life: Option<usize>,
    book: Arc<Mutex<Book>>,
}

impl Entry {
    fn send<T>(&self, signal: Signal, send: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(life) = self.life else { return send() };
        let was_reaped = {
            let life = &mut lock(&self.book).lives[life];
            life.sent.push(signal.as_raw());
            life.is_reaped
        };
        let sent = send();
        if sent.is_ok() && was_reaped {
            let mut book = lock(&self.book);
            let pid = book.lives[life].pid;
            book.wrong.push(format!("{pid} was taken, and {signal} was delivered to whoever has its number"));
        }
        sent
    }

    fn note(&self, book: &mut Book, answer: &Result<Option<Exit>>, reaps: bool) {
        match (answer, self.life) {
            (Ok(Some(exit)), Some(life)) if reaps => book.reaped(life, exit.status),
            (Ok(Some(exit)), Some(life)) => book.ended(life, exit.status),
            (Err(error), Some(life)) if error.errno() == Some(Errno::CHILD) => book.lost.push(life),
            _ => {}
        }
    }
}

impl BackendProcess for Entry {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.send(signal, || self.process.signal(signal))
    }
    fn signal_group(&self, signal: Signal) -> Result<bool> {
        self.send(signal, || self.process.signal_group(signal))
    }
    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        self.send(signal, || self.process.signal_value(signal, value))
    }

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
        let answer = self.process.wait_exited(deadline);
        self.note(&mut lock(&self.book), &answer, false);
        answer
    }
    fn reap(&self) -> Result<Option<Exit>> {
        // It does not block; nobody is to be born with the number before it is noted.
        let mut book = lock(&self.book);
        let answer = self.process.reap();
        self.note(&mut book, &answer, true);
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
        if let Some(life) = self.life {
            lock(&self.book).lives[life].is_abandoned = true;
        }
        Arc::clone(&self.process).abandon();
    }
}
