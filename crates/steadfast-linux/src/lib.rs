//! What Linux offers to processes and neither rustix nor nix gives, behind safe functions.
//!
//! This is the one crate of the workspace with `unsafe`; all others forbid it. One operation per block, each with its
//! argument.
//!
//! | module | holds |
//! | --- | --- |
//! | `spawn` | clone and exec of a [`Plan`](steadfast_core::Plan), through one of three [`Door`]s |
//! | `wait` | `waitid(2)` with resource usage, by PID or pidfd, and `wait4(2)` where `waitid` is filtered |
//! | `change` | stops and continuations by `waitid(2)`, which takes nothing else |
//! | `pidfd` | `pidfd_open`, `pidfd_send_signal` and `pidfd_getfd`, whose answers are checked; how a process ended that was reaped |
//! | `whose`, `peer` | whose pidfd a descriptor is; pidfds that come through a Unix socket |
//! | `limits` | limits and CPUs of a process that runs |
//! | `probe` | what this kernel can do, asked in a child that may die of the question |
//! | `kill`, `disposition` | `kill(2)`; signals that are ignored, or not |
//! | `job` | what holds a job together: a cgroup, a process group |
//! | `init` | the program as the child of an init of its own |
//! | `naming` | what names a process beyond the life of a handle: the boot, the PID namespace, its number in pidfs, its start time |
//! | `quiet` | a child that nobody else hears of |
//! | `pipe` | a write into a pipe that raises no `SIGPIPE` |
//! | `room` | how many descriptors may still be opened |
//! | `secure` | whether this program has more rights than whoever started it |
//! | `fork` | which process this is, after a fork(2) of the program; statics that begin afresh then |
//! | `file` | small files of the kernel |
//! | `lock` | locks of files that belong to who has opened them |
//! | `look` | the directory of one process in `/proc` |
//! | `stat` | what `/proc/PID/stat` says |
//! | `stdio` | what a standard stream is made of, by its raw number too |
//! | `terminal` | the foreground of a terminal, and how it is taken back |
//! | `thread`, `clock` | threads that take none of the program's signals, the monotonic clock |
//! | `stack`, `arch`, `raw` | the stack of a child that shares our memory; `clone3` in assembly; system calls |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arch;
mod atomic;
#[doc(hidden)]
pub mod bare;
mod change;
mod clock;
mod disposition;
mod file;
mod fork;
mod init;
mod job;
mod kill;
mod limits;
mod lock;
mod look;
mod naming;
mod peer;
mod pidfd;
mod pipe;
mod probe;
mod quiet;
mod raw;
mod room;
mod secure;
mod spawn;
mod stack;
mod stat;
mod stdio;
mod terminal;
mod thread;
mod wait;
mod whose;

pub use change::{look_for_change, take_change};
pub use clock::{SystemClock, boot_time, timespec};
pub use disposition::{ignore_signal, restore_signal};
pub use fork::{PerProcess, generation};
pub use init::run_under_init;
pub use job::job;
pub use kill::{kill, kill_group, kill_with_value, may_signal};
pub use limits::{affinity, prlimit, set_affinity};
pub use lock::{lock_file, unlock_file};
pub use look::{ProcDir, all_pids, look_by_number, words};
pub use naming::{Here, here, pidfs_number, start_time, start_times_are_not_told, tick_now};
pub use peer::{Message, Sender, peer_pidfd, receive_message, tell_senders};
pub use pidfd::{
    pidfd_exit_status, pidfd_getfd, pidfd_is_taken, pidfd_may_signal, pidfd_open, pidfd_send_signal, pidfd_send_value,
    pidfd_signal_group,
};
pub use pipe::write_without_signal;
pub use probe::{Answer, Check, Feature, Probe};
pub use room::{has_room_for_descriptors, leaves_room};
pub use secure::is_secure_execution;
pub use spawn::{
    Child, CommandExt, Door, GivenUp, Loan, SpawnWait, Start, StdCommandExt, WantPidfd, exec, spawn, spawn_wait, start,
};
pub use stat::ProcStat;
pub use stdio::Stdio;
pub use terminal::{foreground_group, own_foreground, take_foreground};
pub use thread::spawn_quiet_thread;
pub use wait::{Blocking, Reaping, Target, wait4_now, waitid};
pub use whose::{Whose, whose_pidfd};
