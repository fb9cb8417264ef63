//! The methods with which a test controls a [`Kernel`] and inspects it.

use super::shared::Kernel;
use crate::model::bits::{SignalBits, UNSTOPPABLE, bit};
use crate::model::ids::{NO_JOB, Slot};
use crate::model::process::{Life, Process};
use crate::model::seen::Seen;
use crate::order::trace::What;
use crate::order::world::World;
use crate::play::log::Ran;
use crate::play::script::Script;
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use steadfast_core::{Change, Error, Pid, Plan, Result, Signal};

/// What `ps` would show of a simulated process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its program's name.
    pub program: OsString,
    /// Whether it runs, is stopped, or is a zombie.
    pub state: ProcessState,
    /// When it was started, as virtual time since the kernel was built.
    pub started: Duration,
    /// Its parent; `None`: the program under test.
    pub parent: Option<Pid>,
    /// Its process group; 0 is that of the program under test.
    pub group: i32,
    /// Its session; 0 is that of the program under test.
    pub session: i32,
    /// The signals that are blocked: signal 1 is the lowest bit.
    pub blocked: u64,
    /// The signals that are pending.
    pub pending: u64,
    /// The signals that it ignores.
    pub ignored: u64,
    /// The signals that it has a handler for.
    pub handled: u64,
    /// What it does or waits for, in words.
    pub occupation: &'static str,
}

/// See [`ProcessInfo`].
// Not the model's `Life`: that has two states which nobody can see, a free place in the table and a process on its way to its end, and may
// get more, where this is what users match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "as proc_pid_stat(5) has them: R and S, T, Z")]
pub enum ProcessState {
    /// It runs or sleeps.
    Running,
    /// It was stopped by a signal.
    Stopped,
    /// It has ended, and nobody has waited for it.
    Zombie,
}

impl Kernel {
    /// Virtual time since the kernel was built.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.with_present(self.lock(), |world| world.now))
    }

    /// What happened, with the virtual time, one line each: the same for the same seed and the same calls.
    pub fn trace(&self) -> String {
        self.lock().timeline()
    }

    /// Starts a process that is a child of init, which reaps it as soon as it exits.
    ///
    /// # Errors
    /// As a spawn: no such program, no free PID.
    pub fn spawn_foreign(&self, program: &str) -> Result<Pid> {
        let plan = Plan::builder(program).build()?;
        let spawned = self.call(|world| world.call_spawn(&plan, [None; 3], NO_JOB, World::foreign_parent(), 0));
        let born = spawned.map_err(|(stage, source)| Error::Spawn { program: program.into(), stage, source })?;
        Pid::new(born.who.pid)
    }

    /// Starts a foreign process that the program under test must not touch: if it sends a signal to it, the run ends with the verdict *stranger*.
    /// The children of this process count as strangers too.
    ///
    /// # Errors
    /// As [`spawn_foreign`](Kernel::spawn_foreign).
    pub fn spawn_stranger(&self, program: &str) -> Result<Pid> {
        let pid = self.spawn_foreign(program)?;
        self.change(pid, |world, slot| world.table[slot].is_stranger = true);
        Ok(pid)
    }

    /// Makes a process perform this script now, as if its program had come to it. Afterwards the process continues where it was. `false` if there is
    /// no such process.
    ///
    /// ```
    /// # use steadfast_core::{Plan, Process};
    /// # use steadfast_mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().run_forever()).build();
    /// let (server, ..) = Process::spawn(&kernel.backend(), &Plan::builder("server").build()?)?;
    /// kernel.make(server.pid(), Script::new().abort());       // it crashes, now
    /// assert_eq!(server.wait()?.code(), None);
    /// # Ok::<(), steadfast_core::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the script [contradicts itself](Script::check).
    pub fn make(&self, pid: Pid, script: Script) -> bool {
        self.change(pid, |world, slot| {
            let is_alive = matches!(world.table[slot].life, Life::Running | Life::Stopped);
            if is_alive {
                if let Err(contradiction) = script.check() {
                    panic!("{}: {contradiction}", world.accused(slot));
                }
                world.make(slot, script.code());
            }
            is_alive
        })
        .unwrap_or(false)
    }

    /// Lets all processes run that can run at this moment, until they wait. No time passes.
    pub fn settle(&self) {
        self.call(|world| {
            while world.next_event().is_some_and(|at| at <= world.now) {
                world.happen();
            }
        });
    }

    /// What `ps` would show of it; `None` if there is no such process.
    pub fn process(&self, pid: Pid) -> Option<ProcessInfo> {
        self.change(pid, |world, slot| {
            let process: &Process = &world.table[slot];
            let state = match process.life {
                Life::Stopped => ProcessState::Stopped,
                Life::Zombie => ProcessState::Zombie,
                Life::Running | Life::Exiting | Life::Gone => ProcessState::Running,
            };
            ProcessInfo {
                program: world.name(process.name).to_owned(),
                state,
                started: Duration::from_nanos(process.started),
                parent: Pid::new(world.table[process.parent].pid).ok(),
                group: process.group,
                session: process.session,
                blocked: process.mask(),
                pending: process.pending,
                ignored: process.ignored,
                handled: process.handled,
                occupation: process.occupation(),
            }
        })
    }

    fn change<T>(&self, pid: Pid, change: impl FnOnce(&mut World, Slot) -> T) -> Option<T> {
        self.call(|world| world.table.by_pid(pid.as_raw()).map(|slot| change(world, slot)))
    }

    /// Sets the last PID, after which the search for the next free one begins, as writing to `/proc/sys/kernel/ns_last_pid` does.
    ///
    /// # Panics
    /// If it is negative or above [`pid_max`](crate::Builder::pid_max), for which Linux has `EINVAL`.
    pub fn set_last_pid(&self, pid: i32) {
        let pid_max = self.shared.setup.limits.pid_max;
        assert!((0..=pid_max).contains(&pid), "set_last_pid({pid}): give a number between 0 and {pid_max}, which is pid_max");
        self.lock().table.last_pid = pid;
    }

    /// Does what a `waitpid(-1, WNOHANG)` in other code of the program does: reaps one exited child, if there is one.
    pub fn reap_any(&self) -> Option<Pid> {
        self.call(World::reap_any).map(|exit| exit.pid)
    }

    /// Does what a `waitpid(-1, WNOHANG | WUNTRACED | WCONTINUED)` in other code of the program does while no child has exited: takes the report of one
    /// that has stopped or goes on, if there is one. [`wait_change`](steadfast_core::Process::wait_change) does not tell of it any more.
    pub fn take_any_change(&self) -> Option<(Pid, Change)> {
        let (pid, change) = self.call(World::take_any_change)?;
        Some((Pid::new(pid).ok()?, change))
    }

    /// Does what the death of the program under test does, by `SIGKILL` or in any other way: what lives in its jobs is killed where they die with it,
    /// children get their parent-death signal and become init's, and those that were [to die with it](steadfast_core::Attributes::dies_with_us) are
    /// killed. The test goes on, to look at what is left; it has no children any more. What lives on of a job that was to die, and by a process group
    /// could not, is reported at the end of the run (`outlived`).
    ///
    /// ```
    /// # use steadfast_core::{Containment, Job, JobPlan, Plan, Process};
    /// # use steadfast_mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().run_forever()).build();
    /// let job = Job::new(&kernel.backend(), &JobPlan::new(Containment::Cgroup))?;
    /// let (server, ..) = Process::spawn(&kernel.backend(), &Plan::builder("server").build()?.in_job(job.membership()))?;
    /// kernel.kill_owner();
    /// assert!(kernel.process(server.pid()).is_none());
    /// # Ok::<(), steadfast_core::Error>(())
    /// ```
    pub fn kill_owner(&self) {
        self.call(|world| {
            world.note_call(What::OwnerDies);
            world.owner_dies();
        });
        self.settle();
    }

    /// Boots the machine anew: all processes are gone at once, the program under test too, and PIDs are given from the beginning. Identities of
    /// before come to [`OtherBoot`](steadfast_core::Reopened::OtherBoot). The test goes on as the program that is started after the boot: drop the
    /// handles of before, and those that have a number only before anything is spawned.
    ///
    /// Time goes on, and boot IDs come from the seed: two kernels with one seed are one machine, so give them different ones where both are asked
    /// for the same identity.
    ///
    /// ```
    /// # use steadfast_core::{Plan, Process, Reopened};
    /// # use steadfast_mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().run_forever()).build();
    /// let (server, ..) = Process::spawn(&kernel.backend(), &Plan::builder("server").build()?)?;
    /// let name = server.identity()?.to_string();
    /// drop(server);
    /// kernel.kill_owner();                                    // the program under test is started again
    /// assert!(matches!(kernel.backend().reopen(&name.parse()?), Reopened::Same { .. }));
    /// kernel.reboot();
    /// assert!(matches!(kernel.backend().reopen(&name.parse()?), Reopened::OtherBoot));
    /// # Ok::<(), steadfast_core::Error>(())
    /// ```
    pub fn reboot(&self) {
        self.call(World::reboot);
        self.settle();
    }

    /// Sets whether the program under test ignores a signal from now on. Its children then ignore it too (execve(2)), except `SIGPIPE`, unless their
    /// command says otherwise. If it ignores `SIGCHLD`, its children leave no zombies (sigaction(2)). This must be set here, because the simulation
    /// does not look at the process that runs the test, and never sends it a signal.
    ///
    /// ```
    /// # use steadfast_core::{Plan, Process, Signal};
    /// # use steadfast_mock::{Kernel, Script};
    /// let kernel = Kernel::builder().program("server", Script::new().run_forever()).build();
    /// kernel.ignore_signal(Signal::HUP, true);                       // as under nohup(1)
    /// let (server, ..) = Process::spawn(&kernel.backend(), &Plan::builder("server").build()?)?;
    /// server.signal(Signal::HUP)?;
    /// assert_eq!(server.try_wait()?, None);
    /// # Ok::<(), steadfast_core::Error>(())
    /// ```
    ///
    /// # Panics
    /// If it is `SIGKILL` or `SIGSTOP`.
    pub fn ignore_signal(&self, signal: Signal, ignore: bool) {
        set(&mut self.lock().caller().ignored, signal, ignore);
    }

    /// Sets whether the program under test blocks a signal from now on, in the thread that starts children. The children block it too, unless their
    /// command sets a mask.
    ///
    /// # Panics
    /// As [`ignore_signal`](Kernel::ignore_signal).
    pub fn block_signal(&self, signal: Signal, block: bool) {
        set(&mut self.lock().caller().blocked, signal, block);
    }

    /// Whether the caller ignores `SIGCHLD`, so that its children are reaped as they exit (sigaction(2)); see [`ignore_signal`](Kernel::ignore_signal).
    pub fn ignore_sigchld(&self, ignore: bool) {
        self.ignore_signal(Signal::CHLD, ignore);
    }

    /// Whether the caller is a subreaper, so that orphaned descendants become its children (`PR_SET_CHILD_SUBREAPER`).
    pub fn subreaper(&self, is_one: bool) {
        self.lock().caller().is_subreaper = is_one;
    }

    /// The processes that exist, zombies included, by PID.
    pub fn processes(&self) -> Vec<Pid> {
        let world = self.lock();
        world.table.all().filter_map(|slot| Pid::new(world.table[slot].pid).ok()).collect()
    }

    /// The zombies among them.
    pub fn zombies(&self) -> Vec<Pid> {
        let world = self.lock();
        let zombies = world.table.all().filter(|slot| world.table[*slot].life == Life::Zombie);
        zombies.filter_map(|slot| Pid::new(world.table[slot].pid).ok()).collect()
    }

    /// The programs that were run, in order: with their arguments, environment and directory, the signals sent to them, and how they ended. It keeps the
    /// last 100,000 runs, or as many as the [trace's limit](crate::Builder::trace_limit).
    pub fn runs(&self) -> Vec<Ran> {
        let world = self.lock();
        world.host.log.all(|name| world.name(name).to_owned()).collect()
    }

    /// The runs of one program.
    pub fn runs_of(&self, program: impl AsRef<OsStr>) -> Vec<Ran> {
        self.runs().into_iter().filter(|ran| ran.program == program.as_ref()).collect()
    }

    /// Checks that every expectation was met; an exploration does it at the end of each run.
    ///
    /// # Panics
    /// If one was not met; the message lists those, and how often each was run.
    pub fn verify(&self) {
        let unmet = self.lock().host.programs.expectations.unmet();
        assert!(unmet.is_empty(), "commands were expected and not run:\n  {}", unmet.join("\n  "));
    }

    /// Sends a signal from the test itself, as another program on the machine would. No handle is involved.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] if there is no such process.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<()> {
        let sent = self.change(pid, |world, slot| {
            world.note_of_test(What::Seen(Seen::Signals(signal, world.who(slot))));
            world.send(slot, signal);
        });
        sent.ok_or(Error::ProcessDone { pid })
    }
}

/// Puts a signal into a set, or takes it out.
pub(crate) fn set(signals: &mut SignalBits, signal: Signal, is_in: bool) {
    assert!(UNSTOPPABLE & bit(signal) == 0, "{signal} cannot be ignored or blocked (signal(7))");
    *signals = if is_in { *signals | bit(signal) } else { *signals & !bit(signal) };
}
