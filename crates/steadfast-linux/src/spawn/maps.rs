//! The ID maps of a new user namespace (user_namespaces(7)): written from outside while the child waits.

use std::fs::{self, File};
use std::io::Write;
use steadfast_core::{Attributes, Errno, IdMap, Stage};

pub(super) fn wanted(a: &Attributes) -> bool {
    !a.uid_map.is_empty() || !a.gid_map.is_empty()
}

/// Writes what there is to be written for the child `pid`, then tells it to go on.
pub(super) fn write(pid: i32, a: &Attributes, go: &File) -> Result<(), (Stage, Errno)> {
    if !a.gid_map.is_empty() {
        // First, or else whoever has no privileges outside may not map groups (Linux 3.19): dropping a group could give access.
        let word = if a.allow_setgroups { "allow" } else { "deny" };
        put(pid, "setgroups", word.into()).map_err(|errno| (stage("setgroups file", word.into()), errno))?;
        put(pid, "gid_map", lines(&a.gid_map)).map_err(|errno| (stage("gid_map", words(&a.gid_map)), errno))?;
    }
    if !a.uid_map.is_empty() {
        put(pid, "uid_map", lines(&a.uid_map)).map_err(|errno| (stage("uid_map", words(&a.uid_map)), errno))?;
    }
    // If the child has died, its exit tells.
    _ = (&mut &*go).write(&[1]);
    Ok(())
}

fn stage(call: &'static str, value: String) -> Stage {
    Stage::Attribute { call, value }
}

/// The number is the child's own: it has not been reaped.
fn put(pid: i32, file: &str, text: String) -> Result<(), Errno> {
    // In one write, as the kernel wants it.
    fs::write(format!("/proc/{pid}/{file}"), text).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

fn lines(map: &[IdMap]) -> String {
    map.iter().map(|IdMap { inside, outside, count }| format!("{inside} {outside} {count}\n")).collect()
}

fn words(map: &[IdMap]) -> String {
    lines(map).trim_end().replace('\n', ", ")
}
