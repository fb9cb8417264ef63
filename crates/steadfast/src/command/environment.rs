//! The environment of a new process: what is set, removed, cleared, or given as a whole.

use super::Command;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use steadfast_core::{Error, Result};

impl Command {
    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.env.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets variables of its environment.
    pub fn envs(&mut self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> &mut Command {
        for (name, value) in vars {
            self.env(name, value);
        }
        self
    }

    /// Hands a trace on, as other programs expect it (W3C Trace Context): sets `TRACEPARENT`, and `TRACESTATE` or, without one, no such variable, for
    /// the one that this program may have inherited belongs to another span.
    ///
    /// ```
    /// use steadfast::Command;
    /// let mut command = Command::new("printenv");
    /// command.arg("TRACEPARENT").trace_context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
    /// assert!(command.output()?.stdout.starts_with(b"00-0af7"));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn trace_context(&mut self, traceparent: impl AsRef<OsStr>, tracestate: Option<&OsStr>) -> &mut Command {
        self.env("TRACEPARENT", traceparent);
        match tracestate {
            Some(state) => self.env("TRACESTATE", state),
            None => self.env_remove("TRACESTATE"),
        }
    }

    /// Removes a variable, inherited or set before.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        if self.clear_env {
            self.env.remove(name.as_ref());
        } else {
            self.env.insert(name.as_ref().to_owned(), None);
        }
        self
    }

    /// Removes all variables, inherited or set before.
    pub fn env_clear(&mut self) -> &mut Command {
        self.clear_env = true;
        self.env.clear();
        self
    }

    /// Sets its whole environment: these variables, in this order, even one that comes twice. (With `env_clear` and `env` the
    /// child gets them sorted by name, as std has it.) It excludes the other `env` methods: with one of them the spawn is refused.
    ///
    /// ```
    /// use steadfast::Command;
    /// let output = Command::new("/usr/bin/env").env_exact([("B", "2"), ("A", "1")]).output()?;
    /// assert_eq!(output.stdout, b"B=2\nA=1\n");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn env_exact(&mut self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> &mut Command {
        let owned = |(name, value): (_, _)| (AsRef::<OsStr>::as_ref(&name).to_owned(), AsRef::<OsStr>::as_ref(&value).to_owned());
        self.env_exact = Some(vars.into_iter().map(owned).collect());
        self
    }

    /// The environment as it shall be; `None`: as this process's.
    pub(super) fn captured_env(&self) -> Result<Option<Vec<(OsString, OsString)>>> {
        let changed = self.clear_env || !self.env.is_empty();
        if let Some(exact) = &self.env_exact {
            let other = if self.clear_env { "env_clear" } else { "env or env_remove" };
            let why = format!("env_exact and {other}: the exact environment has nothing to be changed: drop one");
            let program = self.program.clone();
            return if changed { Err(Error::InvalidPlan { program, why }) } else { Ok(Some(exact.clone())) };
        }
        if !changed {
            return Ok(None);
        }
        let mut env = BTreeMap::new();
        if !self.clear_env {
            env.extend(std::env::vars_os());
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => drop(env.insert(name.clone(), value.clone())),
                None => drop(env.remove(name)),
            }
        }
        Ok(Some(env.into_iter().collect()))
    }
}
