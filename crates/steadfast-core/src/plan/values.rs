//! The values that attributes take: limits, policies, namespaces, capabilities, signal sets.

use crate::Signal;
use std::fmt;
use std::ops::BitOr;
use std::time::Duration;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident($kind:ty): $($constant:ident = $number:literal $meaning:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($kind);

        impl $name {
            $(#[doc = $meaning] pub const $constant: $name = $name($number);)*
            const NAMES: &'static [(&'static str, $kind)] = &[$((stringify!($constant), $number)),*];

            /// The kernel's number.
            pub const fn as_raw(self) -> $kind {
                self.0
            }
        }
    };
}

numbered! {
    /// A resource that can be limited (getrlimit(2)); the numbers are those of the architectures with the generic ones.
    Resource(u32):
    CPU = 0 "CPU time, in seconds: `SIGXCPU` at the soft limit, `SIGKILL` at the hard one."
    FSIZE = 1 "Size of a file it writes, in bytes: `SIGXFSZ`, `EFBIG`."
    DATA = 2 "Data segment, in bytes."
    STACK = 3 "Stack of the first thread, and with it the room for arguments and environment, in bytes."
    CORE = 4 "Core dump, in bytes; 0: none."
    RSS = 5 "Resident set, in bytes; without effect since Linux 2.4.30."
    NPROC = 6 "Threads of the user."
    NOFILE = 7 "Descriptors: one more than the highest number."
    MEMLOCK = 8 "Locked memory, in bytes."
    AS = 9 "Address space, in bytes."
    LOCKS = 10 "File locks; without effect since Linux 2.4.25."
    SIGPENDING = 11 "Queued signals of the user."
    MSGQUEUE = 12 "POSIX message queues of the user, in bytes."
    NICE = 13 "How far its nice value may be lowered: to 20 minus this."
    RTPRIO = 14 "Real-time priority."
    RTTIME = 15 "CPU time without a blocking call under a real-time policy, in microseconds."
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "RLIMIT_{name}"),
            None => write!(f, "resource {}", self.0),
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A soft and a hard limit: the process may move the soft one up to the hard one, and the hard one down.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::Limit;
/// assert_eq!(Limit::from(1024), Limit::new(1024, 1024));
/// assert_eq!(Limit::new(0, Limit::INFINITY).to_string(), "0, at most unlimited");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a limit is these two numbers")]
pub struct Limit {
    /// What the kernel holds the process to.
    pub soft: u64,
    /// How far the process itself may raise it.
    pub hard: u64,
}

impl Limit {
    /// No limit (`RLIM_INFINITY`).
    pub const INFINITY: u64 = u64::MAX;

    /// Both limits.
    pub const fn new(soft: u64, hard: u64) -> Limit {
        Limit { soft, hard }
    }
}

/// Soft and hard alike.
impl From<u64> for Limit {
    fn from(both: u64) -> Limit {
        Limit::new(both, both)
    }
}

/// Soft and hard.
impl From<(u64, u64)> for Limit {
    fn from((soft, hard): (u64, u64)) -> Limit {
        Limit::new(soft, hard)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: u64| if n == Limit::INFINITY { "unlimited".to_owned() } else { n.to_string() };
        if self.soft == self.hard {
            return f.write_str(&number(self.soft));
        }
        write!(f, "{}, at most {}", number(self.soft), number(self.hard))
    }
}

/// How a process is scheduled (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheduling {
    /// The usual one (`SCHED_OTHER`).
    Other,
    /// For work that nobody waits for (`SCHED_BATCH`).
    Batch,
    /// When nothing else wants to run (`SCHED_IDLE`).
    Idle,
    /// Real-time, first in first out, with a priority of 1 to 99 (`SCHED_FIFO`).
    Fifo(u8),
    /// Real-time in time slices, with a priority of 1 to 99 (`SCHED_RR`).
    RoundRobin(u8),
    /// By deadlines (`SCHED_DEADLINE`): in every `period`, `runtime` of CPU time before `deadline` has passed.
    Deadline {
        /// CPU time.
        runtime: Duration,
        /// From the period's begin.
        deadline: Duration,
        /// From begin to begin.
        period: Duration,
    },
}

/// A set of namespaces (namespaces(7)): `Namespaces::USER | Namespaces::PID`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Namespaces(u32);

impl Namespaces {
    /// Time: the monotonic and the boot clock (Linux 5.6); only by unshare.
    pub const TIME: Namespaces = Namespaces(0x80);
    /// Mounts.
    pub const MOUNT: Namespaces = Namespaces(0x2_0000);
    /// Cgroup root.
    pub const CGROUP: Namespaces = Namespaces(0x200_0000);
    /// Host and domain name.
    pub const UTS: Namespaces = Namespaces(0x400_0000);
    /// System V IPC and POSIX message queues.
    pub const IPC: Namespaces = Namespaces(0x800_0000);
    /// Users, groups and capabilities.
    pub const USER: Namespaces = Namespaces(0x1000_0000);
    /// Process IDs.
    pub const PID: Namespaces = Namespaces(0x2000_0000);
    /// Network.
    pub const NET: Namespaces = Namespaces(0x4000_0000);

    const NAMES: [(Namespaces, &'static str); 8] = [
        (Namespaces::USER, "USER"),
        (Namespaces::MOUNT, "MOUNT"),
        (Namespaces::PID, "PID"),
        (Namespaces::NET, "NET"),
        (Namespaces::IPC, "IPC"),
        (Namespaces::UTS, "UTS"),
        (Namespaces::CGROUP, "CGROUP"),
        (Namespaces::TIME, "TIME"),
    ];

    /// The kernel's bits (`CLONE_NEW…`).
    pub const fn as_raw(self) -> u32 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    pub const fn and(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 & other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Namespaces) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Namespaces {
    type Output = Namespaces;
    fn bitor(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
}

/// The names, such as `USER|PID`.
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(one, _)| self.contains(*one)).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join("|"))
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespaces({self})")
    }
}

/// What becomes of mounts in a new mount namespace, all of them (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MountPropagation {
    /// What is mounted inside is not seen outside, nor the other way round (`MS_PRIVATE`).
    #[default]
    Private,
    /// What is mounted outside is seen inside, and not the other way round (`MS_SLAVE`).
    Slave,
    /// As the kernel leaves it: where the caller's mounts are shared, as systemd has them, what is mounted inside is seen outside too; but
    /// `Slave` if the user namespace is new as well.
    Unchanged,
}

/// A range of IDs in a user namespace (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a line of a map is these three numbers")]
pub struct IdMap {
    /// The first ID inside.
    pub inside: u32,
    /// The first ID outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

numbered! {
    /// A capability (capabilities(7)).
    Capability(u8):
    CHOWN = 0 "Change owners of files."
    DAC_OVERRIDE = 1 "Bypass permissions of files."
    DAC_READ_SEARCH = 2 "Bypass permissions for reading and searching."
    FOWNER = 3 "Do what the owner of a file may."
    FSETID = 4 "Keep set-ID bits when a file changes."
    KILL = 5 "Signal anybody's processes."
    SETGID = 6 "Set group IDs."
    SETUID = 7 "Set user IDs."
    SETPCAP = 8 "Change capability sets."
    LINUX_IMMUTABLE = 9 "Make files immutable."
    NET_BIND_SERVICE = 10 "Bind ports below 1024."
    NET_BROADCAST = 11 "Unused."
    NET_ADMIN = 12 "Administer the network."
    NET_RAW = 13 "Raw and packet sockets."
    IPC_LOCK = 14 "Lock memory."
    IPC_OWNER = 15 "Bypass permissions of System V IPC."
    SYS_MODULE = 16 "Load kernel modules."
    SYS_RAWIO = 17 "I/O ports and raw devices."
    SYS_CHROOT = 18 "chroot(2), and entering mount namespaces."
    SYS_PTRACE = 19 "Trace anybody's processes."
    SYS_PACCT = 20 "Process accounting."
    SYS_ADMIN = 21 "Administer the system."
    SYS_BOOT = 22 "Reboot."
    SYS_NICE = 23 "Lower nice values, real-time policies, affinity of others."
    SYS_RESOURCE = 24 "Override resource limits."
    SYS_TIME = 25 "Set the clock."
    SYS_TTY_CONFIG = 26 "Configure terminals."
    MKNOD = 27 "Make device files."
    LEASE = 28 "Leases on files."
    AUDIT_WRITE = 29 "Write to the audit log."
    AUDIT_CONTROL = 30 "Configure auditing."
    SETFCAP = 31 "Set file capabilities."
    MAC_OVERRIDE = 32 "Override mandatory access control."
    MAC_ADMIN = 33 "Configure mandatory access control."
    SYSLOG = 34 "Read the kernel's log."
    WAKE_ALARM = 35 "Timers that wake the system."
    BLOCK_SUSPEND = 36 "Keep the system awake."
    AUDIT_READ = 37 "Read the audit log."
    PERFMON = 38 "Performance counters."
    BPF = 39 "BPF."
    CHECKPOINT_RESTORE = 40 "Checkpoint and restore."
}

impl Capability {
    /// The capability of this number, known here or not.
    pub const fn from_raw(number: u8) -> Capability {
        Capability(number)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "CAP_{name}"),
            None => write!(f, "capability {}", self.0),
        }
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of signals.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::{Signal, SignalSet};
/// let set = SignalSet::from_iter([Signal::TERM, Signal::HUP]);
/// assert!(set.contains(Signal::HUP) && !set.contains(Signal::INT));
/// assert_eq!(set.to_string(), "SIGHUP SIGTERM");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);
    /// All 64.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// The same set with this signal.
    pub const fn with(self, signal: Signal) -> SignalSet {
        SignalSet(self.0 | 1 << (signal.as_raw() - 1))
    }

    /// Whether the signal is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << (signal.as_raw() - 1) != 0
    }

    /// The kernel's bits: signal 1 is the lowest.
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> SignalSet {
        signals.into_iter().fold(SignalSet::EMPTY, SignalSet::with)
    }
}

impl fmt::Display for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Signal::all().filter(|signal| self.contains(*signal)).map(|signal| signal.to_string());
        f.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}

/// What a signal does in the new process (signal(7)). It cannot have a handler: those do not survive the execution of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "signal(7) has no third")]
pub enum Disposition {
    /// The signal's default action.
    Default,
    /// Nothing.
    Ignore,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_as_people_know_them() {
        assert_eq!(Resource::NOFILE.to_string(), "RLIMIT_NOFILE");
        assert_eq!(Limit::from(Limit::INFINITY).to_string(), "unlimited");
        assert_eq!((Namespaces::PID | Namespaces::USER).to_string(), "USER|PID");
        assert_eq!(Capability::NET_BIND_SERVICE.to_string(), "CAP_NET_BIND_SERVICE");
        assert_eq!(SignalSet::EMPTY.to_string(), "");
    }

    #[test]
    fn all_64_signals_have_a_bit_of_their_own() {
        assert_eq!(Signal::all().collect::<SignalSet>(), SignalSet::ALL);
        assert_eq!(SignalSet::EMPTY.with(Signal::HUP).as_raw(), 1);
        assert_eq!(SignalSet::EMPTY.with(Signal::RTMAX).as_raw(), 1 << 63);
    }
}
