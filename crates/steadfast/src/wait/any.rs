//! [`wait_any`]: the first of a few.

use super::alarm::Alarm;
use super::set::{Exited, WaitSet};
use super::{SHORTEST, Verdict, longer};
use crate::Process;
use rustix::event::{PollFd, PollFlags};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Lent, Result, Until, Watcher};

/// Blocks until one of the processes exits, reaps it, and returns it with its index. Without a timeout it waits for ever. `None` if none exits in
/// time, or the slice is empty.
///
/// A handle that is Done is returned at once with its status, a Released one with [`Error::Released`](crate::Error::Released). The table of
/// [`WaitSet`] has the other cases; a set is better for waiting again and again.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Command, wait_any};
/// let slow = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
/// let quick = Command::new("true").spawn()?;
/// let exited = wait_any(&[slow.process(), quick.process()], Some(Duration::from_secs(30)))?.expect("in time");
/// assert_eq!(exited.key, 1);
/// assert!(exited.status?.success());
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # Errors
/// [`Error::System`](crate::Error::System) if there is no descriptor or, without pidfds, no thread left to wait with (`EMFILE`, `EAGAIN`);
/// [`Error::Unsupported`](crate::Error::Unsupported) for real and simulated processes at once. An error that concerns one process is in
/// its [`status`](Exited::status). Once it waits, it does not fail for want of descriptors or threads: it checks such a process with pauses.
pub fn wait_any(processes: &[&Process], timeout: Option<Duration>) -> Result<Option<Exited<usize>>> {
    let Some(first) = processes.first() else { return Ok(None) };
    let clock = first.backend().clock();
    // Later than the clock can say is as good as never.
    let deadline = timeout.and_then(|timeout| clock.now().checked_add(timeout));
    let has_waited = match poll_any(processes, clock, deadline)? {
        Polled::Answer(answer) => return Ok(answer),
        Polled::NotAtAll => false,
        Polled::OneIsOdd => true,
    };
    match set_of(processes) {
        Ok(set) => Ok(set.wait_until(deadline)),
        Err(error) if has_waited && error.is_of_the_moment() => Ok(look_by_turns(processes, clock, deadline)),
        Err(error) => Err(error),
    }
}

fn set_of(processes: &[&Process]) -> Result<WaitSet<usize>> {
    let set = WaitSet::new();
    for (index, process) in processes.iter().enumerate() {
        set.add(index, Process::clone(process))?;
    }
    Ok(set)
}

/// With nothing at all, until there is enough for a set.
fn look_by_turns(processes: &[&Process], clock: &dyn Clock, deadline: Option<Instant>) -> Option<Exited<usize>> {
    struct Nobody;
    impl Watcher for Nobody {
        fn notify(&self, _: u64) {}
    }
    let nobody: Arc<dyn Watcher> = Arc::new(Nobody);
    let mut pause = SHORTEST;
    loop {
        for (index, process) in processes.iter().enumerate() {
            // Whether one that is not our child is gone only the backend finds out: when it is asked, if it can do no more.
            _ = process.watch_end(Until::Gone, &nobody, 0);
            let over = first_over(&[process], &nobody, |_| true).flatten();
            process.unwatch(&nobody, 0);
            if let Some(exited) = over {
                return Some(Exited { key: index, ..exited });
            }
        }
        if let Ok(set) = set_of(processes) {
            return set.wait_until(deadline);
        }
        let now = clock.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        clock.sleep_until(deadline.into_iter().chain([now + pause]).min().unwrap_or(now));
        pause = longer(pause);
    }
}

enum Polled {
    Answer(Option<Exited<usize>>),
    /// Not all of them have a pidfd.
    NotAtAll,
    /// One seems to be over, and that is a case for a set.
    OneIsOdd,
}

/// By one `poll(2)`.
fn poll_any(processes: &[&Process], clock: &dyn Clock, deadline: Option<Instant>) -> Result<Polled> {
    // Goes off when a handle is waited for or released by another thread.
    let alarm = Alarm::new("several processes")?;
    let watcher = alarm.watcher();
    if let Some(over) = first_over(processes, &watcher, |process| !process.is_running()) {
        return Ok(over.map_or(Polled::OneIsOdd, |over| Polled::Answer(Some(over))));
    }
    let Ok(lent) = processes.iter().map(|process| process.lend()).collect::<Result<Vec<Lent>>>() else {
        return Ok(Polled::NotAtAll);
    };
    for (process, token) in processes.iter().zip(0..) {
        process.watch(&watcher, token);
    }
    let mut fds: Vec<PollFd<'_>> = lent.iter().map(|lent| lent.as_fd()).chain([alarm.fd()]).map(readable).collect();
    let answer = loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(clock.now()));
        crate::output::poll_until(&mut fds, left)?;
        let mut revents = fds.iter().map(|fd| !fd.revents().is_empty());
        if let Some(over) = first_over(processes, &watcher, |process| revents.next() == Some(true) || !process.is_running()) {
            break over.map_or(Polled::OneIsOdd, |over| Polled::Answer(Some(over)));
        }
        if !alarm_events(&fds).is_empty() {
            break Polled::OneIsOdd;
        }
        if deadline.is_some_and(|deadline| deadline <= clock.now()) {
            break Polled::Answer(None);
        }
    };
    for (process, token) in processes.iter().zip(0..) {
        process.unwatch(&watcher, token);
    }
    Ok(answer)
}

fn readable(fd: std::os::fd::BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

fn alarm_events(fds: &[PollFd<'_>]) -> PollFlags {
    fds.last().map_or(PollFlags::empty(), PollFd::revents)
}

/// The first of those that seem to be over; `Some(None)`: it is not that simple.
fn first_over(
    processes: &[&Process],
    watcher: &Arc<dyn Watcher>,
    mut is_over: impl FnMut(&Process) -> bool,
) -> Option<Option<Exited<usize>>> {
    let (key, process) = processes.iter().enumerate().find(|(_, process)| is_over(process))?;
    let process = Process::clone(process);
    Some(match super::verdict(&process, Until::Gone, watcher, key as u64) {
        Verdict::Over(status) => Some(Exited { key, child: None, process, status }),
        Verdict::NotYet | Verdict::Refused => None,
    })
}
