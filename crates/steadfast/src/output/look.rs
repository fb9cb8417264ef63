//! [`look`]: one poll for all that a capture waits for.

use super::feeding::Feeding;
use super::reading::{Reading, poll_until};
use super::watch::{LOOK, Watch};
use crate::pipe::End;
use rustix::event::{PollFd, PollFlags};
use std::time::Duration;
use steadfast_core::Result;

pub(super) struct Seen {
    pub(super) readable: Vec<usize>,
    /// Its stdin has room, or no reader.
    pub(super) writable: bool,
    /// The last that was watched.
    pub(super) exited: bool,
}

/// Waits for bytes, an end, room, exits, or until the time is up.
pub(super) fn look(
    streams: &[Reading<'_>],
    open: &[usize],
    feeding: Option<&Feeding>,
    watches: &mut Vec<Watch>,
    left: Option<Duration>,
) -> Result<Seen> {
    let is_watched = !watches.is_empty();
    watches.retain(|watch| !matches!(watch, Watch::Over));
    if is_watched && watches.is_empty() {
        return Ok(Seen { readable: Vec::new(), writable: false, exited: true });
    }
    let reads = open.iter().filter_map(|index| streams[*index].open_end().and_then(End::fd));
    let reads = reads.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let writes = feeding.and_then(Feeding::fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
    let exits = watches.iter().filter_map(Watch::fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let feeds = writes.is_some();
    let mut fds: Vec<PollFd<'_>> = reads.chain(writes).chain(exits).collect();
    let looks = watches.iter().any(Watch::looks);
    poll_until(&mut fds, if looks { Some(left.unwrap_or(LOOK).min(LOOK)) } else { left })?;
    let has_news = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let readable = open.iter().zip(&fds).filter(|(_, fd)| has_news(fd)).map(|(index, _)| *index).collect();
    let writable = feeds && fds.get(open.len()).is_some_and(has_news);
    let news: Vec<bool> = fds[open.len() + usize::from(feeds)..].iter().map(has_news).collect();
    drop(fds);
    // Those with a descriptor are in the order of the news.
    let mut news = news.into_iter();
    let mut still = Vec::with_capacity(watches.len());
    for mut watch in watches.drain(..) {
        let may_be_over = match watch.fd() {
            Some(_) => news.next().unwrap_or(false),
            None => true,
        };
        if !(may_be_over && watch.exited()?) {
            still.push(watch);
        }
    }
    *watches = still;
    Ok(Seen { readable, writable, exited: is_watched && watches.is_empty() })
}
