//! [`Hub`]: one `epoll` of ours in each runtime, with the pidfds of all processes that its tasks wait for.
//!
//! But for the first few, the runtime polls the hub and nothing else, so a process costs it no registration of its own, no removal, and no memory. Nobody has to
//! run for that: the hub is what the runtime wakes, and it wakes the tasks, on the thread that polls the runtime.

use super::runtime::{Descriptor, Interest, Poller};
use crate::places::{Places, Token};
use crate::remains::put_away;
use rustix::event::{Timespec, epoll};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use steadfast_core::{Error, Lent, Process, Watcher, contain};
use steadfast_linux::generation;

/// An async runtime: [`Tokio`](crate::tokio::Tokio), with the feature of its name, or [`AsyncIo`](crate::async_io::AsyncIo). There
/// are no others.
#[allow(private_bounds, reason = "what is asked of it is not for others to implement")]
pub trait Runtime: Engine {}

impl<R: Engine> Runtime for R {}

pub(super) fn no_runtime(error: &io::Error) -> Error {
    Error::Unsupported { backend: "async", what: error.to_string() }
}

/// A runtime with its hubs.
pub(crate) trait Engine: Poller {
    fn hubs() -> &'static Hubs<Self>;
}

pub(crate) struct Hub<R: Engine> {
    /// Of this process: in the child of a fork(2) the `epoll` is the parent's.
    generation: u32,
    id: R::Id,
    epoll: Arc<OwnedFd>,
    source: R::Source,
    waker: Waker,
    waiting: Mutex<Waiting>,
    /// How many have been told of an exit and are still here.
    leaving: AtomicUsize,
}

struct Waiting {
    places: Places<Arc<dyn Watcher>>,
    /// The runtime is gone, and nobody polls any more.
    is_closed: bool,
}

/// How a task hears of an exit. To be given back by [`Seat::leave`].
pub(super) enum Seat<R: Engine> {
    /// Polled by the runtime itself.
    Own { source: R::Source },
    InHub {
        hub: Arc<Hub<R>>,
        token: Token,
        /// Open for as long as it is registered.
        lent: Lent,
    },
}

/// The hubs of all instances of a runtime.
pub(crate) struct Hubs<R: Engine> {
    hubs: Mutex<Vec<Arc<Hub<R>>>>,
    /// How many are in none.
    outside: AtomicUsize,
}

/// So many pidfds are polled by their runtime itself: on the way to a single task the hub is a detour (of some 5 µs).
const FEW: usize = 2;

/// How many exits are taken from the kernel at once.
const BATCH: usize = 256;

impl<R: Engine> Hubs<R> {
    pub(crate) const fn new() -> Hubs<R> {
        Hubs { hubs: Mutex::new(Vec::new()), outside: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Hub<R>>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of the runtime which polls the calling task.
    fn here(&self) -> io::Result<Arc<Hub<R>>> {
        let id = R::id()?;
        let of_it = |hubs: &[Arc<Hub<R>>]| hubs.iter().find(|hub| hub.id == id).map(Arc::clone);
        let known = of_it(&self.lock());
        if let Some(hub) = known {
            return Ok(hub);
        }
        // Not under the lock: the runtime may call the hub meanwhile.
        let new = Hub::new(id)?;
        let mut hubs = self.lock();
        if let Some(hub) = of_it(&hubs) {
            return Ok(hub);
        }
        // A hub that is closed already is not looked for again.
        if !new.lock().is_closed {
            hubs.push(Arc::clone(&new));
        }
        Ok(new)
    }
}

impl<R: Engine> Hub<R> {
    fn new(id: R::Id) -> io::Result<Arc<Hub<R>>> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let source = R::register(Descriptor::Hub(Arc::clone(&epoll)), Interest::Read)?;
        let waiting = Mutex::new(Waiting { places: Places::new(), is_closed: false });
        // Weak: the runtime keeps the waker, and the hub keeps what is registered with the runtime.
        let waker = |hub: &Weak<Hub<R>>| Waker::from(Arc::new(Call(Weak::clone(hub))));
        let hub = Arc::new_cyclic(|hub| Hub {
            generation: generation(),
            id,
            epoll,
            source,
            waker: waker(hub),
            waiting,
            leaving: AtomicUsize::new(0),
        });
        hub.attend();
        Ok(hub)
    }

    fn add(self: &Arc<Self>, lent: Lent, ear: Arc<dyn Watcher>) -> Option<Seat<R>> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return None;
        }
        // Before the descriptor is in the `epoll`: its event may come at once, on another thread, and looks for the token. Not under the lock
        // which that thread needs.
        let token = waiting.places.insert(ear);
        drop(waiting);
        // Once: a caller's duplicate keeps the descriptor in there after it was closed, and must not be reported for ever.
        let events = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        match epoll::add(&*self.epoll, lent.as_fd(), epoll::EventData::new_u64(token.0), events) {
            Ok(()) => Some(Seat::InHub { hub: Arc::clone(self), token, lent }),
            Err(_) => {
                self.lock().places.remove(token);
                None
            }
        }
    }

    /// Tells those whose processes have exited, and has the runtime call again when there are more.
    fn attend(&self) {
        let mut cx = Context::from_waker(&self.waker);
        if R::poll_while_readable(&self.source, &mut cx, &mut || self.tell()).is_err() {
            self.close();
        }
    }

    fn tell(&self) {
        loop {
            let mut room = [const { MaybeUninit::uninit() }; BATCH];
            // Fails for nothing that is asked here.
            let Ok((events, _)) = epoll::wait(&*self.epoll, &mut room, Some(&Timespec::default())) else { return };
            let mut waiting = self.lock();
            let mut told = [const { None }; BATCH];
            for (told, event) in told.iter_mut().zip(&*events) {
                *told = waiting.places.remove(Token(event.data.u64()));
            }
            // Before any of them can leave: each counts itself down in `leave`, when its token is not there any more, which is since the
            // lines above; after the lock one could come first, and the number would go below 0.
            self.leaving.fetch_add(told.iter().flatten().count(), Ordering::Relaxed);
            drop(waiting);
            told.into_iter().flatten().for_each(tell);
            if events.len() < BATCH {
                return;
            }
        }
    }

    /// The runtime is gone. Who still waits has to look for another way.
    fn close(&self) {
        R::hubs().lock().retain(|hub| !std::ptr::eq(&**hub, self));
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let left: Vec<_> = waiting.places.all().map(|(_, watcher)| Arc::clone(watcher)).collect();
        waiting.places = Places::new();
        self.leaving.fetch_add(left.len(), Ordering::Relaxed);
        drop(waiting);
        left.into_iter().for_each(tell);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Engine> Seat<R> {
    /// From now on the ear is told when the process exits, by the runtime that polls the calling task.
    ///
    /// # Errors
    /// If there is no runtime. `None`: the process has no descriptor; another task of this runtime waits for it; there are no descriptors
    /// left for a hub. The backend may find a way.
    pub(super) fn take<E: Watcher + Wake + 'static>(process: &Process, ear: &Arc<E>) -> io::Result<Option<Seat<R>>> {
        let Ok(lent) = process.lend() else { return R::id().map(|_| None) };
        let hubs = R::hubs();
        let is_one_of_few = hubs.outside.fetch_add(1, Ordering::Relaxed) < FEW;
        if !is_one_of_few {
            hubs.outside.fetch_sub(1, Ordering::Relaxed);
        }
        let seat = if is_one_of_few {
            Seat::own(lent, ear).map(Some).inspect_err(|_| _ = hubs.outside.fetch_sub(1, Ordering::Relaxed))
        } else {
            hubs.here().map(|hub| hub.add(lent, Arc::clone(ear) as Arc<dyn Watcher>))
        };
        seat.or_else(|error| if error.raw_os_error().is_some() { Ok(None) } else { Err(error) })
    }

    fn own<E: Watcher + Wake + 'static>(lent: Lent, ear: &Arc<E>) -> io::Result<Seat<R>> {
        let source = R::register(Descriptor::Pidfd(lent), Interest::Read)?;
        let waker = Waker::from(Arc::clone(ear));
        if let Poll::Ready(answer) = R::without_budget(&mut Context::from_waker(&waker), |cx| R::poll_readable(&source, cx)) {
            answer?;
            ear.notify(0);
        }
        Ok(Seat::Own { source })
    }

    pub(super) fn leave(self, process: &Process) {
        let (hub, token, lent) = match self {
            Seat::Own { source } => {
                R::hubs().outside.fetch_sub(1, Ordering::Relaxed);
                return drop(source);
            }
            Seat::InHub { hub, token, lent } => (hub, token, lent),
        };
        if hub.generation != generation() {
            return;
        }
        // Either `tell` has taken the token, and has counted us, or we take it, and it never will: under the lock there is no third.
        let was_told = hub.lock().places.remove(token).is_none();
        let to_come = if was_told { hub.leaving.fetch_sub(1, Ordering::Relaxed) - 1 } else { 0 };
        // One that has exited was reported, once, and leaves the `epoll` when its last descriptor is closed. One that runs must not be
        // reported for a token that is somebody else's by then; tokens are not given twice, and so an event on its way finds nobody.
        if process.is_running() {
            _ = epoll::delete(&*hub.epoll, lent.as_fd());
        } else {
            put_away(lent, to_come);
        }
    }
}

/// Whatever becomes of one, the others have their turn.
fn tell(watcher: Arc<dyn Watcher>) {
    contain(|| watcher.notify(0));
    contain(move || drop(watcher));
}

/// What the runtime wakes.
struct Call<R: Engine>(Weak<Hub<R>>);

impl<R: Engine> Wake for Call<R> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            hub.attend();
        }
    }
}
