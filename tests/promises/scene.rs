//! [`Scene`]: each backend with what tests need around it, real or simulated.

use crate::Test;
use crate::contract::{self, ACTOR};
use crate::stage::Outcome;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;
use steadfast::backend::ProcessBackend;
use steadfast::mock::Kernel;
use steadfast::{Child, Command, Pid, Process, Stdio, System};

/// A backend, and what is around it.
pub(crate) struct Scene {
    pub(crate) system: System,
    pub(crate) actor: OsString,
    /// Waits for the child and reaps it, behind everybody's back.
    pub(crate) reap_behind: Box<dyn Fn(Pid)>,
    foreigner: Box<dyn Fn() -> Pid>,
    neglected: Box<Neglected>,
    pub(crate) tells_lost_status: bool,
}

/// Makes a parent and its child.
type Neglected = dyn Fn(&System) -> (Child, Pid);

/// A promise's name, and how it is tested.
pub(crate) type Promise = (&'static str, fn(&Scene));

type Backend = (&'static str, fn() -> Result<Scene, String>);

const BACKENDS: &[Backend] = &[
    ("pidfd", || Ok(real(System::pidfd().map_err(|error| error.to_string())?, contract::tells_lost_status()))),
    ("pid-legacy", || Ok(real(System::pid_legacy(), false))),
    ("mock", || Ok(simulated(Kernel::backend, true))),
    ("mock-pid-legacy", || Ok(simulated(Kernel::backend_pid_legacy, false))),
];

/// Each of these on each backend, in whatever surroundings.
pub(crate) fn on_every_backend<P: Copy + Send + Sync>(
    what: &str,
    promises: &'static [(&'static str, P)],
    check: fn(&Scene, P),
) -> Vec<Test> {
    let all = BACKENDS.iter().flat_map(|backend| promises.iter().map(move |promise| (backend, promise)));
    all.map(|((backend, scene), (name, promise))| {
        Test::that_may_skip(format!("{what}: {backend}: {name}"), move || match scene() {
            Err(reason) => Outcome::Skipped(reason),
            Ok(scene) => {
                check(&scene, *promise);
                Outcome::Passed
            }
        })
    })
    .collect()
}

pub(crate) fn real(system: System, tells_lost_status: bool) -> Scene {
    let reap_behind = Box::new(|pid: Pid| {
        let pid = nix::unistd::Pid::from_raw(pid.as_raw());
        nix::sys::wait::waitpid(pid, None).expect("it is our child, and nobody else's");
    });
    Scene {
        system,
        actor: ACTOR.into(),
        reap_behind,
        foreigner: Box::new(contract::foreigner),
        neglected: Box::new(neglected),
        tells_lost_status,
    }
}

/// A parent that does not wait for its child before its own input ends; and that child.
fn neglected(system: &System) -> (Child, Pid) {
    let mut parent = system.spawn(Command::new(ACTOR).arg("neglect").stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
    (parent, line.trim().parse().unwrap())
}

/// The same in a simulation.
fn neglected_there(kernel: &Kernel, system: &System) -> (Child, Pid) {
    let mut parent = system.spawn(Command::new("neglectful").stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    std::io::Read::read_exact(parent.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let is_its = |pid: &Pid| kernel.process(*pid).is_some_and(|info| info.parent == Some(parent.pid()));
    let child = kernel.processes().into_iter().find(is_its).unwrap();
    (parent, child)
}

pub(crate) fn simulated(backend: fn(&Kernel) -> Arc<dyn ProcessBackend>, tells_lost_status: bool) -> Scene {
    let kernel = contract::kernel(tells_lost_status);
    let (system, reaper) = (System::with_backend(backend(&kernel)), kernel.clone());
    let reap_behind = Box::new(move |pid| {
        let process = reaper.backend().find(pid).expect("it is there");
        process.wait_exited(None).expect("it is our child");
        process.reap().expect("it has exited");
    });
    let parents = kernel.clone();
    let neglected = Box::new(move |system: &System| neglected_there(&parents, system));
    let foreigner = Box::new(move || kernel.spawn_foreign("foreigner").expect("there is such a program"));
    Scene { system, actor: "actor".into(), reap_behind, foreigner, neglected, tells_lost_status }
}

impl Scene {
    /// The one child program.
    pub(crate) fn actor(&self) -> &OsString {
        &self.actor
    }

    /// A process that is not our child.
    pub(crate) fn foreigner(&self) -> Process {
        self.system.find((self.foreigner)()).unwrap()
    }

    /// A process of somebody else's who waits for it when this child's stdin is closed, and not before.
    pub(crate) fn neglected(&self) -> (Child, Process) {
        let (parent, child) = (self.neglected)(&self.system);
        (parent, self.system.find(child).unwrap())
    }

    pub(crate) fn tells_lost_status(&self) -> bool {
        self.tells_lost_status
    }

    /// A child that exits with this code when it is dropped, or its stdin.
    pub(crate) fn child(&self, code: u8) -> Child {
        let mut command = Command::new(&self.actor);
        command.args(["until-eof", &code.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
        self.system.spawn(&command).expect("the actor can be spawned")
    }

    /// Looks at the child as somebody else, until it has exited.
    pub(crate) fn until_zombie(&self, process: &Process) {
        let found = self.system.backend().find(process.pid()).unwrap();
        assert!(found.wait_exited(None).unwrap().is_some());
    }

    pub(crate) fn until_gone(&self, pid: Pid) {
        while self.system.find(pid).is_ok() {
            self.system.sleep(Duration::from_millis(1));
        }
    }
}
