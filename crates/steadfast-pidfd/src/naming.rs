//! Naming a process, and coming back to it by its name.
//!
//! Since Linux 6.9 each process has a number of its own in pidfs, which is the inode of its pidfds. So a name is compared with a pidfd that is open:
//! what is the same then stays the same. Before, it is the start time, read from `/proc` while the pidfd is open; if the process has not been
//! reaped afterwards, what was read was its own. Then naming a new-born waits for the end of its tick, as without pidfds.
//!
//! Tried, and not done: to open a process by that number (open_by_handle_at(2), Linux 6.14). It proves no more, and services are run under filters
//! that kill for that call (`SystemCallFilter=~@privileged`, systemd.exec(5)).

use crate::process::PidfdProcess;
use std::time::Duration;
use steadfast_core::{Clock, Errno, Error, Evidence, Identity, Pid, Reopened, Result, StartTime};
use steadfast_linux::{SystemClock, here, pidfd_is_taken, pidfs_number, start_time, start_times_are_not_told, tick_now};

impl PidfdProcess {
    pub(crate) fn name(&self) -> Result<Identity> {
        let failed = |call| move |errno| Error::on_process(call, self.pid, errno);
        let here = here()?;
        let number = pidfs_number(self.pidfd()).map_err(failed("fstat of its pidfd"))?;
        let read = || start_time(self.pid).map_err(failed("read of /proc/PID/stat"));
        let mut start_time = read()?;
        // Where it is all that there is: seen alive when its tick is over, it is the last that can have started in it with its number.
        while let (None, Some(new_born)) = (number, start_time.filter(|seen| !seen.is_exact())) {
            if new_born.ticks() > tick_now() {
                // Of another clock, an emulator's.
                break;
            }
            SystemClock.sleep_until(SystemClock.now() + StartTime::TICK);
            start_time = read()?;
        }
        if !pidfd_is_taken(self.pidfd()) {
            return Err(failed("pidfd_send_signal")(Errno::SRCH));
        }
        let evidence = Evidence::of(number, start_time).ok_or_else(|| untold(self.pid))?;
        Ok(Identity::new(here.boot, here.namespace, self.pid, evidence))
    }

    /// With what has opened a process by its number.
    pub(crate) fn named(identity: &Identity, open: impl FnOnce(Pid) -> Result<PidfdProcess>) -> Reopened<PidfdProcess> {
        let here = match here() {
            Ok(here) => here,
            Err(error) => return Reopened::Unknown(error),
        };
        if let Some(elsewhere) = identity.elsewhere(here.boot, here.namespace) {
            return elsewhere;
        }
        match open(identity.pid()) {
            Ok(process) => process.compared(identity),
            // The number is nobody's, or a thread's by now.
            Err(Error::ProcessDone { .. } | Error::ThreadId { .. }) => Reopened::Gone,
            Err(error) => Reopened::Unknown(error),
        }
    }

    fn compared(self, identity: &Identity) -> Reopened<PidfdProcess> {
        let is_same = match self.has_evidence_of(identity) {
            Ok(is_same) => is_same,
            Err(error) => return Reopened::Unknown(error),
        };
        if is_same == Some(false) || !pidfd_is_taken(self.pidfd()) {
            // Reaped since it was opened: if it was the one, that is gone; if not, that was gone before.
            return Reopened::Gone;
        }
        match (is_same, self.poll(Some(Duration::ZERO))) {
            (Some(_), Ok(has_exited)) => Reopened::Same { process: self, has_exited },
            (Some(_), Err(errno)) => Reopened::Unknown(Error::on_process("poll", self.pid, errno)),
            (None, _) => identity.unknown("it was named within 10 ms of its start, by its start time alone, and the process that has its PID now was started in the same 10 ms: name it later"),
        }
    }

    /// Whether it is the one; `None` if its start time does not tell. It may have been reaped since it was opened, and then another one's was read.
    fn has_evidence_of(&self, identity: &Identity) -> Result<Option<bool>> {
        let failed = |call| move |errno| Error::on_process(call, self.pid, errno);
        let number = pidfs_number(self.pidfd()).map_err(failed("fstat of its pidfd"))?;
        if let (Some(named), Some(number)) = (identity.evidence().pidfs(), number) {
            return Ok(Some(named == number));
        }
        let start_time = start_time(self.pid).map_err(failed("read of /proc/PID/stat"))?;
        match (identity.evidence().start_time(), start_time) {
            (Some(named), Some(start_time)) => Ok(named.is_same(start_time)),
            _ => Err(untold(self.pid)),
        }
    }
}

fn untold(pid: Pid) -> Error {
    let why =
        start_times_are_not_told().unwrap_or("it is hidden in /proc, which would tell its start time: mount it without hidepid");
    Error::UnknownIdentity { pid, why: format!("its pidfd has no number of its own (that needs Linux 6.9), and {why}") }
}
