//! [`Ran`]: which program was run, with what, and how it ended; for the end of a test.

use crate::model::host::Begins;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use steadfast_core::{Pid, Signal};

/// One run of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// The PID that it had. The number may belong to another process by now.
    pub pid: Pid,
    /// The PID of the process that has started it; `None`: the program under test.
    pub parent: Option<Pid>,
    /// The program's name.
    pub program: OsString,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its environment, if the command set one.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// Its working directory, if the command set one.
    pub current_dir: Option<PathBuf>,
    /// The signals that were sent to it while it existed, by any process and with any result.
    pub signals: Vec<Signal>,
    /// Those of them that came with a value (`Process::signal_value`), and these.
    pub values: Vec<(Signal, i32)>,
    /// How it ended, if it has.
    pub status: Option<ExitStatus>,
}

struct Entry {
    pid: i32,
    parent: i32,
    name: u32,
    args: Vec<OsString>,
    given: Option<Box<Given>>,
    signals: Vec<Signal>,
    values: Vec<(Signal, i32)>,
    status: Option<i32>,
}

struct Given {
    env: Option<Vec<(OsString, OsString)>>,
    current_dir: Option<PathBuf>,
}

/// The last runs, up to a limit.
pub(crate) struct RunLog {
    entries: VecDeque<Entry>,
    /// The number of the first that is kept.
    first: u64,
    limit: usize,
}

impl RunLog {
    pub(crate) fn new(limit: usize) -> RunLog {
        RunLog { entries: VecDeque::new(), first: 0, limit }
    }

    /// A run begins; returns its number.
    pub(crate) fn begin(&mut self, Begins { pid, parent, name, args, plan }: Begins<'_>) -> u64 {
        let number = self.first + self.entries.len() as u64;
        let plan = plan.filter(|plan| plan.env().is_some() || plan.current_dir().is_some());
        let given = plan.map(|plan| {
            let (env, current_dir) = (plan.env().map(<[_]>::to_vec), plan.current_dir().map(Into::into));
            Box::new(Given { env, current_dir })
        });
        let (signals, values) = (Vec::new(), Vec::new());
        self.entries.push_back(Entry { pid, parent, name, args: args.to_vec(), given, signals, values, status: None });
        if self.entries.len() > self.limit {
            self.entries.pop_front();
            self.first += 1;
        }
        number
    }

    /// With what it was started; nothing, if so many have come after it that it is not kept any more.
    pub(crate) fn args(&self, run: u64) -> &[OsString] {
        let index = run.checked_sub(self.first);
        index.and_then(|index| self.entries.get(index as usize)).map_or(&[], |entry| &entry.args)
    }

    fn entry(&mut self, run: u64) -> Option<&mut Entry> {
        self.entries.get_mut(run.checked_sub(self.first)? as usize)
    }

    pub(crate) fn signalled(&mut self, run: u64, signal: Signal) {
        if let Some(entry) = self.entry(run) {
            entry.signals.push(signal);
        }
    }

    pub(crate) fn given(&mut self, run: u64, signal: Signal, value: i32) {
        if let Some(entry) = self.entry(run) {
            entry.values.push((signal, value));
        }
    }

    pub(crate) fn ended(&mut self, run: u64, status: i32) {
        if let Some(entry) = self.entry(run) {
            entry.status = Some(status);
        }
    }

    pub(crate) fn all<'a>(&'a self, program: impl Fn(u32) -> OsString + 'a) -> impl Iterator<Item = Ran> + 'a {
        self.entries.iter().filter_map(move |entry| {
            let given = entry.given.as_deref();
            Some(Ran {
                pid: Pid::new(entry.pid).ok()?,
                parent: Pid::new(entry.parent).ok(),
                program: program(entry.name),
                args: entry.args.clone(),
                env: given.and_then(|given| given.env.clone()),
                current_dir: given.and_then(|given| given.current_dir.clone()),
                signals: entry.signals.clone(),
                values: entry.values.clone(),
                status: entry.status.map(std::os::unix::process::ExitStatusExt::from_raw),
            })
        })
    }
}
