//! [`SignalBits`]: sets of signals, and what the kernel does about each kind (signal(7)).

use steadfast_core::Signal;

/// A set of signals: signal 1 is the lowest bit.
pub(crate) type SignalBits = u64;

pub(crate) const fn bit(signal: Signal) -> SignalBits {
    1 << (signal.as_raw() - 1)
}

/// What nobody can block, ignore or handle.
pub(crate) const UNSTOPPABLE: SignalBits = bit(Signal::KILL) | bit(Signal::STOP);
pub(super) const STOPS: SignalBits = bit(Signal::STOP) | bit(Signal::TSTP) | bit(Signal::TTIN) | bit(Signal::TTOU);
/// What an instruction of the process itself has caused; comes first.
pub(super) const SYNCHRONOUS: SignalBits =
    bit(Signal::SEGV) | bit(Signal::BUS) | bit(Signal::ILL) | bit(Signal::TRAP) | bit(Signal::FPE) | bit(Signal::SYS);
pub(super) const DUMPS_CORE: SignalBits =
    SYNCHRONOUS | bit(Signal::QUIT) | bit(Signal::ABRT) | bit(Signal::XCPU) | bit(Signal::XFSZ);
/// From 32 on: the C libraries begin at 34, the kernel does not (SIGRTMIN in its signal.h).
pub(super) const QUEUE_UP: SignalBits = u64::MAX << 31;
pub(super) const HARMLESS: SignalBits = bit(Signal::CHLD) | bit(Signal::URG) | bit(Signal::WINCH) | bit(Signal::CONT);
