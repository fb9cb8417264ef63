//! Taking turns: how a call of the test blocks, lets time pass, or finds that nothing can ever happen again.

use super::shared::Kernel;
use crate::order::judge::Next;
use crate::order::threads::{For, State, unpark};
use crate::order::trace::What;
use crate::order::verdict::Verdict;
use crate::order::world::World;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use steadfast_core::contain;

thread_local! {
    /// Which simulation this thread belongs to, by its address, and which of its threads it is.
    static ME: Cell<Option<(usize, u32)>> = const { Cell::new(None) };
}

/// What a thread is unwound with when its run is over.
pub(crate) struct RunIsOver;

/// It is this thread's turn. It is woken when it can have the lock, or else it would only wait again.
fn pass_to(mut world: MutexGuard<'_, World>, next: u32) {
    // The turn is passed under the lock, the wake-up comes after it: `next` may see its turn and go on before it is woken, and then the
    // next `park` of it returns at once and looks again. A thread that looked before, and is on its way to `park`, finds the wake-up there.
    world.host.threads.turn = next;
    let real = world.host.threads.list[next as usize].real.clone();
    drop(world);
    unpark(&real);
}

impl Kernel {
    fn address(&self) -> usize {
        Arc::as_ptr(&self.shared) as usize
    }

    /// Makes the calling thread one of those that take turns; waits for its first.
    pub(crate) fn begin_thread(&self, thread: u32) {
        ME.set(Some((self.address(), thread)));
        let mut world = self.lock();
        world.host.threads.list[thread as usize].real = Some(thread::current());
        drop(self.wait_for_turn(world, thread));
    }

    /// The calling thread is done; somebody else goes on.
    pub(crate) fn end_thread(&self) {
        let Some((_, me)) = ME.take() else { return };
        let mut world = self.lock();
        world.note_of_thread(me, What::ThreadEnds);
        world.host.threads.list[me as usize].state = State::Ended;
        world.host.threads.wake(For::Thread(me));
        world.host.threads.wake(For::AllThreads);
        if world.host.threads.verdict.is_none() && !world.host.threads.others_have_ended(me) {
            let (mut world, next) = self.next_turn(world);
            match next {
                Some(next) => pass_to(world, next),
                None => {
                    let deadlock = world.deadlock();
                    world.judge(deadlock);
                }
            }
        }
    }

    /// The first thread is done with the test; the others may not be.
    pub(crate) fn end_main(&self) {
        let me = self.me(&self.lock());
        self.block(For::AllThreads, None, |world| world.host.threads.others_have_ended(me).then_some(()));
    }

    pub(crate) fn leave(&self) {
        ME.set(None);
    }

    /// Whether the calling thread takes turns in some simulation.
    pub(crate) fn is_in_turn() -> bool {
        ME.get().is_some()
    }

    fn me(&self, world: &World) -> u32 {
        match ME.get() {
            Some((address, me)) if address == self.address() => me,
            _ => panic!(
                "thread {:?} has called the simulated kernel, and was not started by it, so that its calls cannot be ordered ({} \
                 threads can): start it with `sim.spawn`",
                thread::current().name().unwrap_or("without a name"),
                world.host.threads.list.len(),
            ),
        }
    }

    fn wait_for_turn<'a>(&'a self, mut world: MutexGuard<'a, World>, me: u32) -> MutexGuard<'a, World> {
        while world.host.threads.turn != me && world.host.threads.verdict.is_none() {
            drop(world);
            // Whoever has woken us in between is remembered.
            thread::park();
            world = self.lock();
        }
        world
    }

    /// Unwinds the thread if the run is over. A thread that is unwinding already goes on, and is not held up any more.
    fn stop_if_over<'a>(&self, world: MutexGuard<'a, World>) -> Result<MutexGuard<'a, World>, MutexGuard<'a, World>> {
        if world.host.threads.verdict.is_none() {
            return Ok(world);
        }
        if thread::panicking() {
            return Err(world);
        }
        drop(world);
        resume_unwind(Box::new(RunIsOver));
    }

    /// Ends the run with this verdict: by unwinding the calling thread or, where threads run as they like, by a panic.
    pub(crate) fn judge(&self, verdict: Verdict) {
        let mut world = self.lock();
        if world.host.threads.list.is_empty() {
            let timeline = world.timeline();
            drop(world);
            // After the lock is gone: others may still want the trace.
            assert!(thread::panicking(), "{verdict}\n{timeline}");
        } else {
            world.judge(verdict);
            drop(self.stop_if_over(world));
        }
    }

    /// Whose turn is next, after everybody was told what there is to tell; `None`: nothing will ever happen again.
    fn next_turn<'a>(&'a self, mut world: MutexGuard<'a, World>) -> (MutexGuard<'a, World>, Option<u32>) {
        loop {
            match world.next_turn() {
                Next::Turn(next) => return (world, Some(next)),
                Next::Nothing => return (world, None),
                Next::Tell => world = self.tell_who_waits(world),
            }
        }
    }

    /// Calls whoever is to be told of an exit, without the lock.
    pub(crate) fn tell_who_waits<'a>(&'a self, mut world: MutexGuard<'a, World>) -> MutexGuard<'a, World> {
        while world.host.notices.are_due() {
            // Taken out before the lock is given up: another thread that comes here meanwhile must not call them a second time.
            let due = world.host.notices.take_due();
            drop(world);
            due.into_iter().for_each(contain);
            world = self.lock();
        }
        world
    }

    /// Passes the turn to another thread and waits until it comes back.
    fn pass_and_wait<'a>(
        &'a self,
        mut world: MutexGuard<'a, World>,
        me: u32,
        next: u32,
    ) -> Result<MutexGuard<'a, World>, MutexGuard<'a, World>> {
        if next != me {
            pass_to(world, next);
            world = self.wait_for_turn(self.lock(), me);
        }
        self.stop_if_over(world)
    }

    /// Makes a call on the world: lets another thread go on before it, if the seed has it so, and wakes whoever waits for what it
    /// changed.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        if !world.host.threads.list.is_empty() {
            let me = self.me(&world);
            world = match self.stop_if_over(world) {
                Ok(world) => self.take_turns(world, me),
                Err(world) => world,
            };
        }
        self.with_present(world, call)
    }

    /// Looks, or changes something, at the present of the clock that the simulation follows, if it does; then whoever waits for what
    /// has changed is told.
    pub(crate) fn with_present<T>(&self, mut world: MutexGuard<'_, World>, look: impl FnOnce(&mut World) -> T) -> T {
        let before = world.follows().then(|| world.before());
        world.catch_up();
        let answer = look(&mut world);
        world.catch_up();
        let others = before.map(|before| world.awakened(&before)).unwrap_or_default();
        let world = self.tell_who_waits(world);
        let is_awaited = world.host.threads.outside > 0;
        drop(world);
        if is_awaited {
            self.shared.changed.notify_all();
        }
        for waker in others {
            // Somebody's task; its end may panic as well, and two panics at once end the program.
            contain(|| waker.wake_by_ref());
            contain(move || drop(waker));
        }
        answer
    }

    /// Whoever waits for this looks again; nobody's turn ends by it.
    pub(crate) fn wake(&self, what: For) {
        let mut world = self.lock();
        world.host.threads.wake(what);
        if world.host.threads.outside > 0 {
            self.shared.changed.notify_all();
        }
    }

    fn take_turns<'a>(&'a self, mut world: MutexGuard<'a, World>, me: u32) -> MutexGuard<'a, World> {
        world.host.threads.calls += 1;
        if world.host.threads.calls > world.host.threads.max_calls {
            let calls = world.host.threads.max_calls;
            world.judge(Verdict::Endless { calls });
            return self.stop_if_over(world).unwrap_or_else(|world| world);
        }
        let ready = world.host.threads.ready().count() as u32;
        // Alternative 0 is to go on; the others are the other threads.
        let next = match world.host.chance.choose_calmly(ready) {
            0 => me,
            other => world.host.threads.ready().filter(|thread| *thread != me).nth(other as usize - 1).unwrap_or(me),
        };
        self.pass_and_wait(world, me, next).unwrap_or_else(|world| world)
    }

    /// Blocks the calling thread until `look` finds what it waits for; lets events happen and time pass meanwhile. `None`: the
    /// deadline passed first.
    pub(crate) fn block<T>(&self, on: For, deadline: Option<u64>, mut look: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        let world = self.lock();
        if world.host.threads.list.is_empty() {
            return self.block_free(world, deadline, look);
        }
        let me = self.me(&world);
        let mut world = match self.stop_if_over(world) {
            Ok(world) => world,
            // Nobody waits any more.
            Err(mut world) => return look(&mut world),
        };
        loop {
            if let Some(found) = look(&mut world) {
                return Some(found);
            }
            if deadline.is_some_and(|deadline| deadline <= world.now) {
                return None;
            }
            // In the same hold of the lock as the look: whatever happens from here on finds us blocked, and wakes us.
            world.host.threads.list[me as usize].state = State::Blocked { on, until: deadline };
            let (mut after, next) = self.next_turn(world);
            let Some(next) = next else {
                let deadlock = after.deadlock();
                after.judge(deadlock);
                drop(self.stop_if_over(after));
                return None;
            };
            world = match self.pass_and_wait(after, me, next) {
                Ok(world) => world,
                Err(_) => return None,
            };
        }
    }

    /// For threads that run as they like: whoever blocks lets things happen.
    fn block_free<'a, T>(
        &'a self,
        mut world: MutexGuard<'a, World>,
        deadline: Option<u64>,
        mut look: impl FnMut(&mut World) -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = look(&mut world) {
                return Some(found);
            }
            match (world.next_event(), deadline) {
                (_, Some(deadline)) if deadline <= world.now => return None,
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => world.happen(),
                (_, Some(deadline)) => world.now = deadline,
                // Nothing will happen unless another thread does it.
                (_, None) => {
                    // Counted under the lock that `wait` gives up: whoever changes something after it sees that somebody waits.
                    world.host.threads.outside += 1;
                    world = self.shared.changed.wait(world).unwrap_or_else(PoisonError::into_inner);
                    world.host.threads.outside -= 1;
                    continue;
                }
            }
            world = self.tell_who_waits(world);
            if world.host.threads.outside > 0 {
                self.shared.changed.notify_all();
            }
        }
    }
}
