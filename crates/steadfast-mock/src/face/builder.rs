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
use steadfast_core::Signal;

/// Sets a [`Kernel`] up.
pub struct Builder {
    setup: Setup,
}

impl Kernel {
    /// Begins: seed 0, the usual 32,768 PIDs, no programs.
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
                },
                ignored: 0,
                blocked: 0,
                tells_lost_status: false,
                trace_limit: 100_000,
                programs: Vec::new(),
                expectations: Vec::new(),
                faults: Vec::new(),
            },
        }
    }
}

impl Builder {
    /// What the simulation leaves to chance, it takes from this number.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.setup.seed = seed;
        self
    }

    /// The number of PIDs, `kernel.pid_max`: PIDs run from 2 to one below, and then again. A small one is recycled soon.
    ///
    /// Once it has passed 300, Linux does not go back below 300, and so it allows no `pid_max` below 301. The simulation does, and then goes
    /// back to 2: tests want few numbers.
    ///
    /// # Panics
    /// If it is below 4, so that there are fewer than two PIDs, or above 2^22, which Linux refuses too.
    pub fn pid_max(mut self, pid_max: i32) -> Builder {
        assert!((4..=1 << 22).contains(&pid_max), "pid_max({pid_max}): give a number between 4 and 4194304");
        self.setup.limits.pid_max = pid_max;
        self
    }

    /// How many bytes a pipe holds (64 KiB; pipe(7)): a write of more blocks until something is read. As in the kernel it is a row of pages of
    /// 4096 bytes, of which each makes room when all of it was read; a smaller pipe is one page of its size.
    ///
    /// # Panics
    /// If it is none.
    pub fn pipe_capacity(mut self, bytes: usize) -> Builder {
        assert!(bytes > 0, "pipe_capacity(0): a pipe holds at least one byte");
        self.setup.limits.pipe_capacity = bytes;
        self
    }

    /// How many processes there may be (`RLIMIT_NPROC`): one more cannot be made, with `EAGAIN`.
    pub fn max_processes(mut self, processes: u32) -> Builder {
        self.setup.limits.max_processes = processes;
        self
    }

    /// How many descriptors the program under test may have (`RLIMIT_NOFILE`), beside those that it has anyway: a pidfd for each handle, and
    /// its ends of pipes; while a child is made, also `/dev/null` and the child's ends. One more fails with `EMFILE`.
    /// So `output()` takes six for a moment, and three while it reads; without pidfds one less.
    pub fn max_open_files(mut self, descriptors: u32) -> Builder {
        self.setup.limits.max_open_files = descriptors;
        self
    }

    /// Whether processes dump core (they do).
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

    /// Whether a handle with a pidfd still learns how its process ended after somebody else has waited for it, as from Linux 6.15 on;
    /// `false` unless you say so, since not every machine does.
    pub fn tells_lost_status(mut self, tells: bool) -> Builder {
        self.setup.tells_lost_status = tells;
        self
    }

    /// How many of the last lines of the trace, and of the last runs, are kept (100,000).
    pub fn trace_limit(mut self, lines: usize) -> Builder {
        self.setup.trace_limit = lines;
        self
    }

    /// Makes a program that does the same at every run. Other programs are not there (`ENOENT`).
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

    /// Makes a program that decides at each run what it does. A script that contradicts itself panics when it is run.
    pub fn program_with(self, name: impl Into<OsString>, script: impl Fn(&Run) -> Script + Send + Sync + 'static) -> Builder {
        self.install(name.into(), Program::Decides(Arc::new(script)))
    }

    /// Makes a file that cannot be executed (`EACCES`).
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

    /// Boots it.
    pub fn build(self) -> Kernel {
        let seed = self.setup.seed;
        Kernel::boot(&Arc::new(self.setup), seed, Mode::Free, Threads::free())
    }
}
