//! [`Watcher`]: being told that a handle has news, instead of waiting for it. What sets and async code are built on.

use super::{Inner, Learnt, Origin, Phase, Process, Refused, State};
use crate::{Result, Until, contain};
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
    /// only notes the fact: it neither blocks nor calls a method of a [`Process`].
    ///
    /// A panic in it, or in the watcher's `drop`, is contained where it happens: the program's panic hook reports it, all others are
    /// told, and nobody who waits for the process, nor the thread that tells, notices. (On the threads of an exploration it is the
    /// run's verdict, as any other panic is.)
    fn notify(&self, token: u64);
}

/// Those who watch one handle.
pub(super) struct Watchers {
    list: List,
    asked: Asked,
}

/// Most handles are watched by one at the most: that takes no memory of its own.
enum List {
    One(Watching),
    #[allow(clippy::box_collection, reason = "a word instead of three, in each handle")]
    Many(Option<Box<Vec<Watching>>>),
}

pub(super) type Watching = (Arc<dyn Watcher>, u64);

/// Whether the backend was asked to call.
#[derive(Clone, Copy, Default, PartialEq)]
enum Asked {
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

    fn add(&mut self, watcher: &Arc<dyn Watcher>, token: u64) {
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

impl State {
    /// Those who want to hear of this end.
    pub(super) fn watchers(&mut self, end: Until) -> &mut Watchers {
        match end {
            Until::Gone => &mut self.watchers,
            Until::Exited => self.exit_watchers.get_or_insert_with(|| Box::new(Watchers::none())),
        }
    }

    /// All of them.
    pub(super) fn take_watchers(&mut self) -> [Told; 2] {
        let of_exit = self.exit_watchers.as_mut().map_or_else(Told::nobody, |watchers| watchers.take());
        [self.watchers.take(), of_exit]
    }

    pub(super) fn unwatch(&mut self, watcher: &Arc<dyn Watcher>, token: u64) -> [Option<Watching>; 2] {
        let of_exit = self.exit_watchers.as_mut().and_then(|watchers| watchers.remove(watcher, token));
        [self.watchers.remove(watcher, token), of_exit]
    }
}

impl Inner {
    /// Of a child it is the same.
    fn end(&self, end: Until) -> Until {
        if self.origin == Origin::Spawned { Until::Gone } else { end }
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

fn tell_one(watcher: &Arc<dyn Watcher>, token: u64) {
    contain(|| watcher.notify(token));
}

impl Process {
    /// Tells `watcher` once, with this token, when the handle is Done or Released: because another thread has waited for it or
    /// released it. At once, if it is.
    ///
    /// This says nothing of the process: for whoever notices its exit in another way, such as a descriptor, and must not miss that
    /// somebody else was quicker.
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let mut state = self.here().lock();
        if matches!(state.phase, Phase::Running) {
            return state.watchers.add(watcher, token);
        }
        drop(state);
        tell_one(watcher, token);
    }

    /// As [`watch`](Process::watch), and also when the process has come to this end: a child, as soon as it can be waited for, whichever the
    /// end; one that is not a child, once it has exited or once it is gone. The handle does not change by that.
    ///
    /// # Errors
    /// [`Error::System`](crate::Error::System) if the backend has no room for it: out of descriptors or threads. Then it is not
    /// watched.
    pub fn watch_end(&self, end: Until, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
        let inner = self.here();
        let end = inner.end(end);
        let call = match inner.begin() {
            Ok(call) => call,
            Err(Refused::Done(_) | Refused::Released) => {
                tell_one(watcher, token);
                return Ok(());
            }
        };
        let mut state = inner.lock();
        let watchers = state.watchers(end);
        let before = watchers.asked;
        match before {
            Asked::Answered => {
                drop(state);
                tell_one(watcher, token);
                return Ok(());
            }
            Asked::Yes | Asked::Asking | Asked::AskingForMore => {
                if before == Asked::Asking {
                    watchers.asked = Asked::AskingForMore;
                }
                watchers.add(watcher, token);
                return Ok(());
            }
            Asked::No => {
                watchers.asked = Asked::Asking;
                watchers.add(watcher, token);
            }
        }
        drop(state);
        let weak = Arc::downgrade(inner);
        let answer = Arc::clone(call.process()).on_exit(
            end,
            Box::new(move || {
                if let Some(inner) = weak.upgrade() {
                    let mut state = inner.lock();
                    let watchers = state.watchers(end);
                    watchers.asked = Asked::Answered;
                    let told = watchers.take();
                    drop(state);
                    tell(told);
                }
            }),
        );
        let mut state = inner.lock();
        let watchers = state.watchers(end);
        let asked = watchers.asked;
        let mut others = Told::nobody();
        if answer.is_err() {
            // The caller has it too, and so it is not dropped under the lock.
            drop(watchers.remove(watcher, token));
            watchers.asked = Asked::No;
            // Whoever came in between relies on what has just failed: they look, and ask again. If nobody did, nobody is disturbed: two
            // who are refused again and again would wake each other without a pause.
            if asked == Asked::AskingForMore {
                others = watchers.take();
            }
        } else if asked != Asked::Answered {
            watchers.asked = Asked::Yes;
        }
        drop(state);
        tell(others);
        call.end(Learnt::Nothing);
        answer
    }

    /// Whether a process that is not a child is known to have come to this end, because [`watch_end`](Process::watch_end) has told so;
    /// asks nobody.
    pub fn was_told_of(&self, end: Until) -> bool {
        let inner = self.here();
        inner.lock().watchers(inner.end(end)).has_told()
    }

    /// Forgets what [`watch`](Process::watch) and [`watch_end`](Process::watch_end) were asked with this watcher and token. It may
    /// be told one last time by a thread that is on its way.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let found = self.here().lock().unwatch(watcher, token);
        drop(found);
    }

    /// Whether the handle still is Running.
    pub fn is_running(&self) -> bool {
        matches!(self.here().lock().phase, Phase::Running)
    }
}
