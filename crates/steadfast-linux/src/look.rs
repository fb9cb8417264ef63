//! [`ProcDir`]: the directory of one process in `/proc`, which is that process's alone.
//!
//! A descriptor of `/proc/PID` is bound to the life that had the number when it was opened: after the reap each call through it fails with
//! `ESRCH`, also when the number is another's (1,000 recycles of 1,000 on Linux 6.18). So what has to be exact is only the moment of opening,
//! and that is up to the handle.

use crate::clock::SystemClock;
use crate::file::{errno, errno_of, open_at, read_at, read_bytes_at};
use crate::raw;
use crate::stat::{ProcStat, behind_name};
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;
use steadfast_core::{BackendLook, BackendProcess, Clock, Errno, Error, Facts, Pid, Result, RunState};

/// One life of one process in `/proc`.
pub struct ProcDir {
    pid: Pid,
    dir: OwnedFd,
    /// Kept open: it is what is read most.
    stat: OwnedFd,
}

impl ProcDir {
    /// That of whoever has the number now: for who knows that it is the right one.
    ///
    /// # Errors
    /// `ENOENT` if nobody has it, or it is hidden (hidepid, proc(5)), or there is no `/proc`; `EMFILE` and similar.
    pub fn open(pid: Pid) -> Result<ProcDir, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(format!("/proc/{pid}"), flags, Mode::empty()).map_err(errno)?;
        let stat = open_at(&dir, "stat", OFlags::RDONLY)?;
        let dir = ProcDir { pid, dir, stat };
        dir.let_it_execute();
        Ok(dir)
    }

    /// Waits some moments for who is in the middle of an exec: its memory has no program yet; or it is ours still, for a spawn returns when the child is about
    /// to leave it (`mm_release` in the kernel), and would be seen as another one of us. A child of a fork(2) that executes nothing looks like that for good.
    fn let_it_execute(&self) {
        let deadline = SystemClock.now() + PATIENCE;
        let mut own = None;
        loop {
            let Ok(Some((facts, flags))) = self.read_stat() else { return };
            let is_between = match facts.image {
                _ if facts.state == RunState::Zombie || flags & PF_KTHREAD != 0 => false,
                Some(0) => true,
                image if flags & PF_FORKNOEXEC != 0 => image.is_some() && image == *own.get_or_insert_with(own_image),
                _ => false,
            };
            if !is_between || SystemClock.now() > deadline {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// By each thread's own list; `None`: there are no such lists.
    fn listed_children(&self) -> Result<Option<Vec<Pid>>, Errno> {
        let tasks = open_at(&self.dir, "task", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let (mut children, mut has_list) = (Vec::new(), false);
        for entry in rustix::fs::Dir::new(tasks).map_err(errno)? {
            let entry = entry.map_err(errno)?;
            let Some(tid) = entry.file_name().to_str().ok().filter(|name| name.parse::<u32>().is_ok()) else { continue };
            match read_at(&self.dir, &format!("task/{tid}/children")) {
                Ok(text) => {
                    has_list = true;
                    children.extend(text.split_ascii_whitespace().filter_map(|word| Pid::new(word.parse().ok()?).ok()));
                }
                // A thread that has ended; its children are on another one's list by now.
                Err(Errno::SRCH | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(has_list.then_some(children))
    }

    /// `None`: it has not the fields that it should have.
    fn read_stat(&self) -> Result<Option<(Facts, u64)>, Errno> {
        let mut text = [0; 1024];
        let length = rustix::io::pread(&self.stat, &mut text, 0).map_err(errno)?;
        match facts(&text[..length]) {
            // In the middle of its reap; in gVisor, for ever after it.
            Some((facts, _)) if facts.state == RunState::Dead => Err(Errno::SRCH),
            facts => Ok(facts),
        }
    }

    /// Of a process that is gone, a file is not found, or is there and says so, as the kernel's cache has it.
    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        let is_gone = || self.read_stat().is_err_and(|errno| errno == Errno::SRCH);
        move |errno| Error::on_process(call, self.pid, if errno == Errno::NOENT && is_gone() { Errno::SRCH } else { errno })
    }
}

impl BackendLook for ProcDir {
    fn facts(&self) -> Result<Facts> {
        let failed = self.failed("read /proc/PID/stat");
        self.read_stat().and_then(|read| read.ok_or(Errno::IO)).map(|(facts, _)| facts).map_err(failed)
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        let text = read_bytes_at(&self.dir, "cmdline").map_err(self.failed("read /proc/PID/cmdline"))?;
        Ok(words(&text))
    }

    fn children(&self) -> Result<Vec<Pid>> {
        let mut children = match self.listed_children().map_err(self.failed("read /proc/PID/task/TID/children"))? {
            Some(listed) => listed,
            // A kernel without that file (`CONFIG_PROC_CHILDREN`; gVisor of 2022): whoever says that this is its parent.
            None => {
                let is_child =
                    |pid: &Pid| ProcStat::of(*pid).is_ok_and(|stat| i64::from(stat.parent()) == self.pid.as_raw().into());
                all_pids().map_err(self.failed("read /proc for the children of"))?.into_iter().filter(is_child).collect()
            }
        };
        // If it was the process that has ended and not some of its threads, this says so.
        self.facts()?;
        children.sort_unstable();
        children.dedup();
        Ok(children)
    }

    fn directory(&self) -> Option<BorrowedFd<'_>> {
        Some(self.dir.as_fd())
    }
}

/// The look of a backend that knows a process by a number, or can tell whether that is still its own.
///
/// # Errors
/// As [`BackendProcess::look`].
pub fn look_by_number(process: &dyn BackendProcess) -> Result<Box<dyn BackendLook>> {
    let mut opened = None;
    process.by_number(&mut |pid| {
        opened = Some(ProcDir::open(pid).map_err(|errno| Error::on_process("open /proc/PID", pid, errno))?);
        Ok(())
    })?;
    match opened {
        Some(dir) => Ok(Box::new(dir)),
        None => unreachable!("it was asked for, and there was no error"),
    }
}

/// Words with a null behind each.
pub fn words(text: &[u8]) -> Vec<OsString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        Vec::new()
    } else {
        text.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
    }
}

/// The numbers of all processes in `/proc`.
///
/// # Errors
/// What the system says.
pub fn all_pids() -> Result<Vec<Pid>, Errno> {
    let failed = |error: std::io::Error| errno_of(&error);
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        pids.extend(name.to_str().and_then(|name| Pid::new(name.parse().ok()?).ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

/// An exec takes some 100 us from there on.
const PATIENCE: Duration = Duration::from_millis(10);

/// (linux/sched.h; a field of `stat` shows them.)
const PF_FORKNOEXEC: u64 = 0x40;
const PF_KTHREAD: u64 = 0x0020_0000;

/// Of this process.
fn own_image() -> Option<u64> {
    facts(&std::fs::read("/proc/self/stat").ok()?)?.0.image
}

/// From the text of `stat`, with the kernel's flags. (The crate `procfs-core` makes a string of the name, which may have any bytes.)
fn facts(text: &[u8]) -> Option<(Facts, u64)> {
    let begin = text.iter().position(|byte| *byte == b'(')? + 1;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = behind_name(text)?.collect();
    // By their numbers in proc_pid_stat(5): the third is the first behind the name.
    let field = |number: usize| fields.get(number - 3).copied();
    let unsigned = |number: usize| field(number)?.parse::<u64>().ok();
    let signed = |number: usize| field(number)?.parse::<i64>().ok();
    let ticks = |number: usize| Some(Duration::from_millis(unsigned(number)? * 10));
    // Where its code and its stack begin are others after each exec. Where its code begins is what an exec says last of all, when there are arguments; it is
    // 0 without a program. Of who may not be looked into these are 1 and 0.
    let image = match (unsigned(26)?, unsigned(28)?) {
        (1, 0) => None,
        (0, _) => Some(0),
        (code, stack) => Some(code.rotate_left(21) ^ stack),
    };
    let facts = Facts {
        name: std::ffi::OsStr::from_bytes(text.get(begin..end)?).to_owned(),
        state: RunState::from_letter(field(3)?.chars().next()?),
        parent: Pid::new(signed(4)? as i32).ok(),
        group: signed(5)? as i32,
        session: signed(6)? as i32,
        user_time: ticks(14)?,
        system_time: ticks(15)?,
        nice: signed(19)?,
        threads: unsigned(20)?,
        started: ticks(22)?,
        address_space: unsigned(23)?,
        resident: unsigned(24)? * raw::page_size() as u64,
        image,
    };
    Some((facts, unsigned(9)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_named_like_fields() {
        let text =
            b"42 (a) R 7 (\xff) S 1 42 41 0 -1 4194304 98 0 1 0 150 25 0 0 20 -5 3 0 7166080 2990080 411 1844 94 95 140 0 0 0";
        let (facts, flags) = facts(text).unwrap();
        assert_eq!(flags, 4_194_304);
        assert_eq!(facts.name.as_bytes(), b"a) R 7 (\xff");
        assert_eq!(
            (facts.state, facts.parent.map(Pid::as_raw), facts.group, facts.session),
            (RunState::Sleeping, Some(1), 42, 41)
        );
        assert_eq!((facts.user_time, facts.system_time), (Duration::from_millis(1500), Duration::from_millis(250)));
        assert_eq!((facts.nice, facts.threads, facts.address_space), (-5, 3, 2_990_080));
        assert_eq!(facts.started, Duration::from_millis(71_660_800));
        assert!(facts.image.is_some());
        assert_eq!(super::facts(&text[..40]), None);
    }

    #[test]
    fn words_may_be_empty_and_there_may_be_none() {
        assert_eq!(words(b""), Vec::<OsString>::new());
        assert_eq!(words(b"\0"), Vec::<OsString>::new());
        assert_eq!(words(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(words(b"no null"), ["no null"]);
    }
}
