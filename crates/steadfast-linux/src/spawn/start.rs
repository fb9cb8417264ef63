//! [`Start`]: a child on its way to its program.

use super::clone::{Born, WantPidfd};
use super::flight::{self, Hold, Loan, Seen, SpawnWait};
use crate::clock::SystemClock;
use crate::fork::generation;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{Clock, Errno, Error, Pid, Stage, Wall};

/// A child that runs its program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// Its PID.
    pub pid: Pid,
    /// Its pidfd, close-on-exec, if one was wanted.
    pub pidfd: Option<OwnedFd>,
    /// Our ends of its pipes: stdin, stdout, stderr.
    pub pipes: [Option<OwnedFd>; 3],
    /// The largest resident set that this process had had when the program was executed, in bytes: what the kernel tells of the child's peak
    /// is not below that, see [`MaxRss`](steadfast_core::MaxRss).
    pub spawner_peak: u64,
    /// Each wall that it was to have if possible, and does not have.
    pub missing_walls: Vec<(Wall, Error)>,
}

/// A child that was made, and may not have come to its program. Whoever does not wait for that gives it up ([`give_up`](Self::give_up)). Dropped,
/// it runs on, and what it uses of our memory is never freed.
pub struct Start {
    pid: Pid,
    hold: Arc<Hold>,
    /// `None`: it was handed out, or has failed and is reaped.
    born: Option<Born>,
    want: WantPidfd,
    pipes: [Option<OwnedFd>; 3],
    /// Why its ID maps could not be written.
    unmapped: Option<(Stage, Errno)>,
    /// It is to be learnt whether the kernel clears the word at an exec.
    learns: bool,
    /// It has failed, and is about to end.
    error: Option<Error>,
    generation: u32,
}

/// A child whose start was given up, to be killed and reaped.
#[must_use = "it runs on, and may come to its program"]
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is taken apart")]
pub struct GivenUp {
    /// Its pidfd, if it has one.
    pub pidfd: Option<OwnedFd>,
    /// What it uses of our memory; to be dropped when it is reaped.
    pub loan: Loan,
}

impl Start {
    pub(super) fn new(
        pid: Pid,
        hold: Hold,
        born: Born,
        want: WantPidfd,
        pipes: [Option<OwnedFd>; 3],
        unmapped: Option<(Stage, Errno)>,
        learns: bool,
    ) -> Start {
        Start {
            pid,
            hold: Arc::new(hold),
            born: Some(born),
            want,
            pipes,
            unmapped,
            learns,
            error: None,
            generation: generation(),
        }
    }

    /// Its PID.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its pidfd once more, if it has one, and there is a descriptor left.
    pub(super) fn watched(&self) -> Option<OwnedFd> {
        self.born.as_ref()?.watched().ok()?.pidfd
    }

    /// Waits until it runs its program, or a step has failed, and then it is reaped. `None`: not before the deadline; in the past, it only looks.
    /// A signal handler runs meanwhile, and does not end the wait.
    ///
    /// Not to be asked again after it has answered.
    ///
    /// # Errors
    /// As [`start`](super::start), of the steps of the child. A child that has failed, and has not ended when the deadline passes or is not to be
    /// reaped, is still there for [`give_up`](Self::give_up). `ECHILD` in the copy that a fork(2) has made of us: it is the original's child.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Option<Result<Child, Error>> {
        let program = self.hold.order().plan.program();
        let failed = |stage, source| Error::Spawn { program: program.to_owned(), stage, source };
        let born = match self.born.take() {
            Some(born) if self.generation == generation() => born,
            _ => return Some(Err(failed(Stage::Clone, Errno::CHILD))),
        };
        let only_looks = deadline.is_some_and(|deadline| deadline <= SystemClock.now());
        if self.error.is_none() {
            if !self.hold.wait(deadline, || look(&self.hold, &born)) {
                self.born = Some(born);
                return None;
            }
            self.error = self.failure(&failed);
            // It was killed before it could hand it over.
            if self.error.is_none() && self.want == WantPidfd::Yes && born.pidfd.is_none() {
                self.error = Some(failed(Stage::Pidfd, Errno::SRCH));
            }
            if self.error.is_none() && self.learns {
                learn(&self.hold, &born);
            }
        }
        if self.error.is_some() {
            if self.hold.is_stuck() {
                born.kill();
            }
            // Without the pidfd that was wanted it has not come beyond its first step, and nobody could be given it to reap.
            let can_be_given_up = born.pidfd.is_some() || self.want == WantPidfd::No;
            if only_looks && can_be_given_up && born.seen() == Seen::Nothing {
                // It is about to end, and whoever looks does so again when it has.
                self.born = Some(born);
                return None;
            }
            let is_reaped = match deadline {
                Some(deadline) if can_be_given_up => born.reap_until(deadline),
                _ => born.reap(),
            };
            if !is_reaped {
                // The error is known, and is told at the deadline all the same.
                self.born = Some(born);
                return self.error.take().map(Err);
            }
            self.hold.has_ended();
        }
        Some(match self.error.take() {
            Some(error) => Err(error),
            None => Ok(Child {
                pid: self.pid,
                pidfd: born.pidfd,
                pipes: std::mem::take(&mut self.pipes),
                spawner_peak: crate::wait::own_peak(),
                missing_walls: self.hold.order().missing_walls(),
            }),
        })
    }

    fn failure(&self, failed: &impl Fn(Stage, Errno) -> Error) -> Option<Error> {
        if let Some((stage, errno)) = &self.unmapped {
            return Some(failed(stage.clone(), *errno));
        }
        self.hold.failure().map(|failure| self.hold.order().error(failure))
    }

    /// Calls once [`wait`](Self::wait) would not block, on a thread of ours; at once, if it would not now.
    ///
    /// # Errors
    /// `EAGAIN`: no thread is to be had; `EMFILE`: no descriptor.
    pub fn on_left(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let failed = |call, errno| Error::System {
            call,
            subject: format!("the exec of `{}`", self.hold.order().plan.program().to_string_lossy()),
            source: errno,
        };
        let watched = self.born.as_ref().map(Born::watched).transpose().map_err(|errno| failed("dup", errno))?;
        let hold = Arc::clone(&self.hold);
        let seen = move || watched.as_ref().map_or(Seen::Ended, |born| look(&hold, born));
        let told = flight::tell(&self.hold, seen, call);
        told.map_err(|error| failed("a thread for", Errno::of(&error).unwrap_or(Errno::AGAIN)))
    }

    /// The child as it is, to be killed and reaped by the caller. `None` if it was handed out, or has failed and is reaped; and in the copy that
    /// a fork(2) has made of us, where it is the original's.
    pub fn give_up(&mut self) -> Option<GivenUp> {
        let is_ours = self.generation == generation();
        self.born.take().filter(|_| is_ours).map(|born| GivenUp { pidfd: born.pidfd, loan: Loan::of(&self.hold) })
    }
}

/// How far it has come. One that has failed, and that a filter may keep from ending (exit_group(2)), is helped to.
fn look(hold: &Hold, born: &Born) -> Seen {
    if hold.is_stuck() {
        born.kill();
    }
    born.seen()
}

/// Of a child that has left, by the channel.
fn learn(hold: &Hold, born: &Born) {
    if !hold.word_is_clear() {
        flight::learnt(SpawnWait::Pipe);
    } else if born.has_executed() {
        // So it was the exec that has cleared it: an end clears what was the program's.
        flight::learnt(SpawnWait::Word);
    }
}
