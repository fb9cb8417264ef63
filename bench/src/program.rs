//! The programs that are started: two that do nothing, as small as a program can be, and one that writes.

use crate::Result;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A program that does nothing, and ends or does not, in a directory that is removed with it.
pub(crate) struct Noop {
    pub(crate) path: PathBuf,
    _dir: TempDir,
}

impl Noop {
    /// Ends at once.
    pub(crate) fn make() -> Result<Noop> {
        Noop::of(xtask::noop::executable(std::env::consts::ARCH))
    }

    /// Does not end.
    pub(crate) fn that_stays() -> Result<Noop> {
        Noop::of(xtask::noop::sleeper(std::env::consts::ARCH))
    }

    fn of(bytes: Option<Vec<u8>>) -> Result<Noop> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("noop");
        xtask::noop::write(&path, bytes)?;
        // Another user is to execute it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Noop { path, _dir: dir })
    }
}

/// Writes so many bytes to each of stdout and stderr, in turns.
pub(crate) fn write(bytes: u64) -> Result<()> {
    let block = [b'x'; 64 * 1024];
    let mut streams = [File::options().write(true).open("/dev/stdout")?, File::options().write(true).open("/dev/stderr")?];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len() as u64) as usize;
        for stream in &mut streams {
            stream.write_all(&block[..now])?;
        }
        left -= now as u64;
    }
    Ok(())
}
