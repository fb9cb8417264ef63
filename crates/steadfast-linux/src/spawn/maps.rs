//! The ID maps of a new user namespace (user_namespaces(7)): written from outside while the child waits.

use super::clone::Born;
use crate::pidfd::pidfd_is_taken;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use steadfast_core::{Attributes, Errno, IdMap, Stage};

pub(super) fn wanted(a: &Attributes) -> bool {
    !a.uid_map.is_empty() || !a.gid_map.is_empty()
}

/// Writes what there is to be written for the child, then tells it to go on.
pub(super) fn write(child: &Born, a: &Attributes, go: &File) -> Result<(), (Stage, Errno)> {
    let files = || Files::of(child);
    if !a.gid_map.is_empty() {
        // First, or else whoever has no privileges outside may not map groups (Linux 3.19): dropping a group could give access.
        let word = if a.allow_setgroups { "allow" } else { "deny" };
        let put = |file, text: String| files().and_then(|files| files.put(file, text));
        put("setgroups", word.into()).map_err(|errno| (stage("setgroups file", word.into()), errno))?;
        put("gid_map", lines(&a.gid_map)).map_err(|errno| (stage("gid_map", words(&a.gid_map)), errno))?;
    }
    if !a.uid_map.is_empty() {
        let put = files().and_then(|files| files.put("uid_map", lines(&a.uid_map)));
        put.map_err(|errno| (stage("uid_map", words(&a.uid_map)), errno))?;
    }
    // If the child has died, its exit tells.
    _ = (&mut &*go).write(&[1]);
    Ok(())
}

/// The child's directory in `/proc`, and nobody else's: an open one is bound to one life.
struct Files(File);

impl Files {
    /// Without a pidfd the number is the child's as long as it has not been reaped; nobody reaps it who does not look for children
    /// without an exit signal.
    fn of(child: &Born) -> Result<Files, Errno> {
        let files = Files(File::open(format!("/proc/{}", child.pid)).map_err(errno)?);
        match &child.pidfd {
            // It was gone before, and the number may be another's.
            Some(pidfd) if !pidfd_is_taken(pidfd.as_fd()) => Err(Errno::SRCH),
            _ => Ok(files),
        }
    }

    fn put(&self, file: &str, text: String) -> Result<(), Errno> {
        // In one write, as the kernel wants it.
        fs::write(format!("/proc/self/fd/{}/{file}", self.0.as_raw_fd()), text).map_err(errno)
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn stage(call: &'static str, value: String) -> Stage {
    Stage::Attribute { call, value }
}

fn lines(map: &[IdMap]) -> String {
    map.iter().map(|IdMap { inside, outside, count }| format!("{inside} {outside} {count}\n")).collect()
}

fn words(map: &[IdMap]) -> String {
    lines(map).trim_end().replace('\n', ", ")
}
