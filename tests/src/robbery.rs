//! A hostile user: this program as root starts programs as another user, whose processes try to read and to overwrite its memory, and to
//! take its descriptors, at every moment between clone and exec. They must get nothing.
//!
//! The thieves are processes of that user, without any privilege. They learn from a shared file which PID comes next, and where the
//! secret lies; an attacker of the real world guesses both.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::fstat;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use steadfast::{Child, Command, Errno, Pid, Signal, Stdio, System};
use steadfast_linux::Door;

/// What nobody else is to read or to change.
static SECRET: AtomicU64 = AtomicU64::new(0);
const VALUE: u64 = 0x005e_c2e7_005e_c2e7;

/// The user that programs are started as, and that the thieves are.
pub const USER: u32 = 1000;

/// The number that the file has in a thief.
const MAILBOX: i32 = 9;
/// Places in it: what the victim says, and where the thieves begin to count.
const NEXT_PID: u64 = 0;
const COUNTS: u64 = 8;

/// What a thief tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trade {
    /// Reads and overwrites the memory.
    Memory,
    /// Takes descriptors.
    Descriptors,
    /// Takes descriptors of children that it kills meanwhile, which the kernel allows the new user.
    Killer,
}

/// What was tried and what was had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booty {
    /// How often somebody tried.
    pub attempts: u64,
    /// How often the secret was read.
    pub read: u64,
    /// How often it was overwritten.
    pub written: u64,
    /// How often a descriptor was taken.
    pub taken: u64,
}

impl Booty {
    /// Whether nothing was had.
    pub fn is_nothing(self) -> bool {
        (self.read, self.written, self.taken) == (0, 0, 0)
    }
}

/// Has a program started so many times as [`USER`], with thieves of these trades about. `rob` is a program that calls [`thief`] with the
/// words behind its first one, which is `thief`.
///
/// # Errors
/// If it cannot be arranged, with the reason.
pub fn beside_thieves(
    rob: &Path,
    trades: &[Trade],
    spawns: u64,
    mut start: impl FnMut() -> Result<(), String>,
) -> Result<Booty, String> {
    if !Uid::effective().is_root() {
        return Err("only root can start programs as another user".into());
    }
    let thieves = Thieves::start(rob, trades)?;
    for _ in 0..spawns {
        // The next one is a child of ours, or of nobody.
        thieves.learn_next()?;
        start()?;
    }
    thieves.caught()
}

fn next_pid() -> Result<u64, String> {
    const FILE: &str = "/proc/sys/kernel/ns_last_pid";
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    text.trim().parse::<u64>().map(|last| last + 1).map_err(|error| format!("{FILE}: {error}"))
}

/// Thieves at work.
pub struct Thieves {
    thieves: Vec<Child>,
    mailbox: File,
    /// What the thieves of descriptors want.
    _vault: OwnedFd,
}

impl Thieves {
    /// Sets them to work: when this returns, each has tried once. `rob` as for [`beside_thieves`].
    ///
    /// # Errors
    /// If it cannot be arranged, with the reason.
    pub fn start(rob: &Path, trades: &[Trade]) -> Result<Thieves, String> {
        SECRET.store(VALUE, Ordering::SeqCst);
        let vault = memfd_create("vault", MFdFlags::MFD_CLOEXEC).map_err(|errno| format!("memfd_create: {errno}"))?;
        let mailbox = memfd_create("mailbox", MFdFlags::MFD_CLOEXEC).map_err(|errno| format!("memfd_create: {errno}"))?;
        let inode = fstat(&vault).map_err(|errno| format!("fstat: {errno}"))?.st_ino;
        let numbers = [SECRET.as_ptr().addr() as u64, vault.as_raw_fd() as u64, inode];
        let mut all = Thieves { thieves: Vec::new(), mailbox: File::from(mailbox), _vault: vault };
        // All of it is there, or a look would read less.
        all.mailbox.set_len(4096).map_err(|error| error.to_string())?;
        all.learn_next()?;
        for (index, trade) in trades.iter().enumerate() {
            let mut command = Command::new(rob);
            command.arg("thief").arg(format!("{trade:?}")).arg(index.to_string()).args(numbers.map(|number| number.to_string()));
            command.fd(MAILBOX, all.mailbox.try_clone().map_err(|error| error.to_string())?).parent_death_signal(Signal::KILL);
            command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
            all.thieves.push(command.spawn().map_err(|error| error.to_string())?);
        }
        // They have begun when each has tried once.
        for (index, thief) in all.thieves.iter().enumerate() {
            while counts(&all.mailbox, index as u64)?[0] == 0 {
                if let Some(status) = thief.try_wait().map_err(|error| error.to_string())? {
                    return Err(format!("a thief has gone: {status}"));
                }
                std::thread::yield_now();
            }
        }
        Ok(all)
    }

    /// Tells them which PID comes next.
    ///
    /// # Errors
    /// The file that could not be read.
    pub fn learn_next(&self) -> Result<(), String> {
        self.mailbox.write_all_at(&next_pid()?.to_ne_bytes(), NEXT_PID * 8).map_err(|error| error.to_string())
    }

    /// Ends them, and counts.
    ///
    /// # Errors
    /// What a wait for them said.
    pub fn caught(&self) -> Result<Booty, String> {
        let mut all = Booty::default();
        for (index, thief) in self.thieves.iter().enumerate() {
            thief.kill().and_then(|()| thief.wait()).map_err(|error| error.to_string())?;
            let [attempts, read, written, taken] = counts(&self.mailbox, index as u64)?;
            all.attempts += attempts;
            all.read += read;
            all.written += written;
            all.taken += taken;
        }
        let intact = SECRET.load(Ordering::SeqCst) == VALUE;
        // Once is enough, whatever the thief believes.
        Ok(Booty { written: all.written.max(u64::from(!intact)), ..all })
    }
}

/// Attempts, read, written, taken.
fn counts(mailbox: &File, thief: u64) -> Result<[u64; 4], String> {
    let mut bytes = [0; 32];
    mailbox.read_exact_at(&mut bytes, (COUNTS + 4 * thief) * 8).map_err(|error| error.to_string())?;
    let word = |index: usize| bytes[index * 8..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    Ok([word(0), word(1), word(2), word(3)])
}

/// What a thief does, until it is killed: the words behind `thief`.
///
/// # Errors
/// If they are no words for a thief.
pub fn thief(words: &[&str]) -> Result<(), String> {
    let [trade, index, address, number, inode] = words else { return Err("thief TRADE INDEX ADDRESS FD INODE".into()) };
    let trade = [Trade::Memory, Trade::Descriptors, Trade::Killer].into_iter().find(|known| format!("{known:?}") == *trade);
    let trade = trade.ok_or("there is no such trade")?;
    let number_of = |word: &str| word.parse::<u64>().map_err(|error| error.to_string());
    let (index, address, number, inode) = (number_of(index)?, number_of(address)?, number_of(number)? as i32, number_of(inode)?);
    let mailbox = File::options().read(true).write(true).open(format!("/proc/self/fd/{MAILBOX}"));
    let mailbox = mailbox.map_err(|error| format!("the mailbox: {error}"))?;
    let drop_all = || setgroups(&[]).and_then(|()| setgid(Gid::from_raw(USER))).and_then(|()| setuid(Uid::from_raw(USER)));
    drop_all().map_err(|errno| format!("to become a user: {errno}"))?;
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err("it still is root".into());
    }
    let mut counts = [0_u64; 4];
    let mut bytes = [0; 8];
    loop {
        mailbox.read_exact_at(&mut bytes, NEXT_PID * 8).map_err(|error| error.to_string())?;
        let Ok(next) = Pid::new(u64::from_ne_bytes(bytes) as i32) else { continue };
        // Now and then the victim itself, which is there all the time; a killer leaves it alone.
        let victim = (counts[0] % 16 == 15 && trade != Trade::Killer).then(|| Pid::new(nix::unistd::getppid().as_raw()).ok());
        let pid = victim.flatten().unwrap_or(next);
        counts[0] += 1;
        match trade {
            Trade::Memory => {
                let (read, written) = steal_memory(pid, address as usize);
                counts[1] += u64::from(read);
                counts[2] += u64::from(written);
            }
            Trade::Descriptors => counts[3] += u64::from(steal_descriptor(pid, number, inode)),
            Trade::Killer => {
                let raw = nix::unistd::Pid::from_raw(pid.as_raw());
                // It is this user's, or nobody's that may be killed.
                if raw != nix::unistd::getpid() && nix::sys::signal::kill(raw, nix::sys::signal::Signal::SIGKILL).is_ok() {
                    counts[3] += u64::from((0..100).any(|_| steal_descriptor(pid, number, inode)));
                }
            }
        }
        let all: Vec<u8> = counts.iter().flat_map(|count| count.to_ne_bytes()).collect();
        mailbox.write_all_at(&all, (COUNTS + 4 * index) * 8).map_err(|error| error.to_string())?;
    }
}

fn steal_memory(pid: Pid, address: usize) -> (bool, bool) {
    let pid = nix::unistd::Pid::from_raw(pid.as_raw());
    let remote = [RemoteIoVec { base: address, len: 8 }];
    let mut seen = [0; 8];
    if process_vm_readv(pid, &mut [IoSliceMut::new(&mut seen)], &remote) != Ok(8) || u64::from_ne_bytes(seen) != VALUE {
        return (false, false);
    }
    let new = 0xbad_u64.to_ne_bytes();
    (true, process_vm_writev(pid, &[IoSlice::new(&new)], &remote) == Ok(8))
}

fn steal_descriptor(pid: Pid, number: i32, inode: u64) -> bool {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let Some(pid) = rustix::process::Pid::from_raw(pid.as_raw()) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let taken = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
    taken.is_ok_and(|fd| fstat(&fd).is_ok_and(|stat| stat.st_ino == inode))
}

/// A way in which robbers may come by something: its name, whether the program exists, who is about, and what else is asked for.
pub struct Scene {
    /// For people.
    pub name: String,
    /// How the children are made.
    pub door: Door,
    program: Option<&'static str>,
    trades: &'static [Trade],
    /// This program says all the time that it may be dumped (`PR_SET_DUMPABLE` 1), and with it the child that shares its memory.
    is_dumpable: bool,
}

impl Scene {
    /// All, through these doors.
    pub fn all(doors: &[Door]) -> Vec<Scene> {
        const EVERYBODY: &[Trade] = &[Trade::Memory, Trade::Memory, Trade::Descriptors];
        // One: they may kill each other.
        const KILLERS: &[Trade] = &[Trade::Killer];
        let scene = |what: &str, door: Door, program, trades| Scene {
            name: format!("{what}, by {}", format!("{door:?}").to_lowercase()),
            door,
            program,
            trades,
            is_dumpable: false,
        };
        let through = |door: &Door| {
            [
                scene("a program", *door, None, EVERYBODY),
                scene("a missing program", *door, Some("/no/such"), EVERYBODY),
                scene("a program, killed", *door, None, KILLERS),
                Scene { is_dumpable: true, ..scene("a program, from a dumpable one", *door, None, EVERYBODY) },
            ]
        };
        doors.iter().flat_map(through).collect()
    }

    /// Plays it, with a program that ends at once.
    ///
    /// # Errors
    /// As [`beside_thieves`].
    pub fn play(&self, rob: &Path, quick: &str, spawns: u64) -> Result<Booty, String> {
        let system = System::pidfd_through(self.door).unwrap_or_else(|_| System::pid_legacy_through(self.door));
        let mut command = Command::new(self.program.unwrap_or(quick));
        command.arg("nothing").uid(USER).gid(USER).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut start = || match system.spawn(&command) {
            Ok(child) => child.wait().map(drop).map_err(|error| error.to_string()),
            // As it should be, if there is none.
            Err(error) if self.program.is_some() && error.errno() == Some(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if self.is_dumpable {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) && set_dumpable(true).is_ok() {
                        std::hint::spin_loop();
                    }
                });
            }
            let booty = beside_thieves(rob, self.trades, spawns, &mut start);
            over.store(true, Ordering::SeqCst);
            booty
        })
    }
}
