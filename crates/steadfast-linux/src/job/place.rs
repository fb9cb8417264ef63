//! [`Place`]: the cgroup in which those of our jobs are made, and [`Leaf`], one of them.
//!
//! | cgroup | whose |
//! | --- | --- |
//! | `<place>` | that of this process, or one that was named |
//! | `<place>/steadfast-…` | a [`Roof`]: all jobs of one owner that die with it; or one job that lives on |
//! | `<place>/steadfast-…/7` | a job that dies with its owner |

use super::account::Account;
use super::dirs::{DIRECTORY, is_time_to_look, make_cgroup, prefix, remove, remove_abandoned};
use super::keeper::{Duty, Keeper};
use super::mounts::{Hierarchy, own_cgroup};
use super::obstacle::Obstacle;
use crate::file::{errno, open_at, read_at};
use crate::fork::{PerProcess, generation};
use crate::spawn::WantPidfd;
use rustix::fs::{self, Access, AtFlags, Mode, OFlags};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use steadfast_core::{Containment, Errno, Error, JobLimits};

type Result<T, E = Error> = std::result::Result<T, E>;

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
    pub(super) account: Arc<Account>,
}

/// The one beneath our own cgroup, once it was found; and those that were named, while there are jobs in them.
#[derive(Default)]
struct Places {
    own: Option<Arc<Place>>,
    named: HashMap<PathBuf, Weak<Place>>,
}

static PLACES: PerProcess<Mutex<Places>> = PerProcess::new(Mutex::default);

const EVENTS: &str = "cgroup.events";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leaf {
    /// A new one, in the cgroup of this directory or in our own; with a keeper of this kind, or to live on when this process is gone.
    pub(super) fn new(parent: Option<&Path>, keeper: Option<WantPidfd>, limits: JobLimits) -> Result<Leaf> {
        let make = |place: Arc<Place>| {
            let (place, account) = place.accounting(parent.is_none(), limits)?;
            place.leaf(keeper, Arc::new(account))
        };
        match make(Place::of(parent)?) {
            // We were moved, and the cgroup that was ours is removed.
            Err(error @ Error::NoContainment { .. }) if parent.is_none() && error.errno() == Some(Errno::NOENT) => {
                lock(&PLACES).own = None;
                make(Place::of(None)?)
            }
            leaf => leaf,
        }
    }

    /// Another one in the same place, with the same limits, for who lives on.
    pub(super) fn beside(&self) -> Result<Leaf> {
        self.place.leaf(None, Arc::clone(&self.account))
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
        let path = named.map_or_else(|| own_cgroup(Hierarchy::Unified), |path| Ok(path.to_owned()));
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
        remove_abandoned(&place.dir, &place.prefix);
        Ok(place)
    }

    /// Where cgroups can have these limits: here; or above, if we ourselves are here and that was given to us too. What version 2 has in neither is
    /// looked for in version 1.
    fn accounting(self: Arc<Self>, is_own: bool, limits: JobLimits) -> Result<(Arc<Self>, Account)> {
        if limits.is_none() {
            return Ok((self, Account::none()));
        }
        let above = || Place::of(Some(self.path.parent()?)).ok().filter(|above| above.is_delegated());
        let mut refused = None;
        for place in std::iter::once(Arc::clone(&self)).chain(is_own.then(above).flatten()) {
            let account = Account::in_place(limits, place.dir.as_fd());
            if account.is_unified() {
                match account.hand_on(place.dir.as_fd(), &place.path) {
                    Ok(()) => return Ok((place, account)),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        if let Some((limit, obstacle)) = refused {
            return Err(obstacle.to_limit(limit));
        }
        let mut account = Account::in_place(limits, self.dir.as_fd());
        account.hand_on(self.dir.as_fd(), &self.path).map_err(|(limit, obstacle)| obstacle.to_limit(limit))?;
        account.add_elder(&self.prefix)?;
        Ok((self, account))
    }

    /// Whether somebody has said that what is beneath it is ours to arrange: it is our user's, or systemd has marked it.
    fn is_delegated(&self) -> bool {
        let own = rustix::process::geteuid();
        let is_ours = || fs::fstat(&self.dir).is_ok_and(|file| file.st_uid == own.as_raw());
        let is_marked = |name| fs::fgetxattr(&self.dir, name, &mut [0_u8; 1]) == Ok(1);
        (!own.is_root() && is_ours()) || is_marked("user.delegate") || is_marked("trusted.delegate")
    }

    fn leaf(self: &Arc<Self>, keeper: Option<WantPidfd>, account: Arc<Account>) -> Result<Leaf> {
        let roof = match keeper {
            Some(want) => self.roof(want)?,
            None => Err(Error::asked_to_live_on(Containment::Cgroup)),
        };
        let (parent, above, prefix) = match &roof {
            Ok(roof) => (&roof.dir, self.path.join(&roof.name), ""),
            Err(_) => (&*self.dir, self.path.clone(), &*self.prefix),
        };
        if let Ok(roof) = &roof {
            account.hand_on(roof.dir.as_fd(), &above).map_err(|(limit, obstacle)| obstacle.to_limit(limit))?;
        }
        let (name, dir) = self.make(parent, &above, prefix).map_err(Obstacle::into_error)?;
        let leaf = |dir: OwnedFd| {
            let path = || above.join(&name);
            let failed = |call, file: &str, errno| Obstacle::new(call, path().join(file), errno).into_error();
            let kind = read_at(&dir, "cgroup.type").map_err(|errno| failed("read", "cgroup.type", errno))?;
            if kind.trim_end() != "domain" {
                return Err(Obstacle::new("start a process in", path(), Errno::OPNOTSUPP).into_error());
            }
            let events = open_at(&dir, EVENTS, OFlags::RDONLY).map_err(|errno| failed("open", EVENTS, errno))?;
            account.limit(dir.as_fd(), &path())?;
            Ok((Arc::new(dir), events))
        };
        match leaf(dir) {
            Ok((dir, events)) => Ok(Leaf { place: Arc::clone(self), roof: roof.map_err(Box::new), name, dir, events, account }),
            Err(error) => {
                _ = remove(parent.as_fd(), &name, &self.prefix);
                Err(error)
            }
        }
    }

    fn make(&self, parent: &OwnedFd, path: &Path, prefix: &str) -> Result<(String, OwnedFd), Obstacle> {
        if is_time_to_look() {
            remove_abandoned(&self.dir, &self.prefix);
        }
        make_cgroup(parent, path, prefix, &self.prefix)
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
