//! The spawn engine: from a checked [`Plan`] to a running program.
//!
//! The child shares our memory (`CLONE_VM`) on a stack of its own, and we are suspended until it has executed the program or
//! given up (`CLONE_VFORK`): no page table is copied, whatever the size of this process, and an error comes back through
//! memory. Three doors lead there:
//!
//! * [`Door::Clone3`]: `clone3` with `CLONE_CLEAR_SIGHAND` (Linux 5.5), which resets all handlers in the kernel.
//! * [`Door::Clone`]: `clone`, and a loop over the handlers: where `clone3` is filtered or missing.
//! * [`Door::Fork`]: a copy of our memory, and a pipe for the error: for kernels that take the flags and do not share
//!   (QEMU's user mode and valgrind turn `vfork` into `fork`: the child's report would never be seen, and a missing program
//!   would look like one that ran and exited with 127).

mod child;
mod image;
mod stdio;

use crate::arch;
use crate::raw::{self, CloneArgs};
use crate::stack::Stack;
use crate::wait::{reap_whoever_wins, wait4_now};
use child::{Order, Report, Step};
use image::Image;
use std::ffi::{c_int, c_void};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use stdio::Streams;
use steadfast_core::{Errno, Error, Pid, Plan, Stage};

/// How a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// `clone3`, our memory shared, handlers reset by the kernel.
    Clone3,
    /// `clone`, our memory shared.
    Clone,
    /// `clone`, our memory copied.
    Fork,
}

/// Whether the child comes with a pidfd (`CLONE_PIDFD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantPidfd {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// A child that runs its program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// Its PID.
    pub pid: Pid,
    /// Its pidfd, close-on-exec, if one was wanted.
    pub pidfd: Option<OwnedFd>,
    /// Our ends of its pipes: stdin, stdout, stderr.
    pub pipes: [Option<OwnedFd>; 3],
}

/// Starts the program of `plan`; returns once it runs, or a step before has failed.
///
/// # Errors
/// [`Error::Spawn`] with the stage, the path and the errno. No child, zombie or descriptor is left then.
pub fn spawn(plan: &Plan, want: WantPidfd, door: Door) -> Result<Child, Error> {
    let failed = |stage, source| Error::Spawn { program: plan.program().to_owned(), stage, source };
    let streams = Streams::open(plan.stdio()).map_err(|(stage, errno)| failed(stage, errno))?;
    let mut image = Image::new(plan);
    let report = Report::default();
    let channel = match door {
        Door::Fork => Some(stdio::pipe().map_err(|errno| failed(Stage::Clone, errno))?),
        Door::Clone3 | Door::Clone => None,
    };
    let stack = Stack::take().map_err(|errno| failed(Stage::Clone, errno))?;

    // From here until the mask is restored no handler runs on this thread: in the child it would run in our memory, on the
    // child's stack.
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    let mut order = Order {
        image: image.pointers(),
        streams: streams.sources(),
        mask,
        reset_handlers: door != Door::Clone3,
        report: &raw const report,
        channel: channel.as_ref().map_or(-1, |(_, ours)| ours.as_raw_fd()),
    };
    // SAFETY: `order` and all that it points to (image, report, streams) live in this function, past the calls to clone
    // below; the stack is ours; with shared memory `make` sets CLONE_VFORK, so the child has left both by the time it returns.
    let made = unsafe { make(door, want, &stack, &mut order) };
    raw::set_signal_mask(mask);
    stack.keep();

    let (pid, pidfd) = made.map_err(|errno| failed(Stage::Clone, errno))?;
    if door != Door::Fork && !report.child_ran() {
        // A SIGSYS handler that merely returns makes a filtered clone "return" its own number. Nobody was born.
        return Err(failed(Stage::Clone, Errno::NOSYS));
    }
    let pidfd = take_pidfd(pid, pidfd, want).map_err(|errno| failed(Stage::Clone, errno))?;
    let failure = match channel {
        Some((theirs, ours)) => {
            drop(ours);
            read_failure(theirs)
        }
        None => report.failure(),
    };
    if let Some((step, errno)) = failure {
        reap_whoever_wins(pid);
        return Err(failed(stage(plan, &image, step), errno));
    }
    let pid = Pid::new(pid).map_err(|_| failed(Stage::Clone, Errno::RANGE))?;
    Ok(Child { pid, pidfd, pipes: streams.into_ours() })
}

/// Makes the child and, with shared memory, waits until it has executed or exited.
///
/// # Safety
/// What `order` points to outlives this call; nobody else uses `stack`.
unsafe fn make(door: Door, want: WantPidfd, stack: &Stack, order: &mut Order) -> Result<(i32, c_int), Errno> {
    let mut pidfd: c_int = -1;
    let order: *mut Order = order;
    let pid = match door {
        Door::Clone3 => {
            let mut flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64 | raw::CLONE_CLEAR_SIGHAND;
            if want == WantPidfd::Yes {
                flags |= libc::CLONE_PIDFD as u64;
            }
            let args = CloneArgs {
                flags,
                pidfd: (&raw mut pidfd).addr() as u64,
                exit_signal: libc::SIGCHLD as u64,
                stack: stack.bottom().addr() as u64,
                stack_size: stack.size() as u64,
                ..CloneArgs::default()
            };
            // SAFETY: the stack is ours alone and large enough; CLONE_VM comes with CLONE_VFORK; `child::run3` keeps to what
            // is allowed after a vfork; `pidfd` outlives the call.
            match unsafe { arch::clone3(&args, child::run3, order.cast()) } {
                error if error < 0 => Err(Errno::from_raw(-error as i32)),
                pid => Ok(pid as i32),
            }?
        }
        Door::Clone | Door::Fork => {
            let mut flags = libc::SIGCHLD;
            if door == Door::Clone {
                flags |= libc::CLONE_VM | libc::CLONE_VFORK;
            }
            if want == WantPidfd::Yes {
                flags |= libc::CLONE_PIDFD;
            }
            // SAFETY: as above; without CLONE_VM the child has a copy of it all.
            unsafe { raw::clone(flags, stack.top(), child::run, order.cast::<c_void>(), &raw mut pidfd) }?
        }
    };
    Ok((pid, pidfd))
}

/// Makes the number that `CLONE_PIDFD` left an owned descriptor.
fn take_pidfd(pid: i32, number: c_int, want: WantPidfd) -> Result<Option<OwnedFd>, Errno> {
    if want == WantPidfd::No {
        return Ok(None);
    }
    if number < 0 {
        // The flag was accepted and ignored (an early gVisor). The probe should have seen that; do not lose the child. But
        // make sure that it is one, and no number that a SIGSYS handler left.
        if let Ok(Ok(None)) = Pid::new(pid).map(wait4_now) {
            // SAFETY: no pointer. The child was there a moment ago, and only we reap it.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            reap_whoever_wins(pid);
        }
        return Err(Errno::INVAL);
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else has been told of it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Waits until the child has executed the program (which closes its end) or has told why not.
fn read_failure(channel: OwnedFd) -> Option<(Step, Errno)> {
    let mut message = [0; 8];
    let mut channel = std::fs::File::from(channel);
    channel.read_exact(&mut message).ok()?;
    let [s0, s1, s2, s3, e0, e1, e2, e3] = message;
    let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
    Some((Step::from_raw(u32::from_ne_bytes([s0, s1, s2, s3]))?, Errno::from_raw(errno)))
}

fn stage(plan: &Plan, image: &Image, step: Step) -> Stage {
    match step {
        Step::Stdin => Stage::Stdio { stream: "stdin" },
        Step::Stdout => Stage::Stdio { stream: "stdout" },
        Step::Stderr => Stage::Stdio { stream: "stderr" },
        Step::Chdir => Stage::Chdir { path: plan.current_dir().unwrap_or("".as_ref()).to_owned() },
        Step::Exec(index) => {
            Stage::Exec { path: image.candidate(index as usize), search_path: image.search_path().map(ToOwned::to_owned) }
        }
        Step::NotFound => Stage::Exec {
            path: if image.search_path().is_some() { None } else { image.candidate(0) },
            search_path: image.search_path().map(ToOwned::to_owned),
        },
    }
}
