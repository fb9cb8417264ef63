//! [`Pid`]: a process ID that cannot be 0, negative, or larger than Linux ever hands out.

use std::fmt;
use std::num::NonZero;

/// A process ID: between 1 and [`Pid::MAX`]; or [`Pid::UNKNOWN`].
///
/// To `kill(2)`, 0 means the caller's process group, -1 all processes, and -n the process group n. None of
/// these can be a `Pid`, so none of them can reach a system call by way of a wrong number.
///
/// A `Pid` is only a number, which the kernel hands out again once the process has been reaped. To act
/// on a process, hold a [`Process`](crate::Process).
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::Pid;
/// assert_eq!(Pid::new(1)?.as_raw(), 1);
/// assert_eq!("42".parse::<Pid>()?, Pid::try_from(42_u32)?);
/// assert!(Pid::new(0).is_err() && Pid::new(-1).is_err() && Pid::try_from(u32::MAX).is_err());
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZero<i32>);

impl Pid {
    /// The largest PID of any Linux: one below the largest `kernel.pid_max`, 2^22 (proc_sys_kernel(5)).
    pub const MAX: Pid = match NonZero::new((1 << 22) - 1) {
        Some(max) => Pid(max),
        None => unreachable!(),
    };

    /// Of a process that has been reaped, and whose PID nobody tells any more: a pidfd from elsewhere, received too late. No process ever has
    /// this number, so that every call with it, or with its negative, fails with `ESRCH`. It prints as `unknown`, and no text or number is
    /// read as it.
    pub const UNKNOWN: Pid = Pid(NonZero::<i32>::MAX);

    /// If it is one.
    pub(crate) const fn checked(raw: i32) -> Option<Pid> {
        match NonZero::new(raw) {
            Some(pid) if raw > 0 && raw <= Pid::MAX.as_raw() => Some(Pid(pid)),
            _ => None,
        }
    }

    /// The number, for a log or a system call.
    pub const fn as_raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Pid::UNKNOWN { f.pad("unknown") } else { self.0.fmt(f) }
    }
}
