//! processkit: a group per child, as its own runs have it. Where a cgroup can be made, the child joins it by a write of its own before its exec.

use crate::peers::Tokio;
use crate::subject::{Answer, Bond, Order, Refusal, Subject, Tree, boxed};
use processkit::{Mechanism, ParentDeathCleanup, ProcessGroup, RunningProcess, StdioMode};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

/// By the way for a command of tokio's, which takes any stdin.
pub(crate) struct Processkit {
    // Dropped first: who is killed by the group's end is not waited for any more.
    child: Tokio,
    group: Arc<ProcessGroup>,
}

impl Processkit {
    pub(crate) fn start(mut order: Order) -> Answer<Box<dyn Subject>> {
        // The group is its business.
        order.leads_group = false;
        let group = Arc::new(ProcessGroup::new()?);
        let shared = Arc::clone(&group);
        let child = Tokio::start_by(order, move |command| Ok(shared.spawn(command)?))?;
        boxed(Processkit { child, group })
    }

    pub(crate) fn output(command: Command) -> Answer<Vec<u8>> {
        let command = processkit::Command::new(command.get_program()).args(command.get_args());
        Ok(Tokio::runtime()?.block_on(command.output_bytes())?.into_stdout())
    }
}

impl Subject for Processkit {
    fn pid(&self) -> i32 {
        self.child.pid()
    }

    fn kill(&mut self) -> Answer<()> {
        self.child.kill()
    }

    fn kill_group(&mut self) -> Answer<()> {
        Ok(self.group.kill_all()?)
    }

    fn wait(&mut self) -> Answer<ExitStatus> {
        self.child.wait()
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<Option<ExitStatus>> {
        self.child.wait_timeout(timeout)
    }
}

pub(crate) struct ProcesskitTree {
    /// Until it was waited for.
    running: Option<RunningProcess>,
    pid: i32,
    group: ProcessGroup,
}

impl ProcesskitTree {
    pub(crate) fn start(program: &Path) -> Answer<Box<dyn Tree>> {
        let group = ProcessGroup::new()?;
        let command = processkit::Command::new(program).stdout(StdioMode::Null).stderr(StdioMode::Null).kill_on_parent_death();
        let running = Tokio::runtime()?.block_on(group.start(&command))?;
        let pid = running.pid().ok_or("no PID")? as i32;
        Ok(Box::new(ProcesskitTree { running: Some(running), pid, group }))
    }
}

impl Tree for ProcesskitTree {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<bool> {
        let running = self.running.take().ok_or(Refusal::NotOffered)?;
        let waited = Tokio::runtime()?.block_on(async { tokio::time::timeout(timeout, running.wait()).await });
        Ok(waited.ok().transpose()?.is_some())
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.group.kill_all()?)
    }

    fn bond(&self) -> Bond {
        let mechanism = self.group.mechanism();
        let joined = if mechanism == Mechanism::CgroupV2 { ", which the child joins by a write before its exec" } else { "" };
        let leaks = (mechanism == Mechanism::ProcessGroup).then(|| format!("{:?}", mechanism.name()));
        let scope = processkit::Command::kill_on_parent_death_scope();
        let outlives = (scope != ParentDeathCleanup::WholeTree).then(|| format!("{:?}", scope.name()));
        Bond { by: format!("{}{joined}", mechanism.name()), leaks, outlives }
    }
}
