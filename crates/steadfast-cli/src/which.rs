//! A process by what the user says: a PID, an identity, a pidfile.

use crate::say::Outcome;
use std::path::Path;
use steadfast::{Identity, Pid, Pidfile, PidfileStatus, Process, Reopened, Stale, System};

/// How a process was named, and what was found.
pub(crate) enum Found {
    Process(Process),
    /// It was meant, and it has ended: nobody else is taken for it. In words.
    Over(String),
}

/// `4711`, an identity, or the path of a pidfile.
///
/// A PID says who has the number now. An identity and a pidfile say who was meant.
pub(crate) fn find(text: &str) -> Outcome<Found> {
    if let Ok(number) = text.parse::<i32>() {
        return Ok(Found::Process(Process::find(Pid::new(number)?)?));
    }
    match text.parse::<Identity>() {
        Ok(identity) => reopen(&identity),
        Err(no_identity) if !text.contains('/') && !Path::new(text).exists() => Err(format!(
            "{text:?} is no PID, no file, and no identity ({no_identity}): give a number, the line that `steadfast id` has printed, or the path \
             of a pidfile"
        )
        .into()),
        Err(_) => by_pidfile(Path::new(text)),
    }
}

fn reopen(identity: &Identity) -> Outcome<Found> {
    match System::current()?.reopen(identity) {
        Reopened::Same { process, .. } => Ok(Found::Process(process)),
        Reopened::Gone => Ok(Found::Over("it is gone".into())),
        Reopened::OtherBoot => Ok(Found::Over("it ran before the last boot, or on another machine".into())),
        Reopened::OtherNamespace => Err(format!("{identity}: is of another PID namespace: ask there").into()),
        other => Err(format!("{identity}: cannot be known here: {other:?}").into()),
    }
}

fn by_pidfile(path: &Path) -> Outcome<Found> {
    let shown = path.display();
    match Pidfile::status(path)? {
        PidfileStatus::Running(process) => Ok(Found::Process(process)),
        PidfileStatus::Absent => Err(format!("{shown}: there is no such pidfile").into()),
        PidfileStatus::Stale(Stale::Exited) => Ok(Found::Over("it has exited".into())),
        PidfileStatus::Stale(Stale::Gone) => Ok(Found::Over("it is gone".into())),
        PidfileStatus::Stale(Stale::OtherBoot) => Ok(Found::Over("it ran before the last boot, or on another machine".into())),
        PidfileStatus::OtherNamespace => Err(format!("{shown}: names a process of another PID namespace: ask there").into()),
        PidfileStatus::Unknown(error) => Err(error.into()),
    }
}
