//! [`Setup`]: what a kernel is built with.

use super::expect::Expect;
use super::fault::Fault;
use super::run::Run;
use super::script::Script;
use crate::model::bits::SignalBits;
use crate::model::machine::Limits;
use crate::model::step::Code;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use steadfast_core::{Containment, JobLimit, Wall};

/// What a kernel is built with: the same for each run of a test.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) limits: Limits,
    /// What the program under test ignores and blocks from the start.
    pub(crate) ignored: SignalBits,
    pub(crate) blocked: SignalBits,
    pub(crate) tells_lost_status: bool,
    pub(crate) trace_limit: usize,
    /// By name, in order.
    pub(crate) programs: Vec<(OsString, Program)>,
    pub(crate) expectations: Vec<Expect>,
    pub(crate) faults: Vec<Fault>,
    /// What no job can be held together by.
    pub(crate) refused: Vec<Containment>,
    /// In what no job can be limited.
    pub(crate) without_limits: Vec<JobLimit>,
}

#[derive(Clone)]
pub(crate) enum Program {
    Fixed(Code),
    Decides(Arc<dyn Fn(&Run) -> Script + Send + Sync>),
    NotExecutable,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.programs.iter().map(|(name, _)| name).collect();
        write!(
            f,
            "programs {names:?}, expectations {:?}, faults {:?}, pid_max {}, pipe_capacity {}, max_processes {}, max_open_files {}, \
             core_dumps {}, ignored {:#x}, blocked {:#x}, without {:?} {:?} {:?}",
            self.expectations,
            self.faults,
            self.limits.pid_max,
            self.limits.pipe_capacity,
            self.limits.max_processes,
            self.limits.max_open_files,
            self.limits.core_dumps,
            self.ignored,
            self.blocked,
            self.refused,
            self.without_limits,
            self.limits.lacking(Wall::ALL.into_iter()),
        )
    }
}
