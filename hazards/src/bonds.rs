//! How each library that offers it holds a tree together: the strongest way of its documentation.

use crate::peers::{Subprocess, Wrapped};
use crate::subject::{Answer, Bond, Order, Subject, Tree};
use std::path::Path;
use std::time::{Duration, Instant};
use steadfast::{Job, System, Teardown};

/// A job.
pub(crate) struct OurTree {
    job: Job,
    child: steadfast::Child,
}

impl OurTree {
    pub(crate) fn start(system: &System, program: &Path) -> Answer<Box<dyn Tree>> {
        let job = system.job(&Job::builder())?;
        let mut command = steadfast::Command::new(program);
        command.stdin(steadfast::Stdio::null()).stdout(steadfast::Stdio::null()).stderr(steadfast::Stdio::null());
        command.handle(steadfast::Handle::IfPossible);
        let child = system.spawn(command.in_job(&job))?;
        Ok(Box::new(OurTree { job, child }))
    }
}

impl Tree for OurTree {
    fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<bool> {
        Ok(self.child.wait_timeout(timeout)?.is_some())
    }

    fn kill(&mut self) -> Answer<()> {
        let stopped = self.job.stop(&Teardown::killing())?;
        if stopped.is_over() { Ok(()) } else { Err(stopped.to_string().into()) }
    }

    fn bond(&self) -> Bond {
        let leaks = self.job.containment().leaks().then(|| "that it leaks".to_owned());
        Bond { by: self.job.containment().to_string(), leaks, outlives: self.job.lives_on().map(|error| error.to_string()) }
    }
}

/// A process group, which it signals until its leader was waited for.
impl Tree for Subprocess {
    fn pid(&self) -> i32 {
        Subject::pid(self)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<bool> {
        Ok(Subject::wait_timeout(self, timeout)?.is_some())
    }

    fn kill(&mut self) -> Answer<()> {
        self.kill_group()
    }

    fn bond(&self) -> Bond {
        Bond { by: "killpg(2), until the leader was waited for".into(), leaks: None, outlives: None }
    }
}

pub(crate) fn subprocess(program: &Path) -> Answer<Box<dyn Tree>> {
    Ok(Box::new(Subprocess::new(leader(program))?))
}

/// A process group, or a session: both are killed by killpg(2).
impl Tree for Wrapped {
    fn pid(&self) -> i32 {
        Subject::pid(self)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> Answer<bool> {
        let deadline = Instant::now() + timeout;
        // It has no limits of its own.
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            System::pid_legacy().sleep(Duration::from_millis(1));
        }
        Ok(false)
    }

    fn kill(&mut self) -> Answer<()> {
        Ok(self.child.kill()?)
    }

    fn bond(&self) -> Bond {
        Bond { by: "killpg(2)".into(), leaks: None, outlives: None }
    }
}

pub(crate) fn wrapped(program: &Path) -> Answer<Box<dyn Tree>> {
    Ok(Box::new(Wrapped::new(leader(program))?))
}

fn leader(program: &Path) -> Order {
    let mut order = Order::new(program);
    order.leads_group = true;
    order
}
