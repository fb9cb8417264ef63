//! Whose turn it is: the threads of a test, of which one runs at a time, and how a call blocks, lets time pass, or finds that
//! nothing can ever happen again.

use crate::kernel::Kernel;
use crate::pipe::PipeId;
use crate::table::{Id, Slot};
use crate::trace::{Actor, What};
use crate::verdict::Verdict;
use crate::world::World;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use steadfast_core::contain;

/// What a blocked thread waits for; it looks again when somebody says that this has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Time,
    Process(Id),
    Pipe(PipeId),
    Thread(u32),
    /// All the threads that it has not joined.
    AllThreads,
    /// A lock or a condition of [`steadfast_core::sync`].
    Sync(u64),
    Anything,
}

/// The threads that take turns; none, if the test's threads run as they like.
pub(crate) struct Threads {
    list: Vec<Thread>,
    /// Who runs now.
    turn: u32,
    calls: u64,
    max_calls: u64,
    verdict: Option<Verdict>,
    /// How often something has changed that somebody might have waited for.
    changes: u64,
    /// Blocked threads of a test whose threads run as they like.
    pub(crate) outside: u32,
}

struct Thread {
    name: String,
    state: State,
    /// The operating system's, once it has begun.
    real: Option<thread::Thread>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Ready,
    Blocked { on: For, until: Option<u64> },
    Ended,
}

thread_local! {
    /// Which simulation this thread belongs to, by its address, and which of its threads it is.
    static ME: Cell<Option<(usize, u32)>> = const { Cell::new(None) };
}

/// What a thread is unwound with when its run is over.
pub(crate) struct RunIsOver;

impl Threads {
    /// They run as they like.
    pub(crate) fn free() -> Threads {
        Threads { list: Vec::new(), turn: 0, calls: 0, max_calls: u64::MAX, verdict: None, changes: 0, outside: 0 }
    }

    /// They take turns, beginning with this one; so many calls may be made.
    pub(crate) fn in_turn(max_calls: u64) -> Threads {
        let mut threads = Threads { max_calls, ..Threads::free() };
        threads.add(Some("main".into()));
        threads
    }

    pub(crate) fn add(&mut self, name: Option<String>) -> u32 {
        let name = name.unwrap_or_else(|| format!("thread {}", self.list.len()));
        self.list.push(Thread { name, state: State::Ready, real: None });
        (self.list.len() - 1) as u32
    }

    pub(crate) fn running(&self) -> u32 {
        self.turn
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) fn name(&self, thread: u32) -> String {
        match self.list.get(thread as usize) {
            Some(thread) => thread.name.clone(),
            None => "the test".into(),
        }
    }

    pub(crate) fn has_ended(&self, thread: u32) -> bool {
        self.list[thread as usize].state == State::Ended
    }

    fn others_have_ended(&self, me: u32) -> bool {
        self.list.iter().enumerate().all(|(index, thread)| index == me as usize || thread.state == State::Ended)
    }

    /// This has changed: whoever waits for it looks again.
    pub(crate) fn wake(&mut self, what: For) {
        self.changes += 1;
        for thread in &mut self.list {
            if matches!(thread.state, State::Blocked { on, .. } if on == what || on == For::Anything) {
                thread.state = State::Ready;
            }
        }
    }

    fn ready(&self) -> impl Iterator<Item = u32> {
        (0..self.list.len() as u32).filter(|index| self.list[*index as usize].state == State::Ready)
    }

    fn next_deadline(&self) -> Option<u64> {
        let until = |thread: &Thread| match thread.state {
            State::Blocked { until, .. } => until,
            _ => None,
        };
        self.list.iter().filter_map(until).min()
    }

    fn wake_until(&mut self, now: u64) {
        for thread in &mut self.list {
            if matches!(thread.state, State::Blocked { until: Some(until), .. } if until <= now) {
                thread.state = State::Ready;
            }
        }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.verdict.is_some()
    }

    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }
}

/// It is this thread's turn. It is woken when it can have the lock, or else it would only wait again.
fn pass_to(mut world: MutexGuard<'_, World>, next: u32) {
    world.threads.turn = next;
    let real = world.threads.list[next as usize].real.clone();
    drop(world);
    unpark(&real);
}

/// One that has not begun sees by itself whose turn it is.
fn unpark(thread: &Option<thread::Thread>) {
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// What comes next, for threads that take turns.
enum Next {
    Turn(u32),
    /// Somebody is to be told of an exit first.
    Tell,
    /// Nothing, ever.
    Nothing,
}

impl World {
    /// Who goes on next; time passes until somebody can.
    fn next_turn(&mut self) -> Next {
        loop {
            if self.notices.are_due() {
                return Next::Tell;
            }
            let ready = self.threads.ready().count() as u32;
            if ready > 0 {
                let chosen = self.chance.choose(ready) as usize;
                return self.threads.ready().nth(chosen).map_or(Next::Nothing, Next::Turn);
            }
            match (self.next_event(), self.threads.next_deadline()) {
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => self.happen(),
                (_, Some(deadline)) => {
                    self.now = self.now.max(deadline);
                    self.threads.wake_until(self.now);
                }
                (_, None) => return Next::Nothing,
            }
        }
    }

    /// Ends the run, unless it is over already; all its threads are woken, to unwind.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.threads.verdict.get_or_insert(verdict);
        for thread in &self.threads.list {
            unpark(&thread.real);
        }
    }

    /// What is wrong with a run whose threads have all ended well.
    pub(crate) fn last_judgement(&mut self) -> Option<Verdict> {
        while self.next_event().is_some_and(|at| at <= self.now) {
            self.happen();
        }
        let children: Vec<String> = self.unwaited().into_iter().map(|slot| self.in_short(slot)).collect();
        if !children.is_empty() {
            return Some(Verdict::Leak { children });
        }
        let expectations = self.expectations.unmet();
        (!expectations.is_empty()).then_some(Verdict::Unmet { expectations })
    }

    /// A process, and what it does.
    fn in_short(&self, slot: Slot) -> String {
        let who = self.who(slot);
        format!("{} {} {}", who.pid, self.name(who.name).to_string_lossy(), self.table[slot].occupation())
    }

    fn deadlock(&self) -> Verdict {
        let mut waiting = Vec::new();
        for thread in &self.threads.list {
            if let State::Blocked { on, .. } = thread.state {
                waiting.push(format!("{} waits for {}", thread.name, self.in_words(on)));
            }
        }
        waiting.extend(self.table.all().map(|slot| self.in_short(slot)));
        Verdict::Deadlock { waiting }
    }

    fn in_words(&self, on: For) -> String {
        let named = |slot| {
            let who = self.who(slot);
            format!("{} {}", who.pid, self.name(who.name).to_string_lossy())
        };
        match on {
            For::Time | For::Anything => "something to happen".into(),
            For::Process(id) => self.table.by_id(id).map_or("a process that is gone".into(), named),
            For::Pipe(pipe) => {
                let has_it = |slot: &u32| self.table[*slot].streams.contains(&Some(pipe));
                let holders: Vec<String> = self.table.all().filter(has_it).map(named).collect();
                format!("a pipe that is open in {}", if holders.is_empty() { "nobody".into() } else { holders.join(", ") })
            }
            For::Thread(thread) => format!("the end of {}", self.threads.name(thread)),
            For::AllThreads => "all other threads to end".into(),
            For::Sync(_) => "a lock or a condition".into(),
        }
    }
}

impl Kernel {
    fn address(&self) -> usize {
        Arc::as_ptr(&self.shared) as usize
    }

    /// Makes the calling thread one of those that take turns; waits for its first.
    pub(crate) fn begin_thread(&self, thread: u32) {
        ME.set(Some((self.address(), thread)));
        let mut world = self.lock();
        world.threads.list[thread as usize].real = Some(thread::current());
        drop(self.wait_for_turn(world, thread));
    }

    /// The calling thread is done; somebody else goes on.
    pub(crate) fn end_thread(&self) {
        let Some((_, me)) = ME.take() else { return };
        let mut world = self.lock();
        world.note(Actor::Thread(me), What::ThreadEnds);
        world.threads.list[me as usize].state = State::Ended;
        world.threads.wake(For::Thread(me));
        world.threads.wake(For::AllThreads);
        if world.threads.verdict.is_none() && !world.threads.others_have_ended(me) {
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
        self.block(For::AllThreads, None, |world| world.threads.others_have_ended(me).then_some(()));
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
                world.threads.list.len(),
            ),
        }
    }

    fn wait_for_turn<'a>(&'a self, mut world: MutexGuard<'a, World>, me: u32) -> MutexGuard<'a, World> {
        while world.threads.turn != me && world.threads.verdict.is_none() {
            drop(world);
            // Whoever has woken us in between is remembered.
            thread::park();
            world = self.lock();
        }
        world
    }

    /// Unwinds the thread if the run is over. A thread that is unwinding already goes on, and is not held up any more.
    fn stop_if_over<'a>(&self, world: MutexGuard<'a, World>) -> Result<MutexGuard<'a, World>, MutexGuard<'a, World>> {
        if world.threads.verdict.is_none() {
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
        if world.threads.list.is_empty() {
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
        while world.notices.are_due() {
            let due = world.notices.take_due();
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
        if !world.threads.list.is_empty() {
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
        let is_awaited = world.threads.outside > 0;
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
        world.threads.wake(what);
        if world.threads.outside > 0 {
            self.shared.changed.notify_all();
        }
    }

    fn take_turns<'a>(&'a self, mut world: MutexGuard<'a, World>, me: u32) -> MutexGuard<'a, World> {
        world.threads.calls += 1;
        if world.threads.calls > world.threads.max_calls {
            let calls = world.threads.max_calls;
            world.judge(Verdict::Endless { calls });
            return self.stop_if_over(world).unwrap_or_else(|world| world);
        }
        let ready = world.threads.ready().count() as u32;
        // Alternative 0 is to go on; the others are the other threads.
        let next = match world.chance.choose_calmly(ready) {
            0 => me,
            other => world.threads.ready().filter(|thread| *thread != me).nth(other as usize - 1).unwrap_or(me),
        };
        self.pass_and_wait(world, me, next).unwrap_or_else(|world| world)
    }

    /// Blocks the calling thread until `look` finds what it waits for; lets events happen and time pass meanwhile. `None`: the
    /// deadline passed first.
    pub(crate) fn block<T>(&self, on: For, deadline: Option<u64>, mut look: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        let world = self.lock();
        if world.threads.list.is_empty() {
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
            world.threads.list[me as usize].state = State::Blocked { on, until: deadline };
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
                    world.threads.outside += 1;
                    world = self.shared.changed.wait(world).unwrap_or_else(PoisonError::into_inner);
                    world.threads.outside -= 1;
                    continue;
                }
            }
            world = self.tell_who_waits(world);
            if world.threads.outside > 0 {
                self.shared.changed.notify_all();
            }
        }
    }
}
