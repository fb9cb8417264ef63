//! The libraries: what each of them offers of the little that the hazards ask for, used as its documentation says.

use crate::bonds::{self, OurTree};
use crate::peers::{AsyncProcess, PidfdUtil, Subprocess, Tokio, Wrapped, std_output};
use crate::processkit::{Processkit, ProcesskitTree};
use crate::subject::{Answer, Order, Refusal, Stdin, Subject, Tree, boxed};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use steadfast::System;

pub(crate) struct Library {
    /// How it is called in the tables.
    pub(crate) name: &'static str,
    /// Whose version counts; none for what is part of the compiler.
    pub(crate) package: Option<&'static str>,
    pub(crate) start: fn(Order) -> Answer<Box<dyn Subject>>,
    /// Takes hold of a process by its PID.
    pub(crate) find: fn(i32) -> Answer<Box<dyn Subject>>,
    /// What this program writes to its stdout, in the way that the documentation comes to first.
    pub(crate) output: fn(Command) -> Answer<Vec<u8>>,
    /// Starts a program, to be ended with all that it starts.
    pub(crate) tree: fn(&Path) -> Answer<Box<dyn Tree>>,
}

impl Library {
    pub(crate) fn is_ours(&self) -> bool {
        self.package == Some("steadfast")
    }
}

/// A column each.
pub(crate) fn all() -> Vec<Library> {
    fn not_offered(_: i32) -> Answer<Box<dyn Subject>> {
        Err(Refusal::NotOffered)
    }
    // It ends the process that it has started, and says so.
    fn no_tree(_: &Path) -> Answer<Box<dyn Tree>> {
        Err(Refusal::NotOffered)
    }
    vec![
        Library {
            name: "steadfast, pidfd",
            package: Some("steadfast"),
            start: |order| Ours::start(System::pidfd()?, order),
            find: |pid| Ours::find(System::pidfd()?, pid),
            output: |command| Ours::output(System::pidfd()?, command),
            tree: |program| OurTree::start(&System::pidfd()?, program),
        },
        Library {
            name: "steadfast, pid-legacy",
            package: Some("steadfast"),
            start: |order| Ours::start(System::pid_legacy(), order),
            find: |pid| Ours::find(System::pid_legacy(), pid),
            output: |command| Ours::output(System::pid_legacy(), command),
            tree: |program| OurTree::start(&System::pid_legacy(), program),
        },
        Library {
            name: "std",
            package: None,
            start: |order| boxed(order.for_std().spawn()?),
            find: not_offered,
            output: std_output,
            tree: no_tree,
        },
        Library {
            name: "tokio",
            package: Some("tokio"),
            start: Tokio::start,
            find: not_offered,
            output: Tokio::output,
            tree: no_tree,
        },
        Library {
            name: "async-process",
            package: Some("async-process"),
            start: AsyncProcess::start,
            find: not_offered,
            output: AsyncProcess::output,
            tree: no_tree,
        },
        Library {
            name: "shared_child",
            package: Some("shared_child"),
            start: |order| boxed(shared_child::SharedChild::spawn(&mut order.for_std())?),
            find: not_offered,
            output: |_| Err(Refusal::NotOffered),
            tree: no_tree,
        },
        Library {
            name: "subprocess",
            package: Some("subprocess"),
            start: Subprocess::start,
            find: not_offered,
            output: Subprocess::output,
            tree: bonds::subprocess,
        },
        Library {
            name: "process-wrap",
            package: Some("process-wrap"),
            start: Wrapped::start,
            find: not_offered,
            output: Wrapped::output,
            tree: bonds::wrapped,
        },
        Library {
            name: "processkit",
            package: Some("processkit"),
            start: Processkit::start,
            find: not_offered,
            output: Processkit::output,
            tree: ProcesskitTree::start,
        },
        Library {
            name: "pidfd-util",
            package: Some("pidfd-util"),
            // It takes hold of what others have started; their pipes are not its business.
            start: |order| match order.stdin {
                Stdin::Piped => Err(Refusal::NotOffered),
                _ => PidfdUtil::find(order.for_std().spawn()?.id() as i32),
            },
            find: PidfdUtil::find,
            output: |_| Err(Refusal::NotOffered),
            tree: no_tree,
        },
    ]
}

enum Ours {
    Child(steadfast::Child),
    Found(steadfast::Process),
}

impl Ours {
    fn start(system: System, order: Order) -> Answer<Box<dyn Subject>> {
        let stdin = match order.stdin {
            Stdin::Null => steadfast::Stdio::null(),
            Stdin::Given(fd) => steadfast::Stdio::from(fd),
            Stdin::Piped => steadfast::Stdio::piped(),
        };
        let mut command = steadfast::Command::new(&order.program);
        command.args(&order.args).stdin(stdin).stdout(steadfast::Stdio::null()).stderr(steadfast::Stdio::null());
        // As the twins of std and tokio ask for.
        command.handle(steadfast::Handle::IfPossible);
        if order.leads_group {
            command.process_group(0);
        }
        if let Some(user) = order.user {
            command.uid(user).gid(user);
        }
        boxed(Ours::Child(system.spawn(&command)?))
    }

    fn find(system: System, pid: i32) -> Answer<Box<dyn Subject>> {
        boxed(Ours::Found(system.find(steadfast::Pid::new(pid)?)?))
    }

    fn output(system: System, command: Command) -> Answer<Vec<u8>> {
        let mut ours = steadfast::Command::new(command.get_program());
        ours.args(command.get_args()).stdin(steadfast::Stdio::null());
        let _here = system.enter();
        Ok(ours.output()?.stdout)
    }

    fn process(&self) -> &steadfast::Process {
        match self {
            Ours::Child(child) => child.process(),
            Ours::Found(process) => process,
        }
    }
}

impl Subject for Ours {
    fn pid(&self) -> i32 {
        self.process().pid().as_raw()
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.process().kill()?)
    }

    fn kill_group(&mut self) -> Answer<()> {
        Ok(self.process().kill_group()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        match self {
            Ours::Child(child) => Ok(child.wait()?),
            Ours::Found(process) => process.wait_gone()?.status().ok_or_else(|| "gone, status unknown".into()),
        }
    }

    fn wait_exited(&mut self) -> Answer<Option<ExitStatus>> {
        Ok(self.process().wait_exited()?.status())
    }

    fn peak_memory(&self) -> Answer<steadfast::MaxRss> {
        let exit = self.process().exit().ok_or("not waited for")?;
        Ok(exit.rusage.ok_or("unknown")?.max_rss)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        Ok(self.process().wait_timeout(timeout)?)
    }
}
