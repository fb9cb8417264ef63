//! [`Identity`]: the name of one life of one process, which can be stored; and what a [reopen](Reopened) of it comes to.

mod evidence;
mod text;

pub use evidence::{Evidence, StartTime};

use crate::{Error, Pid};
use std::fmt;

/// Names one life of one process, in one line of text: to be written to a file, a database or an environment variable, and to
/// [reopen](crate::ProcessBackend::reopen) the process later, in another program even. A PID alone means whoever has it then.
///
/// It holds the boot, the PID namespace in which the PID counts, the PID, and the [evidence](Identity::evidence) that tells this life of
/// the number from all others.
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::Identity;
/// let text = "life1.705fcf3c983447c9a67801b7c2c496dd.n4026531836.p4711.f38788465.t771043";
/// let identity: Identity = text.parse()?;
/// assert_eq!(identity.pid().as_raw(), 4711);
/// assert_eq!(identity.to_string(), text);
/// # Ok::<(), steadfast::Error>(())
/// ```
///
/// # The text
/// `life1.BOOT.nNAMESPACE.pPID`, and then `.fNUMBER`, the process's number in pidfs, or `.tTICKS`, its start time, or both. A start time
/// that was read within its own tick is `.uTICKS`; see [`StartTime`]. It has letters, digits and dots only: no shell and no file system sees
/// anything in it. There is one text for each identity, at most 113 bytes long. Another version would begin with another word than `life1`.
///
/// # Equality
/// Two identities are equal if they say the same. A process has different ones if they were made on different backends, for a handle without a
/// pidfd sees no number in pidfs; whether two name the same life, [`is_same_life`](Identity::is_same_life) tells.
///
/// With the feature `serde` it is serialized as its text.
#[derive(Clone, PartialEq, Eq, Hash)]
#[doc(alias = "start_time")]
#[doc(alias = "pidfs")]
pub struct Identity {
    boot: BootId,
    namespace: u64,
    pid: Pid,
    evidence: Evidence,
}

/// Which boot of which machine: `/proc/sys/kernel/random/boot_id` (proc_sys_kernel(5)), a random number of each boot; kexec(8) is a boot too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

/// What a name was found to mean now. *Unknown* is neither *Same* nor *Gone*: who takes it for the first may hit a stranger, who takes it for the
/// second may start what still runs.
#[derive(Clone)]
#[allow(clippy::exhaustive_enums, reason = "the five answers: whoever matches on them shall see that none is missing")]
pub enum Reopened<P> {
    /// It is there, and this is the handle. It was opened first and compared then, so that the handle is of what was compared.
    Same {
        /// The handle: of a process that is not a child, unless it is one of this program's.
        process: P,
        /// Whether it has run to its end and is a zombie, for which its parent has not waited yet. It may exit right after the look.
        has_exited: bool,
    },
    /// It was reaped. Its PID may be another's.
    Gone,
    /// It was named in another boot, or on another machine: it does not run here. (A container manager may give each container a boot ID of
    /// its own. Then this is what another container's name comes to.)
    OtherBoot,
    /// Its PID counts in another PID namespace than the caller's. It may live there.
    OtherNamespace,
    /// Whether it is there cannot be known, and this is why: a call that failed, such as `EMFILE`, or [`Error::UnknownIdentity`].
    Unknown(Error),
}

impl Identity {
    /// For authors of a backend: of the process that has this PID in that PID namespace (the inode of `/proc/self/ns/pid`).
    pub fn new(boot: BootId, namespace: u64, pid: Pid, evidence: Evidence) -> Identity {
        Identity { boot, namespace, pid, evidence }
    }

    /// The boot in which it was named.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The PID namespace in which [`pid`](Self::pid) counts: that of whoever has named it, as the inode of `/proc/self/ns/pid`.
    pub fn namespace(&self) -> u64 {
        self.namespace
    }

    /// The PID that it has or had there. Only a number: to act on the process, reopen it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What tells this life of the PID from the others.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Whether both name the same life of the same process; `None` if they do not tell. Makes no system call.
    ///
    /// Numbers in pidfs tell it for certain, from whatever namespace they were seen. Start times tell two lives apart; that two are one only if
    /// both are [exact](StartTime::is_exact).
    pub fn is_same_life(&self, other: &Identity) -> Option<bool> {
        if self.boot != other.boot {
            return Some(false);
        }
        let is_same_number = (self.namespace, self.pid) == (other.namespace, other.pid);
        match (self.evidence.pidfs(), other.evidence.pidfs()) {
            (Some(one), Some(two)) => Some(one == two),
            // Who is seen from another namespace has another number there, or the same by chance.
            _ if self.namespace != other.namespace => None,
            _ if !is_same_number => Some(false),
            _ => self.evidence.start_time()?.is_same(other.evidence.start_time()?),
        }
    }

    /// For authors of a backend: the answer to who is in this boot and this PID namespace, if its PID does not count there. To be asked before
    /// anything is opened.
    pub fn elsewhere<P>(&self, boot: BootId, namespace: u64) -> Option<Reopened<P>> {
        match () {
            () if self.boot != boot => Some(Reopened::OtherBoot),
            () if self.namespace != namespace => Some(Reopened::OtherNamespace),
            () => None,
        }
    }

    /// For authors of a backend: why it cannot be known whether a process is the one that is named.
    pub fn unknown<P>(&self, why: impl Into<String>) -> Reopened<P> {
        Reopened::Unknown(Error::UnknownIdentity { pid: self.pid, why: why.into() })
    }
}

impl BootId {
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> BootId {
        BootId(bytes)
    }

    /// From the kernel's text: 32 digits, with hyphens between them. `None` if it is none.
    pub fn parse(text: &str) -> Option<BootId> {
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
        text::bytes_of(&digits).map(BootId)
    }
}

impl<P> Reopened<P> {
    /// The handle, if it is the same.
    pub fn same(self) -> Option<P> {
        match self {
            Reopened::Same { process, .. } => Some(process),
            _ => None,
        }
    }

    /// With another handle of the same process.
    pub fn map<Q>(self, handle: impl FnOnce(P) -> Q) -> Reopened<Q> {
        match self {
            Reopened::Same { process, has_exited } => Reopened::Same { process: handle(process), has_exited },
            Reopened::Gone => Reopened::Gone,
            Reopened::OtherBoot => Reopened::OtherBoot,
            Reopened::OtherNamespace => Reopened::OtherNamespace,
            Reopened::Unknown(why) => Reopened::Unknown(why),
        }
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({self})")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// The answer, without the handle.
impl<P> fmt::Debug for Reopened<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reopened::Same { has_exited: false, .. } => f.write_str("Same"),
            Reopened::Same { has_exited: true, .. } => f.write_str("Same, it has exited"),
            Reopened::Gone => f.write_str("Gone"),
            Reopened::OtherBoot => f.write_str("OtherBoot"),
            Reopened::OtherNamespace => f.write_str("OtherNamespace"),
            Reopened::Unknown(why) => write!(f, "Unknown: {why}"),
        }
    }
}
