//! [`Pid`]: a process ID that cannot be 0, negative, or larger than Linux ever hands out.

use crate::{Error, Result};
use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

/// A process ID: between 1 and [`Pid::MAX`].
///
/// To `kill(2)`, 0 means one's own process group, -1 everybody, and -n the process group n. None of
/// these can be a `Pid`, so none of them can reach a system call by way of a wrong number.
///
/// A `Pid` is only a number, which the kernel hands out again once the process has been reaped. To act
/// on a process, hold a [`Process`](crate::Process).
///
/// ```
/// use steadfast_core::Pid;
/// assert_eq!(Pid::new(1)?.as_raw(), 1);
/// assert_eq!("42".parse::<Pid>()?, Pid::try_from(42_u32)?);
/// assert!(Pid::new(0).is_err() && Pid::new(-1).is_err() && Pid::try_from(u32::MAX).is_err());
/// # Ok::<(), steadfast_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZero<i32>);

impl Pid {
    /// The largest PID of any Linux: one below the largest `kernel.pid_max`, 2^22 (proc_sys_kernel(5)).
    pub const MAX: Pid = match NonZero::new((1 << 22) - 1) {
        Some(max) => Pid(max),
        None => unreachable!(),
    };

    /// Checks a number.
    ///
    /// # Errors
    /// [`Error::InvalidPid`] if it is not between 1 and [`Pid::MAX`].
    pub fn new(raw: i32) -> Result<Pid> {
        match NonZero::new(raw) {
            Some(pid) if raw > 0 && raw <= Pid::MAX.as_raw() => Ok(Pid(pid)),
            _ => Err(Error::InvalidPid { given: raw.to_string() }),
        }
    }

    /// The number, for a log or a system call.
    pub const fn as_raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<i32> for Pid {
    type Error = Error;
    fn try_from(raw: i32) -> Result<Pid> {
        Pid::new(raw)
    }
}

/// For the PIDs of std, which are `u32`.
impl TryFrom<u32> for Pid {
    type Error = Error;
    fn try_from(raw: u32) -> Result<Pid> {
        let given = || Error::InvalidPid { given: raw.to_string() };
        i32::try_from(raw).map_err(|_| given()).and_then(Pid::new)
    }
}

impl FromStr for Pid {
    type Err = Error;
    fn from_str(text: &str) -> Result<Pid> {
        let given = || Error::InvalidPid { given: format!("{text:?}") };
        text.parse::<i32>().map_err(|_| given()).and_then(|raw| Pid::new(raw).map_err(|_| given()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_kill_would_broadcast_to_are_no_pids() {
        for raw in [0, -1, i32::MIN, Pid::MAX.as_raw() + 1, i32::MAX] {
            let error = Pid::new(raw).unwrap_err();
            assert!(error.to_string().contains(&raw.to_string()), "{error}");
        }
        assert!("".parse::<Pid>().is_err() && "1 ".parse::<Pid>().is_err() && "0".parse::<Pid>().is_err());
    }

    #[test]
    fn both_ends_of_the_range_are_pids() {
        assert_eq!(Pid::new(1).unwrap().to_string(), "1");
        assert_eq!("4194303".parse::<Pid>().unwrap(), Pid::MAX);
    }
}
