//! How a set learns of exits, and how whoever waits for them sleeps: by descriptors for real processes, by a bell in a simulation.

use super::alarm::Alarm;
use super::changed::Changed;
use super::emptied::Emptied;
use super::soon;
use crate::output::poll_until;
use crate::places::Token;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::sync::Bell;
use steadfast_core::{Clock, Errno, Error, Process, ProcessBackend, Result, Watcher};

/// What the watched handles of a set talk to.
#[derive(Default)]
pub(super) struct Shared {
    /// What handles have said and nobody has looked at yet.
    inbox: Mutex<Vec<Token>>,
    has_mail: AtomicBool,
    /// Chosen with the first process.
    way: OnceLock<Way>,
    /// Readable, for who can be interrupted, when somebody has asked for that; beside `epoll`, for it must not wake the others. None in a
    /// simulation.
    interrupts: OnceLock<Arc<Alarm>>,
    is_interrupted: AtomicBool,
    /// Threads that sleep.
    sleepers: AtomicUsize,
    /// Those of them that leave when nothing is left.
    leavers: AtomicUsize,
    /// They were told, and have not woken since. Until then nobody else makes the alarm silent, nor rings again: two who wait for more than
    /// exits would wake each other, with nothing to do, for as long as those do not come to run.
    are_leaving: AtomicBool,
    /// Whether the descriptor was lent, so that it must be readable while something is ready.
    is_lent: AtomicBool,
    /// Whether a thread is about to ring.
    rings_soon: AtomicBool,
}

/// What ends a wait, besides an exit and the time.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ends {
    /// That nothing is left to wait for.
    ByEmptiness,
    ByInterrupts,
}

/// Why a wait has ended without an exit.
pub(super) enum Vain<K> {
    /// Nothing lives in a job.
    Emptied(Emptied<K>),
    /// A process has stopped, goes on, or has exited.
    Changed(Changed<K>),
    Interrupted,
    /// The time is up, or nothing is left to wait for.
    Over,
}

/// A thread that sleeps, or is about to.
pub(super) struct Sleeper<'a>(&'a Shared, Ends);

impl Sleeper<'_> {
    /// As how many it counts of those that leave when nothing is left.
    pub(super) fn leavers(&self) -> usize {
        usize::from(self.1 == Ends::ByEmptiness)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.sleepers.fetch_sub(1, Ordering::SeqCst);
        if self.1 == Ends::ByEmptiness {
            self.0.leavers.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

enum Way {
    /// The pidfds are in `epoll`, and `alarm` is, which tells of everything else.
    Descriptors {
        epoll: OwnedFd,
        alarm: Arc<Alarm>,
    },
    Bell(Bell),
}

/// In `epoll`, what is not a process.
const ALARM: u64 = 0;

/// How many exits are taken from the kernel at once.
const BATCH: usize = 64;

impl Watcher for Shared {
    fn notify(&self, token: u64) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.push(Token(token));
        self.has_mail.store(true, Ordering::SeqCst);
        drop(inbox);
        self.ring();
    }
}

impl Shared {
    /// Makes it fit processes of this backend.
    pub(super) fn prepare(&self, backend: &dyn ProcessBackend) -> Result<()> {
        let is_real = backend.info().real;
        if self.way.get().is_none() {
            let way = if is_real { descriptors()? } else { Way::Bell(Bell::new(backend.clock().scheduler())) };
            // Another thread may have been quicker; both have chosen, and the same unless they are of two kinds.
            _ = self.way.set(way);
        }
        match (self.way.get(), is_real) {
            (Some(Way::Descriptors { .. }), true) | (Some(Way::Bell(_)), false) => Ok(()),
            _ => {
                let what = "a set takes real processes or simulated ones, not both".into();
                Err(Error::Unsupported { backend: backend.info().name, what })
            }
        }
    }

    /// Makes it fit to be interrupted, once [prepared](Self::prepare).
    pub(super) fn prepare_interrupts(&self) -> Result<()> {
        if self.has_descriptors() && self.interrupts.get().is_none() {
            // As above: of two threads one is quicker.
            _ = self.interrupts.set(Alarm::new("a set of processes")?);
        }
        Ok(())
    }

    /// In a signal handler too: without locks, memory or errno.
    pub(super) fn interrupt(&self) {
        // First, for whoever is woken looks at it.
        self.is_interrupted.store(true, Ordering::SeqCst);
        self.ring_next();
    }

    /// Wakes those who wait for more than exits; in a simulation, all.
    fn ring_next(&self) {
        match (self.interrupts.get(), self.way.get()) {
            (Some(alarm), _) => alarm.ring(),
            (None, Some(Way::Bell(bell))) => bell.ring(),
            (None, _) => {}
        }
    }

    /// Wakes for an interrupt that nobody has taken yet.
    pub(super) fn pass_on_interrupt(&self) {
        if self.is_interrupted.load(Ordering::SeqCst) {
            if let Some(alarm) = self.interrupts.get() {
                alarm.ring();
            }
        }
    }

    /// Whether it was interrupted since the last question.
    pub(super) fn take_interrupt(&self) -> bool {
        self.is_interrupted.swap(false, Ordering::SeqCst)
    }

    pub(super) fn has_descriptors(&self) -> bool {
        matches!(self.way.get(), Some(Way::Descriptors { .. }))
    }

    /// Reports the exit of this process by its descriptor, once. `false`: it has none, or is in here by another token.
    pub(super) fn add(&self, process: &Process, token: Token) -> Result<bool> {
        let Some(Way::Descriptors { epoll, .. }) = self.way.get() else { return Ok(false) };
        let Ok(lent) = process.lend() else { return Ok(false) };
        // Once: a caller's duplicate keeps the descriptor in there after it was closed, and must not be reported for ever.
        let events = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        match epoll::add(epoll, lent.as_fd(), epoll::EventData::new_u64(token.0), events) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(Error::on_process("epoll_ctl", process.pid(), Errno::from_raw(errno.raw_os_error()))),
        }
    }

    pub(super) fn remove(&self, process: &Process) {
        if let (Some(Way::Descriptors { epoll, .. }), Ok(lent)) = (self.way.get(), process.lend()) {
            // `ENOENT`: it was not in there.
            _ = epoll::delete(epoll, lent.as_fd());
        }
    }

    /// Whoever sleeps looks again.
    pub(super) fn ring(&self) {
        match self.way.get() {
            Some(Way::Descriptors { alarm, .. }) => alarm.ring(),
            Some(Way::Bell(bell)) => bell.ring(),
            None => {}
        }
    }

    /// As [`ring`](Self::ring), if there may be anybody.
    pub(super) fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 || self.is_lent.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Wakes who waits for jobs too, if there is anybody; the others have nothing to look at.
    pub(super) fn wake_next(&self) {
        if self.sleepers.load(Ordering::SeqCst) > self.leavers.load(Ordering::SeqCst) {
            self.ring_next();
        }
    }

    pub(super) fn ring_if_lent(&self) {
        if self.is_lent.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Makes a descriptor that was lent unreadable, until there is news; whether there is one.
    pub(super) fn silence(&self) -> bool {
        let is_lent = self.is_lent.load(Ordering::Relaxed);
        if let (true, Some(Way::Descriptors { alarm, .. })) = (is_lent, self.way.get()) {
            alarm.reset();
            self.are_leaving.store(false, Ordering::SeqCst);
        }
        is_lent
    }

    /// As [`wake`](Self::wake), now that nothing is left, if there is anybody but so many of the caller's own.
    pub(super) fn wake_leavers(&self, own: usize) {
        if self.leavers.load(Ordering::SeqCst) > own && !self.are_leaving.swap(true, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Somebody has to look again after a pause: whoever sleeps is to see to it, or else the loop that the descriptor is lent to.
    pub(super) fn hand_over(self: &Arc<Self>, pause: Duration) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.ring();
        }
        if self.is_lent.load(Ordering::Relaxed) && !self.rings_soon.swap(true, Ordering::SeqCst) {
            let shared = Arc::downgrade(self);
            soon(pause, move || {
                if let Some(shared) = shared.upgrade() {
                    shared.rings_soon.store(false, Ordering::SeqCst);
                    shared.ring();
                }
            });
        }
    }

    /// From now on this thread is one that sleeps: whatever it has not found in a look after this, it is woken for.
    pub(super) fn sleeper(&self, ends: Ends) -> Sleeper<'_> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if ends == Ends::ByEmptiness {
            self.leavers.fetch_add(1, Ordering::SeqCst);
            // This one was not among those.
            self.are_leaving.store(false, Ordering::SeqCst);
        }
        Sleeper(self, ends)
    }

    pub(super) fn take_inbox(&self, into: &mut impl Extend<Token>) {
        // Mostly there is none.
        if self.has_mail.load(Ordering::SeqCst) {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            self.has_mail.store(false, Ordering::SeqCst);
            into.extend(inbox.drain(..));
        }
    }

    /// Sleeps until there is news, or until the deadline; one in the past only looks. What the descriptors say goes into `seen`, the
    /// rest is in the inbox. `before` was counted, and the caller a [`sleeper`](Self::sleeper), before it found nothing.
    pub(super) fn sleep(&self, until: Option<Instant>, ends: Ends, clock: &dyn Clock, before: u64, seen: &mut Vec<Token>) {
        let mut left = until.map(|until| until.saturating_duration_since(clock.now()));
        match self.way.get() {
            Some(Way::Descriptors { epoll, alarm }) => {
                if let (Ends::ByInterrupts, Some(interrupts)) = (ends, self.interrupts.get()) {
                    let mut fds = [epoll.as_fd(), interrupts.fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    // Refused only for want of memory: then it looks, and comes again.
                    drop(poll_until(&mut fds, left));
                    interrupts.reset();
                    left = Some(Duration::ZERO);
                }
                let is_alarmed = poll(epoll, left, seen);
                let is_for_leavers = self.are_leaving.load(Ordering::SeqCst) && self.leavers.load(Ordering::SeqCst) > 0;
                if is_alarmed && (ends == Ends::ByEmptiness || !is_for_leavers) {
                    // Whoever reads it tells the others, if there is something for them.
                    alarm.reset();
                }
            }
            Some(Way::Bell(bell)) => _ = bell.wait(before, left),
            None => {}
        }
        if ends == Ends::ByEmptiness {
            // After the alarm was read: whoever finds this before does not ring, and this one does, if there are others.
            self.are_leaving.store(false, Ordering::SeqCst);
        }
    }

    /// What [`sleep`](Self::sleep) wants to know.
    pub(super) fn count(&self) -> u64 {
        match self.way.get() {
            Some(Way::Bell(bell)) => bell.rings(),
            _ => 0,
        }
    }

    /// What is readable while there is news.
    pub(super) fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.is_lent.store(true, Ordering::Relaxed);
        match self.way.get() {
            Some(Way::Descriptors { epoll, .. }) => Some(epoll.as_fd()),
            _ => None,
        }
    }
}

fn descriptors() -> Result<Way> {
    let failed = |call: &'static str| {
        let subject = "a set of processes".to_owned();
        move |errno: rustix::io::Errno| Error::System { call, subject, source: Errno::from_raw(errno.raw_os_error()) }
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create"))?;
    let alarm = Alarm::new("a set of processes")?;
    epoll::add(&epoll, alarm.fd(), epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN).map_err(failed("epoll_ctl"))?;
    Ok(Way::Descriptors { epoll, alarm })
}

/// Whether the alarm has gone off.
fn poll(epoll: &OwnedFd, left: Option<Duration>, seen: &mut Vec<Token>) -> bool {
    // In whole milliseconds, rounded up, and not for longer than those can be counted: the caller looks again.
    let left = left.map(|left| left.min(Duration::from_secs(24 * 3600)));
    let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
    // On the stack: memory of this size makes the allocator tidy up, which takes longer than all the rest.
    let mut room = [const { MaybeUninit::uninit() }; BATCH];
    // Only EINTR can fail here.
    let Ok((events, _)) = epoll::wait(epoll, &mut room, left.as_ref()) else { return false };
    let tokens = events.iter().map(|event: &epoll::Event| event.data.u64());
    seen.reserve(BATCH);
    seen.extend(tokens.filter(|token| *token != ALARM).map(Token));
    events.iter().any(|event| event.data.u64() == ALARM)
}
