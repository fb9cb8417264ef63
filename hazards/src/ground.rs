//! [`Ground`]: the cgroup of one run, beneath which libraries make theirs; what they leave is removed, and no one else's.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::System;
use xtask::cgroups;

/// The variable that tells the namespace's processes where it is.
const VARIABLE: &str = "STEADFAST_HAZARDS_CGROUP";

pub(crate) struct Ground(PathBuf);

impl Ground {
    /// Beneath the cgroup of this process. `None` where no cgroup can be made; then the libraries cannot make one either.
    pub(crate) fn make() -> Option<Ground> {
        let above = cgroups::of("self")?;
        // A run that was killed may have left one of this name.
        (0..100).map(|number| above.join(format!("hazards-{}-{number}", std::process::id()))).find_map(|dir| {
            fs::create_dir(&dir).ok()?;
            Some(Ground(dir))
        })
    }

    /// For the environment of those to whom it is [given](Ground::given).
    pub(crate) fn variable(&self) -> (&'static str, OsString) {
        (VARIABLE, self.0.clone().into())
    }

    /// Removes it, and all beneath, if nothing lives in it.
    pub(crate) fn remove(&self) -> Result<(), String> {
        match clear(&self.0).and_then(|()| remove(&self.0)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", self.0.display())),
            _ => Ok(()),
        }
    }

    /// The one that was made for this process.
    pub(crate) fn given() -> Option<Ground> {
        std::env::var_os(VARIABLE).map(|dir| Ground(dir.into()))
    }

    /// Moves this process there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Removes what the last cell has left there.
    pub(crate) fn clear(&self) -> io::Result<()> {
        clear(&self.0)
    }
}

/// What is beneath, the deepest first.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A process leaves its cgroup on its way out, which is told by no event of its own.
fn remove(dir: &Path) -> io::Result<()> {
    let mut left = 500;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && left > 0 => left -= 1,
            // Its owner's library may do it too, as ours does in the background.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
        System::pid_legacy().sleep(Duration::from_millis(2));
    }
}
