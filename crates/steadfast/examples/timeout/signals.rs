//! Signals: their names as coreutils have them, and those that are waited for.

use crate::begun;
use nix::sys::signal::{SigSet, Signal as Named};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use steadfast::{Command, Disposition, Signal, SignalSet};

/// Reads a name, such as `int`, `SIGINT` or `RTMIN+1`, or a number, which may be the exit status that a shell has for the signal.
/// `None` inside: signal 0.
pub(crate) fn parse(text: &[u8]) -> Option<Option<Signal>> {
    let text = std::str::from_utf8(text).ok()?;
    let number = if text.starts_with(|first: char| first.is_ascii_digit()) {
        let number = decimal(text)?;
        // 128 more in most shells, 256 more in ksh.
        if number >= 0xff { number & 0xff } else { number & 0x7f }
    } else if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    } else {
        let upper = text.to_ascii_uppercase();
        by_name(&upper).or_else(|| by_name(upper.strip_prefix("SIG")?))?
    };
    if number == 0 { Some(None) } else { Signal::new(number).ok().map(Some) }
}

fn decimal(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn by_name(name: &str) -> Option<i32> {
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.trim_ascii_start().parse::<i32>().ok() };
    let (first, last) = (Signal::RTMIN.as_raw(), Signal::RTMAX.as_raw());
    if let Some(more) = name.strip_prefix("RTMIN") {
        return offset(more).filter(|more| (0..=last - first).contains(more)).map(|more| first + more);
    }
    if let Some(less) = name.strip_prefix("RTMAX") {
        return offset(less).filter(|less| (first - last..=0).contains(less)).map(|less| last + less);
    }
    match name {
        "EXIT" => Some(0),
        // Only behind SIG; without it, it was taken as a number already.
        _ if name.starts_with(|first: char| first.is_ascii_digit()) => decimal(name).filter(|number| *number <= last),
        // With a SIG before it, it would have two.
        _ if name.starts_with("SIG") => None,
        _ => name.parse().ok().map(Signal::as_raw),
    }
}

/// As `kill -l` has it: without SIG, and counted from the nearer end if it is a real-time one.
pub(crate) fn name(signal: Option<Signal>) -> String {
    let Some(signal) = signal else { return "0".into() };
    match signal.as_raw() {
        29 => "POLL".into(),
        number @ (32 | 33) => number.to_string(),
        number @ 50..64 => format!("RTMAX-{}", 64 - number),
        _ => signal.to_string().trim_start_matches("SIG").to_owned(),
    }
}

/// Whoever gets one of these means the command as well: what ends a program that does not handle it, but for the real-time ones.
const ENDING: [Signal; 21] = [
    Signal::ALRM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::TERM,
    Signal::PIPE,
    Signal::USR1,
    Signal::USR2,
    Signal::ILL,
    Signal::TRAP,
    Signal::ABRT,
    Signal::BUS,
    Signal::FPE,
    Signal::SEGV,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::SYS,
    Signal::VTALRM,
    Signal::PROF,
    Signal::IO,
    Signal::PWR,
];

/// The signals that come to us instead of ending us, by a descriptor.
pub(crate) struct Incoming {
    descriptor: SignalFd,
    heeded: SignalSet,
    /// What was blocked before, and is for the command.
    mask: SignalSet,
    signal: Option<Signal>,
}

impl Incoming {
    /// From now on; `signal` is the one that ends the command.
    pub(crate) fn begin(signal: Option<Signal>) -> Result<Incoming, Box<dyn std::error::Error>> {
        let (blocked, ignored) = (begun::blocked(), begun::ignored());
        // Its caller may ignore SIGCHLD, and then the kernel would keep no status for us. Any handler is against it.
        signal_hook::flag::register(Signal::CHLD.as_raw(), Arc::new(AtomicBool::new(false)))?;
        // Our clock must not be stopped by a mask that we come with.
        let mask: SignalSet =
            Signal::all().filter(|s| blocked.contains(*s) && ![Signal::ALRM, Signal::CHLD].contains(s)).collect();
        let is_heeded = |s: &Signal| {
            let is_ours = [Some(Signal::ALRM), signal].contains(&Some(*s));
            let ends = ENDING.contains(s) || *s == Signal::STKFLT || *s >= Signal::RTMIN;
            (is_ours || ends && !ignored.contains(*s)) && !mask.contains(*s)
        };
        // Blocked, they wait until we look. It is all but those that stop us, let us go on, or mean nothing to us.
        let mut block = SigSet::all();
        for named in [Named::SIGTSTP, Named::SIGCONT, Named::SIGCHLD, Named::SIGURG, Named::SIGWINCH] {
            if Some(named as i32) != signal.map(Signal::as_raw) {
                block.remove(named);
            }
        }
        block.thread_block()?;
        let descriptor = SignalFd::with_flags(&block, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Incoming { descriptor, heeded: Signal::all().filter(is_heeded).collect(), mask, signal })
    }

    /// Has the command begin with what we began with, but for what we need differently ourselves.
    pub(crate) fn restore_in(&self, command: &mut Command) {
        command.signal_mask(self.mask);
        let own = [Signal::ALRM, Signal::CHLD, Signal::TTIN, Signal::TTOU];
        let own = own.into_iter().chain(self.signal.filter(|s| ![Signal::KILL, Signal::STOP].contains(s)));
        for signal in own {
            command.signal_disposition(signal, Disposition::Default);
        }
        if begun::ignored().contains(Signal::PIPE) && self.signal != Some(Signal::PIPE) {
            command.signal_disposition(Signal::PIPE, Disposition::Ignore);
        }
    }

    /// The next one that has come.
    pub(crate) fn next(&self) -> Option<Signal> {
        loop {
            let signal = Signal::new(self.descriptor.read_signal().ok()??.ssi_signo as i32).ok()?;
            if self.heeded.contains(signal) {
                return Some(signal);
            }
        }
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
