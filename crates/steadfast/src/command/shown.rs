//! What a [`Command`] shows of itself: its parts, and itself as a line of shell.

use super::Command;
use std::collections::btree_map;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::slice;

impl Command {
    /// The program, as it was given to [`new`](Command::new).
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program's own name.
    pub fn get_args(&self) -> CommandArgs<'_> {
        CommandArgs(self.args.iter())
    }

    /// The variables that were set, and with `None` those that were removed, sorted by name.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        CommandEnvs(self.env.iter())
    }

    /// Whether [`env_clear`](Command::env_clear) was called.
    pub fn get_env_clear(&self) -> bool {
        self.clear_env
    }

    /// The working directory, if it was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.current_dir.as_deref()
    }
}

/// A command's arguments: [`Command::get_args`].
#[derive(Clone)]
pub struct CommandArgs<'a>(slice::Iter<'a, OsString>);

impl<'a> Iterator for CommandArgs<'a> {
    type Item = &'a OsStr;

    fn next(&mut self) -> Option<&'a OsStr> {
        self.0.next().map(OsString::as_os_str)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandArgs<'_> {}

impl fmt::Debug for CommandArgs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A command's changes to the environment: [`Command::get_envs`].
#[derive(Clone)]
pub struct CommandEnvs<'a>(btree_map::Iter<'a, OsString, Option<OsString>>);

impl<'a> Iterator for CommandEnvs<'a> {
    type Item = (&'a OsStr, Option<&'a OsStr>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_os_str(), value.as_deref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandEnvs<'_> {}

impl fmt::Debug for CommandEnvs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A line of shell, as std shows it; with `{:#?}` all the settings. For people: it is not escaped for a shell in every case.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { self.as_struct(f) } else { self.as_line(f) }
    }
}

impl Command {
    fn as_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = &self.current_dir {
            write!(f, "cd {dir:?} && ")?;
        }
        if self.clear_env || self.env_exact.is_some() {
            f.write_str("env -i ")?;
        } else {
            let mut removed = self.get_envs().filter(|(_, value)| value.is_none()).peekable();
            if removed.peek().is_some() {
                f.write_str("env ")?;
            }
            for (name, _) in removed {
                write!(f, "-u {} ", name.to_string_lossy())?;
            }
        }
        let exact = self.env_exact.iter().flatten().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let set = self.get_envs().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in exact.chain(set) {
            write!(f, "{}={value:?} ", name.to_string_lossy())?;
        }
        match &self.arg0 {
            Some(arg0) if *arg0 != self.program => write!(f, "[{:?}] {arg0:?}", self.program)?,
            _ => write!(f, "{:?}", self.program)?,
        }
        self.args.iter().try_for_each(|arg| write!(f, " {arg:?}"))
    }

    fn as_struct(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Command");
        shown.field("program", &self.program).field("arg0", &self.arg0).field("args", &self.args);
        shown.field("env_clear", &self.clear_env).field("env", &self.env).field("env_exact", &self.env_exact);
        shown.field("current_dir", &self.current_dir);
        shown.field("stdin", &self.stdin).field("stdout", &self.stdout).field("stderr", &self.stderr);
        shown.field("input", &self.input).field("checked", &self.checked);
        shown.field("on_drop", &self.on_drop).field("create_pidfd", &self.create_pidfd).field("handle", &self.handle);
        shown.field("pty", &self.pty.is_some()).field("attributes", &self.attributes).finish()
    }
}
