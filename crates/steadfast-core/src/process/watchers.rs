//! [`Watcher`]: being told that a handle has news, instead of waiting for it; and the list of those who want to be told.

use crate::contain;
use std::sync::Arc;

/// Is told that a process has exited, or that its handle is Done or Released.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use steadfast_core::{Process, Result, Until, Watcher};
///
/// struct Channel(mpsc::Sender<u64>);
/// impl Watcher for Channel {
///     fn notify(&self, token: u64) {
///         self.0.send(token).ok();
///     }
/// }
/// fn watch_all(processes: &[Process]) -> Result<mpsc::Receiver<u64>> {
///     let (sender, exited) = mpsc::channel();
///     let channel: Arc<dyn Watcher> = Arc::new(Channel(sender));
///     for (index, process) in processes.iter().enumerate() {
///         process.watch_end(Until::Exited, &channel, index as u64)?;
///     }
///     Ok(exited)
/// }
/// ```
pub trait Watcher: Send + Sync {
    /// The handle that was watched with this token may have news: ask it, and watch it again if it has none. Called on any thread, so it
    /// only notes the fact: it neither blocks nor calls a method of a [`Process`](crate::Process).
    ///
    /// A panic in it, or in the watcher's `drop`, is contained where it happens: the program's panic hook reports it, all others are
    /// told, and nobody who waits for the process, nor the thread that tells, notices. (On the threads of an exploration it is the
    /// run's verdict, as any other panic is.)
    fn notify(&self, token: u64);
}

/// Those who watch one handle.
pub(super) struct Watchers {
    list: List,
    pub(super) asked: Asked,
}

/// Most handles are watched by at most one: that takes no memory of its own.
enum List {
    One(Watching),
    #[allow(clippy::box_collection, reason = "a word instead of three, in each handle")]
    Many(Option<Box<Vec<Watching>>>),
}

pub(super) type Watching = (Arc<dyn Watcher>, u64);

/// Whether the backend was asked to call.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Asked {
    #[default]
    No,
    /// By a call that is in progress.
    Asking,
    /// By a call that is in progress, on which others rely by now.
    AskingForMore,
    Yes,
    /// It has called.
    Answered,
}

impl Watchers {
    pub(super) fn none() -> Watchers {
        Watchers { list: List::Many(None), asked: Asked::No }
    }

    pub(super) fn take(&mut self) -> Told {
        Told(std::mem::replace(&mut self.list, List::Many(None)))
    }

    /// Whether the backend has said so.
    pub(super) fn has_told(&self) -> bool {
        self.asked == Asked::Answered
    }

    pub(super) fn add(&mut self, watcher: &Arc<dyn Watcher>, token: u64) {
        let new = (Arc::clone(watcher), token);
        self.list = match self.take().0 {
            List::Many(None) => List::One(new),
            List::One(first) => List::Many(Some(Box::new(vec![first, new]))),
            List::Many(Some(mut many)) => {
                many.push(new);
                List::Many(Some(many))
            }
        };
    }

    pub(super) fn remove(&mut self, watcher: &Arc<dyn Watcher>, token: u64) -> Option<Watching> {
        let is_it = |(other, mark): &Watching| *mark == token && Arc::ptr_eq(other, watcher);
        match &mut self.list {
            List::Many(many) => {
                let many = many.as_mut()?;
                let index = many.iter().position(is_it)?;
                Some(many.swap_remove(index))
            }
            List::One(one) if is_it(one) => match self.take().0 {
                List::One(one) => Some(one),
                List::Many(_) => None,
            },
            List::One(_) => None,
        }
    }
}

/// Watchers that are to be told.
pub(super) struct Told(List);

impl Told {
    pub(super) fn nobody() -> Told {
        Told(List::Many(None))
    }
}

impl Told {
    /// Outside of the lock, for a watcher may take locks of its own. Whatever it does, the next one has its turn: when it panics, and,
    /// which is caught by itself because two panics at once end the program, when its end does.
    fn each(self, tell: impl Fn(&dyn Watcher, u64)) {
        let each = |(watcher, token): Watching| {
            contain(|| tell(&*watcher, token));
            contain(move || drop(watcher));
        };
        match self.0 {
            List::One(one) => each(one),
            List::Many(many) => many.into_iter().flat_map(|many| *many).for_each(each),
        }
    }
}

pub(super) fn tell(watchers: Told) {
    watchers.each(|watcher, token| watcher.notify(token));
}

/// Those who watch a handle that nobody has any more hear nothing.
pub(super) fn dismiss(watchers: Told) {
    watchers.each(|_, _| ());
}

pub(super) fn tell_one(watcher: &Arc<dyn Watcher>, token: u64) {
    contain(|| watcher.notify(token));
}
