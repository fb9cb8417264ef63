//! [`Flight`]: what a child that shares our memory uses of it, and how we hear that it uses it no more.
//!
//! Longer than other files: what is borrowed and how its end is heard of are one argument.
//!
//! # Why the child may borrow from a thread that runs
//!
//! With `CLONE_VFORK` the kernel suspends the thread that made the child, in a state that no signal ends but `SIGKILL`. A child that is
//! stopped then (Ctrl-Z, between clone and exec) stops its parent for ever: the group's stop never completes. So here nobody is suspended,
//! and that no thread takes away what the child uses is this file's business.
//!
//! | the child uses | which is | and stays because |
//! | --- | --- | --- |
//! | its stack | [`Stack`], a mapping of its own | the flight owns it |
//! | [`Order`], with the plan, the lists for execve(2), paths and numbers | on the heap, owned by the flight | dropped with the flight |
//! | the environment as it was inherited | memory of the kernel's, never freed | `environ.rs` |
//! | the report and the word | atomics in the flight | owned by the flight; the parent reads them, and writes to the word only when the child has ended |
//! | code, constants | the program's, and its libraries' | who unloads a library while its functions run has gone wrong before |
//! | the thread pointer, and with it errno and what is thread-local | the thread's that made it | nothing reads or writes it: raw calls only (`arch.rs`) |
//! | descriptors | copies, in a table of its own (no `CLONE_FILES`) | ours may be closed at once |
//! | dispositions | copies (no `CLONE_SIGHAND`) | reset before any signal can reach it |
//!
//! Nothing of it is on the stack of the thread that made the child: that one may return, unwind, jump or end.
//!
//! A [`Flight`] is dropped when the child has left our memory, by an exec, or has ended ([`Hold::is_free`]): never before, and never while anybody
//! may still wait for that ([`Hold`] is shared). Whoever gives up a start keeps a [`Loan`] until the child is reaped.
//!
//! # How we hear of it
//!
//! * **The word.** `CLONE_CHILD_CLEARTID`: the kernel clears a word of ours and wakes who sleeps on it (futex(2)) when the child leaves our
//!   memory, by its exec or its end (`mm_release()`). pthread_join(3) rests on the same word before it frees a thread's stack, on every
//!   architecture. The kernel's wake is not process-private, so neither is our sleep.
//!
//!   The word alone is not enough. The kernel ignores it if the word cannot be written, and a child that is killed in the middle of its exec does not
//!   wait for a page that another thread's fork(2) has made it copy: 40 to 189 of 24,000 killed children left their words as they were, on Linux
//!   6.18, among forks without a pause; none without forks. And before Linux 5.16 a child that dumps core leaves it. So whoever sleeps on the
//!   word looks now and then whether the child has ended.
//! * **The channel.** A pipe whose other end is close-on-exec: its end tells of the exec or the child's end. Always true, and it takes two
//!   descriptors; but any other child that is just being made has a copy of the other end until its own exec, and a fork(2) of other code that does
//!   not execute has it for ever. So where memory is shared, the word is looked at too; and where it is not, now and then what `/proc` says.
//! * **Suspended** (`CLONE_VFORK`), where system calls cannot be made without errno, or a filter allows only that.
//!
//! Linux clears the word at the exec; gVisor does so at the end only (its `Execve`). No call asks a kernel for that: so the first children of a
//! process have both, and what the word says when the channel has ended is remembered ([`spawn_wait`]).

use super::child::{Failure, Order};
use super::step::Step;
use crate::arch::LEAVES_ERRNO_ALONE;
use crate::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use crate::clock::SystemClock;
use crate::fork::generation;
use crate::raw;
use crate::stack::Stack;
use crate::thread::spawn_quiet_thread;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Errno, Pauses, contain};

/// How the spawner hears that the child has left its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum SpawnWait {
    /// The word, or the end of a pipe: it is not known yet whether this kernel clears the word at an exec.
    Unknown,
    /// By the word that the kernel clears (`CLONE_CHILD_CLEARTID`), on which the spawner sleeps; a signal interrupts that.
    Word,
    /// By the end of a pipe; a signal interrupts that.
    Pipe,
    /// Not at all: the kernel suspends the spawner (`CLONE_VFORK`).
    Suspended,
}

impl fmt::Display for SpawnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpawnWait::Unknown => "for the end of a pipe, until it is known whether the kernel clears a word at an exec",
            SpawnWait::Word => "for a word that the kernel clears (CLONE_CHILD_CLEARTID)",
            SpawnWait::Pipe => "for the end of a pipe",
            SpawnWait::Suspended => "suspended by the kernel (CLONE_VFORK)",
        })
    }
}

/// What was found out, in this process or in one that it was forked from.
static WAY: AtomicU8 = AtomicU8::new(SpawnWait::Unknown as u8);

/// How spawns that share memory wait here, as far as is known.
pub fn spawn_wait() -> SpawnWait {
    if !LEAVES_ERRNO_ALONE {
        return SpawnWait::Suspended;
    }
    let ways = [SpawnWait::Unknown, SpawnWait::Word, SpawnWait::Pipe, SpawnWait::Suspended];
    ways.into_iter().find(|way| *way as u8 == WAY.load(Ordering::Relaxed)).unwrap_or(SpawnWait::Unknown)
}

pub(crate) fn learnt(way: SpawnWait) {
    WAY.store(way as u8, Ordering::Relaxed);
}

/// What the word is while the child is in our memory.
const TAKEN: u32 = 1;

pub(super) struct Flight {
    pub(super) order: Order,
    stack: Stack,
    /// [`TAKEN`], until the kernel clears it.
    word: AtomicU32,
    /// The child's PID, as the kernel writes it before the child can run (`CLONE_PARENT_SETTID`): a number that a filter's handler returns is nobody's.
    born: AtomicU32,
}

impl Flight {
    /// To be given to a [`Hold`].
    pub(super) fn new(order: Order, stack: Stack) -> NonNull<Flight> {
        NonNull::from(Box::leak(Box::new(Flight { order, stack, word: AtomicU32::new(TAKEN), born: AtomicU32::new(0) })))
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }

    pub(super) fn word(&self) -> *mut u32 {
        self.word.as_ptr()
    }

    pub(super) fn born(&self) -> &AtomicU32 {
        &self.born
    }
}

/// What the spawner waits for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    Word,
    /// Of a child that shares our memory, or has a copy.
    Channel,
    /// Nothing: it had left by the time it was made.
    Left,
}

/// How far a child has come that has told us nothing.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Seen {
    Unknown,
    Nothing,
    /// It has executed its program; what it borrowed is not free by that, for the look is by its number.
    Executed,
    Ended,
}

/// A flight that is on, held by all who wait for its end.
pub(super) struct Hold {
    /// From `Flight::new`; the child uses it too, so there is never more than a shared reference to it.
    flight: NonNull<Flight>,
    way: Way,
    channel: Option<OwnedFd>,
    /// The child has a copy of our memory, and none of the word.
    is_copy: bool,
    /// The child borrows nothing: it has a copy, was never made, or is known to have ended.
    is_free: AtomicBool,
    /// There may be two who sleep on the word, and the kernel wakes one.
    is_watched: AtomicBool,
    /// The child has told of a failure through the channel, where it may have been read by now.
    has_told: AtomicBool,
}

// SAFETY: what is changed behind the pointer is atomic, or only the child's; the rest is `Send` and `Sync`, but for raw pointers into what the
// flight itself owns.
unsafe impl Send for Hold {}
// SAFETY: as above.
unsafe impl Sync for Hold {}

/// For so long at a time on the word.
const SLICE: Duration = Duration::from_millis(100);
/// And on the channel, beside which the word may be cleared.
const SHORT_SLICE: Duration = Duration::from_millis(10);
/// Where nothing is to be waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

impl Hold {
    /// Takes over a flight, which came from [`Flight::new`] and has a child by now, unless it `is_free`.
    pub(super) fn new(flight: NonNull<Flight>, way: Way, channel: Option<OwnedFd>, is_copy: bool, is_free: bool) -> Hold {
        Hold { flight, way, channel, is_copy, is_free: is_free.into(), is_watched: false.into(), has_told: false.into() }
    }

    fn flight(&self) -> &Flight {
        // SAFETY: from `Flight::new`, freed when `self` is dropped; shared with the child, as the type's fields allow.
        unsafe { self.flight.as_ref() }
    }

    pub(super) fn order(&self) -> &Order {
        &self.flight().order
    }

    /// Whether the kernel has cleared the word.
    pub(super) fn word_is_clear(&self) -> bool {
        self.flight().word.load(Ordering::Acquire) != TAKEN
    }

    /// The child has ended, whatever the word says.
    pub(super) fn has_ended(&self) {
        self.is_free.store(true, Ordering::Release);
        // For those who sleep on it.
        self.flight().word.store(0, Ordering::Release);
        self.wake_all();
    }

    /// Waits until the child has left our memory, or has told of a failure; whether that was before the deadline. Now and then the child is
    /// `seen`.
    pub(super) fn wait(&self, deadline: Option<Instant>, seen: impl Fn() -> Seen) -> bool {
        loop {
            if self.has_left() {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(SystemClock.now()));
            let is_time_up = left == Some(Duration::ZERO);
            if !is_time_up {
                let slice = left.map_or(SLICE, |left| left.min(SLICE));
                match self.way {
                    Way::Left => {}
                    Way::Channel => _ = self.channel_events(slice.min(SHORT_SLICE)),
                    Way::Word => self.sleep_on_word(slice),
                }
            }
            if !self.has_left() {
                match seen() {
                    Seen::Ended => {
                        self.has_ended();
                        return true;
                    }
                    // Others hold the channel.
                    Seen::Executed if self.is_copy => return true,
                    _ => {}
                }
            }
            if is_time_up {
                return self.has_left();
            }
        }
    }

    /// Whether the child has left, or has something to say; without waiting.
    pub(super) fn has_left(&self) -> bool {
        match self.way {
            Way::Left => true,
            Way::Word => self.word_is_clear(),
            // Other code's children may keep the channel from its end: a fork(2) without an exec has a copy. A word that is clear says enough.
            Way::Channel => self.word_is_clear() || self.channel_events(Duration::ZERO) != 0,
        }
    }

    /// Whether what the child has borrowed is ours again.
    fn is_free(&self) -> bool {
        self.is_free.load(Ordering::Acquire)
            || match self.way {
                Way::Left => true,
                Way::Word => self.word_is_clear(),
                // A message is not the end of the child yet.
                Way::Channel => self.word_is_clear() || self.channel_events(Duration::ZERO) & libc::POLLHUP != 0,
            }
    }

    /// Why the child has failed, if it has. Of one that has left.
    pub(super) fn failure(&self) -> Option<Failure> {
        match &self.channel {
            Some(channel) if self.is_copy && self.has_told() => read_failure(channel),
            Some(_) if self.is_copy => self.order().told(),
            _ => self.order().report.failure(),
        }
    }

    /// Whether it has failed, and may never end by itself.
    pub(super) fn is_stuck(&self) -> bool {
        self.order().may_not_end() && self.has_failed()
    }

    /// Whether it has told of a failure; what it told stays.
    fn has_failed(&self) -> bool {
        match self.is_copy {
            false => self.order().report.failure().is_some(),
            true => self.has_told() || self.order().told().is_some(),
        }
    }

    /// Whether it has told of a failure through the channel.
    fn has_told(&self) -> bool {
        // Before anybody reads it, so that those who do not still know.
        if self.channel_events(Duration::ZERO) & libc::POLLIN != 0 {
            self.has_told.store(true, Ordering::Release);
        }
        self.has_told.load(Ordering::Acquire)
    }

    fn sleep_on_word(&self, slice: Duration) {
        let word = self.flight().word();
        let time = libc::timespec { tv_sec: slice.as_secs() as _, tv_nsec: slice.subsec_nanos() as _ };
        // Whatever it answers, the word tells.
        // SAFETY: the word and the time live through the call. Not private: the kernel's wake is not.
        let answer = unsafe { raw::syscall!(libc::SYS_futex, word, libc::FUTEX_WAIT, TAKEN, &raw const time) };
        if !matches!(answer, Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT)) {
            // A filter's answer: then not by the word from now on, and here by looking.
            learnt(SpawnWait::Pipe);
            SystemClock.sleep_until(SystemClock.now() + slice.min(BETWEEN_LOOKS));
        }
        if self.word_is_clear() {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        if self.is_watched.load(Ordering::Acquire) {
            // SAFETY: the word; to wake nobody is nothing.
            _ = unsafe { raw::syscall!(libc::SYS_futex, self.flight().word(), libc::FUTEX_WAKE, c_int::MAX) };
        }
    }

    /// What there is of the channel after this time at the latest: data, or its end.
    fn channel_events(&self, time: Duration) -> i16 {
        let Some(channel) = &self.channel else { return libc::POLLHUP };
        let mut poll = libc::pollfd { fd: channel.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // Rounded up: who has less than a millisecond left need not look a thousand times.
        let time = time.as_nanos().div_ceil(1_000_000) as c_int;
        // A signal is no event.
        if raw::poll(&mut poll, time) == 1 { poll.revents } else { 0 }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Otherwise it stays for ever: in the copy that a fork(2) has made of us, which nobody tells.
        if self.is_free() {
            // SAFETY: from `Flight::new`; the child has left it, and nobody else holds it.
            let flight = unsafe { Box::from_raw(self.flight.as_ptr()) };
            let Flight { order, stack, .. } = *flight;
            drop(order);
            stack.keep();
        }
    }
}

/// What the child told: to be asked only when there is something to read, for others may have the other end.
fn read_failure(channel: &OwnedFd) -> Option<Failure> {
    let mut message = [0_u8; 8];
    loop {
        // SAFETY: room for as many bytes as is said. A pipe takes and gives a message of this size whole.
        match unsafe { raw::syscall!(libc::SYS_read, channel.as_raw_fd(), message.as_mut_ptr(), message.len()) } {
            Ok(8) => break,
            Err(Errno::INTR) => {}
            _ => return None,
        }
    }
    let [s0, s1, s2, s3, e0, e1, e2, e3] = message;
    let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
    Some((Step::from_raw(u32::from_ne_bytes([s0, s1, s2, s3]))?, Errno::from_raw(errno)))
}

/// What a child has borrowed whose start was given up. To be dropped when the child is reaped: it has ended, and all is ours again.
#[must_use = "dropped, it says that the child is reaped"]
pub struct Loan {
    hold: Arc<Hold>,
    generation: u32,
}

impl Loan {
    pub(super) fn of(hold: &Arc<Hold>) -> Loan {
        Loan { hold: Arc::clone(hold), generation: generation() }
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // In the copy that a fork(2) has made of us the child is not ours, and neither is its end.
        if self.generation == generation() {
            self.hold.has_ended();
        }
    }
}

/// Calls once the child has left or has ended, on a thread of its own; at once, if it has. One that has failed is about to end, and to be reaped
/// then.
pub(super) fn tell(
    hold: &Arc<Hold>,
    seen: impl Fn() -> Seen + Send + 'static,
    call: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    if hold.has_left() && !hold.has_failed() {
        contain(call);
        return Ok(());
    }
    hold.is_watched.store(true, Ordering::Release);
    let hold = Arc::clone(hold);
    spawn_quiet_thread("steadfast-start", move || {
        hold.wait(None, &seen);
        let mut pauses = Pauses::new(Duration::from_micros(50), SHORT_SLICE);
        while hold.has_failed() && seen() == Seen::Nothing {
            pauses.sleep(&SystemClock, None);
        }
        contain(call);
    })
}
