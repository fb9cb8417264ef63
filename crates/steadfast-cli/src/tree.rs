//! All descendants of a process, held by handles.

use std::collections::HashSet;
use std::time::Duration;
use steadfast::{ErrorKind, Pid, Process, Result, RunState, Signal, System};

/// The process and all that descend from it, stopped, so that they start no others meanwhile. Who has left the tree before (a daemon, whose parent
/// has ended) is not found: that takes a job.
///
/// This program is left out, wherever it is in the tree: once it was stopped, nobody would let the others go on.
///
/// A drop lets them go on, unless they were signalled to stop.
pub(crate) struct Tree {
    members: Vec<Process>,
    stay_stopped: bool,
}

/// What SIGCONT would undo, or throw away while it is pending (signal(7)).
const STOPS: [Signal; 4] = [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU];

/// How often a process is looked at that does not stop: in state D it does when it wakes up, and starts nobody before.
const LOOKS: u32 = 1000;

impl Tree {
    pub(crate) fn stopped(root: &Process) -> Result<Tree> {
        let mut tree = Tree { members: vec![root.clone()], stay_stopped: false };
        let own = Pid::new(std::process::id() as i32)?;
        if root.pid() == own {
            tree.members.clear();
        }
        let mut seen = HashSet::from([root.pid(), own]);
        let mut next = 0;
        while let Some(process) = tree.members.get(next).cloned() {
            next += 1;
            if unless_over(process.signal(Signal::STOP))?.is_some() {
                until_stopped(&process)?;
                // Now it has all the children that it will have.
                let children = unless_over(process.inspect().and_then(|inspection| inspection.children()))?.unwrap_or_default();
                tree.members.extend(children.into_iter().filter(|child| seen.insert(child.pid())));
            }
        }
        Ok(tree)
    }

    /// Whom there was to signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<usize> {
        self.stay_stopped = STOPS.contains(&signal);
        let mut hit = 0;
        for process in &self.members {
            hit += usize::from(unless_over(process.signal(signal))?.is_some());
        }
        Ok(hit)
    }

    pub(crate) fn members(&self) -> &[Process] {
        &self.members
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.stay_stopped {
            // Who may not be continued could not be stopped either.
            self.signal(Signal::CONT).ok();
        }
    }
}

fn until_stopped(process: &Process) -> Result<()> {
    let system = System::current()?;
    for _ in 0..LOOKS {
        match unless_over(process.inspect())?.map(|inspection| inspection.first_facts().state) {
            Some(RunState::Running | RunState::Sleeping) => system.sleep(Duration::from_millis(1)),
            _ => break,
        }
    }
    Ok(())
}

/// That it has ended is no error here.
fn unless_over<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::ProcessDone => Ok(None),
        answer => answer.map(Some),
    }
}
