//! [`Plan`]: what is to be spawned, and how; checked, so that a backend need not.

mod attributes;
mod conflicts;
mod membership;
mod values;
mod walls;

pub use attributes::{Attributes, EnterNamespaces, Hook};
pub use membership::{Membership, OnBirth};
pub use values::{Capability, Disposition, IdMap, Limit, MountPropagation, Namespaces, Resource, Scheduling, SignalSet};
pub use walls::{IoPriority, SeccompFilter, SeccompInstruction, SecureBits, Wall};

use crate::{Error, Result};
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to spawn. A `Plan` has been checked: the program's name is not empty, there is no NUL byte in it, and its settings do not contradict each
/// other. A clone is the same plan, and costs nothing.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<PlanBuilder>,
    job: Option<Arc<dyn Membership>>,
    /// Its attributes, if a job has added to them.
    joined: Option<Arc<Attributes>>,
}

/// Where one of the standard streams of a new process comes from or goes to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum PlanStdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A new pipe, whose other end is returned with the process.
    Piped,
    /// Of stderr: wherever stdout goes, as a shell's `2>&1` behind all other redirections.
    Stdout,
    /// A descriptor. The caller keeps it: the child gets a duplicate.
    Fd(Arc<OwnedFd>),
    /// An end of a simulated pipe. The caller keeps it: the child gets a duplicate. Only the backend that has made it knows its type.
    End(Arc<dyn Any + Send + Sync>),
}

/// Builds a [`Plan`]; [`PlanBuilder::build`] checks it.
#[derive(Clone, Debug)]
pub struct PlanBuilder {
    program: OsString,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    env: Option<Vec<(OsString, OsString)>>,
    current_dir: Option<PathBuf>,
    stdio: [PlanStdio; 3],
    create_pidfd: bool,
    attributes: Option<Arc<Attributes>>,
}

impl Plan {
    /// Begins a plan for `program`: a path if it has a slash, else a name to be searched in `PATH`.
    pub fn builder(program: impl Into<OsString>) -> PlanBuilder {
        PlanBuilder {
            program: program.into(),
            arg0: None,
            args: Vec::new(),
            env: None,
            current_dir: None,
            stdio: Default::default(),
            create_pidfd: false,
            attributes: None,
        }
    }

    /// The program as it was given.
    pub fn program(&self) -> &OsStr {
        &self.inner.program
    }

    /// The name that the program sees as its own, `argv[0]`: the program as it was given, or another.
    pub fn arg0(&self) -> &OsStr {
        self.inner.arg0.as_deref().unwrap_or(self.program())
    }

    /// Its arguments, without the program's own name.
    pub fn args(&self) -> &[OsString] {
        &self.inner.args
    }

    /// The same with another variable in its environment, in place of one of that name. (Without an environment of its own it has the caller's, as
    /// it is now.)
    ///
    /// The name and the value have no NUL byte, and the name no `=`, or the spawn fails with `EINVAL`.
    #[must_use]
    pub fn with_variable(&self, name: &str, value: &str) -> Plan {
        let mut inner = PlanBuilder::clone(&self.inner);
        let mut env = inner.env.take().unwrap_or_else(|| std::env::vars_os().collect());
        env.retain(|(old, _)| old != name);
        env.push((name.into(), value.into()));
        inner.env = Some(env);
        Plan { inner: Arc::new(inner), ..self.clone() }
    }

    /// Its whole environment; `None`: the caller's, as it is at the spawn.
    pub fn env(&self) -> Option<&[(OsString, OsString)]> {
        self.inner.env.as_deref()
    }

    /// Its working directory; `None`: the caller's.
    pub fn current_dir(&self) -> Option<&Path> {
        self.inner.current_dir.as_deref()
    }

    /// Its stdin, stdout and stderr.
    pub fn stdio(&self) -> &[PlanStdio; 3] {
        &self.inner.stdio
    }

    /// Whether the caller wants a pidfd of its own with it.
    pub fn create_pidfd(&self) -> bool {
        self.inner.create_pidfd
    }

    /// What else it is to be.
    pub fn attributes(&self) -> &Attributes {
        self.joined.as_deref().unwrap_or_else(|| self.inner.attributes_or_none())
    }

    /// The job that it is to be started in. A backend need not look at it: what makes the process a member is among the attributes by then.
    pub fn job(&self) -> Option<&Arc<dyn Membership>> {
        self.job.as_ref()
    }

    /// The same, to be started in this job.
    #[must_use]
    pub fn in_job(&self, job: Arc<dyn Membership>) -> Plan {
        Plan { job: Some(job), ..self.clone() }
    }

    /// The same with other attributes.
    ///
    /// # Errors
    /// As [`PlanBuilder::build`].
    pub fn with_attributes(&self, attributes: Attributes) -> Result<Plan> {
        let plan = PlanBuilder::clone(&self.inner).attributes(attributes).build()?;
        Ok(Plan { job: self.job.clone(), ..plan })
    }

    /// The same with what its job has added to its attributes, and has found to go with them.
    pub(crate) fn joined(&self, attributes: Attributes) -> Plan {
        Plan { joined: Some(Arc::new(attributes)), ..self.clone() }
    }
}

impl PlanBuilder {
    /// Sets the name that the program sees as its own.
    pub fn arg0(mut self, arg0: impl Into<OsString>) -> Self {
        self.arg0 = Some(arg0.into());
        self
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the whole environment, in this order.
    pub fn env(mut self, env: Vec<(OsString, OsString)>) -> Self {
        self.env = Some(env);
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Sets stdin.
    pub fn stdin(mut self, stdio: PlanStdio) -> Self {
        self.stdio[0] = stdio;
        self
    }

    /// Sets stdout.
    pub fn stdout(mut self, stdio: PlanStdio) -> Self {
        self.stdio[1] = stdio;
        self
    }

    /// Sets stderr.
    pub fn stderr(mut self, stdio: PlanStdio) -> Self {
        self.stdio[2] = stdio;
        self
    }

    /// Asks for a pidfd that is the caller's own and stays valid after the handle is done.
    pub fn create_pidfd(mut self, wish: bool) -> Self {
        self.create_pidfd = wish;
        self
    }

    /// Sets what else it is to be.
    pub fn attributes(mut self, attributes: impl Into<Arc<Attributes>>) -> Self {
        self.attributes = Some(attributes.into());
        self
    }

    fn attributes_or_none(&self) -> &Attributes {
        self.attributes.as_deref().unwrap_or_else(|| Attributes::none())
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`]: an empty program name, a NUL byte in any text, an environment variable whose name is
    /// empty or has a `=`, two settings that contradict each other (both are named), a value that no kernel accepts.
    pub fn build(self) -> Result<Plan> {
        let invalid = |why: String| Err(Error::InvalidPlan { program: self.program.clone(), why });
        if self.program.is_empty() {
            return invalid("the program's name is empty".into());
        }
        let dir = self.current_dir.as_ref().map(|dir| ("working directory", dir.as_os_str()));
        let root = self.attributes_or_none().chroot.as_ref().map(|dir| ("root directory", dir.as_os_str()));
        let arg0 = self.arg0.iter().map(|arg| ("argument 0", arg.as_os_str()));
        let args = self.args.iter().map(|arg| ("argument", arg.as_os_str()));
        let env = self.env.iter().flatten();
        let env = env.flat_map(|(name, value)| [name, value]).map(|text| ("environment", text.as_os_str()));
        let texts =
            [("program's name", self.program.as_os_str())].into_iter().chain(dir).chain(root).chain(arg0).chain(args).chain(env);
        for (what, text) in texts {
            if text.as_bytes().contains(&0) {
                return invalid(format!("the {what} {text:?} has a NUL byte, which no program can be given"));
            }
        }
        for (name, _) in self.env.iter().flatten() {
            if name.is_empty() || name.as_bytes()[1..].contains(&b'=') {
                return invalid(format!("{name:?} cannot name an environment variable"));
            }
        }
        for (name, stdio) in ["stdin", "stdout"].into_iter().zip(&self.stdio) {
            if matches!(stdio, PlanStdio::Stdout) {
                return invalid(format!("{name} (as stdout): only stderr can go where stdout goes"));
            }
        }
        match conflicts::conflict(&self) {
            Some(why) => invalid(why),
            None => Ok(Plan { inner: Arc::new(self), job: None, joined: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_program_can_be_given_is_refused_by_name() {
        for (builder, part) in [
            (Plan::builder(""), "empty"),
            (Plan::builder("a\0b"), "program's name"),
            (Plan::builder("a").arg("x\0"), "argument"),
            (Plan::builder("a").arg0("x\0"), "argument 0"),
            (Plan::builder("a").current_dir("/\0"), "working directory"),
            (Plan::builder("a").attributes(Attributes { chroot: Some("/\0".into()), ..Attributes::default() }), "root directory"),
            (Plan::builder("a").env(vec![("K".into(), "\0".into())]), "environment"),
            (Plan::builder("a").env(vec![("K=".into(), "".into())]), "cannot name"),
            (Plan::builder("a").env(vec![("".into(), "".into())]), "cannot name"),
        ] {
            let error = builder.build().unwrap_err();
            assert!(matches!(error, Error::InvalidPlan { .. }));
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
