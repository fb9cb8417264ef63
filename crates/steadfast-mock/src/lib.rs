//! A simulated kernel, for tests of code that manages processes. No real process is started, time is virtual, and all random choices come from one
//! number, the seed.
//!
//! It is not a list of canned answers but a small kernel: a process tree, groups and sessions, zombies, PIDs that are handed out in order and
//! recycled, signals with masks and dispositions, pipes that fill up. So it can show what a fake command runner cannot: a signal that is sent
//! after the reap, a status that other code has taken, a grandchild that keeps a pipe open.
//!
//! ```
//! use std::time::Duration;
//! use steadfast_core::{Plan, Process, Signal};
//! use steadfast_mock::{Kernel, Script};
//!
//! let kernel = Kernel::builder()
//!     .program("server", Script::new().on(Signal::TERM, Script::new().sleep(Duration::from_secs(3)).exit(0)).run_forever())
//!     .build();
//! // Through the facade, all this is `kernel.system().enter()`, and then the code under test as it is.
//! let (server, ..) = Process::spawn(&kernel.backend(), &Plan::builder("server").build()?)?;
//! server.signal(Signal::TERM)?;
//! assert!(server.wait()?.success());
//! assert_eq!(kernel.now(), Duration::from_secs(3));
//! # Ok::<(), steadfast_core::Error>(())
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | set it up | [`Kernel::builder`], [`Script`], [`Fault`], [`Expect`] |
//! | look into it, and interfere | [`Kernel::process`], [`Kernel::make`], [`Kernel::signal`], [`Kernel::reap_any`] |
//! | ask afterwards | [`Kernel::runs`], [`Kernel::trace`], [`Kernel::zombies`] |
//! | run a test in a thousand orders | [`Kernel::explore`], [`Sim`] |
//! | run one of them again | [`Kernel::explore`] with its seed, or [`Kernel::replay`] with the file that a failure leaves |
//!
//! # Time
//!
//! Time is virtual. It stands still while any thread or process can run. When all threads of the simulation wait (outside of an exploration: when
//! the calling thread waits), it jumps to the next moment at which something happens. Timeouts, `sleep`, the pauses of a script and background
//! reaping all use this time.
//!
//! So code under test must take its time from its backend: `System::now` and `System::sleep` of the facade, and the timeouts of its calls. Other
//! clocks are real:
//!
//! * `std::thread::sleep` delays the test and nothing else: no simulated process runs meanwhile. A loop that polls with it never sees a process end,
//!   because no virtual time passes. An exploration reports *endless* after a number of calls; after a minute it prints that no run has ended.
//! * `Instant::now` and `SystemTime::now` show real time. A deadline that is made of them is never reached in virtual time, and a run that depends on
//!   them is *unsteady*: the same seed does not repeat it.
//!
//! # Threads
//!
//! In an exploration, threads take turns: at each call to the kernel, and at each lock of [`steadfast_core::sync`], the seed decides which thread
//! continues. Threads are started with [`Sim::spawn`] or, by code under test, with [`steadfast_core::sync::spawn`]; a call from any other
//! thread is refused. Each run succeeds or ends with a [`Verdict`]: panic, leak, stranger, deadlock, endless, unmet. A failure comes with
//! the shortest failing run that was found, as a timeline and as a file.
//!
//! Without an exploration (`kernel.backend()`, or `kernel.system().enter()` of the facade), threads run freely. A single thread produces
//! the same trace in each run.
//!
//! # What is modelled
//!
//! One star: compared with the real kernel after each step of random plays (`steadfast-conformance`, `same_play`). Two stars: numbers are compared too
//! (`tests/promises/figures.rs`).
//!
//! | | here | not here |
//! | --- | --- | --- |
//! | PIDs ** | in turn, recycled, `pid_max` (smaller ones too than Linux allows: [`Builder::pid_max`]), also taken by children that cannot become their program; a number stays taken while a group or session goes by it | PID namespaces |
//! | starting * | fork and exec in one, and exec alone; missing and non-executable programs; what a child inherits: streams, group, session, ignored and blocked signals, those of the program under test as [`Kernel::ignore_signal`] and [`Kernel::block_signal`] say | what a program does between the two; the file system; signals that the process of the test really ignores or blocks; a mask for each thread |
//! | process tree * | parents, orphans to init or the nearest subreaper, zombies, `SIGCHLD` ignored, waits of processes for their children | `waitpid` of a script for a group or one PID |
//! | groups and sessions * | `setpgid` in the session, `setsid` for oneself; orphaned groups: no stop by the keyboard's signals, `SIGHUP` and `SIGCONT` at the end of the last who could continue them | terminals, foreground groups: `Command::pty` of the facade is refused, `foreground` is noted and does nothing |
//! | signals * | default actions, ignored, handled by a script (with restart of what was interrupted), masks, pending, stop and continue (the program under test hears of both: `wait_change`), `SIGKILL`, the order in which several are taken, `abort` | what a handler reads of a value (`Ran::values` has those that were sent); who may signal whom, but for a fault that says `EPERM`; alternate stacks; handlers that mask other signals, or unblock their own |
//! | real-time signals * | queued, from 32 on | the limit of the queue |
//! | ends * | codes, signals, core dumps (`RLIMIT_CORE`), exits that take their time | `/proc/sys/kernel/core_pattern` |
//! | rusage | user CPU time of [`compute`](Script::compute), with that of children that were waited for | all its other fields are 0; every process has a CPU of its own |
//! | pipes | capacity, in pages as the kernel counts it; atomic up to `PIPE_BUF`, `SIGPIPE` and `EPIPE`, ends held open by grandchildren, handed to other processes | sockets, files, terminals |
//! | limits | processes in all, `RLIMIT_NPROC`, descriptors of the program under test, with those that it has open in the middle of a spawn ** | memory; the others are noted ([`Run::attributes`]) |
//! | users | one | permissions: let a [`Fault`] say `EPERM` |
//! | parent-death signal | when the parent ends | when only the thread ends that was the parent |
//! | jobs, by cgroup and by process group | who is a member and who has left, kill, freeze, empty, CPU time and the most processes; limits of processes and of the memory that is [allocated](Script::allocate); the owner's death ([`Kernel::kill_owner`]) | a limit of CPU time is taken, and slows nobody |
//! | threads of a simulated process, ptrace, other cgroups, namespaces | | none of it |
#![forbid(unsafe_code)]

mod face;
mod model;
mod order;
mod play;
mod search;

pub use face::builder::Builder;
pub use face::kernel::{ProcessInfo, ProcessState};
pub use face::shared::Kernel;
pub use face::sim::{Sim, Thread};
pub use model::host::Call;
pub use model::step::Image;
pub use order::verdict::Verdict;
pub use play::check::Contradiction;
pub use play::expect::Expect;
pub use play::fault::Fault;
pub use play::log::Ran;
pub use play::run::Run;
pub use play::script::Script;
pub use search::explore::{Exploration, Explored};
pub use search::failure::{Failure, ReplayError};
