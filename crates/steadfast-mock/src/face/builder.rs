//! [`Builder`]: what a simulated kernel is like.

use super::kernel::set;
use super::shared::Kernel;
use crate::model::machine::Limits;
use crate::order::chance::Mode;
use crate::order::threads::Threads;
use crate::play::expect::Expect;
use crate::play::fault::Fault;
use crate::play::run::Run;
use crate::play::script::Script;
use crate::play::setup::{Program, Setup};
use std::ffi::OsString;
use std::sync::Arc;
use steadfast_core::{Containment, JobLimit, Signal, Wall};

/// Configures a [`Kernel`].
pub struct Builder {
    setup: Setup,
}

impl Kernel {
    /// The defaults: seed 0, 32,768 PIDs, no programs.
    pub fn builder() -> Builder {
        Builder {
            setup: Setup {
                seed: 0,
                limits: Limits {
                    pid_max: 32_768,
                    pipe_capacity: 64 * 1024,
                    max_processes: u32::MAX,
                    max_open_files: u32::MAX,
                    core_dumps: true,
                    lacks_walls: Default::default(),
                },
                ignored: 0,
                blocked: 0,
                tells_lost_status: false,
                trace_limit: 100_000,
                programs: Vec::new(),
                expectations: Vec::new(),
                faults: Vec::new(),
                refused: Vec::new(),
                without_limits: Vec::new(),
            },
        }
    }
}

impl Builder {
    /// Sets the seed, from which all random choices of the simulation come.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.setup.seed = seed;
        self
    }

    /// Sets `kernel.pid_max`: PIDs go from 2 to one below this number, and then begin again. With a small number they are recycled soon.
    ///
    /// Once Linux has handed out PID 300, it does not go back below 300; so it allows no `pid_max` below 301. The simulation allows smaller numbers,
    /// and goes back to 2 then, because tests want few PIDs.
    ///
    /// # Panics
    /// If it is below 4, so that there are fewer than two PIDs, or above 2^22, which Linux refuses too.
    pub fn pid_max(mut self, pid_max: i32) -> Builder {
        assert!((4..=1 << 22).contains(&pid_max), "pid_max({pid_max}): give a number between 4 and 4194304");
        self.setup.limits.pid_max = pid_max;
        self
    }

    /// How many bytes a pipe holds (64 KiB; pipe(7)): a write of more blocks until something is read. As in the kernel, it
    /// consists of pages of 4096 bytes, and a page becomes free when all of it has been read. A smaller pipe is a single page of its size.
    ///
    /// # Panics
    /// If it is 0.
    pub fn pipe_capacity(mut self, bytes: usize) -> Builder {
        assert!(bytes > 0, "pipe_capacity(0): a pipe holds at least one byte");
        self.setup.limits.pipe_capacity = bytes;
        self
    }

    /// Sets how many processes there may be (`RLIMIT_NPROC`). One more fails with `EAGAIN`.
    pub fn max_processes(mut self, processes: u32) -> Builder {
        self.setup.limits.max_processes = processes;
        self
    }

    /// Sets how many descriptors the program under test may have (`RLIMIT_NOFILE`): a pidfd for each handle, and its ends of pipes; during a spawn also
    /// `/dev/null` and the child's ends. Others of the program are not counted. One more fails with `EMFILE`. For example, `output()` takes six
    /// during the spawn, and three while it reads; without pidfds one less.
    pub fn max_open_files(mut self, descriptors: u32) -> Builder {
        self.setup.limits.max_open_files = descriptors;
        self
    }

    /// Whether processes dump core. By default they do.
    pub fn core_dumps(mut self, dumps: bool) -> Builder {
        self.setup.limits.core_dumps = dumps;
        self
    }

    /// Whether the caller ignores a signal from the start; see [`Kernel::ignore_signal`].
    ///
    /// # Panics
    /// If it is `SIGKILL` or `SIGSTOP`.
    pub fn ignore_signal(mut self, signal: Signal, ignore: bool) -> Builder {
        set(&mut self.setup.ignored, signal, ignore);
        self
    }

    /// Whether the caller blocks a signal from the start; see [`Kernel::block_signal`].
    ///
    /// # Panics
    /// If it is `SIGKILL` or `SIGSTOP`.
    pub fn block_signal(mut self, signal: Signal, block: bool) -> Builder {
        set(&mut self.setup.blocked, signal, block);
        self
    }

    /// Whether the caller ignores `SIGCHLD` from the start; see [`Kernel::ignore_sigchld`].
    pub fn ignore_sigchld(self, ignore: bool) -> Builder {
        self.ignore_signal(Signal::CHLD, ignore)
    }

    /// Whether a handle with a pidfd still learns how its process ended after other code has waited for it, as since Linux 6.15. By default `false`,
    /// because not every machine can.
    pub fn tells_lost_status(mut self, tells: bool) -> Builder {
        self.setup.tells_lost_status = tells;
        self
    }

    /// No job can be held together by this, as on a machine that does not offer it: to make one fails with
    /// [`Error::NoContainment`](steadfast_core::Error::NoContainment). By default each can.
    pub fn without_containment(mut self, containment: Containment) -> Builder {
        self.setup.refused.push(containment);
        self
    }

    /// No job can be limited in this, as on a machine without that controller: to make one with such a limit fails with
    /// [`Error::NoLimit`](steadfast_core::Error::NoLimit). By default jobs by cgroup can have each limit.
    pub fn without_limit(mut self, limit: JobLimit) -> Builder {
        self.setup.without_limits.push(limit);
        self
    }

    /// The kernel has no such wall, as one that is too old, or was built without it: who insists on it fails with
    /// [`Error::NoWall`](steadfast_core::Error::NoWall), and who [asks for it if possible](steadfast_core::Attributes::walls_if_possible) is told. By
    /// default it has them all, and [`Run::attributes`] says which were asked for; they shut nothing in.
    pub fn without_wall(mut self, wall: Wall) -> Builder {
        for (_, lacks) in Wall::ALL.iter().zip(&mut self.setup.limits.lacks_walls).filter(|(one, _)| **one == wall) {
            *lacks = true;
        }
        self
    }

    /// How many lines of the trace, and how many runs, are kept: the last ones. By default: 100,000.
    pub fn trace_limit(mut self, lines: usize) -> Builder {
        self.setup.trace_limit = lines;
        self
    }

    /// Installs a program that does the same in every run. Programs that are not installed do not exist (`ENOENT`).
    ///
    /// # Panics
    /// If the script [contradicts itself](Script::check).
    pub fn program(self, name: impl Into<OsString>, script: Script) -> Builder {
        let name = name.into();
        if let Err(contradiction) = script.check() {
            panic!("program {name:?}: {contradiction}");
        }
        self.install(name, Program::Fixed(script.code()))
    }

    /// Installs a program that decides in each run what it does. If its script contradicts itself, the run panics.
    pub fn program_with(self, name: impl Into<OsString>, script: impl Fn(&Run) -> Script + Send + Sync + 'static) -> Builder {
        self.install(name.into(), Program::Decides(Arc::new(script)))
    }

    /// Installs a file that cannot be executed (`EACCES`).
    pub fn not_executable(self, name: impl Into<OsString>) -> Builder {
        self.install(name.into(), Program::NotExecutable)
    }

    fn install(mut self, name: OsString, program: Program) -> Builder {
        match self.setup.programs.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(index) => self.setup.programs[index].1 = program,
            Err(index) => self.setup.programs.insert(index, (name, program)),
        }
        self
    }

    /// Expects a command.
    pub fn expect(mut self, expect: Expect) -> Builder {
        self.setup.expectations.push(expect);
        self
    }

    /// Makes calls fail.
    pub fn fault(mut self, fault: Fault) -> Builder {
        self.setup.faults.push(fault);
        self
    }

    /// Builds the kernel.
    pub fn build(self) -> Kernel {
        let seed = self.setup.seed;
        Kernel::boot(&Arc::new(self.setup), seed, Mode::Free, Threads::free())
    }
}
