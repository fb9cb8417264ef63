//! [`Place`]: one name in one directory, and the file that has it, or has it no more.
//!
//! Whatever is there is whole, and never changes: a file is made beside it, and gets the name by a rename. From one file to the next, or to none, it goes
//! only by who has locked the file that is there and has looked, under the lock, whether it still is. From none to a file it goes by a rename that replaces
//! nothing. So of many who try it at once, one succeeds, and nobody removes another one's file.

use crate::System;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::retry_on_intr;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use steadfast_core::{Errno, Error, Pauses, PidfileIs, Result};
use steadfast_linux::{lock_file, unlock_file};

/// A name in its directory. That is held open: wherever the program changes to, it is this one.
pub(super) struct Place {
    path: PathBuf,
    dir: OwnedFd,
    name: OsString,
}

/// A file that had the name when it was opened. While it is open its inode is given to no other.
pub(super) struct Found {
    pub(super) file: File,
    pub(super) text: Vec<u8>,
    /// Whose file it is.
    pub(super) user: u32,
    inode: (u64, u64),
}

/// The lock of a file, until it is dropped.
pub(super) struct Locked<'a>(&'a File);

/// The name of a file that has no place yet; removed if it gets none.
pub(super) struct Fresh<'a> {
    place: &'a Place,
    name: OsString,
    is_placed: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Access {
    Read,
    /// To lock it. It is not written to.
    Lock,
}

/// An identity has 113 bytes at most, a PID 10.
const LONGEST: u64 = 4096;
/// How long somebody else's lock is waited for. It is held for two or three system calls; but anybody who can read the file can lock it for as long as he likes
/// (`F_RDLCK`).
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

impl Place {
    pub(super) fn new(path: &Path) -> Result<Place> {
        let Some(name) = path.file_name() else {
            return Err(failed("open", path)(rustix::io::Errno::ISDIR));
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = retry_on_intr(|| fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))
            .map_err(failed("open of the directory", path))?;
        Ok(Place { path: path.to_owned(), dir, name: name.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn error(&self, is: PidfileIs) -> Error {
        Error::Pidfile { path: self.path.clone(), is }
    }

    fn failed(&self, call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
        failed(call, &self.path)
    }

    /// What is there now; `None` if nothing is.
    pub(super) fn open(&self, access: Access) -> Result<Option<Found>> {
        let access = if access == Access::Read { OFlags::RDONLY } else { OFlags::RDWR };
        // A FIFO would block, and a terminal become ours.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match retry_on_intr(|| fs::openat(&self.dir, &self.name, flags, Mode::empty())) {
            Ok(fd) => self.look(File::from(fd)).map(Some),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("open")(errno)),
        }
    }

    fn look(&self, file: File) -> Result<Found> {
        let stat = fs::fstat(&file).map_err(self.failed("fstat"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(self.failed("open")(rustix::io::Errno::ISDIR)),
            _ => return Err(self.failed("open")(rustix::io::Errno::NODEV)),
        }
        let mut text = Vec::new();
        (&file).take(LONGEST).read_to_end(&mut text).map_err(|error| self.io("read", &error))?;
        Ok(Found { text, user: stat.st_uid, inode: (stat.st_dev, stat.st_ino), file })
    }

    fn io(&self, call: &'static str, error: &std::io::Error) -> Error {
        Error::System { call, subject: subject(&self.path), source: Errno::of(error).unwrap_or(Errno::IO) }
    }

    /// Whether it is still this file that has the name.
    pub(super) fn is(&self, found: &Found) -> Result<bool> {
        match fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == found.inode),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("fstatat")(errno)),
        }
    }

    /// Waits for the lock, with pauses: the call that blocks has no limit of time, and would hold up a simulation.
    pub(super) fn lock<'a>(&self, found: &'a Found, system: &System) -> Result<Locked<'a>> {
        let clock = system.backend().clock();
        let deadline = clock.now() + PATIENCE;
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            if let Some(locked) = self.try_lock(found)? {
                return Ok(locked);
            }
            if clock.now() >= deadline {
                return Err(self.error(PidfileIs::Busy { limit: PATIENCE }));
            }
            pauses.sleep(clock, Some(deadline));
        }
    }

    /// `None`: somebody else has it.
    pub(super) fn try_lock<'a>(&self, found: &'a Found) -> Result<Option<Locked<'a>>> {
        let locked = lock_file(found.file.as_fd());
        let error = |source| Error::System { call: "fcntl(F_OFD_SETLK)", subject: subject(&self.path), source };
        Ok(locked.map_err(error)?.then_some(Locked(&found.file)))
    }

    /// Makes a file beside it, with this text.
    pub(super) fn prepare(&self, text: &str) -> Result<(Fresh<'_>, Found)> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let mut name = OsString::from(".");
            name.push(&self.name);
            name.push(format!(".{}.{number}.new", std::process::id()));
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match retry_on_intr(|| fs::openat(&self.dir, &name, flags, Mode::from_raw_mode(0o600))) {
                Ok(fd) => {
                    let fresh = Fresh { place: self, name, is_placed: false };
                    return Ok((fresh, self.written(File::from(fd), text)?));
                }
                // Another namespace has the same numbers; or one that was killed has left it behind.
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(self.failed("open of a new file")(errno)),
            }
        }
    }

    fn written(&self, file: File, text: &str) -> Result<Found> {
        (&file).write_all(text.as_bytes()).map_err(|error| self.io("write", &error))?;
        // Whatever the umask is: others are to read it.
        fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(self.failed("fchmod"))?;
        // The name may reach the disk before the text does, and after a loss of power an empty file would be Unknown. In /run it costs nothing.
        retry_on_intr(|| fs::fdatasync(&file)).map_err(self.failed("fdatasync"))?;
        (&file).rewind().map_err(|error| self.io("lseek", &error))?;
        self.look(file)
    }

    /// Removes it, if it still is this file: whether it was.
    pub(super) fn remove(&self, found: &Found, _: &Locked<'_>) -> Result<bool> {
        let is_there = self.is(found)?;
        if is_there {
            fs::unlinkat(&self.dir, &self.name, AtFlags::empty()).map_err(self.failed("unlink"))?;
        }
        Ok(is_there)
    }
}

impl Found {
    /// Whether they are one file, which says the same.
    pub(super) fn is_same(&self, other: &Found) -> bool {
        (self.inode, &self.text) == (other.inode, &other.text)
    }
}

impl Fresh<'_> {
    /// Puts it there, if nothing is: whether that was so.
    pub(super) fn place_if_free(&mut self) -> Result<bool> {
        let Place { dir, name, .. } = self.place;
        match fs::renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.is_placed = true;
                Ok(true)
            }
            Err(rustix::io::Errno::EXIST) => Ok(false),
            // A file system, or a kernel, that has only the older call; ours is then there under two names, until this one is dropped.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                match fs::linkat(dir, &self.name, dir, name, AtFlags::empty()) {
                    Ok(()) => Ok(true),
                    Err(rustix::io::Errno::EXIST) => Ok(false),
                    Err(errno) => Err(self.place.failed("link")(errno)),
                }
            }
            Err(errno) => Err(self.place.failed("renameat2")(errno)),
        }
    }

    /// Puts it in place of the file that is there. To be called under that one's lock, and after the look.
    pub(super) fn replace(&mut self, _: &Locked<'_>) -> Result<()> {
        let Place { dir, name, .. } = self.place;
        fs::renameat(dir, &self.name, dir, name).map_err(self.place.failed("rename"))?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // Nobody knows of it; if it cannot be removed, it is a file without a meaning.
            fs::unlinkat(&self.place.dir, &self.name, AtFlags::empty()).ok();
        }
    }
}

/// Closing would not do: a child that another thread is just starting has a copy of the descriptor, until it executes its program.
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It can only fail for a file that is not open.
        unlock_file(self.0.as_fd()).ok();
    }
}

fn subject(path: &Path) -> String {
    format!("pidfile `{}`", path.display())
}

fn failed(call: &'static str, path: &Path) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| {
        let what = match errno {
            rustix::io::Errno::LOOP if call == "open" => ", which is a symbolic link, and is not followed",
            rustix::io::Errno::ISDIR => ", which is a directory",
            rustix::io::Errno::NODEV => ", which is no regular file",
            _ => "",
        };
        let subject = format!("{}{what}", subject(path));
        Error::System { call, subject, source: Errno::from_raw(errno.raw_os_error()) }
    }
}
