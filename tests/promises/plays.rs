//! The same plays on the real kernel and in the simulation: every observation is equal.

use crate::Test;
use crate::contract::ACTOR;
use crate::stage::Outcome;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::cell::{Cell, RefCell};
use std::fs;
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast::backend::{Plan, PlanBuilder, ProcessBackend};
use steadfast::mock::{Kernel, ProcessState, Script};
use steadfast::{Pid, Signal, System};
use steadfast_conformance::{Life, Order, Sight, Theatre, same_play};
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    let pidfd = || match System::pidfd() {
        Ok(system) => perform(&system, Kernel::backend),
        Err(error) => Outcome::Skipped(error.to_string()),
    };
    let pid_legacy = || perform(&System::pid_legacy(), Kernel::backend_pid_legacy);
    vec![
        Test::that_may_skip("same play: pidfd and mock", pidfd).under_init(),
        Test::that_may_skip("same play: pid-legacy and mock-pid-legacy", pid_legacy).under_init(),
    ]
}

fn perform(system: &System, simulated: fn(&Kernel) -> Arc<dyn ProcessBackend>) -> Outcome {
    if fs::metadata("/proc/thread-self/children").is_err() {
        return Outcome::Skipped("this kernel does not tell a process its children (CONFIG_PROC_CHILDREN)".into());
    }
    // As a theatre wants it; the other signals as no shell has left them.
    nix::unistd::setsid().expect("it leads no group");
    for signal in Signal::all() {
        // Two have no other action than their default, and say so.
        steadfast_linux::restore_signal(signal).ok();
    }
    steadfast_linux::ignore_signal(Signal::HUP).expect("it can be ignored");
    setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("a limit can be lowered");
    same_play(&Real::open(system), || Box::new(Simulation::open(simulated)));
    Outcome::Passed
}

/// The actor as player; orders and what it says to them go by sockets in a directory.
struct Real {
    backend: Arc<dyn ProcessBackend>,
    place: TempDir,
    socket: UnixDatagram,
    inbox: RefCell<Vec<String>>,
    orders: Cell<u32>,
}

impl Real {
    fn open(system: &System) -> Real {
        let place = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(place.path().join("driver")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket has timeouts");
        Real { backend: Arc::clone(system.backend()), place, socket, inbox: RefCell::default(), orders: Cell::new(0) }
    }

    /// The first message that fits; `None` when there is no more sense in waiting for it.
    fn hear<T>(&self, fits: impl Fn(&str) -> Option<T>, is_vain: impl Fn() -> bool) -> Option<T> {
        let start = Instant::now();
        let mut inbox = self.inbox.borrow_mut();
        let mut text = [0; 100];
        loop {
            let found = inbox.iter().enumerate().find_map(|(index, message)| Some((index, fits(message)?)));
            if let Some((index, answer)) = found {
                inbox.remove(index);
                return Some(answer);
            }
            match self.socket.recv(&mut text) {
                Ok(length) => inbox.push(String::from_utf8_lossy(&text[..length]).into_owned()),
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) && is_vain() => return None,
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {
                    assert!(start.elapsed() < Duration::from_secs(20), "no player says anything");
                }
                Err(error) => panic!("recv: {error}"),
            }
        }
    }
}

impl Theatre for Real {
    fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.backend
    }

    fn player(&self) -> PlanBuilder {
        Plan::builder(ACTOR).arg("play").arg(self.place.path())
    }

    fn entrance(&self) -> Pid {
        let ready = |message: &str| message.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        self.hear(ready, || false).expect("it is not vain")
    }

    fn tell(&self, player: Pid, order: Order) -> Option<u32> {
        let number = self.orders.get();
        self.orders.set(number + 1);
        let address = self.place.path().join(player.to_string());
        self.socket.send_to(format!("{number} {order}").as_bytes(), address).expect("it listens");
        let done = format!("done {player} {number}");
        let is_vain = || self.look(player).is_none_or(|sight| sight.life != Life::Running);
        let is_done = |message: &str| match message.strip_prefix(&done)?.split_once(' ') {
            Some(("", taken)) => Some(taken.parse().ok()),
            Some(_) => None,
            None => (message == done).then_some(None),
        };
        let taken = self.hear(is_done, is_vain);
        if order == Order::Exec {
            let ready = format!("ready {player}");
            self.hear(|message| (message == ready).then_some(()), || false);
        }
        taken.flatten()
    }

    fn look(&self, pid: Pid) -> Option<Sight> {
        look(&Path::new("/proc").join(pid.to_string()))
    }

    fn reap_behind(&self, pid: Pid) {
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid.as_raw()), None).expect("it is a zombie of ours");
    }

    fn set_subreaper(&self, is_one: bool) {
        nix::sys::prctl::set_child_subreaper(is_one).expect("every process may");
    }

    fn ignore(&self, signal: Signal, ignore: bool) {
        let set = if ignore { steadfast_linux::ignore_signal } else { steadfast_linux::restore_signal };
        set(signal).expect("it can be ignored");
    }

    fn block(&self, signal: Signal, block: bool) {
        let signal = nix::sys::signal::Signal::try_from(signal.as_raw()).expect("nix knows it");
        let (set, how) = (SigSet::from(signal), if block { SigmaskHow::SIG_BLOCK } else { SigmaskHow::SIG_UNBLOCK });
        sigprocmask(how, Some(&set), None).expect("every process may");
    }
}

/// What proc_pid_stat(5) and proc_pid_status(5) say.
fn look(process: &Path) -> Option<Sight> {
    let read = |file| fs::read(process.join(file)).ok().map(|text| String::from_utf8_lossy(&text).into_owned());
    let (stat, status) = (read("stat")?, read("status")?);
    // The second field is the program's name in parentheses.
    let (_, stat) = stat.rsplit_once(')')?;
    let stat: Vec<&str> = stat.split_whitespace().collect();
    let life = match *stat.first()? {
        "T" => Life::Stopped,
        "Z" => Life::Zombie,
        "X" => return None,
        _ => Life::Running,
    };
    let number = |index: usize| stat.get(index)?.parse().ok().map(|number: i32| if number == own() { 0 } else { number });
    let set = |name: &str| {
        let bits = status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)?;
        u64::from_str_radix(bits, 16).ok()
    };
    Some(Sight {
        life,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        blocked: set("SigBlk:")?,
        pending: set("SigPnd:")? | set("ShdPnd:")?,
        ignored: set("SigIgn:")?,
        handled: set("SigCgt:")?,
        is_idle: true,
    })
}

fn own() -> i32 {
    std::process::id() as i32
}

struct Simulation {
    kernel: Kernel,
    backend: Arc<dyn ProcessBackend>,
}

impl Simulation {
    fn open(backend: fn(&Kernel) -> Arc<dyn ProcessBackend>) -> Simulation {
        let kernel = Kernel::builder().core_dumps(false).program("player", Script::new().run_forever());
        let kernel = kernel.ignore_signal(Signal::HUP, true);
        // As the real one does.
        let kernel = kernel.tells_lost_status(crate::contract::tells_lost_status()).build();
        Simulation { backend: backend(&kernel), kernel }
    }
}

impl Theatre for Simulation {
    fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.backend
    }

    fn player(&self) -> PlanBuilder {
        Plan::builder("player")
    }

    fn entrance(&self) -> Pid {
        self.kernel.processes().into_iter().max().expect("a player was started")
    }

    fn tell(&self, player: Pid, order: Order) -> Option<u32> {
        let handled = || self.kernel.trace().matches(" handles ").count();
        let before = (order == Order::Take).then(handled);
        let script = if order == Order::Take { self.take(player) } else { script(order) };
        assert!(self.kernel.make(player, script), "{player} is there");
        self.kernel.settle();
        before.map(|before| (handled() - before) as u32)
    }

    fn look(&self, pid: Pid) -> Option<Sight> {
        self.kernel.settle();
        let process = self.kernel.process(pid)?;
        Some(Sight {
            life: match process.state {
                ProcessState::Running => Life::Running,
                ProcessState::Stopped => Life::Stopped,
                ProcessState::Zombie => Life::Zombie,
            },
            parent: process.parent.map_or(0, Pid::as_raw),
            group: process.group,
            session: process.session,
            blocked: process.blocked,
            pending: process.pending,
            ignored: process.ignored,
            handled: process.handled,
            is_idle: process.occupation == "waits for signals",
        })
    }

    fn reap_behind(&self, pid: Pid) {
        let process = self.kernel.backend().find(pid).expect("it is a zombie of ours");
        assert!(process.reap().expect("it is a zombie of ours").is_some());
    }

    fn set_subreaper(&self, is_one: bool) {
        self.kernel.subreaper(is_one);
    }

    fn ignore(&self, signal: Signal, ignore: bool) {
        self.kernel.ignore_signal(signal, ignore);
    }

    fn block(&self, signal: Signal, block: bool) {
        self.kernel.block_signal(signal, block);
    }
}

impl Simulation {
    /// A simulated program has no sigwaitinfo(2): it handles what it would take.
    fn take(&self, player: Pid) -> Script {
        let blocked = self.kernel.process(player).map_or(0, |process| process.blocked);
        let real_time = Signal::all().filter(|signal| signal.as_raw() >= 32 && blocked >> (signal.as_raw() - 1) & 1 == 1);
        real_time
            .fold(Script::new(), |script, signal| script.on(signal, Script::new()).unblock(signal).block(signal).restore(signal))
    }
}

/// The order as a simulated program does it.
fn script(order: Order) -> Script {
    let script = Script::new();
    match order {
        Order::Spawn => script.spawn("player"),
        Order::SpawnNothing => script.spawn("nothing"),
        Order::Exec => script.exec("player"),
        Order::Exit(code) => script.exit(code.into()),
        Order::Abort => script.abort(),
        Order::Raise(signal) => script.raise(signal),
        Order::SignalParent(signal) => script.signal_parent(signal),
        Order::SignalGroup(signal) => script.signal_group(signal),
        Order::SignalChildren(signal) => script.signal_children(signal),
        Order::On(signal, Some(code)) => script.on(signal, Script::new().exit(code.into())),
        Order::On(signal, None) => script.on(signal, Script::new()),
        Order::Ignore(signal) => script.ignore(signal),
        Order::Restore(signal) => script.restore(signal),
        Order::Block(signal) => script.block(signal),
        Order::Unblock(signal) => script.unblock(signal),
        Order::Take => unreachable!("it depends on the player"),
        Order::NewGroup => script.new_group(),
        Order::NewSession => script.new_session(),
        Order::Subreaper => script.become_subreaper(),
        Order::WaitForChild => script.wait_for_child(),
        Order::WaitForChildren => script.wait_for_children(),
    }
}
