//! A player: a process of a play, which obeys the orders that come to its socket, and says so.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, setpgid, setsid};
use signal_hook::flag::register_conditional_shutdown;
use std::io::ErrorKind::Interrupted;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use steadfast_conformance::Order;
use steadfast_linux::{ignore_signal, restore_signal};

/// Where the driver listens; beside it, each player by its PID.
pub(crate) const DRIVER: &str = "driver";

struct Player {
    theatre: PathBuf,
    socket: UnixDatagram,
}

/// Obeys for ever.
pub(crate) fn play(theatre: &Path) -> ! {
    let own = theatre.join(getpid().to_string());
    // One that it had before it became another program.
    if own.exists() {
        must("unlink", std::fs::remove_file(&own));
    }
    let player = Player { theatre: theatre.to_owned(), socket: must("bind", UnixDatagram::bind(own)) };
    player.say(&format!("ready {}", getpid()));
    let mut text = [0; 100];
    loop {
        match player.socket.recv(&mut text) {
            Ok(length) => player.obey(&String::from_utf8_lossy(&text[..length])),
            Err(error) if error.kind() == Interrupted => {}
            Err(error) => crate::fail(&format!("recv: {error}")),
        }
    }
}

/// A number and an order.
impl Player {
    fn obey(&self, message: &str) {
        let (number, order) = message.split_once(' ').unwrap_or_else(|| crate::fail(&format!("{message:?} is no order")));
        let order = order.parse().unwrap_or_else(|error: String| crate::fail(&error));
        let done = format!("done {} {number}", getpid());
        match order {
            Order::Take => self.say(&format!("{done} {}", take())),
            // These may take long, or it cannot say so afterwards.
            Order::WaitForChild | Order::WaitForChildren | Order::Exec => {
                self.say(&done);
                self.perform(order);
            }
            _ => {
                self.perform(order);
                self.say(&done);
            }
        }
    }

    fn say(&self, message: &str) {
        must("send", self.socket.send_to(message.as_bytes(), self.theatre.join(DRIVER)));
    }

    fn perform(&self, order: Order) {
        // What a kernel refuses, it refuses in the simulation too.
        match order {
            Order::Spawn => drop(must("spawn", self.another().spawn())),
            Order::SpawnNothing => drop(Command::new("/no/such/program").spawn().expect_err("there is none")),
            Order::Exec => crate::fail(&format!("exec: {}", self.another().exec())),
            Order::Exit(code) => exit(code.into()),
            Order::Abort => std::process::abort(),
            Order::Raise(signal) => must("raise", raise(named(signal.as_raw()))),
            Order::SignalParent(signal) => must("kill", kill(getppid(), named(signal.as_raw()))),
            Order::SignalGroup(signal) => must("kill", kill(Pid::from_raw(0), named(signal.as_raw()))),
            Order::SignalChildren(signal) => {
                for child in children() {
                    must("kill", kill(child, named(signal.as_raw())));
                }
            }
            Order::On(signal, Some(code)) => {
                let always = Arc::new(AtomicBool::new(true));
                must("sigaction", register_conditional_shutdown(signal.as_raw(), code.into(), always));
            }
            Order::On(signal, None) => {
                must("sigaction", signal_hook::flag::register(signal.as_raw(), Arc::default()));
            }
            Order::Ignore(signal) => must("sigaction", ignore_signal(signal)),
            Order::Restore(signal) => must("sigaction", restore_signal(signal)),
            Order::Block(signal) => mask(SigmaskHow::SIG_BLOCK, signal.as_raw()),
            Order::Unblock(signal) => mask(SigmaskHow::SIG_UNBLOCK, signal.as_raw()),
            Order::Take => drop(take()),
            Order::NewGroup => drop(setpgid(Pid::from_raw(0), Pid::from_raw(0))),
            Order::NewSession => drop(setsid()),
            Order::Subreaper => must("prctl", nix::sys::prctl::set_child_subreaper(true)),
            Order::WaitForChild => drop(wait()),
            Order::WaitForChildren => while wait() {},
        }
    }

    fn another(&self) -> Command {
        let mut command = Command::new(must("current_exe", std::env::current_exe()));
        command.arg("play").arg(&self.theatre);
        command
    }
}

/// How many real-time signals were pending and blocked. C libraries hide some of them from their sets, but not from a mask that the kernel
/// gives, nor from signalfd(2).
fn take() -> u32 {
    let mut blocked = must("sigprocmask", SigSet::thread_get_mask());
    for signal in Signal::iterator() {
        blocked.remove(signal);
    }
    let pending = must("signalfd", SignalFd::with_flags(&blocked, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC));
    std::iter::from_fn(|| must("read", pending.read_signal())).map(|_| 1).sum()
}

/// Whether there was a child to wait for.
fn wait() -> bool {
    loop {
        match waitpid(None, None) {
            Ok(_) => return true,
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::ECHILD) => return false,
            Err(errno) => crate::fail(&format!("waitpid: {errno}")),
        }
    }
}

fn children() -> Vec<Pid> {
    let list = must("children", std::fs::read_to_string(format!("/proc/self/task/{}/children", getpid())));
    list.split_whitespace().map(|pid| Pid::from_raw(must("children", pid.parse()))).collect()
}

fn mask(how: SigmaskHow, signal: i32) {
    must("sigprocmask", sigprocmask(how, Some(&SigSet::from(named(signal))), None));
}

fn named(signal: i32) -> Signal {
    must("signal", Signal::try_from(signal))
}

fn must<T, E: std::fmt::Display>(call: &str, answer: Result<T, E>) -> T {
    answer.unwrap_or_else(|error| crate::fail(&format!("{call}: {error}")))
}
