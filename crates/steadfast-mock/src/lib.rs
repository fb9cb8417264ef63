//! A simulated kernel: processes, signals, zombies and recycled PIDs, driven by a seed, in virtual time. No system call is made.
//!
//! It is a double of the *kernel*, not of a process runner: the code under test uses real handles, and can show real races.
//!
//! ```
//! use steadfast_core::{Plan, Process, Signal};
//! use steadfast_mock::{Kernel, Script};
//! use std::time::Duration;
//!
//! let kernel = Kernel::builder()
//!     .seed(7)
//!     .program("server", Script::new().on(Signal::TERM, Script::new().sleep(Duration::from_secs(2)).exit(0)).run_forever())
//!     .build();
//! let backend = kernel.backend();
//! let (server, _, _) = Process::spawn(&backend, &Plan::builder("server").build()?)?;
//! assert_eq!(server.wait_timeout(Duration::from_secs(3600))?, None);    // virtual: takes microseconds
//! server.signal(Signal::TERM)?;
//! assert!(server.wait()?.success());
//! assert_eq!(kernel.now(), Duration::from_secs(3602));
//! # Ok::<(), steadfast_core::Error>(())
//! ```
//!
//! **Time** moves when a thread blocks in the kernel and no process has anything to do now: then it jumps to the next thing that
//! happens, or to the deadline. What a process does at one moment and what the test does at the same moment is ordered by the seed.
//!
//! **What is modelled:** PIDs handed out in turn and recycled; zombies; the caller's children and foreign processes, which init
//! reaps at once; signals by default action, handled by a script, ignored, blocked and pending; stop and continue; core dumps;
//! CPU time; stdin, stdout and stderr with buffers of any size; programs that do not exist; `SIGCHLD` ignored; somebody else's
//! `waitpid(-1)`; faults. **What is not, yet:** grandchildren, process groups and sessions, descriptors, the file system.
//!
//! | file | holds |
//! | --- | --- |
//! | `kernel.rs` | [`Kernel`] and its builder: what a test says and asks |
//! | `script.rs` | [`Script`]: what a simulated program does |
//! | `fault.rs` | [`Fault`]: calls that fail |
//! | `world.rs` | the state: process table, PIDs, events, time, trace |
//! | `run.rs` | a process running its script, and taking signals |
//! | `backend.rs` | the backend traits on top of it, with pidfds and with PIDs |
#![forbid(unsafe_code)]

mod backend;
mod fault;
mod kernel;
mod run;
mod script;
mod world;

pub use fault::{Call, Fault};
pub use kernel::{Builder, Kernel, Run};
pub use script::Script;
