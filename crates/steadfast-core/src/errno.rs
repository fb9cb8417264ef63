//! [`Errno`]: an error number of Linux, with its name.

use std::fmt;

/// An error number as a system call gives it (errno(3)); `Display` gives the system's words and the number,
/// [`Errno::name`] the constant's name.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::Errno;
/// assert_eq!(Errno::SRCH.name(), Some("ESRCH"));
/// assert_eq!(Errno::SRCH.to_string(), "No such process (os error 3)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal)*) => {
        #[allow(missing_docs, reason = "errno(3) describes them, and so does their Display")]
        impl Errno {
            $(pub const $name: Errno = Errno($number);)*
        }
        const NAMES: &[(i32, &str)] = &[$(($number, concat!("E", stringify!($name)))),*];
    };
}

errnos! {
    PERM = 1 NOENT = 2 SRCH = 3 INTR = 4 IO = 5 NXIO = 6 TOOBIG = 7 NOEXEC = 8 BADF = 9 CHILD = 10
    AGAIN = 11 NOMEM = 12 ACCES = 13 FAULT = 14 NOTBLK = 15 BUSY = 16 EXIST = 17 XDEV = 18 NODEV = 19
    NOTDIR = 20 ISDIR = 21 INVAL = 22 NFILE = 23 MFILE = 24 NOTTY = 25 TXTBSY = 26 FBIG = 27 NOSPC = 28
    SPIPE = 29 ROFS = 30 MLINK = 31 PIPE = 32 DOM = 33 RANGE = 34 DEADLK = 35 NAMETOOLONG = 36 NOLCK = 37
    NOSYS = 38 NOTEMPTY = 39 LOOP = 40 NODATA = 61 LIBACC = 79 LIBBAD = 80 USERS = 87 NOTSOCK = 88 NOPROTOOPT = 92
    PROTONOSUPPORT = 93 OPNOTSUPP = 95 CONNRESET = 104 NOBUFS = 105 TIMEDOUT = 110 STALE = 116 REMOTE = 66
    DQUOT = 122 CANCELED = 125 OWNERDEAD = 130 OVERFLOW = 75 BADFD = 77 HWPOISON = 133
}

impl Errno {
    /// Any number, known or not.
    pub const fn from_raw(raw: i32) -> Errno {
        Errno(raw)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The constant's name, such as `"EPERM"`; `None` for a number that spawning and signalling never give.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// Whether the refusal is of the moment (out of descriptors, memory or processes, or interrupted), so that
    /// it says nothing about what the kernel can do.
    pub const fn is_transient(self) -> bool {
        matches!(self, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR)
    }

    /// Whether the same call may succeed later: [`is_transient`](Self::is_transient), or out of watches (`ENOSPC` of `epoll_ctl`).
    pub fn is_of_the_moment(self) -> bool {
        self.is_transient() || self == Errno::NOSPC
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_watches_is_of_the_moment_and_says_nothing_of_the_kernel() {
        let both = |errno: Errno| (errno.is_transient(), errno.is_of_the_moment());
        assert_eq!(both(Errno::NOSPC), (false, true));
        assert_eq!([Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR].map(both), [(true, true); 5]);
        assert_eq!([Errno::PERM, Errno::NOSYS, Errno::CHILD].map(both), [(false, false); 3]);
    }
}
