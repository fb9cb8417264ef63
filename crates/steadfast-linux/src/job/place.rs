//! [`Place`]: the cgroup in which those of our jobs are made, and [`Leaf`], one of them. Longer than other files: with them come their names, and how
//! they are found and removed again.
//!
//! | cgroup | whose |
//! | --- | --- |
//! | `<place>` | that of this process, or one that was named |
//! | `<place>/steadfast-…` | a [`Roof`]: all jobs of one owner that die with it; or one job that lives on |
//! | `<place>/steadfast-…/7` | a job that dies with its owner |
//!
//! The name of a leaf says whose it is: `steadfast-`, the PID namespace and the time namespace (by their inodes), the PID of the owner, its
//! start time, and a number. So the next program to look there can tell that an owner is gone, and remove what it has left. A name of another
//! namespace says nothing here: its PIDs and times are others, and it is left alone.

use super::keeper::{Duty, Keeper};
use crate::file::{errno, errno_of, open_at, read_at};
use crate::fork::{PerProcess, generation};
use crate::kill::is_free;
use crate::spawn::WantPidfd;
use crate::stat::{ProcStat, is_gone};
use rustix::fs::{self, Access, AtFlags, FileType, Mode, OFlags};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use steadfast_core::{Containment, Errno, Error, Pid};

type Result<T, E = Error> = std::result::Result<T, E>;

/// A call that has failed, and on what.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub(super) call: &'static str,
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

impl Obstacle {
    fn new(call: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Obstacle {
        Obstacle { call, path: path.into(), errno }
    }

    /// As the reason why there is no such job; or as a failure of the moment, which says nothing of what the machine can do.
    pub(super) fn into_error(self) -> Error {
        if self.errno.is_of_the_moment() {
            return Error::System { call: self.call, subject: self.path.display().to_string(), source: self.errno };
        }
        Error::NoContainment { containment: Containment::Cgroup, why: self.to_string(), errno: Some(self.errno) }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.call, self.path.display(), self.errno)?;
        f.write_str(match self.errno {
            Errno::ACCES | Errno::PERM => {
                ": have a cgroup delegated to this user (`Delegate=yes` in a systemd unit), or name one"
            }
            Errno::ROFS => {
                ": the cgroups are mounted read-only, as in a container: have them mounted writable, or name a directory that is"
            }
            Errno::OPNOTSUPP => ": it is a threaded cgroup, in which no process can be started: name another one",
            _ => "",
        })
    }
}

/// A cgroup in which this process makes some.
pub(super) struct Place {
    dir: Arc<OwnedFd>,
    path: PathBuf,
    /// What the names of those begin with.
    prefix: String,
    roof: Mutex<RoofState>,
}

enum RoofState {
    NotYet,
    There(Arc<Roof>),
    /// Why there is none here.
    No(Error),
}

/// A cgroup of this process's, beneath which are those of its jobs that die with it: a keeper kills them all by one write.
struct Roof {
    name: String,
    dir: OwnedFd,
    keeper: Mutex<Keeper>,
    place: PlaceDir,
}

/// What is left to do in a place after the last job there.
struct PlaceDir {
    dir: Arc<OwnedFd>,
    prefix: String,
    generation: u32,
}

/// A cgroup of a job's own.
pub(super) struct Leaf {
    place: Arc<Place>,
    /// `Err`: it lives on when this process is gone, and why.
    roof: Result<Arc<Roof>, Box<Error>>,
    name: String,
    pub(super) dir: Arc<OwnedFd>,
    /// `cgroup.events`, kept open so that it can be read when no descriptor is left.
    pub(super) events: OwnedFd,
}

/// The one beneath our own cgroup, once it was found; and those that were named, while there are jobs in them.
#[derive(Default)]
struct Places {
    own: Option<Arc<Place>>,
    named: HashMap<PathBuf, Weak<Place>>,
}

static PLACES: PerProcess<Mutex<Places>> = PerProcess::new(Mutex::default);
static LAST: AtomicU64 = AtomicU64::new(0);

const EVENTS: &str = "cgroup.events";

/// How often leaves of others are looked for: when a place is found, and at each so many leaves.
const LOOK_EVERY: u64 = 256;

pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leaf {
    /// A new one, in the cgroup of this directory or in our own; with a keeper of this kind, or to live on when this process is gone.
    pub(super) fn new(parent: Option<&Path>, keeper: Option<WantPidfd>) -> Result<Leaf> {
        let place = Place::of(parent)?;
        match place.leaf(keeper) {
            // We were moved, and the cgroup that was ours is removed.
            Err(error) if parent.is_none() && error.errno() == Some(Errno::NOENT) => {
                lock(&PLACES).own = None;
                Place::of(None)?.leaf(keeper)
            }
            leaf => leaf,
        }
    }

    /// Another one in the same place, for who lives on.
    pub(super) fn beside(&self) -> Result<Leaf> {
        self.place.leaf(None)
    }

    pub(super) fn lives_on(&self) -> Option<&Error> {
        self.roof.as_ref().err().map(Box::as_ref)
    }

    pub(super) fn path(&self) -> PathBuf {
        match &self.roof {
            Ok(roof) => self.place.path.join(&roof.name).join(&self.name),
            Err(_) => self.place.path.join(&self.name),
        }
    }

    /// `cgroup.events` once more: what was read through a descriptor is news to nobody else who polls it.
    pub(super) fn open_events(&self) -> Result<OwnedFd, Errno> {
        open_at(&self.dir, EVENTS, OFlags::RDONLY)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        fs::accessat(&self.dir, file, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Removes it, and what was made in it.
    ///
    /// # Errors
    /// `EBUSY` while something lives in it.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        let dir = self.roof.as_ref().map_or(&*self.place.dir, |roof| &roof.dir);
        remove(dir.as_fd(), &self.name, &self.place.prefix)
    }
}

impl Place {
    /// The one that was named, or the one beneath our own cgroup.
    fn of(named: Option<&Path>) -> Result<Arc<Place>> {
        let mut known = lock(&PLACES);
        let found = match named {
            Some(path) => known.named.get(path).and_then(Weak::upgrade),
            None => known.own.clone(),
        };
        if let Some(place) = found {
            return Ok(place);
        }
        let path = named.map_or_else(own_cgroup, |path| Ok(path.to_owned()));
        let place = Arc::new(path.and_then(Place::at).map_err(Obstacle::into_error)?);
        match named {
            Some(path) => {
                known.named.retain(|_, place| place.strong_count() > 0);
                known.named.insert(path.to_owned(), Arc::downgrade(&place));
            }
            None => known.own = Some(Arc::clone(&place)),
        }
        Ok(place)
    }

    fn at(path: PathBuf) -> Result<Place, Obstacle> {
        let dir = fs::open(&path, DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let dir = dir.map_err(|error| Obstacle::new("open", &path, errno(error)))?;
        let system = fs::fstatfs(&dir).map_err(|error| Obstacle::new("statfs", &path, errno(error)))?;
        if system.f_type as i64 != CGROUP2_SUPER_MAGIC {
            return Err(Obstacle::new("find cgroups of version 2 in", path, Errno::NODEV));
        }
        // Who is started in a leaf is moved there from our own cgroup, for which both count (cgroups(7)). Not by faccessat2(2), which a filter of
        // before Linux 5.8 does not know, and may make fatal.
        let procs = open_at(&dir, "cgroup.procs", OFlags::WRONLY);
        procs.map_err(|errno| Obstacle::new("write", path.join("cgroup.procs"), errno))?;
        let place = Place { dir: Arc::new(dir), path, prefix: prefix()?, roof: Mutex::new(RoofState::NotYet) };
        place.remove_abandoned();
        Ok(place)
    }

    fn leaf(self: &Arc<Self>, keeper: Option<WantPidfd>) -> Result<Leaf> {
        let roof = match keeper {
            Some(want) => self.roof(want)?,
            None => Err(Error::asked_to_live_on(Containment::Cgroup)),
        };
        let (parent, above, prefix) = match &roof {
            Ok(roof) => (&roof.dir, self.path.join(&roof.name), ""),
            Err(_) => (&*self.dir, self.path.clone(), &*self.prefix),
        };
        let (name, dir) = self.make(parent, &above, prefix).map_err(Obstacle::into_error)?;
        let leaf = |dir: OwnedFd| {
            let path = || above.join(&name);
            let kind = read_at(&dir, "cgroup.type").map_err(|errno| Obstacle::new("read", path().join("cgroup.type"), errno))?;
            if kind.trim_end() != "domain" {
                return Err(Obstacle::new("start a process in", path(), Errno::OPNOTSUPP));
            }
            let events =
                open_at(&dir, EVENTS, OFlags::RDONLY).map_err(|errno| Obstacle::new("open", path().join(EVENTS), errno))?;
            Ok((Arc::new(dir), events))
        };
        match leaf(dir) {
            Ok((dir, events)) => Ok(Leaf { place: Arc::clone(self), roof: roof.map_err(Box::new), name, dir, events }),
            Err(obstacle) => {
                _ = remove(parent.as_fd(), &name, &self.prefix);
                Err(obstacle.into_error())
            }
        }
    }

    /// Makes a cgroup and opens it.
    fn make(&self, parent: &OwnedFd, path: &Path, prefix: &str) -> Result<(String, OwnedFd), Obstacle> {
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            if number % LOOK_EVERY == LOOK_EVERY - 1 {
                self.remove_abandoned();
            }
            let name = format!("{prefix}{number}");
            match fs::mkdirat(parent, &name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
                // Left by a program that executed us in its place: it had our PID and start time.
                Err(rustix::io::Errno::EXIST) => continue,
                Err(error) => return Err(Obstacle::new("mkdir", path.join(&name), errno(error))),
                Ok(()) => {}
            }
            return match open_at(parent, &name, DIRECTORY) {
                Ok(dir) => Ok((name, dir)),
                Err(errno) => {
                    _ = remove(parent.as_fd(), &name, &self.prefix);
                    Err(Obstacle::new("open", path.join(&name), errno))
                }
            };
        }
    }

    /// The one in this place, with a keeper that is there; or why there is none.
    ///
    /// # Errors
    /// A failure of the moment.
    fn roof(&self, want: WantPidfd) -> Result<Result<Arc<Roof>, Error>> {
        let mut state = lock(&self.roof);
        match &*state {
            RoofState::NotYet => {}
            RoofState::No(error) => return Ok(Err(error.clone())),
            RoofState::There(roof) => {
                let mut keeper = lock(&roof.keeper);
                if !keeper.is_there() {
                    // Somebody has killed it.
                    *keeper = roof.place.keeper(&roof.dir, &roof.name, want)?;
                }
                drop(keeper);
                return Ok(Ok(Arc::clone(roof)));
            }
        }
        let roof = self.raise(want);
        match &roof {
            Ok(roof) => *state = RoofState::There(Arc::clone(roof)),
            Err(error) if error.errno().is_some_and(Errno::is_of_the_moment) => return Err(error.clone()),
            // That none can be made at all is not for want of a keeper.
            Err(error @ Error::NoContainment { .. }) => return Err(error.clone()),
            // This thread's affair: see the keeper.
            Err(error) if error.errno() == Some(Errno::BUSY) => {}
            Err(error) => *state = RoofState::No(error.clone()),
        }
        Ok(roof)
    }

    fn raise(&self, want: WantPidfd) -> Result<Arc<Roof>> {
        let (name, dir) = self.make(&self.dir, &self.path, &self.prefix).map_err(Obstacle::into_error)?;
        let place = PlaceDir { dir: Arc::clone(&self.dir), prefix: self.prefix.clone(), generation: generation() };
        match place.keeper(&dir, &name, want) {
            Ok(keeper) => Ok(Arc::new(Roof { name, dir, keeper: Mutex::new(keeper), place })),
            Err(error) => {
                _ = remove(self.dir.as_fd(), &name, &self.prefix);
                Err(error)
            }
        }
    }

    /// Removes the leaves of owners that are gone, as far as nothing lives in them.
    fn remove_abandoned(&self) {
        let Ok(entries) = fs::Dir::read_from(&self.dir) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if owner_is_gone(name, &self.prefix) {
                // Refused while something lives there, or if it is another user's.
                _ = remove(self.dir.as_fd(), name, &self.prefix);
            }
        }
    }
}

impl PlaceDir {
    fn keeper(&self, roof: &OwnedFd, name: &str, want: WantPidfd) -> Result<Keeper> {
        let kill = open_at(roof, "cgroup.kill", OFlags::WRONLY).map_err(|errno| match errno {
            Errno::NOENT => {
                let why = format!("open {name}/cgroup.kill: {errno}: it is there since Linux 5.14");
                Error::JobLivesOn { containment: Containment::Cgroup, why, errno: Some(errno) }
            }
            source => Error::System { call: "open", subject: format!("{name}/cgroup.kill"), source },
        })?;
        let keeper = Keeper::new(&Duty::Kill { kill: kill.as_fd(), remove: (self.dir.as_fd(), name) }, want);
        keeper.map_err(|(call, errno)| match errno.is_of_the_moment() {
            true => Error::System { call, subject: "the keeper of jobs".into(), source: errno },
            false => {
                let why = format!("{call} for its keeper: {errno}");
                Error::JobLivesOn { containment: Containment::Cgroup, why, errno: Some(errno) }
            }
        })
    }
}

/// No job is in it any more. (That of our own cgroup is there until we are gone, and then its keeper removes it.)
impl Drop for Roof {
    fn drop(&mut self) {
        // In the child of a fork(2) it is the parent's.
        if self.place.generation == generation() {
            _ = remove(self.place.dir.as_fd(), &self.name, &self.place.prefix);
        }
    }
}

/// (linux/magic.h)
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Removes a cgroup, and those in it first; but no leaf of an owner who is there: he removes it himself, and may be waiting for it to be empty.
fn remove(dir: BorrowedFd<'_>, name: &str, own_prefix: &str) -> Result<(), Errno> {
    let rmdir = || fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(errno);
    let refused = match rmdir() {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(refused @ Errno::BUSY) => refused,
        refused => return refused,
    };
    let Ok(inner) = open_at(dir, name, DIRECTORY) else { return Err(refused) };
    for below in directories(inner.as_fd()) {
        if below.starts_with(MARK) && !owner_is_gone(&below, own_prefix) {
            return Err(refused);
        }
        remove(inner.as_fd(), &below, own_prefix)?;
    }
    rmdir()
}

/// The cgroups in a cgroup.
pub(super) fn directories(dir: BorrowedFd<'_>) -> Vec<String> {
    let entries = fs::Dir::read_from(dir).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type() == FileType::Directory);
    let names = below.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    names.filter(|name| name != "." && name != "..").collect()
}

/// What the names of our leaves begin with.
fn prefix() -> Result<String, Obstacle> {
    let inode = |file: &str| match fs::stat(file) {
        Ok(found) => Ok(found.st_ino),
        // Before Linux 5.6 there are no time namespaces.
        Err(rustix::io::Errno::NOENT) if file.ends_with("time") => Ok(0),
        Err(error) => Err(Obstacle::new("stat", file, errno(error))),
    };
    let (pids, times) = (inode("/proc/self/ns/pid")?, inode("/proc/self/ns/time")?);
    let own = std::process::id();
    let failed = |errno| Obstacle::new("read", format!("/proc/{own}/stat"), errno);
    let stat = Pid::new(own as i32).map_err(|_| failed(Errno::RANGE)).and_then(|own| ProcStat::of(own).map_err(failed))?;
    let born = stat.start_time();
    Ok(format!("{MARK}{pids}-{times}-{own}-{born}-"))
}

const MARK: &str = "steadfast-";

/// Whether the name says of an owner in our namespaces that is not there any more.
fn owner_is_gone(name: &str, own_prefix: &str) -> bool {
    let fields = |name: &str| -> Option<[u64; 4]> {
        let mut numbers = name.strip_prefix(MARK)?.split('-').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some([next()?, next()?, next()?, next()?])
    };
    let (Some([pids, times, pid, born]), Some([own_pids, own_times, ..])) = (fields(name), fields(own_prefix)) else {
        return false;
    };
    let Ok(pid) = i32::try_from(pid) else { return false };
    if (pids, times) != (own_pids, own_times) {
        return false;
    }
    match Pid::new(pid).map_or(Err(Errno::SRCH), ProcStat::of) {
        Ok(stat) => stat.start_time() != born,
        // It may only be hidden (hidepid, proc(5)).
        Err(errno) => is_gone(errno) && is_free(pid),
    }
}

/// The directory of our own cgroup, in the first mount of version 2 that shows it.
fn own_cgroup() -> Result<PathBuf, Obstacle> {
    let read = |path: &str| std::fs::read(path).map_err(|error| Obstacle::new("read", path, errno_of(&error)));
    let mounts = read("/proc/self/mountinfo")?;
    let cgroups = read("/proc/self/cgroup")?;
    directory(&mounts, &cgroups)
        .ok_or_else(|| Obstacle::new("find cgroups of version 2 in", "/proc/self/mountinfo", Errno::NOENT))
}

/// (The crate `procfs-core` leaves the escapes in a mount point as they are, and refuses the whole file for a path that is no UTF-8.)
fn directory(mounts: &[u8], cgroups: &[u8]) -> Option<PathBuf> {
    // That of version 2 has the number 0, and no controllers (cgroups(7)).
    let own = cgroups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let own = Path::new(std::ffi::OsStr::from_bytes(own));
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        // Optional fields, a hyphen, and the type (proc_pid_mountinfo(5)).
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        if kind != b"cgroup2" {
            return None;
        }
        let (root, point) = (unescape(root), unescape(point));
        // Above the root of our cgroup namespace, or beside what is mounted: not to be seen from here.
        let below = own.strip_prefix(&root).ok().filter(|below| !below.starts_with(".."))?;
        Some(point.join(below))
    })
}

/// A blank, a tab, a newline and a backslash stand there as `\040` and so on.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_any_layout() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let part = "30 23 0:26 /user.slice /mnt/with\\040blank rw - cgroup2 cgroup2 rw\n";
        let found = |mounts: &str, cgroups: &str| directory(mounts.as_bytes(), cgroups.as_bytes());
        assert_eq!(found(unified, "0::/a/b\n"), Some("/sys/fs/cgroup/a/b".into()));
        assert_eq!(found(unified, "0::/\n"), Some("/sys/fs/cgroup/".into()));
        assert_eq!(found(hybrid, "1:cpu:/x\n0::/y\n"), Some("/sys/fs/cgroup/unified/y".into()));
        assert_eq!(found(part, "0::/user.slice/b\n"), Some("/mnt/with blank/b".into()));
        assert_eq!(found(part, "0::/system.slice\n"), None);
        assert_eq!(found(unified, "0::/../other\n"), None);
        assert_eq!(found(unified, "1:cpu:/x\n"), None);
        assert_eq!(found("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "0::/\n"), None);
    }

    #[test]
    fn a_name_tells_whose_it_is() {
        let own = prefix().unwrap();
        let [pids, times, pid, born] =
            <[u64; 4]>::try_from(own.strip_prefix(MARK).unwrap().split('-').filter_map(|n| n.parse().ok()).collect::<Vec<u64>>())
                .unwrap();
        assert!(!owner_is_gone(&format!("{own}0"), &own), "it lives");
        assert!(owner_is_gone(&format!("{MARK}{pids}-{times}-{pid}-{}-0", born + 1), &own), "the number is another's");
        assert!(owner_is_gone(&format!("{MARK}{pids}-{times}-4194999-1-0"), &own), "nobody has the number");
        assert!(!owner_is_gone(&format!("{MARK}{}-{times}-4194999-1-0", pids + 1), &own), "of another PID namespace");
        assert!(!owner_is_gone(&format!("{MARK}{pids}-{}-4194999-1-0", times + 1), &own), "of another time namespace");
        for other in ["", "steadfast-", "steadfast-1-2", "steadfast-x-1-1-1-1", "user.slice"] {
            assert!(!owner_is_gone(other, &own), "{other}");
        }
    }
}
