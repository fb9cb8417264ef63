//! The promises, held on every backend of this machine: each in a process of its own, for signal state, descriptors and children
//! are global. What cannot be tested here is skipped, with the reason, and counted.
#![forbid(unsafe_code)]

mod attributes;
mod beside;
mod callbacks;
mod capture;
mod changes;
mod changes_terminal;
mod contract;
mod corners;
mod errors;
mod examples;
mod faces;
mod figures;
mod forking;
mod groups;
mod handles_from;
mod handles_received;
mod handles_through;
mod hostile;
mod init;
mod input;
mod inspecting;
mod interrupts;
mod jobs;
mod jobs_elsewhere;
mod jobs_limits;
mod jobs_namespace;
mod jobs_owner;
mod jobs_tasks;
mod late;
mod leaks;
mod ledger;
mod like_std;
mod limits;
mod lines;
mod names;
mod pidfiles;
mod pidfiles_races;
mod pidfiles_simulated;
mod pipelines;
mod plays;
mod pretence;
mod probing;
mod ptys;
mod ptys_foreground;
mod recycling;
mod refused;
mod scenarios;
mod scene;
mod simulated;
mod stage;
mod starts;
mod starts_held;
mod starts_simulated;
mod stopping;
mod storm;
mod straits;
mod surroundings;
mod tasks;
mod testing;
mod timeout;
mod traced;
mod twin;
mod twin_tasks;
mod waiting;
mod waiting_jobs;
mod waiting_races;
mod walls;
mod walls_missing;

use libtest_mimic::Arguments;
use stage::Outcome;

/// One test: its name, where it runs, and what it does.
pub(crate) struct Test {
    name: String,
    place: stage::Place,
    /// Whether no other test may run at the same time: some fill the machine, and some measure what others would disturb.
    is_alone: bool,
    check: Box<dyn Fn() -> Outcome + Send + Sync>,
}

impl Test {
    pub(crate) fn new(name: impl Into<String>, check: fn()) -> Test {
        let check = move || {
            check();
            Outcome::Passed
        };
        Test::that_may_skip(name, check)
    }

    /// It can find out that it cannot be done here.
    pub(crate) fn that_may_skip(name: impl Into<String>, check: impl Fn() -> Outcome + Send + Sync + 'static) -> Test {
        Test { name: name.into(), place: stage::Place::Here, is_alone: true, check: Box::new(check) }
    }

    /// Runs as process 1 of a PID namespace of its own, where it may choose PIDs.
    pub(crate) fn in_namespace(self) -> Test {
        Test { place: stage::Place::Namespace, ..self }
    }

    /// A long one, which others of its kind may run beside.
    pub(crate) fn beside_others(self) -> Test {
        Test { is_alone: false, ..self }
    }

    /// Runs in a PID namespace of its own, in which orphans are reaped.
    pub(crate) fn under_init(self) -> Test {
        Test { place: stage::Place::UnderInit, ..self }
    }
}

fn main() {
    let tests = [
        attributes::tests(),
        beside::tests(),
        callbacks::tests(),
        capture::tests(),
        contract::tests(),
        corners::tests(),
        errors::tests(),
        examples::tests(),
        faces::tests(),
        testing::tests(),
        timeout::tests(),
        forking::tests(),
        figures::tests(),
        groups::tests(),
        handles_from::tests(),
        handles_received::tests(),
        handles_through::tests(),
        hostile::tests(),
        input::tests(),
        inspecting::tests(),
        interrupts::tests(),
        init::tests(),
        jobs::tests(),
        jobs_elsewhere::tests(),
        jobs_limits::tests(),
        jobs_namespace::tests(),
        jobs_owner::tests(),
        jobs_tasks::tests(),
        late::tests(),
        leaks::tests(),
        limits::tests(),
        lines::tests(),
        like_std::tests(),
        names::tests(),
        plays::tests(),
        pidfiles::tests(),
        pidfiles_races::tests(),
        pidfiles_simulated::tests(),
        pipelines::tests(),
        pretence::tests(),
        probing::tests(),
        ptys::tests(),
        ptys_foreground::tests(),
        changes::tests(),
        changes_terminal::tests(),
        recycling::tests(),
        refused::tests(),
        scenarios::tests(),
        simulated::tests(),
        twin::tests(),
        twin_tasks::tests(),
        starts::tests(),
        starts_held::tests(),
        starts_simulated::tests(),
        stopping::tests(),
        storm::tests(),
        straits::tests(),
        surroundings::tests(),
        tasks::tests(),
        traced::tests(),
        walls::tests(),
        walls_missing::tests(),
        waiting::tests(),
        waiting_jobs::tests(),
        waiting_races::tests(),
    ];
    let tests: Vec<Test> = tests.into_iter().flatten().collect();
    if let Some(code) = stage::perform_if_asked(&tests) {
        std::process::exit(code);
    }
    let mut args = Arguments::from_args();
    // Most of them wait for each other.
    args.test_threads.get_or_insert(2);
    libtest_mimic::run(&args, tests.into_iter().map(stage::trial).collect()).exit();
}
