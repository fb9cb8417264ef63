//! [`Pidfile`]: says which process is the one, to this program and to others, and never names a stranger.

mod place;
mod text;

use crate::{Process, Stopped, System, Teardown};
use place::{Access, Found, Place};
use std::fmt;
use std::path::Path;
use steadfast_core::{Error, Identity, Pid, PidfileIs, Reopened, Result, StartTime};
use steadfast_linux::generation;
use text::{identity_in, text_of};

/// A file that says which process is the one that may do something: the daemon of this name, the only one that writes into that database. One process has
/// it at a time. As soon as that is gone, whatever has ended it, the next one may take it, and nobody has to clean up.
///
/// ```
/// use steadfast::{ErrorKind, Pidfile, PidfileStatus};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("server.pid");         // in a program: "/run/server.pid"
/// let pidfile = Pidfile::start(&path)?;                       // or: who has it
/// let second = Pidfile::start(&path).unwrap_err();
/// assert_eq!(second.kind(), ErrorKind::PidfileTaken);
/// println!("{second}");                       // pidfile `/run/server.pid`: it is held by process 4711, which runs
/// assert!(matches!(Pidfile::status(&path)?, PidfileStatus::Running(_)));
/// drop(pidfile);
/// assert!(matches!(Pidfile::status(&path)?, PidfileStatus::Absent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To start a daemon, take the file first, for the program that starts it, and hand it over then: two that start it at once do not get two.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Command, Pidfile, Teardown};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("sleep.pid");
/// let mut pidfile = Pidfile::start(&path)?;
/// let daemon = Command::new("sleep").arg("1000").setsid(true).spawn()?;
/// pidfile.hand_over(&daemon)?;
/// pidfile.keep();                                             // the daemon outlives this program
///
/// // Later, in another program as a rule:
/// let stopped = Pidfile::stop(&path, &Teardown::graceful(Duration::from_secs(10)))?;
/// assert!(stopped.is_over() && !path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it says
/// Two lines: the PID, for tools that want one, and the [`Identity`], which is what counts here. Its mode is 0644. Nobody ever sees half of it: it is written beside its
/// place, as `.NAME.PID.NUMBER.new`, and moved there; a `SIGKILL` just then leaves that file behind, without a meaning. A symbolic link is not followed. The file of
/// another tool, with a bare number, is [`Unknown`](PidfileStatus::Unknown): whose number that is now, nobody knows.
///
/// Whoever may write a pidfile can have it name any process, and whoever stops the daemon would stop that one. So the file of another user than root and the caller's is
/// believed only if the process that it names is that user's too.
///
/// # Who has it
/// The process that it names, as long as that runs. A zombie has it no more. It is a lock on the file that orders those who change it, for the few system calls
/// that this takes, an open-file-description lock (`F_OFD_SETLK`, fcntl(2), since Linux 3.15); it does not say that the process runs. So the process need not keep
/// anything open: the file can name a child, and a process that executes another program keeps it. What holds the lock may be copied into the child of a fork(2); the child has
/// nothing by that, and holds nobody up: the lock is given up by the call that took it, not by a close. Only if a process is killed in these few calls, and has
/// forked in them, the lock lasts as long as that child.
///
/// Whoever may read the file can hold up those who want to take it over, by a lock of his own. That is [`PidfileIs::Busy`] after two seconds.
///
/// # Drop
/// removes the file, if it still is this one: when the value is dropped in the process that has taken it, and not in a fork of that. A process that is killed, or exits
/// without destructors, leaves the file behind, and the next one replaces it.
#[must_use = "a pidfile that is dropped is removed"]
pub struct Pidfile {
    place: Place,
    found: Found,
    identity: Identity,
    system: System,
    at_drop: AtDrop,
}

/// What becomes of the file when the value is dropped.
#[derive(Clone, Copy, PartialEq)]
enum AtDrop {
    /// In the process of this [`generation`].
    RemoveIn(u32),
    Keep,
}

/// What a pidfile was found to say.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "whoever matches on it shall see that no answer is missing")]
pub enum PidfileStatus {
    /// There is no file.
    Absent,
    /// The process that it names runs: this is the handle.
    Running(Process),
    /// The process that it names does not run any more: the file can be taken over.
    Stale(Stale),
    /// It names a process of another PID namespace, which may run there.
    OtherNamespace,
    /// Whether the process runs cannot be known: [`PidfileIs::Unknown`], which says why.
    Unknown(Error),
}

/// Why a pidfile's process does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the three ways not to run any more")]
pub enum Stale {
    /// It has run to its end, and its parent has not waited for it yet.
    Exited,
    /// It was reaped. Its PID may be another's.
    Gone,
    /// It ran before the last boot, or on another machine.
    OtherBoot,
}

/// Which files may be taken over. That of a process that runs is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a choice between two")]
pub enum Takeover {
    /// Those whose process is known not to run.
    IfStale,
    /// Those too of which nobody here can know: of another PID namespace, of another tool, damaged. The caller knows that their process does not run.
    EvenIfUnknown,
}

impl Pidfile {
    /// Takes the file for this process, on the current system. Of any number of processes and threads that try it at once, one succeeds.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Error::Unsupported`] in a simulation, where this program is no process: name a simulated one, by `create`.
    pub fn start(path: impl AsRef<Path>) -> Result<Pidfile> {
        Pidfile::create(path, &own_process(&System::current()?)?)
    }

    /// Takes the file for a process that runs: a child, or another one. A process that was started in the last 10 ms is named when they are over, so that programs
    /// without pidfds can tell it from others too.
    ///
    /// # Errors
    /// [`Error::Pidfile`], with [`PidfileIs::Taken`] and the PID of whoever has it, if that is another process that runs, or this one;
    /// [`PidfileIs::Elsewhere`] or [`Unknown`](PidfileIs::Unknown) if nobody here can know that; [`Busy`](PidfileIs::Busy) if it is stale and somebody else has
    /// locked it for two seconds. [`Error::System`] with the file and the call: `ENOENT` and `EACCES` of the directory, `ELOOP` for a symbolic link, `EISDIR` for a
    /// directory, `ENODEV` for what else is no regular file, `EROFS`, `ENOSPC`, `EMFILE`. As [`identity`](steadfast_core::Process::identity), if the process cannot be named.
    pub fn create(path: impl AsRef<Path>, process: &Process) -> Result<Pidfile> {
        Pidfile::create_with(path, process, Takeover::IfStale)
    }

    /// As [`create`](Self::create), with a choice of which files are taken over. Nothing but a regular file is.
    ///
    /// # Errors
    /// As `create`.
    pub fn create_with(path: impl AsRef<Path>, process: &Process, takeover: Takeover) -> Result<Pidfile> {
        let system = System::of(process.backend().clone());
        let (place, identity) = (Place::new(path.as_ref())?, name(&system, process)?);
        let found = take(&system, &place, &text_of(&identity), takeover)?;
        Ok(Pidfile { place, found, identity, system, at_drop: AtDrop::RemoveIn(generation()) })
    }

    /// Takes hold of a file that names this process already: after a [`keep`](Self::keep), or when it has executed its own program anew.
    ///
    /// # Errors
    /// [`Error::Pidfile`]: [`PidfileIs::Lost`] if the file is not there, or names a process that does not run; as [`create`](Self::create) else.
    pub fn adopt(path: impl AsRef<Path>) -> Result<Pidfile> {
        let system = System::current()?;
        let (place, identity) = (Place::new(path.as_ref())?, own_process(&system)?.identity()?);
        let lost = || place.error(PidfileIs::Lost);
        let found = place.open(Access::Lock)?.ok_or_else(lost)?;
        let is_ours = identity_in(&found.text).is_ok_and(|named| named.is_same_life(&identity) == Some(true));
        if !is_ours {
            Takeover::IfStale.allows(&place, judge(&system, &place, &found))?;
            return Err(lost());
        }
        Ok(Pidfile { place, found, identity, system, at_drop: AtDrop::RemoveIn(generation()) })
    }

    /// What the file says now, on the current system. It is read as a whole, whoever changes it.
    ///
    /// # Errors
    /// [`Error::System`] with the file and the call, as for [`create`](Self::create). What keeps it from being known whether the process runs is no error, but
    /// [`PidfileStatus::Unknown`].
    pub fn status(path: impl AsRef<Path>) -> Result<PidfileStatus> {
        let (system, place) = (System::current()?, Place::new(path.as_ref())?);
        Ok(place.open(Access::Read)?.map_or(PidfileStatus::Absent, |found| judge(&system, &place, &found)))
    }

    /// Stops the process that the file names, by its handle, and returns when it has exited; then removes the file, unless it is another one by now. What was needed is
    /// in the answer: `signal()` is `None` if nothing ran, or there was no file. If the process has not ended after the last step, the file stays.
    ///
    /// A process that is a child of this program is waited for and reaped, as by [`wait`](steadfast_core::Process::wait).
    ///
    /// # Errors
    /// [`Error::Pidfile`] if nobody here can know whether it runs: nobody is signalled then. [`Error::System`]: `EPERM` if it may not be signalled, and as for
    /// [`create`](Self::create).
    pub fn stop(path: impl AsRef<Path>, how: &Teardown) -> Result<Stopped> {
        let (system, place) = (System::current()?, Place::new(path.as_ref())?);
        let Some(found) = place.open(Access::Read)? else { return Ok(Stopped::new(true, None)) };
        let stopped = match judge(&system, &place, &found) {
            PidfileStatus::Running(process) => stop(&process, how)?,
            status => {
                Takeover::IfStale.allows(&place, status)?;
                Stopped::new(true, None)
            }
        };
        if stopped.is_over() {
            remove_stale(&system, &place, &found)?;
        }
        Ok(stopped)
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Whom it names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Has it name another process, in one step: there is no moment at which somebody else could take it.
    ///
    /// # Errors
    /// [`Error::Pidfile`] with [`PidfileIs::Lost`] if the file is not this one any more; else as [`create`](Self::create). It names whom it named before then.
    pub fn hand_over(&mut self, process: &Process) -> Result<()> {
        let identity = name(&self.system, process)?;
        let (mut fresh, found) = self.place.prepare(&text_of(&identity))?;
        let lock = self.place.lock(&self.found, &self.system)?;
        if !self.place.is(&self.found)? {
            return Err(self.place.error(PidfileIs::Lost));
        }
        fresh.replace(&lock)?;
        drop(lock);
        drop(fresh);
        (self.found, self.identity) = (found, identity);
        Ok(())
    }

    /// Leaves the file where it is when this program ends: its process lasts longer, or the next one is to see that there was one.
    pub fn keep(mut self) {
        self.at_drop = AtDrop::Keep;
    }

    /// Removes the file, as a drop does, and says whether it was there: `false` if somebody else has removed or replaced it, and in a fork of the process that has taken it.
    ///
    /// # Errors
    /// [`Error::Pidfile`] with [`PidfileIs::Busy`]; [`Error::System`] with the call: `EACCES`, `EROFS`.
    pub fn remove(mut self) -> Result<bool> {
        if !self.is_ours() {
            return Ok(false);
        }
        self.at_drop = AtDrop::Keep;
        let lock = self.place.lock(&self.found, &self.system)?;
        self.place.remove(&self.found, &lock)
    }

    fn is_ours(&self) -> bool {
        self.at_drop == AtDrop::RemoveIn(generation())
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        // Not waited for: if it is locked, or cannot be removed, it is stale as soon as its process is gone.
        if let Ok(Some(lock)) = self.place.try_lock(&self.found) {
            self.place.remove(&self.found, &lock).ok();
        }
    }
}

impl fmt::Debug for Pidfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pidfile({}, {})", self.path().display(), self.identity)
    }
}

impl Takeover {
    /// Whether a file of this status may be taken.
    fn allows(self, place: &Place, status: PidfileStatus) -> Result<()> {
        match status {
            PidfileStatus::Absent | PidfileStatus::Stale(_) => Ok(()),
            PidfileStatus::Running(process) => Err(place.error(PidfileIs::Taken { pid: process.pid() })),
            PidfileStatus::OtherNamespace | PidfileStatus::Unknown(_) if self == Takeover::EvenIfUnknown => Ok(()),
            PidfileStatus::OtherNamespace => Err(place.error(PidfileIs::Elsewhere)),
            PidfileStatus::Unknown(why) => Err(why),
        }
    }
}

fn own_process(system: &System) -> Result<Process> {
    if !system.info().real {
        let what =
            "this program is no process of the simulation: take the pidfile for a simulated one, by Pidfile::create".into();
        return Err(Error::Unsupported { backend: system.backend_name(), what });
    }
    system.find(Pid::try_from(std::process::id())?)
}

/// Its identity, with a start time that is evidence for readers without pidfds too: a new-born is named when its tick of the clock is over.
fn name(system: &System, process: &Process) -> Result<Identity> {
    let identity = process.identity()?;
    if identity.evidence().start_time().is_none_or(StartTime::is_exact) {
        return Ok(identity);
    }
    system.sleep(StartTime::TICK);
    process.identity()
}

/// Puts this text there. What was judged once is so for good: a file that is there does not change, and a process that does not run any more never will.
fn take(system: &System, place: &Place, text: &str, takeover: Takeover) -> Result<Found> {
    loop {
        let Some(judged) = place.open(Access::Read)? else {
            let (mut fresh, found) = place.prepare(text)?;
            if fresh.place_if_free()? {
                return Ok(found);
            }
            // Somebody else was quicker.
            continue;
        };
        takeover.allows(place, judge(system, place, &judged))?;
        let Some(old) = place.open(Access::Lock)?.filter(|old| old.is_same(&judged)) else { continue };
        let (mut fresh, found) = place.prepare(text)?;
        let lock = place.lock(&old, system)?;
        if place.is(&old)? {
            fresh.replace(&lock)?;
            return Ok(found);
        }
    }
}

fn judge(system: &System, place: &Place, found: &Found) -> PidfileStatus {
    let unknown = |why, errno| PidfileStatus::Unknown(place.error(PidfileIs::Unknown { why, errno }));
    let identity = match identity_in(&found.text) {
        Ok(identity) => identity,
        Err(why) => return unknown(why, None),
    };
    match system.reopen(&identity) {
        Reopened::Same { has_exited: true, .. } => PidfileStatus::Stale(Stale::Exited),
        Reopened::Same { process, .. } => match distrust(found.user, &process) {
            None => PidfileStatus::Running(process),
            Some(why) => unknown(why, None),
        },
        Reopened::Gone => PidfileStatus::Stale(Stale::Gone),
        Reopened::OtherBoot => PidfileStatus::Stale(Stale::OtherBoot),
        Reopened::OtherNamespace => PidfileStatus::OtherNamespace,
        Reopened::Unknown(why) => unknown(why.to_string(), why.errno()),
    }
}

/// Why a file of this user is not believed to name this process. `None`: it is root's or ours, or the process is that user's own, to whom he could do
/// whatever is done for his file.
fn distrust(user: u32, process: &Process) -> Option<String> {
    if [0, rustix::process::geteuid().as_raw()].contains(&user) {
        return None;
    }
    match process.inspect().and_then(|look| look.users()) {
        Ok(users) if users == [user; 3] => None,
        Ok(_) => {
            Some(format!("it belongs to user {user}, who may have named any process, and process {} is not his", process.pid()))
        }
        Err(error) => Some(format!("it belongs to user {user}, and whether its process does is not told: {error}")),
    }
}

fn stop(process: &Process, how: &Teardown) -> Result<Stopped> {
    let mut steps = how.begin();
    let mut is_over = false;
    while !is_over {
        let send = |signal| match process.signal(signal) {
            Ok(()) => Ok(true),
            Err(Error::ProcessDone { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let Some(time) = steps.next(send)? else { break };
        is_over = process.wait_exited_timeout(time)?.is_some();
    }
    Ok(steps.stopped(is_over))
}

/// Removes the file, unless it is another one by now.
fn remove_stale(system: &System, place: &Place, found: &Found) -> Result<()> {
    // Its owner has removed it by himself, or the next one has replaced it.
    let Some(old) = place.open(Access::Lock)?.filter(|old| old.is_same(found)) else { return Ok(()) };
    let lock = place.lock(&old, system)?;
    place.remove(&old, &lock).map(drop)
}
