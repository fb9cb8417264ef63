//! What comes from outside: numbers that are to be PIDs, and errors in which an errno is to be found.

use crate::{Errno, Error, Pid, Result};
use std::str::FromStr;

impl Pid {
    /// Checks a number.
    ///
    /// # Errors
    /// [`Error::InvalidPid`] if it is not between 1 and [`Pid::MAX`].
    pub fn new(raw: i32) -> Result<Pid> {
        Pid::checked(raw).ok_or_else(|| Error::InvalidPid { given: raw.to_string() })
    }
}

impl Errno {
    /// Finds the errno of an error: of an [`std::io::Error`], of an [`Error`], also inside of an `io::Error`, or of the source of such an error.
    ///
    /// ```
    /// use steadfast_core::{Errno, Pid};
    /// let error = std::io::Error::from(steadfast_core::Error::NoChild { pid: Pid::MAX });
    /// assert_eq!(error.raw_os_error(), None);                             // the sentence is inside, and then it has no number
    /// assert_eq!(Errno::of(&error), Some(Errno::CHILD));
    /// ```
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.errno();
        }
        if let Some(errno) = error.downcast_ref::<Errno>() {
            return Some(*errno);
        }
        let io = error.downcast_ref::<std::io::Error>();
        match (io.and_then(std::io::Error::raw_os_error), io.and_then(std::io::Error::get_ref)) {
            (Some(raw), _) => Some(Errno::from_raw(raw)),
            (None, Some(inside)) => Errno::of(inside),
            (None, None) => Errno::of(error.source()?),
        }
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
