//! What shuts a process in: [`SeccompFilter`], [`SecureBits`], [`IoPriority`]; and [`Wall`], what a kernel may lack of it.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What shuts a process in and is not on every kernel: it can be insisted on, or asked for [if possible](crate::Attributes::walls_if_possible).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Wall {
    /// A set of Landlock's rules (landlock(7)).
    Landlock,
    /// A filter of system calls (seccomp(2)).
    Seccomp,
    /// An I/O priority (ioprio_set(2)).
    IoPriority,
    /// That children do not inherit what favours it (`SCHED_FLAG_RESET_ON_FORK`, sched_setattr(2)).
    ResetOnFork,
}

impl Wall {
    /// All.
    pub const ALL: [Wall; 4] = [Wall::Landlock, Wall::Seccomp, Wall::IoPriority, Wall::ResetOnFork];

    /// The system call that puts it up, which is also the step's name in an error.
    pub const fn call(self) -> &'static str {
        match self {
            Wall::Landlock => "landlock_restrict_self",
            Wall::Seccomp => "seccomp",
            Wall::IoPriority => "ioprio_set",
            Wall::ResetOnFork => "sched_setattr",
        }
    }

    /// The Linux that has brought that call.
    pub const fn since(self) -> &'static str {
        match self {
            Wall::Landlock => "5.13",
            Wall::Seccomp => "3.17",
            Wall::IoPriority => "2.6.13",
            Wall::ResetOnFork => "3.14",
        }
    }

    /// What a kernel that is new enough may have been built or started without.
    pub(crate) const fn switch(self) -> &'static str {
        match self {
            Wall::Landlock => "with CONFIG_SECURITY_LANDLOCK, and `landlock` in the list of its boot parameter lsm=",
            Wall::Seccomp => {
                "with CONFIG_SECCOMP_FILTER; the flag to log came with 4.14, that to allow speculation with 4.17, a listener with 5.0"
            }
            Wall::IoPriority => "with CONFIG_BLOCK",
            Wall::ResetOnFork => "without a filter that refuses the call",
        }
    }
}

/// `Landlock`, `seccomp`, `an I/O priority`, `reset-on-fork`
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Wall::Landlock => "Landlock",
            Wall::Seccomp => "seccomp",
            Wall::IoPriority => "an I/O priority",
            Wall::ResetOnFork => "reset-on-fork",
        })
    }
}

/// One instruction of a filter: `struct sock_filter` (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the kernel's")]
#[repr(C)]
pub struct SeccompInstruction {
    /// What it does.
    pub code: u16,
    /// How many to skip if true.
    pub jt: u8,
    /// How many to skip if false.
    pub jf: u8,
    /// Its argument.
    pub k: u32,
}

/// `(code, jt, jf, k)`
impl From<(u16, u8, u8, u32)> for SeccompInstruction {
    fn from((code, jt, jf, k): (u16, u8, u8, u32)) -> SeccompInstruction {
        SeccompInstruction { code, jt, jf, k }
    }
}

/// A filter of system calls (seccomp(2)), as some other crate has compiled it: here it is only installed.
///
/// A program of the crate `seccompiler` is a list of structures with these four fields:
/// `SeccompFilter::new(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)))`.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::SeccompFilter;
/// let allow_all = SeccompFilter::new([(0x06, 0, 0, 0x7fff_0000)]);
/// assert_eq!(allow_all.instructions().len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct SeccompFilter {
    instructions: Arc<[SeccompInstruction]>,
    log: bool,
    allow_speculation: bool,
    listener: Option<Arc<OwnedFd>>,
}

impl SeccompFilter {
    /// More instructions than that the kernel does not take (`BPF_MAXINSNS`).
    pub const MOST: usize = 4096;

    /// Of these instructions.
    pub fn new(instructions: impl IntoIterator<Item = impl Into<SeccompInstruction>>) -> SeccompFilter {
        let instructions = instructions.into_iter().map(Into::into).collect();
        SeccompFilter { instructions, log: false, allow_speculation: false, listener: None }
    }

    /// Whether the kernel logs what it refuses by this filter (`SECCOMP_FILTER_FLAG_LOG`, Linux 4.14).
    pub fn log(mut self, log: bool) -> SeccompFilter {
        self.log = log;
        self
    }

    /// Whether the process goes without the protection from Spectre that comes with a filter, and is faster for it (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`,
    /// Linux 4.17).
    pub fn allow_speculation(mut self, allow: bool) -> SeccompFilter {
        self.allow_speculation = allow;
        self
    }

    /// Sends the filter's listener through this Unix socket, in a message of one byte with the descriptor beside it (`SCM_RIGHTS`, unix(7)): what the
    /// filter answers with `SECCOMP_RET_USER_NOTIF`, whoever has the listener decides (`SECCOMP_FILTER_FLAG_NEW_LISTENER`, Linux 5.0;
    /// seccomp_unotify(2)).
    ///
    /// The child sends it at once, before it executes its program. If the filter notifies of execve(2) too, that waits for an answer, and the spawn waits
    /// for that: so let another thread, or process, receive from the socket's other end before the spawn begins. The filter must let `sendmsg` through: what
    /// would it be asked by, while nobody has the listener? There is one listener in a chain of filters.
    pub fn listener(mut self, socket: impl Into<OwnedFd>) -> SeccompFilter {
        self.listener = Some(Arc::new(socket.into()));
        self
    }

    /// Its instructions.
    pub fn instructions(&self) -> &[SeccompInstruction] {
        &self.instructions
    }

    /// Whether the kernel logs.
    pub fn logs(&self) -> bool {
        self.log
    }

    /// Whether speculation is allowed.
    pub fn allows_speculation(&self) -> bool {
        self.allow_speculation
    }

    /// Where its listener is sent.
    pub fn listener_socket(&self) -> Option<&Arc<OwnedFd>> {
        self.listener.as_ref()
    }
}

/// Securebits (capabilities(7)): what being root does not mean any more. `SecureBits::NOROOT | SecureBits::NOROOT_LOCKED`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SecureBits(u32);

impl SecureBits {
    /// A program of root's, or with root's set-user-ID bit, gets no capabilities by that.
    pub const NOROOT: SecureBits = SecureBits(1);
    /// [`NOROOT`](Self::NOROOT) stays as it is.
    pub const NOROOT_LOCKED: SecureBits = SecureBits(1 << 1);
    /// A change of user between root and others changes no capabilities.
    pub const NO_SETUID_FIXUP: SecureBits = SecureBits(1 << 2);
    /// [`NO_SETUID_FIXUP`](Self::NO_SETUID_FIXUP) stays as it is.
    pub const NO_SETUID_FIXUP_LOCKED: SecureBits = SecureBits(1 << 3);
    /// `PR_SET_KEEPCAPS` stays as it is.
    pub const KEEP_CAPS_LOCKED: SecureBits = SecureBits(1 << 5);
    /// No capability becomes ambient any more (Linux 4.3).
    pub const NO_CAP_AMBIENT_RAISE: SecureBits = SecureBits(1 << 6);
    /// [`NO_CAP_AMBIENT_RAISE`](Self::NO_CAP_AMBIENT_RAISE) stays as it is.
    pub const NO_CAP_AMBIENT_RAISE_LOCKED: SecureBits = SecureBits(1 << 7);

    const NAMES: [(SecureBits, &'static str); 7] = [
        (SecureBits::NOROOT, "NOROOT"),
        (SecureBits::NOROOT_LOCKED, "NOROOT_LOCKED"),
        (SecureBits::NO_SETUID_FIXUP, "NO_SETUID_FIXUP"),
        (SecureBits::NO_SETUID_FIXUP_LOCKED, "NO_SETUID_FIXUP_LOCKED"),
        (SecureBits::KEEP_CAPS_LOCKED, "KEEP_CAPS_LOCKED"),
        (SecureBits::NO_CAP_AMBIENT_RAISE, "NO_CAP_AMBIENT_RAISE"),
        (SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED, "NO_CAP_AMBIENT_RAISE_LOCKED"),
    ];

    /// These bits of the kernel's, known here or not (`SECBIT_…`).
    pub const fn from_raw(bits: u32) -> SecureBits {
        SecureBits(bits)
    }

    /// The kernel's bits.
    pub const fn as_raw(self) -> u32 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: SecureBits) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for SecureBits {
    type Output = SecureBits;
    fn bitor(self, other: SecureBits) -> SecureBits {
        SecureBits(self.0 | other.0)
    }
}

/// The names, such as `NOROOT|NOROOT_LOCKED`, and in hexadecimal what has none.
impl fmt::Display for SecureBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::NAMES.iter().filter(|(one, _)| self.contains(*one));
        let rest = known.clone().fold(self.0, |rest, (one, _)| rest & !one.0);
        let mut names: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
        if rest != 0 {
            names.push(format!("{rest:#x}"));
        }
        f.write_str(&names.join("|"))
    }
}

impl fmt::Debug for SecureBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecureBits({self})")
    }
}

/// An I/O priority (ioprio_set(2)): which of those who wait for a disk is served first, if its scheduler asks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoPriority {
    /// Before all others; 0 (first) to 7. It takes `CAP_SYS_NICE`, before Linux 5.14 `CAP_SYS_ADMIN`.
    RealTime(u8),
    /// As usual; 0 (first) to 7. Who has none set is at 4, more or less by its nice value.
    BestEffort(u8),
    /// When nobody else wants the disk.
    Idle,
}

impl IoPriority {
    /// The level within its class.
    pub const fn level(self) -> u8 {
        match self {
            IoPriority::RealTime(level) | IoPriority::BestEffort(level) => level,
            IoPriority::Idle => 0,
        }
    }

    /// The kernel's number (`IOPRIO_PRIO_VALUE`).
    pub const fn as_raw(self) -> u32 {
        let class = match self {
            IoPriority::RealTime(_) => 1,
            IoPriority::BestEffort(_) => 2,
            IoPriority::Idle => 3,
        };
        class << 13 | self.level() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_kernels_and_printed_as_people_know_them() {
        let both = SecureBits::NOROOT | SecureBits::NOROOT_LOCKED;
        assert_eq!((both.as_raw(), both.to_string().as_str()), (3, "NOROOT|NOROOT_LOCKED"));
        assert_eq!((both | SecureBits::from_raw(0x100)).to_string(), "NOROOT|NOROOT_LOCKED|0x100");
        assert_eq!(
            [IoPriority::RealTime(3), IoPriority::BestEffort(7), IoPriority::Idle].map(IoPriority::as_raw),
            [0x2003, 0x4007, 0x6000]
        );
        assert_eq!(size_of::<SeccompInstruction>(), 8);
    }
}
