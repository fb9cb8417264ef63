//! [`Descriptors`]: which descriptors the child gets under which numbers, worked out while allocating is still allowed.
//!
//! A source may have the number that another descriptor is to get, in a chain or a circle. Those are moved out of the way first,
//! above all targets; then each target is filled by one `dup3`, in any order.

use super::step::What;
use crate::raw;
use std::ffi::{c_int, c_long, c_uint};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use steadfast_core::Errno;

const CLOSE_RANGE_CLOEXEC: c_uint = 4;

pub(super) struct Descriptors {
    moves: Vec<Move>,
    /// One above all targets.
    above: c_int,
    /// What is to be closed: from and to, both included. Empty: nothing is.
    closed: Vec<(c_uint, c_uint)>,
    /// Needed by the child until it has executed the program, each under whatever number it has by then; -1: there is none. The channel for its
    /// error, and the program itself.
    pub(super) channel: Needed,
    pub(super) executable: Needed,
    /// The sets of Landlock's rules, and where a filter's listener is sent.
    pub(super) rulesets: Vec<Needed>,
    pub(super) listener: Needed,
}

struct Move {
    /// Changed by the child when it moves the source out of the way.
    from: AtomicI32,
    to: c_int,
    aside: bool,
    /// For an error: 0 to 2 a stream, from 3 on the plan's list.
    index: usize,
}

/// A descriptor that the child uses under whatever number it then has.
pub(super) struct Needed {
    number: AtomicI32,
    aside: bool,
}

impl Needed {
    pub(super) fn number(&self) -> c_int {
        self.number.load(Ordering::Relaxed)
    }
}

/// In a child with a descriptor table of its own: closes all from this number on.
pub(crate) fn close_from(first: c_uint) {
    // Linux 5.9.
    // SAFETY: no pointer; the descriptor table is the child's own.
    if unsafe { raw::syscall!(libc::SYS_close_range, first, c_uint::MAX, 0) }.is_err() {
        (first..most_descriptors(Limit::Hard)).for_each(|number| close(number as c_int));
    }
}

impl Descriptors {
    /// `streams` are the sources of 0, 1 and 2; -1: leave it.
    pub(super) fn new(
        streams: [c_int; 3],
        fds: &[(i32, Arc<OwnedFd>)],
        close_others: bool,
        channel: c_int,
        executable: c_int,
        rulesets: &[Arc<OwnedFd>],
        listener: c_int,
    ) -> Descriptors {
        let one = |index, to, from| Move { from: AtomicI32::new(from), to, aside: false, index };
        let streams = streams.into_iter().enumerate().filter(|(_, from)| *from >= 0);
        let mut moves: Vec<Move> = streams.map(|(index, from)| one(index, index as c_int, from)).collect();
        moves.extend(fds.iter().enumerate().map(|(index, (to, from))| one(index + 3, *to, from.as_raw_fd())));
        for index in 0..moves.len() {
            let Move { to, ref from, .. } = moves[index];
            let from = from.load(Ordering::Relaxed);
            moves[index].aside = from != to && moves.iter().any(|other| other.to == from);
        }
        let needed = |number: c_int| Needed { number: number.into(), aside: moves.iter().any(|one| one.to == number) };
        let kept = || {
            let mut kept: Vec<c_uint> = [0, 1, 2].into_iter().chain(moves.iter().map(|one| one.to.unsigned_abs())).collect();
            kept.sort_unstable();
            kept.dedup();
            kept
        };
        Descriptors {
            above: moves.iter().map(|one| one.to).max().unwrap_or(-1).saturating_add(1),
            closed: if close_others { gaps(&kept()) } else { Vec::new() },
            channel: needed(channel),
            executable: needed(executable),
            rulesets: rulesets.iter().map(|ruleset| needed(ruleset.as_raw_fd())).collect(),
            listener: needed(listener),
            moves,
        }
    }

    fn needed(&self) -> impl Iterator<Item = &Needed> {
        [&self.channel, &self.executable, &self.listener].into_iter().chain(&self.rulesets)
    }

    /// In the child: puts everything in its place. On failure: the index of what could not be.
    pub(super) fn arrange(&self) -> Result<(), (usize, Errno)> {
        for needed in self.needed().filter(|needed| needed.aside) {
            let number = duplicate_above(needed.number(), self.above).map_err(|errno| (3, errno))?;
            needed.number.store(number, Ordering::Relaxed);
        }
        for one in self.moves.iter().filter(|one| one.aside) {
            let from = duplicate_above(one.from.load(Ordering::Relaxed), self.above).map_err(|errno| (one.index, errno))?;
            one.from.store(from, Ordering::Relaxed);
        }
        for one in &self.moves {
            let from = one.from.load(Ordering::Relaxed);
            let answer = if from == one.to {
                // It is there; only the program must inherit it.
                fcntl(from, libc::F_SETFD, 0)
            } else {
                // dup3 leaves the copy without close-on-exec; the source keeps its own.
                // SAFETY: no pointer; the descriptor table is the child's own.
                unsafe { raw::syscall!(libc::SYS_dup3, from, one.to, 0) }
            };
            answer.map_err(|errno| (one.index, errno))?;
        }
        Ok(())
    }

    /// In the child: marks all others close-on-exec, so that what we still need ourselves stays until then.
    pub(super) fn close_others(&self) {
        for (first, last) in &self.closed {
            // Linux 5.9, with this flag 5.11.
            // SAFETY: no pointer.
            let answer = unsafe { raw::syscall!(libc::SYS_close_range, *first, *last, CLOSE_RANGE_CLOEXEC) };
            if answer.is_err() {
                if for_each_listed(|number| self.mark(number)).is_err() {
                    // Without `close_range` and without `/proc` there is nothing better.
                    (0..most_descriptors(Limit::Hard)).for_each(|number| self.mark(number));
                }
                return;
            }
        }
    }

    /// In the child, before it becomes another user's without a guard: closes what it has of ours and neither it nor its program needs, that is, all that is
    /// close-on-exec but for these. Whoever can kill it would come by what it leaves: until some time in 2026 kernels did not protect a
    /// process on its way out any more once its memory was gone (pidfd_getfd(2)).
    pub(super) fn close_ours(&self, but: &[c_int]) {
        let is_kept = |number: c_int| {
            let sources = self.moves.iter().map(|one| one.from.load(Ordering::Relaxed));
            let mut kept = sources.chain(self.needed().map(Needed::number)).chain(but.iter().copied());
            kept.any(|kept| kept == number)
        };
        let close = |number: c_uint| {
            let number = number as c_int;
            if !is_kept(number) && fcntl(number, libc::F_GETFD, 0).is_ok_and(|flags| flags & c_long::from(libc::FD_CLOEXEC) != 0)
            {
                close(number);
            }
        };
        if for_each_listed(close).is_err() {
            (0..most_descriptors(Limit::Soft)).for_each(close);
        }
    }

    /// In a child that is about to exit: closes everything, for the same reason.
    pub(super) fn close_all() {
        close_from(0);
    }

    fn mark(&self, number: c_uint) {
        if self.closed.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
            // EBADF: it is not open, which is just as well.
            _ = fcntl(number as c_int, libc::F_SETFD, libc::FD_CLOEXEC.into());
        }
    }
}

/// Calls with the number of each open descriptor, which may close it, as `/proc/self/fd` lists them.
fn for_each_listed(mut call: impl FnMut(c_uint)) -> Result<(), Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a C string that lives for ever.
    let dir = unsafe { raw::syscall!(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/fd".as_ptr(), flags) };
    let dir = dir?;
    let mut buffer = [0_u8; 2048];
    let answer = loop {
        // SAFETY: room for as many bytes as is said.
        let filled = unsafe { raw::syscall!(libc::SYS_getdents64, dir, buffer.as_mut_ptr(), buffer.len()) };
        let filled = match filled {
            Ok(0) => break Ok(()),
            Ok(filled) => filled as usize,
            Err(errno) => break Err(errno),
        };
        let mut rest = buffer.get(..filled).unwrap_or_default();
        // struct linux_dirent64: the entry's length in bytes 16 and 17, its name from byte 19 on.
        while let (Some([low, high]), Some(name)) = (rest.get(16..18), rest.get(19..)) {
            match leading_number(name) {
                Some(number) if number as c_long != dir => call(number),
                _ => {}
            }
            let length = usize::from(u16::from_ne_bytes([*low, *high]));
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
    };
    close(dir as c_int);
    answer
}

#[derive(Clone, Copy)]
enum Limit {
    Soft,
    Hard,
}

/// No descriptor's number is above that: the limit, or the kernel's own bound unless an administrator has raised it (proc_sys_fs(5),
/// nr_open). Whoever has lowered a limit may have some beyond the soft one.
fn most_descriptors(which: Limit) -> c_uint {
    const BOUND: u64 = 1 << 20;
    let mut limit = libc::rlimit64 { rlim_cur: BOUND, rlim_max: BOUND };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: room for the limit; nothing is set. If it is refused, the bound is what is left.
    _ = unsafe { raw::syscall!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, none, &raw mut limit) };
    let limit = match which {
        Limit::Soft => limit.rlim_cur,
        Limit::Hard => limit.rlim_max,
    };
    limit.min(BOUND) as c_uint
}

fn close(number: c_int) {
    // EBADF: it is not open, which is just as well.
    // SAFETY: no pointer; the descriptor table is the child's own.
    _ = unsafe { raw::syscall!(libc::SYS_close, number) };
}

/// What lies between the sorted numbers, and above them.
fn gaps(kept: &[c_uint]) -> Vec<(c_uint, c_uint)> {
    let between = kept.windows(2).filter_map(|pair| match pair {
        [a, b] if a + 1 < *b => Some((a + 1, b - 1)),
        _ => None,
    });
    between.chain(kept.last().map(|last| (last + 1, c_uint::MAX))).collect()
}

fn leading_number(name: &[u8]) -> Option<c_uint> {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        number = Some(number.unwrap_or(0_u32).wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    }
    number
}

fn duplicate_above(number: c_int, above: c_int) -> Result<c_int, Errno> {
    fcntl(number, libc::F_DUPFD_CLOEXEC, above.into()).map(|number| number as c_int)
}

fn fcntl(number: c_int, command: c_int, argument: c_long) -> Result<c_long, Errno> {
    // SAFETY: no pointer in the commands used here; the descriptor table is the child's own.
    unsafe { raw::syscall!(libc::SYS_fcntl, number, command, argument) }
}

/// For the error: the step.
pub(super) fn step((index, errno): (usize, Errno)) -> (super::step::Step, Errno) {
    (What::Descriptor.number(index), errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_lies_between_and_above() {
        assert_eq!(gaps(&[0, 1, 2]), [(3, c_uint::MAX)]);
        assert_eq!(gaps(&[0, 1, 2, 5, 6, 9]), [(3, 4), (7, 8), (10, c_uint::MAX)]);
    }

    #[test]
    fn a_name_in_proc_is_a_number_or_none() {
        assert_eq!((leading_number(b"17\0x"), leading_number(b".\0"), leading_number(b"")), (Some(17), None, None));
    }
}
