//! What a child's change of user does to us, and when it may be undone.
//!
//! Whether a process can be dumped, and traced, belongs to its memory. A child that changes its user makes the memory that it
//! still shares with us not dumpable (`commit_creds` in the kernel), which is what keeps the new user's processes out of it and
//! away from our descriptors. We leave it so: no call tells whether it is not dumpable because of a child, or because the program
//! has asked for that meanwhile (`PR_SET_DUMPABLE`, prctl(2)), and to undo that would be to give the program away.
//!
//! A program that wants to be dumpable says so ([`stay_dumpable`]). Then it is made so again, but not before the child has left:
//! when a vfork returns, the child is about to leave (`mm_release` comes first, then its memory is exchanged, then close-on-exec
//! is done), and still has the new user, our memory and our descriptors. (Undone then, a process of user 1000 read root's
//! memory in one spawn of five.) So the child takes along the end of a pipe that nobody else keeps. The kernel closes it after the
//! exchange, when it executes, and after its memory is gone, when it exits.

use super::clone::Door;
use crate::clock::SystemClock;
use crate::fork::PerProcess;
use crate::raw;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steadfast_core::{Attributes, Clock, Errno, Error};

/// What the program has said, before the first child with another user.
static WISH: AtomicU8 = AtomicU8::new(UNSAID);
const UNSAID: u8 = 0;
const STAY: u8 = 1;
/// It had said nothing by then.
const LEAVE: u8 = 2;

/// A wait that takes longer is not worth it: the next such spawn looks again. (The usual one is some microseconds.)
const PATIENCE: Duration = Duration::from_millis(100);
/// Somebody keeps the ends of this many pipes: a process that was forked meanwhile, perhaps. It is given up.
const TOO_MANY: usize = 64;

static CHILDREN: PerProcess<Mutex<Children>> = PerProcess::new(Mutex::default);

#[derive(Default)]
struct Children {
    /// How many may be in our memory.
    inside: usize,
    /// Ours of the pipes whose children had not left in time.
    leaving: Vec<OwnedFd>,
    is_given_up: bool,
}

/// Keeps this process dumpable (prctl(2), `PR_SET_DUMPABLE` 1), whatever children it has from here on.
///
/// A child with another user, group or capabilities (`uid`, `gid`, `ambient_capabilities`) shares this process's memory until it
/// executes its program, and makes it not dumpable: no core is dumped when it crashes, no debugger without privileges can attach, and
/// the files in `/proc/self` are root's. That protects the memory from the child's new user. steadfast does not undo it unless the
/// program asks for it here, because it cannot tell whether the program itself has asked not to be dumpable in the meantime.
///
/// After this call it is undone as soon as no such child is left in this process's memory; until then it stays. A program that calls this
/// does not set `PR_SET_DUMPABLE` to 0 itself: that may be undone. While a process that was forked by other code during the spawn keeps its
/// descriptors, it may not be undone at all. The call itself changes nothing.
///
/// # Errors
/// [`Error::System`] with `EBUSY` if such a child was spawned before: it is not known whether it has left. Call it when the program
/// begins.
pub fn stay_dumpable() -> Result<(), Error> {
    match WISH.compare_exchange(UNSAID, STAY, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) | Err(STAY) => Ok(()),
        Err(_) => Err(Error::System {
            call: "stay_dumpable",
            subject: "after a spawn with another user, which may still be in this process's memory: call it before the first"
                .into(),
            source: Errno::BUSY,
        }),
    }
}

/// Whether the child will have another user or group, or capabilities that it has not now.
pub(super) fn changes_credentials(a: &Attributes) -> bool {
    a.uid.is_some() || a.gid.is_some() || !a.ambient.is_empty()
}

/// A child that may be in our memory with another user, as long as this lives.
pub(super) struct Inside {
    ours: OwnedFd,
    /// The child's end; closed here as soon as it has its own.
    theirs: Option<OwnedFd>,
}

impl Inside {
    /// `None`: there is nothing to undo.
    pub(super) fn begin(a: &Attributes, door: Door) -> Result<Option<Inside>, Errno> {
        if !changes_credentials(a) || door == Door::Fork {
            return Ok(None);
        }
        if WISH.compare_exchange(UNSAID, LEAVE, Ordering::SeqCst, Ordering::SeqCst) != Err(STAY) {
            return Ok(None);
        }
        let (ours, theirs) = super::stdio::pipe()?;
        children().inside += 1;
        Ok(Some(Inside { ours, theirs: Some(theirs) }))
    }

    /// What the child has to keep open.
    pub(super) fn number(&self) -> c_int {
        self.theirs.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// The child has been made, or not, and what it shares is its own from here on.
    pub(super) fn end(mut self) {
        drop(self.theirs.take());
        // Not under the lock. It counts as inside meanwhile.
        let has_left = has_ended(&self.ours, PATIENCE);
        let mut children = children();
        children.inside -= 1;
        if !has_left {
            children.leaving.push(self.ours);
        }
        children.leaving.retain(|pipe| !has_ended(pipe, Duration::ZERO));
        if children.leaving.len() > TOO_MANY {
            children.is_given_up = true;
            children.leaving.clear();
        }
        if children.inside == 0 && children.leaving.is_empty() && !children.is_given_up {
            // Under the lock: no other child can come in between.
            // SAFETY: no pointer.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether all writers are gone, within this time.
fn has_ended(pipe: &OwnedFd, patience: Duration) -> bool {
    let deadline = SystemClock.now() + patience;
    // No events: the end is always told (poll(2)).
    let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: 0, revents: 0 };
    loop {
        let left = deadline.saturating_duration_since(SystemClock.now()).as_micros().div_ceil(1000);
        // SAFETY: one pollfd, as is said.
        match raw::check(unsafe { libc::poll(&raw mut poll, 1, left as c_int) }.into()) {
            Err(Errno::INTR) => {}
            answer => return answer == Ok(1) && poll.revents & libc::POLLHUP != 0,
        }
    }
}
