//! [`Sim`]: one run of an explored test: its kernel, and its threads, of which one runs at a time.

use super::shared::Kernel;
use super::turn::RunIsOver;
use crate::order::threads::For;
use crate::order::trace::What;
use crate::order::verdict::Verdict;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use steadfast_core::sync::{self, Join, OutsideClock, Scheduler};

/// One run of a test: the [`Kernel`] of this run, which it derefs to, and a way to start threads. (Code under test that starts its
/// own does so with [`sync::spawn`].)
///
/// Threads of the run take turns: at each call to the kernel the seed decides who goes on. What a thread does between two calls, no
/// other thread of the run interrupts. So a lock of std's that is held across a call can block a thread where the simulation
/// cannot see it; [`sync`] has locks that it can see.
#[derive(Clone)]
pub struct Sim {
    kernel: Kernel,
    seed: u64,
}

/// A thread of the simulation.
pub struct Thread<T> {
    kernel: Kernel,
    index: u32,
    answer: Arc<Mutex<Option<T>>>,
}

thread_local! {
    /// The simulation that this thread belongs to, as long as a run goes on. Never dropped, so that it is there in the destructors of other
    /// thread-locals too.
    static HERE: ManuallyDrop<RefCell<Option<Kernel>>> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// The last panic of a thread whose panics are reported by the simulation.
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

impl Sim {
    pub(crate) fn new(kernel: &Kernel, seed: u64) -> Sim {
        Sim { kernel: kernel.clone(), seed }
    }

    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number in this range, as the seed has it.
    ///
    /// # Panics
    /// If there is no number in the range.
    pub fn random(&self, range: Range<u64>) -> u64 {
        self.kernel.lock().host.chance.number(range)
    }

    /// A time from 0 to so much, as the seed has it.
    pub fn random_time(&self, most: Duration) -> Duration {
        Duration::from_nanos(self.random(0..(most.as_nanos() as u64).saturating_add(1)))
    }

    /// Starts a thread that takes turns with the others. The run is over when all of them have ended.
    pub fn spawn<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        self.spawn_named(None, run)
    }

    /// As [`spawn`](Sim::spawn), with the name that the timeline gives it.
    pub fn named<T: Send + 'static>(&self, name: impl Into<String>, run: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        self.spawn_named(Some(name.into()), run)
    }

    fn spawn_named<T: Send + 'static>(&self, name: Option<String>, run: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        let answer = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&answer);
        let run = move || *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(run());
        Thread { kernel: self.kernel.clone(), index: self.kernel.start(name, run), answer }
    }
}

impl Deref for Sim {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim(seed {})", self.seed)
    }
}

impl<T> Thread<T> {
    /// Waits until it has ended, and gives what it returned. (If it panics, the run is over, and this does not return.)
    pub fn join(self) -> T {
        self.kernel.join(self.index);
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.unwrap_or_else(|| std::panic::resume_unwind(Box::new(RunIsOver)))
    }
}

impl Kernel {
    /// The simulation whose thread this is: in the test of an exploration, and in threads started with [`Sim::spawn`].
    pub fn of_this_thread() -> Option<Kernel> {
        HERE.with(|here| here.borrow().clone())
    }

    /// Starts a thread that takes turns; its number.
    fn start(&self, name: Option<String>, run: impl FnOnce() + Send + 'static) -> u32 {
        let index = self.call(|world| {
            let index = world.host.threads.add(name);
            world.note_call(What::StartsThread(index));
            index
        });
        let kernel = self.clone();
        let thread = std::thread::spawn(move || {
            kernel.begin_thread(index);
            perform(&kernel, run);
            kernel.end_thread();
        });
        self.shared.started.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        index
    }

    /// Waits until that thread has ended.
    fn join(&self, thread: u32) {
        self.call(|_| ());
        if self.block(For::Thread(thread), None, |world| world.host.threads.has_ended(thread).then_some(())).is_none() {
            // The run is over: this thread is unwinding, and its caller must not go on.
            std::panic::resume_unwind(Box::new(RunIsOver));
        }
    }
}

/// The locks of [`steadfast_core::sync`] block as calls do.
pub(crate) struct Turns(pub(crate) Kernel);

impl Scheduler for Turns {
    fn takes_turns(&self) -> bool {
        Kernel::is_in_turn()
    }

    fn yield_now(&self) {
        self.0.call(|_| ());
    }

    fn block_on(&self, what: u64, timeout: Option<Duration>, ready: &mut dyn FnMut() -> bool) -> bool {
        let deadline = timeout.map(|timeout| self.0.lock().now.saturating_add(timeout.as_nanos() as u64));
        self.0.block(For::Sync(what), deadline, |_| ready().then_some(())).is_some()
    }

    fn wake(&self, what: u64) {
        self.0.wake(For::Sync(what));
    }

    fn choose(&self, of: usize) -> usize {
        self.0.lock().host.chance.choose(of as u32) as usize
    }

    fn follow(&self, clock: OutsideClock, waker: &Waker) -> Option<Instant> {
        self.0.follow(clock, waker)
    }

    fn spawn(&self, run: Box<dyn FnOnce() + Send>) -> Join {
        let (kernel, thread) = (self.0.clone(), self.0.start(None, run));
        Box::new(move || kernel.join(thread))
    }
}

/// Runs a thread's closure; a panic ends the run.
pub(crate) fn perform<T>(kernel: &Kernel, run: impl FnOnce() -> T) -> Option<T> {
    hear_panics();
    HERE.with(|here| here.replace(Some(kernel.clone())));
    let locks = sync::enter(Some(Arc::new(Turns(kernel.clone()))));
    let answer = catch_unwind(AssertUnwindSafe(run));
    drop(locks);
    HERE.with(|here| here.replace(None));
    match answer {
        Ok(answer) => Some(answer),
        Err(payload) => {
            if !payload.is::<RunIsOver>() {
                let message = PANIC.take().unwrap_or_else(|| text(&*payload));
                let mut world = kernel.lock();
                world.note_call(What::Panics);
                let thread = world.host.threads.name(world.host.threads.running());
                world.judge(Verdict::Panic { thread, message });
            }
            None
        }
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("(something that is no text)").to_owned()
}

/// A panic in a simulation is part of a report: it is noted, with its place, and not printed. All others go on as before.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if Kernel::is_in_turn() {
                let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
                // Fails in the destructor of a thread-local, after the run.
                _ = PANIC.try_with(|panic| panic.set(Some(text(info.payload()) + &place)));
            } else {
                before(info);
            }
        }));
    });
}
